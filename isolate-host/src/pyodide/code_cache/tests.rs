//! Entries are made once, and made again when they are not what they were.

use std::cell::Cell;

use super::*;
use crate::progress::Silent;

struct Fixture {
    folder: tempfile::TempDir,
    made: Cell<u32>,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), made: Cell::new(0) }
    }

    /// The answer of a module, loaded by a process that has none loaded yet.
    fn answer(&self) -> i32 {
        let engine = Engine::default();
        let cache = CodeCache::new(engine.clone(), CacheDir::open(self.folder.path().join("cache")).unwrap());
        let module = cache
            .module("answer", &"ab".repeat(32), &Silent, || {
                self.made.set(self.made.get() + 1);
                Ok(b"(module (func (export \"answer\") (result i32) (i32.const 42)))".to_vec())
            })
            .unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        instance.get_typed_func::<(), i32>(&mut store, "answer").unwrap().call(&mut store, ()).unwrap()
    }

    fn entry(&self) -> std::path::PathBuf {
        let mut entries = std::fs::read_dir(self.folder.path().join("cache/compiled")).unwrap();
        entries.next().unwrap().unwrap().path()
    }
}

#[test]
fn code_is_compiled_once() {
    let fixture = Fixture::new();
    assert_eq!((fixture.answer(), fixture.answer(), fixture.made.get()), (42, 42, 1));
}

#[test]
fn a_damaged_entry_is_made_again() {
    let fixture = Fixture::new();
    fixture.answer();
    let whole = std::fs::read(fixture.entry()).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let cut = &whole[..whole.len() - 1];
    let stub = &whole[..20];
    for (index, damaged) in [&flipped[..], cut, stub, b""].into_iter().enumerate() {
        std::fs::write(fixture.entry(), damaged).unwrap();
        assert_eq!((fixture.answer(), fixture.made.get()), (42, index as u32 + 2));
        assert!(std::fs::read(fixture.entry()).unwrap() == whole, "the entry is mended");
    }
}

#[test]
fn code_that_cannot_be_kept_is_used_all_the_same() {
    let fixture = Fixture::new();
    fixture.answer();
    let entry = fixture.entry();
    std::fs::remove_file(&entry).unwrap();
    // Nothing can be renamed onto a folder that is not empty.
    std::fs::create_dir_all(entry.join("in the way")).unwrap();
    assert_eq!((fixture.answer(), fixture.made.get()), (42, 2));
}

#[test]
fn truncating_the_cache_does_not_harm_what_is_loaded() {
    let fixture = Fixture::new();
    let engine = Engine::default();
    let cache = CodeCache::new(engine.clone(), CacheDir::open(fixture.folder.path().join("cache")).unwrap());
    // Data on pages of their own: mapped only when they are touched.
    let wasm =
        format!("(module (memory (export \"memory\") 4) (data (i32.const 0) \"{}\"))", "x".repeat(3 * 65536));
    let module = cache.module("data", &"cd".repeat(32), &Silent, || Ok(wasm.into_bytes())).unwrap();
    File::options().write(true).open(fixture.entry()).unwrap().set_len(0).unwrap();
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert!(memory.data(&store)[..3 * 65536].iter().all(|&byte| byte == b'x'));
}
