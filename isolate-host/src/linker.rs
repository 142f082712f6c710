//! Dynamic linking: native Python packages beside the main module.
//!
//! A library is position independent: it is given a piece of guest memory and a
//! stretch of the function table, and its imports are bound by name, once. What
//! was bound to what is kept as data ([`bind::Source`]), so that a restored isolate
//! puts the same library back by index, without a single look-up by name, and
//! without touching memory (see [`crate::pyodide::rewrite`]).

pub mod bind;
pub mod dlopen;
pub mod dylink;
pub mod library;
pub mod state;
