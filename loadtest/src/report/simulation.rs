//! The report of `loadtest simulate`: each policy's, and all of them in one table.

use serde::Serialize;

use super::RunReport;
use super::table::Table;
use crate::scenario::Scenario;
use crate::simulate::Fleet;

#[derive(Debug, Serialize)]
pub struct SimulationReport {
    format: &'static str,
    hosts: usize,
    routers: u32,
    isolates: u32,
    requests_per_isolate: u32,
    workers: usize,
    policies: Vec<RunReport>,
}

impl SimulationReport {
    pub(crate) fn of(scenario: &Scenario, fleet: &Fleet, policies: Vec<RunReport>) -> Self {
        Self {
            format: "warmshard-simulation/1",
            hosts: fleet.members.len(),
            routers: scenario.simulated.routers,
            isolates: fleet.limits.isolates.get(),
            requests_per_isolate: fleet.limits.requests_per_isolate.get(),
            workers: scenario.workers.len(),
            policies,
        }
    }
}

impl std::fmt::Display for SimulationReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hosts, routers, isolates, requests_per_isolate, workers, policies, .. } = self;
        writeln!(
            f,
            "simulated: {hosts} hosts of {isolates} isolates ({requests_per_isolate} requests each), {routers} routers, \
             {workers} workers\n"
        )?;
        if let [only] = &policies[..] {
            return write!(f, "{only}");
        }
        let mut table =
            Table::new(["cold %", "low", "high", "cold starts", "busiest/mean", "p99 ms", "failed"]);
        for policy in policies {
            let percent = |rate: f64| format!("{:.4}", rate * 100.0);
            let [rate, low, high, hits] = match policy.cold_rate() {
                Some(cold) => {
                    [percent(cold.rate), percent(cold.low), percent(cold.high), cold.hits.to_string()]
                }
                None => ["", "", "", ""].map(str::to_owned),
            };
            let number =
                |number: Option<f64>| number.map_or("–".to_owned(), |number| format!("{number:.2}"));
            let balance = number(policy.busiest_over_mean());
            let p99 = number(policy.p99_ms());
            table.row(policy.target(), [rate, low, high, hits, balance, p99, policy.failed().to_string()]);
        }
        writeln!(f, "{table}")?;
        for policy in policies {
            let causes: Vec<String> =
                policy.causes().iter().map(|(cause, count)| format!("{cause} {count}")).collect();
            writeln!(f, "causes with {}: {}", policy.target(), causes.join(", "))?;
        }
        Ok(())
    }
}
