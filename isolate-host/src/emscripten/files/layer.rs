//! A read-only tree of files, shared by every isolate that sees it.
//!
//! Built once, then only looked up: a path is one hash lookup, a file's content a
//! slice of a shared buffer, a listing sorted. The same content gives the same
//! layer, inode numbers included.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::kinds::{Device, FileKind, NAME_MAX, PATH_MAX, Timestamp};

/// Why a layer cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error(
        "found the path `{path}`, expected one that stays inside its folder, without `..`, empty names or control characters"
    )]
    Path { path: String },
    #[error("found `{path}` both as a file and as a folder")]
    Conflict { path: String },
    #[error("found `{path}`, which is neither a file nor a folder, expected only those")]
    Special { path: String },
    #[error("the content is larger than {limit} bytes in all")]
    TooLarge { limit: u64 },
    #[error("cannot read the archive")]
    Archive(#[source] std::io::Error),
    #[error("cannot read the zip archive")]
    Zip(#[from] zip::result::ZipError),
    #[error("cannot read `{path}`")]
    Io { path: String, source: std::io::Error },
}

/// An immutable tree of files and folders; cloning it copies a pointer.
#[derive(Clone)]
pub struct Layer(Arc<Tree>);

struct Tree {
    nodes: Vec<LowerNode>,
    by_path: HashMap<Arc<str>, u32>,
}

pub(super) struct LowerNode {
    pub(super) path: Arc<str>,
    pub(super) ino: u64,
    pub(super) mtime: Timestamp,
    pub(super) kind: LowerKind,
}

pub(super) enum LowerKind {
    /// Indices of the children, sorted by name.
    Directory(Vec<u32>),
    File(Bytes),
    Device(Device),
}

impl LowerNode {
    /// The last component; empty for the root.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn file_kind(&self) -> FileKind {
        match self.kind {
            LowerKind::Directory(_) => FileKind::Directory,
            LowerKind::File(_) => FileKind::File,
            LowerKind::Device(_) => FileKind::Device,
        }
    }
}

impl Layer {
    pub fn builder() -> LayerBuilder {
        LayerBuilder::default()
    }

    /// A layer with nothing but the root.
    pub fn empty() -> Self {
        Self::builder().build()
    }

    /// The content of the file at a normalised absolute path.
    pub fn file(&self, path: &str) -> Option<&Bytes> {
        match &self.node(self.find(path)?).kind {
            LowerKind::File(content) => Some(content),
            _ => None,
        }
    }

    /// Every file with its normalised absolute path, sorted.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.nodes.iter().filter_map(|node| match &node.kind {
            LowerKind::File(content) => Some((&*node.path, content)),
            _ => None,
        })
    }

    /// Bytes of all files.
    pub fn total_size(&self) -> u64 {
        self.files().map(|(_, content)| content.len() as u64).sum()
    }

    pub(super) fn find(&self, path: &str) -> Option<u32> {
        self.0.by_path.get(path).copied()
    }

    pub(super) fn node(&self, index: u32) -> &LowerNode {
        &self.0.nodes[index as usize]
    }

    /// What every program finds, whatever its layers: the devices and a place for temporary files.
    pub(super) fn base() -> Self {
        static BASE: OnceLock<Layer> = OnceLock::new();
        let build = || {
            let mut builder = LayerBuilder::default();
            for folder in ["/tmp", "/home", "/dev"] {
                builder.entry(folder, Draft::Directory);
            }
            for (name, device) in [
                ("/dev/null", Device::Null),
                ("/dev/zero", Device::Zero),
                ("/dev/random", Device::Random),
                ("/dev/urandom", Device::Random),
                ("/dev/stdin", Device::Stdin),
                ("/dev/stdout", Device::Stdout),
                ("/dev/stderr", Device::Stderr),
            ] {
                builder.entry(name, Draft::Device(device));
            }
            builder.build()
        };
        BASE.get_or_init(build).clone()
    }
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Layer({} nodes)", self.0.nodes.len())
    }
}

/// Collects entries for a [`Layer`]; later ones replace earlier ones of the same path.
#[derive(Default)]
pub struct LayerBuilder {
    drafts: BTreeMap<Vec<String>, Draft>,
}

