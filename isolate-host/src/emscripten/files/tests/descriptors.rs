//! Descriptors: numbers, sharing, offsets, and nodes that outlive their names.

use super::*;

const CREATE: OpenFlags = OpenFlags(2 | 0o100);

#[test]
fn the_lowest_free_number_is_given() {
    let mut fs = fs();
    let open = |fs: &mut FileSystem| fs.open("/lib/mod.py", OpenFlags::RDONLY, 0, NOW).unwrap();
    assert_eq!((open(&mut fs), open(&mut fs), open(&mut fs)), (3, 4, 5));
    fs.close(4).unwrap();
    assert_eq!(open(&mut fs), 4);
    assert_eq!(fs.dup(3, 10, false).unwrap(), 10);
    assert_eq!(fs.close(4), Ok(None));
    assert_eq!(fs.close(4).unwrap_err(), Errno::EBADF);
    assert_eq!(fs.close(-1).unwrap_err(), Errno::EBADF);
    assert_eq!(fs.close(0), Ok(Some(Device::Stdin)));
    assert_eq!(open(&mut fs), 0);
}

#[test]
fn there_is_a_limit_and_it_makes_no_file() {
    let mut fs = fs();
    let opened = (0..2000).take_while(|_| fs.open("/lib/mod.py", OpenFlags::RDONLY, 0, NOW).is_ok()).count();
    assert_eq!(opened, 1021);
    assert_eq!(fs.open("/tmp/new", CREATE, 0, NOW).unwrap_err(), Errno::EMFILE);
    assert_eq!(fs.stat("/tmp/new", Follow::Yes).unwrap_err(), Errno::ENOENT);
    assert_eq!(fs.dup(3, 0, false).unwrap_err(), Errno::EMFILE);
    assert_eq!(fs.dup(3, 5000, false).unwrap_err(), Errno::EINVAL);
}

#[test]
fn duplicates_share_the_offset_and_openings_do_not() {
    let mut fs = fs();
    let one = fs.open("/lib/mod.py", OpenFlags::RDONLY, 0, NOW).unwrap();
    let same = fs.dup(one, 0, false).unwrap();
    let other = fs.open("/lib/mod.py", OpenFlags::RDONLY, 0, NOW).unwrap();
    let mut two = [0; 2];
    fs.read(one, &mut two).unwrap();
    assert_eq!(fs.seek(same, 0, Whence::Current).unwrap(), 2);
    assert_eq!(fs.seek(other, 0, Whence::Current).unwrap(), 0);
    assert_eq!(fs.dup_to(other, same, true).unwrap(), None);
    assert_eq!(fs.seek(same, -1, Whence::End).unwrap(), 4);
    assert_eq!(fs.seek(other, 0, Whence::Current).unwrap(), 4);
    assert!(fs.close_on_exec(same).unwrap() && !fs.close_on_exec(other).unwrap());
    assert_eq!(fs.seek(other, -9, Whence::Current).unwrap_err(), Errno::EINVAL);
    assert_eq!(fs.dup_to(other, 5000, false).unwrap_err(), Errno::EBADF);
    assert_eq!(fs.dup_to(99, 5, false).unwrap_err(), Errno::EBADF);
}

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open() {
    let mut fs = fs();
    let before = fs.used();
    let fd = fs.open("/tmp/file", CREATE, 0o600, NOW).unwrap();
    fs.write(fd, b"kept", NOW).unwrap();
    fs.unlink("/tmp/file", NOW).unwrap();
    write_file(&mut fs, "/tmp/file", "another").unwrap();
    fs.seek(fd, 0, Whence::Start).unwrap();
    assert_eq!(read_all(&mut fs, fd).unwrap(), "kept");
    assert_eq!(fs.fstat(fd).unwrap().nlink, 0);
    fs.unlink("/tmp/file", NOW).unwrap();
    fs.close(fd).unwrap();
    // Only the copy of `/tmp` itself is left.
    assert_eq!(fs.used(), before + overlay::NODE_COST);
}

#[test]
fn whoever_has_a_layer_file_open_sees_later_writes() {
    let mut fs = fs();
    let reader = fs.open("/lib/mod.py", OpenFlags::RDONLY, 0, NOW).unwrap();
    let writer = fs.open("/lib/mod.py", OpenFlags::RDWR, 0, NOW).unwrap();
    fs.write(writer, b"FIR", NOW).unwrap();
    assert_eq!(read_all(&mut fs, reader).unwrap(), "FIRst");
    fs.close(writer).unwrap();
    fs.unlink("/lib/mod.py", NOW).unwrap();
    fs.seek(reader, 0, Whence::Start).unwrap();
    assert_eq!(read_all(&mut fs, reader).unwrap(), "FIRst");
    fs.close(reader).unwrap();
}

#[test]
fn an_open_layer_file_can_be_changed_after_its_removal() {
    let mut fs = fs();
    let fd = fs.open("/lib/mod.py", OpenFlags::RDONLY, 0, NOW).unwrap();
    fs.unlink("/lib/mod.py", NOW).unwrap();
    fs.fchmod(fd, 0o600, NOW).unwrap();
    assert_eq!(fs.fstat(fd).unwrap().mode, 0o100_600);
    assert_eq!(read_all(&mut fs, fd).unwrap(), "first");
    fs.close(fd).unwrap();
}

