//! Executes a program as the legacy specification has it, from its tree and
//! with nothing translated: the oracle.

use std::rc::Rc;

use super::{
    Behaviour, Clause, End, FUEL, Function, Handler, Instruction, Number, Program, Signature, TAGS, Type,
};

pub(crate) fn interpret(program: &Program) -> Behaviour {
    interpret_and_count(program).0
}

/// How often what this crate is about has happened in a program.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) caught: usize,
    pub(crate) caught_by_clause: usize,
    pub(crate) rethrown: usize,
    /// Of an exception other than the innermost.
    pub(crate) rethrown_from_outside: usize,
    pub(crate) delegated: usize,
    /// Past a handler that would have taken it.
    pub(crate) delegated_past_a_handler: usize,
    pub(crate) delegated_to_the_caller: usize,
    /// Out of a handler, by a branch or a `return`.
    pub(crate) left_a_handler: usize,
}

impl Events {
    pub(crate) fn counts(mut self) -> [usize; 8] {
        self.counts_mut().map(|count| *count)
    }

    pub(crate) fn counts_mut(&mut self) -> [&mut usize; 8] {
        let Self {
            caught,
            caught_by_clause,
            rethrown,
            rethrown_from_outside,
            delegated,
            delegated_past_a_handler,
            delegated_to_the_caller,
            left_a_handler,
        } = self;
        [
            caught,
            caught_by_clause,
            rethrown,
            rethrown_from_outside,
            delegated,
            delegated_past_a_handler,
            delegated_to_the_caller,
            left_a_handler,
        ]
    }
}

pub(crate) fn interpret_and_count(program: &Program) -> (Behaviour, Events) {
    let mut machine = Machine { program, fuel: FUEL, logged: Vec::new(), events: Events::default() };
    let arguments = program.arguments.map(Value::I32).to_vec();
    let end = match machine.call(0, arguments) {
        Called::Returned(values) => End::Returned(values.iter().map(number).collect()),
        Called::Threw(thrown) => End::Threw(thrown.tag as usize, thrown.values.iter().map(number).collect()),
        Called::Trapped => End::Trapped,
    };
    (Behaviour { logged: machine.logged, end }, machine.events)
}

struct Exception {
    tag: u32,
    values: Vec<Value>,
}

#[derive(Clone)]
enum Value {
    I32(i32),
    I64(i64),
    Exception(Option<Rc<Exception>>),
}

fn number(value: &Value) -> Number {
    match value {
        Value::I32(value) => Number::I32(*value),
        Value::I64(value) => Number::I64(*value),
        Value::Exception(_) => panic!("programs neither return nor throw references"),
    }
}

enum Called {
    Returned(Vec<Value>),
    Threw(Rc<Exception>),
    Trapped,
}

/// How a sequence of instructions ends.
enum Flow {
    Next,
    /// To the label, counted from the innermost.
    Branch(u32),
    Return,
    TailCall(u32, Vec<Value>),
    Throw(Rc<Exception>),
    /// An exception on its way to a label, past every handler before it.
    Delegate(u32, Rc<Exception>),
    Trap,
}

struct Machine<'a> {
    program: &'a Program,
    fuel: i32,
    logged: Vec<i32>,
    events: Events,
}

struct Activation {
    locals: Vec<Value>,
    stack: Vec<Value>,
    /// By label: the exception being handled, inside a handler.
    handling: Vec<Option<Rc<Exception>>>,
}

