//! The file system against the rules of POSIX, and against a simple model.

mod descriptors;
mod export;
mod layers;
mod model;
mod names;

use super::*;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
const QUOTA: u64 = 1 << 20;

/// `/lib/mod.py`, `/lib/pkg/a.py`, `/lib/pkg/b.py` in one layer, `/lib/pkg/c.py` and another `/lib/mod.py` in the next.
fn layers() -> Vec<Layer> {
    let mut first = Layer::builder();
    first.file("/lib/mod.py", "first").unwrap();
    first.file("/lib/pkg/b.py", "b").unwrap().file("/lib/pkg/a.py", "a").unwrap();
    let mut second = Layer::builder();
    second.file("/lib/mod.py", "second").unwrap().file("/lib/pkg/c.py", "c").unwrap();
    vec![first.build(), second.build()]
}

fn fs() -> FileSystem {
    FileSystem::new(layers(), QUOTA)
}

fn write_file(fs: &mut FileSystem, path: &str, text: &str) -> Result<(), Errno> {
    let flags = OpenFlags::WRONLY | OpenFlags::CREAT | OpenFlags::TRUNC;
    let fd = fs.open(path, flags, 0o644, NOW)?;
    let written = fs.write(fd, text.as_bytes(), NOW);
    fs.close(fd)?;
    assert_eq!(written?, Transfer::Done(text.len()));
    Ok(())
}

fn read_file(fs: &mut FileSystem, path: &str) -> Result<String, Errno> {
    let fd = fs.open(path, OpenFlags::RDONLY, 0, NOW)?;
    let text = read_all(fs, fd);
    fs.close(fd)?;
    text
}

fn read_all(fs: &mut FileSystem, fd: i32) -> Result<String, Errno> {
    let (mut text, mut buffer) = (Vec::new(), [0; 7]);
    loop {
        match fs.read(fd, &mut buffer)? {
            Transfer::Done(0) => return Ok(String::from_utf8(text).unwrap()),
            Transfer::Done(count) => text.extend_from_slice(&buffer[..count]),
            Transfer::Device(device) => panic!("found {device:?}, expected a file"),
        }
    }
}

fn list(fs: &mut FileSystem, path: &str) -> Result<Vec<String>, Errno> {
    let fd = fs.open(path, OpenFlags::DIRECTORY, 0, NOW)?;
    let mut names = Vec::new();
    loop {
        let records = fs.read_directory(fd, 2)?;
        if records.is_empty() {
            break;
        }
        names.extend(records.into_iter().map(|record| record.name));
    }
    fs.close(fd)?;
    assert_eq!(names[..2], [".", ".."]);
    Ok(names.split_off(2))
}
