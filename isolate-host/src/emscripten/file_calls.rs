//! Emscripten's `__syscall_*` file calls. Errors are returned negated.

use wasmtime::{Caller, Linker};

use super::clock::Clock;
use super::files::{Errno, Follow, OpenFlags, Stat, Timestamp};
use super::memory::GuestMemory;
use crate::isolate::guest::Guest;

const AT_SYMLINK_NOFOLLOW: i32 = 0x100;
const AT_REMOVEDIR: i32 = 0x200;
const AT_EMPTY_PATH: i32 = 0x1000;
/// Size of Emscripten's directory records.
const DIRENT: usize = 280;

type Answer = Result<i32, Errno>;

/// The guest's current time as file times have it.
pub(super) fn now(clock: &mut Clock) -> Timestamp {
    let nanos = clock.realtime();
    Timestamp { seconds: (nanos / 1_000_000_000) as i64, nanoseconds: (nanos % 1_000_000_000) as u32 }
}

/// Runs one call with memory and state at hand, and turns its error into a number.
fn answer(
    caller: &mut Caller<'_, Guest>,
    call: impl FnOnce(&mut GuestMemory<'_>, &mut Guest) -> Answer,
) -> i32 {
    let (mut memory, guest) = GuestMemory::with_guest(caller);
    call(&mut memory, guest).unwrap_or_else(Errno::negated)
}

/// Defines `env.NAME` as a call of the given arguments, with `memory` and `guest` in scope.
macro_rules! calls {
    ($linker:ident, $( $name:literal ($($argument:ident : $ty:ty),*) |$memory:ident, $guest:ident| $body:expr; )*) => {
        $(
            $linker.func_wrap("env", $name, |mut caller: Caller<'_, Guest>, $($argument: $ty),*| {
                answer(&mut caller, |$memory: &mut GuestMemory<'_>, $guest: &mut Guest| $body)
            })?;
        )*
    };
}

pub fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    define_open_and_stat(linker)?;
    define_names(linker)?;
    define_descriptors(linker)?;
    define_attributes(linker)
}

fn define_open_and_stat(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    calls! { linker,
        "__syscall_openat"(dir: i32, path: u32, flags: u32, varargs: u32) |memory, guest| {
            let path = guest.files.at(dir, &memory.c_string(path)?)?;
            let flags = OpenFlags(flags);
            let mode = if flags.contains(OpenFlags::CREAT) { memory.read_u32(varargs)? } else { 0 };
            let now = now(&mut guest.clock);
            guest.files.open(&path, flags, mode, now)
        };
        "__syscall_stat64"(path: u32, out: u32) |memory, guest| {
            let stat = guest.files.stat(&memory.c_string(path)?, Follow::Yes)?;
            write_stat(memory, out, &stat)
        };
        "__syscall_lstat64"(path: u32, out: u32) |memory, guest| {
            let stat = guest.files.stat(&memory.c_string(path)?, Follow::No)?;
            write_stat(memory, out, &stat)
        };
        "__syscall_newfstatat"(dir: i32, path: u32, out: u32, flags: i32) |memory, guest| {
            let name = memory.c_string(path)?;
            let stat = if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
                guest.files.fstat(dir)?
            } else {
                let path = guest.files.at(dir, &name)?;
                guest.files.stat(&path, follow(flags))?
            };
            write_stat(memory, out, &stat)
        };
        "__syscall_fstat64"(fd: i32, out: u32) |memory, guest| {
            let stat = guest.files.fstat(fd)?;
            write_stat(memory, out, &stat)
        };
        "__syscall_statfs64"(path: u32, size: u32, out: u32) |memory, guest| {
            guest.files.stat(&memory.c_string(path)?, Follow::Yes)?;
            write_statfs(memory, guest, size, out)
        };
        "__syscall_fstatfs64"(fd: i32, size: u32, out: u32) |memory, guest| {
            guest.files.fstat(fd)?;
            write_statfs(memory, guest, size, out)
        };
        "__syscall_faccessat"(dir: i32, path: u32, mode: u32, _flags: i32) |memory, guest| {
            let path = guest.files.at(dir, &memory.c_string(path)?)?;
            guest.files.access(&path, mode).map(|()| 0)
        };
        "__syscall_getcwd"(out: u32, size: u32) |memory, guest| {
            let cwd = guest.files.getcwd();
            if cwd.len() + 1 > size as usize {
                return Err(Errno::ERANGE);
            }
            memory.write(out, cwd.as_bytes())?;
            memory.write_u8(out + cwd.len() as u32, 0)?;
            Ok(cwd.len() as i32 + 1)
        };
        "__syscall_chdir"(path: u32) |memory, guest| guest.files.chdir(&memory.c_string(path)?).map(|()| 0);
        "__syscall_fchdir"(fd: i32) |_memory, guest| {
            let path = guest.files.path_of(fd)?.to_owned();
            guest.files.chdir(&path).map(|()| 0)
        };
    }
    Ok(())
}

