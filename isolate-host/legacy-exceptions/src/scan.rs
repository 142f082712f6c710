//! The first pass over a function: what has to change, and where.
//!
//! The translation of a `try` depends on what follows it (its clauses, and
//! whether they are rethrown from), so one pass collects and a second one,
//! in [`emit`](crate::emit), writes. Nothing but the places where bytes change
//! or a label opens or closes is recorded.

mod labels;

use std::ops::Range;

use wasmparser::{BlockType, Operator, OperatorsReader, OperatorsReaderAllocations};

use crate::error::{Expecting as _, TranslateError};

/// A place in a function's code, and what the translation does there. The
/// bytes between two places are copied.
pub(crate) struct Edit {
    /// The bytes that are replaced; empty where something is only noted.
    pub(crate) bytes: Range<usize>,
    pub(crate) action: Action,
}

#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// A `block`, `loop` or `if` is kept.
    Enter,
    /// A `try_table` is kept.
    EnterTryTable(usize),
    /// A label that belongs to the given frame.
    Label(usize),
    Try(usize),
    /// A `catch` or `catch_all`; `reached` if the code before it can run into it.
    Catch {
        of: usize,
        clause: usize,
        reached: bool,
    },
    Rethrow {
        of: usize,
    },
    /// The `end` of anything, or the `delegate` that ends a `try`.
    End,
}

/// A construct that can handle exceptions: a `try` or a `try_table`.
pub(crate) struct Try {
    pub(crate) offset: usize,
    pub(crate) block_type: BlockType,
    /// The construct that handles what is thrown where this one stands, as
    /// written; the function's caller if there is none.
    pub(crate) around: Option<usize>,
    pub(crate) kind: Kind,
    pub(crate) clauses: Vec<Clause>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A `try` with its clauses, of which there may be none.
    Catches,
    /// A `try` that ends in `delegate`, and the construct it delegates to, as
    /// written; the function's caller if there is none.
    Delegates(Option<usize>),
    /// A standard `try_table`.
    Standard,
}

#[derive(Clone, Copy)]
pub(crate) struct Clause {
    /// The tag that is caught; `None` catches everything.
    pub(crate) tag: Option<u32>,
    /// Whether the handler is given the exception itself: because it is
    /// rethrown, or because a `try_table` says so.
    pub(crate) reference: bool,
    /// Of a `try_table`: the frame branched to.
    pub(crate) target: usize,
}

#[derive(Clone, Copy)]
struct Frame {
    kind: FrameKind,
    /// The construct that handles what is thrown directly inside.
    handler: Option<usize>,
}

#[derive(Clone, Copy)]
enum FrameKind {
    Function,
    Plain,
    TryBody(usize),
    Handler { of: usize, clause: usize },
}

/// What the first pass found in one function. Kept between functions for its
/// allocations.
#[derive(Default)]
pub(crate) struct Scan {
    pub(crate) edits: Vec<Edit>,
    pub(crate) tries: Vec<Try>,
    /// Whether there is a legacy instruction at all.
    pub(crate) legacy: bool,
    frames: Vec<Frame>,
}

impl Scan {
    /// Reads a function's instructions. `wasm` is the whole module.
    ///
    /// Gives the reader's allocations back, to be used for the next function.
    pub(crate) fn read(
        &mut self,
        wasm: &[u8],
        mut operators: OperatorsReader<'_>,
    ) -> Result<OperatorsReaderAllocations, TranslateError> {
        self.edits.clear();
        self.tries.clear();
        self.legacy = false;
        self.frames.clear();
        self.frames.push(Frame { kind: FrameKind::Function, handler: None });
        let mut reached = true;
        while !operators.eof() {
            let (operator, start) = operators.read_with_offset().expecting("an instruction")?;
            let bytes = start..operators.original_position();
            self.note(wasm, &operator, bytes, reached)?;
            reached = !is_unconditional(&operator);
        }
        operators.finish().expecting("an `end` for every block")?;
        Ok(operators.into_allocations())
    }

