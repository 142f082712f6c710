//! Changes of the shard file while the router runs.
//!
//! ```text
//! file or certificate changed │ SIGHUP │ POST /reload
//!        └─▶ read and check ─▶ compare ─▶ too much moves? ─▶ build aside ─▶ swap
//!                 │ problems               │ yes, not forced        ▲
//!                 └──────▶ the last good one stays ◀────────────────┘   ramp steps
//! ```
//!
//! A host that joins is filled, and one that is `draining` emptied, step by step;
//! every step is an epoch of its own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use warmshard_config::placement::{Member, Membership, Ramp, Weighed};
use warmshard_config::shard_file::{ExternalHost, Fleet as FleetSettings, HostState, Problems, Settings};
use warmshard_config::units::{FleetKey, HostId, ShardKey, Share};

use crate::fleet::{Fleet, Place, Spreading, Traffic};
use crate::tls::{self, BadCertificate, Candidates, Certificates};
use crate::{metric, shard_commands, surroundings};

/// What became of reading the file again.
#[derive(Debug)]
pub(crate) enum Outcome {
    Applied {
        moved_percent: u64,
    },
    /// The shard file says the same, but its certificates have changed.
    Certificates,
    Unchanged,
    Refused(Refused),
    Invalid(Problems),
}

/// Why a valid file is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{moved} % of workers would get another home, expected at most {most} % (`reload.most_moved`)")]
    TooMuch { moved: u64, most: u32 },
    #[error("`{0}` changed, which takes a restart")]
    NeedsRestart(&'static str),
    #[error(transparent)]
    Certificate(BadCertificate),
}

/// Keeps a fleet in line with its shard file.
pub(crate) struct Reloader {
    file: PathBuf,
    fleet: Arc<Fleet>,
    /// Used with embedded hosts, for as long as the router runs.
    key: FleetKey,
    now: Mutex<InForce>,
    /// `None` without TLS.
    certificates: Option<Arc<Certificates>>,
    /// Wakes whoever takes the next step of a ramp.
    ramps_changed: Notify,
}

/// The last good file and what follows from it over time.
struct InForce {
    settings: Settings,
    text: String,
    since: SystemTime,
    ramps: HashMap<HostId, Ramping>,
    /// Why the file as it is now is not in force.
    rejected: Option<String>,
}

/// A host on its way to its share.
#[derive(Debug, Clone, Copy)]
struct Ramping {
    ramp: Ramp,
    began: Instant,
}

/// What a router tells about its shard file.
pub(crate) struct Status {
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    pub(crate) since: SystemTime,
    pub(crate) rejected: Option<String>,
}

impl Traffic {
    pub(crate) fn of(settings: &Settings, key: &FleetKey) -> Self {
        Self {
            routes: settings.routes.clone(),
            key: key.clone(),
            timeouts: settings.timeouts,
            limits: settings.limits,
            prewarm: settings.prewarm,
            retries: settings.retries,
            health: settings.health,
        }
    }
}

impl Reloader {
    pub(crate) fn new(
        file: PathBuf,
        settings: Settings,
        text: String,
        fleet: Arc<Fleet>,
        key: FleetKey,
    ) -> Self {
        let (since, ramps) = (SystemTime::now(), HashMap::new());
        let now = Mutex::new(InForce { settings, text, since, ramps, rejected: None });
        Self { file, fleet, key, now, certificates: None, ramps_changed: Notify::new() }
    }

