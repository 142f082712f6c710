//! What is known about nodes, and what of it may be set.

use super::kinds::{FileKind, Follow, NAME_MAX, PERMISSIONS, Stat, StatFs, Timestamp};
use super::overlay::NodeId;
use super::{Errno, FileSystem};

/// Bit of `access` that asks for permission to execute; reading and writing are always allowed.
const EXECUTE: u32 = 1;
const BLOCK: u64 = 4096;

impl FileSystem {
    pub fn stat(&self, path: &str, follow: Follow) -> Result<Stat, Errno> {
        let (_, place) = self.find(path, follow)?;
        Ok(self.stat_of(place))
    }

    pub fn fstat(&self, fd: i32) -> Result<Stat, Errno> {
        let open = self.descriptors.get(fd)?;
        Ok(match open.place() {
            Some(place) => self.stat_of(place),
            None => Stat {
                ino: open.device().map_or(0, |device| u64::from(device.rdev())),
                kind: FileKind::Device,
                mode: FileKind::Device.mode_bits() | 0o666,
                nlink: 1,
                size: 0,
                rdev: open.device().map_or(0, super::Device::rdev),
                atime: Timestamp::OF_LAYERS,
                mtime: Timestamp::OF_LAYERS,
                ctime: Timestamp::OF_LAYERS,
            },
        })
    }

    /// `mode` as `access` takes it: 4 read, 2 write, 1 execute, 0 exists.
    pub fn access(&self, path: &str, mode: u32) -> Result<(), Errno> {
        if mode > 7 {
            return Err(Errno::EINVAL);
        }
        let stat = self.stat(path, Follow::Yes)?;
        if mode & EXECUTE != 0 && stat.mode & 0o111 == 0 {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    pub fn chmod(&mut self, path: &str, mode: u32, follow: Follow, now: Timestamp) -> Result<(), Errno> {
        let id = self.own_path(path, follow)?;
        self.set_mode(id, mode, now);
        Ok(())
    }

    pub fn fchmod(&mut self, fd: i32, mode: u32, now: Timestamp) -> Result<(), Errno> {
        let id = self.own_descriptor(fd)?;
        self.set_mode(id, mode, now);
        Ok(())
    }

    /// Sets the times that are given.
    pub fn utimens(
        &mut self,
        path: &str,
        follow: Follow,
        atime: Option<Timestamp>,
        mtime: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Errno> {
        let id = self.own_path(path, follow)?;
        self.set_times(id, atime, mtime, now);
        Ok(())
    }

    pub fn futimens(
        &mut self,
        fd: i32,
        atime: Option<Timestamp>,
        mtime: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Errno> {
        let id = self.own_descriptor(fd)?;
        self.set_times(id, atime, mtime, now);
        Ok(())
    }

    /// What is left of the quota.
    pub fn statfs(&self) -> StatFs {
        let quota = self.overlay.quota();
        StatFs {
            block_size: BLOCK as u32,
            blocks: quota / BLOCK,
            blocks_free: quota.saturating_sub(self.overlay.used()) / BLOCK,
            longest_name: NAME_MAX as u32,
        }
    }

    fn set_mode(&mut self, id: NodeId, mode: u32, now: Timestamp) {
        let node = self.overlay.get_mut(id);
        node.permissions = mode & PERMISSIONS;
        node.ctime = now;
    }

    fn set_times(&mut self, id: NodeId, atime: Option<Timestamp>, mtime: Option<Timestamp>, now: Timestamp) {
        let node = self.overlay.get_mut(id);
        node.atime = atime.unwrap_or(node.atime);
        node.mtime = mtime.unwrap_or(node.mtime);
        node.ctime = now;
    }

    /// The private node at a path that exists.
    pub(super) fn own_path(&mut self, path: &str, follow: Follow) -> Result<NodeId, Errno> {
        let (found, place) = self.find(path, follow)?;
        if self.kind(place) == FileKind::Device {
            return Err(Errno::EPERM);
        }
        if found.is_root() {
            return self.own_directory("/");
        }
        let parent = self.own_directory(found.parent_path())?;
        self.own_child(parent, found.name(), place)
    }

    fn own_descriptor(&mut self, fd: i32) -> Result<NodeId, Errno> {
        let open = self.descriptors.get(fd)?;
        let place = open.place().ok_or(Errno::EINVAL)?;
        let path = open.path.clone();
        self.own_open(place, &path)
    }
}
