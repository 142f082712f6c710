//! Finding the labels inside an instruction.
//!
//! Only a label's own bytes change, so it is not enough to know the decoded
//! instruction: the bytes are read once more, up to where each label stands.

use std::ops::Range;

use wasmparser::{BinaryReader, BlockType, Operator, ValType};

use super::{Action, Clause, Frame, FrameKind, Kind, Scan, Try};
use crate::error::{Expecting as _, TranslateError};

impl Scan {
    pub(super) fn note_try_table(
        &mut self,
        wasm: &[u8],
        block_type: BlockType,
        bytes: Range<usize>,
    ) -> Result<(), TranslateError> {
        const WHAT: &str = "a `try_table`";
        let mut reader = BinaryReader::new(&wasm[bytes.clone()], bytes.start);
        reader.read_u8().expecting(WHAT)?;
        skip_block_type(&mut reader).expecting(WHAT)?;
        let mut clauses = Vec::new();
        for _ in 0..reader.read_var_u32().expecting(WHAT)? {
            // 0 `catch`, 1 `catch_ref`, 2 `catch_all`, 3 `catch_all_ref`
            let kind = reader.read_u8().expecting(WHAT)?;
            let tag = if kind < 2 { Some(reader.read_var_u32().expecting(WHAT)?) } else { None };
            let target = self.note_label(&mut reader)?;
            clauses.push(Clause { tag, reference: kind % 2 == 1, target });
        }
        let index = self.tries.len();
        self.tries.push(Try {
            offset: bytes.start,
            block_type,
            around: self.innermost_handler(),
            kind: Kind::Standard,
            clauses,
        });
        self.frames.push(Frame { kind: FrameKind::Plain, handler: Some(index) });
        self.edit(bytes.end..bytes.end, Action::EnterTryTable(index));
        Ok(())
    }

    /// Notes the labels of an instruction that branches.
    pub(super) fn note_labels(
        &mut self,
        wasm: &[u8],
        operator: &Operator<'_>,
        bytes: Range<usize>,
    ) -> Result<(), TranslateError> {
        const WHAT: &str = "a label";
        let mut reader = BinaryReader::new(&wasm[bytes.clone()], bytes.start);
        reader.read_u8().expecting(WHAT)?;
        match operator {
            Operator::BrTable { .. } => {
                for _ in 0..reader.read_var_u32().expecting(WHAT)? {
                    self.note_label(&mut reader)?;
                }
                self.note_label(&mut reader)?;
            }
            Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. }
            | Operator::BrOnCastDescEq { .. }
            | Operator::BrOnCastDescEqFail { .. } => {
                reader.read_var_u32().expecting(WHAT)?; // the second half of the opcode
                reader.read_u8().expecting(WHAT)?; // which of the types are nullable
                self.note_label(&mut reader)?;
            }
            Operator::Resume { .. } | Operator::ResumeThrowRef { .. } => {
                reader.read_var_u32().expecting(WHAT)?; // the continuation's type
                self.note_resume_table(&mut reader)?;
            }
            Operator::ResumeThrow { .. } => {
                reader.read_var_u32().expecting(WHAT)?; // the continuation's type
                reader.read_var_u32().expecting(WHAT)?; // the tag
                self.note_resume_table(&mut reader)?;
            }
            _ => {
                self.note_label(&mut reader)?;
            }
        }
        Ok(())
    }

    fn note_resume_table(&mut self, reader: &mut BinaryReader<'_>) -> Result<(), TranslateError> {
        const WHAT: &str = "a table of suspension handlers";
        for _ in 0..reader.read_var_u32().expecting(WHAT)? {
            let kind = reader.read_u8().expecting(WHAT)?;
            reader.read_var_u32().expecting(WHAT)?; // the tag
            if kind == 0 {
                self.note_label(reader)?;
            }
        }
        Ok(())
    }

    fn note_label(&mut self, reader: &mut BinaryReader<'_>) -> Result<usize, TranslateError> {
        let start = reader.original_position();
        let label = reader.read_var_u32().expecting("a label")?;
        let frame = self.frame_of(label, start)?;
        self.edit(start..reader.original_position(), Action::Label(frame));
        Ok(frame)
    }
}

/// Skips a block type: the marker of an empty one, a type index (not negative
/// if read as a signed number), or a value type.
fn skip_block_type(reader: &mut BinaryReader<'_>) -> wasmparser::Result<()> {
    let mut ahead = reader.clone();
    if ahead.read_var_s33()? >= 0 || reader.clone().read_u8()? == EMPTY_BLOCK_TYPE {
        *reader = ahead;
        return Ok(());
    }
    reader.read::<ValType>().map(drop)
}

const EMPTY_BLOCK_TYPE: u8 = 0x40;
