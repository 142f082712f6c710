//! What may happen at top level, what may not, and what becomes of it in an isolate.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use system_tests::{Deployed, Fleet, FleetOptions, deploy, store, worker};

use crate::executable;

/// Deploys a worker without packages that consists of these files.
fn deploy_sources(files: &[(&str, &str)], settings: &str) -> Result<Deployed> {
    let folder = tempfile::tempdir()?;
    let text = format!(
        "{{\"name\": \"written\", \"main\": \"src/entry.py\", \"compatibility_date\": \"2026-01-01\"{settings}}}"
    );
    std::fs::write(folder.path().join("wrangler.jsonc"), text)?;
    for (name, text) in files {
        let path = folder.path().join("src").join(name);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(path, text)?;
    }
    let own_store = tempfile::tempdir()?;
    deploy(executable(), folder.path(), own_store.path())
}

/// Deploys a worker with this top level, which must fail; answers what its author reads.
fn refused(top_level: &str) -> Result<String> {
    let entry = format!("{top_level}\n\ndef on_fetch():\n    return None\n");
    let deployed = deploy_sources(&[("entry.py", &entry)], "")?;
    ensure!(deployed.status.code() == Some(1), "it was deployed: {}", deployed.stderr);
    Ok(deployed.stderr)
}

fn assert_says(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "no `{expected}` in:\n{text}");
    }
}

#[test]
fn what_draws_is_refused_with_file_line_and_advice() -> Result<()> {
    let text = refused("import uuid\n\nTOKEN = uuid.uuid4()")?;
    assert_says(
        &text,
        &[
            "uuid.uuid4() at top level (entry.py, line 3: `TOKEN = uuid.uuid4()`)",
            "Call it while a request is handled",
            "Traceback (most recent call last)",
        ],
    );
    let text = refused("from random import choice\nNAME = choice(['a', 'b'])")?;
    assert_says(&text, &["Cannot use random.choice()", "(entry.py, line 2: `NAME = choice(['a', 'b'])`)"]);
    // Past Python: the host refuses, and the error itself says little.
    let text = refused("SALT = open('/dev/urandom', 'rb').read(8)")?;
    assert_says(&text, &["I/O error", "hint: while this ran, random bytes were asked for and refused"]);
    Ok(())
}

#[test]
fn a_package_that_draws_is_named_with_the_line_that_led_to_it() -> Result<()> {
    let package = "import secrets\n\nKEY = secrets.token_bytes(16)\n";
    let entry = "import json\nimport drawing\n\ndef on_fetch():\n    return None\n";
    let files = [("python_modules/drawing.py", package), ("entry.py", entry)];
    let deployed = deploy_sources(&files, "")?;
    assert_eq!(deployed.status.code(), Some(1), "{}", deployed.stderr);
    assert_says(
        &deployed.stderr,
        &[
            "secrets.token_bytes() at top level (drawing.py, line 3: `KEY = secrets.token_bytes(16)`",
            "which entry.py, line 2: `import drawing` led to",
            "Import the package inside the handler",
        ],
    );
    Ok(())
}