    fn note(
        &mut self,
        wasm: &[u8],
        operator: &Operator<'_>,
        bytes: Range<usize>,
        reached: bool,
    ) -> Result<(), TranslateError> {
        let handler = self.innermost_handler();
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.frames.push(Frame { kind: FrameKind::Plain, handler });
                self.edit(bytes.end..bytes.end, Action::Enter);
            }
            Operator::TryTable { try_table } => self.note_try_table(wasm, try_table.ty, bytes)?,
            Operator::Try { blockty } => self.note_try(*blockty, bytes),
            Operator::Catch { tag_index } => self.note_catch(Some(*tag_index), bytes, reached),
            Operator::CatchAll => self.note_catch(None, bytes, reached),
            Operator::Delegate { relative_depth } => self.note_delegate(*relative_depth, bytes)?,
            Operator::Rethrow { relative_depth } => self.note_rethrow(*relative_depth, bytes)?,
            Operator::End => {
                self.frames.pop();
                self.edit(bytes, Action::End);
            }
            Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::BrTable { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. }
            | Operator::BrOnCastDescEq { .. }
            | Operator::BrOnCastDescEqFail { .. }
            | Operator::Resume { .. }
            | Operator::ResumeThrow { .. }
            | Operator::ResumeThrowRef { .. } => self.note_labels(wasm, operator, bytes)?,
            _ => {}
        }
        Ok(())
    }

    fn edit(&mut self, bytes: Range<usize>, action: Action) {
        self.edits.push(Edit { bytes, action });
    }

    fn innermost_handler(&self) -> Option<usize> {
        self.frames.last().and_then(|frame| frame.handler)
    }

    /// The frame a label names, counted from the function's own.
    fn frame_of(&self, label: u32, offset: usize) -> Result<usize, TranslateError> {
        let available = self.frames.len();
        (label as usize)
            .checked_add(1)
            .and_then(|outwards| available.checked_sub(outwards))
            .ok_or(TranslateError::OutOfRange { offset, what: "label", found: label, available })
    }

    fn note_try(&mut self, block_type: BlockType, bytes: Range<usize>) {
        let index = self.tries.len();
        self.tries.push(Try {
            offset: bytes.start,
            block_type,
            around: self.innermost_handler(),
            kind: Kind::Catches,
            clauses: Vec::new(),
        });
        self.frames.push(Frame { kind: FrameKind::TryBody(index), handler: Some(index) });
        self.edit(bytes, Action::Try(index));
        self.legacy = true;
    }

    fn note_catch(&mut self, tag: Option<u32>, bytes: Range<usize>, reached: bool) {
        // The reader has seen to it that a `catch` stands in a `try`.
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let (FrameKind::TryBody(of) | FrameKind::Handler { of, .. }) = frame.kind else {
            return;
        };
        let clauses = &mut self.tries[of].clauses;
        let clause = clauses.len();
        clauses.push(Clause { tag, reference: false, target: 0 });
        frame.kind = FrameKind::Handler { of, clause };
        frame.handler = self.tries[of].around;
        self.edit(bytes, Action::Catch { of, clause, reached });
    }

    fn note_delegate(&mut self, label: u32, bytes: Range<usize>) -> Result<(), TranslateError> {
        let Some(Frame { kind: FrameKind::TryBody(index), .. }) = self.frames.pop() else {
            return Ok(()); // as for `catch`
        };
        let target = self.frame_of(label, bytes.start)?;
        self.tries[index].kind = Kind::Delegates(self.frames[target].handler);
        self.edit(bytes, Action::End);
        Ok(())
    }

    fn note_rethrow(&mut self, label: u32, bytes: Range<usize>) -> Result<(), TranslateError> {
        let offset = bytes.start;
        let found = match self.frames[self.frame_of(label, offset)?].kind {
            FrameKind::Handler { of, clause } => {
                self.tries[of].clauses[clause].reference = true;
                self.edit(bytes, Action::Rethrow { of });
                self.legacy = true;
                return Ok(());
            }
            FrameKind::Function => "the function's own",
            FrameKind::Plain => "a plain block's",
            FrameKind::TryBody(_) => "the body of a `try`",
        };
        Err(TranslateError::RethrowOutsideCatch { offset, label, found })
    }
}

/// Whether control never continues after the instruction.
fn is_unconditional(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Unreachable
            | Operator::Br { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Rethrow { .. }
    )
}
