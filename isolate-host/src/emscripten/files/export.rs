//! The private part of a file system as data, for a snapshot and back.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::descriptors::{Description, Descriptors, Target};
use super::kinds::{Device, FileKind, Follow, OpenFlags, PATH_MAX, PERMISSIONS, Timestamp};
use super::overlay::{Content, Entry, NODE_COST, NodeId, ROOT, UpperDirectory, UpperKind};
use super::{Errno, FileSystem, Place};

/// One node or whiteout of the overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayEntry {
    /// Absolute and canonical; a folder comes before what is in it.
    pub path: String,
    pub ino: u64,
    pub permissions: u32,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub kind: OverlayKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverlayKind {
    /// A folder, and the path in the layers whose entries show through.
    Directory {
        lower: Option<String>,
    },
    File(Bytes),
    Symlink(String),
    /// The guest removed what the layers have here.
    Removed,
}

/// A descriptor as a snapshot keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedDescriptor {
    pub fd: i32,
    pub close_on_exec: bool,
    pub target: SavedTarget,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SavedTarget {
    Path {
        path: String,
        offset: u64,
        flags: OpenFlags,
    },
    Device {
        device: Device,
        flags: OpenFlags,
    },
    /// Made by `dup` of this lower descriptor: they share the offset.
    SharedWith {
        fd: i32,
    },
}

/// A descriptor that no snapshot can keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsavable {
    #[error("descriptor {fd} is open for writing on `{path}`; close the file at the end of the top level")]
    Writable { fd: i32, path: String },
    #[error(
        "descriptor {fd} is open on `{path}`, which has been removed or replaced; close the file at the end of the top level"
    )]
    Unlinked { fd: i32, path: String },
    #[error(
        "descriptor {fd} is open on a socket or another object of the host; close it at the end of the top level"
    )]
    Host { fd: i32 },
}

/// Why files or descriptors cannot be exported, or an export cannot be taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    #[error("found a path of more than {PATH_MAX} bytes below `{below}`, expected shorter ones")]
    PathTooLong { below: String },
    #[error("the saved file `{path}` cannot be put in place")]
    Entry { path: String, source: Errno },
    #[error("descriptor {fd} cannot be opened again")]
    Descriptor { fd: i32, source: Errno },
}

impl FileSystem {
    /// Every node and whiteout of the overlay, in an order that only depends on them.
    pub fn overlay_entries(&self) -> Result<Vec<OverlayEntry>, ExportError> {
        let mut entries = Vec::new();
        // A stack of its own: a guest decides how deep the tree is.
        let mut pending = vec![(String::new(), Entry::Node(ROOT))];
        while let Some((path, entry)) = pending.pop() {
            if path.len() >= PATH_MAX {
                let below = path.chars().take(100).collect();
                return Err(ExportError::PathTooLong { below });
            }
            if let Entry::Node(id) = entry
                && let Some(directory) = self.overlay.directory(id)
            {
                let children = directory.entries.iter().rev();
                pending.extend(children.map(|(name, child)| (format!("{path}/{name}"), *child)));
            }
            let path = if path.is_empty() { "/".to_owned() } else { path };
            entries.push(self.export_entry(path, entry));
        }
        Ok(entries)
    }

    fn export_entry(&self, path: String, entry: Entry) -> OverlayEntry {
        let id = match entry {
            Entry::Node(id) => id,
            Entry::Removed => {
                let never = Timestamp::default();
                return OverlayEntry {
                    path,
                    ino: 0,
                    permissions: 0,
                    atime: never,
                    mtime: never,
                    ctime: never,
                    kind: OverlayKind::Removed,
                };
            }
        };
        let node = self.overlay.get(id);
        let kind = match &node.kind {
            UpperKind::Directory(directory) => {
                OverlayKind::Directory { lower: directory.lower.as_deref().map(str::to_owned) }
            }
            UpperKind::File(Content::Shared(bytes)) => OverlayKind::File(bytes.clone()),
            UpperKind::File(Content::Own(bytes)) => OverlayKind::File(Bytes::copy_from_slice(bytes)),
            UpperKind::Symlink(target) => OverlayKind::Symlink(target.to_string()),
        };
        OverlayEntry {
            path,
            ino: node.ino,
            permissions: node.permissions,
            atime: node.atime,
            mtime: node.mtime,
            ctime: node.ctime,
            kind,
        }
    }

    /// Takes in what [`FileSystem::overlay_entries`] gave, on a fresh file system
    /// over the same layers. Contents stay shared until they are written to.
    pub fn restore_overlay(&mut self, entries: Vec<OverlayEntry>) -> Result<(), ExportError> {
        for entry in entries {
            let path = entry.path.clone();
            self.restore_entry(entry).map_err(|source| ExportError::Entry { path, source })?;
        }
        Ok(())
    }

