//! One forced cold start, over HTTP and through the router.

use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Uri};
use warmshard_config::units::WorkerName;
use warmshard_config::wire::StartKind;

use super::admin::{self, EvictError};
use super::fleet::Addresses;
use super::samples::Measured;
use crate::client::{self, Body, Failure};

/// How long the isolate of the run before may take to become idle, and so evictable.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ColdStartError {
    #[error("the router at {router} gave no answer for `{worker}`")]
    NoAnswer { router: std::net::SocketAddr, worker: WorkerName, source: Failure },
    #[error(
        "`{worker}` answered with {status} `{body}`, expected 200; mend the worker or choose another --path"
    )]
    Status { worker: WorkerName, status: u16, body: String },
    #[error(
        "the answer says it started `{found}`, expected `cold`: an isolate of `{worker}` was there although all had been \
         evicted; measure a fleet that nobody else sends requests to"
    )]
    NotCold { worker: WorkerName, found: StartKind },
    #[error("the answer does not say how it started, expected the header `{header}`; is this a warmshard router?", header = warmshard_config::wire::START)]
    NotSaid,
}

#[derive(Debug)]
pub(crate) struct ForcedColdStart {
    addresses: Addresses,
    worker: WorkerName,
    request: Request<Body>,
    timeout: Duration,
    /// The run before left an isolate behind.
    isolate_expected: bool,
}

impl ForcedColdStart {
    pub(super) fn new(
        addresses: Addresses,
        worker: WorkerName,
        host: HeaderValue,
        path: Uri,
        timeout: Duration,
    ) -> Self {
        let mut request = Request::new(Body::default());
        *request.uri_mut() = path;
        request.headers_mut().insert(http::header::HOST, host);
        Self { addresses, worker, request, timeout, isolate_expected: false }
    }

    /// Leaves no isolate of the worker. Only idle ones can be evicted, and the one that just
    /// answered may still be tidying up, so this is tried until it is gone. Should it never
    /// come to that, the next answer will not say `cold` and the measurement ends.
    pub(crate) async fn prepare(&mut self) -> Result<(), EvictError> {
        let deadline = Instant::now() + SETTLES_WITHIN;
        let mut evicted = admin::evict(self.addresses.admin, &self.worker).await?;
        while self.isolate_expected && evicted == 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
            evicted = admin::evict(self.addresses.admin, &self.worker).await?;
        }
        Ok(())
    }

    /// From before connecting to the last byte of the answer.
    pub(crate) async fn run(&mut self) -> Result<Measured, ColdStartError> {
        let router = self.addresses.data;
        let request = self.request.clone();
        let begun = Instant::now();
        let answer = tokio::time::timeout(self.timeout, client::once(router, request)).await;
        let took = begun.elapsed();

        let (reply, body) = answer
            .unwrap_or(Err(Failure::Timeout))
            .map_err(|source| ColdStartError::NoAnswer { router, worker: self.worker.clone(), source })?;
        if reply.status != http::StatusCode::OK {
            let body = String::from_utf8_lossy(&body[..body.len().min(500)]).trim().to_owned();
            let status = reply.status.as_u16();
            return Err(ColdStartError::Status { worker: self.worker.clone(), status, body });
        }
        match reply.start {
            Some(StartKind::Cold) => {}
            Some(found) => {
                return Err(ColdStartError::NotCold { worker: self.worker.clone(), found });
            }
            None => return Err(ColdStartError::NotSaid),
        }
        self.isolate_expected = true;
        Ok(Measured { took, restore: reply.restore, body })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::test_server::{Answer, TestServer};

    async fn against(data: &TestServer, admin: &TestServer) -> ForcedColdStart {
        ForcedColdStart::new(
            Addresses { data: data.address(), admin: admin.address() },
            WorkerName::parse("hello").unwrap(),
            HeaderValue::from_static("hello.localhost"),
            Uri::from_static("/"),
            Duration::from_secs(20),
        )
    }

    fn cold() -> Answer {
        Answer::ok("hello").header("x-warmshard-start", "cold").header("x-warmshard-restore-us", "700")
    }

    #[tokio::test]
    async fn each_run_evicts_first_and_uses_a_connection_of_its_own() {
        let evictions = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&evictions);
        let admin = TestServer::answering(move |request| {
            assert_eq!(
                (request.method().as_str(), request.uri().to_string().as_str()),
                ("POST", "/evict?worker=hello")
            );
            // Still busy the first time it is asked after each run.
            match counted.fetch_add(1, Ordering::Relaxed) % 2 {
                0 => Answer::ok("{\"evicted\":0}"),
                _ => Answer::ok("{\"evicted\":1}"),
            }
        })
        .await;
        let data = TestServer::answering(|request| {
            assert_eq!(request.headers()["host"], "hello.localhost");
            cold()
        })
        .await;
        let mut start = against(&data, &admin).await;
        for _ in 0..3 {
            start.prepare().await.unwrap();
            let measured = start.run().await.unwrap();
            assert_eq!(measured.restore, Some(Duration::from_micros(700)));
            assert_eq!(measured.body, b"hello");
        }
        // Before the first run there is nothing to wait for: one eviction; then two per run.
        assert_eq!(evictions.load(Ordering::Relaxed), 1 + 1 + 2);
        assert_eq!(data.connections(), 3);
    }

    #[tokio::test]
    async fn anything_but_a_cold_start_voids_the_measurement() {
        let admin = TestServer::answering(|_| Answer::ok("{\"evicted\":1}")).await;
        let outcome = async |answer: fn() -> Answer| {
            let data = TestServer::answering(move |_| answer()).await;
            against(&data, &admin).await.run().await.unwrap_err().to_string()
        };
        assert!(
            outcome(|| cold().header("x-warmshard-start", "warm")).await.contains("`warm`, expected `cold`")
        );
        assert!(
            outcome(|| cold().header("x-warmshard-start", "spare"))
                .await
                .contains("`spare`, expected `cold`")
        );
        assert!(outcome(|| cold().status(500)).await.contains("500 `hello`, expected 200"));
        assert!(outcome(|| Answer::ok("")).await.contains("x-warmshard-start"));
    }

    #[tokio::test]
    async fn an_eviction_that_fails_is_told_in_full() {
        let data = TestServer::answering(|_| cold()).await;
        let admin = TestServer::answering(|_| Answer::ok("no such worker").status(404)).await;
        let error = against(&data, &admin).await.prepare().await.unwrap_err();
        assert!(error.to_string().contains("404 `no such worker`, expected 200"), "{error}");
        let admin = TestServer::answering(|_| Answer::ok("done")).await;
        let error = against(&data, &admin).await.prepare().await.unwrap_err();
        assert!(error.to_string().contains("`done`, expected {\"evicted\":N}"), "{error}");
    }
}
