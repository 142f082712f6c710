//! The module around the code: found section by section, and put together
//! again with everything but the types and the code as it was.

use std::borrow::Cow;
use std::ops::Range;

use wasm_encoder::Encode as _;
use wasmparser::{BinaryReader, Encoding, Parser, Payload, TypeRef, ValType};

use crate::code::CodeWriter;
use crate::error::{Expecting as _, TranslateError};
use crate::types::Types;

const TYPE_SECTION: u8 = 1;
const CODE_SECTION: u8 = 10;

/// Translates the legacy exception instructions of a module.
///
/// A module without any, whether it has the standard ones or none at all, is
/// given back as it is, borrowed. In a module that has both, and even in one
/// function, the standard ones stay and the legacy ones are translated.
///
/// The time it takes and the size of the result are linear in the size of the
/// module.
///
/// # Errors
///
/// If the bytes are not a WebAssembly module, or one that is cut short, damaged
/// or inconsistent in what the translation looks at. Nothing makes it panic.
///
/// ```
/// let error = legacy_exceptions::translate(b"#!/bin/sh").unwrap_err();
/// assert_eq!(error.to_string(), "cannot read the module at offset 0x0: expected a section");
/// ```
pub fn translate(wasm: &[u8]) -> Result<Cow<'_, [u8]>, TranslateError> {
    let mut module = Module::default();
    let mut layout = Layout::default();
    let mut code = CodeWriter::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.expecting("a section")?;
        if let Some((_, contents)) = payload.as_section() {
            layout.enter_section(wasm, contents)?;
        }
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                return Err(TranslateError::Component);
            }
            Payload::Version { range, .. } => layout.end = range.end,
            Payload::TypeSection(types) => {
                layout.types = Some(layout.section());
                module.types.read(types)?;
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if let TypeRef::Tag(tag) = import.expecting("an import")?.ty {
                        module.tags.push(tag.func_type_idx);
                    }
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    module.functions.push(ty.expecting("a function's type")?);
                }
            }
            Payload::TagSection(tags) => {
                for tag in tags {
                    module.tags.push(tag.expecting("a tag")?.func_type_idx);
                }
            }
            Payload::CodeSectionStart { .. } => {
                let section = layout.section();
                code.begin(wasm, section.contents.clone())?;
                layout.code = Some(section);
            }
            Payload::CodeSectionEntry(body) => code.function(wasm, &body, &mut module)?,
            _ => {}
        }
    }
    match layout.code.zip(code.finish(wasm)) {
        Some((old, new)) => assemble(wasm, &module, layout.types, &old, &new).map(Cow::Owned),
        None => Ok(Cow::Borrowed(wasm)),
    }
}

/// Puts the module together with the new contents of the code section.
fn assemble(
    wasm: &[u8],
    module: &Module,
    types: Option<Section>,
    old_code: &Section,
    new_code: &[u8],
) -> Result<Vec<u8>, TranslateError> {
    let mut output = Vec::with_capacity(wasm.len() + new_code.len() / 8 + 64);
    let mut copied = 0;
    if let Some(section) = types {
        let contents = &wasm[section.contents.clone()];
        let mut reader = BinaryReader::new(contents, section.contents.start);
        let count = reader.read_var_u32().expecting("a number of types")?;
        let entries = &contents[reader.current_position()..];
        if let Some(extended) = module.types.extended_section(count, entries) {
            output.extend_from_slice(&wasm[..section.whole.start]);
            copied = section.whole.end;
            write_section(&mut output, TYPE_SECTION, &extended, section.whole.start)?;
        }
    }
    output.extend_from_slice(&wasm[copied..old_code.whole.start]);
    write_section(&mut output, CODE_SECTION, new_code, old_code.whole.start)?;
    output.extend_from_slice(&wasm[old_code.whole.end..]);
    Ok(output)
}

fn write_section(output: &mut Vec<u8>, id: u8, contents: &[u8], offset: usize) -> Result<(), TranslateError> {
    output.push(id);
    write_size(output, contents.len(), "translated section", offset)?;
    output.extend_from_slice(contents);
    Ok(())
}

/// Writes the size of something translated that began at `offset`.
pub(crate) fn write_size(
    output: &mut Vec<u8>,
    size: usize,
    what: &'static str,
    offset: usize,
) -> Result<(), TranslateError> {
    const LIMIT: usize = u32::MAX as usize;
    let too_large = |_| TranslateError::TooLarge { offset, what, limit: LIMIT };
    u32::try_from(size).map_err(too_large)?.encode(output);
    Ok(())
}

/// What a function's translation needs to know of its module.
#[derive(Default)]
pub(crate) struct Module {
    pub(crate) types: Types,
    /// The type of each tag, imported or not.
    tags: Vec<u32>,
    /// The type of each function of the code section.
    functions: Vec<u32>,
}

impl Module {
    /// How many parameters the function with the index in the code section has,
    /// whose body begins at `offset`.
    pub(crate) fn parameters(&self, index: usize, offset: usize) -> Result<usize, TranslateError> {
        let ty = *self.functions.get(index).ok_or(TranslateError::OutOfRange {
            offset,
            what: "function body",
            found: u32::try_from(index).unwrap_or(u32::MAX),
            available: self.functions.len(),
        })?;
        Ok(self.types.function(ty, offset)?.params().len())
    }

    /// The values that an exception with the tag carries.
    pub(crate) fn tag(&self, index: u32, offset: usize) -> Result<&[ValType], TranslateError> {
        let ty = *self.tags.get(index as usize).ok_or(TranslateError::OutOfRange {
            offset,
            what: "tag",
            found: index,
            available: self.tags.len(),
        })?;
        Ok(self.types.function(ty, offset)?.params())
    }
}

/// A section: all of it, and its contents without the id and the size.
struct Section {
    whole: Range<usize>,
    contents: Range<usize>,
}

/// Where the sections that may change stand.
#[derive(Default)]
struct Layout {
    /// Where the section being read began, with its id.
    start: usize,
    contents: Range<usize>,
    /// Where the section being read ends.
    end: usize,
    types: Option<Section>,
    code: Option<Section>,
}

impl Layout {
    /// Notes the next section, whose size may be more than there is.
    fn enter_section(&mut self, wasm: &[u8], contents: Range<usize>) -> Result<(), TranslateError> {
        if contents.end > wasm.len() {
            let found = wasm.len().saturating_sub(contents.start);
            return Err(TranslateError::Truncated {
                offset: contents.start,
                found,
                expected: contents.len(),
            });
        }
        self.start = self.end;
        self.end = contents.end;
        self.contents = contents;
        Ok(())
    }

    /// The section being read.
    fn section(&self) -> Section {
        Section { whole: self.start..self.end, contents: self.contents.clone() }
    }
}
