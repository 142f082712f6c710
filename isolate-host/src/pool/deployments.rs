//! Which version of a worker a request gets, and getting versions ready.
//!
//! A version is prepared once, however many ask for it. While a new one is being
//! prepared the old one goes on serving, so that a deploy makes nobody wait; when
//! it is ready, isolates of the old one are let go. Versions nobody has used for long
//! are dropped from memory when there are many, and prepared again when asked for.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::watch;
use warmshard_config::host_policy::memory::Pressure;
use warmshard_config::host_policy::prepared::{Drop, Entry, to_drop};
use warmshard_config::units::{DeploymentId, WorkerName};

use super::Runtime;
use super::isolates::Isolates;
use super::memory::Memory;
use super::telemetry::Telemetry;
use crate::isolate::BoxError;

/// How long a version that cannot be prepared is not tried again: each try reads all of it.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a worker cannot be served.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    #[error("no worker `{0}` is deployed")]
    Unknown(WorkerName),
    #[error("the store could not be read")]
    Store(#[source] Arc<BoxError>),
    #[error("the deployment `{}` cannot be restored", .id.short())]
    Prepare {
        id: DeploymentId,
        #[source]
        source: Arc<BoxError>,
    },
    #[error("preparing the deployment was broken off")]
    Broken,
}

/// A version that is ready.
pub struct Ready<P> {
    pub id: DeploymentId,
    pub prepared: Arc<P>,
}

impl<P> Clone for Ready<P> {
    fn clone(&self) -> Self {
        Self { id: self.id.clone(), prepared: Arc::clone(&self.prepared) }
    }
}

type Outcome<P> = Option<Result<Ready<P>, ResolveError>>;

/// What is known of one worker.
struct Versions<P> {
    serving: Option<Ready<P>>,
    /// When a request last got what is serving, or when that became ready.
    last_used: Instant,
    /// Dropped from memory for want of use: not prepared again ahead of need.
    dropped: Option<DeploymentId>,
    preparing: Option<(DeploymentId, watch::Receiver<Outcome<P>>)>,
    failed: Option<(DeploymentId, Instant, ResolveError)>,
}

impl<P> Versions<P> {
    fn let_go(&mut self) -> Option<Ready<P>> {
        let serving = self.serving.take()?;
        self.dropped = Some(serving.id.clone());
        Some(serving)
    }
}

impl<P> Default for Versions<P> {
    fn default() -> Self {
        Self { serving: None, last_used: Instant::now(), dropped: None, preparing: None, failed: None }
    }
}

/// What to do about a worker whose current version is known.
enum Step<P> {
    Serve(Ready<P>),
    Fail(ResolveError),
    /// Serves the old version, if there is one, while this is under way.
    Await(Option<Ready<P>>, watch::Receiver<Outcome<P>>),
}

/// Whether a request may be served by the version before the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Any,
    Current,
}

/// What is known of each worker.
type Known<P> = DashMap<WorkerName, Arc<Mutex<Versions<P>>>>;

fn lock<P>(versions: &Mutex<Versions<P>>) -> MutexGuard<'_, Versions<P>> {
    // Nothing panics half way through a change.
    versions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The prepared versions of a host's workers.
pub struct Deployments<R: Runtime> {
    /// How many versions are kept ready.
    limit: NonZeroUsize,
    runtime: Arc<R>,
    isolates: Arc<Isolates<R::Instance>>,
    telemetry: Arc<Telemetry>,
    memory: Arc<Memory>,
    workers: Known<R::Prepared>,
}

impl<R: Runtime> Deployments<R> {
    pub fn new(
        runtime: Arc<R>,
        isolates: Arc<Isolates<R::Instance>>,
        telemetry: Arc<Telemetry>,
        memory: Arc<Memory>,
        limit: NonZeroUsize,
    ) -> Arc<Self> {
        Arc::new(Self { limit, runtime, isolates, telemetry, memory, workers: DashMap::new() })
    }

    #[cfg(test)]
    pub(crate) fn runtime(&self) -> &Arc<R> {
        &self.runtime
    }

