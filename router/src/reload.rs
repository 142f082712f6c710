//! Changes of the shard file while the router runs.
//!
//! ```text
//! file or certificate changed │ SIGHUP │ POST /reload
//!        └─▶ read and check ─▶ compare ─▶ too much moves? ─▶ coming ─▶ in force
//!                 │ problems               │ yes, not forced   │  ▲        │  ▲
//!                 └──────▶ the last good one stays ◀───────────┘  │        ▼  │
//!                                                      heirs are asked   ramp steps
//! ```
//!
//! What moves nobody is in force at once. Everything else takes effect at a moment
//! that routers with the same file agree on, and the hosts that get workers are asked
//! to restore them before. A host that joins is filled, and one that is `draining`
//! emptied, step by step; every step is an epoch of its own.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use warmshard_config::placement::{Course, Member, Membership, Moment, Placement, Weighed, takes_effect};
use warmshard_config::shard_file::{
    CertificateFiles, Etcd, Fleet as FleetSettings, HostTlsFiles, Problems, Published, Settings,
};
use warmshard_config::units::{Epoch, FleetKey, HostId, ShardKey};

use crate::etcd::{Record, RecordError, describe};
use crate::fleet::{Fleet, Place, Spreading, Traffic};
use crate::handoff::{Handoff, Standing};
use crate::host_tls::{BadHostTls, Material};
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
    /// Takes effect then.
    Coming {
        moved_percent: u64,
        epoch: Epoch,
        at: Moment,
    },
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
    #[error(transparent)]
    HostTls(BadHostTls),
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
    /// Wakes whoever waits for the next moment at which something is due.
    due_changed: Notify,
}

/// The last good file and what follows from it over time.
struct InForce {
    settings: Settings,
    text: String,
    since: SystemTime,
    course: Course,
    /// The course was followed until here. Clocks that are set back do not undo a step.
    followed: Moment,
    /// The step of a ramp that heirs are being asked for.
    step: Option<(Moment, Handoff)>,
    coming: Option<Coming>,
    /// Why the file as it is now is not in force.
    rejected: Option<String>,
    /// What the last good record of etcd says; it may be still to come.
    record: Option<Published>,
    /// Why the record as it is now is not in force.
    record_rejected: Option<String>,
}

/// A file that takes effect at its moment.
struct Coming {
    settings: Settings,
    text: String,
    course: Course,
    epoch: Epoch,
    moved_percent: u64,
    at: Moment,
    handoff: Handoff,
}

/// What a router tells about its shard file.
pub(crate) struct Status {
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    pub(crate) since: SystemTime,
    pub(crate) rejected: Option<String>,
    pub(crate) record_rejected: Option<String>,
}

/// What a router tells about a change to come.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) epoch: Epoch,
    pub(crate) at: Moment,
    /// From now.
    pub(crate) wait: Duration,
    pub(crate) moved_percent: u64,
    pub(crate) handoff: Standing,
}

/// The time of the wall clock, which routers share.
fn wall_clock() -> Moment {
    moment(SystemTime::now())
}