    fn restore_entry(&mut self, entry: OverlayEntry) -> Result<(), Errno> {
        let OverlayEntry { path, ino, permissions, atime, mtime, ctime, kind } = entry;
        let id = if path == "/" {
            ROOT
        } else {
            let found = self.walk(&path, Follow::No)?;
            let Place::Upper(parent) = found.parent else {
                return Err(Errno::EINVAL);
            };
            if found.path != path || matches!(found.place, Some(Place::Upper(_))) {
                return Err(Errno::EINVAL);
            }
            let kind = match kind {
                OverlayKind::Directory { lower } => UpperKind::Directory(UpperDirectory {
                    lower: lower.map(Into::into),
                    ..UpperDirectory::default()
                }),
                OverlayKind::File(bytes) => UpperKind::File(Content::Shared(bytes)),
                OverlayKind::Symlink(target) => UpperKind::Symlink(target.into()),
                OverlayKind::Removed => {
                    self.overlay.charge(NODE_COST)?;
                    self.overlay.directory_mut(parent).entries.insert(found.name().into(), Entry::Removed);
                    return Ok(());
                }
            };
            let id = self.overlay.insert(Some(ino), permissions & PERMISSIONS, kind, mtime)?;
            self.overlay.link(parent, found.name(), id);
            id
        };
        let node = self.overlay.get_mut(id);
        (node.ino, node.permissions) = (ino, permissions & PERMISSIONS);
        (node.atime, node.mtime, node.ctime) = (atime, mtime, ctime);
        Ok(())
    }

    /// Every descriptor as a snapshot keeps it, or all those that none can keep.
    pub fn saved_descriptors(&self) -> Result<Vec<SavedDescriptor>, Vec<Unsavable>> {
        let mut first_of = HashMap::new();
        let (mut saved, mut refused) = (Vec::new(), Vec::new());
        for (fd, description, open) in self.descriptors.all() {
            let target = match first_of.get(&description) {
                Some(&fd) => Ok(SavedTarget::SharedWith { fd }),
                None => self.save(fd, open),
            };
            first_of.entry(description).or_insert(fd);
            let close_on_exec = self.descriptors.close_on_exec(fd).unwrap_or_default();
            match target {
                Ok(target) => saved.push(SavedDescriptor { fd, close_on_exec, target }),
                Err(problem) => refused.push(problem),
            }
        }
        if refused.is_empty() { Ok(saved) } else { Err(refused) }
    }

    fn save(&self, fd: i32, open: &Description) -> Result<SavedTarget, Unsavable> {
        let path = open.path.clone();
        let place = match open.target {
            Target::Device(Device::Host(_)) => return Err(Unsavable::Host { fd }),
            Target::Device(device) => {
                return Ok(SavedTarget::Device { device, flags: open.flags });
            }
            Target::Node(place) => place,
        };
        if open.flags.writable() {
            return Err(Unsavable::Writable { fd, path });
        }
        match self.find(&path, Follow::No) {
            Ok((_, found)) if found == place => {
                Ok(SavedTarget::Path { path, offset: open.offset, flags: open.flags })
            }
            _ => Err(Unsavable::Unlinked { fd, path }),
        }
    }

    /// Replaces the table of descriptors by a saved one.
    pub fn restore_descriptors(&mut self, saved: &[SavedDescriptor]) -> Result<(), ExportError> {
        self.close_all();
        for descriptor in saved {
            self.restore_descriptor(descriptor)
                .map_err(|source| ExportError::Descriptor { fd: descriptor.fd, source })?;
        }
        Ok(())
    }

    fn restore_descriptor(&mut self, saved: &SavedDescriptor) -> Result<(), Errno> {
        let description = match &saved.target {
            SavedTarget::SharedWith { fd } => {
                return self.descriptors.duplicate_to(*fd, saved.fd, saved.close_on_exec);
            }
            SavedTarget::Device { device: Device::Host(_), .. } => return Err(Errno::ENXIO),
            SavedTarget::Device { device, flags } => {
                Description::new(Target::Device(*device), *flags, String::new())
            }
            SavedTarget::Path { path, offset, flags } => {
                let (found, place) = self.find(path, Follow::No)?;
                if flags.writable() || !matches!(self.kind(place), FileKind::File | FileKind::Directory) {
                    return Err(Errno::EINVAL);
                }
                let mut description = Description::new(Target::Node(place), *flags, found.path);
                description.offset = *offset;
                description
            }
        };
        let held = description.place();
        self.descriptors.add_at(description, saved.fd)?;
        self.descriptors.set_close_on_exec(saved.fd, saved.close_on_exec)?;
        if let Some(Place::Upper(id)) = held {
            self.overlay.opened(id);
        }
        Ok(())
    }

    fn close_all(&mut self) {
        let held: Vec<NodeId> = self
            .descriptors
            .descriptions()
            .filter_map(|open| match open.target {
                Target::Node(Place::Upper(id)) => Some(id),
                _ => None,
            })
            .collect();
        self.descriptors = Descriptors::empty();
        held.into_iter().for_each(|id| self.overlay.closed(id));
    }
}
