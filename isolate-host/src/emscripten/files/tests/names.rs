//! Names: resolving, making, moving, removing, linking.

use super::*;

#[test]
fn paths_are_resolved_as_posix_says() {
    let mut fs = fs();
    let refused = |fs: &FileSystem, path: &str| fs.stat(path, Follow::Yes).unwrap_err();
    assert_eq!(refused(&fs, ""), Errno::ENOENT);
    assert_eq!(refused(&fs, "/lib/none/x"), Errno::ENOENT);
    assert_eq!(refused(&fs, "/lib/mod.py/x"), Errno::ENOTDIR);
    assert_eq!(refused(&fs, "/lib/mod.py/"), Errno::ENOTDIR);
    assert_eq!(refused(&fs, "/lib/mod.py/.."), Errno::ENOTDIR);
    assert_eq!(refused(&fs, "/none/../lib"), Errno::ENOENT);
    assert_eq!(refused(&fs, &"a".repeat(256)), Errno::ENAMETOOLONG);
    assert_eq!(refused(&fs, &"a/".repeat(2100)), Errno::ENAMETOOLONG);
    assert_eq!(refused(&fs, "/a\0b"), Errno::EINVAL);
    assert!(fs.stat("/lib/./pkg/../../lib//mod.py", Follow::Yes).is_ok());
    assert!(fs.stat("/../..", Follow::Yes).is_ok());
    fs.chdir("/lib/pkg/").unwrap();
    assert_eq!(fs.getcwd(), "/lib/pkg");
    assert_eq!(read_file(&mut fs, "../mod.py").unwrap(), "first");
    assert_eq!(fs.chdir("a.py").unwrap_err(), Errno::ENOTDIR);
}

#[test]
fn symbolic_links_are_followed_in_bounds() {
    let mut fs = fs();
    fs.symlink("/lib/pkg", "/tmp/link", NOW).unwrap();
    fs.symlink("../lib/mod.py", "/tmp/relative", NOW).unwrap();
    fs.symlink("loop", "/tmp/loop", NOW).unwrap();
    fs.symlink("new", "/tmp/dangling", NOW).unwrap();
    assert_eq!(read_file(&mut fs, "/tmp/link/a.py").unwrap(), "a");
    assert_eq!(read_file(&mut fs, "/tmp/link/../mod.py").unwrap(), "first");
    assert_eq!(read_file(&mut fs, "/tmp/relative").unwrap(), "first");
    assert_eq!(read_file(&mut fs, "/tmp/loop").unwrap_err(), Errno::ELOOP);
    assert_eq!(fs.readlink("/tmp/link").unwrap(), "/lib/pkg");
    assert_eq!(fs.readlink("/lib").unwrap_err(), Errno::EINVAL);
    assert_eq!(fs.stat("/tmp/link", Follow::No).unwrap().kind, FileKind::Symlink);
    assert_eq!(fs.stat("/tmp/link/", Follow::No).unwrap().kind, FileKind::Directory);
    let nofollow = OpenFlags::RDONLY | OpenFlags::NOFOLLOW;
    assert_eq!(fs.open("/tmp/relative", nofollow, 0, NOW).unwrap_err(), Errno::ELOOP);
    write_file(&mut fs, "/tmp/dangling", "made").unwrap();
    assert_eq!(read_file(&mut fs, "/tmp/new").unwrap(), "made");
    let exclusive = OpenFlags::WRONLY | OpenFlags::CREAT | OpenFlags::EXCL;
    assert_eq!(fs.open("/tmp/loop", exclusive, 0, NOW).unwrap_err(), Errno::EEXIST);
    fs.unlink("/tmp/link", NOW).unwrap();
    assert_eq!(read_file(&mut fs, "/lib/pkg/a.py").unwrap(), "a");
}

#[test]
fn a_removed_name_stays_removed_and_can_come_back_empty() {
    let mut fs = fs();
    for name in ["a.py", "b.py", "c.py"] {
        fs.unlink(&format!("/lib/pkg/{name}"), NOW).unwrap();
    }
    fs.rmdir("/lib/pkg", NOW).unwrap();
    assert_eq!(list(&mut fs, "/lib").unwrap(), ["mod.py"]);
    fs.mkdir("/lib/pkg", 0o755, NOW).unwrap();
    assert_eq!(list(&mut fs, "/lib/pkg").unwrap(), Vec::<String>::new());
}

