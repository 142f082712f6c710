//! The in-memory file system a guest sees: shared read-only layers under a
//! private writable overlay, and the table of open descriptors.
//!
//! ```text
//! descriptors ──▶ open descriptions ──▶ overlay nodes (private, counted against a quota)
//!                                  └──▶ layer nodes   (shared, immutable)
//! ```
//!
//! A name is looked up in the overlay first, then in the layers in the order
//! given: the first that has it wins. Folders of one path are one folder with the
//! entries of all. What a guest changes is copied up into the overlay: contents
//! stay shared until the first write, a renamed folder keeps pointing at the
//! layers' content. Removing what a layer has leaves a whiteout.
//!
//! No clock, no host file, no log: times come in as arguments, errors go out as
//! [`Errno`]. There is one user, who may do everything, as in Emscripten.

mod archive;
mod codec;
mod copy_up;
mod descriptors;
mod errno;
mod export;
mod kinds;
mod layer;
mod metadata;
mod names;
mod open;
mod overlay;
mod transfer;
mod view;
mod walk;

use bytes::Bytes;

pub use codec::{CodecError, decode_overlay, encode_overlay};
pub use descriptors::FIRST_FREE;
pub use errno::Errno;
pub use export::{ExportError, OverlayEntry, OverlayKind, SavedDescriptor, SavedTarget, Unsavable};
pub use kinds::{Device, DirEntry, FileKind, Follow, OpenFlags, Stat, StatFs, Timestamp, Transfer, Whence};
pub use layer::{Layer, LayerBuilder, LayerError};
pub use open::AT_FDCWD;

use descriptors::Descriptors;
use layer::{LowerKind, LowerNode};
use overlay::{NodeId, Overlay};

/// One guest's files and descriptors.
#[derive(Debug)]
pub struct FileSystem {
    /// First wins; the base layer with the devices is the last.
    layers: Vec<Layer>,
    overlay: Overlay,
    descriptors: Descriptors,
    /// Absolute and normalised.
    working_directory: String,
}

/// A node of one of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct LowerRef {
    layer: usize,
    node: u32,
}

/// Where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Upper(NodeId),
    Lower(LowerRef),
}

impl FileSystem {
    /// A file system over these layers whose own files may take `quota` bytes.
    ///
    /// Costs next to nothing however large the layers are. The layers' folders
    /// are completed by `/tmp`, `/home` and `/dev`; 0, 1 and 2 are open on the
    /// standard streams.
    pub fn new(mut layers: Vec<Layer>, quota: u64) -> Self {
        layers.push(Layer::base());
        Self {
            layers,
            overlay: Overlay::new(quota),
            descriptors: Descriptors::with_standard_streams(),
            working_directory: "/".to_owned(),
        }
    }

    /// Bytes of the quota in use.
    pub fn used(&self) -> u64 {
        self.overlay.used()
    }

    pub fn getcwd(&self) -> &str {
        &self.working_directory
    }

    pub fn chdir(&mut self, path: &str) -> Result<(), Errno> {
        let found = self.walk(path, Follow::Yes)?;
        let place = found.place.ok_or(Errno::ENOENT)?;
        if self.kind(place) != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        self.working_directory = found.path;
        Ok(())
    }

    /// The content of a file, shared where a layer has it.
    pub fn file_bytes(&self, path: &str) -> Result<Bytes, Errno> {
        let (_, place) = self.find(path, Follow::Yes)?;
        match place {
            Place::Lower(at) => match &self.lower(at).kind {
                LowerKind::File(content) => Ok(content.clone()),
                LowerKind::Directory(_) => Err(Errno::EISDIR),
                LowerKind::Device(_) => Err(Errno::EINVAL),
            },
            Place::Upper(_) => self.content(place).map(Bytes::copy_from_slice).ok_or(Errno::EISDIR),
        }
    }

    fn lower(&self, at: LowerRef) -> &LowerNode {
        self.layers[at.layer].node(at.node)
    }
}

#[cfg(test)]
mod tests;
