//! The WASI file calls Emscripten's C library uses. Errors are returned as positive numbers.

use wasmtime::{Caller, Linker};

use super::file_calls::now;
use super::files::{Device, Errno, FileKind, OpenFlags, Transfer, Whence};
use super::memory::GuestMemory;
use crate::isolate::guest::Guest;

const WASI: &str = "wasi_snapshot_preview1";

type Answer = Result<(), Errno>;

fn answer(
    caller: &mut Caller<'_, Guest>,
    call: impl FnOnce(&mut GuestMemory<'_>, &mut Guest) -> Answer,
) -> i32 {
    let (mut memory, guest) = GuestMemory::with_guest(caller);
    match call(&mut memory, guest) {
        Ok(()) => 0,
        Err(errno) => i32::from(errno.number()),
    }
}

pub fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(WASI, "fd_close", |mut caller: Caller<'_, Guest>, fd: i32| {
        answer(&mut caller, |_, guest| guest.files.close(fd).map(|_| ()))
    })?;
    linker.func_wrap(WASI, "fd_sync", |mut caller: Caller<'_, Guest>, fd: i32| {
        answer(&mut caller, |_, guest| guest.files.fstat(fd).map(|_| ()))
    })?;
    linker.func_wrap(WASI, "fd_fdstat_get", |mut caller: Caller<'_, Guest>, fd: i32, out: u32| {
        answer(&mut caller, |memory, guest| fdstat(memory, guest, fd, out))
    })?;
    linker.func_wrap(
        WASI,
        "fd_read",
        |mut caller: Caller<'_, Guest>, fd: i32, vectors: u32, count: u32, out: u32| {
            answer(&mut caller, |memory, guest| read(memory, guest, fd, vectors, count, None, out))
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_pread",
        |mut caller: Caller<'_, Guest>, fd: i32, vectors: u32, count: u32, offset: i64, out: u32| {
            answer(&mut caller, |memory, guest| read(memory, guest, fd, vectors, count, Some(offset), out))
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_write",
        |mut caller: Caller<'_, Guest>, fd: i32, vectors: u32, count: u32, out: u32| {
            answer(&mut caller, |memory, guest| write(memory, guest, fd, vectors, count, None, out))
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_pwrite",
        |mut caller: Caller<'_, Guest>, fd: i32, vectors: u32, count: u32, offset: i64, out: u32| {
            answer(&mut caller, |memory, guest| write(memory, guest, fd, vectors, count, Some(offset), out))
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_seek",
        |mut caller: Caller<'_, Guest>, fd: i32, by: i64, whence: i32, out: u32| {
            answer(&mut caller, |memory, guest| {
                let whence = match whence {
                    0 => Whence::Start,
                    1 => Whence::Current,
                    2 => Whence::End,
                    _ => return Err(Errno::EINVAL),
                };
                let position = guest.files.seek(fd, by, whence)?;
                Ok(memory.write_u64(out, position)?)
            })
        },
    )?;
    Ok(())
}

fn fdstat(memory: &mut GuestMemory<'_>, guest: &Guest, fd: i32, out: u32) -> Answer {
    const CHARACTER_DEVICE: u8 = 2;
    const DIRECTORY: u8 = 3;
    const REGULAR_FILE: u8 = 4;
    const SYMBOLIC_LINK: u8 = 7;
    let kind = match guest.files.fstat(fd)?.kind {
        FileKind::Device => CHARACTER_DEVICE,
        FileKind::Directory => DIRECTORY,
        FileKind::File => REGULAR_FILE,
        FileKind::Symlink => SYMBOLIC_LINK,
    };
    let append = guest.files.status_flags(fd)?.contains(OpenFlags::APPEND);
    memory.bytes_mut(out, 24)?.fill(0);
    memory.write_u8(out, kind)?;
    Ok(memory.write_u16(out + 2, u16::from(append))?)
}

fn read(
    memory: &mut GuestMemory<'_>,
    guest: &mut Guest,
    fd: i32,
    vectors: u32,
    count: u32,
    offset: Option<i64>,
    out: u32,
) -> Answer {
    let mut done = 0;
    for (at, length) in memory.io_vectors(vectors, count)? {
        let into = memory.bytes_mut(at, length)?;
        let transfer = match offset {
            None => guest.files.read(fd, into)?,
            Some(offset) => guest.files.pread(fd, position(offset, done)?, into)?,
        };
        let read = match transfer {
            Transfer::Done(read) => read,
            Transfer::Device(device) => read_device(guest, device, into)?,
        };
        done += read;
        if read < length {
            break;
        }
    }
    Ok(memory.write_u32(out, done as u32)?)
}

fn read_device(guest: &mut Guest, device: Device, into: &mut [u8]) -> Result<usize, Errno> {
    match device {
        Device::Zero => into.fill(0),
        Device::Random => guest.entropy.fill(into).map_err(|_| Errno::EIO)?,
        // Nobody types anything.
        Device::Null | Device::Stdin => return Ok(0),
        Device::Stdout | Device::Stderr => return Err(Errno::EBADF),
        Device::Host(_) => return Err(Errno::ENOSYS),
    }
    Ok(into.len())
}

fn write(
    memory: &mut GuestMemory<'_>,
    guest: &mut Guest,
    fd: i32,
    vectors: u32,
    count: u32,
    offset: Option<i64>,
    out: u32,
) -> Answer {
    let mut done = 0;
    for (at, length) in memory.io_vectors(vectors, count)? {
        let bytes = memory.bytes(at, length)?;
        let now = now(&mut guest.clock);
        let transfer = match offset {
            None => guest.files.write(fd, bytes, now)?,
            Some(offset) => guest.files.pwrite(fd, position(offset, done)?, bytes, now)?,
        };
        let written = match transfer {
            Transfer::Done(written) => written,
            Transfer::Device(device) => write_device(guest, device, bytes)?,
        };
        done += written;
        if written < length {
            break;
        }
    }
    Ok(memory.write_u32(out, done as u32)?)
}

fn write_device(guest: &mut Guest, device: Device, bytes: &[u8]) -> Result<usize, Errno> {
    match device {
        Device::Stdout => guest.output.write(1, bytes),
        Device::Stderr => guest.output.write(2, bytes),
        Device::Null | Device::Zero | Device::Random => {}
        Device::Stdin => return Err(Errno::EBADF),
        Device::Host(_) => return Err(Errno::ENOSYS),
    }
    Ok(bytes.len())
}

fn position(offset: i64, done: usize) -> Result<u64, Errno> {
    u64::try_from(offset).map(|offset| offset + done as u64).map_err(|_| Errno::EINVAL)
}
