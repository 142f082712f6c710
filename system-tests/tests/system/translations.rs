//! Our translation of exception instructions beside Binaryen's: native packages answer alike,
//! Pyodide is translated sooner, is no larger, and serves as quickly.
//!
//! Binaryen is a control, not a dependency: these tests are run only when asked for, and fail
//! where it is not there. How to, and what was found: `isolate-host/legacy-exceptions/README.md`.

mod binaryen;
mod side;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use isolate_host::pyodide::runtime;
use system_tests::Fleet;

use side::{Side, pyodide, sides};

/// Pyodide is translated in less.
const TRANSLATION_LIMIT: Duration = Duration::from_secs(1);
/// Largest size of our translation, Binaryen's being 1.
const SIZE_LIMIT: f64 = 1.02;
/// Longest a request may take with our translation, with Binaryen's it being 1: rounds of the
/// same translation differ by as much.
const TIME_LIMIT: f64 = 1.05;

/// The tests share what `sides` prepares.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
#[ignore = "needs Binaryen's wasm-opt; see isolate-host/legacy-exceptions/README.md"]
fn native_code_answers_alike_with_binaryens_translation() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let [ours, binaryens] = sides(side::Prepared::Anew)?;
    let (our_answers, our_panics) = answers(&ours)?;
    let (their_answers, their_panics) = answers(&binaryens)?;
    for (number, expected) in their_answers.lines().enumerate() {
        assert_eq!(our_answers.lines().nth(number), Some(expected));
    }
    assert_eq!(our_answers, their_answers);
    assert_eq!(our_panics, their_panics);
    println!("{our_answers}");
    println!("{} lines are equal; Rust panicked {our_panics} times", our_answers.lines().count());

    // Equal failures would be equal too.
    for expected in [
        "validation_errors_in_python: raised pydantic_core._pydantic_core.ValidationError: 11 validation errors",
        "recursion_in_python: raised builtins.RecursionError",
        "recursion_through_c: raised builtins.RecursionError",
        "recursion_through_rust: raised builtins.RecursionError",
        "a_panic_through_rust: returned ['pyo3_runtime.PanicException: panicked with 1'",
        "a_panic_in_jiter: returned ['pyo3_runtime.PanicException: panicked with 1.5'",
        "a_python_error_thrown_through_cpp: raised builtins.ModuleNotFoundError: No module named 'numpy'",
        "a_cpp_cast_that_throws: raised builtins.RuntimeError: Unable to cast Python instance",
        "jumps_out_of_nested_frames: returned '45 jumps, ",
        "a_jump_that_ends_in_an_exception: raised builtins.OverflowError: no such target",
    ] {
        ensure!(our_answers.contains(expected), "found no `{expected}` in:\n{our_answers}");
    }
    ensure!(our_panics >= 6, "found {our_panics} Rust panics in the log, expected at least 6");
    Ok(())
}

/// What the cases came to, the same in a fresh isolate and in a used one, and how many
/// panics PyO3 logged.
fn answers(side: &Side) -> Result<(String, usize)> {
    let fleet = side.serve()?;
    let fresh = fleet.get("exceptions", "/")?;
    ensure!((fresh.status, fresh.start.as_str()) == (200, "cold"), "{}: {fresh:?}", side.name);
    let used = fleet.get("exceptions", "/")?;
    ensure!((used.status, used.start.as_str()) == (200, "warm"), "{}: {used:?}", side.name);
    ensure!(fresh.body == used.body, "{}: found\n{}\nexpected\n{}", side.name, used.body, fresh.body);
    let panics = fleet.router.log().matches("PyO3 is resuming a panic").count();
    Ok((fresh.body, panics))
}

#[test]
#[ignore = "needs Binaryen's wasm-opt; see isolate-host/legacy-exceptions/README.md"]
fn pyodide_is_translated_sooner_is_no_larger_and_serves_as_quickly() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let sides = sides(side::Prepared::Before)?;
    println!("profile: {}", if cfg!(debug_assertions) { "dev" } else { "release" });
    translation_is_sooner_and_no_larger()?;
    requests_take_as_long(&sides)
}

fn translation_is_sooner_and_no_larger() -> Result<()> {
    let wasm = pyodide()?;
    let mut times = Vec::new();
    let mut ours = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        ours = runtime::translate("pyodide.asm.wasm", &wasm)?;
        times.push(began.elapsed());
    }
    let began = Instant::now();
    let binaryens = binaryen::translate(&wasm)?;
    let their_time = began.elapsed();
    let our_time = median(times);
    let ratio = ours.len() as f64 / binaryens.len() as f64;
    println!("pyodide.asm.wasm, {} bytes, becomes", wasm.len());
    println!("  ours       {} bytes in {our_time:.3?} (median of 5)", ours.len());
    println!("  Binaryen's {} bytes in {their_time:.3?}", binaryens.len());
    println!("  size {ratio:.4}, time 1/{:.0}", their_time.as_secs_f64() / our_time.as_secs_f64());
    ensure!(our_time < TRANSLATION_LIMIT, "found {our_time:?}, expected less than {TRANSLATION_LIMIT:?}");
    ensure!(ratio <= SIZE_LIMIT, "found {ratio:.4} of the size, expected at most {SIZE_LIMIT}");
    Ok(())
}

/// What is asked for again and again: worker, path, how often in a round.
const REQUESTS: [(&str, &str, u32); 4] = [
    ("fastapi", "/", 400),
    ("exceptions", "/a_cpp_exception_a_hundred_times", 40),
    ("exceptions", "/a_panic_through_many_layers", 40),
    ("exceptions", "/jumps_out_of_nested_frames", 40),
];
const ROUNDS: usize = 12;

/// Warm requests, in rounds that alternate between the translations.
fn requests_take_as_long(sides: &[Side; 2]) -> Result<()> {
    let fleets = [sides[0].serve()?, sides[1].serve()?];
    for (worker, path, count) in REQUESTS {
        for fleet in &fleets {
            round(fleet, worker, path, count)?;
        }
        let (mut ratios, mut medians) = (Vec::new(), [Vec::new(), Vec::new()]);
        for number in 0..ROUNDS {
            // Neither is always the one that comes second.
            let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                medians[which].push(round(&fleets[which], worker, path, count)?);
            }
            ratios.push(medians[0][number].as_secs_f64() / medians[1][number].as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        let ratio = f64::midpoint(ratios[ROUNDS / 2 - 1], ratios[ROUNDS / 2]);
        let [ours, binaryens] = medians.map(median);
        println!("{worker}{path}: {ROUNDS} rounds of {count} warm requests each");
        println!(
            "  ours {ours:.3?}, Binaryen's {binaryens:.3?} (medians); of a round's medians {ratio:.3} \
             (from {:.3} to {:.3})",
            ratios[0],
            ratios[ROUNDS - 1]
        );
        ensure!(ratio <= TIME_LIMIT, "found {ratio:.3} of the time, expected at most {TIME_LIMIT}");
    }
    Ok(())
}

/// The median time of so many requests, one after the other.
fn round(fleet: &Fleet, worker: &str, path: &str, count: u32) -> Result<Duration> {
    let mut times = Vec::new();
    for number in 0..count {
        let began = Instant::now();
        let answer = fleet.get(worker, path)?;
        times.push(began.elapsed());
        ensure!(answer.status == 200, "{worker}{path}: {answer:?}");
        ensure!(number == 0 || answer.start == "warm", "{worker}{path}: a `{}` start", answer.start);
    }
    Some(median(times)).context("a round has requests")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
