//! Worker files: what is taken over, what is warned of, what is refused and where.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const MINIMAL: &str = r#"{"name": "hello", "main": "src/entry.py", "compatibility_date": "2026-01-31"}"#;

fn read(file: &str, text: &str) -> Result<Project, Problems> {
    resolve(WorkerFiles { wrangler: Some((file, text)), ..WorkerFiles::default() })
}

fn with_pyproject(pyproject: &str) -> Result<Project, Problems> {
    resolve(WorkerFiles {
        wrangler: Some(("wrangler.jsonc", MINIMAL)),
        pyproject: Some(pyproject),
        name: None,
    })
}

fn errors(result: Result<Project, Problems>) -> Vec<String> {
    result.unwrap_err().errors().iter().map(ToString::to_string).collect()
}

fn warnings(project: &Project) -> Vec<String> {
    project.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_same_worker_in_both_languages() {
    let jsonc = r#"{
        // The platform's schema.
        "$schema": "node_modules/wrangler/config-schema.json",
        "name": "hello",
        "main": "./src/entry.py",
        "compatibility_date": "2026-01-31",
        "compatibility_flags": ["python_workers"],
        "vars": { "GREETING": "hi", "LIMITS": { "most": 3, "list": [1.5, true, null] } },
    }"#;
    let toml = r#"
        name = "hello"
        main = "src/entry.py"
        compatibility_date = "2026-01-31"
        compatibility_flags = ["python_workers"]
        [vars]
        GREETING = "hi"
        LIMITS = { most = 3, list = [1.5, true] }
    "#;
    let (jsonc, toml) = (read("wrangler.jsonc", jsonc).unwrap(), read("wrangler.toml", toml).unwrap());
    assert_eq!(jsonc.warnings, []);
    assert_eq!(jsonc.source_folder, "src");
    assert_eq!(jsonc.config.main, "entry.py");
    assert_eq!(jsonc.config.vars["LIMITS"], json!({"most": 3, "list": [1.5, true, null]}));
    assert_eq!(toml.config.vars["LIMITS"], json!({"most": 3, "list": [1.5, true]}));
    assert_eq!(jsonc.config.compatibility_flags, toml.config.compatibility_flags);
    assert_eq!(jsonc.config.name, toml.config.name);
}

#[test]
fn a_compatibility_date_may_be_a_toml_date() {
    let project =
        read("wrangler.toml", "name = 'a'\nmain = 'a.py'\ncompatibility_date = 2026-01-31").unwrap();
    assert_eq!(project.config.compatibility_date, "2026-01-31");
    assert_eq!((project.source_folder.as_str(), project.config.main.as_str()), ("", "a.py"));
}

#[test]
fn what_is_not_supported_yet_is_named_with_its_line() {
    let text = "name = 'a'\nmain = 'a.py'\ncompatibility_date = '2026-01-31'\nnmae = 'x'\n\n[[kv_namespaces]]\nbinding = 'KV'\n";
    let project = read("wrangler.toml", text).unwrap();
    assert_eq!(
        warnings(&project),
        [
            "wrangler.toml:4: `nmae`: is no setting known here; it has no effect",
            "wrangler.toml:6: `kv_namespaces`: is not supported yet; the worker is deployed without it",
        ]
    );
}

