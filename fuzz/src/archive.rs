//! Archives: packages as pip unpacks them and deployments as a store holds them.

use bytes::Bytes;
use isolate_host::deploy::bundle;
use isolate_host::emscripten::files::Layer;

/// Whatever an archive says, its files stay below the place they are given, and packing
/// them again gives an archive with the same files.
pub fn check(data: &[u8]) {
    let Some((kind, archive)) = data.split_first() else { return };
    let archive = Bytes::copy_from_slice(archive);
    let place = |path: &str| Some(format!("/place/{path}"));
    let layer = match kind % 3 {
        0 => Layer::from_tar(&archive, place),
        1 => Layer::from_zip(&archive, place),
        _ => Layer::from_tar(&archive, bundle::guest_path),
    };
    let Ok(layer) = layer else { return };
    for (path, _) in layer.files() {
        assert!(path.starts_with("/place/") || path.starts_with(bundle::SOURCES), "{path:?}");
        assert!(path.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
    }
    let Ok(packed) = bundle::pack(&layer, &Layer::empty()) else { return };
    let again = Layer::from_tar(&packed.into(), |path| path.strip_prefix("worker").map(str::to_owned));
    let again = again.expect("what is packed can be read");
    assert!(layer.files().eq(again.files()), "packing loses nothing");
}
