//! Modules from text.

use wast::Wat;
use wast::parser::{self, ParseBuffer};

use super::unfold::unfold;

/// The binary form of a module given as text, with folded legacy instructions.
pub(crate) fn assemble(text: &str) -> Vec<u8> {
    try_assemble(text).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn try_assemble(text: &str) -> Result<Vec<u8>, wast::Error> {
    let text = unfold(text);
    parser::parse::<Wat<'_>>(&ParseBuffer::new(&text)?)?.encode()
}