    /// Restores an isolate of a version.
    pub fn restore(
        &self,
        ready: &Ready<R::Prepared>,
    ) -> impl Future<Output = Result<R::Instance, BoxError>> + Send + use<R> {
        let (runtime, prepared) = (Arc::clone(&self.runtime), Arc::clone(&ready.prepared));
        async move { runtime.restore(&prepared).await }
    }

    /// The version a request to a worker gets.
    pub async fn resolve(self: &Arc<Self>, worker: &WorkerName) -> Result<Ready<R::Prepared>, ResolveError> {
        self.ready(worker, Version::Any).await
    }

    /// Gets the current version of a worker ready.
    pub async fn prepare(self: &Arc<Self>, worker: &WorkerName) -> Result<Ready<R::Prepared>, ResolveError> {
        self.ready(worker, Version::Current).await
    }

    /// Prepares the current version of every worker, one after the other, as far as there is room,
    /// and logs what came of it.
    pub async fn prepare_all(self: &Arc<Self>) {
        let workers = match self.runtime.workers() {
            Ok(workers) => workers,
            Err(error) => {
                tracing::error!(error = chain(&*error), "cannot list the workers of the store");
                return;
            }
        };
        for (worker, id) in workers {
            if !self.is_settled(&worker, &id) {
                // Told by whoever prepares it.
                let _ = self.prepare(&worker).await;
            }
        }
        self.drop_unused(Drop::AllBut(self.limit.get()));
    }

    /// Drops the version that has not been used for longest, if any can go. Says whether one did.
    pub fn drop_longest_unused(&self) -> bool {
        self.drop_unused(Drop::One) > 0
    }

    /// How many versions are ready.
    pub fn prepared(&self) -> usize {
        self.workers.iter().filter(|known| lock(known).serving.is_some()).count()
    }

    /// Drops versions that have not been used for longest, and says how many.
    fn drop_unused(&self, drop: Drop) -> usize {
        let live: Vec<_> = self.isolates.groups().into_iter().map(|group| group.worker).collect();
        let entry = |worker: &WorkerName, versions: &Mutex<Versions<R::Prepared>>| {
            let known = lock(versions);
            known.serving.as_ref()?;
            let in_use = known.preparing.is_some() || live.contains(worker);
            Some(Entry { key: worker.clone(), last_used: known.last_used, in_use })
        };
        let entries: Vec<_> =
            self.workers.iter().filter_map(|known| entry(known.key(), known.value())).collect();
        let ready = entries.len();
        let unused = to_drop(entries, drop);
        for worker in &unused {
            // Unmapping takes a while: not with anything locked.
            let versions = self.workers.get(worker).map(|versions| Arc::clone(&versions));
            let dropped = versions.and_then(|versions| lock(&versions).let_go());
            if let Some(ready) = &dropped {
                tracing::info!(%worker, deployment = ready.id.short(), "dropped what was prepared and not used");
            }
        }
        self.telemetry.prepared_dropped(unused.len());
        self.telemetry.prepared_now(ready - unused.len());
        unused.len()
    }

