//! The hosts to simulate and the placement over them, as a shard file has them.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use warmshard_config::health::HealthPolicy;
use warmshard_config::host_policy::pool::PoolLimits;
use warmshard_config::placement::{Member, Membership, Placement};
use warmshard_config::shard_file::{self, PlacementSettings, Problems, Settings, Surroundings};
use warmshard_config::units::{HostId, Weight};

use crate::scenario::Scenario;

/// What `isolate-host serve` has where nothing else is said.
const ISOLATES: u32 = 128;
const REQUESTS_PER_ISOLATE: u32 = 64;

/// The shard file of a fleet that was only given by its size.
const PLAIN: &str = "[listen]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\n\
                     [[routes]]\nhost = \"{worker}.localhost\"\n\n[embedded]\nhosts = 1\n";

#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    #[error("cannot read the shard file `{}`", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Problems(Problems),
    #[error("found 0 for `{0}`, expected 1 or more")]
    Zero(&'static str),
    #[error("found {0} hosts, expected at most 65535")]
    TooMany(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    settings: Settings,
    pub(crate) members: Vec<Member>,
    pub(crate) limits: PoolLimits,
}

impl Fleet {
    pub(crate) fn of(
        file: Option<&Path>,
        hosts: Option<NonZeroUsize>,
        scenario: &Scenario,
    ) -> Result<Self, FleetError> {
        let settings = match file {
            Some(file) => read(file)?,
            None => parse(Path::new("fleet.toml"), PLAIN)?,
        };
        let members = match hosts.map(NonZeroUsize::get) {
            Some(count) if count > usize::from(u16::MAX) => return Err(FleetError::TooMany(count)),
            Some(count) => (0..count).map(|n| Member::new(host_id(n), Weight::ONE)).collect(),
            None => settings.members(),
        };
        let limits = limits(&settings, scenario)?;
        Ok(Self { settings, members, limits })
    }

    /// The placement over these hosts, as the shard file asks for it.
    pub(crate) fn placement(&self, members: &[Member]) -> Box<dyn Placement> {
        self.settings.placement.policy.build(Membership::new(members.iter().cloned()))
    }

    /// How requests are spread.
    pub(crate) fn spreading(&self) -> &PlacementSettings {
        &self.settings.placement
    }

    /// The most hosts that one request is sent to.
    pub(crate) fn most_hosts(&self) -> usize {
        self.settings.retries.hosts.max(1) as usize
    }

    pub(crate) fn health(&self) -> HealthPolicy {
        self.settings.health
    }
}

/// The members of another shard file.
pub(super) fn members_of(file: &Path) -> Result<Vec<Member>, FleetError> {
    Ok(read(file)?.members())
}

fn read(file: &Path) -> Result<Settings, FleetError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| FleetError::Read { file: file.to_owned(), source })?;
    parse(file, &text)
}

fn parse(file: &Path, text: &str) -> Result<Settings, FleetError> {
    shard_file::parse(file, text, &ThisMachine).map_err(FleetError::Problems)
}

fn limits(settings: &Settings, scenario: &Scenario) -> Result<PoolLimits, FleetError> {
    let embedded = match &settings.fleet {
        shard_file::Fleet::Embedded(embedded) => (embedded.max_isolates, embedded.requests_per_isolate),
        shard_file::Fleet::External(_) => (None, None),
    };
    let simulated = &scenario.simulated;
    let isolates = simulated.isolates.or(embedded.0).unwrap_or(ISOLATES);
    let requests = simulated.requests_per_isolate.or(embedded.1).unwrap_or(REQUESTS_PER_ISOLATE);
    Ok(PoolLimits {
        isolates: NonZeroU32::new(isolates).ok_or(FleetError::Zero("isolates"))?,
        requests_per_isolate: NonZeroU32::new(requests).ok_or(FleetError::Zero("requests_per_isolate"))?,
    })
}

fn host_id(n: usize) -> HostId {
    HostId::parse(&format!("host-{n}")).expect("letters and digits are a name")
}

/// What a shard file refers to: the machine the simulator runs on.
struct ThisMachine;

impl Surroundings for ThisMachine {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }
}