fn moment(time: SystemTime) -> Moment {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
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
        let record = settings.etcd.as_ref().and(published_in(&settings));
        let now = InForce {
            course: Course::settled(settings.wanted(), settings.placement.ramp),
            settings,
            text,
            since: SystemTime::now(),
            followed: wall_clock(),
            step: None,
            coming: None,
            rejected: None,
            record,
            record_rejected: None,
        };
        Self { file, fleet, key, now: Mutex::new(now), certificates: None, due_changed: Notify::new() }
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
        let record_rejected = now.record_rejected.clone();
        Status { file: self.file.clone(), text, since: now.since, rejected, record_rejected }
    }

    /// The change that waits for its moment, if there is one.
    pub(crate) fn pending(&self) -> Option<Pending> {
        let now = self.in_force();
        let coming = now.coming.as_ref()?;
        Some(Pending {
            epoch: coming.epoch,
            at: coming.at,
            wait: coming.at.saturating_sub(wall_clock()),
            moved_percent: coming.moved_percent,
            handoff: coming.handoff.standing(),
        })
    }

    /// Follows the file, SIGHUP and the course until its task is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let hangup = signal(SignalKind::hangup());
        let Ok(mut hangup) = hangup.inspect_err(|error| tracing::error!(%error, "SIGHUP cannot be heard"))
        else {
            return;
        };
        let mut seen = self.in_force().text.clone();
        let mut stamped = stamp(&self.in_force().settings);
        loop {
            let watch = self.in_force().settings.reload.watch;
            let due = self.in_force().next_due();
            tokio::select! {
                _ = hangup.recv() => {
                    self.reload(Force::No);
                }
                () = tokio::time::sleep(watch) => {
                    // Each new content is judged once, so that a wrong file is not logged every second.
                    let found = surroundings::read(&self.file);
                    let stamp = stamp(&self.in_force().settings);
                    let news = found.as_ref().is_ok_and(|text| *text != seen);
                    if news || stamp != stamped {
                        (seen, stamped) = (found.unwrap_or(seen), stamp);
                        self.reload(Force::No);
                    }
                }
                () = sleep_until(due) => self.follow(wall_clock()),
                () = self.due_changed.notified() => {}
            }
        }
    }

    /// Reads the file again and puts it in force if it may be.
    pub(crate) fn reload(&self, force: Force) -> Outcome {
        let outcome = self.judge(force);
        let file = self.file.display();
        let (word, why) = match &outcome {
            Outcome::Applied { moved_percent } => {
                let epoch = self.fleet.roster().epoch();
                tracing::info!(%file, %epoch, moved_percent, "shard file is in force");
                ("applied", None)
            }
            Outcome::Certificates => {
                tracing::info!("other certificates are in force");
                ("certificates", None)
            }
            Outcome::Coming { moved_percent, epoch, at } => {
                let wait = at.saturating_sub(wall_clock());
                tracing::info!(%file, %epoch, moved_percent, ?wait, "shard file takes effect soon");
                ("coming", None)
            }
            Outcome::Unchanged => ("unchanged", None),
            Outcome::Refused(refused) => {
                tracing::error!(%file, why = %refused, "shard file refused, the last one stays");
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
        let material = match new.host_tls.as_ref().map(Material::read).transpose() {
            Ok(material) => material,
            Err(bad) => return Outcome::Refused(Refused::HostTls(bad)),
        };
        let record = new.etcd.is_some().then(|| self.in_force().record.clone()).flatten();
        let new = record.map_or(new.clone(), |record| new.with(record));
        let found = wall_clock();
        let changed = surroundings::changed(&self.file).map_or(found, moment);
        let at = takes_effect(changed, new.handoff.wait, found);
        let outcome = self.consider(new, text, at, force, found);
        // Those of a file that is refused are not shown; those of any other from now on.
        let is_taken = !matches!(outcome, Outcome::Refused(_));
        if let (true, Some(tls), Some(material)) = (is_taken, self.fleet.host_tls(), material) {
            tls.replace(material);
        }
        let are_others = is_taken && self.show(certificates);
        match outcome {
            Outcome::Unchanged if are_others => Outcome::Certificates,
            outcome => outcome,
        }
    }

    /// Takes in what etcd has for a record. Whatever is wrong with it, the last good one stays.
    pub(crate) fn published(&self, found: Result<Record, RecordError>, etcd: &Etcd) {
        let outcome = found.map_err(|error| describe(&error)).and_then(|record| {
            let (settings, text) = {
                let now = self.in_force();
                let latest =
                    now.coming.as_ref().map_or((&now.settings, &now.text), |c| (&c.settings, &c.text));
                (latest.0.clone().with(record.published.clone()), latest.1.clone())
            };
            let force = if record.forced { Force::Yes } else { Force::No };
            match self.consider(settings, text, record.takes_effect, force, wall_clock()) {
                Outcome::Refused(refused) => Err(refused.to_string()),
                Outcome::Invalid(problems) => Err(problems.to_string()),
                outcome => {
                    record.keep(&etcd.copy);
                    self.in_force().record = Some(record.published);
                    Ok(outcome)
                }
            }
        });
        let mut now = self.in_force();
        match outcome {
            Ok(Outcome::Applied { moved_percent }) => {
                let epoch = self.fleet.roster().epoch();
                tracing::info!(%epoch, moved_percent, "record is in force");
                metric::published("applied");
            }
            Ok(Outcome::Coming { moved_percent, epoch, .. }) => {
                tracing::info!(%epoch, moved_percent, "record takes effect soon");
                metric::published("coming");
            }
            Ok(_) => {}
            Err(why) => {
                // The same record is found again and again, and told once.
                if now.record_rejected.as_ref() != Some(&why) {
                    tracing::error!(why, "record refused, the last good one stays in force");
                    metric::published("refused");
                }
                now.record_rejected = Some(why);
                return;
            }
        }
        now.record_rejected = None;
    }

    /// Takes settings that are to take effect at a moment.
    fn consider(&self, new: Settings, text: String, at: Moment, force: Force, clock: Moment) -> Outcome {
        let mut now = self.in_force();
        // What comes with it does not put a change off.
        let is_same = |coming: &&Coming| {
            coming.settings.wanted() == new.wanted() && coming.settings.placement == new.placement
        };
        let at = now.coming.as_ref().filter(is_same).map_or(at, |coming| coming.at);
        if new == now.settings {
            now.text = text;
            self.withdraw(&mut now);
            return Outcome::Unchanged;
        }
        if let Some(coming) = now.coming.as_mut().filter(|coming| coming.settings == new) {
            coming.text = text;
            let Coming { moved_percent, epoch, at, .. } = *coming;
            return Outcome::Coming { moved_percent, epoch, at };
        }
        if let Some(what) = fixed_until_restart(&now.settings, &new) {
            return Outcome::Refused(Refused::NeedsRestart(what));
        }
        let plan = shard_commands::compare(&now.settings, &new, self.workers());
        let (moved_percent, most) = (plan.moved_percent(), new.reload.most_moved_percent);
        if force == Force::No && moved_percent > u64::from(most) {
            return Outcome::Refused(Refused::TooMuch { moved: moved_percent, most });
        }
        self.withdraw(&mut now);
        let course = now.course.change(new.wanted(), new.placement.ramp, clock);
        let moves_nobody =
            epoch_of(&new, &*place(&new, course.members(clock))) == self.fleet.roster().epoch();
        if moves_nobody || at <= clock {
            now.adopt(new, text, course);
            self.put_in_force(&mut now, clock);
            return Outcome::Applied { moved_percent };
        }
        let course = now.course.change(new.wanted(), new.placement.ramp, at);
        let placement = place(&new, course.members(at));
        let epoch = epoch_of(&new, &*placement);
        self.fleet.expect(&places(&new));
        let handoff = self.hand_over(placement, &new, at.saturating_sub(clock));
        now.coming = Some(Coming { settings: new, text, course, epoch, moved_percent, at, handoff });
        metric::pending(true);
        self.due_changed.notify_one();
        Outcome::Coming { moved_percent, epoch, at }
    }

    /// Drops a change that was to come.
    fn withdraw(&self, now: &mut InForce) {
        if let Some(coming) = now.coming.take() {
            tracing::info!(epoch = %coming.epoch, "a change that was to come is dropped");
            metric::pending(false);
            self.fleet.expect(&[]);
        }
    }

    /// Does what is due: a change that was coming, a step of a ramp, asking heirs for the next step.
    fn follow(&self, clock: Moment) {
        let mut now = self.in_force();
        let clock = clock.max(now.followed);
        if let Some(coming) = now.coming.take_if(|coming| coming.at <= clock) {
            let Coming { settings, text, course, epoch, handoff, .. } = coming;
            now.adopt(settings, text, course);
            self.put_in_force(&mut now, clock);
            metric::pending(false);
            let Standing { wanted, ready, failed } = handoff.standing();
            tracing::info!(file = %self.file.display(), %epoch, wanted, ready, failed, "shard file is in force");
        } else if now.course.next_step(now.followed).is_some_and(|step| step <= clock) {
            self.put_in_force(&mut now, clock);
        }
        let wait = now.settings.handoff.wait;
        if let Some(step) = now.to_ask_for().filter(|step| step.saturating_sub(wait) <= clock) {
            let placement = place(&now.settings, now.course.members(step));
            let handoff = self.hand_over(placement, &now.settings, step.saturating_sub(clock));
            now.step = Some((step, handoff));
        }
    }

    /// Asks those who will get workers to have them warm.
    fn hand_over(&self, placement: Box<dyn Placement>, settings: &Settings, limit: Duration) -> Handoff {
        let (fleet, policy) = (Arc::clone(&self.fleet), settings.handoff);
        let (zones, key) = (settings.placement.zones.clone(), self.fleet.roster().traffic.key.clone());
        let find = move || fleet.moves_to(&*placement, &zones, &policy);
        Handoff::start(find, key, policy.concurrency, limit)
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
    fn put_in_force(&self, now: &mut InForce, clock: Moment) {
        now.followed = clock;
        let settings = &now.settings;
        let placement = place(settings, now.course.members(clock));
        let key = settings.key.as_ref().unwrap_or(&self.key);
        self.fleet.change(placement, Spreading::from(&settings.placement), Traffic::of(settings, key));
        self.place_hosts(settings);
        self.due_changed.notify_one();
    }

    /// Tells the fleet where hosts that run by themselves are.
    pub(crate) fn place_hosts(&self, settings: &Settings) {
        for (id, place) in places(settings) {
            if let Some(known) = self.fleet.host(&id)
                && known.place() != Some(place)
            {
                self.fleet.arrived(&known, place);
            }
        }
    }
}

/// What a record would say that leads to these settings.
fn published_in(settings: &Settings) -> Option<Published> {
    let FleetSettings::External(hosts) = &settings.fleet else { return None };
    Some(Published { hosts: hosts.clone(), placement: settings.placement.clone() })
}

/// Where hosts that run by themselves are.
fn places(settings: &Settings) -> Vec<(HostId, Place)> {
    let FleetSettings::External(hosts) = &settings.fleet else { return Vec::new() };
    let place =
        |host: &warmshard_config::shard_file::ExternalHost| Place { address: host.address, pid: None };
    hosts.iter().map(|host| (host.member.id.clone(), place(host))).collect()
}

fn place(settings: &Settings, members: Vec<Member>) -> Box<dyn Placement> {
    settings.placement.policy.build(Membership::new(members))
}

fn epoch_of(settings: &Settings, placement: &dyn Placement) -> Epoch {
    settings.placement.zones.epoch(placement.epoch())
}

/// Whether an operator insists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    No,
    Yes,
}

async fn sleep_until(due: Option<Moment>) {
    match due {
        Some(due) => tokio::time::sleep(due.saturating_sub(wall_clock())).await,
        None => std::future::pending().await,
    }
}

/// Changes when one of the files that a shard file names may have changed.
fn stamp(settings: &Settings) -> u64 {
    let mut files = settings.tls.clone();
    if let Some(HostTlsFiles { ca, own }) = &settings.host_tls {
        files.extend(own.clone());
        files.push(CertificateFiles { certificate: ca.clone(), key: ca.clone() });
    }
    tls::stamp(&files)
}

/// What a running router cannot change.
fn fixed_until_restart(old: &Settings, new: &Settings) -> Option<&'static str> {
    if old.listen != new.listen {
        return Some("listen");
    }
    if old.host_tls.is_some() != new.host_tls.is_some() {
        return Some("host_tls");
    }
    if old.etcd != new.etcd {
        return Some("etcd");
    }
    match (&old.fleet, &new.fleet) {
        (FleetSettings::External(_), FleetSettings::External(_)) => None,
        (FleetSettings::Embedded(old), FleetSettings::Embedded(new)) if old == new => None,
        _ => Some("embedded"),
    }
    .or((old.admin_token != new.admin_token).then_some("admin"))
}

impl InForce {
    fn adopt(&mut self, settings: Settings, text: String, course: Course) {
        (self.settings, self.text, self.course) = (settings, text, course);
        (self.since, self.step) = (SystemTime::now(), None);
    }

    /// When something is to be done next.
    fn next_due(&self) -> Option<Moment> {
        let coming = self.coming.as_ref().map(|coming| coming.at);
        let ask = self.to_ask_for().map(|step| step.saturating_sub(self.settings.handoff.wait));
        [coming, self.course.next_step(self.followed), ask].into_iter().flatten().min()
    }

    /// The next step of a ramp, while heirs have not been asked for it. A change that comes
    /// before it brings a course of its own.
    fn to_ask_for(&self) -> Option<Moment> {
        let step = self.course.next_step(self.followed)?;
        let is_asked = self.step.as_ref().is_some_and(|(asked, _)| *asked >= step);
        let is_overtaken = self.coming.as_ref().is_some_and(|coming| coming.at <= step);
        (!is_asked && !is_overtaken && !self.settings.handoff.wait.is_zero()).then_some(step)
    }
}

#[cfg(test)]
mod churn;
#[cfg(test)]
mod tests;
