//! Executes a program's translated module on wasmtime.

use wasmtime::{
    Caller, Engine, FuncType, Instance, Linker, Module, Store, Tag, TagType, ThrownException, Trap, Val,
    ValType,
};

use super::program::{Behaviour, End, Number, Program, TAGS, Type};

pub(crate) fn execute(engine: &Engine, program: &Program, wasm: &[u8]) -> Behaviour {
    let module = Module::new(engine, wasm)
        .unwrap_or_else(|error| panic!("the engine refuses the translation: {error:?}"));
    let mut store = Store::new(engine, Vec::new());
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "log", |mut caller: Caller<'_, Vec<i32>>, value: i32| {
            caller.data_mut().push(value);
        })
        .expect("a name that is free");
    let imported = TagType::new(FuncType::new(engine, [ValType::I32], []));
    let tag = Tag::new(&mut store, &imported).expect("a type of this engine");
    linker.define(&store, "host", "tag", tag).expect("a name that is free");
    let instance = linker.instantiate(&mut store, &module).expect("all imports are there");

    let run = instance.get_func(&mut store, "run").expect("every program exports it");
    let mut results: Vec<_> = program.functions[0]
        .signature
        .results
        .iter()
        .map(|ty| match ty {
            Type::I32 => Val::I32(0),
            Type::I64 => Val::I64(0),
            Type::Exception => panic!("programs do not return references"),
        })
        .collect();
    let arguments = program.arguments.map(Val::I32);
    let end = match run.call(&mut store, &arguments, &mut results) {
        Ok(()) => End::Returned(results.iter().map(number).collect()),
        Err(error) if error.is::<ThrownException>() => thrown(&mut store, instance),
        Err(error) if error.is::<Trap>() => End::Trapped,
        Err(error) => panic!("expected a trap or an exception: {error:?}"),
    };
    Behaviour { logged: store.into_data(), end }
}

fn thrown(store: &mut Store<Vec<i32>>, instance: Instance) -> End {
    let thrown = store.take_pending_exception().expect("the call reported one");
    let tag = thrown.tag(&mut *store).expect("the exception is alive");
    let index = (0..TAGS.len())
        .find(|index| {
            let known = instance.get_tag(&mut *store, &format!("tag{index}"));
            Tag::eq(&tag, &known.expect("every tag is exported"), &*store)
        })
        .expect("one of the program's tags");
    let values = thrown.fields(&mut *store).expect("the exception is alive");
    End::Threw(index, values.map(|value| number(&value)).collect())
}

fn number(value: &Val) -> Number {
    match value {
        Val::I32(value) => Number::I32(*value),
        Val::I64(value) => Number::I64(*value),
        other => panic!("found {other:?}, expected a number"),
    }
}
