//! A `try` that delegates, and the rethrow points that some delegations need
//! (see [`route`](crate::route)). Here the target is the function's caller, past
//! a handler:
//!
//! ```text
//!                         block (result exnref)       ;; a rethrow point
//!   try                     block
//!                             block
//!                               try_table (catch_all 0)
//!     try                         try_table (catch_all_ref 3)
//!       body                        body
//!     delegate 1      ═══▶        end
//!                               end
//!                               br 1
//!   catch_all                 end
//!     handler                 handler
//!   end                     end
//!                           br 1                      ;; return, past the rethrow
//!                         end
//!                         throw_ref
//! ```
//!
//! To delegate to a construct with handlers, clauses that branch to their blocks
//! take the place of `catch_all_ref 3`, or precede it.

use wasm_encoder::Catch;
use wasmparser::ValType;

use super::{Emitter, catch};
use crate::error::TranslateError;
use crate::route::{Rest, Route};
use crate::scan::Kind;

impl Emitter<'_> {
    /// The clauses of the `try_table` for a delegation, written here.
    pub(super) fn delegation_clauses(&self, route: &Route) -> Vec<Catch> {
        let mut clauses = Vec::with_capacity(route.clauses.len() + 1);
        for (of, number) in &route.clauses {
            let construct = &self.function.scan.tries[*of];
            let clause = construct.clauses[*number];
            let height = match construct.kind {
                Kind::Standard => self.frames[clause.target].height,
                Kind::Catches | Kind::Delegates(_) => self.handler_height(*of, *number),
            };
            clauses.push(catch(clause, self.label(height)));
        }
        if let Rest::Rethrow(from) = route.rest {
            let height = match from {
                Some(construct) => self.written[construct].rethrow_point,
                None => self.function_rethrow_point,
            };
            clauses.push(Catch::AllRef { label: self.label(height) });
        }
        clauses
    }

    /// Enters a standard `try_table`, which is kept.
    pub(super) fn enter_try_table(&mut self, index: usize) -> Result<(), TranslateError> {
        self.enter();
        if self.function.routes.has_rethrow_point(index) {
            let parameters = self.parameters(index)?;
            let offset = self.function.scan.tries[index].offset;
            self.written[index].rethrow_point = self.open_rethrow_point(&parameters, offset)?;
            if let Some(frame) = self.frames.last_mut() {
                frame.rethrow_point = true;
            }
        }
        Ok(())
    }

    /// Opens a block that exceptions to be rethrown are branched to, directly
    /// inside something that takes `parameters`, and gives its height.
    pub(super) fn open_rethrow_point(
        &mut self,
        parameters: &[ValType],
        offset: usize,
    ) -> Result<u32, TranslateError> {
        let ty = self.module.types.block_type(parameters, &[ValType::EXNREF], offset)?;
        self.code().block(ty);
        self.height += 1;
        Ok(self.height - 1)
    }

    /// Who was not branching here goes past the `throw_ref`, out of what the
    /// point stands in.
    pub(super) fn close_rethrow_point(&mut self) {
        self.code().br(1).end().throw_ref();
        self.height -= 1;
    }
}
