//! Translates WebAssembly's legacy exception instructions to the standard ones.
//!
//! Compilers still write `try`, `catch`, `catch_all`, `rethrow` and `delegate`, which is
//! what Emscripten makes of C++ exceptions, `longjmp` and Rust panics. Some engines,
//! wasmtime among them, execute only what became of them in the standard: `try_table`,
//! `throw_ref` and the type `exnref`. [`translate`] rewrites the code section of
//! a module and leaves everything else as it is, byte for byte, except that the
//! type section may gain types at its end. Indices of types, functions, tags and
//! so on stay the same.
//!
//! ```
//! # fn main() -> Result<(), legacy_exceptions::TranslateError> {
//! use std::borrow::Cow;
//! use legacy_exceptions::translate;
//!
//! // One function: (try (do) (catch_all))
//! let legacy = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\
//!                \x0a\x08\x01\x06\0\x06\x40\x19\x0b\x0b";
//! let standard = translate(legacy)?;
//! assert!(matches!(standard, Cow::Owned(_)));
//!
//! // What has nothing to translate is not even copied.
//! assert!(matches!(translate(&standard)?, Cow::Borrowed(_)));
//! # Ok(())
//! # }
//! ```
//!
//! The engine that is to execute the result must have exceptions switched on; of wasmtime
//! these are `Config::wasm_exceptions` and what it stands on, `wasm_gc`,
//! `wasm_function_references` and `wasm_reference_types`. On the command line, the example
//! `legacy-eh` reads a module from standard input and writes its translation.
//!
//! # How it works
//!
//! A legacy `try` keeps its handlers in its own block. A `try_table` has none: each
//! of its clauses *branches*, with the values of the exception, to a block around
//! it. So each handler needs a block to be behind of, and the whole needs one to
//! leave by:
//!
//! ```text
//!   try (result R)           ┌ block (result R)
//!                            │ ┌ block (result B… exnref)
//!                            │ │ ┌ block (result A…)
//!                            │ │ │ ┌ try_table (result R) (catch $a 0) (catch_ref $b 1)
//!     body                   │ │ │ │    body
//!                            │ │ │ └ end
//!                            │ │ │   br 2 ──────────────────────────────────┐
//!   catch $a         ═══▶    │ │ └ end       ◀── exceptions with tag $a     │
//!     one                    │ │     one                                    │
//!                            │ │     br 1 ──────────────────────────────────┤
//!   catch $b                 │ └ end         ◀── exceptions with tag $b     │
//!                            │     local.set $saved                         │
//!     two                    │     two                                      │
//!     rethrow 0              │     local.get $saved  throw_ref              │
//!   end                      └ end           ◀──────────────────────────────┘
//! ```
//!
//! * **Labels.** One block has become four here, fewer of which are around each
//!   handler the later it comes. Every label that leads out past a `try` shifts:
//!   those of `br`, `br_if`, `br_table`, `br_on_…`, `try_table` and `resume`.
//! * **`rethrow`** names a handler around it, which may not be the innermost, so the
//!   exception has to be kept: the clause asks for it (`catch_ref`), and the handler
//!   begins by saving it in a local. Handlers inside one another have a local each,
//!   handlers side by side share one, and those that are not rethrown from, which is
//!   most, need nothing of it.
//! * **`delegate`** hands what its body throws to a construct further out, past all
//!   those in between. The blocks of that construct's handlers are around the
//!   delegating `try` too, so this becomes a `try_table` that branches to them
//!   directly: its clauses are those of its target, followed by those of whatever
//!   handles what the target does not, and so on until one catches everything.
//!   If none does, the exception has to leave the function unhandled; it is then
//!   caught, branches to a block around the whole function, and is thrown again there.
//!   If the target is who would handle the exception anyway, the `try` becomes a
//!   plain block, as does one without any handler. Here the target is the outer of two
//!   constructs around, and the label 4 that of the block of its handler:
//!
//!   ```text
//!     try                      ┌ block
//!                              │ ┌ block
//!                              │ │ ┌ try_table (catch_all 0)
//!       try                    │ │ │ ┌ block
//!                              │ │ │ │ ┌ block
//!                              │ │ │ │ │ ┌ try_table (catch_all 0)
//!         try                  │ │ │ │ │ │ ┌ try_table (catch_all 4) ───────────┐
//!           body       ═══▶    │ │ │ │ │ │ │    body                            │
//!         delegate 1           │ │ │ │ │ │ └ end                                │
//!                              │ │ │ │ │ └ end                                  │
//!                              │ │ │ │ │   br 1                                 │
//!       catch_all              │ │ │ │ └ end     ◀── not what `body` throws     │
//!         inner                │ │ │ │     inner                                │
//!       end                    │ │ │ └ end                                      │
//!                              │ │ └ end                                        │
//!                              │ │   br 1                                       │
//!     catch_all                │ └ end           ◀── what `body` throws ────────┘
//!       outer                  │     outer
//!     end                      └ end
//!   ```
//! * **Block types.** A block that takes or leaves several values needs a function
//!   type. One the module has is used if possible, or else one is added.
//! * **Unreachable code** is translated like the rest. The blocks are typed so that
//!   what was valid because control never arrives stays valid for the same reason.
//!
//! A function is read once, to learn what the handlers of each `try` are and which
//! are rethrown from, and then written, copying everything in between the places that
//! change. Functions without legacy instructions are copied as a whole.
//!
//! # What it does not do
//!
//! * It does not validate. A module that is not valid may be refused, if the mistake
//!   is in the way, or give one that is not valid either, or, if only a stack was left
//!   untidy in a handler, one that is. Let the engine validate the result.
//! * It does not touch custom sections. Those that refer to places in the code, such as
//!   DWARF's `.debug_…`, `metadata.code.…` and the `reloc.CODE` of files that are still
//!   to be linked, refer to the old ones. `name` and `dylink.0` do not, and stay right.
//! * It reads one core module. Components are refused.

#![forbid(unsafe_code)]

mod code;
mod emit;
mod error;
mod module;
mod route;
mod scan;
mod types;

pub use error::TranslateError;
pub use module::translate;
