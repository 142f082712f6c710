//! The private cache keeps others out and never shows half an entry.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::progress::Silent;

fn cache() -> (tempfile::TempDir, CacheDir) {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheDir::open(dir.path().join("cache")).unwrap();
    (dir, cache)
}

#[test]
fn it_is_created_for_its_owner_alone() {
    let (_dir, cache) = cache();
    for path in [cache.path().to_owned(), cache.section("compiled").unwrap()] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
    }
}

#[test]
fn one_that_others_can_write_to_is_refused() {
    let (_dir, cache) = cache();
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o770)).unwrap();
    let refused = CacheDir::open(cache.path()).unwrap_err();
    assert!(matches!(refused, CacheError::Writable { found: 0o770, .. }), "{refused}");
}

#[test]
fn a_symbolic_link_is_refused() {
    let (dir, cache) = cache();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(cache.path(), &link).unwrap();
    assert!(matches!(CacheDir::open(&link).unwrap_err(), CacheError::NotAFolder { .. }));
}

#[test]
fn keys_cannot_leave_it() {
    let (_dir, cache) = cache();
    for key in ["", "..", "a/b", ".hidden", "a\0b", "ü"] {
        assert!(matches!(cache.section(key), Err(CacheError::Key { .. })), "{key:?}");
        assert!(matches!(cache.lock(key, &Silent), Err(CacheError::Key { .. })), "{key:?}");
    }
}

#[test]
fn the_environment_names_its_place() {
    let place = |set: &[(&str, &str)]| {
        let set: Vec<_> = set.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
        default_place(|name| set.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    };
    assert_eq!(place(&[("HOME", "/h")]), Some("/h/.cache/warmshard".into()));
    assert_eq!(place(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Some("/x/warmshard".into()));
    assert_eq!(place(&[("XDG_CACHE_HOME", "/x"), ("WARMSHARD_CACHE", "/w")]), Some("/w".into()));
    assert_eq!(place(&[("HOME", "")]), None);
}

#[test]
fn an_entry_appears_whole_and_the_first_one_stays() {
    let (_dir, cache) = cache();
    let publish = |text: &str| {
        let made = cache.temp_dir().unwrap();
        fs::write(made.path().join("file"), text).unwrap();
        cache.publish(made, "packages", "key").unwrap()
    };
    let first = publish("one");
    let second = publish("two");
    assert_eq!(first, second);
    assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "one");
    assert_eq!(fs::read_dir(cache.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_lock_excludes_and_is_released() {
    let (_dir, cache) = cache();
    let held = cache.lock("pyodide", &Silent).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _lock = cache.lock("pyodide", &Silent).unwrap();
            sender.send("second").unwrap();
        });
        assert!(receiver.try_recv().is_err());
        drop(held);
        assert_eq!(receiver.recv().unwrap(), "second");
    });
}

#[test]
fn leftovers_are_removed_and_what_is_in_use_is_not() {
    let (_dir, cache) = cache();
    let in_use = cache.temp_dir().unwrap();
    let left = cache.temp_dir().unwrap().keep();
    let entry = cache.section("compiled").unwrap().join(format!("{}half", durable::TEMPORARY_PREFIX));
    fs::write(&entry, "half").unwrap();
    CacheDir::open(cache.path()).unwrap();
    assert!(in_use.path().exists());
    assert!(!left.exists());
    assert!(!entry.exists());
}

#[test]
fn a_write_that_fails_half_way_changes_nothing() {
    let (dir, _cache) = cache();
    let path = dir.path().join("file");
    durable::write(&path, b"before").unwrap();
    let failed = durable::write_with(&path, |file| {
        io::Write::write_all(file, b"half")?;
        Err(io::Error::other("the disk is full"))
    });
    assert!(failed.is_err());
    assert_eq!(fs::read(&path).unwrap(), b"before");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
