//! Bytes in and out of open files, and the records of open folders.

use super::kinds::{Device, DirEntry, FileKind, Follow, OpenFlags, Timestamp, Transfer, Whence};
use super::overlay::{NodeId, UpperKind};
use super::{Errno, FileSystem, Place};

impl FileSystem {
    /// Reads at the description's offset and moves it.
    pub fn read(&mut self, fd: i32, into: &mut [u8]) -> Result<Transfer, Errno> {
        let offset = self.descriptors.get(fd)?.offset;
        let done = self.read_at(fd, offset, into)?;
        if let Transfer::Done(count) = done {
            self.descriptors.get_mut(fd)?.offset += count as u64;
        }
        Ok(done)
    }

    pub fn pread(&self, fd: i32, offset: u64, into: &mut [u8]) -> Result<Transfer, Errno> {
        if self.device_of(fd)?.is_some() {
            return Err(Errno::ESPIPE);
        }
        self.read_at(fd, offset, into)
    }

    /// Writes at the description's offset, or at the end with `O_APPEND`, and moves it.
    pub fn write(&mut self, fd: i32, bytes: &[u8], now: Timestamp) -> Result<Transfer, Errno> {
        let open = self.descriptors.get(fd)?;
        let offset = match open.place() {
            Some(place) if open.flags.contains(OpenFlags::APPEND) => self.stat_of(place).size,
            _ => open.offset,
        };
        let done = self.write_at(fd, offset, bytes, now)?;
        if let Transfer::Done(count) = done {
            self.descriptors.get_mut(fd)?.offset = offset + count as u64;
        }
        Ok(done)
    }

    pub fn pwrite(&mut self, fd: i32, offset: u64, bytes: &[u8], now: Timestamp) -> Result<Transfer, Errno> {
        if self.device_of(fd)?.is_some() {
            return Err(Errno::ESPIPE);
        }
        self.write_at(fd, offset, bytes, now)
    }

    pub fn seek(&mut self, fd: i32, by: i64, whence: Whence) -> Result<u64, Errno> {
        let open = self.descriptors.get(fd)?;
        let place = open.place().ok_or(Errno::ESPIPE)?;
        let base = match whence {
            Whence::Start => 0,
            Whence::Current => open.offset,
            Whence::End => self.content(place).map_or(0, |content| content.len() as u64),
        };
        let to = base.checked_add_signed(by).filter(|&to| i64::try_from(to).is_ok()).ok_or(Errno::EINVAL)?;
        let open = self.descriptors.get_mut(fd)?;
        open.offset = to;
        if to == 0 {
            // `rewinddir`: the records are read afresh.
            open.listing = None;
        }
        Ok(to)
    }

    pub fn truncate(&mut self, path: &str, size: u64, now: Timestamp) -> Result<(), Errno> {
        let (_, place) = self.find(path, Follow::Yes)?;
        match self.kind(place) {
            FileKind::Directory => return Err(Errno::EISDIR),
            FileKind::File => {}
            FileKind::Symlink | FileKind::Device => return Err(Errno::EINVAL),
        }
        let id = self.own_path(path, Follow::Yes)?;
        self.resize(id, size, now)
    }

    pub fn ftruncate(&mut self, fd: i32, size: u64, now: Timestamp) -> Result<(), Errno> {
        let id = self.writable(fd)?.ok_or(Errno::EINVAL)?;
        self.resize(id, size, now)
    }

    /// The next records of an open folder, at most `most` of them; none at the end.
    pub fn read_directory(&mut self, fd: i32, most: usize) -> Result<Vec<DirEntry>, Errno> {
        let open = self.descriptors.get(fd)?;
        let place =
            open.place().filter(|&place| self.kind(place) == FileKind::Directory).ok_or(Errno::ENOTDIR)?;
        if open.listing.is_none() {
            let parent =
                self.find(&format!("{}/..", open.path), Follow::No).map_or(place, |(_, parent)| parent);
            let listing = self.listing(place, parent);
            self.descriptors.get_mut(fd)?.listing = Some(listing);
        }
        let open = self.descriptors.get_mut(fd)?;
        let rest = usize::try_from(open.offset).unwrap_or(usize::MAX);
        let records: Vec<_> = open.listing.iter().flatten().skip(rest).take(most).cloned().collect();
        open.offset += records.len() as u64;
        Ok(records)
    }

    fn read_at(&self, fd: i32, offset: u64, into: &mut [u8]) -> Result<Transfer, Errno> {
        let open = self.descriptors.get(fd)?;
        if !open.flags.readable() {
            return Err(Errno::EBADF);
        }
        let place = match (open.place(), open.device()) {
            (Some(place), _) => place,
            (None, Some(Device::Null)) => return Ok(Transfer::Done(0)),
            (None, Some(Device::Zero)) => {
                into.fill(0);
                return Ok(Transfer::Done(into.len()));
            }
            (None, Some(device)) => return Ok(Transfer::Device(device)),
            (None, None) => return Err(Errno::EBADF),
        };
        let content = self.content(place).ok_or(Errno::EISDIR)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| content.get(offset..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(Transfer::Done(count))
    }

    fn write_at(&mut self, fd: i32, offset: u64, bytes: &[u8], now: Timestamp) -> Result<Transfer, Errno> {
        let Some(id) = self.writable(fd)? else {
            return match self.device_of(fd)? {
                Some(Device::Null | Device::Zero | Device::Random) => Ok(Transfer::Done(bytes.len())),
                Some(device) => Ok(Transfer::Device(device)),
                None => Err(Errno::EBADF),
            };
        };
        if bytes.is_empty() {
            return Ok(Transfer::Done(0));
        }
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::EFBIG)?;
        if end > self.size(id) {
            self.resize(id, end, now)?;
        }
        let node = self.overlay.get_mut(id);
        node.mtime = now;
        node.ctime = now;
        let UpperKind::File(content) = &mut node.kind else {
            return Err(Errno::EBADF);
        };
        // Both fit: the file was made long enough, in memory.
        let begin = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        content.to_mut()[begin..begin + bytes.len()].copy_from_slice(bytes);
        Ok(Transfer::Done(bytes.len()))
    }

    /// The private file a descriptor may write to; `None` when it is a device.
    fn writable(&self, fd: i32) -> Result<Option<NodeId>, Errno> {
        let open = self.descriptors.get(fd)?;
        if !open.flags.writable() {
            return Err(Errno::EBADF);
        }
        match open.place() {
            Some(Place::Upper(id)) => Ok(Some(id)),
            // Opening for writing copies up: there is no such description.
            Some(Place::Lower(_)) => Err(Errno::EROFS),
            None => Ok(None),
        }
    }

    fn size(&self, id: NodeId) -> u64 {
        self.content(Place::Upper(id)).map_or(0, |content| content.len() as u64)
    }

    /// Cuts a file or fills it up with zeros, within the quota.
    pub(super) fn resize(&mut self, id: NodeId, size: u64, now: Timestamp) -> Result<(), Errno> {
        let before = self.size(id);
        if size > before {
            self.overlay.charge(size - before)?;
        } else {
            self.overlay.refund(before - size);
        }
        let node = self.overlay.get_mut(id);
        node.mtime = now;
        node.ctime = now;
        let UpperKind::File(content) = &mut node.kind else {
            return Err(Errno::EINVAL);
        };
        let result = content.resize(size);
        if result.is_err() {
            self.overlay.refund(size.saturating_sub(before));
        }
        result
    }
}