    /// Keeps these in line as well.
    pub(crate) fn with_certificates(self, certificates: Option<Arc<Certificates>>) -> Self {
        Self { certificates, ..self }
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> Settings {
        self.in_force().settings.clone()
    }

    pub(crate) fn status(&self) -> Status {
        let now = self.in_force();
        let (text, rejected) = (now.text.clone(), now.rejected.clone());
        Status { file: self.file.clone(), text, since: now.since, rejected }
    }

    /// Follows the file, SIGHUP and ramps until its task is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let hangup = signal(SignalKind::hangup());
        let Ok(mut hangup) = hangup.inspect_err(|error| tracing::error!(%error, "SIGHUP cannot be heard"))
        else {
            return;
        };
        let mut seen = self.in_force().text.clone();
        let mut stamped = tls::stamp(&self.in_force().settings.tls);
        loop {
            let watch = self.in_force().settings.reload.watch;
            let step = self.next_step();
            tokio::select! {
                _ = hangup.recv() => {
                    self.reload(Force::No);
                }
                () = tokio::time::sleep(watch) => {
                    // Each new content is judged once, so that a wrong file is not logged every second.
                    let found = surroundings::read(&self.file);
                    let stamp = tls::stamp(&self.in_force().settings.tls);
                    let news = found.as_ref().is_ok_and(|text| *text != seen);
                    if news || stamp != stamped {
                        (seen, stamped) = (found.unwrap_or(seen), stamp);
                        self.reload(Force::No);
                    }
                }
                () = sleep_for(step) => self.step(),
                () = self.ramps_changed.notified() => {}
            }
        }
    }

    /// Reads the file again and puts it in force if it may be.
    pub(crate) fn reload(&self, force: Force) -> Outcome {
        let outcome = self.judge(force);
        let (word, why) = match &outcome {
            Outcome::Applied { moved_percent } => {
                let epoch = self.fleet.roster().epoch();
                tracing::info!(file = %self.file.display(), %epoch, moved_percent, "shard file is in force");
                ("applied", None)
            }
            Outcome::Certificates => {
                tracing::info!("other certificates are in force");
                ("certificates", None)
            }
            Outcome::Unchanged => ("unchanged", None),
            Outcome::Refused(refused) => {
                tracing::error!(file = %self.file.display(), why = %refused, "shard file refused, the last one stays");
                ("refused", Some(refused.to_string()))
            }
            Outcome::Invalid(problems) => {
                tracing::error!("shard file has problems, the last good one stays:\n{problems}");
                ("invalid", Some(problems.to_string()))
            }
        };
        metric::reloaded(word);
        self.in_force().rejected = why;
        outcome
    }

    fn judge(&self, force: Force) -> Outcome {
        let (new, text) = match surroundings::read_shard_file(&self.file) {
            Ok(read) => read,
            Err(problems) => return Outcome::Invalid(problems),
        };
        let certificates = match Candidates::read(&new.tls) {
            Ok(certificates) => certificates,
            Err(bad) => return Outcome::Refused(Refused::Certificate(bad)),
        };
        let mut now = self.in_force();
        if new == now.settings {
            now.text = text;
            return if self.show(certificates) { Outcome::Certificates } else { Outcome::Unchanged };
        }
        if let Some(what) = fixed_until_restart(&now.settings, &new) {
            return Outcome::Refused(Refused::NeedsRestart(what));
        }
        let plan = shard_commands::compare(&now.settings, &new, self.workers());
        let (moved, most) = (plan.moved_percent(), new.reload.most_moved_percent);
        if force == Force::No && moved > u64::from(most) {
            return Outcome::Refused(Refused::TooMuch { moved, most });
        }
        now.begin_ramps(&new);
        self.show(certificates);
        now.settings = new;
        (now.text, now.since) = (text, SystemTime::now());
        self.put_in_force(&now);
        Outcome::Applied { moved_percent: moved }
    }

    /// Has handshakes use these from now on. Returns whether they are others.
    fn show(&self, candidates: Candidates) -> bool {
        self.certificates.as_ref().is_some_and(|certificates| certificates.replace(candidates))
    }

    /// The workers that were called, as busy as they are; invented ones while there are few.
    pub(crate) fn workers(&self) -> Vec<Weighed> {
        const FEW: usize = 100;
        let known = self.fleet.workers().all();
        if known.len() < FEW {
            return shard_commands::sample().collect();
        }
        let weighed = |worker: &Arc<crate::fleet::Worker>| Weighed {
            key: ShardKey::of_worker(worker.name().clone()),
            load: worker.requests(),
        };
        known.iter().map(weighed).collect()
    }

    /// Builds the roster for this moment and swaps it in.
    fn put_in_force(&self, now: &InForce) {
        let settings = &now.settings;
        let placement = settings.placement.policy.build(Membership::new(now.members(Instant::now())));
        let key = settings.key.as_ref().unwrap_or(&self.key);
        self.fleet.change(placement, Spreading::from(&settings.placement), Traffic::of(settings, key));
        self.place_hosts(settings);
        self.ramps_changed.notify_one();
    }

