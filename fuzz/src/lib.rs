//! What the fuzz targets check. A target only hands its input to one of these.
//!
//! `cargo +nightly fuzz run TARGET corpus/TARGET seeds/TARGET`

pub mod admission;
pub mod archive;
pub mod guest_values;
pub mod legacy_exceptions;
pub mod library;
pub mod snapshot;
pub mod worker_config;
