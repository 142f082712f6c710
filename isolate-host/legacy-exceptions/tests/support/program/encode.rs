//! Writes a program as a binary module, with the legacy instructions.

use wasm_encoder::{
    BlockType, Catch, CodeSection, ConstExpr, CustomSection, EntityType, ExportKind, ExportSection,
    FunctionSection, GlobalSection, GlobalType, HeapType, ImportSection, Instruction as Code, Module,
    TagKind, TagSection, TagType, TypeSection, ValType,
};

use super::{Clause, FUEL, Function, Handler, Instruction, Program, Signature, TAGS, Type};

/// The function that takes what a program logs.
const LOG: u32 = 0;
/// The module's own functions follow the imported ones.
const FIRST: u32 = 1;
const FUEL_GLOBAL: u32 = 0;

pub(crate) fn encode(program: &Program) -> Vec<u8> {
    let mut types = Types::default();
    let log = types.index(&Signature { parameters: vec![Type::I32], results: vec![] });
    let tags = TAGS.map(|values| TagType {
        kind: TagKind::Exception,
        func_type_idx: types.index(&Signature { parameters: values.to_vec(), results: vec![] }),
    });

    let mut imports = ImportSection::new();
    imports.import("host", "log", EntityType::Function(log));
    imports.import("host", "tag", EntityType::Tag(tags[0]));
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, FIRST);
    let mut own_tags = TagSection::new();
    for (index, tag) in (0..).zip(tags) {
        exports.export(&format!("tag{index}"), ExportKind::Tag, index);
        if index > 0 {
            own_tags.tag(tag);
        }
    }
    let mut globals = GlobalSection::new();
    let fuel = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(fuel, &ConstExpr::i32_const(FUEL));

    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    for function in &program.functions {
        functions.function(types.index(&function.signature));
        code.function(&encode_function(function, &mut types));
    }

    let mut module = Module::new();
    module
        .section(&types.section())
        .section(&imports)
        .section(&functions)
        .section(&own_tags)
        .section(&globals)
        .section(&exports)
        .section(&code)
        .section(&CustomSection { name: "last".into(), data: (&b"kept as it is"[..]).into() });
    module.finish()
}

#[derive(Default)]
struct Types {
    signatures: Vec<Signature>,
}

impl Types {
    fn index(&mut self, signature: &Signature) -> u32 {
        let known = self.signatures.iter().position(|known| known == signature);
        let index = known.unwrap_or_else(|| {
            self.signatures.push(signature.clone());
            self.signatures.len() - 1
        });
        u32::try_from(index).expect("a small program")
    }

    fn block(&mut self, signature: &Signature) -> BlockType {
        match (&signature.parameters[..], &signature.results[..]) {
            ([], []) => BlockType::Empty,
            ([], [ty]) => BlockType::Result(value_type(*ty)),
            _ => BlockType::FunctionType(self.index(signature)),
        }
    }

    fn section(&self) -> TypeSection {
        let mut section = TypeSection::new();
        for signature in &self.signatures {
            let list = |types: &[Type]| types.iter().copied().map(value_type).collect::<Vec<_>>();
            section.ty().function(list(&signature.parameters), list(&signature.results));
        }
        section
    }
}

fn value_type(ty: Type) -> ValType {
    match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::Exception => ValType::EXNREF,
    }
}

fn encode_function(function: &Function, types: &mut Types) -> wasm_encoder::Function {
    let locals = function.locals.iter().map(|ty| value_type(*ty));
    let mut writer = Writer { function: wasm_encoder::Function::new_with_locals_types(locals), types };
    writer.use_fuel();
    writer.sequence(&function.body);
    writer.write(&Code::End);
    writer.function
}

struct Writer<'a> {
    function: wasm_encoder::Function,
    types: &'a mut Types,
}

