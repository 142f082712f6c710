//! Ctrl-C and `kill`: noticed, so that the report so far is printed and no child is left.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Debug)]
pub(crate) struct Interrupt {
    terminal: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupt {
    /// From here on these signals no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminal: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when the first of them arrives.
    pub(crate) async fn arrived(&mut self) {
        tokio::select! {
            _ = self.terminal.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
