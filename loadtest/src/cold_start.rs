//! `loadtest cold-start`: what a request pays that finds no isolate of its worker, side by
//! side with what it takes to start a native server for it.
//!
//! One round: drop every isolate of the worker, rest, time one request over a new
//! connection; then rest, start the native server, time until its first answer, end it.

mod admin;
mod child;
mod command;
mod fleet;
mod forced;
mod native;
mod python_version;
mod samples;
mod worker_name;

use std::process::ExitCode;

use anyhow::Context;
use warmshard_config::units::WorkerName;

use crate::cli::ColdStartArgs;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::{self, ColdStartReport, Control};
pub(crate) use command::CommandLine;
use fleet::{Addresses, Fleet};
use forced::ForcedColdStart;
use native::NativeServer;
pub(crate) use samples::Samples;

pub(crate) async fn run(args: ColdStartArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let worker = worker_name::read(&args.worker)?;
    let mut native = args.versus.as_deref().map(|command| native_server(command, &args)).transpose()?;
    let control = control(&args, native.as_ref());

    let (fleet, addresses) = tokio::select! {
        fleet = reach_fleet(&args) => fleet?,
        () = interrupt.arrived() => anyhow::bail!("interrupted before the router was ready"),
    };
    let mut cold = forced_cold_start(&args, &worker, addresses);
    let mut samples = Samples::default();
    let mut interrupted = false;
    tokio::select! {
        result = measure(&args, &mut cold, native.as_mut(), &mut samples) => result?,
        // The future that holds a native server is dropped here, which ends it.
        () = interrupt.arrived() => interrupted = true,
    }
    if let Some(fleet) = fleet {
        fleet.stop().await;
    }

    let report = ColdStartReport::of(&args, &worker, &samples, control, interrupted);
    report::print(&report).context("cannot print the report")?;
    if let Some(path) = &args.json {
        report::write_json(path, &report)?;
    }
    Ok(if samples.cold().is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn native_server(command: &str, args: &ColdStartArgs) -> anyhow::Result<NativeServer> {
    let command = CommandLine::parse(command)
        .and_then(CommandLine::needing_port)
        .context("cannot use the --versus command")?;
    Ok(NativeServer { command, path: args.path.clone(), timeout: args.timeout })
}

fn control(args: &ColdStartArgs, native: Option<&NativeServer>) -> Option<Control> {
    let native = native?;
    let python = args.versus_python.clone().or_else(|| python_version::of(&native.command));
    Some(Control { command: args.versus.clone()?, python })
}

/// The fleet to measure: one of our own, which lives as long as it is held, or a running one.
async fn reach_fleet(args: &ColdStartArgs) -> anyhow::Result<(Option<Fleet>, Addresses)> {
    if let (Some(target), Some(admin)) = (&args.target, &args.admin) {
        let addresses = Addresses { data: target.resolve().await?, admin: admin.resolve().await? };
        return Ok((None, addresses));
    }
    let router = match &args.router {
        Some(command) => CommandLine::parse(command).context("cannot use the --router command")?,
        None => fleet::router_beside_us()?,
    };
    let fleet = Fleet::start(router, &args.worker, &args.host_pattern, args.ready_timeout).await?;
    let addresses = fleet.addresses();
    Ok((Some(fleet), addresses))
}

fn forced_cold_start(args: &ColdStartArgs, worker: &WorkerName, addresses: Addresses) -> ForcedColdStart {
    ForcedColdStart::new(
        addresses,
        worker.clone(),
        args.host_pattern.header(worker),
        args.path.clone(),
        args.timeout,
    )
}

/// Warm-up rounds, then the counted ones; whichever kind has more runs goes on alone.
async fn measure(
    args: &ColdStartArgs,
    cold: &mut ForcedColdStart,
    mut native: Option<&mut NativeServer>,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let runs = args.runs.get();
    let versus_runs = match native {
        Some(_) => args.versus_runs.unwrap_or(args.runs).get(),
        None => 0,
    };
    let kinds = 1 + usize::from(native.is_some());
    let mut progress = Progress::towards((args.warmup * kinds + runs + versus_runs) as u64);
    let mut done = 0;

    for round in 0..args.warmup + runs.max(versus_runs) {
        let counted = round.checked_sub(args.warmup);
        if counted.is_none_or(|index| index < runs) {
            cold.prepare().await?;
            tokio::time::sleep(args.pause).await;
            let measured = cold.run().await.with_context(|| at(round, args.warmup, "cold start"))?;
            samples.saw_cold(measured, counted);
            done += 1;
            progress.show(done, samples.summary());
        }
        if let Some(native) = &mut native
            && counted.is_none_or(|index| index < versus_runs)
        {
            tokio::time::sleep(args.pause).await;
            let measured = native.run().await.with_context(|| at(round, args.warmup, "native start"))?;
            samples.saw_native(measured, counted);
            done += 1;
            progress.show(done, samples.summary());
        }
    }
    Ok(())
}

fn at(round: usize, warmup: usize, what: &str) -> String {
    match round.checked_sub(warmup) {
        Some(index) => format!("{what} {} failed, the measurement is void", index + 1),
        None => format!("warm-up {what} {} failed, nothing was measured", round + 1),
    }
}
