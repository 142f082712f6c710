//! The folders a command works on when it names none.

use std::ffi::OsString;
use std::path::PathBuf;

/// No folder for the store was named or can be derived.
#[derive(Debug, thiserror::Error)]
#[error(
    "found no place for the store: neither `--store`, `WARMSHARD_STORE`, `XDG_DATA_HOME` nor `HOME` is set; name one with `--store`"
)]
pub(super) struct NoPlace;

/// The store: as named, else the default.
pub(super) fn store(named: Option<PathBuf>) -> Result<PathBuf, NoPlace> {
    named.or_else(|| default_store(|name| std::env::var_os(name))).ok_or(NoPlace)
}

pub(super) fn default_store(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("WARMSHARD_STORE")
        .or_else(|| set("XDG_DATA_HOME").map(|dir| dir.join("warmshard").join("store")))
        .or_else(|| set("HOME").map(|dir| dir.join(".local/share/warmshard/store")))
}
