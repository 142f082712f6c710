//! A runtime without Python: deployments are a table, isolates answer at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;

use super::*;

/// What a fake isolate does with a request; the first argument is its isolate's number.
pub(crate) type Handler = Box<
    dyn Fn(usize, Request<RequestBody>) -> BoxFuture<Result<Response<ResponseBody>, GuestFault>>
        + Send
        + Sync,
>;
pub(crate) type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) struct FakeRuntime {
    pub(crate) current: Mutex<HashMap<WorkerName, DeploymentId>>,
    /// Each restore and each prepare takes a permit: tests decide when they end.
    pub(crate) restores: Semaphore,
    pub(crate) prepares: Semaphore,
    pub(crate) restored: AtomicUsize,
    pub(crate) prepared: AtomicUsize,
    pub(crate) closed: Arc<AtomicUsize>,
    pub(crate) broken: AtomicBool,
    pub(crate) memory: AtomicU64,
    pub(crate) handler: Arc<Handler>,
}

#[derive(Clone)]
pub(crate) struct FakeIsolate {
    pub(crate) number: usize,
    pub(crate) alive: Arc<AtomicBool>,
    closed: Arc<AtomicUsize>,
    handler: Arc<Handler>,
}

pub(crate) fn body(text: &'static str) -> ResponseBody {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn worker(name: &str) -> WorkerName {
    WorkerName::parse(name).unwrap()
}

pub(crate) fn version(number: u8) -> DeploymentId {
    DeploymentId::parse(&format!("{number:064x}")).unwrap()
}

impl FakeRuntime {
    /// The worker `hello` is deployed; nothing waits; requests are answered with `ok`.
    pub(crate) fn new() -> Self {
        Self::with_handler(Box::new(|_, _| Box::pin(async { Ok(Response::new(body("ok"))) })))
    }

    pub(crate) fn with_handler(handler: Handler) -> Self {
        Self {
            current: Mutex::new(HashMap::from([(worker("hello"), version(1))])),
            restores: Semaphore::new(1000),
            prepares: Semaphore::new(1000),
            restored: AtomicUsize::new(0),
            prepared: AtomicUsize::new(0),
            closed: Arc::default(),
            broken: AtomicBool::new(false),
            memory: AtomicU64::new(0),
            handler: Arc::new(handler),
        }
    }

    pub(crate) fn deploy(&self, name: &str, number: u8) {
        self.current.lock().unwrap().insert(worker(name), version(number));
    }
}

impl Runtime for FakeRuntime {
    type Prepared = DeploymentId;
    type Instance = FakeIsolate;

    fn current(&self, worker: &WorkerName) -> Result<Option<DeploymentId>, BoxError> {
        Ok(self.current.lock().unwrap().get(worker).cloned())
    }

    fn workers(&self) -> Result<Vec<(WorkerName, DeploymentId)>, BoxError> {
        Ok(self.current.lock().unwrap().iter().map(|(worker, id)| (worker.clone(), id.clone())).collect())
    }

    async fn prepare(
        &self,
        _worker: &WorkerName,
        id: &DeploymentId,
        _telemetry: &Telemetry,
    ) -> Result<DeploymentId, BoxError> {
        self.prepares.acquire().await?.forget();
        self.prepared.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err("the snapshot is damaged".into());
        }
        Ok(id.clone())
    }

    async fn restore(&self, _prepared: &Arc<DeploymentId>) -> Result<FakeIsolate, BoxError> {
        self.restores.acquire().await?.forget();
        if self.broken.load(Ordering::SeqCst) {
            return Err("no memory".into());
        }
        Ok(FakeIsolate {
            number: self.restored.fetch_add(1, Ordering::SeqCst),
            alive: Arc::new(AtomicBool::new(true)),
            closed: Arc::clone(&self.closed),
            handler: Arc::clone(&self.handler),
        })
    }

    fn memory_used(&self) -> io::Result<u64> {
        Ok(self.memory.load(Ordering::SeqCst))
    }

    fn let_go_of_spares(&self) {}
}

impl Instance for FakeIsolate {
    fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    fn close(&self) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }

    fn restore_time(&self) -> Duration {
        Duration::from_micros(1500)
    }

    async fn fetch(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, GuestFault> {
        let answered = (self.handler)(self.number, request).await;
        if matches!(answered, Err(GuestFault::Gone)) {
            self.alive.store(false, Ordering::SeqCst);
        }
        answered
    }
}
