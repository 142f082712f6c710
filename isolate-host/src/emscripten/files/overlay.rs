//! The private nodes of one file system and what they cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::errno::Errno;
use super::kinds::{FileKind, Timestamp};

/// What a node or a whiteout costs of the quota besides its content, so that a
/// guest cannot fill the host's memory with empty files.
pub(super) const NODE_COST: u64 = 256;

/// Numbers of private nodes begin here; those of layers lie below.
pub(super) const FIRST_INO: u64 = 1 << 62;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

/// The root is private from the start: every walk begins there.
pub(super) const ROOT: NodeId = NodeId(0);

#[derive(Debug)]
pub(super) struct Overlay {
    nodes: Vec<Option<UpperNode>>,
    free: Vec<u32>,
    used: u64,
    quota: u64,
    next_ino: u64,
}

#[derive(Debug)]
pub(super) struct UpperNode {
    pub(super) ino: u64,
    pub(super) permissions: u32,
    pub(super) atime: Timestamp,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
    pub(super) kind: UpperKind,
    /// Some directory has it.
    pub(super) linked: bool,
    /// Open descriptions of it; the node lives until both are gone.
    pub(super) opens: u32,
}

#[derive(Debug)]
pub(super) enum UpperKind {
    Directory(UpperDirectory),
    File(Content),
    Symlink(Box<str>),
}

#[derive(Debug, Default)]
pub(super) struct UpperDirectory {
    pub(super) entries: BTreeMap<Box<str>, Entry>,
    /// The path in the layers whose entries show through.
    pub(super) lower: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Node(NodeId),
    /// The layers have this name, and the guest removed it.
    Removed,
}

/// A file's bytes: a shared slice until somebody writes.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Shared(Bytes),
    Own(Vec<u8>),
}

impl Content {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    /// Cuts, or fills up with zeros; a cut of shared bytes copies nothing.
    pub(super) fn resize(&mut self, size: u64) -> Result<(), Errno> {
        let size = usize::try_from(size).map_err(|_| Errno::EFBIG)?;
        match self {
            Self::Shared(bytes) if size <= bytes.len() => bytes.truncate(size),
            _ => {
                let bytes = self.to_mut();
                bytes.try_reserve(size.saturating_sub(bytes.len())).map_err(|_| Errno::ENOSPC)?;
                bytes.resize(size, 0);
            }
        }
        Ok(())
    }

    pub(super) fn to_mut(&mut self) -> &mut Vec<u8> {
        if let Self::Shared(bytes) = self {
            *self = Self::Own(bytes.to_vec());
        }
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(_) => unreachable!("replaced above"),
        }
    }
}

impl UpperNode {
    pub(super) fn file_kind(&self) -> FileKind {
        match self.kind {
            UpperKind::Directory(_) => FileKind::Directory,
            UpperKind::File(_) => FileKind::File,
            UpperKind::Symlink(_) => FileKind::Symlink,
        }
    }

    /// Its share of the quota.
    fn cost(&self) -> u64 {
        NODE_COST
            + match &self.kind {
                UpperKind::Directory(directory) => {
                    let removed = directory.entries.values().filter(|entry| **entry == Entry::Removed);
                    removed.count() as u64 * NODE_COST
                }
                UpperKind::File(content) => content.len(),
                UpperKind::Symlink(target) => target.len() as u64,
            }
    }
}

impl Overlay {
    pub(super) fn new(quota: u64) -> Self {
        let root = UpperNode {
            ino: 1,
            permissions: 0o755,
            atime: Timestamp::OF_LAYERS,
            mtime: Timestamp::OF_LAYERS,
            ctime: Timestamp::OF_LAYERS,
            kind: UpperKind::Directory(UpperDirectory {
                entries: BTreeMap::new(),
                lower: Some(Arc::from("/")),
            }),
            linked: true,
            opens: 0,
        };
        Self { nodes: vec![Some(root)], free: Vec::new(), used: 0, quota, next_ino: FIRST_INO }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn quota(&self) -> u64 {
        self.quota
    }

    pub(super) fn get(&self, id: NodeId) -> &UpperNode {
        self.nodes[id.0 as usize].as_ref().expect("a node id is only kept while the node lives")
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> &mut UpperNode {
        self.nodes[id.0 as usize].as_mut().expect("a node id is only kept while the node lives")
    }

    pub(super) fn directory(&self, id: NodeId) -> Option<&UpperDirectory> {
        match &self.get(id).kind {
            UpperKind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The directory a name was just resolved in.
    pub(super) fn directory_mut(&mut self, id: NodeId) -> &mut UpperDirectory {
        match &mut self.get_mut(id).kind {
            UpperKind::Directory(directory) => directory,
            _ => unreachable!("names are only resolved in directories"),
        }
    }

    /// Takes from the quota, or says that there is no space.
    pub(super) fn charge(&mut self, bytes: u64) -> Result<(), Errno> {
        let used = self.used.checked_add(bytes).filter(|&used| used <= self.quota);
        self.used = used.ok_or(Errno::ENOSPC)?;
        Ok(())
    }

    pub(super) fn refund(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Adds a node that no directory has yet. Without a number it gets the next one.
    pub(super) fn insert(
        &mut self,
        ino: Option<u64>,
        permissions: u32,
        kind: UpperKind,
        now: Timestamp,
    ) -> Result<NodeId, Errno> {
        let ino = ino.unwrap_or(self.next_ino);
        let node =
            UpperNode { ino, permissions, atime: now, mtime: now, ctime: now, kind, linked: false, opens: 0 };
        self.charge(node.cost())?;
        // The quota allows far fewer nodes than the numbers would.
        self.next_ino = self.next_ino.max(ino.saturating_add(1));
        Ok(match self.free.pop() {
            Some(slot) => {
                self.nodes[slot as usize] = Some(node);
                NodeId(slot)
            }
            None => {
                let slot = u32::try_from(self.nodes.len()).map_err(|_| Errno::ENOSPC)?;
                self.nodes.push(Some(node));
                NodeId(slot)
            }
        })
    }

    /// Puts a node under a name; what was there must have been taken away before.
    pub(super) fn link(&mut self, parent: NodeId, name: &str, child: NodeId) {
        let before = self.directory_mut(parent).entries.insert(name.into(), Entry::Node(child));
        if before == Some(Entry::Removed) {
            self.refund(NODE_COST);
        }
        self.get_mut(child).linked = true;
    }

    /// Takes a name away, leaving a whiteout when the layers have it too.
    pub(super) fn unlink(&mut self, parent: NodeId, name: &str, in_layers: bool) -> Result<(), Errno> {
        if in_layers {
            self.charge(NODE_COST)?;
        }
        let entries = &mut self.directory_mut(parent).entries;
        let before =
            if in_layers { entries.insert(name.into(), Entry::Removed) } else { entries.remove(name) };
        match before {
            Some(Entry::Node(child)) => {
                self.get_mut(child).linked = false;
                self.release(child);
            }
            Some(Entry::Removed) => self.refund(NODE_COST),
            None => {}
        }
        Ok(())
    }

    pub(super) fn opened(&mut self, id: NodeId) {
        self.get_mut(id).opens += 1;
    }

    pub(super) fn closed(&mut self, id: NodeId) {
        self.get_mut(id).opens -= 1;
        self.release(id);
    }

    /// Frees a node that nobody can reach any more.
    pub(super) fn release(&mut self, id: NodeId) {
        let node = self.get(id);
        if id != ROOT && !node.linked && node.opens == 0 {
            let cost = node.cost();
            self.refund(cost);
            self.nodes[id.0 as usize] = None;
            self.free.push(id.0);
        }
    }
}
