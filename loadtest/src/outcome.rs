//! What a report comes to: the files it is written to, and the exit code.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::OutputArgs;
use crate::report;

/// A `--fail-if` condition holds.
const FAILED_CONDITION: u8 = 3;
/// `--strict`, and the run is not valid.
const INVALID: u8 = 4;

/// Writes what was asked for and says how the program ends.
pub(crate) fn of(report: &impl Serialize, title: &str, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    if let Some(path) = &output.json {
        report::write_json(path, report)?;
    }
    let value = serde_json::to_value(report)?;
    if let Some(path) = &output.html {
        report::write_html(path, title, &value)?;
    }
    // Of a comparison of policies, the first one.
    let judged = value.get("policies").map_or(&value, |policies| &policies[0]);
    let verdicts = output.fail_if.iter().filter_map(|condition| condition.verdict(judged));
    let code = conclude(verdicts);
    if code == ExitCode::SUCCESS && output.strict && judged["valid"] == serde_json::Value::Bool(false) {
        eprintln!("loadtest: the run is not valid");
        return Ok(ExitCode::from(INVALID));
    }
    Ok(code)
}

/// Tells each verdict; any of them is a failure.
pub(crate) fn conclude(verdicts: impl IntoIterator<Item = String>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for verdict in verdicts {
        eprintln!("loadtest: {verdict}");
        code = ExitCode::from(FAILED_CONDITION);
    }
    code
}
