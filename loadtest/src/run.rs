//! `loadtest run`: from the command line to the report.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use crate::cli::RunArgs;
use crate::client::{Body, Dial, Trust};
use crate::driver::{Ending, Plan, Requests, Run};
use crate::events::Conductor;
use crate::interrupt::Interrupt;
use crate::measure::milliseconds;
use crate::open_files::allow_connections;
use crate::outcome;
use crate::progress::{self, Progress};
use crate::report::{self, Circumstances, Generator, Happened, LATE_MS, RunReport};
use crate::scenario::Scenario;
use crate::target::parse_path;

pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let scenario = args.load.scenario()?.resolve()?;
    let conductor = Conductor::new(&scenario, args.admin.as_ref(), args.shard_file.as_deref()).await?;
    let run = Run::new(plan(&args, &scenario).await?);

    let progress = tokio::spawn(show_progress(Arc::clone(&run)));
    let events = tokio::spawn(conductor.conduct(run.start()));
    let ending = run.drive(interrupt.arrived()).await.context("cannot start the dispatcher's thread");
    progress.abort();
    // Its line is cleared once the task is gone; that it was aborted is no news.
    let _ = progress.await;

    let happened = match &ending {
        Ok(Ending::Finished) => events.await.unwrap_or_default(),
        _ => {
            events.abort();
            Vec::new()
        }
    };
    let report = report(&args, &scenario, &run, ending?, happened);
    report::print(&report).context("cannot print the report")?;
    let code = outcome::of(&report, &scenario_title(&args), &args.output)?;
    Ok(if report.every_request_failed() { ExitCode::FAILURE } else { code })
}

/// Whose certificates the target may show.
fn trust(args: &RunArgs) -> Trust<'_> {
    match &args.ca {
        Some(file) => Trust::Signed(file),
        None if args.insecure => Trust::Anybody,
        None => Trust::Machine,
    }
}

fn scenario_title(args: &RunArgs) -> String {
    let file = args.load.scenario.as_ref().and_then(|file| file.file_stem());
    file.map_or("Load test".to_owned(), |name| format!("Load test {}", name.to_string_lossy()))
}

pub(crate) async fn plan(args: &RunArgs, scenario: &Scenario) -> anyhow::Result<Plan> {
    let connections = args.connections;
    allow_connections(connections.get() as u64)?;
    let shape = &scenario.request;
    let path = match args.path.clone().or_else(|| shape.path.clone()) {
        Some(path) => path,
        None => parse_path(args.target.path())?,
    };
    let body = args.body.clone().map_or_else(|| shape.body.clone(), Into::into);
    let requests = Requests {
        method: args.method.clone().unwrap_or_else(|| shape.method.clone()),
        path,
        headers: shape.headers.clone(),
        body: Body::repeated(body, shape.chunks),
        connection: args.connection.unwrap_or(shape.connection),
        hosts: scenario.workers.iter().map(|worker| args.host_pattern.header(worker)).collect(),
    };
    let address = args.target.resolve().await?;
    let dial = if args.target.is_tls() { Dial::with_tls(address, trust(args))? } else { address.into() };
    Ok(Plan {
        dial,
        requests,
        schedule: scenario.schedule()?,
        connections,
        timeout: args.timeout,
        warmup: scenario.warmup,
        duration: scenario.duration,
    })
}

pub(crate) fn report(
    args: &RunArgs,
    scenario: &Scenario,
    run: &Run,
    ending: Ending,
    happened: Vec<Happened>,
) -> RunReport {
    let measure = run.measure();
    let generator = Generator {
        lag_ms: measure.lag(),
        late_ms: LATE_MS,
        queued: run.queued(),
        connections_opened: run.connections_opened(),
        connections_limit: args.connections.get(),
    };
    let circumstances = Circumstances {
        scenario,
        source: "run",
        target: args.target.to_string(),
        elapsed_s: run.elapsed().as_secs_f64(),
        interrupted: ending == Ending::Interrupted,
        planned: run.plan().schedule.len() as u64,
        dispatched: run.dispatched(),
        sees_evictions: false,
        hosts: None,
        happened,
        generator: Some(generator),
    };
    RunReport::of(circumstances, &measure)
}

async fn show_progress(run: Arc<Run>) {
    let mut line = Progress::towards(run.plan().schedule.len() as u64);
    let mut tick = tokio::time::interval(progress::EVERY);
    tick.tick().await;
    loop {
        tick.tick().await;
        let glance = run.measure().glance();
        let cold = match glance.succeeded {
            0 => 0.0,
            succeeded => 100.0 * glance.cold as f64 / succeeded as f64,
        };
        let warming = if run.elapsed() < run.plan().warmup { "warm-up, " } else { "" };
        line.show(
            run.dispatched(),
            format!(
                "{warming}{}/s, cold {cold:.3} %, p99 {:.1} ms, {} in flight, {} failed",
                glance.recent,
                milliseconds(glance.recent_p99),
                run.in_flight(),
                glance.failed,
            ),
        );
    }
}
