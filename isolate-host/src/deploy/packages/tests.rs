//! Packages: what a lock may say, what is packed, what the cache goes by.

use serde_json::json;

use super::*;
use crate::progress::Silent;

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn requirements(lines: &[&str]) -> Vec<Requirement> {
    lines.iter().map(|line| Requirement::parse(line).unwrap()).collect()
}

#[test]
fn a_lock_is_read_back_as_it_was_written() {
    let report = json!({"install": [
        {"metadata": {"name": "Zope.Thing", "version": "2.0"}, "download_info": {"archive_info": {"hashes": {"sha256": HASH}}}},
        {"metadata": {"name": "workers-runtime-sdk", "version": "1.9.5"}, "download_info": {"archive_info": {"hashes": {"sha256": HASH}}}},
    ]});
    let asked = requirements(&["zope-thing"]);
    let lock = LockFile::new(locked(&report).unwrap(), &asked);
    let text = lock.to_text("platform", "3.14");
    assert_eq!(LockFile::parse(&text).unwrap(), lock);
    assert!(text.ends_with(&format!("zope-thing==2.0 \\\n    --hash=sha256:{HASH}\n")), "{text}");
    lock.check(&asked, SDK).unwrap();
    assert!(matches!(lock.check(&requirements(&["other"]), SDK), Err(LockError::Stale)));
}

#[test]
fn locks_of_other_tools_are_read() {
    let text = format!(
        "# compiled\nA.b[x]==1.0 ; python_version > \"3\" \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{HASH}\n    # via c\nworkers-runtime-sdk==1.9.5 --hash=sha256:{HASH}  # via d\n"
    );
    let lock = LockFile::parse(&text).unwrap();
    assert_eq!(lock.packages[0].requirement.name(), "a-b");
    assert_eq!(lock.packages[0].hashes.len(), 2);
    lock.check(&requirements(&["anything"]), SDK).unwrap();
}

#[test]
fn a_lock_cannot_pass_options_or_leave_anything_open() {
    let refused = |text: &str| LockFile::parse(text).unwrap_err().to_string();
    for text in ["--index-url=x", "-r other.txt", "-e .", "./local", "git+https://x"] {
        assert!(refused(text).starts_with("requirements.lock:1: "), "{text}");
    }
    let with = |rest: &str| format!("\n\na==1 {rest}\n");
    assert!(refused(&with("")).contains("found no exact version and hash for `a`"));
    assert!(
        refused(&with(&format!("--hash=sha256:{HASH} --index-url=x"))).contains(":3: found `--index-url=x`")
    );
    assert!(refused(&with("--hash=md5:0")).contains("found `--hash=md5:0`"));
    assert!(refused(&format!("a>=1 --hash=sha256:{HASH}")).contains("no exact version"));
    let lock = LockFile::parse(&format!("a==1 --hash=sha256:{HASH}")).unwrap();
    assert!(matches!(lock.check(&[], SDK), Err(LockError::Incomplete { name: SDK })));
}

#[test]
fn a_report_without_hashes_is_refused() {
    let report = json!({"install": [{"metadata": {"name": "a", "version": "1"}, "download_info": {"url": "file:///x"}}]});
    assert!(matches!(locked(&report), Err(PipError::Report(_))));
    assert!(matches!(locked(&json!({})), Err(PipError::Report(_))));
    let report = json!({"install": [{"metadata": {"name": "--evil", "version": "1"}, "download_info": {"archive_info": {"hashes": {"sha256": HASH}}}}]});
    assert!(matches!(locked(&report), Err(PipError::Report(_))));
}

#[test]
fn the_sdk_is_added_when_nothing_brings_it() {
    assert_eq!(lines(&with_sdk(&requirements(&["fastapi"]))), format!("fastapi\n{SDK_REQUIREMENT}\n"));
    let own = requirements(&["Workers.Runtime_SDK==1.9.5"]);
    assert_eq!(with_sdk(&own), own);
}

