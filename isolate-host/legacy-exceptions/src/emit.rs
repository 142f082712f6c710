//! The second pass over a function: writing it with the standard instructions.

use wasm_encoder::Encode as _;
use wasmparser::ValType;

use crate::error::TranslateError;
use crate::module::Module;
use crate::route::{Rest, Route, Routes, Shape};
use crate::scan::{Action, Edit, Kind, Scan};

const BLOCK: u8 = 0x02;
const TRY_TABLE: u8 = 0x1f;
const THROW_REF: u8 = 0x0a;
const END: u8 = 0x0b;
const BR: u8 = 0x0c;
const LOCAL_GET: u8 = 0x20;
const LOCAL_SET: u8 = 0x21;

const CATCH: u8 = 0;
const CATCH_REF: u8 = 1;
const CATCH_ALL: u8 = 2;
const CATCH_ALL_REF: u8 = 3;

/// Writes the instructions of one function to `sink`. `code` are their bytes
/// in `wasm`, `first_local` is the first index free for a local.
///
/// Returns how many locals, each an `exnref`, the written code needs.
pub(crate) fn emit(
    function: &Function<'_>,
    module: &mut Module,
    sink: &mut Vec<u8>,
) -> Result<u32, TranslateError> {
    let mut emitter = Emitter {
        function,
        module,
        sink,
        frames: vec![Frame { height: 0, rethrow_point: None, construct: None }],
        height: 1,
        bases: vec![Base::default(); function.scan.tries.len()],
        saved: 0,
        most_saved: 0,
    };
    emitter.run()?;
    Ok(emitter.most_saved)
}

/// What is known of a function before it is written.
pub(crate) struct Function<'a> {
    pub(crate) wasm: &'a [u8],
    pub(crate) code: std::ops::Range<usize>,
    pub(crate) first_local: u32,
    pub(crate) scan: &'a Scan,
    pub(crate) routes: &'a Routes,
}

/// A block of the original code that is open. Heights count the open blocks of
/// the *written* code from the function's own, which is 0.
#[derive(Clone, Copy)]
struct Frame {
    /// The block that stands for this one as the target of branches.
    height: u32,
    /// Whether and where there is a rethrow point just inside.
    rethrow_point: Option<u32>,
    /// The `try` this is, if it has handlers.
    construct: Option<usize>,
}

/// What has been written of a construct.
#[derive(Clone, Copy, Default)]
struct Base {
    /// Of a `try` with handlers: the height of the outermost of its blocks.
    height: u32,
    rethrow_point: u32,
    /// Whether its current handler has saved the exception, and in which local.
    saved: Option<u32>,
}

struct Emitter<'a> {
    function: &'a Function<'a>,
    module: &'a mut Module,
    sink: &'a mut Vec<u8>,
    frames: Vec<Frame>,
    /// How many blocks are open in the written code.
    height: u32,
    bases: Vec<Base>,
    /// How many enclosing handlers have saved their exception.
    saved: u32,
    most_saved: u32,
}

