//! What is where, overlay and layers taken together.

use std::collections::BTreeMap;

use super::kinds::{DirEntry, FileKind, Stat};
use super::layer::LowerKind;
use super::overlay::{Entry, UpperKind};
use super::{Device, FileSystem, LowerRef, Place};

impl FileSystem {
    pub(super) fn kind(&self, place: Place) -> FileKind {
        match place {
            Place::Upper(id) => self.overlay.get(id).file_kind(),
            Place::Lower(at) => self.lower(at).file_kind(),
        }
    }

    pub(super) fn device(&self, place: Place) -> Option<Device> {
        match place {
            Place::Lower(at) => match self.lower(at).kind {
                LowerKind::Device(device) => Some(device),
                _ => None,
            },
            Place::Upper(_) => None,
        }
    }

    pub(super) fn symlink_target(&self, place: Place) -> Option<&str> {
        match place {
            Place::Upper(id) => match &self.overlay.get(id).kind {
                UpperKind::Symlink(target) => Some(target),
                _ => None,
            },
            Place::Lower(_) => None,
        }
    }

    /// The bytes of a file; nothing for other nodes.
    pub(super) fn content(&self, place: Place) -> Option<&[u8]> {
        match place {
            Place::Upper(id) => match &self.overlay.get(id).kind {
                UpperKind::File(content) => Some(content.as_slice()),
                _ => None,
            },
            Place::Lower(at) => match &self.lower(at).kind {
                LowerKind::File(content) => Some(content),
                _ => None,
            },
        }
    }

    pub(super) fn stat_of(&self, place: Place) -> Stat {
        let kind = self.kind(place);
        match place {
            Place::Upper(id) => {
                let node = self.overlay.get(id);
                Stat {
                    ino: node.ino,
                    kind,
                    mode: kind.mode_bits() | node.permissions,
                    nlink: u32::from(node.linked),
                    size: match &node.kind {
                        UpperKind::File(content) => content.len(),
                        UpperKind::Symlink(target) => target.len() as u64,
                        UpperKind::Directory(_) => super::kinds::PATH_MAX as u64,
                    },
                    rdev: 0,
                    atime: node.atime,
                    mtime: node.mtime,
                    ctime: node.ctime,
                }
            }
            Place::Lower(at) => {
                let node = self.lower(at);
                Stat {
                    ino: node.ino,
                    kind,
                    mode: kind.mode_bits() | permissions(kind),
                    nlink: 1,
                    size: match &node.kind {
                        LowerKind::File(content) => content.len() as u64,
                        LowerKind::Directory(_) => super::kinds::PATH_MAX as u64,
                        LowerKind::Device(_) => 0,
                    },
                    rdev: self.device(place).map_or(0, Device::rdev),
                    atime: node.mtime,
                    mtime: node.mtime,
                    ctime: node.mtime,
                }
            }
        }
    }

    /// The path in the layers whose entries show through a directory.
    pub(super) fn lower_path(&self, place: Place) -> Option<&str> {
        match place {
            Place::Upper(id) => self.overlay.directory(id)?.lower.as_deref(),
            Place::Lower(at) => Some(&self.lower(at).path),
        }
    }

    /// The first layer that has this path.
    pub(super) fn in_layers(&self, path: &str) -> Option<LowerRef> {
        self.layers
            .iter()
            .enumerate()
            .find_map(|(layer, tree)| Some(LowerRef { layer, node: tree.find(path)? }))
    }

    /// A name in what shows through a directory, whatever the overlay says about it.
    pub(super) fn lower_child(&self, directory: Place, name: &str, scratch: &mut String) -> Option<LowerRef> {
        let path = self.lower_path(directory)?;
        scratch.clear();
        scratch.push_str(path.trim_end_matches('/'));
        scratch.push('/');
        scratch.push_str(name);
        self.in_layers(scratch)
    }

    /// A name in a directory.
    pub(super) fn child(&self, directory: Place, name: &str, scratch: &mut String) -> Option<Place> {
        if let Place::Upper(id) = directory {
            match self.overlay.directory(id)?.entries.get(name) {
                Some(Entry::Node(child)) => return Some(Place::Upper(*child)),
                Some(Entry::Removed) => return None,
                None => {}
            }
        }
        self.lower_child(directory, name, scratch).map(Place::Lower)
    }

    /// The entries of a directory by name, without `.` and `..`.
    pub(super) fn children(&self, directory: Place) -> BTreeMap<&str, Place> {
        let mut all = BTreeMap::new();
        if let Some(path) = self.lower_path(directory) {
            for (layer, tree) in self.layers.iter().enumerate() {
                let Some(LowerKind::Directory(children)) = tree.find(path).map(|node| &tree.node(node).kind)
                else {
                    continue;
                };
                for &node in children {
                    all.entry(tree.node(node).name()).or_insert(Place::Lower(LowerRef { layer, node }));
                }
            }
        }
        if let Place::Upper(id) = directory {
            for (name, entry) in self.overlay.directory(id).into_iter().flat_map(|d| &d.entries) {
                match entry {
                    Entry::Node(child) => all.insert(name, Place::Upper(*child)),
                    Entry::Removed => all.remove(&**name),
                };
            }
        }
        all
    }

    /// A directory's records as `getdents` gives them.
    pub(super) fn listing(&self, directory: Place, parent: Place) -> Vec<DirEntry> {
        let record = |name: &str, place: Place| DirEntry {
            ino: self.ino(place),
            name: name.to_owned(),
            kind: self.kind(place),
        };
        let dots = [record(".", directory), record("..", parent)];
        dots.into_iter()
            .chain(self.children(directory).into_iter().map(|(name, place)| record(name, place)))
            .collect()
    }

    fn ino(&self, place: Place) -> u64 {
        match place {
            Place::Upper(id) => self.overlay.get(id).ino,
            Place::Lower(at) => self.lower(at).ino,
        }
    }
}

/// Layers carry no permissions of their own.
pub(super) fn permissions(kind: FileKind) -> u32 {
    match kind {
        FileKind::Directory => 0o755,
        FileKind::File => 0o644,
        FileKind::Symlink => 0o777,
        FileKind::Device => 0o666,
    }
}
