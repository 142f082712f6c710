//! Run-time assertions: each module of a script is translated, then called.

mod support;

use std::path::Path;

use support::{engine, own_scripts, script, specification_scripts};

fn scripts_in(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut scripts: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder that can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wast"))
        .collect();
    scripts.sort();
    scripts
}

#[test]
fn the_specifications_assertions_hold_after_translation() {
    let Some(folder) = specification_scripts() else {
        println!(
            "NOT RUN: the specification's test files are not in the repository but beside it, in \
             `../shared/data/wasm-legacy-exceptions` from its root, and are not there; our own scripts \
             of the same kinds run all the same"
        );
        return;
    };
    let engine = engine();
    let scripts = scripts_in(&folder);
    assert_eq!(scripts.len(), 4, "found {scripts:?}, expected throw, rethrow, catch and delegate");
    let (mut run, mut translated) = (0, 0);
    for path in scripts {
        let tally = script::run(&engine, &path);
        println!("{}: {tally:?}", path.display());
        run += tally.run;
        translated += tally.translated;
    }
    assert!(run >= 70, "found {run} run-time assertions, expected those of all four files");
    assert!(translated >= 5, "found {translated} translated modules");
}

#[test]
fn our_own_assertions_hold_after_translation() {
    let engine = engine();
    let scripts = scripts_in(&own_scripts());
    assert!(!scripts.is_empty());
    for path in scripts {
        let tally = script::run(&engine, &path);
        println!("{}: {tally:?}", path.display());
        assert!(tally.run > 0, "{} asserts nothing", path.display());
    }
}
