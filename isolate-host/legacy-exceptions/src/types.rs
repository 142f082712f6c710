//! The module's types: those it has, and those the translation adds.
//!
//! A handler is entered through a block whose results are the values of the
//! caught tag, followed by the exception itself where it is rethrown. The
//! binary format writes a block with no parameters and at most one result in
//! place; any other needs a function type. An equal type of the module is
//! used again, otherwise one is appended, so that no index changes.

use std::collections::HashMap;

use wasm_encoder::Encode as _;
use wasm_encoder::reencode::{Reencode as _, RoundtripReencoder};
use wasmparser::{BlockType, CompositeInnerType, FuncType, TypeSectionReader, ValType};

use crate::error::{Expecting as _, TranslateError};

/// The most types a translation adds. Compilers make it a handful; a module made
/// for the purpose could multiply long lists of parameters with long lists of tags.
const MOST_ADDED: usize = 10_000;

#[derive(Default)]
pub(crate) struct Types {
    /// By type index; `None` stands for a type that is not a function type.
    functions: Vec<Option<FuncType>>,
    indices: HashMap<FuncType, u32>,
    added: Vec<FuncType>,
}

impl Types {
    /// Takes in the type section.
    pub(crate) fn read(&mut self, section: TypeSectionReader<'_>) -> Result<(), TranslateError> {
        for group in section {
            for ty in group.expecting("a type")?.into_types() {
                self.push(match ty.composite_type.inner {
                    CompositeInnerType::Func(function) => Some(function),
                    _ => None,
                });
            }
        }
        Ok(())
    }

    fn push(&mut self, ty: Option<FuncType>) {
        if let (Some(ty), Ok(index)) = (&ty, u32::try_from(self.functions.len())) {
            self.indices.entry(ty.clone()).or_insert(index);
        }
        self.functions.push(ty);
    }

    /// The function type at `index`, referred to at `offset`.
    pub(crate) fn function(&self, index: u32, offset: usize) -> Result<&FuncType, TranslateError> {
        match self.functions.get(index as usize) {
            Some(Some(ty)) => Ok(ty),
            Some(None) => Err(TranslateError::NotAFunctionType { offset, index }),
            None => Err(TranslateError::OutOfRange {
                offset,
                what: "type",
                found: index,
                available: self.functions.len(),
            }),
        }
    }

    /// The values a block takes from the stack.
    pub(crate) fn parameters(&self, block: BlockType, offset: usize) -> Result<&[ValType], TranslateError> {
        match block {
            BlockType::Empty | BlockType::Type(_) => Ok(&[]),
            BlockType::FuncType(index) => Ok(self.function(index, offset)?.params()),
        }
    }

    /// The type of a block, added to the module where it must be. The block
    /// stands for something at `offset`.
    pub(crate) fn block_type(
        &mut self,
        parameters: &[ValType],
        results: &[ValType],
        offset: usize,
    ) -> Result<wasm_encoder::BlockType, TranslateError> {
        Ok(match (parameters, results) {
            ([], []) => wasm_encoder::BlockType::Empty,
            ([], [ty]) => wasm_encoder::BlockType::Result(reencode(*ty)),
            _ => wasm_encoder::BlockType::FunctionType(self.index_of(parameters, results, offset)?),
        })
    }

    fn index_of(
        &mut self,
        parameters: &[ValType],
        results: &[ValType],
        offset: usize,
    ) -> Result<u32, TranslateError> {
        let ty = FuncType::new(parameters.iter().copied(), results.iter().copied());
        if let Some(index) = self.indices.get(&ty) {
            return Ok(*index);
        }
        let (Ok(index), true) = (u32::try_from(self.functions.len()), self.added.len() < MOST_ADDED) else {
            let what = "number of block types that differ";
            return Err(TranslateError::TooLarge { offset, what, limit: MOST_ADDED });
        };
        self.indices.insert(ty.clone(), index);
        self.functions.push(Some(ty.clone()));
        self.added.push(ty);
        Ok(index)
    }

    /// The contents of the type section with the added types at its end, or
    /// `None` if there are none. `count` and `entries` are the old contents.
    pub(crate) fn extended_section(&self, count: u32, entries: &[u8]) -> Option<Vec<u8>> {
        if self.added.is_empty() {
            return None;
        }
        let added = u32::try_from(self.added.len()).ok()?;
        let mut contents = Vec::with_capacity(entries.len() + 16 * self.added.len());
        count.checked_add(added)?.encode(&mut contents);
        contents.extend_from_slice(entries);
        for ty in &self.added {
            contents.push(FUNCTION_TYPE);
            for list in [ty.params(), ty.results()] {
                list.len().encode(&mut contents);
                for ty in list {
                    reencode(*ty).encode(&mut contents);
                }
            }
        }
        Some(contents)
    }
}

/// The byte with which the binary format begins a function type.
const FUNCTION_TYPE: u8 = 0x60;

fn reencode(ty: ValType) -> wasm_encoder::ValType {
    RoundtripReencoder.val_type(ty).expect("types read from a module refer to types by their index in it")
}
