//! Small programs with legacy exception handling, made from arbitrary bytes:
//!
//! ```text
//!   bytes ── generate ──▶ Program ── encode ──▶ module ── translate ──▶ module'
//!                            │                                             │
//!                        interpret                                      execute
//!                            ▼                                             ▼
//!                         Behaviour  ═══════════ must equal ═══════════ Behaviour
//! ```
//!
//! Programs are valid and always end: what could run forever uses up fuel, and
//! traps without it. They tell what they do: which values they log on the way,
//! and whether they return, throw or trap.

pub(crate) mod encode;
pub(crate) mod generate;
pub(crate) mod interpret;

/// How many loop iterations and calls a program may use up.
pub(crate) const FUEL: i32 = 100;

/// The tags of every program, by what they carry. The first one is imported.
pub(crate) const TAGS: [&[Type]; 5] =
    [&[Type::I32], &[], &[Type::I32], &[Type::I64, Type::I32], &[Type::I32, Type::I32, Type::I64]];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    I32,
    I64,
    /// A reference to an exception; only in programs that mix old and new.
    Exception,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Signature {
    pub(crate) parameters: Vec<Type>,
    pub(crate) results: Vec<Type>,
}

/// Function 0 is called with the arguments; functions call only later ones.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) arguments: [i32; 2],
    pub(crate) functions: Vec<Function>,
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) signature: Signature,
    /// Beyond the parameters.
    pub(crate) locals: Vec<Type>,
    pub(crate) body: Vec<Instruction>,
}

#[derive(Debug)]
pub(crate) enum Instruction {
    I32(i32),
    I64(i64),
    NullException,
    LocalGet(u32),
    LocalSet(u32),
    Drop,
    Add,
    IsZero,
    Wrap,
    Extend,
    /// Hands an `i32` to the host.
    Log,
    Block(Signature, Vec<Instruction>),
    /// Uses up fuel at each turn.
    Loop(Signature, Vec<Instruction>),
    If(Signature, Vec<Instruction>, Vec<Instruction>),
    Try(Signature, Vec<Instruction>, Vec<Handler>),
    Delegate(Signature, Vec<Instruction>, u32),
    TryTable(Signature, Vec<Clause>, Vec<Instruction>),
    Branch(u32),
    BranchIf(u32),
    BranchTable(Vec<u32>, u32),
    Return,
    Unreachable,
    Throw(u32),
    Rethrow(u32),
    ThrowReference,
    Call(u32),
    ReturnCall(u32),
}

/// A `catch` of a tag, or a `catch_all`.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) tag: Option<u32>,
    pub(crate) body: Vec<Instruction>,
}

/// A clause of a `try_table`.
#[derive(Debug)]
pub(crate) struct Clause {
    pub(crate) tag: Option<u32>,
    pub(crate) reference: bool,
    pub(crate) label: u32,
}

/// What a program did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) logged: Vec<i32>,
    pub(crate) end: End,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Returned(Vec<Number>),
    /// With the tag and the values of the exception.
    Threw(usize, Vec<Number>),
    Trapped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    I32(i32),
    I64(i64),
}
