//! The host's side of one isolate: everything that is not in linear memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use wasmtime::{Instance, Memory, ResourceLimiter, Table};

use super::exchange::Exchange;
use super::limits::{CpuMeter, Limits};
use super::program::Program;
use crate::emscripten::clock::Clock;
use crate::emscripten::entropy::Entropy;
use crate::emscripten::files::FileSystem;
use crate::emscripten::output::Output;
use crate::linker::library::Library;
use crate::linker::state::Links;

/// Libraries of a deployment, by their path in the guest.
pub type Libraries = Arc<HashMap<String, Arc<Library>>>;

/// Which rules hold for what the guest asks of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The worker's top level runs: the clock is frozen and entropy is not random.
    Deploying,
    /// Requests are served.
    Serving,
}

/// The data of an isolate's store.
pub struct Guest {
    pub program: Arc<Program>,
    pub libraries: Libraries,
    pub phase: Phase,
    pub files: FileSystem,
    pub environment: Vec<(String, String)>,
    pub clock: Clock,
    pub entropy: Entropy,
    pub output: Output,
    pub exchange: Exchange,
    pub limits: Limits,
    pub cpu: Arc<CpuMeter>,
    pub links: Links,
    /// Set when the guest asked to end itself (`os._exit`), before the trap that ends it.
    pub exit_code: Option<i32>,
    /// Set when a growth of memory was refused.
    pub memory_refused: bool,
    /// Addresses of objects that a capture makes immortal.
    pub immortal: BTreeSet<u32>,
    parts: Option<Parts>,
}

/// The wasm objects of the store; there from the end of instantiation on.
#[derive(Clone, Copy)]
pub struct Parts {
    pub memory: Memory,
    pub table: Table,
    pub main: Instance,
    pub glue: Instance,
}

/// What a guest is made of besides its store.
pub struct GuestSetup {
    pub libraries: Libraries,
    pub phase: Phase,
    pub files: FileSystem,
    pub environment: Vec<(String, String)>,
    pub clock: Clock,
    pub entropy: Entropy,
    pub output: Output,
    pub exchange: Exchange,
    pub limits: Limits,
    pub cpu: Arc<CpuMeter>,
}

impl Guest {
    pub fn new(program: Arc<Program>, setup: GuestSetup) -> Self {
        Self {
            program,
            libraries: setup.libraries,
            phase: setup.phase,
            files: setup.files,
            environment: setup.environment,
            clock: setup.clock,
            entropy: setup.entropy,
            output: setup.output,
            exchange: setup.exchange,
            limits: setup.limits,
            cpu: setup.cpu,
            links: Links::default(),
            exit_code: None,
            memory_refused: false,
            immortal: BTreeSet::new(),
            parts: None,
        }
    }

    /// Everything but the wasm objects and what links them, as new.
    pub fn renew(&mut self, setup: GuestSetup) {
        let (program, parts) = (Arc::clone(&self.program), self.parts);
        let links = std::mem::take(&mut self.links);
        *self = Self { links, parts, ..Self::new(program, setup) };
    }

    /// The wasm objects.
    ///
    /// Guest code runs only after `set_parts`, so host functions always find them.
    pub fn parts(&self) -> Parts {
        self.parts.expect("set before guest code runs")
    }

    pub fn set_parts(&mut self, parts: Parts) {
        self.parts = Some(parts);
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.limits.memory_bytes;
        self.memory_refused |= !allowed;
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.limits.table_elements)
    }
}

impl Guest {
    /// CPU time one call may use in the phase the guest is in.
    pub fn cpu_limit(&self) -> std::time::Duration {
        match self.phase {
            Phase::Deploying => self.limits.deploy_cpu,
            Phase::Serving => self.limits.cpu,
        }
    }
}
