//! `loadtest compare`: two reports, read and compared.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;

use crate::cli::CompareArgs;
use crate::{outcome, report};

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let comparison = report::compare(&read(&args.before)?, &read(&args.after)?)?;
    report::print(&comparison).context("cannot print the comparison")?;
    Ok(outcome::conclude(comparison.verdicts(&args.fail_if)))
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut report: Value =
        serde_json::from_slice(&text).with_context(|| format!("`{}` is not JSON", path.display()))?;
    // Of a simulation, the first policy.
    let first = report.get_mut("policies").and_then(|policies| policies.get_mut(0)).map(Value::take);
    Ok(first.unwrap_or(report))
}