fn define_names(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    calls! { linker,
        "__syscall_mkdirat"(dir: i32, path: u32, mode: u32) |memory, guest| {
            let path = guest.files.at(dir, &memory.c_string(path)?)?;
            let now = now(&mut guest.clock);
            guest.files.mkdir(&path, mode, now).map(|()| 0)
        };
        "__syscall_unlinkat"(dir: i32, path: u32, flags: i32) |memory, guest| {
            let path = guest.files.at(dir, &memory.c_string(path)?)?;
            let now = now(&mut guest.clock);
            let removed = if flags & AT_REMOVEDIR != 0 { guest.files.rmdir(&path, now) } else { guest.files.unlink(&path, now) };
            removed.map(|()| 0)
        };
        "__syscall_rmdir"(path: u32) |memory, guest| {
            let now = now(&mut guest.clock);
            guest.files.rmdir(&memory.c_string(path)?, now).map(|()| 0)
        };
        "__syscall_renameat"(from_dir: i32, from: u32, to_dir: i32, to: u32) |memory, guest| {
            let from = guest.files.at(from_dir, &memory.c_string(from)?)?;
            let to = guest.files.at(to_dir, &memory.c_string(to)?)?;
            let now = now(&mut guest.clock);
            guest.files.rename(&from, &to, now).map(|()| 0)
        };
        "__syscall_symlinkat"(target: u32, dir: i32, path: u32) |memory, guest| {
            let target = memory.c_string(target)?;
            let path = guest.files.at(dir, &memory.c_string(path)?)?;
            let now = now(&mut guest.clock);
            guest.files.symlink(&target, &path, now).map(|()| 0)
        };
        "__syscall_readlinkat"(dir: i32, path: u32, out: u32, size: u32) |memory, guest| {
            let path = guest.files.at(dir, &memory.c_string(path)?)?;
            let target = guest.files.readlink(&path)?.as_bytes();
            let length = target.len().min(size as usize);
            memory.write(out, &target[..length])?;
            Ok(length as i32)
        };
        "__syscall_getdents64"(fd: i32, out: u32, size: u32) |memory, guest| {
            let entries = guest.files.read_directory(fd, size as usize / DIRENT)?;
            let mut at = out;
            for entry in &entries {
                let mut record = [0; DIRENT];
                let name = &entry.name.as_bytes()[..entry.name.len().min(255)];
                record[..8].copy_from_slice(&entry.ino.to_le_bytes());
                // The next record's offset: nobody seeks in a directory by it.
                record[8..16].copy_from_slice(&u64::from(at - out + DIRENT as u32).to_le_bytes());
                record[16..18].copy_from_slice(&(DIRENT as u16).to_le_bytes());
                record[18] = entry.kind.dirent_type();
                record[19..19 + name.len()].copy_from_slice(name);
                memory.write(at, &record)?;
                at += DIRENT as u32;
            }
            Ok((at - out) as i32)
        };
    }
    Ok(())
}

