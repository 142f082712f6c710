//! The simulator held against real processes: the same requests through both.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use system_tests::{Fleet, FleetOptions, example, store};

use crate::executable;
use crate::load::loadtest;

/// Each worker is deployed for itself, which takes a second or more; a store of their own keeps
/// them for the next time, and out of the way of other tests.
const WORKERS: usize = 24;
const HOSTS: u32 = 3;

fn workers() -> usize {
    std::env::var("WARMSHARD_VALIDATION_WORKERS").ok().and_then(|n| n.parse().ok()).unwrap_or(WORKERS)
}

/// Folders of workers that differ in their names.
fn variants(folder: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let original = example("hello");
    let variant = |n: usize| {
        let variant = folder.join(format!("variant-{n}"));
        std::fs::create_dir_all(variant.join("src"))?;
        for file in ["pyproject.toml", "requirements.lock", "src/entry.py"] {
            std::fs::copy(original.join(file), variant.join(file)).context(file)?;
        }
        let settings = std::fs::read_to_string(original.join("wrangler.jsonc"))?;
        let named = settings.replace("\"hello\"", &format!("\"variant-{n}\""));
        std::fs::write(variant.join("wrangler.jsonc"), named)?;
        Ok(variant)
    };
    (1..=count).map(variant).collect()
}

fn share(report: &Value, cause: &str) -> f64 {
    let hits = report["cold_rate"]["hits"].as_f64().unwrap_or(0.0).max(1.0);
    100.0 * report["causes"][cause].as_f64().unwrap_or(0.0) / hits
}

#[test]
fn simulated_and_real_cold_starts_agree() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let count = workers();
    // Slots for half of the workers.
    let isolates = count.div_ceil(2 * HOSTS as usize);
    let own_store = store().with_file_name("validation-store").display().to_string();
    let limits = format!("max_isolates = {isolates}\nrequests_per_isolate = 64");
    let options = FleetOptions {
        hosts: HOSTS,
        workers: &variants(folder.path(), count)?,
        embedded: &limits,
        environment: &[("WARMSHARD_STORE", &own_store)],
    };
    let fleet = Fleet::start(executable(), &options)?;

    let scenario = format!(
        "seed = 11\nduration = \"60s\"\nwarmup = \"15s\"\n\
         workers = {{ pattern = \"variant-{{n}}\", count = {count}, popularity = \"zipf\", exponent = 0.7 }}\n\
         load = {{ rate = 25, arrivals = \"poisson\" }}\n"
    );
    std::fs::write(file("scenario.toml"), scenario)?;
    let target = format!("http://{}", fleet.data());
    let real = loadtest(&["run", "--target", &target, "--scenario", &file("scenario.toml")])?;
    drop(fleet);

    let shard_file = format!(
        "[listen]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[[routes]]\nhost = \"{{worker}}.localhost\"\n\
         [embedded]\nhosts = {HOSTS}\n{limits}\n"
    );
    std::fs::write(file("shard.toml"), shard_file)?;
    let simulated = loadtest(&[
        "simulate",
        "--shard-file",
        &file("shard.toml"),
        "--scenario",
        &file("scenario.toml"),
        "--policies",
        "ours",
    ])?;
    let simulated = &simulated["policies"][0];
    // For whoever wants to look closer.
    let kept = store().with_file_name("validation-real.json");
    std::fs::write(&kept, real.to_string())?;

    let rate = |report: &Value, field: &str| report["cold_rate"][field].as_f64().context("no cold rate");
    let found = rate(simulated, "rate")?;
    let (low, high) = (rate(&real, "low")?, rate(&real, "high")?);
    let summary = format!(
        "real {} ({low} to {high}) of {}, causes {}; simulated {found}, causes {}",
        rate(&real, "rate")?,
        real["cold_rate"]["of"],
        real["causes"],
        simulated["causes"]
    );
    println!("{summary}");
    assert!((low..=high).contains(&found), "{summary}");
    assert!(rate(&real, "hits")? > 50.0, "too few to compare: {summary}");
    for cause in
        ["first", "evicted", "scale_out", "moved", "host_lost", "new_version", "misplaced", "unknown"]
    {
        let difference = (share(&real, cause) - share(simulated, cause)).abs();
        assert!(difference <= 5.0, "{cause} differs by {difference} points: {summary}");
    }
    Ok(())
}
