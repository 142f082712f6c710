//! Layers: what is built, what is refused, what a program sees of several.

use std::io::Write;

use super::*;

#[test]
fn the_first_layer_wins_and_folders_are_one() {
    let mut fs = fs();
    assert_eq!(read_file(&mut fs, "/lib/mod.py").unwrap(), "first");
    assert_eq!(list(&mut fs, "/lib/pkg").unwrap(), ["a.py", "b.py", "c.py"]);
    assert_eq!(list(&mut fs, "/").unwrap(), ["dev", "home", "lib", "tmp"]);
}

#[test]
fn the_same_content_has_the_same_inode_numbers_and_order() {
    let build = |names: &[&str]| {
        let mut builder = Layer::builder();
        for name in names {
            builder.file(name, "x").unwrap();
        }
        builder.build()
    };
    let (one, other) = (build(&["/b", "/a/z", "/a/y"]), build(&["/a/y", "/a/z", "/b"]));
    let paths = |layer: &Layer| layer.files().map(|(path, _)| path.to_owned()).collect::<Vec<_>>();
    assert_eq!(paths(&one), ["/a/y", "/a/z", "/b"]);
    assert_eq!(paths(&one), paths(&other));
    let ino = |layer: Layer| FileSystem::new(vec![layer], 0).stat("/a/z", Follow::Yes).unwrap().ino;
    assert_eq!(ino(one), ino(other));
}

#[test]
fn paths_that_climb_out_are_refused() {
    for path in ["relative", "/", "/a/../b", "/a//b", "/./a", "/a\n", "/a\0", ""] {
        assert!(matches!(Layer::builder().file(path, "x"), Err(LayerError::Path { .. })), "{path:?}");
    }
}

#[test]
fn a_file_is_no_folder() {
    let mut builder = Layer::builder();
    builder.file("/a", "x").unwrap();
    assert!(matches!(builder.file("/a/b", "x"), Err(LayerError::Conflict { .. })));
    assert!(matches!(builder.folder("/a"), Err(LayerError::Conflict { .. })));
}

fn tar_with(path: &str, kind: tar::EntryType, content: &[u8]) -> Bytes {
    let mut header = tar::Header::new_ustar();
    // Written by hand: the library refuses to write such paths.
    header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, content).unwrap();
    archive.into_inner().unwrap().into()
}

fn below(path: &str) -> Option<String> {
    Some(format!("/session/{path}"))
}

#[test]
fn a_tar_archive_is_sliced_not_copied() {
    let archive = tar_with("pkg/mod.py", tar::EntryType::Regular, b"print()");
    let layer = Layer::from_tar(&archive, below).unwrap();
    let content = layer.file("/session/pkg/mod.py").unwrap();
    assert_eq!(content, "print()");
    assert!(archive.as_ptr_range().contains(&content.as_ptr()));
}

#[test]
fn archives_cannot_climb_out_or_link() {
    for path in ["../evil", "/etc/passwd", "a/../../evil", "a\\..\\b"] {
        let archive = tar_with(path, tar::EntryType::Regular, b"x");
        assert!(matches!(Layer::from_tar(&archive, below), Err(LayerError::Path { .. })), "{path}");
    }
    let link = tar_with("link", tar::EntryType::Symlink, b"");
    assert!(matches!(Layer::from_tar(&link, below), Err(LayerError::Special { .. })));
}

#[test]
fn a_cut_off_tar_archive_is_refused() {
    let archive = tar_with("mod.py", tar::EntryType::Regular, &[b'x'; 2000]);
    assert!(Layer::from_tar(&archive.slice(..1000), below).is_err());
}

fn zip_with(path: &str) -> Bytes {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(path, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"content").unwrap();
    zip.finish().unwrap().into_inner().into()
}

#[test]
fn a_zip_archive_is_inflated_and_cannot_climb_out() {
    let layer = Layer::from_zip(&zip_with("pkg/mod.py"), below).unwrap();
    assert_eq!(layer.file("/session/pkg/mod.py").unwrap(), "content");
    assert!(matches!(Layer::from_zip(&zip_with("../evil"), below), Err(LayerError::Path { .. })));
}

#[test]
fn a_folder_is_taken_with_what_is_kept_and_no_links() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("pkg/__pycache__")).unwrap();
    std::fs::write(dir.path().join("pkg/mod.py"), "x").unwrap();
    std::fs::write(dir.path().join("pkg/__pycache__/mod.pyc"), "x").unwrap();
    let keep = |path: &str| !path.ends_with("__pycache__");
    let layer = Layer::from_folder(dir.path(), "/src", keep).unwrap();
    assert_eq!(layer.files().map(|(path, _)| path).collect::<Vec<_>>(), ["/src/pkg/mod.py"]);

    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("pkg/link")).unwrap();
    assert!(matches!(Layer::from_folder(dir.path(), "/src", keep), Err(LayerError::Special { .. })));
}

#[test]
fn devices_are_there_and_answer() {
    let mut fs = fs();
    let null = fs.open("/dev/null", OpenFlags::RDWR, 0, NOW).unwrap();
    assert_eq!(null, FIRST_FREE);
    assert_eq!(fs.read(null, &mut [1; 4]).unwrap(), Transfer::Done(0));
    assert_eq!(fs.write(null, b"gone", NOW).unwrap(), Transfer::Done(4));
    let random = fs.open("/dev/urandom", OpenFlags::RDONLY, 0, NOW).unwrap();
    assert_eq!(fs.read(random, &mut [0; 4]).unwrap(), Transfer::Device(Device::Random));
    let mut zeros = [7; 3];
    let zero = fs.open("/dev/zero", OpenFlags::RDONLY, 0, NOW).unwrap();
    assert_eq!(fs.read(zero, &mut zeros).unwrap(), Transfer::Done(3));
    assert_eq!(zeros, [0; 3]);
    assert_eq!(fs.write(1, b"text", NOW).unwrap(), Transfer::Device(Device::Stdout));
    assert_eq!(fs.seek(1, 0, Whence::Current).unwrap_err(), Errno::ESPIPE);
    assert_eq!(fs.stat("/dev/null", Follow::Yes).unwrap().kind, FileKind::Device);
}
