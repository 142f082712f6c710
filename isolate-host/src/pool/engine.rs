//! The real runtime: the engine, with the deployments of a store.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use warmshard_config::units::{DeploymentId, WorkerName};

use super::{Instance, Runtime};
use crate::isolate::{BoxError, Engine, GuestFault, Isolate, Prepared, RequestBody, ResponseBody};
use crate::store::Store;

/// Restores what a store holds.
pub struct EngineRuntime {
    engine: Arc<Engine>,
    store: Arc<Store>,
}

impl EngineRuntime {
    pub fn new(engine: Arc<Engine>, store: Arc<Store>) -> Self {
        Self { engine, store }
    }
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

    async fn prepare(&self, worker: &WorkerName, id: &DeploymentId) -> Result<Arc<Prepared>, BoxError> {
        let (store, worker, id) = (Arc::clone(&self.store), worker.clone(), id.clone());
        // Reading and hashing tens of megabytes: not on threads that serve.
        let stored = tokio::task::spawn_blocking(move || store.load(&worker, &id)).await??;
        Ok(self.engine.prepare(&stored).await?)
    }

    async fn restore(&self, prepared: &Arc<Arc<Prepared>>) -> Result<Isolate, BoxError> {
        let prepared: &Arc<Prepared> = prepared;
        Ok(prepared.restore().await?)
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
