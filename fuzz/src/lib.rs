//! What the fuzz targets check. A target only hands its input to one of these.

pub mod legacy_exceptions;
