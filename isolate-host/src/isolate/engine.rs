//! The engine: compiled Pyodide, the guest threads, and the two ways to an isolate.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::runtime::Handle;
use wasmtime::Store;

use super::exchange::{Exchange, Report};
use super::fault::GuestFault;
use super::guest::{Guest, GuestSetup, Libraries, Phase};
use super::limits::{CpuMeter, Limits};
use super::marshal::Value;
use super::parking::Parking;
use super::prepared::{PrepareError, Prepared};
use super::program::Program;
use super::{CaptureInput, StoredDeployment};
use crate::cache::CacheDir;
use crate::emscripten::clock::Clock;
use crate::emscripten::entropy::Entropy;
use crate::emscripten::files::{FileSystem, Layer, LayerError};
use crate::emscripten::output::Output;
use crate::linker::library::{Library, LibraryError};
use crate::progress::{Progress, ToLog};
use crate::pyodide::engine::EPOCH_TICK;
use crate::pyodide::runtime::{self, RuntimeError};
use crate::pyodide::{boot, code_cache::CompileError, heap};
use crate::secrets::SecretsFolder;
use crate::snapshot::check::check_fit;
use crate::snapshot::format::Snapshot;
use crate::snapshot::image::memory_module;
use crate::snapshot::restore::{Parked, Plan, PlanError};
use crate::snapshot::surroundings::Surroundings;
use crate::snapshot::{capture, manifest::Mismatch};

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    pub limits: Limits,
    /// Ended isolates kept to be used again.
    pub parked: usize,
    /// Told to workers in their environment.
    pub host_id: String,
    pub objects: Objects,
    /// Where the values of workers' secrets are; without it they have none.
    pub secrets: Option<SecretsFolder>,
}

/// What becomes of the reference counts of a snapshot's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Objects {
    /// They are not kept: what a snapshot holds lives as long as the isolate.
    #[default]
    Immortal,
    /// They stay as CPython has them. For comparison.
    Counted,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            parked: 0,
            host_id: "local".to_owned(),
            objects: Objects::default(),
            secrets: None,
        }
    }
}

/// A finished snapshot that is in no store yet.
#[derive(Debug)]
pub struct SnapshotFile {
    /// Has no name: nothing is left of it when the process is killed.
    pub file: std::fs::File,
    pub entrypoints: Vec<String>,
}