impl Emitter<'_> {
    fn run(&mut self) -> Result<(), TranslateError> {
        let Function { wasm, code, scan, routes, .. } = self.function;
        if routes.function_rethrow_point {
            let point = self.open_rethrow_point(&[]);
            self.frames[0].rethrow_point = Some(point);
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
            Action::Label(frame) => self.write_label(self.frames[frame].height),
            Action::Try(index) => self.write_try(index)?,
            Action::Catch { of, clause, reached } => self.write_catch(of, clause, reached),
            Action::Rethrow { of } => self.write_rethrow(of),
            Action::End => self.write_end(),
        }
        Ok(())
    }

    fn enter(&mut self) {
        self.frames.push(Frame { height: self.height, rethrow_point: None, construct: None });
        self.height += 1;
    }

    fn enter_try_table(&mut self, index: usize) -> Result<(), TranslateError> {
        self.enter();
        if self.function.routes.has_rethrow_point(index) {
            let construct = &self.function.scan.tries[index];
            let parameters = self.module.types.parameters(construct.block_type, construct.offset)?.to_vec();
            let point = self.open_rethrow_point(&parameters);
            self.bases[index].rethrow_point = point;
            if let Some(frame) = self.frames.last_mut() {
                frame.rethrow_point = Some(point);
            }
        }
        Ok(())
    }

    fn write_try(&mut self, index: usize) -> Result<(), TranslateError> {
        let function = self.function;
        match function.routes.shape(index) {
            Shape::Block => {
                self.sink.push(BLOCK);
                self.write_block_type_of(index);
                self.enter();
            }
            Shape::Delegation(route) => {
                self.sink.push(TRY_TABLE);
                self.write_block_type_of(index);
                self.write_delegation(route);
                self.enter();
            }
            Shape::Handlers => self.write_handler_blocks(index)?,
        }
        Ok(())
    }

    /// Opens the blocks of a `try` with handlers: one to leave it by, one for
    /// each handler, the first innermost, and the `try_table`.
    fn write_handler_blocks(&mut self, index: usize) -> Result<(), TranslateError> {
        let construct = &self.function.scan.tries[index];
        let parameters = self.module.types.parameters(construct.block_type, construct.offset)?.to_vec();
        self.bases[index].height = self.height;
        self.frames.push(Frame { height: self.height, rethrow_point: None, construct: Some(index) });
        self.sink.push(BLOCK);
        self.write_block_type_of(index);
        for clause in construct.clauses.iter().rev() {
            let mut values = match clause.tag {
                Some(tag) => self.module.tag(tag, construct.offset)?.to_vec(),
                None => Vec::new(),
            };
            if clause.reference {
                values.push(ValType::EXNREF);
            }
            self.sink.push(BLOCK);
            self.module.types.write_block_type(&parameters, &values, self.sink);
        }
        self.sink.push(TRY_TABLE);
        self.write_block_type_of(index);
        construct.clauses.len().encode(self.sink);
        for (label, clause) in (0_u32..).zip(&construct.clauses) {
            self.write_clause(clause.tag, clause.reference);
            label.encode(self.sink);
        }
        self.height += 2 + count(construct.clauses.len());
        if self.function.routes.has_rethrow_point(index) {
            self.bases[index].rethrow_point = self.open_rethrow_point(&parameters);
        }
        Ok(())
    }

    fn write_delegation(&mut self, route: &Route) {
        let more = match route.rest {
            Rest::Nothing => 0,
            Rest::Rethrow(_) => 1,
        };
        (route.clauses.len() + more).encode(self.sink);
        for (of, number) in &route.clauses {
            let construct = &self.function.scan.tries[*of];
            let clause = &construct.clauses[*number];
            self.write_clause(clause.tag, clause.reference);
            let target = match construct.kind == Kind::Standard {
                true => self.frames[clause.target].height,
                false => self.bases[*of].height + count(construct.clauses.len() - number),
            };
            self.write_label(target);
        }
        if let Rest::Rethrow(at) = route.rest {
            self.write_clause(None, true);
            let point = match at {
                Some(construct) => Some(self.bases[construct].rethrow_point),
                None => self.frames[0].rethrow_point,
            };
            self.write_label(point.unwrap_or_default());
        }
    }

    fn write_clause(&mut self, tag: Option<u32>, reference: bool) {
        self.sink.push(match (tag, reference) {
            (Some(_), false) => CATCH,
            (Some(_), true) => CATCH_REF,
            (None, false) => CATCH_ALL,
            (None, true) => CATCH_ALL_REF,
        });
        if let Some(tag) = tag {
            tag.encode(self.sink);
        }
    }

    fn write_catch(&mut self, of: usize, clause: usize, reached: bool) {
        let construct = &self.function.scan.tries[of];
        let base = self.bases[of];
        if clause == 0 {
            if self.function.routes.has_rethrow_point(of) {
                self.close_rethrow_point();
            }
            self.sink.push(END); // of the `try_table`
            self.height -= 1;
        } else {
            self.release(of);
        }
        // What the body or the handler before has left on the stack are the
        // results of the whole; after the body they are always there.
        if clause == 0 || reached {
            self.sink.push(BR);
            self.write_label(base.height);
        }
        self.sink.push(END); // of the handler's block
        self.height -= 1;
        if construct.clauses[clause].reference {
            self.save(of);
        }
    }

    /// Saves the exception, on top of the stack, for the handler's `rethrow`s.
    fn save(&mut self, of: usize) {
        let local = self.function.first_local + self.saved;
        self.sink.push(LOCAL_SET);
        local.encode(self.sink);
        self.bases[of].saved = Some(local);
        self.saved += 1;
        self.most_saved = self.most_saved.max(self.saved);
    }

    /// Ends a handler's use of its local.
    fn release(&mut self, of: usize) {
        if self.bases[of].saved.take().is_some() {
            self.saved -= 1;
        }
    }

    fn write_rethrow(&mut self, of: usize) {
        self.sink.push(LOCAL_GET);
        self.bases[of].saved.unwrap_or_default().encode(self.sink);
        self.sink.push(THROW_REF);
    }

    fn write_end(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        if let Some(construct) = frame.construct {
            self.release(construct);
        }
        if frame.rethrow_point.is_some() {
            self.close_rethrow_point();
        }
        self.sink.push(END);
        self.height = frame.height;
    }

    fn open_rethrow_point(&mut self, parameters: &[ValType]) -> u32 {
        self.sink.push(BLOCK);
        self.module.types.write_block_type(parameters, &[ValType::EXNREF], self.sink);
        self.height += 1;
        self.height - 1
    }

    /// The code inside leaves past the `throw_ref`, by the block outside.
    fn close_rethrow_point(&mut self) {
        self.sink.push(BR);
        1_u32.encode(self.sink);
        self.sink.push(END);
        self.sink.push(THROW_REF);
        self.height -= 1;
    }

    fn write_block_type_of(&mut self, index: usize) {
        let bytes = self.function.scan.tries[index].block_type_bytes.clone();
        self.sink.extend_from_slice(&self.function.wasm[bytes]);
    }

    /// Writes the label of the block at `height`.
    fn write_label(&mut self, height: u32) {
        (self.height - 1 - height).encode(self.sink);
    }
}

/// A number of clauses; a module's size bounds it.
fn count(clauses: usize) -> u32 {
    u32::try_from(clauses).unwrap_or(u32::MAX)
}