fn define_descriptors(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    calls! { linker,
        "__syscall_dup"(fd: i32) |_memory, guest| guest.files.dup(fd, 0, false);
        "__syscall_dup3"(fd: i32, new: i32, flags: u32) |_memory, guest| {
            if fd == new {
                return Err(Errno::EINVAL);
            }
            guest.files.dup_to(fd, new, OpenFlags(flags).contains(OpenFlags::CLOEXEC))?;
            Ok(new)
        };
        "__syscall_fcntl64"(fd: i32, command: i32, varargs: u32) |memory, guest| fcntl(memory, guest, fd, command, varargs);
        "__syscall_ioctl"(fd: i32, _request: i32, _varargs: u32) |_memory, guest| {
            guest.files.fstat(fd)?;
            Err(Errno::ENOTTY)
        };
        "__syscall_ftruncate64"(fd: i32, size: i64) |_memory, guest| {
            let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
            let now = now(&mut guest.clock);
            guest.files.ftruncate(fd, size, now).map(|()| 0)
        };
        "__syscall_truncate64"(path: u32, size: i64) |memory, guest| {
            let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
            let now = now(&mut guest.clock);
            guest.files.truncate(&memory.c_string(path)?, size, now).map(|()| 0)
        };
        "__syscall_fdatasync"(fd: i32) |_memory, guest| guest.files.fstat(fd).map(|_| 0);
        "__syscall_fadvise64"(fd: i32, _offset: i64, _length: i64, _advice: i32) |_memory, guest| guest.files.fstat(fd).map(|_| 0);
    }
    Ok(())
}

fn define_attributes(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    calls! { linker,
        "__syscall_chmod"(path: u32, mode: u32) |memory, guest| {
            let now = now(&mut guest.clock);
            guest.files.chmod(&memory.c_string(path)?, mode, Follow::Yes, now).map(|()| 0)
        };
        "__syscall_fchmod"(fd: i32, mode: u32) |_memory, guest| {
            let now = now(&mut guest.clock);
            guest.files.fchmod(fd, mode, now).map(|()| 0)
        };
        "__syscall_fchmodat2"(dir: i32, path: u32, mode: u32, flags: i32) |memory, guest| {
            let path = guest.files.at(dir, &memory.c_string(path)?)?;
            let now = now(&mut guest.clock);
            guest.files.chmod(&path, mode, follow(flags), now).map(|()| 0)
        };
        // There is one user: giving a file to anybody changes nothing.
        "__syscall_fchown32"(fd: i32, _owner: i32, _group: i32) |_memory, guest| guest.files.fstat(fd).map(|_| 0);
        "__syscall_fchownat"(dir: i32, path: u32, _owner: i32, _group: i32, flags: i32) |memory, guest| {
            let path = guest.files.at(dir, &memory.c_string(path)?)?;
            guest.files.stat(&path, follow(flags)).map(|_| 0)
        };
        "__syscall_utimensat"(dir: i32, path: u32, times: u32, flags: i32) |memory, guest| {
            let now = now(&mut guest.clock);
            let (atime, mtime) = if times == 0 {
                (Some(now), Some(now))
            } else {
                (file_time(memory, times, now)?, file_time(memory, times + 16, now)?)
            };
            if path == 0 {
                return guest.files.futimens(dir, atime, mtime, now).map(|()| 0);
            }
            let path = guest.files.at(dir, &memory.c_string(path)?)?;
            guest.files.utimens(&path, follow(flags), atime, mtime, now).map(|()| 0)
        };
    }
    Ok(())
}

fn follow(flags: i32) -> Follow {
    if flags & AT_SYMLINK_NOFOLLOW != 0 { Follow::No } else { Follow::Yes }
}