#[test]
fn every_copy_of_a_draw_is_found_and_its_variable_named() -> Result<()> {
    let text = refused(
        r#"
import array, os, uuid
from _cloudflare.allow_entropy import allow_bad_entropy_calls

with allow_bad_entropy_calls(20):
    RAW = os.urandom(16)
    PART = b"before" + os.urandom(24)[5:] + b"after"
    LOWER = os.urandom(16).hex()
    UPPER = os.urandom(16).hex().upper()
    WIDE = "\u1234" + os.urandom(16).hex()
    BIG = int.from_bytes(os.urandom(32), "big")
    LITTLE = int.from_bytes(os.urandom(32), "little")
    ID = uuid.uuid4()
    TEXT = f"urn:uuid:{uuid.uuid4()}"
    BUFFERS = {"key": [bytearray(os.urandom(24)), array.array("B", os.urandom(24))]}

    def make():
        value = os.urandom(16)
        return lambda: value

    FUNCTION = make()
    dropped = os.urandom(16)
    del dropped
"#,
    )?;
    assert_says(
        &text,
        &[
            "`entry.RAW` (bytes)",
            "`entry.PART` (bytes)",
            "`entry.LOWER` (text)",
            "`entry.UPPER` (text)",
            "`entry.WIDE` (text)",
            "`entry.BIG` (an int)",
            "`entry.LITTLE` (an int)",
            "`entry.ID.int` (an int)",
            "`entry.TEXT` (text)",
            "`entry.BUFFERS['key'][0]` (bytes in a bytearray)",
            "`entry.BUFFERS['key'][1]` (bytes in a array)",
            "`entry.FUNCTION(…).value` (bytes)",
        ],
    );
    assert!(!text.contains("dropped"), "what nobody holds is no leak: {text}");
    Ok(())
}

#[test]
fn what_no_snapshot_keeps_is_refused_by_name() -> Result<()> {
    let text = refused(
        r#"
import asyncio

LOGS = {"access": open("/tmp/access.log", "w")}

async def refresh():
    await asyncio.sleep(60)

LOOP = asyncio.get_event_loop_policy().get_event_loop()
TASK = LOOP.create_task(refresh())
TIMER = LOOP.call_later(60, print)
"#,
    )?;
    assert_says(
        &text,
        &[
            "`entry.LOGS['access']` is open for writing on `/tmp/access.log`",
            "`entry.TASK` is a task that is still running (refresh(), entry.py, line 6)",
            "`entry.TIMER` is a timer that has not run out (it calls print)",
        ],
    );
    // A descriptor without a Python object is the host's to notice.
    let text = refused("import os\nos.open('/tmp/raw.log', os.O_WRONLY | os.O_CREAT)")?;
    assert_says(&text, &["is open for writing on `/tmp/raw.log`"]);
    Ok(())
}