impl Machine<'_> {
    fn use_fuel(&mut self) -> bool {
        if self.fuel == 0 {
            return false;
        }
        self.fuel -= 1;
        true
    }

    fn call(&mut self, mut index: u32, mut arguments: Vec<Value>) -> Called {
        loop {
            if !self.use_fuel() {
                return Called::Trapped;
            }
            let program = self.program;
            let function: &Function = &program.functions[index as usize];
            arguments.extend(function.locals.iter().map(|ty| match ty {
                Type::I32 => Value::I32(0),
                Type::I64 => Value::I64(0),
                Type::Exception => Value::Exception(None),
            }));
            let mut activation = Activation { locals: arguments, stack: Vec::new(), handling: vec![None] };
            let results = function.signature.results.len();
            match self.run(&mut activation, &function.body) {
                Flow::Next | Flow::Return | Flow::Branch(0) => {
                    return Called::Returned(activation.pop_many(results));
                }
                Flow::TailCall(next, values) => {
                    index = next;
                    arguments = values;
                }
                Flow::Throw(thrown) => return Called::Threw(thrown),
                Flow::Delegate(0, thrown) => {
                    self.events.delegated_to_the_caller += 1;
                    return Called::Threw(thrown);
                }
                Flow::Trap => return Called::Trapped,
                Flow::Branch(_) | Flow::Delegate(..) => panic!("a label beyond the function's"),
            }
        }
    }

    fn run(&mut self, activation: &mut Activation, body: &[Instruction]) -> Flow {
        for instruction in body {
            match self.step(activation, instruction) {
                Flow::Next => {}
                other => return other,
            }
        }
        Flow::Next
    }

    fn step(&mut self, a: &mut Activation, instruction: &Instruction) -> Flow {
        match instruction {
            Instruction::I32(value) => a.stack.push(Value::I32(*value)),
            Instruction::I64(value) => a.stack.push(Value::I64(*value)),
            Instruction::NullException => a.stack.push(Value::Exception(None)),
            Instruction::LocalGet(index) => a.stack.push(a.locals[*index as usize].clone()),
            Instruction::LocalSet(index) => a.locals[*index as usize] = a.pop(),
            Instruction::Drop => drop(a.pop()),
            Instruction::Add => {
                let (right, left) = (a.pop_i32(), a.pop_i32());
                a.stack.push(Value::I32(left.wrapping_add(right)));
            }
            Instruction::IsZero => {
                let value = a.pop_i32();
                a.stack.push(Value::I32(i32::from(value == 0)));
            }
            Instruction::Wrap => {
                let Value::I64(value) = a.pop() else { panic!("expected an i64") };
                a.stack.push(Value::I32(value as i32));
            }
            Instruction::Extend => {
                let value = a.pop_i32();
                a.stack.push(Value::I64(i64::from(value)));
            }
            Instruction::Log => {
                let value = a.pop_i32();
                self.logged.push(value);
            }
            Instruction::Block(signature, body) => return self.block(a, signature, body),
            Instruction::Loop(signature, body) => return self.turns(a, signature, body),
            Instruction::If(signature, then, otherwise) => {
                let branch = if a.pop_i32() == 0 { otherwise } else { then };
                return self.block(a, signature, branch);
            }
            Instruction::Try(signature, body, handlers) => {
                return self.try_(a, signature, body, handlers);
            }
            Instruction::Delegate(signature, body, label) => {
                return match self.block(a, signature, body) {
                    Flow::Throw(thrown) => {
                        self.events.delegated += 1;
                        Flow::Delegate(*label, thrown)
                    }
                    other => other,
                };
            }
            Instruction::TryTable(signature, clauses, body) => {
                return self.try_table(a, signature, clauses, body);
            }
            Instruction::Branch(label) => return Flow::Branch(*label),
            Instruction::BranchIf(label) => {
                if a.pop_i32() != 0 {
                    return Flow::Branch(*label);
                }
            }
            Instruction::BranchTable(labels, default) => {
                let index = a.pop_i32() as u32 as usize;
                return Flow::Branch(*labels.get(index).unwrap_or(default));
            }
            Instruction::Return => return Flow::Return,
            Instruction::Unreachable => return Flow::Trap,
            Instruction::Throw(tag) => {
                let values = a.pop_many(TAGS[*tag as usize].len());
                return Flow::Throw(Rc::new(Exception { tag: *tag, values }));
            }
            Instruction::Rethrow(label) => {
                let at = a.handling.len() - 1 - *label as usize;
                self.events.rethrown += 1;
                let inner = a.handling[at + 1..].iter().any(Option::is_some);
                self.events.rethrown_from_outside += usize::from(inner);
                let thrown = a.handling[at].clone();
                return Flow::Throw(thrown.expect("a label of a handler"));
            }
            Instruction::ThrowReference => {
                let Value::Exception(thrown) = a.pop() else { panic!("expected a reference") };
                return thrown.map_or(Flow::Trap, Flow::Throw);
            }
            Instruction::Call(index) => {
                let arguments = self.arguments(a, *index);
                match self.call(*index, arguments) {
                    Called::Returned(values) => a.stack.extend(values),
                    Called::Threw(thrown) => return Flow::Throw(thrown),
                    Called::Trapped => return Flow::Trap,
                }
            }
            Instruction::ReturnCall(index) => {
                return Flow::TailCall(*index, self.arguments(a, *index));
            }
        }
        Flow::Next
    }

    fn arguments(&self, a: &mut Activation, index: u32) -> Vec<Value> {
        let function = &self.program.functions[index as usize];
        a.pop_many(function.signature.parameters.len())
    }

    fn block(&mut self, a: &mut Activation, signature: &Signature, body: &[Instruction]) -> Flow {
        let base = a.stack.len() - signature.parameters.len();
        a.handling.push(None);
        let flow = self.run(a, body);
        a.leave(base, &signature.results, flow)
    }

    fn turns(&mut self, a: &mut Activation, signature: &Signature, body: &[Instruction]) -> Flow {
        let base = a.stack.len() - signature.parameters.len();
        loop {
            if !self.use_fuel() {
                return Flow::Trap;
            }
            a.handling.push(None);
            match self.run(a, body) {
                Flow::Branch(0) => {
                    a.leave(base, &signature.parameters, Flow::Branch(0));
                }
                flow => return a.leave(base, &signature.results, flow),
            }
        }
    }

    fn try_(
        &mut self,
        a: &mut Activation,
        signature: &Signature,
        body: &[Instruction],
        handlers: &[Handler],
    ) -> Flow {
        let base = a.stack.len() - signature.parameters.len();
        let find = |thrown: &Exception| {
            let takes = |handler: &&Handler| handler.tag.is_none_or(|tag| tag == thrown.tag);
            handlers.iter().position(|handler| takes(&handler))
        };
        let thrown = match self.block(a, signature, body) {
            Flow::Throw(thrown) => thrown,
            Flow::Delegate(label, thrown) => {
                self.events.delegated_past_a_handler += usize::from(find(&thrown).is_some());
                return Flow::Delegate(label, thrown);
            }
            other => return other,
        };
        let Some(index) = find(&thrown) else {
            return Flow::Throw(thrown);
        };
        let handler = &handlers[index];
        self.events.caught += 1;
        a.stack.truncate(base);
        if handler.tag.is_some() {
            a.stack.extend(thrown.values.iter().cloned());
        }
        a.handling.push(Some(thrown));
        let flow = self.run(a, &handler.body);
        self.events.left_a_handler += usize::from(matches!(flow, Flow::Branch(_) | Flow::Return));
        a.leave(base, &signature.results, flow)
    }

    fn try_table(
        &mut self,
        a: &mut Activation,
        signature: &Signature,
        clauses: &[Clause],
        body: &[Instruction],
    ) -> Flow {
        let thrown = match self.block(a, signature, body) {
            Flow::Throw(thrown) => thrown,
            other => return other,
        };
        let matching = |clause: &&Clause| clause.tag.is_none_or(|tag| tag == thrown.tag);
        let Some(clause) = clauses.iter().find(matching) else {
            return Flow::Throw(thrown);
        };
        self.events.caught_by_clause += 1;
        if clause.tag.is_some() {
            a.stack.extend(thrown.values.iter().cloned());
        }
        if clause.reference {
            a.stack.push(Value::Exception(Some(thrown)));
        }
        Flow::Branch(clause.label)
    }
}

impl Activation {
    fn pop(&mut self) -> Value {
        self.stack.pop().expect("a valid program")
    }

    fn pop_i32(&mut self) -> i32 {
        match self.pop() {
            Value::I32(value) => value,
            _ => panic!("expected an i32"),
        }
    }

    fn pop_many(&mut self, count: usize) -> Vec<Value> {
        self.stack.split_off(self.stack.len() - count)
    }

    /// Leaves a block: a label disappears, and with it one step of every branch.
    ///
    /// An exception that arrives at the block it was delegated to is as if
    /// thrown inside it.
    fn leave(&mut self, base: usize, carried: &[Type], flow: Flow) -> Flow {
        self.handling.pop();
        match flow {
            Flow::Branch(0) => {
                let values = self.pop_many(carried.len());
                self.stack.truncate(base);
                self.stack.extend(values);
                Flow::Next
            }
            Flow::Branch(label) => Flow::Branch(label - 1),
            Flow::Delegate(0, thrown) => Flow::Throw(thrown),
            Flow::Delegate(label, thrown) => Flow::Delegate(label - 1, thrown),
            other => other,
        }
    }
}
