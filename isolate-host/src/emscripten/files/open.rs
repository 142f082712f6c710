//! Opening, closing and duplicating descriptors.

use bytes::Bytes;

use super::descriptors::{Description, Target};
use super::kinds::{Device, FileKind, Follow, OpenFlags, Timestamp};
use super::overlay::{Content, UpperKind};
use super::walk::Found;
use super::{Errno, FileSystem, Place};

/// The directory descriptor that stands for the working directory.
pub const AT_FDCWD: i32 = -100;

impl FileSystem {
    /// The path a call such as `openat` means: relative to a directory descriptor
    /// unless it is absolute or the descriptor is [`AT_FDCWD`].
    pub fn at(&self, directory: i32, path: &str) -> Result<String, Errno> {
        if directory == AT_FDCWD || path.starts_with('/') || path.is_empty() {
            return Ok(path.to_owned());
        }
        let open = self.descriptors.get(directory)?;
        match open.place() {
            Some(place) if self.kind(place) == FileKind::Directory => Ok(format!("{}/{path}", open.path)),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Opens a file, a folder or a device and gives the lowest free descriptor.
    pub fn open(&mut self, path: &str, flags: OpenFlags, mode: u32, now: Timestamp) -> Result<i32, Errno> {
        let exclusive = flags.contains(OpenFlags::CREAT | OpenFlags::EXCL);
        let follow = if exclusive || flags.contains(OpenFlags::NOFOLLOW) { Follow::No } else { Follow::Yes };
        if flags.0 & 3 == 3 {
            return Err(Errno::EINVAL);
        }
        self.descriptors.check_room()?;
        let found = self.walk(path, follow)?;
        let target = match found.place {
            Some(_) if exclusive => return Err(Errno::EEXIST),
            Some(place) => self.open_existing(&found, place, flags, now)?,
            None => self.open_new(&found, flags, mode, now)?,
        };
        self.install(Description::new(target, flags, found.path))
    }

    /// Gives a descriptor to something the host keeps, such as a socket.
    pub fn open_host(&mut self, number: u64, flags: OpenFlags) -> Result<i32, Errno> {
        self.install(Description::new(Target::Device(Device::Host(number)), flags, String::new()))
    }

    /// Closes a descriptor; a host's object is told when it was the last one of it.
    pub fn close(&mut self, fd: i32) -> Result<Option<Device>, Errno> {
        let Some(last) = self.descriptors.remove(fd)? else {
            return Ok(None);
        };
        match last.target {
            Target::Node(Place::Upper(id)) => self.overlay.closed(id),
            Target::Node(Place::Lower(_)) => {}
            Target::Device(device) => return Ok(Some(device)),
        }
        Ok(None)
    }

    /// `fcntl(F_DUPFD)`, and `dup` when `least` is 0.
    pub fn dup(&mut self, fd: i32, least: i32, close_on_exec: bool) -> Result<i32, Errno> {
        self.descriptors.duplicate(fd, least, close_on_exec)
    }

    /// `dup3`; what `new` was is closed, and given back as [`FileSystem::close`] does.
    pub fn dup_to(&mut self, fd: i32, new: i32, close_on_exec: bool) -> Result<Option<Device>, Errno> {
        self.descriptors.get(fd)?;
        if fd == new {
            return Ok(None);
        }
        let closed = self.close(new).unwrap_or_default();
        self.descriptors.duplicate_to(fd, new, close_on_exec)?;
        Ok(closed)
    }

    /// `fcntl(F_GETFL)`.
    pub fn status_flags(&self, fd: i32) -> Result<OpenFlags, Errno> {
        Ok(OpenFlags(self.descriptors.get(fd)?.flags.0 & OpenFlags::STATUS))
    }

    /// `fcntl(F_SETFL)`: only `O_APPEND` and `O_NONBLOCK` change.
    pub fn set_status_flags(&mut self, fd: i32, flags: OpenFlags) -> Result<(), Errno> {
        let open = self.descriptors.get_mut(fd)?;
        open.flags.0 = (open.flags.0 & !OpenFlags::SETTABLE) | (flags.0 & OpenFlags::SETTABLE);
        Ok(())
    }

    /// `fcntl(F_GETFD)`.
    pub fn close_on_exec(&self, fd: i32) -> Result<bool, Errno> {
        self.descriptors.close_on_exec(fd)
    }

    /// `fcntl(F_SETFD)`.
    pub fn set_close_on_exec(&mut self, fd: i32, on: bool) -> Result<(), Errno> {
        self.descriptors.set_close_on_exec(fd, on)
    }

    /// The device a descriptor is open on, or `None` for files and folders.
    pub fn device_of(&self, fd: i32) -> Result<Option<Device>, Errno> {
        Ok(self.descriptors.get(fd)?.device())
    }

    /// The path a descriptor was opened at; empty for streams and the host's objects.
    pub fn path_of(&self, fd: i32) -> Result<&str, Errno> {
        Ok(&self.descriptors.get(fd)?.path)
    }

    fn open_existing(
        &mut self,
        found: &Found,
        place: Place,
        flags: OpenFlags,
        now: Timestamp,
    ) -> Result<Target, Errno> {
        let kind = self.kind(place);
        if flags.contains(OpenFlags::DIRECTORY) && kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        match kind {
            FileKind::Symlink => Err(Errno::ELOOP),
            FileKind::Device => self.device(place).map(Target::Device).ok_or(Errno::ENXIO),
            FileKind::Directory if flags.writable() || flags.contains(OpenFlags::CREAT) => Err(Errno::EISDIR),
            FileKind::Directory => Ok(Target::Node(place)),
            FileKind::File if flags.writable() => {
                let parent = self.own_directory(found.parent_path())?;
                let id = self.own_child(parent, found.name(), place)?;
                if flags.contains(OpenFlags::TRUNC) {
                    self.resize(id, 0, now)?;
                }
                Ok(Target::Node(Place::Upper(id)))
            }
            FileKind::File => Ok(Target::Node(place)),
        }
    }

    fn open_new(
        &mut self,
        found: &Found,
        flags: OpenFlags,
        mode: u32,
        now: Timestamp,
    ) -> Result<Target, Errno> {
        if !flags.contains(OpenFlags::CREAT) {
            return Err(Errno::ENOENT);
        }
        if found.wants_directory {
            return Err(Errno::EISDIR);
        }
        if flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        let empty = UpperKind::File(Content::Shared(Bytes::new()));
        Ok(Target::Node(Place::Upper(self.create(found, mode, empty, now)?)))
    }

    /// Puts a new description into the table; its node is held while it is there.
    pub(super) fn install(&mut self, description: Description) -> Result<i32, Errno> {
        let target = description.target;
        let fd = self.descriptors.add(description, 0)?;
        if let Target::Node(Place::Upper(id)) = target {
            self.overlay.opened(id);
        }
        Ok(fd)
    }
}
