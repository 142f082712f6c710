//! One start of a native server process, from nothing to its first answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use http::{Request, Uri};

use super::child::{ChildGroup, Input};
use super::command::CommandLine;
use super::samples::Measured;
use crate::client::{self, Body, Failure};

/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum NativeError {
    #[error("cannot start `{command}`; it is run without a shell, from the current folder")]
    Start { command: String, source: io::Error },
    #[error("`{command}` ended before it answered on port {port}; its last lines:\n{last_words}")]
    Ended { command: String, port: u16, last_words: String },
    #[error(
        "`{command}` gave no successful answer on port {port} within {timeout:?} (last: {last}); its last lines:\n{last_words}"
    )]
    TimedOut { command: String, port: u16, timeout: Duration, last: Failure, last_words: String },
    #[error("found no free port")]
    Port(#[source] io::Error),
    #[error("found no place for the output of the native server")]
    Log(#[source] io::Error),
}

#[derive(Debug)]
pub(crate) struct NativeServer {
    pub(super) command: CommandLine,
    pub(super) path: Uri,
    pub(super) timeout: Duration,
}

impl NativeServer {
    /// From before the process is created to the last byte of its first successful answer;
    /// afterwards the process and its descendants are gone.
    pub(crate) async fn run(&mut self) -> Result<Measured, NativeError> {
        let folder = tempfile::tempdir().map_err(NativeError::Log)?;
        let address = free_address().map_err(NativeError::Port)?;
        let command = self.command.with_port(address.port());

        let begun = Instant::now();
        let child = ChildGroup::spawn(command, Input::Nothing, &folder.path().join("output"))
            .map_err(|source| NativeError::Start { command: self.text(), source })?;
        let body = self.first_answer(address, &child, begun + self.timeout).await?;
        let took = begun.elapsed();

        // Somebody else may have taken the port in between, and answered.
        if child.has_ended() {
            return Err(self.ended(address, &child));
        }
        Ok(Measured { took, restore: None, body })
    }

    async fn first_answer(
        &self,
        address: SocketAddr,
        child: &ChildGroup,
        deadline: Instant,
    ) -> Result<Vec<u8>, NativeError> {
        loop {
            let answer = client::once(address, self.request(address));
            let last = match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(Ok((reply, body))) if reply.status.is_success() => return Ok(body),
                Ok(Ok((reply, _))) => Failure::Status(reply.status.as_u16()),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Timeout,
            };
            if child.has_ended() {
                return Err(self.ended(address, child));
            }
            if Instant::now() >= deadline {
                return Err(NativeError::TimedOut {
                    command: self.text(),
                    port: address.port(),
                    timeout: self.timeout,
                    last,
                    last_words: child.last_words(20),
                });
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn request(&self, address: SocketAddr) -> Request<Body> {
        let mut request = Request::new(Body::default());
        *request.uri_mut() = self.path.clone();
        let host = address.to_string().parse().expect("an address is a valid header");
        request.headers_mut().insert(http::header::HOST, host);
        request
    }

    fn ended(&self, address: SocketAddr, child: &ChildGroup) -> NativeError {
        let last_words = child.last_words(20);
        NativeError::Ended { command: self.text(), port: address.port(), last_words }
    }

    fn text(&self) -> String {
        self.command.text().to_owned()
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(command: &str, timeout: Duration) -> NativeServer {
        NativeServer {
            command: CommandLine::parse(command).and_then(CommandLine::needing_port).unwrap(),
            path: Uri::from_static("/"),
            timeout,
        }
    }

    #[tokio::test]
    async fn a_server_that_ends_is_told_with_its_last_words() {
        let mut broken = server("sh -c 'echo port {port} is cursed; exit 3'", Duration::from_secs(20));
        let error = broken.run().await.unwrap_err();
        assert!(matches!(error, NativeError::Ended { .. }), "{error}");
        assert!(error.to_string().contains("is cursed"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let mut silent = server("sh -c 'echo thinking {port}; sleep 600'", Duration::from_millis(300));
        let error = silent.run().await.unwrap_err();
        assert!(matches!(error, NativeError::TimedOut { .. }), "{error}");
        assert!(error.to_string().contains("thinking"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_named() {
        let error = server("no-such-program {port}", Duration::from_secs(1)).run().await.unwrap_err();
        assert!(error.to_string().contains("`no-such-program {port}`"), "{error}");
    }
}
