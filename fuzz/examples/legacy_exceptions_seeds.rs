//! `legacy_exceptions_seeds FOLDER FILE…`: what the target `legacy_exceptions`
//! should start from.
//!
//! A `.wast` file gives its modules, those that are to be refused as well. Any other
//! file is a module, which is cut into smaller ones, since most of what a fuzzer
//! would change in a whole one is of no interest. Programs made at random come free.

#[path = "../../isolate-host/legacy-exceptions/tests/support/program/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod program;
#[path = "../../isolate-host/legacy-exceptions/tests/support/unfold.rs"]
mod unfold;

use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

use program::encode::encode;
use program::generate::{Dialect, generate};
use wasm_encoder::{CodeSection, Module, RawSection};
use wasmparser::{FunctionBody, Operator, Parser, Payload};
use wast::parser::{ParseBuffer, parse};
use wast::{QuoteWat, QuoteWatTest, Wast, WastDirective, Wat};

/// What `warmshard_fuzz::legacy_exceptions` takes for "the rest is a module".
const IS_MODULE: u8 = 2;
/// How many bytes of code a piece of a module has at most, unless it is one function.
const PIECE: usize = 6000;
const PROGRAMS: u64 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().ok_or("usage: legacy_exceptions_seeds FOLDER FILE...")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    for file in arguments {
        let path = Path::new(&file);
        let name = path.file_name().ok_or("a file has a name")?.to_string_lossy();
        let modules = if path.extension().is_some_and(|extension| extension == "wast") {
            modules_of(&unfold::unfold(&fs::read_to_string(path)?))?
        } else {
            pieces_of(&fs::read(path)?)?
        };
        println!("{name}: {} seeds", modules.len());
        write(folder, &name, &modules)?;
    }
    let programs: Vec<_> = (0..PROGRAMS).map(|n| encode(&generate(&noise(n), Dialect::Mixed))).collect();
    write(folder, "program", &programs)?;
    Ok(())
}

fn write(folder: &Path, name: &str, modules: &[Vec<u8>]) -> std::io::Result<()> {
    for (index, module) in modules.iter().enumerate() {
        fs::write(folder.join(format!("{name}-{index}")), [&[IS_MODULE], &module[..]].concat())?;
    }
    Ok(())
}

/// The modules of a script, as far as its text can be assembled.
fn modules_of(script: &str) -> Result<Vec<Vec<u8>>, wast::Error> {
    let buffer = ParseBuffer::new(script)?;
    let mut modules = Vec::new();
    for directive in parse::<Wast<'_>>(&buffer)?.directives {
        if let WastDirective::Module(mut module)
        | WastDirective::AssertInvalid { mut module, .. }
        | WastDirective::AssertMalformed { mut module, .. } = directive
        {
            modules.extend(assemble(&mut module));
        }
    }
    Ok(modules)
}

fn assemble(module: &mut QuoteWat<'_>) -> Option<Vec<u8>> {
    match module.to_test().ok()? {
        QuoteWatTest::Binary(wasm) => Some(wasm),
        QuoteWatTest::Text(text) => {
            let text = unfold::unfold(&String::from_utf8_lossy(&text));
            parse::<Wat<'_>>(&ParseBuffer::new(&text).ok()?).ok()?.encode().ok()
        }
    }
}

/// Modules with the legacy functions of one between them: elsewhere, so that indices
/// stay right, each function is one `unreachable`. Data and custom sections are left out.
fn pieces_of(wasm: &[u8]) -> Result<Vec<Vec<u8>>, wasmparser::Error> {
    let mut pieces = Vec::new();
    let bodies = bodies(wasm)?;
    let mut start = 0;
    while start < bodies.len() {
        let (mut end, mut size) = (start, 0);
        while end < bodies.len() && (size == 0 || size + bodies[end].0 <= PIECE) {
            size += bodies[end].0;
            end += 1;
        }
        if size > 0 {
            pieces.push(piece(wasm, &bodies, start..end)?);
        }
        start = end;
    }
    Ok(pieces)
}

/// The functions of a module, each with its size if it is a legacy one and 0 if not.
fn bodies(wasm: &[u8]) -> Result<Vec<(usize, FunctionBody<'_>)>, wasmparser::Error> {
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload? {
            let size = if is_legacy(&body)? { body.as_bytes().len() } else { 0 };
            bodies.push((size, body));
        }
    }
    Ok(bodies)
}

fn is_legacy(body: &FunctionBody<'_>) -> Result<bool, wasmparser::Error> {
    for operator in body.get_operators_reader()? {
        if matches!(operator?, Operator::Try { .. }) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn piece(
    wasm: &[u8],
    bodies: &[(usize, FunctionBody<'_>)],
    kept: Range<usize>,
) -> Result<Vec<u8>, wasmparser::Error> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::CodeSectionStart { .. } => {
                let mut code = CodeSection::new();
                for (index, (size, body)) in bodies.iter().enumerate() {
                    let kept = kept.contains(&index) && *size > 0;
                    code.raw(if kept { body.as_bytes() } else { b"\x00\x00\x0b" });
                }
                module.section(&code);
            }
            Payload::DataSection(_) | Payload::DataCountSection { .. } | Payload::CustomSection(_) => {}
            Payload::CodeSectionEntry(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    module.section(&RawSection { id, data: &wasm[range] });
                }
            }
        }
    }
    Ok(module.finish())
}

/// Bytes that follow from a number (Vigna's splitmix64).
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed << 32;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..100).flat_map(|_| next().to_le_bytes()).collect()
}
