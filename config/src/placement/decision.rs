//! Which of a worker's candidates gets a request.
//!
//! ```text
//! candidates   home ── 2nd ── 3rd ── 4th ── 5th …        a down host is skipped, and
//! eligible      ✓      down    ✓      ✓      ✓           the next one takes its place
//! width 2      └──── among these ────┘                   warm first, then least loaded
//! beyond                              └─▶ in order       refused or over the bound:
//!                                                        the width has to grow
//! ```
//!
//! A worker of one host has several *homes*, see [`super::homes`].

use super::HostIndex;
use super::homes::choose_home;
use crate::host_policy::Price;

/// What a router knows of a host right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Eligible,
    /// It died and is up again, but not yet for long enough.
    Settling,
    /// It is being emptied, or said that it is shutting down.
    Draining,
    /// Requests to it went wrong too often, see [`crate::health`].
    Ejected,
    /// Health says it is down or nothing has been heard of it yet.
    Down,
    /// It has no address, since its process is being started.
    Absent,
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eligible => "eligible",
            Self::Settling => "settling",
            Self::Draining => "draining",
            Self::Ejected => "ejected",
            Self::Down => "down",
            Self::Absent => "absent",
        }
    }
}

/// What became of this request at a host it was already sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The host is full and promised that it processed nothing.
    Refused,
    /// The host is shutting down and promised that it processed nothing.
    Leaving,
    /// The worker is not warm there, and room for it costs so much.
    NotWarm(Price),
    /// The connection failed, and the request may be sent again.
    Failed,
}

/// Why a host was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is the key's home.
    Home,
    /// The worker is spread over several hosts, and this one of them had the best claim.
    Spread,
    /// It is warm at another of its homes, or room is cheaper there.
    OtherHome,
    /// Every host within the width is over its bound.
    OverBound,
    /// A host within the width refused this request.
    Refused,
    /// The host before it refused since it is shutting down.
    Leaving,
    /// The connection to the host before it failed during this request.
    Failed,
    /// The home died and is settling.
    HomeSettling,
    /// The home is being emptied.
    HomeDraining,
    /// The home is ejected.
    HomeEjected,
    /// The home is down.
    HomeDown,
    /// The home is being started.
    HomeAbsent,
    /// No host is known to be up, so health is ignored and the order kept.
    LastResort,
    /// It was drawn; only baselines do that.
    Drawn,
}

impl Reason {
    pub const ALL: [Reason; 14] = [
        Self::Home,
        Self::Spread,
        Self::OtherHome,
        Self::OverBound,
        Self::Refused,
        Self::Leaving,
        Self::Failed,
        Self::HomeSettling,
        Self::HomeDraining,
        Self::HomeEjected,
        Self::HomeDown,
        Self::HomeAbsent,
        Self::LastResort,
        Self::Drawn,
    ];

    /// The label in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Spread => "spread",
            Self::OtherHome => "other_home",
            Self::OverBound => "over_bound",
            Self::Refused => "refused",
            Self::Leaving => "leaving",
            Self::Failed => "failed",
            Self::HomeSettling => "home_settling",
            Self::HomeDraining => "home_draining",
            Self::HomeEjected => "home_ejected",
            Self::HomeDown => "home_down",
            Self::HomeAbsent => "home_absent",
            Self::LastResort => "last_resort",
            Self::Drawn => "drawn",
        }
    }
}

/// The host to send to next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub host: HostIndex,
    pub reason: Reason,
    /// Its position among the candidates: 0 is the home.
    pub position: usize,
    /// `Some(n)` when the worker needs `n` hosts, which is more than its width:
    /// to be learned with [`super::Elastic::needs`].
    pub needs: Option<u16>,
    /// What the host is to be told: that the request could go elsewhere at this price.
    pub elsewhere: Option<Price>,
}

/// Why there is no host to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHost {
    #[error("the membership has no hosts")]
    Empty,
    #[error("none of the {0} hosts is running")]
    NoneRunning(usize),
    #[error("the connection to each of the {0} hosts asked failed")]
    AllFailed(usize),
    #[error("each of the {tried} hosts was asked and {refused} refused")]
    Refused { tried: usize, refused: usize },
}

