//! The vocabulary of files: kinds, times, flags and what `stat` tells.

use serde::{Deserialize, Serialize};

/// A point in time, seconds since 1970; the caller passes it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The time every file of a layer has, so that the same content is the same layer.
    pub const OF_LAYERS: Self = Self { seconds: 946_684_800, nanoseconds: 0 };
}

/// A node that is no stored file; the caller performs reads and writes on most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    Null,
    Zero,
    /// `/dev/random` and `/dev/urandom`: the caller supplies entropy, or refuses.
    Random,
    Stdin,
    Stdout,
    Stderr,
    /// Something the host keeps under this number, such as a socket.
    Host(u64),
}

impl Device {
    /// The number `stat` gives it, as Linux does.
    pub fn rdev(self) -> u32 {
        match self {
            Self::Null => 0x103,
            Self::Zero => 0x105,
            Self::Random => 0x109,
            Self::Stdin | Self::Stdout | Self::Stderr => 0x500,
            Self::Host(_) => 0,
        }
    }
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    Directory,
    File,
    Symlink,
    Device,
}

impl FileKind {
    /// The type bits of `st_mode`.
    pub fn mode_bits(self) -> u32 {
        match self {
            Self::Directory => 0o040_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Device => 0o020_000,
        }
    }

    /// `d_type` of a directory record.
    pub fn dirent_type(self) -> u8 {
        match self {
            Self::Directory => 4,
            Self::File => 8,
            Self::Symlink => 10,
            Self::Device => 2,
        }
    }
}

/// What `stat` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub ino: u64,
    pub kind: FileKind,
    /// Type bits and permissions.
    pub mode: u32,
    pub nlink: u32,
    pub size: u64,
    pub rdev: u32,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
}

/// What `statfs` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    pub block_size: u32,
    pub blocks: u64,
    pub blocks_free: u64,
    pub longest_name: u32,
}

/// One record of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    pub ino: u64,
    pub name: String,
    pub kind: FileKind,
}

/// Flags of `open`, with the numbers Emscripten's C library uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    pub const RDONLY: Self = Self(0);
    pub const WRONLY: Self = Self(1);
    pub const RDWR: Self = Self(2);
    pub const CREAT: Self = Self(0o100);
    pub const EXCL: Self = Self(0o200);
    pub const TRUNC: Self = Self(0o1000);
    pub const APPEND: Self = Self(0o2000);
    pub const NONBLOCK: Self = Self(0o4000);
    pub const DIRECTORY: Self = Self(0o200_000);
    pub const NOFOLLOW: Self = Self(0o400_000);
    pub const CLOEXEC: Self = Self(0o2_000_000);

    /// What `fcntl(F_SETFL)` may change.
    pub(super) const SETTABLE: u32 = Self::APPEND.0 | Self::NONBLOCK.0;
    /// What `fcntl(F_GETFL)` tells: how it is open, not how it was opened.
    pub(super) const STATUS: u32 = 3 | Self::SETTABLE;

    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn readable(self) -> bool {
        matches!(self.0 & 3, 0 | 2)
    }

    pub fn writable(self) -> bool {
        matches!(self.0 & 3, 1 | 2)
    }
}

impl std::ops::BitOr for OpenFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Whether the last component of a path is followed when it is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    Yes,
    No,
}

/// From where `seek` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    Start,
    Current,
    End,
}

/// What became of a read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// That many bytes went across.
    Done(usize),
    /// The descriptor is this device: the caller performs it.
    Device(Device),
}

/// Longest path and longest name, as on Linux.
pub(super) const PATH_MAX: usize = 4096;
pub(super) const NAME_MAX: usize = 255;
/// Permissions without the type bits.
pub(super) const PERMISSIONS: u32 = 0o7777;
