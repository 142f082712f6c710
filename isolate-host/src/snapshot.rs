//! A deployment's memory after its top level has run, and all that is outside memory.
//!
//! ```text
//! capture: Store ──▶ Manifest + files + memory ──▶ one file          (`capture`, `format`)
//! restore: file ──▶ judged (`format`) ──▶ compared (`check`) ──▶ mapped (`image`, `restore`)
//! ```

pub mod capture;
pub mod check;
pub mod format;
pub mod image;
pub mod manifest;
mod renew;
pub mod restore;
#[cfg(test)]
pub(crate) mod sample;
pub mod surroundings;