impl NoHost {
    /// For a request that goes no further after these attempts.
    pub fn of(tried: &[(HostIndex, Outcome)]) -> Self {
        match tried.iter().filter(|(_, outcome)| *outcome != Outcome::Failed).count() {
            0 => Self::AllFailed(tried.len()),
            refused => Self::Refused { tried: tried.len(), refused },
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Its worker's hosts, best first.
    pub candidates: &'a [HostIndex],
    /// Over how many of them the worker is spread, 1 or more.
    pub width: u16,
    /// Over so many of them it is spread whether it is warm there or not, see [`super::Tally`];
    /// 1 for none but those that are needed.
    pub even: u16,
    /// At how many of them it may live while its width is 1, 1 or more.
    pub homes: u16,
    /// Which of these it lives at, if not at the first, see [`crate::cold_start::History::other_home`].
    pub other_home: Option<HostIndex>,
    /// The worker's requests in turn: who comes first among equals.
    pub turn: u64,
    /// Hosts it was sent to in vain.
    pub tried: &'a [(HostIndex, Outcome)],
}

impl<'a> Ask<'a> {
    /// For a worker with one home.
    pub fn new(candidates: &'a [HostIndex], width: u16, tried: &'a [(HostIndex, Outcome)]) -> Self {
        Self { candidates, width, even: 1, homes: 1, other_home: None, turn: 0, tried }
    }
}

/// What a decision needs to know of the hosts. Only what it asks for has to be computed.
pub trait Hosts {
    fn standing(&self, host: HostIndex) -> Standing;

    /// Requests in flight there, as far as is known.
    fn in_flight(&self, host: HostIndex) -> u32;

    /// So many requests are never too many for it.
    fn soft_limit(&self, host: HostIndex) -> u32;

    /// Its part of the load relative to the others, not zero.
    fn weight(&self, host: HostIndex) -> u32;

    /// Whether the worker was warm there when it was last heard of.
    fn is_warm(&self, host: HostIndex) -> bool;

    /// Requests in flight and weights of all eligible hosts together.
    fn total(&self) -> Total;
}

/// Sums over all eligible hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    pub in_flight: u64,
    pub weight: u64,
}

/// When a host has too much: more in flight than `max(factor × mean, soft limit)`,
/// the mean being that of a host of its weight.
///
/// Without the soft limit a lightly loaded fleet would leave its warm homes all
/// the time: with 1.4 requests in flight on average, two are "too many".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The factor in percent, more than 100.
    pub factor_percent: u32,
}

impl Default for Bound {
    fn default() -> Self {
        Self { factor_percent: 125 }
    }
}

impl Bound {
    /// The most requests a host may have in flight.
    pub fn of(&self, host: HostIndex, hosts: &impl Hosts) -> u64 {
        let total = hosts.total();
        let share = total.in_flight * u64::from(hosts.weight(host)) * u64::from(self.factor_percent);
        let fair = share.div_ceil((total.weight * 100).max(1));
        fair.max(u64::from(hosts.soft_limit(host))).max(1)
    }

    pub(super) fn has_room(&self, host: HostIndex, hosts: &impl Hosts) -> bool {
        let in_flight = hosts.in_flight(host);
        // The mean is only asked for where the soft limit does not decide.
        in_flight < hosts.soft_limit(host) || u64::from(in_flight) < self.of(host, hosts)
    }
}

