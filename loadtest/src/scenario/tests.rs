use super::*;

fn resolve(text: &str) -> Result<Scenario, ScenarioError> {
    toml::from_str::<ScenarioFile>(text).unwrap().resolve()
}

const WHOLE: &str = r#"
seed = 7
duration = "60s"
warmup = "10s"

[workers]
pattern = "hello-{n}"
count = 200
popularity = "zipf"
exponent = 1.1

[load]
rate = 200
arrivals = "bursty"
variation = 4
shape = { kind = "flash-crowd", at_s = 20, times = 5, hold_s = 10 }

[request]
method = "POST"
path = "/a?b"
headers = { "content-type" = "text/plain" }
body_bytes = 1000
chunks = 10
connection = "new"

[[events]]
at = "40s"
action = "kill-host"
host = "host-a"

[[events]]
at = "30s"
action = "deploy"
workers = ["hello-1"]
command = "isolate-host deploy x --name {worker}"

[simulate]
routers = 4
isolates = 50
restore = "1.5ms"
"#;

#[test]
fn every_key_is_understood() {
    let scenario = resolve(WHOLE).unwrap();
    assert_eq!((scenario.seed, scenario.workers.len()), (7, 200));
    assert_eq!(scenario.workers[199].as_str(), "hello-200");
    assert_eq!(scenario.events[0].action.to_string(), "deploy hello-1");
    assert_eq!(scenario.events[1].action.to_string(), "kill host-a");
    assert_eq!(scenario.request.body.len(), 1000);
    assert_eq!(scenario.request.connection, Connection::New);
    assert_eq!((scenario.simulated.routers, scenario.simulated.isolates), (4, Some(50)));
    let requests = scenario.schedule().unwrap().len() as f64;
    // 60 s and four times as much for 10 s and two slopes of 1 s, at 200/s; bursts vary.
    assert!((requests / 20_800.0 - 1.0).abs() < 0.15, "{requests}");
}

#[test]
fn mistakes_are_named() {
    let error = |right: &str, wrong: &str| {
        assert!(WHOLE.contains(right), "{right}");
        resolve(&WHOLE.replace(right, wrong)).unwrap_err().to_string()
    };
    assert!(error("duration = \"60s\"\n", "").contains("no `duration`"));
    assert!(error("count = 200\n", "").contains("no `count`"));
    assert!(error("warmup = \"10s\"", "warmup = \"2m\"").contains("less than the duration"));
    assert!(error("\"zipf\"", "\"paretto\"").contains("`paretto` for `popularity`"));
    assert!(error("\"bursty\"", "\"fast\"").contains("`fast` for `arrivals`"));
    assert!(error("rate = 200", "rate = -1").contains("`-1` for `rate`"));
    assert!(error("hello-{n}", "hello").contains("{n} in it"));
    assert!(error("at = \"40s\"", "at = \"70s\"").contains("before the run's end"));
    assert!(error("\"/a?b\"", "\"a\"").contains("starts with `/`"));
    assert!(error("rate = 200", "trace = \"x.csv\"").contains("both `trace` and `arrivals`"));
}

#[test]
fn what_is_unknown_is_refused_with_its_place() {
    let error = |wrong: &str| toml::from_str::<ScenarioFile>(wrong).unwrap_err().to_string();
    assert!(error("durration = \"1s\"").contains("durration"));
    assert!(error("duration = \"soon\"").contains("`soon`"));
    let event = "[[events]]\nat = \"1s\"\naction = \"explode\"";
    assert!(error(event).contains("explode"), "{}", error(event));
    assert!(error("[[events]]\nat = \"1s\"\naction = \"kill-host\"\nhst = \"a\"").contains("hst"));
}

#[test]
fn the_scenarios_in_the_tree_are_in_order() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario = ScenarioFile::read(&path).unwrap().resolve();
        assert!(scenario.is_ok(), "{}: {scenario:?}", path.display());
        found += 1;
    }
    assert!(found >= 5, "{found} scenarios");
}