pub(super) enum Draft {
    Directory,
    File(Bytes),
    Device(Device),
}

impl LayerBuilder {
    /// Adds a folder and its ancestors.
    pub fn folder(&mut self, path: &str) -> Result<&mut Self, LayerError> {
        self.add(path, Draft::Directory)
    }

    /// Adds a file and its ancestors.
    pub fn file(&mut self, path: &str, content: impl Into<Bytes>) -> Result<&mut Self, LayerError> {
        self.add(path, Draft::File(content.into()))
    }

    /// Adds every file and folder of another layer.
    pub fn layer(&mut self, other: &Layer) -> Result<&mut Self, LayerError> {
        for node in other.0.nodes.iter().filter(|node| &*node.path != "/") {
            match &node.kind {
                LowerKind::Directory(_) => self.folder(&node.path)?,
                LowerKind::File(content) => self.file(&node.path, content.clone())?,
                LowerKind::Device(device) => self.add(&node.path, Draft::Device(*device))?,
            };
        }
        Ok(self)
    }

    fn add(&mut self, path: &str, draft: Draft) -> Result<&mut Self, LayerError> {
        let refused = || LayerError::Path { path: path.to_owned() };
        let rest = path.strip_prefix('/').ok_or_else(refused)?;
        let names: Vec<String> = rest.split('/').map(str::to_owned).collect();
        if path.len() >= PATH_MAX || !names.iter().all(|name| is_plain(name)) {
            return Err(refused());
        }
        for depth in 1..names.len() {
            let ancestor = self.drafts.entry(names[..depth].to_vec()).or_insert(Draft::Directory);
            if !matches!(ancestor, Draft::Directory) {
                return Err(LayerError::Conflict { path: format!("/{}", names[..depth].join("/")) });
            }
        }
        let is_folder = matches!(draft, Draft::Directory);
        match self.drafts.get(&names) {
            Some(there) if matches!(there, Draft::Directory) != is_folder => {
                return Err(LayerError::Conflict { path: path.to_owned() });
            }
            _ => {
                self.drafts.insert(names, draft);
            }
        }
        Ok(self)
    }

    /// For paths this file itself writes down.
    fn entry(&mut self, path: &str, draft: Draft) {
        self.add(path, draft).expect("the base layer's paths are plain");
    }

    pub fn build(self) -> Layer {
        let mut nodes = vec![node("/", LowerKind::Directory(Vec::new()))];
        let mut by_path = HashMap::with_capacity(self.drafts.len() + 1);
        by_path.insert(Arc::clone(&nodes[0].path), 0);
        // Sorted by components: a parent comes before its children, they in name order.
        for (names, draft) in self.drafts {
            let index = u32::try_from(nodes.len()).expect("fewer files than 2^32 fit into memory");
            let parent = match names.len() {
                1 => 0,
                depth => by_path[format!("/{}", names[..depth - 1].join("/")).as_str()],
            };
            if let LowerKind::Directory(children) = &mut nodes[parent as usize].kind {
                children.push(index);
            }
            let made = node(
                &format!("/{}", names.join("/")),
                match draft {
                    Draft::Directory => LowerKind::Directory(Vec::new()),
                    Draft::File(content) => LowerKind::File(content),
                    Draft::Device(device) => LowerKind::Device(device),
                },
            );
            by_path.insert(Arc::clone(&made.path), index);
            nodes.push(made);
        }
        Layer(Arc::new(Tree { nodes, by_path }))
    }
}

fn node(path: &str, kind: LowerKind) -> LowerNode {
    LowerNode { path: Arc::from(path), ino: inode_number(path), mtime: Timestamp::OF_LAYERS, kind }
}

/// A name that means itself and cannot disturb a log line.
pub(super) fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= NAME_MAX
        && !name.chars().any(|c| c.is_control() || c == '/')
}

/// FNV-1a of the path, below 2^62: numbers of files written later lie above.
fn inode_number(path: &str) -> u64 {
    let hash = path
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash >> 2).max(1)
}
