//! A `try` with handlers of its own.
//!
//! ```text
//!   try (result R)            block (result R)            ;; to leave it by
//!                               block (result B… exnref)
//!                                 block (result A…)
//!                                   try_table (result R) (catch $a 0) (catch_ref $b 1)
//!     body            ═══▶            body
//!                                   end
//!                                   br 2
//!   catch $a                      end
//!     one                         one
//!                                 br 1
//!   catch $b                    end
//!                               local.set $saved
//!     two                       two
//!     rethrow 0                 local.get $saved  throw_ref
//!   end                       end
//! ```
//!
//! The block of the first handler is the innermost. It ends where the handler
//! begins, so that the handler stands in the blocks of those after it, and the
//! height it is written at falls with each.

use wasm_encoder::InstructionSink;
use wasmparser::ValType;

use super::{Emitter, Frame, catch};
use crate::error::TranslateError;

impl Emitter<'_> {
    /// Writes the blocks of a `try` and begins its body.
    pub(super) fn begin_with_handlers(&mut self, index: usize) -> Result<(), TranslateError> {
        let construct = &self.function.scan.tries[index];
        let ty = self.block_type(index);
        let parameters = self.parameters(index)?;
        self.written[index].height = self.height;
        self.frames.push(Frame { height: self.height, rethrow_point: false, handlers_of: Some(index) });
        self.code().block(ty);
        self.height += 1;
        for clause in construct.clauses.iter().rev() {
            let mut values = match clause.tag {
                Some(tag) => self.module.tag(tag, construct.offset)?.to_vec(),
                None => Vec::new(),
            };
            if clause.reference {
                values.push(ValType::EXNREF);
            }
            let ty = self.module.types.block_type(&parameters, &values, construct.offset)?;
            self.code().block(ty);
            self.height += 1;
        }
        let clauses: Vec<_> = (0..).zip(&construct.clauses).map(|(label, c)| catch(*c, label)).collect();
        self.code().try_table(ty, clauses);
        self.height += 1;
        if self.function.routes.has_rethrow_point(index) {
            self.written[index].rethrow_point = self.open_rethrow_point(&parameters, construct.offset)?;
        }
        Ok(())
    }

    /// The height of the block that a handler follows.
    pub(super) fn handler_height(&self, of: usize, clause: usize) -> u32 {
        let clauses = self.function.scan.tries[of].clauses.len();
        let from_outside = u32::try_from(clauses - clause).expect("less than the module's size");
        self.written[of].height + from_outside
    }

    /// Ends what comes before a handler: the body, or another handler.
    pub(super) fn begin_handler(&mut self, of: usize, clause: usize, reached: bool) {
        if clause == 0 {
            if self.function.routes.has_rethrow_point(of) {
                self.close_rethrow_point();
            }
            self.code().end(); // of the `try_table`
            self.height -= 1;
        } else {
            self.release(of);
        }
        // Control arrives behind a `try_table` even if its body never ends, as
        // far as validation is concerned, with the results on the stack.
        if clause == 0 || reached {
            let label = self.label(self.written[of].height);
            self.code().br(label);
        }
        self.code().end();
        self.height -= 1;
        if self.function.scan.tries[of].clauses[clause].reference {
            self.save(of);
        }
    }

    pub(super) fn rethrow(&mut self, of: usize) {
        let local = self.written[of].saved_in.expect("clauses that are rethrown from save the exception");
        InstructionSink::new(self.sink).local_get(local).throw_ref();
    }

    /// Saves the exception on top of the stack. Handlers inside one another
    /// need a local each; those side by side share one.
    fn save(&mut self, of: usize) {
        let local = self.function.first_local + self.saved;
        self.code().local_set(local);
        self.written[of].saved_in = Some(local);
        self.saved += 1;
        self.most_saved = self.most_saved.max(self.saved);
    }

    /// Frees the local of the handler that ends.
    pub(super) fn release(&mut self, of: usize) {
        if self.written[of].saved_in.take().is_some() {
            self.saved -= 1;
        }
    }
}
