//! What a snapshot keeps of files and descriptors.

use super::*;

#[test]
fn files_written_and_removed_are_there_after_a_restore() {
    let mut before = fs();
    write_file(&mut before, "/tmp/state.json", "{}").unwrap();
    before.rename("/lib/pkg", "/lib/renamed", NOW).unwrap();
    before.unlink("/lib/mod.py", NOW).unwrap();
    before.symlink("state.json", "/tmp/link", NOW).unwrap();
    let entries = before.overlay_entries().unwrap();

    let mut after = fs();
    after.restore_overlay(decode_overlay(encode_overlay(&entries).into()).unwrap()).unwrap();
    assert_eq!(after.overlay_entries().unwrap(), entries);
    assert_eq!(after.used(), before.used());
    assert_eq!(read_file(&mut after, "/tmp/link").unwrap(), "{}");
    assert_eq!(read_file(&mut after, "/lib/renamed/c.py").unwrap(), "c");
    assert_eq!(list(&mut after, "/lib").unwrap(), ["renamed"]);
    assert_eq!(
        after.stat("/tmp/state.json", Follow::Yes).unwrap(),
        before.stat("/tmp/state.json", Follow::Yes).unwrap()
    );
}

#[test]
fn an_untouched_file_system_has_only_its_root() {
    let entries = fs().overlay_entries().unwrap();
    assert_eq!(entries.iter().map(|entry| &*entry.path).collect::<Vec<_>>(), ["/"]);
}

#[test]
fn descriptors_come_back_with_their_offsets_and_sharing() {
    let mut before = fs();
    write_file(&mut before, "/tmp/data", "0123456789").unwrap();
    let fd = before.open("/tmp/data", OpenFlags::RDONLY | OpenFlags::CLOEXEC, 0, NOW).unwrap();
    before.read(fd, &mut [0; 4]).unwrap();
    let copy = before.dup(fd, 20, false).unwrap();
    let random = before.open("/dev/urandom", OpenFlags::RDONLY, 0, NOW).unwrap();
    before.close(0).unwrap();
    let saved = before.saved_descriptors().unwrap();

    let mut after = fs();
    after.restore_overlay(before.overlay_entries().unwrap()).unwrap();
    after.restore_descriptors(&saved).unwrap();
    assert_eq!(after.saved_descriptors().unwrap(), saved);
    assert_eq!(read_all(&mut after, copy).unwrap(), "456789");
    assert_eq!(after.seek(fd, 0, Whence::Current).unwrap(), 10);
    assert_eq!(after.device_of(random).unwrap(), Some(Device::Random));
    assert_eq!(after.fstat(0).unwrap_err(), Errno::EBADF);
    after.unlink("/tmp/data", NOW).unwrap();
    after.close(fd).unwrap();
    assert_eq!(after.fstat(copy).unwrap().nlink, 0);
}

#[test]
fn what_no_snapshot_can_keep_is_named() {
    let mut fs = fs();
    fs.open("/tmp/log", OpenFlags::WRONLY | OpenFlags::CREAT, 0o600, NOW).unwrap();
    fs.open("/lib/mod.py", OpenFlags::RDONLY, 0, NOW).unwrap();
    fs.unlink("/lib/mod.py", NOW).unwrap();
    fs.open_host(1, OpenFlags::RDWR).unwrap();
    let refused = fs.saved_descriptors().unwrap_err();
    assert_eq!(
        refused,
        [
            Unsavable::Writable { fd: 3, path: "/tmp/log".into() },
            Unsavable::Unlinked { fd: 4, path: "/lib/mod.py".into() },
            Unsavable::Host { fd: 5 },
        ]
    );
}

#[test]
fn damaged_exports_are_refused() {
    let mut fs = fs();
    write_file(&mut fs, "/tmp/x", "content").unwrap();
    let bytes = Bytes::from(encode_overlay(&fs.overlay_entries().unwrap()));
    for length in 0..bytes.len() {
        assert!(decode_overlay(bytes.slice(..length)).is_err(), "{length}");
    }
    let longer = Bytes::from([&bytes[..], b"x"].concat());
    assert_eq!(decode_overlay(longer).unwrap_err(), CodecError::Rest { count: 1 });
    let mut kind = bytes.to_vec();
    kind[4] = 9;
    assert_eq!(decode_overlay(kind.into()).unwrap_err(), CodecError::Kind { entry: 0, found: 9 });
    let mut huge = bytes.to_vec();
    huge[5..13].fill(0xff);
    assert_eq!(decode_overlay(huge.into()).unwrap_err(), CodecError::Short { entry: 0 });
    // A folder with content: one entry with kind 0, the path "/", and one byte behind it.
    let mut folder = vec![1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'/'];
    folder.extend([0; 8 + 4 + 3 * 12]);
    folder.extend([1, 0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(decode_overlay(folder.into()).unwrap_err(), CodecError::Content { entry: 0, count: 1 });
}

#[test]
fn entries_that_do_not_fit_together_are_refused() {
    let file = |path: &str| OverlayEntry {
        path: path.into(),
        ino: 7,
        permissions: 0o644,
        atime: NOW,
        mtime: NOW,
        ctime: NOW,
        kind: OverlayKind::File(Bytes::from_static(b"x")),
    };
    for path in ["/none/x", "/lib/x", "relative", "/../x", ""] {
        let refused = fs().restore_overlay(vec![file(path)]);
        assert!(matches!(refused, Err(ExportError::Entry { .. })), "{path:?}");
    }
    assert!(fs().restore_overlay(vec![file("/x"), file("/x")]).is_err());
    let saved = |fd, target| SavedDescriptor { fd, close_on_exec: false, target };
    let shared = SavedTarget::SharedWith { fd: 9 };
    assert!(fs().restore_descriptors(&[saved(3, shared)]).is_err());
    let null = SavedTarget::Device { device: Device::Null, flags: OpenFlags::RDONLY };
    assert!(fs().restore_descriptors(&[saved(3, null.clone()), saved(3, null.clone())]).is_err());
    assert!(fs().restore_descriptors(&[saved(i32::MAX, null)]).is_err());
}

#[test]
fn a_tree_deeper_than_a_path_is_refused_not_recursed_into() {
    let mut fs = FileSystem::new(Vec::new(), 1 << 24);
    // Each round puts the tree made so far below a new, long chain of folders.
    let name = "d".repeat(200);
    for round in 0..30 {
        let top = format!("/tmp/{round}");
        fs.mkdir(&top, 0o755, NOW).unwrap();
        fs.mkdir(&format!("{top}/{name}"), 0o755, NOW).unwrap();
        if round > 0 {
            fs.rename(&format!("/tmp/{}", round - 1), &format!("{top}/{name}/inner"), NOW).unwrap();
        }
    }
    assert!(matches!(fs.overlay_entries(), Err(ExportError::PathTooLong { .. })));
}
