//! Why a module could not be translated.

use thiserror::Error;

/// Why [`translate`](crate::translate) refused a module.
///
/// Offsets count bytes from the start of the module. A caller that shows the
/// error should print the chain of sources: each level speaks for itself only.
///
/// ```
/// use std::error::Error as _;
/// use legacy_exceptions::{TranslateError, translate};
///
/// let error = translate(b"\0asm\x01\0\0\0\x0a\x02").unwrap_err();
/// assert!(matches!(error, TranslateError::Malformed { offset: 10, .. }));
/// assert!(error.source().is_some());
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TranslateError {
    /// The bytes are not a readable WebAssembly binary: truncated, corrupted
    /// or of a kind this crate does not know.
    #[error("cannot read the module at offset {offset:#x}: expected {expected}")]
    Malformed {
        /// Where reading failed.
        offset: usize,
        /// What should have stood there.
        expected: &'static str,
        /// What was found instead.
        #[source]
        found: wasmparser::Error,
    },

    /// The module ends inside a section.
    #[error(
        "the module ends within a section at offset {offset:#x}: found {found} bytes, expected {expected}"
    )]
    Truncated {
        /// Where the contents of the section begin.
        offset: usize,
        /// How many bytes there are from there on.
        found: usize,
        /// How many the section should have.
        expected: usize,
    },

    /// The input is a WebAssembly component.
    #[error("found a WebAssembly component, expected a core module; translate the modules inside it")]
    Component,

    /// An instruction refers to something that does not exist.
    #[error("found {what} {found} at offset {offset:#x}, expected one below {available}")]
    OutOfRange {
        /// Where the instruction begins.
        offset: usize,
        /// What the number counts: labels, tags, types or functions.
        what: &'static str,
        /// The number found.
        found: u32,
        /// How many there are.
        available: usize,
    },

    /// A type that must be a function type is none.
    #[error("found type {index} of another kind at offset {offset:#x}, expected a function type")]
    NotAFunctionType {
        /// Where the type is referred to.
        offset: usize,
        /// The type's index.
        index: u32,
    },

    /// A `rethrow` names a block that is not the `catch` it stands in.
    #[error(
        "found a `rethrow` of label {label} at offset {offset:#x}, which is {found}; \
         expected a `catch` or `catch_all` it stands in"
    )]
    RethrowOutsideCatch {
        /// Where the instruction begins.
        offset: usize,
        /// The label it names.
        label: u32,
        /// What that label belongs to.
        found: &'static str,
    },

    /// A count or an index does not fit the binary format.
    #[error("{what} found at offset {offset:#x} does not fit, expected at most {limit}")]
    TooLarge {
        /// Where the construct begins.
        offset: usize,
        /// What grew too large.
        what: &'static str,
        /// The most there can be.
        limit: usize,
    },
}

/// Adds to a reading error what was being read.
pub(crate) trait Expecting<T> {
    fn expecting(self, expected: &'static str) -> Result<T, TranslateError>;
}

impl<T> Expecting<T> for Result<T, wasmparser::Error> {
    fn expecting(self, expected: &'static str) -> Result<T, TranslateError> {
        self.map_err(|found| TranslateError::Malformed { offset: found.offset(), expected, found })
    }
}