/// Takes a home, see [`super::homes`]; of a worker that is spread the best host within the width. Else the
/// next one beyond it that is eligible and has room, else any eligible one, else one that is
/// settling or ejected, else one that is being emptied. When no such host is left, health is
/// ignored: a wrong guess about health must not turn away a request that some host could have
/// answered. No host is tried twice, but for the home that in the end has to make room.
pub fn choose(ask: Ask<'_>, hosts: &impl Hosts, bound: &Bound) -> Result<Decision, NoHost> {
    let home = *ask.candidates.first().ok_or(NoHost::Empty)?;
    if let Some(decision) = choose_home(&ask, home, hosts, bound) {
        return Ok(decision);
    }
    let untried = |host: HostIndex| !ask.tried.iter().any(|&(tried, _)| tried == host);

    let mut best: Option<(usize, Claim)> = None;
    let mut beyond: Option<(usize, HostIndex, u16)> = None;
    let mut crowded: Option<(usize, HostIndex, u16)> = None;
    let mut rank = 0u16;
    for (position, &host) in ask.candidates.iter().enumerate() {
        if hosts.standing(host) != Standing::Eligible {
            continue;
        }
        rank = rank.saturating_add(1);
        if rank > ask.width && best.is_some() {
            break;
        }
        if !untried(host) {
            continue;
        }
        if !bound.has_room(host, hosts) {
            crowded.get_or_insert((position, host, rank));
            continue;
        }
        if rank > ask.width {
            beyond = Some((position, host, rank));
            break;
        }
        let claim = Claim {
            host,
            cold: (ask.even < 2 || rank > ask.even) && !hosts.is_warm(host),
            order: (u64::from(rank - 1) + ask.turn) % u64::from(ask.width),
        };
        if best.as_ref().is_none_or(|(_, other)| claim.is_better(other, hosts)) {
            best = Some((position, claim));
        }
        if ask.width == 1 {
            break;
        }
    }

    let why = || reason(&ask, home, hosts);
    if let Some((position, Claim { host, .. })) = best {
        let reason = match position {
            0 => Reason::Home,
            _ => why().unwrap_or(Reason::Spread),
        };
        return Ok(Decision { host, reason, position, needs: None, elsewhere: None });
    }
    if let Some((position, host, rank)) = beyond {
        // A failed host says nothing about the load; one that leaves takes its place with it.
        let wanted =
            !matches!(ask.tried.last(), Some((_, Outcome::Failed | Outcome::Leaving | Outcome::NotWarm(_))));
        let needs = wanted.then_some(rank);
        let reason = tried_reason(&ask).unwrap_or(Reason::OverBound);
        return Ok(Decision { host, reason, position, needs, elsewhere: None });
    }
    if let Some((position, host, rank)) = crowded {
        // Everybody has too much: the order of candidates is kept.
        let reason = if position == 0 { Reason::Home } else { why().unwrap_or(Reason::OverBound) };
        let needs = (rank > ask.width && tried_reason(&ask) == Some(Reason::Refused)).then_some(rank);
        return Ok(Decision { host, reason, position, needs, elsewhere: None });
    }
    choose_ineligible(&ask, home, hosts)
}

/// What speaks for a host within the width.
#[derive(Debug, Clone, Copy)]
struct Claim {
    host: HostIndex,
    /// A request there would be cold, and the worker has no need to be there.
    cold: bool,
    /// Whose turn it is: the least comes first.
    order: u64,
}

impl Claim {
    /// Warm before cold, then the lesser load for its weight, then whose turn it is.
    fn is_better(&self, than: &Self, hosts: &impl Hosts) -> bool {
        let load = |one: HostIndex, other: HostIndex| {
            u64::from(hosts.in_flight(one)) * u64::from(hosts.weight(other))
        };
        let key = |claim: &Self, other: &Self| (claim.cold, load(claim.host, other.host), claim.order);
        key(self, than) < key(than, self)
    }
}

/// Why a host other than the home is taken, if it is for something that happened.
pub(super) fn reason(ask: &Ask<'_>, home: HostIndex, hosts: &impl Hosts) -> Option<Reason> {
    tried_reason(ask).or(match hosts.standing(home) {
        Standing::Eligible => None,
        Standing::Settling => Some(Reason::HomeSettling),
        Standing::Draining => Some(Reason::HomeDraining),
        Standing::Ejected => Some(Reason::HomeEjected),
        Standing::Down => Some(Reason::HomeDown),
        Standing::Absent => Some(Reason::HomeAbsent),
    })
}

fn tried_reason(ask: &Ask<'_>) -> Option<Reason> {
    ask.tried.last().and_then(|(_, outcome)| match outcome {
        Outcome::Refused => Some(Reason::Refused),
        Outcome::Leaving => Some(Reason::Leaving),
        Outcome::Failed => Some(Reason::Failed),
        Outcome::NotWarm(_) => None,
    })
}

fn choose_ineligible(ask: &Ask<'_>, home: HostIndex, hosts: &impl Hosts) -> Result<Decision, NoHost> {
    let untried = |host: HostIndex| !ask.tried.iter().any(|&(tried, _)| tried == host);
    let find = |wanted: Standing| {
        ask.candidates.iter().position(|&host| untried(host) && hosts.standing(host) == wanted)
    };
    let decision = |position: usize, reason| Decision {
        host: ask.candidates[position],
        reason,
        position,
        needs: None,
        elsewhere: None,
    };
    for standing in [Standing::Settling, Standing::Ejected, Standing::Draining] {
        if let Some(position) = find(standing) {
            let reason = match position {
                0 => Reason::Home,
                // It has become eligible while this was decided.
                _ => reason(ask, home, hosts).unwrap_or(Reason::HomeDown),
            };
            return Ok(decision(position, reason));
        }
    }
    if let Some(position) = find(Standing::Down) {
        return Ok(decision(position, Reason::LastResort));
    }
    if ask.tried.is_empty() {
        return Err(NoHost::NoneRunning(ask.candidates.len()));
    }
    Err(NoHost::of(ask.tried))
}

#[cfg(test)]
pub(super) mod tests;
