//! Stops CPython's interpreter from writing down which way each branch went.
//!
//! Since 3.12 every conditional jump of the bytecode has 16 bits behind it, into which the
//! interpreter shifts one bit whenever it passes. Only CPython's just-in-time compiler
//! reads them (Python/optimizer.c), and Pyodide is built without it. But bytecode lies
//! among all other objects, so a restored isolate would make hundreds of pages its own
//! for bits that nobody reads.
//!
//! In the machine's terms one record is
//!
//! ```text
//! local.get $next; local.get $next; i32.load16_u; i32.const 1; i32.shl; …condition…; i32.or; i32.store16
//! ```
//!
//! and the store becomes two `drop`s: the same operands taken, the same bytes long, so that
//! nothing else in the module moves.

use std::ops::Range;

use wasmparser::{BinaryReaderError, ExternalKind, Operator, Parser, Payload, TypeRef};

/// The function that interprets bytecode.
const INTERPRETER: &str = "_PyEval_EvalFrameDefault";

const DROP: u8 = 0x1a;
const NOP: u8 = 0x01;

/// Takes the records out of the interpreter; how many there were.
pub fn forget(wasm: &mut [u8]) -> Result<usize, BinaryReaderError> {
    let stores = find_stores(wasm)?;
    for store in &stores {
        let bytes = &mut wasm[store.clone()];
        bytes.fill(NOP);
        bytes[..2].fill(DROP);
    }
    Ok(stores.len())
}

/// Where the instructions are that store a branch's history.
fn find_stores(wasm: &[u8]) -> Result<Vec<Range<usize>>, BinaryReaderError> {
    let (mut imported, mut defined, mut interpreter) = (0, 0, None);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func && export.name == INTERPRETER {
                        interpreter = Some(export.index);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                if interpreter == Some(imported + defined) {
                    return stores_of(&body);
                }
                defined += 1;
            }
            _ => {}
        }
    }
    Ok(Vec::new())
}

fn stores_of(body: &wasmparser::FunctionBody<'_>) -> Result<Vec<Range<usize>>, BinaryReaderError> {
    let mut stores = Vec::new();
    let mut record = Record::None;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let start = operators.original_position();
        let operator = operators.read()?;
        if record.complete(&operator) {
            stores.push(start..operators.original_position());
        }
        record = record.after(&operator);
    }
    Ok(stores)
}

/// How much of a record the instructions so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    None,
    Loaded {
        offset: u64,
    },
    One {
        offset: u64,
    },
    /// Shifted; the condition may follow.
    Shifted {
        offset: u64,
    },
    /// The value to store is whole.
    Whole {
        offset: u64,
    },
}

impl Record {
    fn after(self, operator: &Operator<'_>) -> Self {
        match (self, operator) {
            (_, Operator::I32Load16U { memarg }) => Self::Loaded { offset: memarg.offset },
            (Self::Loaded { offset }, Operator::I32Const { value: 1 }) => Self::One { offset },
            (Self::One { offset }, Operator::I32Shl) => Self::Shifted { offset },
            (Self::Shifted { offset }, Operator::I32Or) => Self::Whole { offset },
            (Self::Shifted { offset }, operator) if computes(operator) => Self::Shifted { offset },
            _ => Self::None,
        }
    }

    /// Whether `operator` stores what was recorded. A jump whose condition is constantly
    /// false only shifts.
    fn complete(self, operator: &Operator<'_>) -> bool {
        match (self, operator) {
            (Self::Whole { offset } | Self::Shifted { offset }, Operator::I32Store16 { memarg }) => {
                memarg.offset == offset
            }
            _ => false,
        }
    }
}

/// What a condition is made of.
fn computes(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::LocalGet { .. }
            | Operator::LocalTee { .. }
            | Operator::I32Const { .. }
            | Operator::I32Load { .. }
            | Operator::I32Add
            | Operator::I32Sub
            | Operator::I32Eq
            | Operator::I32Ne
            | Operator::I32Eqz
    )
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Module, Store};

    use super::*;

    const MODULE: &str = r#"(module
        (memory (export "memory") 1)
        (func $other (param i32)
            (i32.store16 (local.get 0)
                (i32.or (i32.shl (i32.load16_u (local.get 0)) (i32.const 1)) (i32.const 1))))
        (func (export "_PyEval_EvalFrameDefault") (param i32) (result i32)
            (local $condition i32)
            (i32.store16 (local.get 0)
                (i32.or (i32.shl (i32.load16_u (local.get 0)) (i32.const 1))
                    (local.tee $condition (i32.eq (i32.const 7) (i32.const 7)))))
            (i32.store16 (local.get 0) (i32.shl (i32.load16_u (local.get 0)) (i32.const 1)))
            (i32.store16 offset=8 (local.get 0) (i32.sub (i32.load16_u offset=8 (local.get 0)) (i32.const 16)))
            (call $other (i32.const 64))
            (local.get $condition)))"#;

    #[test]
    fn only_histories_in_the_interpreter_are_forgotten() {
        let mut wasm = wast::parser::parse::<wast::Wat>(&wast::parser::ParseBuffer::new(MODULE).unwrap())
            .unwrap()
            .encode()
            .unwrap();
        assert_eq!(forget(&mut wasm).unwrap(), 2);
        let engine = Engine::default();
        let module = Module::new(&engine, &wasm).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        memory.data_mut(&mut store)[..16].copy_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0]);
        let run = instance.get_typed_func::<i32, i32>(&mut store, INTERPRETER).unwrap();
        assert_eq!(run.call(&mut store, 0).unwrap(), 1);
        let data = memory.data(&store);
        assert_eq!((data[0], data[8], data[64]), (5, 16, 1));
        assert_eq!(forget(&mut wasm).unwrap(), 0);
    }

    #[test]
    fn a_module_without_an_interpreter_stays() {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        assert_eq!(forget(&mut wasm).unwrap(), 0);
        assert!(forget(&mut b"\0asm\x01\0\0\0\x0a\x05".to_vec()).is_err());
    }
}