    /// Tells the fleet where hosts that run by themselves are.
    pub(crate) fn place_hosts(&self, settings: &Settings) {
        let FleetSettings::External(hosts) = &settings.fleet else { return };
        for host in hosts {
            let place = Place { address: host.address, pid: None };
            if let Some(known) = self.fleet.host(&host.member.id)
                && known.place() != Some(place)
            {
                self.fleet.arrived(&known, place);
            }
        }
    }

    /// When a ramp takes its next step.
    fn next_step(&self) -> Option<Duration> {
        let now = self.in_force();
        let policy = now.settings.placement.ramp;
        let due = now.ramps.values().filter_map(|ramping| {
            let elapsed = ramping.began.elapsed();
            Some(policy.next_change(elapsed)?.saturating_sub(elapsed))
        });
        // A ramp that is over is cleared away at once.
        if now.ramps.is_empty() { None } else { Some(due.min().unwrap_or_default()) }
    }

    fn step(&self) {
        let mut now = self.in_force();
        self.put_in_force(&now);
        let policy = now.settings.placement.ramp;
        now.ramps.retain(|_, ramping| policy.next_change(ramping.began.elapsed()).is_some());
    }
}

/// Whether an operator insists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    No,
    Yes,
}

async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// What a running router cannot change.
fn fixed_until_restart(old: &Settings, new: &Settings) -> Option<&'static str> {
    if old.listen != new.listen {
        return Some("listen");
    }
    match (&old.fleet, &new.fleet) {
        (FleetSettings::External(_), FleetSettings::External(_)) => None,
        (FleetSettings::Embedded(old), FleetSettings::Embedded(new)) if old == new => None,
        _ => Some("embedded"),
    }
    .or((old.admin_token != new.admin_token).then_some("admin"))
}

impl InForce {
    fn ramping_share(&self, id: &HostId, now: Instant) -> Option<Share> {
        let ramping = self.ramps.get(id)?;
        let elapsed = now.saturating_duration_since(ramping.began);
        Some(self.settings.placement.ramp.share(ramping.ramp, elapsed))
    }

    /// The membership at this moment, ramps included.
    fn members(&self, now: Instant) -> Vec<Member> {
        let mut members = self.settings.members();
        for member in &mut members {
            if let Some(share) = self.ramping_share(&member.id, now) {
                member.share = share;
            }
        }
        members
    }

    /// Hosts that join or are to be emptied begin to ramp from the share they have.
    fn begin_ramps(&mut self, new: &Settings) {
        let (FleetSettings::External(old), FleetSettings::External(hosts)) =
            (&self.settings.fleet, &new.fleet)
        else {
            return;
        };
        let now = Instant::now();
        let before: HashMap<HostId, Share> =
            self.members(now).into_iter().map(|member| (member.id, member.share)).collect();
        let state = |host: &ExternalHost| {
            old.iter().find(|known| known.member.id == host.member.id).map(|known| known.state)
        };
        let over = new.placement.ramp.over;
        let mut ramps = HashMap::new();
        for host in hosts {
            let id = &host.member.id;
            let share = before.get(id).copied().unwrap_or(Share::NONE);
            let ramp = match (state(host), host.state) {
                (Some(before), after) if before == after => {
                    // Goes on where it is.
                    if let Some(ramping) = self.ramps.get(id) {
                        ramps.insert(id.clone(), *ramping);
                    }
                    continue;
                }
                (_, HostState::Active) => Ramp::Fill,
                (Some(_), HostState::Draining) => Ramp::Drain,
                (None, HostState::Draining) | (_, HostState::Out) => continue,
            };
            let there = match ramp {
                Ramp::Fill => share.thousandths(),
                Ramp::Drain => Share::FULL.thousandths() - share.thousandths(),
            };
            let began = now.checked_sub(over * there / Share::FULL.thousandths()).unwrap_or(now);
            ramps.insert(id.clone(), Ramping { ramp, began });
        }
        self.ramps = ramps;
    }
}

#[cfg(test)]
mod tests;
