//! Logs to stderr: `WARMSHARD_LOG` filters them, `WARMSHARD_LOG_FORMAT=json` makes
//! each line a JSON object.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// pingora logs every failed request once more in its own words; the access log
/// has it already, with the worker and the reason.
const QUIET: &str = "pingora_proxy=off,pingora_core=warn";

/// Starts logging. A second call in one process changes nothing.
pub(crate) fn start_logging() {
    let asked = std::env::var("WARMSHARD_LOG").unwrap_or_default();
    let wanted = if asked.trim().is_empty() { "info" } else { asked.trim() };
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}"));
    let refused = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(format!("{QUIET},info")));
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::env::var("WARMSHARD_LOG_FORMAT").is_ok_and(|format| format == "json") {
        format.json().flatten_event(true).finish().try_init()
    } else {
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        format.with_ansi(colours).finish().try_init()
    };
    if let (Ok(()), Some(why)) = (started, refused) {
        tracing::warn!(
            "found `{asked}` in WARMSHARD_LOG, expected a filter as `info` or `router=debug` ({why})"
        );
    }
}
