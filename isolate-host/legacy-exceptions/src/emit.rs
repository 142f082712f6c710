//! The second pass over a function: writing it with the standard instructions.
//!
//! Everything turns on *heights*. The height of a block is how many blocks of
//! the written code are around it, the function's own having height 0. A label
//! counts inwards from the innermost block, so it depends on where it is
//! written; a height does not, and is what is kept for every block that can be
//! branched to.

mod delegation;
mod handlers;

use std::ops::Range;

use wasm_encoder::reencode::{Reencode as _, RoundtripReencoder};
use wasm_encoder::{BlockType, Catch, Encode as _, InstructionSink};
use wasmparser::ValType;

use crate::error::TranslateError;
use crate::module::Module;
use crate::route::{Routes, Shape};
use crate::scan::{Action, Clause, Edit, Scan};

/// What is known of a function before it is written.
pub(crate) struct Function<'a> {
    /// The whole module.
    pub(crate) wasm: &'a [u8],
    /// Where the instructions stand in it.
    pub(crate) code: Range<usize>,
    /// The first index that no local variable has.
    pub(crate) first_local: u32,
    pub(crate) scan: &'a Scan,
    pub(crate) routes: &'a Routes,
}

/// Writes the instructions of a function to `sink`.
///
/// Returns how many further locals, each an `exnref`, they use.
pub(crate) fn emit(
    function: &Function<'_>,
    module: &mut Module,
    sink: &mut Vec<u8>,
) -> Result<u32, TranslateError> {
    let mut emitter = Emitter {
        function,
        module,
        sink,
        frames: vec![Frame { height: 0, rethrow_point: false, handlers_of: None }],
        height: 1,
        written: vec![Written::default(); function.scan.tries.len()],
        function_rethrow_point: 0,
        saved: 0,
        most_saved: 0,
    };
    emitter.run()?;
    Ok(emitter.most_saved)
}

struct Emitter<'a> {
    function: &'a Function<'a>,
    module: &'a mut Module,
    sink: &'a mut Vec<u8>,
    /// The blocks of the original code that are open.
    frames: Vec<Frame>,
    /// How many blocks of the written code are open.
    height: u32,
    /// By construct.
    written: Vec<Written>,
    function_rethrow_point: u32,
    /// How many of the handlers around have saved their exception.
    saved: u32,
    most_saved: u32,
}

#[derive(Clone, Copy)]
struct Frame {
    /// The block that stands for this one as the target of branches.
    height: u32,
    /// Whether a rethrow point is open directly inside.
    rethrow_point: bool,
    /// The construct this is, if it has handlers of its own.
    handlers_of: Option<usize>,
}

/// What has been written of a construct.
#[derive(Clone, Copy, Default)]
struct Written {
    /// The outermost of its blocks, if it has handlers of its own.
    height: u32,
    rethrow_point: u32,
    /// The local in which the handler now open has saved its exception.
    saved_in: Option<u32>,
}

impl Emitter<'_> {
    fn run(&mut self) -> Result<(), TranslateError> {
        let Function { wasm, code, scan, routes, .. } = self.function;
        if routes.function_rethrow_point {
            self.function_rethrow_point = self.open_rethrow_point(&[], code.start)?;
            self.frames[0].rethrow_point = true;
        }
        let mut copied = code.start;
        for Edit { bytes, action } in &scan.edits {
            self.sink.extend_from_slice(&wasm[copied..bytes.start]);
            copied = bytes.end;
            self.edit(*action)?;
        }
        self.sink.extend_from_slice(&wasm[copied..code.end]);
        Ok(())
    }

    fn edit(&mut self, action: Action) -> Result<(), TranslateError> {
        match action {
            Action::Enter => self.enter(),
            Action::EnterTryTable(index) => self.enter_try_table(index)?,
            Action::Label(frame) => self.label(self.frames[frame].height).encode(self.sink),
            Action::Try(index) => self.begin_try(index)?,
            Action::Catch { of, clause, reached } => self.begin_handler(of, clause, reached),
            Action::Rethrow { of } => self.rethrow(of),
            Action::End => self.end(),
        }
        Ok(())
    }

    /// The instructions written so far, to add to.
    fn code(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(self.sink)
    }

    /// The label, here, of the block at a height.
    fn label(&self, height: u32) -> u32 {
        self.height - 1 - height
    }

    /// Notes a block, already written, that stands for one of the original.
    fn enter(&mut self) {
        self.frames.push(Frame { height: self.height, rethrow_point: false, handlers_of: None });
        self.height += 1;
    }

    fn begin_try(&mut self, index: usize) -> Result<(), TranslateError> {
        let function = self.function;
        let ty = self.block_type(index);
        match function.routes.shape(index) {
            Shape::Handlers => return self.begin_with_handlers(index),
            Shape::Block => {
                self.code().block(ty);
            }
            Shape::Delegation(route) => {
                let clauses = self.delegation_clauses(route);
                self.code().try_table(ty, clauses);
            }
        }
        self.enter();
        Ok(())
    }

    fn end(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        if let Some(construct) = frame.handlers_of {
            self.release(construct);
        }
        if frame.rethrow_point {
            self.close_rethrow_point();
        }
        self.code().end();
        self.height = frame.height;
    }

    fn block_type(&self, construct: usize) -> BlockType {
        RoundtripReencoder
            .block_type(self.function.scan.tries[construct].block_type)
            .expect("types read from a module refer to types by their index in it")
    }

    /// The values a construct takes from the stack.
    fn parameters(&self, construct: usize) -> Result<Vec<ValType>, TranslateError> {
        let construct = &self.function.scan.tries[construct];
        Ok(self.module.types.parameters(construct.block_type, construct.offset)?.to_vec())
    }
}

fn catch(clause: Clause, label: u32) -> Catch {
    match (clause.tag, clause.reference) {
        (Some(tag), false) => Catch::One { tag, label },
        (Some(tag), true) => Catch::OneRef { tag, label },
        (None, false) => Catch::All { label },
        (None, true) => Catch::AllRef { label },
    }
}
