//! The command line is consistent and names what it cannot do.

use std::path::PathBuf;

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    let refused = |args: &[&str]| {
        let args = std::iter::once("isolate-host").chain(args.iter().copied());
        Cli::try_parse_from(args).unwrap_err().to_string()
    };
    assert!(refused(&["serve", "--host-id", "Not Valid"]).contains("expected only"));
    assert!(refused(&["serve", "--max-isolates", "0"]).contains("--max-isolates"));
    assert!(refused(&["deploy", ".", "--name", "../x"]).contains("--name"));
    assert!(refused(&["deploy"]).contains("<DIR>"));
}

#[test]
fn the_store_has_a_default_place() {
    let place = |set: &[(&'static str, &'static str)]| {
        places::default_store(|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
        })
    };
    assert_eq!(place(&[]), None);
    assert_eq!(place(&[("HOME", "/h")]), Some(PathBuf::from("/h/.local/share/warmshard/store")));
    assert_eq!(place(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]), Some("/d/warmshard/store".into()));
    assert_eq!(place(&[("XDG_DATA_HOME", "/d"), ("WARMSHARD_STORE", "/s")]), Some("/s".into()));
}