/// Why a worker could not be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The worker's own top level raised.
    #[error("the worker's top level raised {error}")]
    TopLevel { error: String, traceback: String },
    #[error("the worker's top level failed")]
    Guest(#[from] GuestFault),
    /// It may well be that which ended it: in Rust a refused hash seed is a crash.
    #[error(
        "the worker's top level failed after it had asked for random bytes {refused} times, which are not \
         to be had there; import what draws them while a request is handled"
    )]
    Entropy { refused: u32, source: GuestFault },
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error("the worker's files cannot be used")]
    Files(#[from] LayerError),
    #[error(transparent)]
    Capture(#[from] capture::CaptureError),
    #[error("Python did not start: {0}")]
    Boot(String),
    #[error("the platform reported nothing after the top level")]
    NoReport,
    #[error("the host is shutting down")]
    Stopping,
}

/// One per process: the compiled runtime, and the threads guests run on.
pub struct Engine {
    program: Arc<Program>,
    options: EngineOptions,
    guests: Handle,
    stopping: Arc<AtomicBool>,
    parking: Parking<Parked>,
    next_key: AtomicU64,
    /// Bytes of the images of what is prepared.
    images: AtomicU64,
}

impl Engine {
    /// Installs the runtime if needed. Guests run on the threads of `guests`. Blocks; see `runtime::install`.
    pub fn open(
        cache: &CacheDir,
        options: EngineOptions,
        guests: Handle,
        progress: &dyn Progress,
    ) -> Result<Arc<Self>, RuntimeError> {
        let runtime = runtime::install(cache, progress)?;
        let program = Program::new(runtime).map_err(|error| RuntimeError::Engine(format!("{error:#}")))?;
        let stopping = Arc::new(AtomicBool::new(false));
        tick(program.engine().clone(), stopping.clone());
        let parking = Parking::new(options.parked);
        let (next_key, images) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Arc::new(Self { program, options, guests, stopping, parking, next_key, images }))
    }

    pub fn limits(&self) -> Limits {
        self.options.limits
    }

    pub(super) fn parking(&self) -> &Parking<Parked> {
        &self.parking
    }

    /// Drops every ended isolate that is kept to be used again.
    pub fn let_go_of_parked(&self) {
        self.parking.clear();
    }

    /// Bytes of files in memory that this engine maps: machine code, and images of what is prepared.
    pub fn mapped(&self) -> u64 {
        self.program.runtime().code.mapped() + self.images.load(Ordering::Relaxed)
    }

    pub(super) fn images(&self) -> &AtomicU64 {
        &self.images
    }

    pub(super) fn guests(&self) -> &Handle {
        &self.guests
    }

    /// Makes a deployment of the store ready: verifies, compiles what is not compiled, maps.
    pub async fn prepare(
        self: &Arc<Self>,
        deployment: &StoredDeployment,
    ) -> Result<Arc<Prepared>, PrepareError> {
        let (engine, deployment) = (self.clone(), deployment.clone());
        // Hashing and compiling block: not on threads that serve.
        let made = tokio::task::spawn_blocking(move || engine.prepare_here(deployment));
        made.await.map_err(|_| PrepareError::Stopping)?
    }

    fn prepare_here(self: Arc<Self>, deployment: StoredDeployment) -> Result<Arc<Prepared>, PrepareError> {
        let snapshot = Snapshot::read(&deployment.snapshot)?;
        let libraries = self.open_libraries(&deployment.files, &ToLog)?;
        let here = Surroundings::of(&self.program, &deployment.worker, &deployment.id, &libraries);
        check_fit(&snapshot.manifest, &here)?;
        let code = &self.program.runtime().code;
        let key =
            crate::pyodide::code_cache::content_key(format!("image {}", snapshot.image_hash).as_bytes());
        let name = format!("the memory image of {}", deployment.worker);
        let memory =
            code.module(&name, &key, &ToLog, || Ok::<_, CompileError>(memory_module(&snapshot.image)))?;
        // The plan keeps it alive: the cache need not.
        code.forget(&key);
        let layers = self.layers(&deployment.files)?;
        let Snapshot { manifest, files, .. } = snapshot;
        let plan = Plan::new(self.program.clone(), manifest, files, memory, layers, libraries)?;
        let vars = vars(&deployment.config);
        let folder = self.options.secrets.as_ref();
        let secrets = folder.map(|folder| folder.of(&deployment.worker, &deployment.config.secrets));
        let secrets = secrets.unwrap_or_default();
        let config = config_value(&deployment.worker, &deployment.config, "serving");
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        self.images.fetch_add(plan.mapped(), Ordering::Relaxed);
        Ok(Arc::new(Prepared { engine: self, deployment, plan, vars, secrets, config, key }))
    }

    /// Boots Python, runs the worker's top level and takes a snapshot.
    pub async fn capture(
        self: &Arc<Self>,
        input: CaptureInput,
        progress: &dyn Progress,
    ) -> Result<SnapshotFile, CaptureError> {
        let libraries = self.open_libraries(&input.files, progress)?;
        let step = progress.step(&format!("run the top level of `{}`", input.worker));
        let engine = self.clone();
        let captured = self.guests().spawn(async move { engine.capture_here(input, libraries).await });
        let captured = captured.await.map_err(|_| CaptureError::Stopping)??;
        step.done();
        Ok(captured)
    }

    async fn capture_here(
        &self,
        input: CaptureInput,
        libraries: Libraries,
    ) -> Result<SnapshotFile, CaptureError> {
        let mut store = self.boot(&input, libraries).await?;
        let guest_failed = |error: wasmtime::Error| CaptureError::from(GuestFault::from_error(&error));
        boot::run(&mut store, "import warmshard_runtime; warmshard_runtime.boot(); warmshard_runtime.load()")
            .await
            .map_err(|error| match (GuestFault::from_error(&error), store.data().entropy.refused()) {
                (fault, 0) => CaptureError::from(fault),
                (source, refused) => CaptureError::Entropy { refused, source },
            })?;
        let report: Report = store.data_mut().exchange.report.take().ok_or(CaptureError::NoReport)?;
        if let Some(error) = report.error {
            return Err(CaptureError::TopLevel { error, traceback: report.traceback });
        }
        boot::run(&mut store, "warmshard_runtime.warm_up(); import warmshard_runtime.immortal")
            .await
            .map_err(guest_failed)?;
        boot::call_function(&mut store, "warmshard_runtime.immortal", "settle")
            .await
            .map_err(guest_failed)?;
        let pump = boot::attribute(&mut store, "warmshard_runtime", "pump").await.map_err(guest_failed)?;
        boot::collect_garbage(&mut store).await.map_err(guest_failed)?;
        heap::fill_holes(&mut store).await.map_err(guest_failed)?;
        if self.options.objects == Objects::Counted {
            store.data_mut().immortal.clear();
        }
        let mut file = tempfile::tempfile().map_err(capture::CaptureError::from)?;
        let identity = capture::Identity {
            worker: input.worker,
            deployment: input.deployment,
            pump,
            entrypoints: report.entrypoints.clone(),
        };
        capture::capture(&mut store, identity, &mut file)?;
        Ok(SnapshotFile { file, entrypoints: report.entrypoints })
    }

    async fn boot(&self, input: &CaptureInput, libraries: Libraries) -> Result<Store<Guest>, CaptureError> {
        let limits = self.options.limits;
        let setup = GuestSetup {
            libraries,
            phase: Phase::Deploying,
            files: FileSystem::new(self.layers(&input.files)?, limits.file_bytes),
            environment: boot::environment(input.seed.hash_seed()),
            clock: Clock::frozen(),
            entropy: Entropy::deploying(&input.seed),
            output: Output::new(input.worker.clone()),
            exchange: Exchange::new(&config_value(&input.worker, &input.config, "deploying")),
            limits,
            cpu: Arc::new(CpuMeter::default()),
        };
        let failed = |error: wasmtime::Error| CaptureError::Boot(format!("{error:#}"));
        let guest = Guest::new(self.program.clone(), setup);
        let mut store = self.program.instantiate(self.program.empty_memory(), guest).await.map_err(failed)?;
        boot::boot(&mut store, &self.program).await.map_err(failed)?;
        Ok(store)
    }

    fn layers(&self, files: &Layer) -> Result<Vec<Layer>, LayerError> {
        Ok(vec![files.clone(), boot::platform_layer(), boot::stdlib_layer(self.program.runtime())?])
    }

    /// Compiles every library of a deployment that is not compiled yet.
    fn open_libraries(&self, files: &Layer, progress: &dyn Progress) -> Result<Libraries, LibraryError> {
        let mut libraries = HashMap::new();
        for (path, bytes) in files.files().filter(|(path, _)| path.ends_with(".so")) {
            let library = Library::open(path, bytes, &self.program.runtime().code, progress)?;
            libraries.insert(path.to_owned(), library);
        }
        Ok(Arc::new(libraries))
    }

    /// Told to workers in their environment.
    pub(super) fn host_id(&self) -> &str {
        &self.options.host_id
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// Advances the engine's epoch, so that running guests are interrupted now and then.
fn tick(engine: wasmtime::Engine, stopping: Arc<AtomicBool>) {
    let ticker = std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        while !stopping.load(Ordering::Relaxed) {
            std::thread::sleep(EPOCH_TICK);
            engine.increment_epoch();
        }
    });
    if let Err(error) = ticker {
        tracing::error!(%error, "cannot start the epoch thread: endless loops of workers will not be ended");
    }
}

