//! The `dylink.0` section: what a library asks of whoever loads it.

use wasmparser::{Dylink0Subsection, KnownCustom, Parser, Payload};

/// Why the section could not be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DylinkError {
    #[error("the module is malformed: {0}")]
    Malformed(String),
    #[error("found no `dylink.0` section, expected a WebAssembly dynamic library")]
    Missing,
    #[error("found {what} {found} in `dylink.0`, expected at most {limit}")]
    TooLarge { what: &'static str, found: u32, limit: u32 },
}

/// What a library needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dylink {
    pub memory_size: u32,
    /// In bytes, a power of two.
    pub memory_alignment: u32,
    pub table_size: u32,
    /// Libraries to load first.
    pub needed: Vec<String>,
}

const MEMORY_LIMIT: u32 = 1 << 30;
const ALIGNMENT_LOG2_LIMIT: u32 = 16;
const TABLE_LIMIT: u32 = 1 << 20;

impl Dylink {
    pub fn read(wasm: &[u8]) -> Result<Self, DylinkError> {
        let malformed = |error: wasmparser::BinaryReaderError| DylinkError::Malformed(error.to_string());
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(malformed)? {
                Payload::CustomSection(section) => {
                    if let KnownCustom::Dylink0(subsections) = section.as_known() {
                        return Self::from_subsections(subsections).map_err(malformed)?.checked();
                    }
                }
                // The tool conventions put the section first.
                Payload::CodeSectionStart { .. } => break,
                _ => {}
            }
        }
        Err(DylinkError::Missing)
    }

    fn from_subsections(
        subsections: wasmparser::Dylink0SectionReader<'_>,
    ) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut dylink = Self::default();
        for subsection in subsections {
            match subsection? {
                Dylink0Subsection::MemInfo(info) => {
                    dylink.memory_size = info.memory_size;
                    // Kept as the logarithm until checked.
                    dylink.memory_alignment = info.memory_alignment;
                    dylink.table_size = info.table_size;
                }
                Dylink0Subsection::Needed(names) => {
                    dylink.needed = names.into_iter().map(str::to_owned).collect();
                }
                _ => {}
            }
        }
        Ok(dylink)
    }

    fn checked(mut self) -> Result<Self, DylinkError> {
        let check = |what, found: u32, limit: u32| {
            if found > limit { Err(DylinkError::TooLarge { what, found, limit }) } else { Ok(()) }
        };
        check("a memory size of", self.memory_size, MEMORY_LIMIT)?;
        check("a memory alignment of 2 to the power", self.memory_alignment, ALIGNMENT_LOG2_LIMIT)?;
        check("a table size of", self.table_size, TABLE_LIMIT)?;
        self.memory_alignment = 1 << self.memory_alignment;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(custom: &[u8]) -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        let mut section = vec![8];
        section.extend(b"dylink.0");
        section.extend(custom);
        wasm.push(0);
        wasm.push(section.len() as u8);
        wasm.extend(section);
        wasm
    }

    #[test]
    fn reads_sizes_and_alignment() {
        // Subsection 1 (memory info), 4 bytes: memory 16, alignment 2^3, table 5, alignment 2^0.
        let dylink = Dylink::read(&module(&[1, 4, 16, 3, 5, 0])).unwrap();
        assert_eq!(dylink, Dylink { memory_size: 16, memory_alignment: 8, table_size: 5, needed: vec![] });
    }

    #[test]
    fn refuses_what_is_no_library() {
        assert_eq!(Dylink::read(b"\0asm\x01\0\0\0"), Err(DylinkError::Missing));
        assert!(matches!(Dylink::read(b"hello world"), Err(DylinkError::Malformed(_))));
    }

    #[test]
    fn refuses_an_alignment_no_memory_has() {
        let error = Dylink::read(&module(&[1, 4, 16, 40, 5, 0])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "found a memory alignment of 2 to the power 40 in `dylink.0`, expected at most 16"
        );
    }
}