#[test]
fn what_differs_between_machines_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("bin/tool", "#!/home/somebody/python");
    write("pkg/__init__.py", "");
    write("pkg/bin/data", "kept");
    write("pkg/__pycache__/x.pyc", "");
    write("pkg-1.dist-info/REQUESTED", "");
    write("pkg-1.dist-info/METADATA", "Name: pkg");
    write(
        "pkg-1.dist-info/RECORD",
        "pkg/__init__.py,,0\n../../bin/tool,sha256=x,9\npkg-1.dist-info/REQUESTED,,\npkg-1.dist-info/METADATA,,\n",
    );
    write("hook.pth", "import pkg");
    let layer = pack_folder(dir.path()).unwrap();
    let paths: Vec<_> = layer.files().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "/hook.pth",
            "/pkg/__init__.py",
            "/pkg/bin/data",
            "/pkg-1.dist-info/METADATA",
            "/pkg-1.dist-info/RECORD"
        ]
    );
    assert_eq!(
        layer.file("/pkg-1.dist-info/RECORD").unwrap(),
        "pkg-1.dist-info/METADATA,,\npkg/__init__.py,,0\n"
    );
}

#[test]
fn the_cache_goes_by_everything_that_was_asked() {
    let pip = |index: Option<&str>, more: &[&str]| PipOptions {
        python: "python3".into(),
        index_url: index.map(str::to_owned),
        extra_index_urls: more.iter().map(|url| (*url).to_owned()).collect(),
    };
    let keys = [
        cache_key("a\n", Hashes::Free, &pip(None, &[])),
        cache_key("b\n", Hashes::Free, &pip(None, &[])),
        cache_key("a\n", Hashes::Required, &pip(None, &[])),
        cache_key("a\n", Hashes::Free, &pip(Some("x"), &[])),
        cache_key("a\n", Hashes::Free, &pip(None, &["x"])),
        cache_key("a\n", Hashes::Free, &pip(None, &["x", "y"])),
    ];
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    assert_eq!(keys[0], cache_key("a\n", Hashes::Free, &pip(None, &[])));
}

/// An interpreter that counts its calls and unpacks one file, whatever it is asked.
///
/// A shell writes it: a file this process had open for writing could not be run
/// while another test's child still holds it.
fn fake_python(dir: &Path) -> PathBuf {
    let python = dir.join("python");
    let script = format!(
        "#!/bin/sh\necho call >> {}/calls\nwhile [ $# -gt 0 ]; do\n  [ \"$1\" = --target ] && mkdir -p \"$2/pkg\" && echo x > \"$2/pkg/mod.py\"\n  shift\ndone\n",
        dir.display()
    );
    let write = "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", write, "sh", &script]).arg(&python);
    assert!(shell.status().unwrap().success());
    python
}

#[test]
fn the_same_requirements_are_resolved_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheDir::open(dir.path().join("cache")).unwrap();
    let pip =
        PipOptions { python: fake_python(dir.path()).into(), index_url: None, extra_index_urls: Vec::new() };
    let bring = |requirements: &str, reuse: Reuse| {
        let options = PackageOptions { pip: pip.clone(), reuse };
        let layer = resolved(requirements, Hashes::Free, &options, &cache, &Silent).unwrap();
        assert_eq!(layer.file("/pkg/mod.py").unwrap(), "x\n");
    };
    let calls = || std::fs::read_to_string(dir.path().join("calls")).unwrap().lines().count();
    bring("a\n", Reuse::Cached);
    bring("a\n", Reuse::Cached);
    assert_eq!(calls(), 1);
    bring("b\n", Reuse::Cached);
    assert_eq!(calls(), 2);
    bring("a\n", Reuse::Refresh);
    assert_eq!(calls(), 3);
    assert_eq!(std::fs::read_dir(cache.path().join("tmp")).unwrap().count(), 0);
}

proptest::proptest! {
    #[test]
    fn any_lock_file_is_read_or_refused(text in "(([a-z0-9=.>-]{1,12}| --hash=sha256:[0-9a-f]{60,64}| \\\\|#|\\[|\u{e9})*\n?){0,8}") {
        if let Ok(lock) = LockFile::parse(&text) {
            let written = lock.to_text(WHEEL_PLATFORM, pip::PYTHON);
            proptest::prop_assert_eq!(LockFile::parse(&written).unwrap().requirements(), lock.requirements());
        }
    }

    #[test]
    fn any_record_of_a_wheel_keeps_only_lines_of_files_that_are_there(
        record in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)
    ) {
        let kept = BTreeSet::from(["/a.py"]);
        let trimmed = trimmed_record(&[&record[..], b"\na.py,sha256=x,1\nb.py,,\n"].concat(), &kept);
        let text = String::from_utf8(trimmed).unwrap();
        proptest::prop_assert!(text.lines().all(|line| line.contains("a.py")));
        proptest::prop_assert!(text.contains("a.py,sha256=x,1\n"));
    }
}
