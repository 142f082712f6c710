//! From folders to deployment names, without Python.

use std::collections::BTreeMap;

use super::*;

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn worker() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "wrangler.jsonc",
        r#"{"name": "hello", "main": "src/entry.py", "compatibility_date": "2026-01-31"}"#,
    );
    write(dir.path(), "pyproject.toml", "[project]\nname = 'hello'\ndependencies = ['fastapi']\n");
    write(dir.path(), "src/entry.py", "x = 1\n");
    dir
}

#[test]
fn sources_are_what_a_program_reads() {
    let dir = worker();
    for left_out in [
        ".env",
        ".git/config",
        "__pycache__/entry.pyc",
        "venv/pyvenv.cfg",
        "venv/x.py",
        "node_modules/x.js",
        "python_modules/x.py",
    ] {
        write(dir.path(), &format!("src/{left_out}"), "secret");
    }
    write(dir.path(), "src/templates/page.html", "<p>");
    let project = project::read(dir.path(), None).unwrap();
    let paths: Vec<_> = project.sources.files().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/entry.py", "/templates/page.html"]);
    assert_eq!(project::vendored(&project).unwrap(), dir.path().join("src/python_modules"));
}

#[test]
fn a_folder_that_is_no_worker_says_why() {
    let dir = worker();
    let refused = project::read(&dir.path().join("none"), None).unwrap_err();
    assert!(matches!(refused, ProjectError::NotAFolder(_)), "{refused}");
    std::fs::remove_file(dir.path().join("src/entry.py")).unwrap();
    let refused = project::read(dir.path(), None).unwrap_err();
    assert!(matches!(refused, ProjectError::NoMain { .. }), "{refused}");
    write(dir.path(), "wrangler.jsonc", "{\n\"name\": 3}");
    let refused = project::read(dir.path(), None).unwrap_err().to_string();
    assert!(refused.starts_with("wrangler.jsonc:2: `name`: found the number `3`"), "{refused}");
}

#[test]
fn a_source_that_links_elsewhere_is_refused() {
    let dir = worker();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("src/data")).unwrap();
    let refused = project::read(dir.path(), None).unwrap_err();
    assert!(matches!(refused, ProjectError::Sources { .. }), "{refused}");
}

#[test]
fn an_id_names_everything_and_nothing_else() {
    let config = |main: &str| WorkerConfig {
        name: WorkerName::parse("hello").unwrap(),
        main: main.to_owned(),
        compatibility_date: "2026-01-31".to_owned(),
        compatibility_flags: Vec::new(),
        vars: BTreeMap::new(),
        secrets: Vec::new(),
    };
    let id = deployment_id(&config("a.py"), b"files", "runtime");
    assert_eq!(id, deployment_id(&config("a.py"), b"files", "runtime"));
    assert_ne!(id, deployment_id(&config("b.py"), b"files", "runtime"));
    assert_ne!(id, deployment_id(&config("a.py"), b"other", "runtime"));
    assert_ne!(id, deployment_id(&config("a.py"), b"files", "newer"));
    assert_ne!(id, deployment_id(&config("a.py"), b"filesruntime", ""));
}
