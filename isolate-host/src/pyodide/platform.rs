//! The worker platform's Python sources, carried in the executable.

use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use warmshard_config::units::hex;

/// Where the guest finds the platform's modules.
pub const PLATFORM_PATH: &str = "/lib/warmshard";

static SOURCES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/python");

/// The sources as `(path relative to PLATFORM_PATH, content)`, sorted by path.
pub fn sources() -> Vec<(&'static str, &'static [u8])> {
    let mut files = Vec::new();
    collect(&SOURCES, &mut files);
    files.sort_unstable_by_key(|&(path, _)| path);
    files
}

/// Names the sources' content: a snapshot holds them as they were.
pub fn fingerprint() -> &'static str {
    static FINGERPRINT: LazyLock<String> = LazyLock::new(|| {
        let mut hash = Sha256::new();
        for (path, content) in sources() {
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(content);
        }
        hex(&hash.finalize()[..8])
    });
    &FINGERPRINT
}

fn collect(dir: &Dir<'static>, files: &mut Vec<(&'static str, &'static [u8])>) {
    for file in dir.files() {
        let Some(path) = file.path().to_str() else { continue };
        if path.ends_with(".py") && !path.starts_with("tests/") {
            files.push((path, file.contents()));
        }
    }
    for sub in dir.dirs() {
        collect(sub, files);
    }
}
