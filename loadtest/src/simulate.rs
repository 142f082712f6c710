//! `loadtest simulate`: a load through a fleet that does not exist.
//!
//! ```text
//! arrivals ──▶ router (drawn) ──policy──▶ host ──pool──▶ use │ wait │ restore │ refuse
//!                 ▲                                              │
//!                 └───────────── agenda: restored, finished ◀────┘   (virtual time)
//! ```
//!
//! Placement, width, bound, health, causes, pool and eviction are those of `config/`, unchanged:
//! what is made up here is time, chance and who talks to whom. Not simulated are processors: a
//! request takes as long on a busy host as on an idle one.

mod agenda;
mod clairvoyant;
mod fleet;
mod host;
mod policy;
mod router;
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context;

use crate::cli::SimulateArgs;
use crate::outcome;
use crate::report::{self, RunReport, SimulationReport};
use crate::scenario::Scenario;

pub use policy::PolicyName;

pub(crate) use fleet::Fleet;

pub(crate) fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let scenario = args.load.scenario()?.resolve()?;
    let fleet = Fleet::of(args.shard_file.as_deref(), args.hosts, &scenario)?;
    let policies = if args.policies.is_empty() { PolicyName::ALL.to_vec() } else { args.policies.clone() };
    let began = Instant::now();
    let reports = simulate(&scenario, &fleet, &policies)?;
    let report = SimulationReport::of(&scenario, &fleet, reports);
    report::print(&report).context("cannot print the report")?;
    eprintln!("simulated in {:.1} s", began.elapsed().as_secs_f64());
    outcome::of(&report, "Simulation", &args.output)
}

/// One report for each policy, in their order; the same load and luck for all of them.
pub(crate) fn simulate(
    scenario: &Scenario,
    fleet: &Fleet,
    policies: &[PolicyName],
) -> anyhow::Result<Vec<RunReport>> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<anyhow::Result<RunReport>>>> =
        policies.iter().map(|_| Mutex::new(None)).collect();
    let threads = std::thread::available_parallelism().map_or(1, Into::into).min(policies.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&policy) = policies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let index = policies.iter().position(|&other| other == policy).unwrap_or(0);
                    eprintln!("simulating `{policy}`");
                    let report = simulate_one(scenario, fleet, policy);
                    if let Ok(mut place) = done[index].lock() {
                        *place = Some(report);
                    }
                }
            });
        }
    });
    let report = |place: Mutex<Option<anyhow::Result<RunReport>>>| {
        place.into_inner().ok().flatten().context("a simulation was given up")?
    };
    done.into_iter().map(report).collect()
}

fn simulate_one(scenario: &Scenario, fleet: &Fleet, policy: PolicyName) -> anyhow::Result<RunReport> {
    match policy {
        PolicyName::Clairvoyant => clairvoyant::run(scenario, fleet),
        _ => world::run(scenario, fleet, policy),
    }
}

#[cfg(test)]
mod tests;
