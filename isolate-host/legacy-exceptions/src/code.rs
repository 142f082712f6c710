//! The code section, function by function: those without legacy instructions
//! are copied as they are.

use std::mem;
use std::ops::Range;

use wasm_encoder::Encode as _;
use wasmparser::{BinaryReader, FunctionBody, OperatorsReader, OperatorsReaderAllocations};

use crate::emit::{Function, emit};
use crate::error::{Expecting as _, TranslateError};
use crate::module::{Module, write_size};
use crate::route::Routes;
use crate::scan::Scan;

/// Writes the contents of the code section, if any function changes.
#[derive(Default)]
pub(crate) struct CodeWriter {
    bytes: Vec<u8>,
    changed: bool,
    /// The old contents.
    section: Range<usize>,
    /// Up to where they have been copied or replaced.
    copied: usize,
    /// Where the next function begins, with its size.
    next: usize,
    /// How many functions have been read.
    count: usize,
    scan: Scan,
    routes: Routes,
    operators: OperatorsReaderAllocations,
    body: Vec<u8>,
}

impl CodeWriter {
    /// Begins a code section with the given contents.
    pub(crate) fn begin(&mut self, wasm: &[u8], section: Range<usize>) -> Result<(), TranslateError> {
        let mut reader = BinaryReader::new(&wasm[section.clone()], section.start);
        reader.read_var_u32().expecting("a number of functions")?;
        self.copied = section.start;
        self.next = reader.original_position();
        self.section = section;
        Ok(())
    }

    /// Takes in the next function.
    pub(crate) fn function(
        &mut self,
        wasm: &[u8],
        body: &FunctionBody<'_>,
        module: &mut Module,
    ) -> Result<(), TranslateError> {
        let range = body.range();
        let start = mem::replace(&mut self.next, range.end);
        let index = self.count;
        self.count += 1;

        let (locals, instructions) = Locals::read(body)?;
        let allocations = mem::take(&mut self.operators);
        let operators = OperatorsReader::new_with_allocs(instructions, allocations);
        self.operators = self.scan.read(wasm, operators)?;
        if !self.scan.legacy {
            return Ok(());
        }

        let offset = range.start;
        let parameters = module.parameters(index, offset)?;
        self.routes.find(&self.scan);
        self.body.clear();
        let function = Function {
            wasm,
            code: locals.end..range.end,
            first_local: locals.first_free(parameters, self.scan.tries.len(), offset)?,
            scan: &self.scan,
            routes: &self.routes,
        };
        let saved = emit(&function, module, &mut self.body)?;

        self.changed = true;
        self.bytes.extend_from_slice(&wasm[self.copied..start]);
        self.copied = range.end;
        let declarations = locals.with_exceptions(wasm, saved);
        let size = declarations.len() + self.body.len();
        write_size(&mut self.bytes, size, "translated function", offset)?;
        self.bytes.extend_from_slice(&declarations);
        self.bytes.extend_from_slice(&self.body);
        Ok(())
    }

    /// The new contents of the section, or `None` if they are the old ones.
    pub(crate) fn finish(mut self, wasm: &[u8]) -> Option<Vec<u8>> {
        self.bytes.extend_from_slice(&wasm[self.copied..self.section.end]);
        self.changed.then_some(self.bytes)
    }
}

/// A function's local variables as declared: groups of one type each.
struct Locals {
    start: usize,
    groups: u32,
    groups_start: usize,
    end: usize,
    /// Of variables.
    count: u32,
}

impl Locals {
    /// Reads the declarations and gives a reader of what follows.
    fn read<'a>(body: &FunctionBody<'a>) -> Result<(Self, BinaryReader<'a>), TranslateError> {
        const WHAT: &str = "declarations of local variables";
        let mut reader = body.get_locals_reader().expecting(WHAT)?;
        let groups = reader.get_count();
        let groups_start = reader.original_position();
        let mut count = 0;
        for _ in 0..groups {
            count += reader.read().expecting(WHAT)?.0; // which has checked the sum
        }
        let end = reader.original_position();
        let locals = Self { start: body.range().start, groups, groups_start, end, count };
        Ok((locals, reader.get_binary_reader()))
    }

    /// The first index free, of which so many will be used at most.
    fn first_free(&self, parameters: usize, used: usize, offset: usize) -> Result<u32, TranslateError> {
        let too_large =
            TranslateError::TooLarge { offset, what: "number of local variables", limit: u32::MAX as usize };
        let first = parameters + self.count as usize;
        match (u32::try_from(first), u32::try_from(first + used)) {
            (Ok(first), Ok(_)) => Ok(first),
            _ => Err(too_large),
        }
    }

    /// The declarations with so many variables for exceptions at their end.
    fn with_exceptions(&self, wasm: &[u8], added: u32) -> Vec<u8> {
        if added == 0 {
            return wasm[self.start..self.end].to_vec();
        }
        let mut declarations = Vec::with_capacity(self.end - self.start + 16);
        (self.groups + 1).encode(&mut declarations);
        declarations.extend_from_slice(&wasm[self.groups_start..self.end]);
        added.encode(&mut declarations);
        wasm_encoder::ValType::EXNREF.encode(&mut declarations);
        declarations
    }
}