#[test]
fn secrets_read_at_top_level_fail_by_name() -> Result<()> {
    let entry = "import js\nfrom _pyodide_entrypoint_helper import cloudflareWorkersModule\n\
                 env = cloudflareWorkersModule.env\nKEY = env.API_KEY\n\ndef on_fetch():\n    return None\n";
    let deployed = deploy_sources(&[("entry.py", entry)], r#", "secrets": {"required": ["API_KEY"]}"#)?;
    assert_eq!(deployed.status.code(), Some(1), "{}", deployed.stderr);
    assert_says(
        &deployed.stderr,
        &[
            "the secret `API_KEY` was read at top level (entry.py, line 4: `KEY = env.API_KEY`)",
            "read `self.env.API_KEY` while a request is handled",
        ],
    );
    Ok(())
}

#[test]
fn no_two_isolates_agree_on_anything_drawn() -> Result<()> {
    let fleet = fleet("clones")?;
    let mut answers = Vec::new();
    for _ in 0..3 {
        // The third isolate is one that ended and was renewed, the first two may be too.
        for expected in ["cold", "warm"] {
            let answer = fleet.get("clones", "/")?;
            assert_eq!((answer.status, answer.start.as_str()), (200, expected), "{}", answer.body);
            answers.push(answer.json()?);
        }
        fleet.evict("clones")?;
    }
    let drawn = |answer: &Value| answer["drawn"].as_object().cloned().unwrap_or_default();
    for name in drawn(&answers[0]).keys() {
        let mut values: Vec<String> =
            answers.iter().map(|answer| answer["drawn"][name].to_string()).collect();
        values.sort();
        values.dedup();
        assert_eq!(values.len(), answers.len(), "{name}: {values:?}");
    }
    assert_eq!(drawn(&answers[0]).len(), 15);
    Ok(())
}

#[test]
fn objects_files_and_seeded_generators_of_the_top_level_are_there() -> Result<()> {
    let fleet = fleet("clones")?;
    for _ in 0..2 {
        let kept = fleet.get("clones", "/")?.json()?["kept"].take();
        // Python's own, with the seed 42.
        let fixed = json!([0.639_426_798_457_883_7, 0.025_010_755_222_666_936]);
        let expected = json!({
            "headers": [["x-kept", "yes"], ["x-used", "in a handler"]],
            "list": [1, 2],
            "nested": {"a": [1, 2]},
            "proxy": "hello you",
            "object": [42, 2],
            "file": "written at top level",
            "fixed": fixed,
            "hash": kept["hash"],
        });
        assert_eq!(kept, expected);
        fleet.evict("clones")?;
    }
    Ok(())
}

#[test]
fn no_clock_runs_backwards() -> Result<()> {
    let fleet = fleet("clones")?;
    let mut before = Value::Null;
    for _ in 0..20 {
        let answer = fleet.get("clones", "/")?.json()?;
        for (name, then) in answer["then"].as_object().context("no clocks")? {
            let clock = |value: &Value| value.as_f64().context("a reading");
            let (then, now) = (clock(then)?, clock(&answer["now"][name])?);
            assert!(then <= now, "{name} read {then} at top level and {now} in a handler");
            if let Some(before) = before[name].as_f64() {
                assert!(before <= now, "{name} read {before} and then {now}");
            }
        }
        before = answer["now"].clone();
    }
    Ok(())
}

#[test]
fn widely_used_packages_import_at_top_level() -> Result<()> {
    let fleet = fleet("imports")?;
    let mut traces = Vec::new();
    for _ in 0..2 {
        let answer = fleet.get("imports", "/")?;
        assert_eq!(answer.status, 200, "{}\n{}", answer.body, fleet.router.log());
        let mut answer = answer.json()?;
        traces.push(answer["trace"].take());
        let expected = json!({
            "django": "5.2.19",
            "fastapi": "app",
            "httpx": "/b",
            "pydantic": 1.5,
            "requests": "/b",
            "sqlalchemy": 42,
            "trace": null,
        });
        assert_eq!(answer, expected);
        fleet.evict("imports")?;
    }
    assert_ne!(traces[0], traces[1], "opentelemetry's identifiers differ from isolate to isolate");
    Ok(())
}

/// Jinja needs MarkupSafe, of which the index has no wheel for this platform; its source
/// builds a wheel without native code where there is no C compiler.
#[test]
fn jinja_imports_at_top_level() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("src"))?;
    std::fs::write(
        folder.path().join("wrangler.jsonc"),
        r#"{"name": "jinja", "main": "src/entry.py", "compatibility_date": "2026-01-01"}"#,
    )?;
    std::fs::write(
        folder.path().join("src/entry.py"),
        "import jinja2\nPAGE = jinja2.Template('{{ greeting }} & more')\nassert PAGE.render(greeting='hi') == 'hi & more'\n\
         def on_fetch():\n    return None\n",
    )?;
    let mut install = Command::new("python3");
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-binary", "markupsafe", "jinja2==3.1.6", "markupsafe==3.0.3", "--target"])
        .arg(folder.path().join("src/python_modules"))
        .env("CC", "/bin/false");
    let installed = install.output()?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let own_store = tempfile::tempdir()?;
    let deployed = deploy(executable(), folder.path(), own_store.path())?;
    assert!(deployed.status.success(), "{}", deployed.stderr);
    Ok(())
}

/// One host that serves one of the tests' workers.
fn fleet(name: &str) -> Result<Fleet> {
    let folder: &Path = &worker(name);
    let deployed = deploy(executable(), folder, &store())?;
    ensure!(deployed.status.success(), "{}", deployed.stderr);
    let workers = [folder.to_owned()];
    Fleet::start(executable(), &FleetOptions { hosts: 1, workers: &workers, embedded: "", environment: &[] })
}