    async fn ready(
        self: &Arc<Self>,
        worker: &WorkerName,
        version: Version,
    ) -> Result<Ready<R::Prepared>, ResolveError> {
        let current = self.runtime.current(worker).map_err(|error| ResolveError::Store(Arc::new(error)))?;
        let Some(current) = current else {
            self.workers.remove(worker);
            return Err(ResolveError::Unknown(worker.clone()));
        };
        let mut outcome = match self.step(worker, &current) {
            Step::Serve(ready) => return Ok(ready),
            Step::Await(Some(old), _) if version == Version::Any => return Ok(old),
            Step::Fail(error) => return Err(error),
            Step::Await(_, outcome) => outcome,
        };
        let outcome = match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => (*outcome).clone(),
            Err(_) => None,
        };
        outcome.unwrap_or(Err(ResolveError::Broken))
    }

    fn step(self: &Arc<Self>, worker: &WorkerName, current: &DeploymentId) -> Step<R::Prepared> {
        // Cloned out at once: the map's shard is not kept locked.
        let versions = self.workers.get(worker).map(|versions| Arc::clone(&versions));
        let versions =
            versions.unwrap_or_else(|| Arc::clone(&self.workers.entry(worker.clone()).or_default()));
        let mut known = lock(&versions);
        known.last_used = Instant::now();
        if let Some(ready) = known.serving.as_ref().filter(|ready| ready.id == *current) {
            return Step::Serve(ready.clone());
        }
        if let Some((id, outcome)) = &known.preparing
            && id == current
        {
            return Step::Await(known.serving.clone(), outcome.clone());
        }
        if let Some((id, at, error)) = &known.failed
            && id == current
            && at.elapsed() < RETRY_AFTER
        {
            return known.serving.clone().map_or_else(|| Step::Fail(error.clone()), Step::Serve);
        }
        let (sender, outcome) = watch::channel(None);
        known.preparing = Some((current.clone(), outcome.clone()));
        let (this, versions) = (Arc::clone(self), Arc::clone(&versions));
        let (worker, id) = (worker.clone(), current.clone());
        tokio::spawn(async move { this.prepare_version(worker, id, &versions, sender).await });
        Step::Await(known.serving.clone(), outcome)
    }

    async fn prepare_version(
        &self,
        worker: WorkerName,
        id: DeploymentId,
        versions: &Mutex<Versions<R::Prepared>>,
        sender: watch::Sender<Outcome<R::Prepared>>,
    ) {
        let began = Instant::now();
        let made = self.runtime.prepare(&worker, &id, &self.telemetry).await;
        let outcome = made
            .map(|prepared| Ready { id: id.clone(), prepared: Arc::new(prepared) })
            .map_err(|source| ResolveError::Prepare { id: id.clone(), source: Arc::new(source) });
        let seconds = began.elapsed().as_secs_f64();
        {
            let mut known = lock(versions);
            // A newer version may have come up meanwhile: then this one is too late.
            let is_awaited = known.preparing.as_ref().is_some_and(|(awaited, _)| *awaited == id);
            if is_awaited {
                known.preparing = None;
            }
            match &outcome {
                Ok(ready) if is_awaited => {
                    (known.serving, known.failed, known.dropped) = (Some(ready.clone()), None, None);
                }
                Ok(_) => {}
                Err(error) => known.failed = Some((id.clone(), Instant::now(), error.clone())),
            }
        }
        match &outcome {
            Ok(_) => {
                tracing::info!(%worker, deployment = id.short(), seconds, "prepared");
                self.telemetry.prepared(began.elapsed());
                self.isolates.replace(&worker, &id);
                self.drop_unused(Drop::AllBut(self.limit.get()));
            }
            Err(error) => {
                tracing::error!(%worker, deployment = id.short(), seconds, error = chain(error), "cannot prepare");
                self.telemetry.prepare_failed();
            }
        }
        sender.send_replace(Some(outcome));
    }

    /// Whether there is nothing to be done ahead of need: this version is ready, or was found not to
    /// be usable (its content does not change, so only a request has it tried again), or was
    /// dropped, or there is no room for one more.
    fn is_settled(&self, worker: &WorkerName, id: &DeploymentId) -> bool {
        let versions = self.workers.get(worker).map(|versions| Arc::clone(&versions));
        let is_full = || self.memory.pressure() > Pressure::None || self.prepared() >= self.limit.get();
        let Some(versions) = versions else { return is_full() };
        let known = lock(&versions);
        if let Some(ready) = &known.serving {
            return ready.id == *id || known.failed.as_ref().is_some_and(|(failed, ..)| failed == id);
        }
        let is_failed = known.failed.as_ref().is_some_and(|(failed, ..)| failed == id);
        let is_dropped = known.dropped.is_some();
        drop(known);
        is_failed || is_dropped || is_full()
    }
}

/// An error with everything that caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // A transparent error repeats the text of its source.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
