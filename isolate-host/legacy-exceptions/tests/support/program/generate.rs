//! Makes a valid program from arbitrary bytes; from few or small ones a simple
//! program, so that a failing case shrinks.

use super::{Clause, Function, Handler, Instruction, Program, Signature, TAGS, Type};

/// Which instructions a program may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Legacy,
    /// The legacy ones and the standard ones.
    Mixed,
}

const DEEPEST: usize = 9;

pub(crate) fn generate(bytes: &[u8], dialect: Dialect) -> Program {
    let mut entropy = Entropy(bytes);
    let arguments = [entropy.small(), entropy.small()];
    let count = 1 + entropy.below(3);
    let mut signatures =
        vec![Signature { parameters: vec![Type::I32, Type::I32], results: entropy.numbers() }];
    for _ in 1..count {
        let parameters = entropy.numbers();
        signatures.push(Signature { parameters, results: entropy.numbers() });
    }
    let functions = (0..signatures.len())
        .map(|index| Generator::function(&mut entropy, dialect, &signatures, index))
        .collect();
    Program { arguments, functions }
}

/// Bytes to decide by; when they run out, every decision is the first choice.
struct Entropy<'a>(&'a [u8]);

impl Entropy<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == bound - 1
    }

    fn small(&mut self) -> i32 {
        i32::try_from(self.below(5)).expect("a small number") - 1
    }

    fn numbers(&mut self) -> Vec<Type> {
        const CHOICES: [&[Type]; 6] = [
            &[],
            &[Type::I32],
            &[Type::I64],
            &[Type::I32, Type::I64],
            &[Type::I64, Type::I32],
            &[Type::I32, Type::I32, Type::I64],
        ];
        CHOICES[self.below(CHOICES.len())].to_vec()
    }
}

/// What a block is for, which decides what it is likely to begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Any,
    /// The body of a function: it handles exceptions.
    Function,
    /// The body of a `try`: it nests, or throws.
    Body,
    /// A handler: it rethrows, or nests.
    Handler,
}

struct Label {
    /// What a branch to it carries.
    carried: Vec<Type>,
    /// Whether `rethrow` may name it.
    is_handler: bool,
}

struct Generator<'a, 'b> {
    entropy: &'a mut Entropy<'b>,
    dialect: Dialect,
    signatures: &'a [Signature],
    function: usize,
    locals: Vec<Type>,
    labels: Vec<Label>,
    /// What the innermost block has on the stack.
    stack: Vec<Type>,
    /// Whether control cannot arrive here: then anything may be taken from an
    /// empty stack.
    dead: bool,
    /// How many places log that they were reached.
    markers: i32,
}

