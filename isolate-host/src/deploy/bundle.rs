//! A worker's files as one archive that is the same whenever the files are.
//!
//! An uncompressed tar: sources below `worker/`, packages below `packages/`,
//! sorted, every entry with the same owner, mode and time. Hosts take slices of
//! it instead of unpacking it.

use std::io;

use crate::emscripten::files::Layer;

/// Where a program finds its sources.
pub const SOURCES: &str = "/session/metadata";
/// Where a program finds its packages.
pub const PACKAGES: &str = "/session/metadata/python_modules";

/// 1980-01-01: the earliest time every kind of archive can hold.
const TIME: u64 = 315_532_800;

/// Packs two layers whose paths count from their own roots.
pub fn pack(sources: &Layer, packages: &Layer) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (folder, layer) in [("packages", packages), ("worker", sources)] {
        for (path, content) in layer.files() {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(TIME);
            archive.append_data(&mut header, format!("{folder}{path}"), &content[..])?;
        }
    }
    archive.into_inner()
}

/// Where an entry of such an archive goes in the guest.
pub fn guest_path(path: &str) -> Option<String> {
    let (folder, rest) = path.split_once('/')?;
    match folder {
        "worker" => Some(format!("{SOURCES}/{rest}")),
        "packages" => Some(format!("{PACKAGES}/{rest}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(files: &[(&str, &str)]) -> Layer {
        let mut builder = Layer::builder();
        for (path, content) in files {
            builder.file(path, (*content).to_owned()).unwrap();
        }
        builder.build()
    }

    #[test]
    fn the_same_files_are_the_same_archive() {
        let one = pack(&layer(&[("/b.py", "b"), ("/a.py", "a")]), &layer(&[("/p/x.py", "x")])).unwrap();
        let other = pack(&layer(&[("/a.py", "a"), ("/b.py", "b")]), &layer(&[("/p/x.py", "x")])).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn files_arrive_where_the_guest_expects_them() {
        let deep = format!("/{}/mod.py", vec!["folder"; 40].join("/"));
        let archive = pack(&layer(&[("/entry.py", "e")]), &layer(&[(&deep, "x"), ("/six.py", "")])).unwrap();
        let guest = Layer::from_tar(&archive.into(), guest_path).unwrap();
        let paths: Vec<_> = guest.files().map(|(path, _)| path.to_owned()).collect();
        assert_eq!(
            paths,
            [format!("{SOURCES}/entry.py"), format!("{PACKAGES}{deep}"), format!("{PACKAGES}/six.py")]
        );
        assert_eq!(guest.file(&format!("{PACKAGES}{deep}")).unwrap(), "x");
    }
}
