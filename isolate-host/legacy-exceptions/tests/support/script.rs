//! Runs the specification's script format on wasmtime, translating each module
//! first.

use std::borrow::Cow;
use std::path::Path;

use legacy_exceptions::translate;
use wasmtime::{Engine, Instance, Linker, Module, Store, ThrownException, Trap, Val};
use wast::core::{NanPattern, WastArgCore, WastRetCore};
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, QuoteWatTest, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet};

use super::text::try_assemble;
use super::unfold::unfold;

/// How much of a script was checked.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    /// Modules that were translated, instantiated and run.
    pub(crate) translated: usize,
    /// Modules that were left as they were.
    pub(crate) unchanged: usize,
    /// Assertions about what a call does.
    pub(crate) run: usize,
    /// Assertions that a module is refused.
    pub(crate) refused: usize,
}

/// Runs the script in a file; panics at the first assertion that fails.
pub(crate) fn run(engine: &Engine, path: &Path) -> Tally {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let text = unfold(&text);
    let mut script = Script {
        engine,
        store: Store::new(engine, ()),
        linker: Linker::new(engine),
        current: None,
        tally: Tally::default(),
    };
    let fail = |error: wast::Error| -> ! { panic!("{}: {error}", path.display()) };
    let buffer = ParseBuffer::new(&text).unwrap_or_else(|error| fail(error));
    let parsed = parser::parse::<Wast<'_>>(&buffer).unwrap_or_else(|error| fail(error));
    for directive in parsed.directives {
        let line = directive.span().linecol_in(&text).0 + 1;
        script.directive(directive).unwrap_or_else(|problem| panic!("{}:{line}: {problem}", path.display()));
    }
    script.tally
}

struct Script<'a> {
    engine: &'a Engine,
    store: Store<()>,
    linker: Linker<()>,
    current: Option<Instance>,
    tally: Tally,
}

/// What a call did.
#[derive(Debug)]
enum Outcome {
    Returned(Vec<Val>),
    Threw,
    Trapped(Trap),
}

impl Script<'_> {
    fn directive(&mut self, directive: WastDirective<'_>) -> Result<(), String> {
        match directive {
            WastDirective::Module(mut module) => self.instantiate(&mut module),
            WastDirective::Register { name, .. } => {
                let instance = self.current.ok_or("no module to register")?;
                self.linker
                    .instance(&mut self.store, name, instance)
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
            WastDirective::Invoke(invoke) => self.invoke(&invoke).map(drop),
            WastDirective::AssertReturn { exec, results, .. } => {
                self.tally.run += 1;
                let found = self.execute(&exec)?;
                match &found {
                    Outcome::Returned(values) if equal(values, &results) => Ok(()),
                    _ => Err(format!("found {found:?}, expected {results:?}")),
                }
            }
            WastDirective::AssertException { exec, .. } => {
                self.tally.run += 1;
                match self.execute(&exec)? {
                    Outcome::Threw => Ok(()),
                    found => Err(format!("found {found:?}, expected an exception")),
                }
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                self.tally.run += 1;
                match self.execute(&exec)? {
                    Outcome::Trapped(trap) if trap.to_string().contains(message) => Ok(()),
                    found => Err(format!("found {found:?}, expected the trap `{message}`")),
                }
            }
            WastDirective::AssertInvalid { module, message, .. }
            | WastDirective::AssertMalformed { module, message, .. } => self.refuse(module, message),
            other => Err(format!("the runner does not know the directive {other:?}")),
        }
    }

    fn instantiate(&mut self, module: &mut QuoteWat<'_>) -> Result<(), String> {
        let wasm = encode(module).map_err(|error| error.to_string())?;
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
            .validate_all(&wasm)
            .map_err(|error| format!("the script is wrong: {error}"))?;
        let translated = translate(&wasm).map_err(|error| error.to_string())?;
        match translated {
            Cow::Owned(_) => self.tally.translated += 1,
            Cow::Borrowed(_) => self.tally.unchanged += 1,
        }
        let module = Module::new(self.engine, &translated).map_err(|error| format!("{error:?}"))?;
        let instance =
            self.linker.instantiate(&mut self.store, &module).map_err(|error| format!("{error:?}"))?;
        self.current = Some(instance);
        Ok(())
    }

    /// An invalid module is refused as text, by the translator, or, once
    /// translated, by the engine.
    fn refuse(&mut self, mut module: QuoteWat<'_>, message: &str) -> Result<(), String> {
        self.tally.refused += 1;
        let Ok(wasm) = encode(&mut module) else {
            return Ok(());
        };
        let Ok(translated) = translate(&wasm) else {
            return Ok(());
        };
        match Module::validate(self.engine, &translated) {
            Err(_) => Ok(()),
            Ok(()) => Err(format!("found a valid module, expected `{message}`")),
        }
    }

    fn execute(&mut self, exec: &WastExecute<'_>) -> Result<Outcome, String> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            other => Err(format!("the runner cannot execute {other:?}")),
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Outcome, String> {
        let instance = self.current.ok_or("no module to call into")?;
        let function = instance
            .get_func(&mut self.store, invoke.name)
            .ok_or_else(|| format!("no function `{}`", invoke.name))?;
        let arguments: Vec<Val> = invoke.args.iter().map(argument).collect::<Result<_, _>>()?;
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        match function.call(&mut self.store, &arguments, &mut results) {
            Ok(()) => Ok(Outcome::Returned(results)),
            Err(error) if error.is::<ThrownException>() => {
                self.store.take_pending_exception();
                Ok(Outcome::Threw)
            }
            Err(error) => match error.downcast::<Trap>() {
                Ok(trap) => Ok(Outcome::Trapped(trap)),
                Err(error) => Err(format!("{error:?}")),
            },
        }
    }
}

/// The binary form of a module, which may be given as text in strings.
fn encode(module: &mut QuoteWat<'_>) -> Result<Vec<u8>, wast::Error> {
    match module.to_test()? {
        QuoteWatTest::Binary(wasm) => Ok(wasm),
        QuoteWatTest::Text(text) => try_assemble(&String::from_utf8_lossy(&text)),
    }
}

fn argument(argument: &WastArg<'_>) -> Result<Val, String> {
    match argument {
        WastArg::Core(WastArgCore::I32(value)) => Ok(Val::I32(*value)),
        WastArg::Core(WastArgCore::I64(value)) => Ok(Val::I64(*value)),
        WastArg::Core(WastArgCore::F32(value)) => Ok(Val::F32(value.bits)),
        WastArg::Core(WastArgCore::F64(value)) => Ok(Val::F64(value.bits)),
        other => Err(format!("the runner does not know the argument {other:?}")),
    }
}

fn equal(found: &[Val], expected: &[WastRet<'_>]) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|pair| match pair {
            (Val::I32(found), WastRet::Core(WastRetCore::I32(value))) => found == value,
            (Val::I64(found), WastRet::Core(WastRetCore::I64(value))) => found == value,
            (Val::F32(found), WastRet::Core(WastRetCore::F32(NanPattern::Value(value)))) => {
                *found == value.bits
            }
            (Val::F64(found), WastRet::Core(WastRetCore::F64(NanPattern::Value(value)))) => {
                *found == value.bits
            }
            _ => false,
        })
}