/// One `struct timespec` of `utimensat`; none = leave as it is.
fn file_time(memory: &GuestMemory<'_>, at: u32, now: Timestamp) -> Result<Option<Timestamp>, Errno> {
    const UTIME_NOW: u32 = 0x3fff_ffff;
    const UTIME_OMIT: u32 = 0x3fff_fffe;
    match memory.read_u32(at + 8)? {
        UTIME_NOW => Ok(Some(now)),
        UTIME_OMIT => Ok(None),
        nanoseconds if nanoseconds < 1_000_000_000 => {
            Ok(Some(Timestamp { seconds: memory.read_u64(at)? as i64, nanoseconds }))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn fcntl(memory: &mut GuestMemory<'_>, guest: &mut Guest, fd: i32, command: i32, varargs: u32) -> Answer {
    const DUPLICATE: i32 = 0;
    const GET_DESCRIPTOR_FLAGS: i32 = 1;
    const SET_DESCRIPTOR_FLAGS: i32 = 2;
    const GET_STATUS_FLAGS: i32 = 3;
    const SET_STATUS_FLAGS: i32 = 4;
    const GET_LOCK: i32 = 12;
    const SET_LOCK: i32 = 13;
    const SET_LOCK_WAIT: i32 = 14;
    const DUPLICATE_CLOSE_ON_EXEC: i32 = 1030;
    const UNLOCKED: u16 = 2;
    let files = &mut guest.files;
    match command {
        DUPLICATE | DUPLICATE_CLOSE_ON_EXEC => {
            files.dup(fd, memory.read_u32(varargs)? as i32, command == DUPLICATE_CLOSE_ON_EXEC)
        }
        GET_DESCRIPTOR_FLAGS => files.close_on_exec(fd).map(i32::from),
        SET_DESCRIPTOR_FLAGS => {
            let on = memory.read_u32(varargs)? & 1 != 0;
            files.set_close_on_exec(fd, on).map(|()| 0)
        }
        GET_STATUS_FLAGS => files.status_flags(fd).map(|flags| flags.0 as i32),
        SET_STATUS_FLAGS => files.set_status_flags(fd, OpenFlags(memory.read_u32(varargs)?)).map(|()| 0),
        // One process: a lock is always free.
        GET_LOCK => {
            let lock = memory.read_u32(varargs)?;
            memory.write_u16(lock, UNLOCKED)?;
            Ok(0)
        }
        SET_LOCK | SET_LOCK_WAIT => files.fstat(fd).map(|_| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// Emscripten's `struct stat`, 96 bytes.
fn write_stat(memory: &mut GuestMemory<'_>, at: u32, stat: &Stat) -> Answer {
    const BLOCK: u32 = 4096;
    memory.bytes_mut(at, 96)?.fill(0);
    memory.write_u32(at, 1)?;
    memory.write_u32(at + 4, stat.mode)?;
    memory.write_u32(at + 8, stat.nlink)?;
    memory.write_u32(at + 20, stat.rdev)?;
    memory.write_u64(at + 24, stat.size)?;
    memory.write_u32(at + 32, BLOCK)?;
    memory.write_u32(at + 36, stat.size.div_ceil(512) as u32)?;
    for (offset, time) in [(40, stat.atime), (56, stat.mtime), (72, stat.ctime)] {
        memory.write_u64(at + offset, time.seconds as u64)?;
        memory.write_u32(at + offset + 8, time.nanoseconds)?;
    }
    memory.write_u64(at + 88, stat.ino)?;
    Ok(0)
}

/// Emscripten's `struct statfs`: type 0, bsize 4, blocks 8, bfree 12, bavail 16, files 20, ffree 24, fsid 28, namelen 36, frsize 40, flags 44.
fn write_statfs(memory: &mut GuestMemory<'_>, guest: &Guest, size: u32, at: u32) -> Answer {
    let statfs = guest.files.statfs();
    memory.bytes_mut(at, size as usize)?.fill(0);
    memory.write_u32(at + 4, statfs.block_size)?;
    memory.write_u32(at + 8, statfs.blocks as u32)?;
    for free in [12, 16] {
        memory.write_u32(at + free, statfs.blocks_free as u32)?;
    }
    memory.write_u32(at + 36, statfs.longest_name)?;
    memory.write_u32(at + 40, statfs.block_size)?;
    Ok(0)
}
