//! Keeps Python isolates warm and restores them from memory snapshots.

pub mod cache;
pub mod cli;
pub mod deploy;
pub mod emscripten;
pub mod isolate;
pub mod linker;
pub mod machine;
pub mod pool;
pub mod progress;
pub mod pyodide;
pub mod secrets;
pub mod server;
pub mod snapshot;
pub mod store;

pub use cli::run;