#[test]
fn a_folder_of_the_layers_moves_with_its_content() {
    let mut fs = fs();
    write_file(&mut fs, "/lib/pkg/own.py", "own").unwrap();
    fs.unlink("/lib/pkg/b.py", NOW).unwrap();
    fs.rename("/lib/pkg", "/tmp/moved", NOW).unwrap();
    assert_eq!(list(&mut fs, "/tmp/moved").unwrap(), ["a.py", "c.py", "own.py"]);
    assert_eq!(read_file(&mut fs, "/tmp/moved/c.py").unwrap(), "c");
    assert_eq!(fs.stat("/lib/pkg", Follow::Yes).unwrap_err(), Errno::ENOENT);
    assert_eq!(read_file(&mut fs, "/lib/pkg/a.py").unwrap_err(), Errno::ENOENT);
}

#[test]
fn a_folder_cannot_move_into_itself() {
    let mut fs = fs();
    assert_eq!(fs.rename("/lib", "/lib/pkg/lib", NOW).unwrap_err(), Errno::EINVAL);
    assert_eq!(fs.rename("/lib/pkg", "/lib", NOW).unwrap_err(), Errno::ENOTEMPTY);
    assert_eq!(fs.rename("/", "/x", NOW).unwrap_err(), Errno::EBUSY);
    assert_eq!(fs.rename("/lib/.", "/x", NOW).unwrap_err(), Errno::EINVAL);
    fs.rename("/lib", "/library", NOW).unwrap();
}

#[test]
fn devices_stay_where_they_are() {
    let mut fs = fs();
    assert_eq!(fs.unlink("/dev/null", NOW).unwrap_err(), Errno::EPERM);
    assert_eq!(fs.rename("/dev/null", "/tmp/null", NOW).unwrap_err(), Errno::EPERM);
    write_file(&mut fs, "/tmp/file", "x").unwrap();
    assert_eq!(fs.rename("/tmp/file", "/dev/null", NOW).unwrap_err(), Errno::EPERM);
    assert_eq!(fs.chmod("/dev/null", 0, Follow::Yes, NOW).unwrap_err(), Errno::EPERM);
}

#[test]
fn inode_numbers_survive_writing_and_moving() {
    let mut fs = fs();
    let before = fs.stat("/lib/mod.py", Follow::Yes).unwrap().ino;
    fs.chmod("/lib/mod.py", 0o700, Follow::Yes, NOW).unwrap();
    fs.rename("/lib/mod.py", "/tmp/x", NOW).unwrap();
    let after = fs.stat("/tmp/x", Follow::Yes).unwrap();
    assert_eq!((after.ino, after.mode, after.ctime), (before, 0o100_700, NOW));
    assert_eq!(after.mtime, Timestamp::OF_LAYERS);
}

#[test]
fn access_asks_for_what_matters() {
    let mut fs = fs();
    assert!(fs.access("/lib/mod.py", 6).is_ok());
    assert_eq!(fs.access("/lib/mod.py", 1).unwrap_err(), Errno::EACCES);
    assert_eq!(fs.access("/lib/mod.py", 8).unwrap_err(), Errno::EINVAL);
    fs.chmod("/lib/mod.py", 0o755, Follow::Yes, NOW).unwrap();
    assert!(fs.access("/lib/mod.py", 1).is_ok());
}

#[test]
fn the_quota_bounds_contents_and_names() {
    let mut fs = FileSystem::new(layers(), 10_000);
    let fd = fs.open("/tmp/big", OpenFlags::WRONLY | OpenFlags::CREAT, 0o644, NOW).unwrap();
    assert_eq!(fs.ftruncate(fd, 1 << 40, NOW).unwrap_err(), Errno::ENOSPC);
    assert_eq!(fs.pwrite(fd, u64::MAX - 1, b"xx", NOW).unwrap_err(), Errno::EFBIG);
    assert_eq!(fs.write(fd, &[0; 20_000], NOW).unwrap_err(), Errno::ENOSPC);
    let made = (0..1000).take_while(|n| fs.mkdir(&format!("/tmp/{n}"), 0o755, NOW).is_ok()).count();
    assert!((20..100).contains(&made), "{made}");
    (0..made).for_each(|n| fs.rmdir(&format!("/tmp/{n}"), NOW).unwrap());
    assert_eq!(fs.write(fd, &[0; 8000], NOW).unwrap(), Transfer::Done(8000));
    assert!(fs.statfs().blocks_free < 2);
}
