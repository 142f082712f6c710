//! `loadtest run`: from the command line to the report.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use http::Uri;

use crate::cli::RunArgs;
use crate::driver::{Plan, Requests, Run};
use crate::interrupt::Interrupt;
use crate::measure::milliseconds;
use crate::open_files::allow_connections;
use crate::progress::{self, Progress};
use crate::report;
use crate::schedule::{Load, Schedule};
use crate::target::parse_path;

pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let run = Run::new(plan(&args).await?);

    let progress = tokio::spawn(show_progress(Arc::clone(&run)));
    let ending = run.drive(interrupt.arrived()).await.context("cannot start the dispatcher's thread");
    progress.abort();
    // Its line is cleared once the task is gone; that it was aborted is no news.
    let _ = progress.await;

    let report = report::RunReport::of(&args, &run, ending?);
    report::print(&report).context("cannot print the report")?;
    if let Some(path) = &args.json {
        report::write_json(path, &report)?;
    }
    Ok(if report.every_request_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(crate) async fn plan(args: &RunArgs) -> anyhow::Result<Plan> {
    let connections = args.connections;
    allow_connections(connections.get() as u64)?;
    let schedule = Schedule::plan(&Load {
        rate: args.rate,
        duration: args.duration,
        arrivals: args.arrivals,
        workers: args.workers.len().try_into().context("found no worker, expected --workers NAME,…")?,
        seed: args.seed,
    })?;
    let requests = Requests {
        method: args.method.clone(),
        path: path(args)?,
        body: args.body.clone(),
        hosts: args.workers.iter().map(|worker| args.host_pattern.header(worker)).collect(),
    };
    let address = args.target.resolve().await?;
    Ok(Plan { address, requests, schedule, connections, timeout: args.timeout })
}

fn path(args: &RunArgs) -> anyhow::Result<Uri> {
    match &args.path {
        Some(path) => Ok(path.clone()),
        None => Ok(parse_path(args.target.path())?),
    }
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
        line.show(
            run.dispatched(),
            format!(
                "{}/s, cold {cold:.3} %, p99 {:.1} ms, {} in flight, {} failed",
                glance.recent,
                milliseconds(glance.recent_p99),
                run.in_flight(),
                glance.failed,
            ),
        );
    }
}
