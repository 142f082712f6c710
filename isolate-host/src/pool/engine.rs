//! The real runtime: the engine, with the deployments of a store.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use warmshard_config::units::{DeploymentId, WorkerName};

use super::capture_again::{Attempts, SnapshotRefusal};
use super::{Instance, Runtime, Telemetry, chain};
use crate::isolate::{
    BoxError, CaptureInput, Engine, GuestFault, Isolate, Prepared, RequestBody, ResponseBody,
    StoredDeployment,
};
use crate::machine;
use crate::progress::ToLog;
use crate::pyodide::fingerprint;
use crate::store::{DeploymentRecord, Store};

/// Restores what a store holds.
pub struct EngineRuntime {
    engine: Arc<Engine>,
    store: Arc<Store>,
    attempts: Attempts,
}

impl EngineRuntime {
    pub fn new(engine: Arc<Engine>, store: Arc<Store>) -> Self {
        Self { engine, store, attempts: Attempts::default() }
    }

    /// Prepares a version from the snapshot the store has for this runtime.
    async fn prepare_stored(
        &self,
        input: &CaptureInput,
        record: &DeploymentRecord,
    ) -> Result<Arc<Prepared>, BoxError> {
        let (store, record) = (Arc::clone(&self.store), record.clone());
        let snapshot = blocking(move || store.snapshot(&record, &fingerprint())).await??;
        let CaptureInput { worker, deployment: id, config, files, .. } = input.clone();
        let stored = StoredDeployment { worker, id, config, files, snapshot };
        Ok(self.engine.prepare(&stored).await?)
    }

    /// Runs a deployment's top level again and keeps the snapshot for this runtime.
    async fn capture_again(
        &self,
        input: CaptureInput,
        record: DeploymentRecord,
    ) -> Result<Arc<Prepared>, BoxError> {
        // Another host on this store may be doing the same, or a deploy.
        let (store, worker) = (Arc::clone(&self.store), input.worker.clone());
        let lock = blocking(move || store.lock(&worker, &ToLog)).await??;
        if let Ok(prepared) = self.prepare_stored(&input, &record).await {
            return Ok(prepared);
        }
        let captured = self.engine.capture(input.clone(), &ToLog).await?;
        let (store, kept) = (Arc::clone(&self.store), record.clone());
        blocking(move || store.keep_snapshot(&kept, &fingerprint(), &captured.file, &lock)).await??;
        self.prepare_stored(&input, &record).await
    }
}

/// Reading and hashing tens of megabytes, waiting for a lock: not on threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BoxError> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

impl Runtime for EngineRuntime {
    type Prepared = Arc<Prepared>;
    type Instance = Isolate;

    fn current(&self, worker: &WorkerName) -> Result<Option<DeploymentId>, BoxError> {
        Ok(self.store.current(worker)?)
    }

    fn workers(&self) -> Result<Vec<(WorkerName, DeploymentId)>, BoxError> {
        Ok(self.store.workers()?)
    }

    async fn prepare(
        &self,
        worker: &WorkerName,
        id: &DeploymentId,
        telemetry: &Telemetry,
    ) -> Result<Arc<Prepared>, BoxError> {
        let (store, name, version) = (Arc::clone(&self.store), worker.clone(), id.clone());
        let (input, record) = blocking(move || store.source(&name, &version)).await??;
        let refused = match self.prepare_stored(&input, &record).await {
            Ok(prepared) => return Ok(prepared),
            Err(error) => error,
        };
        let Some(reason) = SnapshotRefusal::of(&refused) else { return Err(refused) };
        telemetry.snapshot_refused(reason);
        if !self.attempts.take(id, Instant::now()) {
            return Err(refused);
        }
        let (deployment, reason) = (id.short(), reason.as_str());
        tracing::warn!(%worker, deployment, reason, error = chain(&*refused), "the snapshot is refused; capturing the deployment again");
        let captured = self.capture_again(input, record).await;
        telemetry.captured_again(captured.is_ok());
        captured
    }

    async fn restore(&self, prepared: &Arc<Arc<Prepared>>) -> Result<Isolate, BoxError> {
        let prepared: &Arc<Prepared> = prepared;
        Ok(prepared.restore().await?)
    }

    fn memory_used(&self) -> io::Result<u64> {
        Ok(machine::memory_taken()? + self.engine.mapped())
    }

    fn let_go_of_spares(&self) {
        self.engine.let_go_of_parked();
    }
}

impl Instance for Isolate {
    fn is_alive(&self) -> bool {
        Isolate::is_alive(self)
    }

    fn close(&self) {
        Isolate::close(self);
    }

    fn restore_time(&self) -> Duration {
        Isolate::restore_time(self)
    }

    async fn fetch(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, GuestFault> {
        Isolate::fetch(self, request).await
    }
}