#[test]
fn a_missing_date_is_told_and_replaced() {
    let project = read("wrangler.json", r#"{"name": "a", "main": "a.py"}"#).unwrap();
    assert_eq!(project.config.compatibility_date, DEFAULT_COMPATIBILITY_DATE);
    assert_eq!(
        warnings(&project),
        ["wrangler.json: `compatibility_date`: found none, expected a date; `2026-01-01` is used"]
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = "{\n\"name\": \"Hello\",\n\"main\": \"../entry.py\",\n\"compatibility_date\": \"soon\",\n\"compatibility_flags\": [\n1],\n\"vars\": []\n}";
    let found = errors(read("wrangler.jsonc", text));
    assert_eq!(
        found,
        [
            "wrangler.jsonc:2: `name`: found the text `Hello`, expected only `a-z`, `0-9`, `-` and `_`, starting with a letter or digit",
            "wrangler.jsonc:3: `main`: found the text `../entry.py`, expected the path of a `.py` file inside the worker's folder, such as `src/entry.py`",
            "wrangler.jsonc:4: `compatibility_date`: found the text `soon`, expected a date such as `2026-01-31`",
            "wrangler.jsonc:6: `compatibility_flags`: found the number `1`, expected the name of a flag as text",
            "wrangler.jsonc:7: `vars`: found a list, expected a table of variables",
        ]
    );
}

#[test]
fn syntax_errors_name_their_line() {
    let found = errors(read("wrangler.jsonc", "{\n\"name\": \"a\"\n\"main\": \"a.py\"}"));
    assert!(found[0].starts_with("wrangler.jsonc:"), "{found:?}");
    let found = errors(read("wrangler.toml", "name = 'a'\nmain = \n"));
    assert!(found[0].starts_with("wrangler.toml:2: "), "{found:?}");
    let found = errors(read("wrangler.json", "[]"));
    assert_eq!(found[0], "wrangler.json:1: found no `{`, expected one object");
    let found = errors(read("wrangler.json", "{\"name\": \"a\",\n\"name\": \"b\"}"));
    assert_eq!(found[0], "wrangler.json:2: `name`: found it twice, expected it once");
}

#[test]
fn missing_pieces_are_named() {
    let found = errors(read("wrangler.toml", "name = 'a'"));
    assert!(found[0].starts_with("wrangler.toml: `main`: found none, expected"), "{found:?}");
    let found = errors(resolve(WorkerFiles::default()));
    assert!(found[0].starts_with("wrangler.jsonc: found none"), "{found:?}");
    let found = errors(read("wrangler.toml", "main = 'a.py'"));
    assert!(found[0].starts_with("wrangler.toml: `name`: found none"), "{found:?}");
}

#[test]
fn requirements_and_a_name_come_from_the_project() {
    let project = with_pyproject(
        "[project]\nname = 'Other.Name'\ndependencies = ['fastapi', 'httpx>=0.28 ; python_version > \"3\"']",
    )
    .unwrap();
    assert_eq!(project.config.name.as_str(), "hello");
    let names: Vec<_> = project.requirements.iter().map(Requirement::name).collect();
    assert_eq!(names, ["fastapi", "httpx"]);

    let files = WorkerFiles {
        wrangler: Some(("wrangler.toml", "main = 'a.py'")),
        pyproject: Some("[project]\nname = 'Other.Name'"),
        name: None,
    };
    assert_eq!(resolve(files).unwrap().config.name.as_str(), "other-name");
    let given = WorkerName::parse("given").unwrap();
    assert_eq!(resolve(WorkerFiles { name: Some(&given), ..files }).unwrap().config.name, given);
}

#[test]
fn requirements_that_could_run_code_or_pass_options_are_refused() {
    for wrong in [
        "--index-url=x",
        "-r other.txt",
        "",
        "./local",
        "/etc/passwd",
        "git+https://example.org/x",
        "https://example.org/x.whl",
        "a @ git+https://example.org/x",
        "a @ https://example.org/x.tar.gz",
        "a @ file:///x.whl",
        "a @ http://example.org/x.whl",
        "a[b] @ ../x",
        "a --global-option=x",
        "a\n--index-url x",
        "-a",
        "a-",
        "a b",
        "ä",
        "a # note",
    ] {
        assert!(Requirement::parse(wrong).is_err(), "{wrong:?}");
    }
    for right in [
        "a",
        "A.b_c>=1",
        "a[x,y] (>1)",
        "a~=1; sys_platform == 'x'",
        "a @ https://example.org/a-1-py3-none-any.whl",
    ] {
        assert_eq!(Requirement::parse(right).unwrap().as_str(), right);
    }
    assert_eq!(Requirement::parse("Foo._-Bar").unwrap().name(), "foo-bar");
    let found = errors(with_pyproject("[project]\ndependencies = [\n'fastapi',\n'-e .',\n3]"));
    assert!(
        found[0].starts_with("pyproject.toml:4: `project.dependencies`: found the requirement `-e .`"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("pyproject.toml:5: `project.dependencies`: found the number `3`"),
        "{found:?}"
    );
}

#[test]
fn computed_dependencies_are_warned_of() {
    let project = with_pyproject("[project]\nname = 'a'\ndynamic = ['version', 'dependencies']").unwrap();
    assert!(warnings(&project)[0].starts_with("pyproject.toml:3: `project.dynamic`"));
}

#[test]
fn settings_round_trip_and_refuse_unknown_fields() {
    let config = read("wrangler.jsonc", MINIMAL).unwrap().config;
    let mut value = serde_json::to_value(&config).unwrap();
    assert_eq!(serde_json::from_value::<WorkerConfig>(value.clone()).unwrap(), config);
    value["surprise"] = json!(1);
    assert!(serde_json::from_value::<WorkerConfig>(value).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\"':,=a-z0-9#/ \n.-]{0,200}") {
        for file in ["wrangler.toml", "wrangler.json"] {
            let _ = resolve(WorkerFiles { wrangler: Some((file, &text)), pyproject: Some(&text), name: None });
        }
    }

    #[test]
    fn an_accepted_requirement_is_one_argument_and_no_option(text in "\\PC{0,40}") {
        if let Ok(requirement) = Requirement::parse(&text) {
            prop_assert!(!requirement.as_str().starts_with('-'));
            prop_assert!(!requirement.as_str().contains('\n'));
        }
    }
}

#[test]
fn secrets_are_named_and_nothing_else_is_said_of_them() {
    let read = |secrets: &str| {
        let text = format!(
            "{{\"name\": \"a\", \"main\": \"a.py\", \"compatibility_date\": \"2026-01-31\", \"secrets\": {secrets}}}"
        );
        resolve(WorkerFiles { wrangler: Some(("wrangler.jsonc", &text)), ..WorkerFiles::default() })
    };
    let project = read(r#"{"required": ["API_KEY", "TOKEN"]}"#).unwrap();
    assert_eq!(project.config.secrets, ["API_KEY", "TOKEN"]);
    for wrong in
        [r#"["API_KEY"]"#, r#"{"API_KEY": "value"}"#, r#"{"required": [1]}"#, r#"{"required": [""]}"#]
    {
        let problems = read(wrong).unwrap_err().to_string();
        assert!(problems.contains("wrangler.jsonc:1: `secrets`: found"), "{wrong}: {problems}");
    }
}