type Config = warmshard_config::worker_config::WorkerConfig;

fn config_value(worker: &super::WorkerName, config: &Config, phase: &str) -> Value {
    let flags = config.compatibility_flags.iter().map(Value::str).collect();
    Value::Dict(vec![
        (Value::str("worker"), Value::str(worker.as_str())),
        (Value::str("main"), Value::str(config.main.clone())),
        (Value::str("vars"), vars(config)),
        (Value::str("compatibility_date"), Value::str(config.compatibility_date.clone())),
        (Value::str("compatibility_flags"), Value::List(flags)),
        (Value::str("secrets"), Value::List(config.secrets.iter().map(Value::str).collect())),
        (Value::str("phase"), Value::str(phase)),
    ])
}

fn vars(config: &Config) -> Value {
    Value::Dict(config.vars.iter().map(|(name, value)| (Value::str(name.clone()), json(value))).collect())
}

fn json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => {
            number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int)
        }
        serde_json::Value::String(text) => Value::str(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(json).collect()),
        serde_json::Value::Object(pairs) => {
            Value::Dict(pairs.iter().map(|(name, value)| (Value::str(name.clone()), json(value))).collect())
        }
    }
}

impl From<Mismatch> for PrepareError {
    fn from(mismatch: Mismatch) -> Self {
        PlanError::from(mismatch).into()
    }
}