impl<'b> Generator<'_, 'b> {
    fn function(
        entropy: &mut Entropy<'b>,
        dialect: Dialect,
        signatures: &[Signature],
        index: usize,
    ) -> Function {
        let signature = signatures[index].clone();
        let mut extra = vec![Type::I32, Type::I64, Type::I32];
        if dialect == Dialect::Mixed {
            extra.push(Type::Exception);
        }
        let mut generator = Generator {
            entropy,
            dialect,
            signatures,
            function: index,
            locals: [&signature.parameters[..], &extra].concat(),
            labels: Vec::new(),
            stack: Vec::new(),
            dead: false,
            markers: 100 * small(index).cast_signed(),
        };
        let body = generator.sequence(&[], &signature.results, &signature.results, Purpose::Function);
        Function { signature, locals: extra, body }
    }

    /// The inside of a block, with a label of its own.
    fn sequence(
        &mut self,
        parameters: &[Type],
        results: &[Type],
        carried: &[Type],
        purpose: Purpose,
    ) -> Vec<Instruction> {
        let stack = std::mem::replace(&mut self.stack, parameters.to_vec());
        let dead = std::mem::replace(&mut self.dead, false);
        self.labels.push(Label { carried: carried.to_vec(), is_handler: purpose == Purpose::Handler });
        let mut body = Vec::new();
        if self.entropy.one_in(2) {
            self.markers += 1;
            body.extend([Instruction::I32(self.markers), Instruction::Log]);
        }
        // The deeper, the shorter.
        let most = if self.labels.len() > DEEPEST { 2 } else { 6 };
        match (purpose, self.entropy.below(8)) {
            (Purpose::Function, tries) => {
                for _ in 0..tries {
                    self.try_catch(&mut body);
                }
            }
            (Purpose::Body, 1 | 2) if most > 2 => self.try_catch(&mut body),
            (Purpose::Body, 3 | 4) if most > 2 => self.try_delegate(&mut body),
            (Purpose::Body, 5) if most > 2 => self.try_table(&mut body),
            (Purpose::Body, 6) => self.throw(&mut body),
            (Purpose::Body, 7) => self.rethrow(&mut body),
            (Purpose::Handler, 3 | 4) => self.rethrow(&mut body),
            (Purpose::Handler, 5) => self.branch(&mut body),
            (Purpose::Handler, 6 | 7) if most > 2 => self.try_catch(&mut body),
            _ => {}
        }
        if self.dead {
            self.settle(results, &mut body);
            return self.finish(body, stack, dead);
        }
        for _ in 0..self.entropy.below(most) {
            self.instruction(&mut body);
            if self.dead && !self.entropy.one_in(3) {
                break;
            }
        }
        self.settle(results, &mut body);
        self.finish(body, stack, dead)
    }

    /// Ends a block and goes on with what is around it.
    fn finish(&mut self, body: Vec<Instruction>, stack: Vec<Type>, dead: bool) -> Vec<Instruction> {
        self.labels.pop();
        self.stack = stack;
        self.dead = dead;
        body
    }

    /// Leaves exactly the results on the stack.
    fn settle(&mut self, results: &[Type], body: &mut Vec<Instruction>) {
        if self.stack == results || (self.dead && results.ends_with(&self.stack)) {
            return;
        }
        body.extend(self.stack.drain(..).map(|_| Instruction::Drop));
        if !self.dead {
            for ty in results {
                self.constant(*ty, body);
            }
        }
    }

    fn constant(&mut self, ty: Type, body: &mut Vec<Instruction>) {
        let value = self.entropy.small();
        body.push(match ty {
            Type::I32 => Instruction::I32(value),
            Type::I64 => Instruction::I64(i64::from(value)),
            Type::Exception => Instruction::NullException,
        });
        self.stack.push(ty);
    }

    /// Takes values from the stack, putting them there first if they are not.
    fn take(&mut self, types: &[Type], body: &mut Vec<Instruction>) {
        if self.stack.ends_with(types) {
            self.stack.truncate(self.stack.len() - types.len());
        } else if self.dead && types.ends_with(&self.stack) {
            self.stack.clear();
        } else {
            for ty in types {
                self.constant(*ty, body);
            }
            self.stack.truncate(self.stack.len() - types.len());
        }
    }

    fn end_here(&mut self) {
        self.dead = true;
        self.stack.clear();
    }

    fn instruction(&mut self, body: &mut Vec<Instruction>) {
        let deep = self.labels.len() > DEEPEST;
        match self.entropy.below(if deep { 16 } else { 28 }) {
            0 => {
                let ty = if self.entropy.one_in(3) { Type::I64 } else { Type::I32 };
                self.constant(ty, body);
            }
            1 | 2 => {
                self.take(&[Type::I32], body);
                body.push(Instruction::Log);
            }
            3 | 4 => self.read_local(body),
            5 => self.write_local(body),
            6 => self.compute(body),
            7 => self.branch(body),
            8 => self.branch_if(body),
            9 => self.branch_table(body),
            10 | 11 => self.throw(body),
            12 | 13 => self.rethrow(body),
            14 => self.call(body),
            15 => self.leave(body),
            16 => self.block(body),
            17 => self.turns(body),
            18 | 19 => self.condition(body),
            20..=23 => self.try_catch(body),
            24 | 25 => self.try_delegate(body),
            26 => self.throw_reference(body),
            _ => self.try_table(body),
        }
    }

    fn read_local(&mut self, body: &mut Vec<Instruction>) {
        let index = self.entropy.below(self.locals.len());
        self.stack.push(self.locals[index]);
        body.push(Instruction::LocalGet(small(index)));
    }

    fn write_local(&mut self, body: &mut Vec<Instruction>) {
        let index = self.entropy.below(self.locals.len());
        self.take(&[self.locals[index]], body);
        body.push(Instruction::LocalSet(small(index)));
    }

    fn compute(&mut self, body: &mut Vec<Instruction>) {
        let (taken, left, instruction): (&[Type], _, _) = match self.entropy.below(4) {
            0 => (&[Type::I32, Type::I32], Type::I32, Instruction::Add),
            1 => (&[Type::I32], Type::I32, Instruction::IsZero),
            2 => (&[Type::I64], Type::I32, Instruction::Wrap),
            _ => (&[Type::I32], Type::I64, Instruction::Extend),
        };
        self.take(taken, body);
        body.push(instruction);
        self.stack.push(left);
    }

    /// A label, with what it carries.
    fn label(&mut self) -> (u32, Vec<Type>) {
        let label = self.entropy.below(self.labels.len());
        let at = self.labels.len() - 1 - label;
        (small(label), self.labels[at].carried.clone())
    }

    fn branch(&mut self, body: &mut Vec<Instruction>) {
        let (label, carried) = self.label();
        self.take(&carried, body);
        body.push(Instruction::Branch(label));
        self.end_here();
    }

    fn branch_if(&mut self, body: &mut Vec<Instruction>) {
        let (label, carried) = self.label();
        self.take(&carried, body);
        self.stack.extend(&carried);
        self.take_condition(body);
        body.push(Instruction::BranchIf(label));
    }

    /// An `i32` on top of whatever is there; it is often not zero.
    fn take_condition(&mut self, body: &mut Vec<Instruction>) {
        let locals = self.locals.iter().enumerate();
        let numbers: Vec<_> = locals.filter(|(_, ty)| **ty == Type::I32).map(|(i, _)| i).collect();
        match self.entropy.below(numbers.len() + 1) {
            0 => body.push(Instruction::I32(self.entropy.small())),
            _ if self.entropy.one_in(2) => body.push(Instruction::I32(1)),
            choice => body.push(Instruction::LocalGet(small(numbers[choice - 1]))),
        }
    }

    fn branch_table(&mut self, body: &mut Vec<Instruction>) {
        let (default, carried) = self.label();
        let alike: Vec<u32> = (0..)
            .zip(self.labels.iter().rev())
            .filter(|(_, label)| label.carried == carried)
            .map(|(index, _)| index)
            .collect();
        let labels = (0..self.entropy.below(4)).map(|_| alike[self.entropy.below(alike.len())]);
        let labels = labels.collect();
        self.take(&carried, body);
        self.take_condition(body);
        body.push(Instruction::BranchTable(labels, default));
        self.end_here();
    }

    /// Few of the tags are thrown and caught often, so that they meet.
    fn tag(&mut self) -> usize {
        const LIKELY: [usize; 8] = [0, 1, 1, 3, 0, 1, 2, 4];
        LIKELY[self.entropy.below(LIKELY.len())]
    }

    fn throw(&mut self, body: &mut Vec<Instruction>) {
        let tag = self.tag();
        if self.entropy.one_in(3) {
            self.take(TAGS[tag], body);
            body.push(Instruction::Throw(small(tag)));
            self.end_here();
            return;
        }
        // Only if a condition holds, and the code behind it lives.
        self.take_condition(body);
        let mut then = Vec::new();
        let stack = std::mem::take(&mut self.stack);
        let dead = std::mem::replace(&mut self.dead, false);
        self.take(TAGS[tag], &mut then);
        then.push(Instruction::Throw(small(tag)));
        (self.stack, self.dead) = (stack, dead);
        body.push(Instruction::If(Signature::default(), then, Vec::new()));
    }

    fn rethrow(&mut self, body: &mut Vec<Instruction>) {
        let mut handlers: Vec<u32> = (0..)
            .zip(self.labels.iter().rev())
            .filter(|(_, label)| label.is_handler)
            .map(|(index, _)| index)
            .collect();
        if handlers.is_empty() {
            return self.throw(body);
        }
        if self.entropy.one_in(2) {
            handlers.reverse(); // the innermost is no likelier than the outermost
        }
        let label = handlers[self.entropy.below(handlers.len())];
        if !self.entropy.one_in(3) {
            body.push(Instruction::Rethrow(label));
            return self.end_here();
        }
        self.take_condition(body);
        let then = vec![Instruction::Rethrow(label + 1)];
        body.push(Instruction::If(Signature::default(), then, Vec::new()));
    }

    fn call(&mut self, body: &mut Vec<Instruction>) {
        let later = self.signatures.len() - 1 - self.function;
        if later == 0 {
            return self.throw(body);
        }
        let index = self.function + 1 + self.entropy.below(later);
        let signature = self.signatures[index].clone();
        self.take(&signature.parameters, body);
        if signature.results == self.signatures[self.function].results && self.entropy.one_in(3) {
            body.push(Instruction::ReturnCall(small(index)));
            return self.end_here();
        }
        body.push(Instruction::Call(small(index)));
        self.stack.extend(&signature.results);
    }

    fn leave(&mut self, body: &mut Vec<Instruction>) {
        if self.entropy.one_in(4) {
            body.push(Instruction::Unreachable);
        } else {
            let results = self.signatures[self.function].results.clone();
            self.take(&results, body);
            body.push(Instruction::Return);
        }
        self.end_here();
    }

    /// The type of a new block, whose parameters are taken.
    fn signature(&mut self, body: &mut Vec<Instruction>) -> Signature {
        let parameters = match self.entropy.one_in(3) {
            true => self.entropy.numbers(),
            false => Vec::new(),
        };
        let mut results = self.entropy.numbers();
        if self.dialect == Dialect::Mixed && self.entropy.one_in(3) {
            results.push(Type::Exception);
        }
        self.take(&parameters, body);
        Signature { parameters, results }
    }

    fn block(&mut self, body: &mut Vec<Instruction>) {
        let signature = self.signature(body);
        let Signature { parameters, results } = &signature;
        let inside = self.sequence(parameters, results, results, Purpose::Any);
        self.stack.extend(results);
        body.push(Instruction::Block(signature, inside));
    }

    fn turns(&mut self, body: &mut Vec<Instruction>) {
        let signature = self.signature(body);
        let Signature { parameters, results } = &signature;
        let inside = self.sequence(parameters, results, parameters, Purpose::Any);
        self.stack.extend(results);
        body.push(Instruction::Loop(signature, inside));
    }

    fn condition(&mut self, body: &mut Vec<Instruction>) {
        let signature = self.signature(body);
        self.take_condition(body);
        let Signature { parameters, results } = &signature;
        let then = self.sequence(parameters, results, results, Purpose::Any);
        let otherwise = self.sequence(parameters, results, results, Purpose::Any);
        self.stack.extend(results);
        body.push(Instruction::If(signature, then, otherwise));
    }

    fn try_catch(&mut self, body: &mut Vec<Instruction>) {
        let signature = self.signature(body);
        let Signature { parameters, results } = &signature;
        let inside = self.sequence(parameters, results, results, Purpose::Body);
        let most = if self.entropy.one_in(6) { 7 } else { 3 };
        let mut handlers = Vec::new();
        for _ in 0..self.entropy.below(most) {
            let tag = self.tag();
            let body = self.sequence(TAGS[tag], results, results, Purpose::Handler);
            handlers.push(Handler { tag: Some(small(tag)), body });
        }
        // Directly in a function nearly always, so that there is an afterwards.
        let seldom = if self.labels.len() == 1 { 8 } else { 2 };
        if !self.entropy.one_in(seldom) {
            let body = self.sequence(&[], results, results, Purpose::Handler);
            handlers.push(Handler { tag: None, body });
        }
        self.stack.extend(results);
        body.push(Instruction::Try(signature, inside, handlers));
    }

    fn try_delegate(&mut self, body: &mut Vec<Instruction>) {
        let signature = self.signature(body);
        let Signature { parameters, results } = &signature;
        let inside = self.sequence(parameters, results, results, Purpose::Body);
        // To the function's own label seldom: it is where most exceptions end anyway.
        let labels = self.labels.len() - usize::from(self.labels.len() > 1 && !self.entropy.one_in(4));
        let label = small(self.entropy.below(labels));
        self.stack.extend(results);
        body.push(Instruction::Delegate(signature, inside, label));
    }

    fn throw_reference(&mut self, body: &mut Vec<Instruction>) {
        if self.dialect == Dialect::Legacy {
            return self.try_catch(body);
        }
        self.take(&[Type::Exception], body);
        body.push(Instruction::ThrowReference);
        self.end_here();
    }

    fn try_table(&mut self, body: &mut Vec<Instruction>) {
        if self.dialect == Dialect::Legacy {
            return self.try_delegate(body);
        }
        let signature = self.signature(body);
        let mut clauses = Vec::new();
        for (label, carried) in (0..).zip(self.labels.iter().rev().map(|label| &label.carried)) {
            let (values, reference) = match carried.split_last() {
                Some((Type::Exception, values)) => (values, true),
                _ => (&carried[..], false),
            };
            let tags = (0..).zip(TAGS).filter(|(_, carries)| *carries == values);
            let choices = tags.map(|(tag, _)| Some(tag)).chain(values.is_empty().then_some(None));
            clauses.extend(choices.map(|tag| Clause { tag, reference, label }));
        }
        // Some of those that fit, in an order of their own.
        let mut chosen = Vec::new();
        while !clauses.is_empty() && chosen.len() < 6 && !self.entropy.one_in(4) {
            chosen.push(clauses.swap_remove(self.entropy.below(clauses.len())));
        }
        let Signature { parameters, results } = &signature;
        let inside = self.sequence(parameters, results, results, Purpose::Body);
        self.stack.extend(results);
        body.push(Instruction::TryTable(signature, chosen, inside));
    }
}

fn small(index: usize) -> u32 {
    u32::try_from(index).expect("a small program")
}
