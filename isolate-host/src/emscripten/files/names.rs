//! What changes names: making, removing, moving and linking nodes.

use super::kinds::{FileKind, Follow, PATH_MAX, PERMISSIONS, Timestamp};
use super::overlay::{NodeId, UpperDirectory, UpperKind};
use super::walk::Found;
use super::{Errno, FileSystem, Place};

impl FileSystem {
    pub fn mkdir(&mut self, path: &str, mode: u32, now: Timestamp) -> Result<(), Errno> {
        let found = self.walk(path, Follow::No)?;
        if found.place.is_some() {
            return Err(Errno::EEXIST);
        }
        self.create(&found, mode, UpperKind::Directory(UpperDirectory::default()), now)?;
        Ok(())
    }

    pub fn symlink(&mut self, target: &str, path: &str, now: Timestamp) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let found = self.walk(path, Follow::No)?;
        if found.place.is_some() {
            return Err(Errno::EEXIST);
        }
        if found.wants_directory {
            return Err(Errno::ENOENT);
        }
        self.create(&found, 0o777, UpperKind::Symlink(target.into()), now)?;
        Ok(())
    }

    pub fn readlink(&self, path: &str) -> Result<&str, Errno> {
        let (_, place) = self.find(path, Follow::No)?;
        self.symlink_target(place).ok_or(Errno::EINVAL)
    }

    pub fn unlink(&mut self, path: &str, now: Timestamp) -> Result<(), Errno> {
        let (found, place) = self.find(path, Follow::No)?;
        match self.kind(place) {
            FileKind::Directory => Err(Errno::EISDIR),
            FileKind::Device => Err(Errno::EPERM),
            FileKind::File | FileKind::Symlink => self.take_away(&found, now),
        }
    }

    pub fn rmdir(&mut self, path: &str, now: Timestamp) -> Result<(), Errno> {
        let (found, place) = self.find(path, Follow::No)?;
        if self.kind(place) != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if found.ends_in_dots {
            return Err(Errno::EINVAL);
        }
        if found.is_root() {
            return Err(Errno::EBUSY);
        }
        if !self.children(place).is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.take_away(&found, now)
    }

    pub fn rename(&mut self, from: &str, to: &str, now: Timestamp) -> Result<(), Errno> {
        let (source, moved) = self.find(from, Follow::No)?;
        let target = self.walk(to, Follow::No)?;
        if source.ends_in_dots || target.ends_in_dots {
            return Err(Errno::EINVAL);
        }
        if source.is_root() || target.is_root() {
            return Err(Errno::EBUSY);
        }
        let kind = self.kind(moved);
        if kind == FileKind::Device {
            return Err(Errno::EPERM);
        }
        if target.wants_directory && kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if target.path.strip_prefix(&source.path).is_some_and(|rest| rest.starts_with('/')) {
            return Err(Errno::EINVAL);
        }
        if let Some(replaced) = target.place {
            if source.path == target.path {
                return Ok(());
            }
            self.check_replaceable(kind, replaced)?;
        }
        self.relink(&source, moved, &target, now)
    }

    /// Whether a rename of something of this kind may replace what is there.
    fn check_replaceable(&self, moved: FileKind, replaced: Place) -> Result<(), Errno> {
        match (moved, self.kind(replaced)) {
            (FileKind::Directory, FileKind::Directory) if self.children(replaced).is_empty() => Ok(()),
            (FileKind::Directory, FileKind::Directory) => Err(Errno::ENOTEMPTY),
            (FileKind::Directory, _) => Err(Errno::ENOTDIR),
            (_, FileKind::Directory) => Err(Errno::EISDIR),
            (_, FileKind::Device) => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }

    fn relink(&mut self, source: &Found, moved: Place, target: &Found, now: Timestamp) -> Result<(), Errno> {
        let old_parent = self.own_directory(source.parent_path())?;
        let new_parent = self.own_directory(target.parent_path())?;
        let id = self.own_child(old_parent, source.name(), moved)?;
        // The node keeps a holder while it has no name, or it would be freed between the two.
        self.overlay.opened(id);
        let result = self.move_name(source, old_parent, target, new_parent, id, now);
        self.overlay.closed(id);
        result
    }

    fn move_name(
        &mut self,
        source: &Found,
        old_parent: NodeId,
        target: &Found,
        new_parent: NodeId,
        id: NodeId,
        now: Timestamp,
    ) -> Result<(), Errno> {
        let in_layers = self.layers_have(old_parent, source.name());
        self.overlay.unlink(old_parent, source.name(), in_layers)?;
        if target.place.is_some() {
            // No whiteout: the name is taken again at once.
            self.overlay.unlink(new_parent, target.name(), false)?;
        }
        self.overlay.link(new_parent, target.name(), id);
        self.overlay.get_mut(id).ctime = now;
        self.touch(old_parent, now);
        self.touch(new_parent, now);
        Ok(())
    }

    /// Adds a node under a name that is free.
    pub(super) fn create(
        &mut self,
        found: &Found,
        mode: u32,
        kind: UpperKind,
        now: Timestamp,
    ) -> Result<NodeId, Errno> {
        let parent = self.own_directory(found.parent_path())?;
        let id = self.overlay.insert(None, mode & PERMISSIONS, kind, now)?;
        self.overlay.link(parent, found.name(), id);
        self.touch(parent, now);
        Ok(id)
    }

    fn take_away(&mut self, found: &Found, now: Timestamp) -> Result<(), Errno> {
        let parent = self.own_directory(found.parent_path())?;
        let in_layers = self.layers_have(parent, found.name());
        self.overlay.unlink(parent, found.name(), in_layers)?;
        self.touch(parent, now);
        Ok(())
    }

    fn layers_have(&self, parent: NodeId, name: &str) -> bool {
        self.lower_child(Place::Upper(parent), name, &mut String::new()).is_some()
    }
}
