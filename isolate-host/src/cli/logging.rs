//! Logs to standard error, as the environment asks.

use tracing_subscriber::EnvFilter;

/// Names what is logged, in the form of `tracing`'s filters.
const FILTER: &str = "WARMSHARD_LOG";
const FORMAT: &str = "WARMSHARD_LOG_FORMAT";

/// Starts logging; `default` is what is logged when the environment says nothing.
pub(super) fn start(default: &str) {
    let asked = std::env::var(FILTER).ok().filter(|filter| !filter.is_empty());
    let (filter, problem) = match EnvFilter::try_new(asked.as_deref().unwrap_or(default)) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(default), Some(error)),
    };
    let to_stderr = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in tests that run commands in one process, changes nothing.
    let _ = if std::env::var(FORMAT).is_ok_and(|format| format == "json") {
        to_stderr.json().try_init()
    } else {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        to_stderr.with_ansi(is_terminal).try_init()
    };
    if let Some(error) = problem {
        tracing::warn!(%error, "cannot understand `{FILTER}`; logging `{default}`");
    }
}