impl Writer<'_> {
    fn write(&mut self, code: &Code<'_>) {
        self.function.instruction(code);
    }

    fn use_fuel(&mut self) {
        for code in [
            Code::GlobalGet(FUEL_GLOBAL),
            Code::I32Eqz,
            Code::If(BlockType::Empty),
            Code::Unreachable,
            Code::End,
            Code::GlobalGet(FUEL_GLOBAL),
            Code::I32Const(1),
            Code::I32Sub,
            Code::GlobalSet(FUEL_GLOBAL),
        ] {
            self.write(&code);
        }
    }

    fn sequence(&mut self, body: &[Instruction]) {
        for instruction in body {
            self.instruction(instruction);
        }
    }

    fn instruction(&mut self, instruction: &Instruction) {
        let code = match instruction {
            Instruction::I32(value) => Code::I32Const(*value),
            Instruction::I64(value) => Code::I64Const(*value),
            Instruction::NullException => {
                Code::RefNull(HeapType::Abstract { shared: false, ty: wasm_encoder::AbstractHeapType::Exn })
            }
            Instruction::LocalGet(index) => Code::LocalGet(*index),
            Instruction::LocalSet(index) => Code::LocalSet(*index),
            Instruction::Drop => Code::Drop,
            Instruction::Add => Code::I32Add,
            Instruction::IsZero => Code::I32Eqz,
            Instruction::Wrap => Code::I32WrapI64,
            Instruction::Extend => Code::I64ExtendI32S,
            Instruction::Log => Code::Call(LOG),
            Instruction::Branch(label) => Code::Br(*label),
            Instruction::BranchIf(label) => Code::BrIf(*label),
            Instruction::BranchTable(labels, default) => Code::BrTable(labels.into(), *default),
            Instruction::Return => Code::Return,
            Instruction::Unreachable => Code::Unreachable,
            Instruction::Throw(tag) => Code::Throw(*tag),
            Instruction::Rethrow(label) => Code::Rethrow(*label),
            Instruction::ThrowReference => Code::ThrowRef,
            Instruction::Call(index) => Code::Call(FIRST + index),
            Instruction::ReturnCall(index) => Code::ReturnCall(FIRST + index),
            Instruction::Block(..)
            | Instruction::Loop(..)
            | Instruction::If(..)
            | Instruction::Try(..)
            | Instruction::Delegate(..)
            | Instruction::TryTable(..) => return self.structured(instruction),
        };
        self.write(&code);
    }

    fn structured(&mut self, instruction: &Instruction) {
        match instruction {
            Instruction::Block(signature, body) => {
                let ty = self.types.block(signature);
                self.write(&Code::Block(ty));
                self.sequence(body);
                self.write(&Code::End);
            }
            Instruction::Loop(signature, body) => {
                let ty = self.types.block(signature);
                self.write(&Code::Loop(ty));
                self.use_fuel();
                self.sequence(body);
                self.write(&Code::End);
            }
            Instruction::If(signature, then, otherwise) => {
                let ty = self.types.block(signature);
                self.write(&Code::If(ty));
                self.sequence(then);
                self.write(&Code::Else);
                self.sequence(otherwise);
                self.write(&Code::End);
            }
            Instruction::Try(signature, body, handlers) => {
                let ty = self.types.block(signature);
                self.write(&Code::Try(ty));
                self.sequence(body);
                for Handler { tag, body } in handlers {
                    self.write(&tag.map_or(Code::CatchAll, Code::Catch));
                    self.sequence(body);
                }
                self.write(&Code::End);
            }
            Instruction::Delegate(signature, body, label) => {
                let ty = self.types.block(signature);
                self.write(&Code::Try(ty));
                self.sequence(body);
                self.write(&Code::Delegate(*label));
            }
            Instruction::TryTable(signature, clauses, body) => {
                let ty = self.types.block(signature);
                let clauses: Vec<_> = clauses.iter().map(encode_clause).collect();
                self.write(&Code::TryTable(ty, clauses.into()));
                self.sequence(body);
                self.write(&Code::End);
            }
            _ => unreachable!("a plain instruction"),
        }
    }
}

fn encode_clause(clause: &Clause) -> Catch {
    let label = clause.label;
    match (clause.tag, clause.reference) {
        (Some(tag), false) => Catch::One { tag, label },
        (Some(tag), true) => Catch::OneRef { tag, label },
        (None, false) => Catch::All { label },
        (None, true) => Catch::AllRef { label },
    }
}
