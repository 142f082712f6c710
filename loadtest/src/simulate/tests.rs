use super::*;
use crate::scenario::ScenarioFile;

fn scenario(text: &str) -> Scenario {
    toml::from_str::<ScenarioFile>(text).unwrap().resolve().unwrap()
}

fn day(extra: &str) -> Scenario {
    scenario(&format!(
        "duration = \"30m\"\nwarmup = \"10m\"\n\
         workers = {{ count = 300, popularity = \"azure\" }}\n\
         load = {{ arrivals = \"azure\", rate = 40 }}\n\
         simulate = {{ routers = 4, isolates = 12, requests_per_isolate = 4, service = \"50ms\" }}\n{extra}"
    ))
}

fn report(scenario: &Scenario, hosts: usize, policy: PolicyName) -> serde_json::Value {
    let fleet = Fleet::of(None, hosts.try_into().ok(), scenario).unwrap();
    serde_json::to_value(&simulate(scenario, &fleet, &[policy]).unwrap()[0]).unwrap()
}

fn rate(report: &serde_json::Value) -> f64 {
    report["cold_rate"]["rate"].as_f64().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let scenario = day("");
    for policy in [PolicyName::Ours, PolicyName::P2c] {
        assert_eq!(report(&scenario, 10, policy), report(&scenario, 10, policy), "{policy}");
    }
}

#[test]
fn policies_come_in_the_order_that_theory_has_them() {
    let scenario = day("");
    let rates = PolicyName::ALL.map(|policy| rate(&report(&scenario, 10, policy)));
    let [ours, random, p2c, strict, _, clairvoyant] = rates;
    assert!(clairvoyant <= ours && ours < random && ours < p2c && strict < random, "{rates:?}");
    // Ten hosts of twelve: at random a worker is warm at some of them at best.
    assert!(random > 5.0 * ours, "{rates:?}");
}

#[test]
fn every_request_is_answered_and_every_cold_start_has_a_cause() {
    let report = report(&day(""), 10, PolicyName::Ours);
    assert_eq!(report["requests"]["unfinished"], 0);
    assert_eq!(report["requests"]["failed"], 0, "{}", report["errors"]);
    let causes: u64 = report["causes"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(report["cold_rate"]["hits"].as_u64(), Some(causes));
    assert_eq!(report["causes"].get("misplaced"), None, "{}", report["causes"]);
}

#[test]
fn slots_for_all_leave_first_calls_only() {
    let scenario = scenario(
        "duration = \"10m\"\nworkers = { count = 50 }\nload = { rate = 20, arrivals = \"poisson\" }\n\
         simulate = { routers = 1, isolates = 50 }",
    );
    let report = report(&scenario, 5, PolicyName::Ours);
    assert_eq!(report["cold_rate"]["hits"], 50);
    assert_eq!(report["causes"], serde_json::json!({"first": 50}));
}

#[test]
fn a_killed_host_costs_its_workers_one_cold_start_each() {
    let scenario = scenario(
        "duration = \"10m\"\nworkers = { count = 100 }\nload = { rate = 100, arrivals = \"poisson\" }\n\
         simulate = { routers = 2, isolates = 100 }\n\
         [[events]]\nat = \"5m\"\naction = \"kill-host\"\nhost = \"host-1\"",
    );
    let report = report(&scenario, 4, PolicyName::Ours);
    let lost = report["causes"]["host_lost"].as_u64().unwrap();
    // A quarter of the workers lived there.
    assert!((10..=45).contains(&lost), "{}", report["causes"]);
    let event = &report["events"][0];
    assert_eq!((event["at_s"].as_f64(), event["what"].as_str()), (Some(300.0), Some("kill host-1")));
    assert!(event["recovered_after_s"].as_f64().unwrap() < 30.0, "{event}");
    assert!(
        report["requests"]["failed"].as_u64().unwrap() < 10,
        "only what was in flight: {}",
        report["errors"]
    );
}

#[test]
fn deploys_and_changes_of_the_membership_show() {
    let scenario = scenario(
        "duration = \"9m\"\nworkers = { count = 100 }\nload = { rate = 100, arrivals = \"poisson\" }\n\
         simulate = { routers = 2, isolates = 100 }\n\
         [[events]]\nat = \"2m\"\naction = \"deploy\"\n\
         [[events]]\nat = \"4m\"\naction = \"add-host\"\nhost = \"host-9\"\n\
         [[events]]\nat = \"6m\"\naction = \"drain-host\"\nhost = \"host-0\"",
    );
    let report = report(&scenario, 4, PolicyName::Ours);
    let count = |cause: &str| report["causes"][cause].as_u64().unwrap_or(0);
    assert_eq!(count("new_version"), 100, "{}", report["causes"]);
    assert!((20..=80).contains(&count("moved")), "a fifth moved, then a quarter: {}", report["causes"]);
    assert_eq!(report["requests"]["failed"], 0);
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let scenario = day("[[events]]\nat = \"1m\"\naction = \"run\"\ncommand = \"x\"");
    let fleet = Fleet::of(None, 2.try_into().ok(), &scenario).unwrap();
    let error = simulate(&scenario, &fleet, &[PolicyName::Ours]).unwrap_err();
    assert!(error.to_string().contains("`run x`"), "{error}");
}
