//! Native packages and files over a snapshot.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use system_tests::{Host, deploy, finish, program, worker};

use crate::executable;

/// What `isolate-host snapshot inspect --json` says of the only snapshot of a store.
fn inspect(store: &std::path::Path) -> Result<Value> {
    let blobs = system_tests::folders::files_below(&store.join("blobs"))?;
    let is_snapshot =
        |path: &&std::path::PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"WARMSNAP"));
    let snapshot = blobs.iter().find(is_snapshot).context("no snapshot in the store")?;
    let mut command = program(executable(), "isolate-host");
    command.args(["snapshot", "inspect", "--json"]).arg(snapshot);
    let inspected = finish(command)?;
    assert!(inspected.status.success(), "{}", inspected.stderr);
    Ok(serde_json::from_str(&inspected.stdout)?)
}

#[test]
fn native_packages_and_files_are_there_after_every_restore() -> Result<()> {
    let store = tempfile::tempdir()?;
    let deployed = deploy(executable(), &worker("native"), store.path())?;
    assert!(deployed.status.success(), "{}", deployed.stderr);

    let inspected = inspect(store.path())?;
    let libraries = inspected["manifest"]["libraries"].as_array().context("no libraries")?;
    let names: Vec<_> = libraries.iter().filter_map(|library| library["path"].as_str()).collect();
    for (index, part) in ["msgspec/_core", "jiter/jiter", "pydantic_core/_pydantic_core"].iter().enumerate() {
        assert!(names[index].contains(part), "{names:?}");
    }
    let base = |index: usize| libraries[index]["table_base"].as_u64();
    assert!(base(0) < base(1) && base(1) < base(2), "{libraries:?}");

    // From here on nothing is to be compiled: the deploy has done so, the late import included.
    let host = Host::start(executable(), store.path(), &[])?;
    let mut elapsed = Vec::new();
    for restore in 0..3 {
        let answer = host.get("native", "/")?;
        assert_eq!((answer.status, answer.start.as_str()), (200, "cold"), "{}", answer.body);
        assert_eq!(
            answer.json()?,
            json!({
                "msgspec": [1, 2],
                "jiter": [1.5, null],
                "pydantic": { "name": "a", "points": [1, 2] },
            })
        );
        let files = host.get("native", "/files")?;
        assert_eq!((files.status, files.start.as_str()), (200, "warm"), "{}", files.body);
        let files = files.json()?;
        assert_eq!(
            files["lines"],
            json!(["first line", "second line", "of this isolate"]),
            "restore {restore}"
        );
        assert_eq!(files["rest"], json!(["second line"]));
        assert_eq!(files["environment"], "yes");
        elapsed.push(files["elapsed"].as_f64().context("no time")?);
        let late = host.get("native", "/late")?;
        assert_eq!((late.status, late.start.as_str()), (200, "warm"), "{}{}", late.body, host.process.log());
        assert_eq!(late.json()?, json!({ "encoding": "utf_8", "native": true }));
        host.evict("native")?;
    }
    assert!(elapsed.iter().all(|seconds| *seconds >= 0.0), "a clock ran backwards: {elapsed:?}");
    let log = host.process.log();
    assert!(!log.contains("compile `"), "something was compiled after the deploy:\n{log}");
    Ok(())
}
