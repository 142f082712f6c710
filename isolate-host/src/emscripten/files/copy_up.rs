//! Makes what a layer has a guest's own, so that it can be changed.

use std::sync::Arc;

use super::kinds::Timestamp;
use super::layer::LowerKind;
use super::overlay::{Content, NodeId, ROOT, UpperDirectory, UpperKind};
use super::view::permissions;
use super::{Errno, FileSystem, LowerRef, Place};

impl FileSystem {
    /// The private directory at a canonical path, copied up with its ancestors if need be.
    pub(super) fn own_directory(&mut self, path: &str) -> Result<NodeId, Errno> {
        let mut here = ROOT;
        let mut scratch = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let child = self.child(Place::Upper(here), name, &mut scratch).ok_or(Errno::ENOENT)?;
            here = self.own_child(here, name, child)?;
            if self.overlay.directory(here).is_none() {
                return Err(Errno::ENOTDIR);
            }
        }
        Ok(here)
    }

    /// The private node of a child of a private directory.
    pub(super) fn own_child(&mut self, parent: NodeId, name: &str, child: Place) -> Result<NodeId, Errno> {
        match child {
            Place::Upper(id) => Ok(id),
            Place::Lower(at) => {
                let id = self.copy_up(at)?;
                self.overlay.link(parent, name, id);
                Ok(id)
            }
        }
    }

    /// The private node behind an open description, which may have lost its name since.
    pub(super) fn own_open(&mut self, place: Place, path: &str) -> Result<NodeId, Errno> {
        let at = match place {
            Place::Upper(id) => return Ok(id),
            Place::Lower(at) => at,
        };
        let found = self.walk(path, super::Follow::No)?;
        if found.place == Some(place) && !found.is_root() {
            let parent = self.own_directory(found.parent_path())?;
            return self.own_child(parent, found.name(), place);
        }
        self.copy_up(at)
    }

    /// Copies a layer's node; contents and children stay shared, and whoever has
    /// it open has the copy open from now on.
    fn copy_up(&mut self, at: LowerRef) -> Result<NodeId, Errno> {
        let node = self.lower(at);
        let (ino, mtime, mode) = (node.ino, node.mtime, permissions(node.file_kind()));
        let copy = match &node.kind {
            LowerKind::Directory(_) => UpperKind::Directory(UpperDirectory {
                lower: Some(Arc::clone(&node.path)),
                ..UpperDirectory::default()
            }),
            LowerKind::File(content) => UpperKind::File(Content::Shared(content.clone())),
            LowerKind::Device(_) => return Err(Errno::EPERM),
        };
        let id = self.overlay.insert(Some(ino), mode, copy, mtime)?;
        for _ in 0..self.descriptors.retarget(Place::Lower(at), Place::Upper(id)) {
            self.overlay.opened(id);
        }
        Ok(id)
    }

    /// Notes that a directory's entries changed.
    pub(super) fn touch(&mut self, id: NodeId, now: Timestamp) {
        let node = self.overlay.get_mut(id);
        node.mtime = now;
        node.ctime = now;
    }
}