#[test]
fn modes_of_opening_are_kept() {
    let mut fs = fs();
    let read = fs.open("/lib/mod.py", OpenFlags::RDONLY, 0, NOW).unwrap();
    assert_eq!(fs.write(read, b"x", NOW).unwrap_err(), Errno::EBADF);
    assert_eq!(fs.ftruncate(read, 0, NOW).unwrap_err(), Errno::EBADF);
    let append = fs.open("/lib/mod.py", OpenFlags::WRONLY | OpenFlags::APPEND, 0, NOW).unwrap();
    assert_eq!(fs.read(append, &mut [0]).unwrap_err(), Errno::EBADF);
    fs.write(append, b" one", NOW).unwrap();
    assert_eq!(read_all(&mut fs, read).unwrap(), "first one");
    fs.set_status_flags(append, OpenFlags::NONBLOCK).unwrap();
    assert_eq!(fs.status_flags(append).unwrap(), OpenFlags::WRONLY | OpenFlags::NONBLOCK);
    fs.write(append, b"F", NOW).unwrap();
    assert_eq!(read_file(&mut fs, "/lib/mod.py").unwrap(), "first oneF");
    assert_eq!(fs.open("/lib", OpenFlags::RDWR, 0, NOW).unwrap_err(), Errno::EISDIR);
    assert_eq!(fs.open("/lib/mod.py", OpenFlags::DIRECTORY, 0, NOW).unwrap_err(), Errno::ENOTDIR);
    assert_eq!(fs.open("/tmp/new/", CREATE, 0, NOW).unwrap_err(), Errno::EISDIR);
    let folder = fs.open("/lib", OpenFlags::RDONLY, 0, NOW).unwrap();
    assert_eq!(fs.read(folder, &mut [0]).unwrap_err(), Errno::EISDIR);
}

#[test]
fn writing_past_the_end_leaves_zeros() {
    let mut fs = fs();
    let fd = fs.open("/tmp/hole", CREATE, 0o600, NOW).unwrap();
    fs.pwrite(fd, 3, b"x", NOW).unwrap();
    assert_eq!(read_all(&mut fs, fd).unwrap(), "\0\0\0x");
    fs.ftruncate(fd, 1, NOW).unwrap();
    fs.truncate("/tmp/hole", 2, NOW).unwrap();
    assert_eq!(fs.fstat(fd).unwrap().size, 2);
    assert_eq!(fs.truncate("/tmp", 0, NOW).unwrap_err(), Errno::EISDIR);
}

#[test]
fn a_listing_is_steady_while_it_is_read_and_fresh_after_a_rewind() {
    let mut fs = fs();
    let fd = fs.open("/lib/pkg", OpenFlags::DIRECTORY, 0, NOW).unwrap();
    assert_eq!(fs.read_directory(fd, 3).unwrap().len(), 3);
    fs.unlink("/lib/pkg/b.py", NOW).unwrap();
    let rest: Vec<_> = fs.read_directory(fd, 9).unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(rest, ["b.py", "c.py"]);
    fs.seek(fd, 0, Whence::Start).unwrap();
    assert_eq!(fs.read_directory(fd, 9).unwrap().len(), 4);
    let parent = fs.stat("/lib", Follow::Yes).unwrap().ino;
    fs.seek(fd, 0, Whence::Start).unwrap();
    assert_eq!(fs.read_directory(fd, 2).unwrap()[1].ino, parent);
}

#[test]
fn paths_are_taken_relative_to_an_open_folder() {
    let mut fs = fs();
    let folder = fs.open("/lib/pkg", OpenFlags::DIRECTORY, 0, NOW).unwrap();
    let file = fs.open("/lib/mod.py", OpenFlags::RDONLY, 0, NOW).unwrap();
    assert_eq!(fs.at(folder, "a.py").unwrap(), "/lib/pkg/a.py");
    assert_eq!(fs.at(folder, "/x").unwrap(), "/x");
    assert_eq!(fs.at(AT_FDCWD, "x").unwrap(), "x");
    assert_eq!(fs.at(file, "x").unwrap_err(), Errno::ENOTDIR);
    assert_eq!(fs.at(77, "x").unwrap_err(), Errno::EBADF);
}

#[test]
fn the_host_is_told_when_its_object_is_closed_for_good() {
    let mut fs = fs();
    let fd = fs.open_host(42, OpenFlags::RDWR).unwrap();
    let copy = fs.dup(fd, 0, false).unwrap();
    assert_eq!(fs.device_of(copy).unwrap(), Some(Device::Host(42)));
    assert_eq!(fs.write(fd, b"x", NOW).unwrap(), Transfer::Device(Device::Host(42)));
    assert_eq!(fs.close(fd), Ok(None));
    assert_eq!(fs.close(copy), Ok(Some(Device::Host(42))));
}
