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
//! A worker of one host may still live at any of its first few, its *homes*: while all of them
//! are full it is restored where that costs least. No router knows what is warm at a host that
//! another router sends to, so it asks: a home that would have to drop something refuses unless
//! the worker is warm there, and says its price.
//!
//! ```text
//! home 1 ── "not warm, price 7" ──▶ home 2, told 7 ── warm, or cheaper ──▶ answers
//!    ▲                                   └── "not warm, price 9" ──┐
//!    └──────────────── told nothing: makes room ◀──────────────────┘
//! ```

use super::HostIndex;
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

    fn has_room(&self, host: HostIndex, hosts: &impl Hosts) -> bool {
        let in_flight = hosts.in_flight(host);
        // The mean is only asked for where the soft limit does not decide.
        in_flight < hosts.soft_limit(host) || u64::from(in_flight) < self.of(host, hosts)
    }
}

/// Takes a home, see above; of a worker that is spread the best host within the width. Else the
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

/// Whether a home is the first one, which is preferred: a worker that keeps changing between its
/// homes is known well at none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaning {
    First,
    Other,
}

impl Leaning {
    /// Room at the first home may cost so many times what it costs at another.
    const PREFERENCE: u32 = 2;

    fn of(rank: usize) -> Self {
        if rank == 0 { Self::First } else { Self::Other }
    }

    /// A home's price, made comparable with that of others.
    fn felt(self, price: Price) -> Price {
        match self {
            Self::First => price,
            Self::Other => Price(price.0.saturating_mul(Self::PREFERENCE)),
        }
    }

    /// What a home is told of a price that others are felt to have.
    fn told(self, felt: Price) -> Price {
        match self {
            Self::First => felt,
            Self::Other => Price(felt.0 / Self::PREFERENCE),
        }
    }
}

/// For a worker of one host: the home where it lives, else the first, else the next that was not
/// asked, else the cheapest of those that were. `None` where nothing of that can be
/// had, or the home has too much.
fn choose_home(ask: &Ask<'_>, home: HostIndex, hosts: &impl Hosts, bound: &Bound) -> Option<Decision> {
    if ask.width > 1 || ask.homes < 2 {
        return None;
    }
    if !ask.tried.is_empty() && !ask.tried.iter().any(|(_, outcome)| matches!(outcome, Outcome::NotWarm(_))) {
        return None;
    }
    let eligible = ask.candidates.iter().copied().enumerate();
    let eligible = eligible.filter(|&(_, host)| hosts.standing(host) == Standing::Eligible);
    let (mut next, mut others) = (None::<(usize, usize, HostIndex)>, 0);
    let mut cheapest = None::<(usize, HostIndex, Price)>;
    for (rank, (position, host)) in eligible.take(usize::from(ask.homes)).enumerate() {
        let outcome = ask.tried.iter().find(|&&(tried, _)| tried == host).map(|(_, outcome)| *outcome);
        match outcome {
            None => {
                others += 1;
                if next.is_none() || ask.other_home == Some(host) {
                    next = Some((rank, position, host));
                }
            }
            Some(Outcome::NotWarm(price)) => {
                let price = Leaning::of(rank).felt(price);
                if cheapest.is_none_or(|(.., least)| price < least) {
                    cheapest = Some((position, host, price));
                }
            }
            Some(_) => {}
        }
    }
    let (position, host, elsewhere) = match (next, cheapest) {
        (Some((rank, position, host)), _) if bound.has_room(host, hosts) => {
            let offer = cheapest.map(|(.., price)| Leaning::of(rank).told(price));
            (position, host, offer.or((others > 1).then_some(Price::NOTHING)))
        }
        (_, Some((position, host, _))) => (position, host, None),
        _ => return None,
    };
    let reason = match position {
        0 => Reason::Home,
        _ => reason(ask, home, hosts).unwrap_or(Reason::OtherHome),
    };
    Some(Decision { host, reason, position, needs: None, elsewhere })
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
fn reason(ask: &Ask<'_>, home: HostIndex, hosts: &impl Hosts) -> Option<Reason> {
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
pub(super) mod tests {
    use super::Standing::{Absent, Down, Draining, Ejected, Eligible, Settling};
    use super::*;

    /// Hosts 0, 1, 2, … in the order of the candidates.
    #[derive(Debug, Clone)]
    pub(in super::super) struct Fleet {
        pub(in super::super) hosts: Vec<Host>,
        pub(in super::super) soft_limit: u32,
    }

    #[derive(Debug, Clone, Copy)]
    pub(in super::super) struct Host {
        pub(in super::super) standing: Standing,
        pub(in super::super) in_flight: u32,
        pub(in super::super) weight: u32,
        pub(in super::super) warm: bool,
    }

    impl Hosts for Fleet {
        fn standing(&self, host: HostIndex) -> Standing {
            self.hosts[host.get()].standing
        }
        fn in_flight(&self, host: HostIndex) -> u32 {
            self.hosts[host.get()].in_flight
        }
        fn soft_limit(&self, _: HostIndex) -> u32 {
            self.soft_limit
        }
        fn weight(&self, host: HostIndex) -> u32 {
            self.hosts[host.get()].weight
        }
        fn is_warm(&self, host: HostIndex) -> bool {
            self.hosts[host.get()].warm
        }
        fn total(&self) -> Total {
            let eligible = self.hosts.iter().filter(|host| host.standing == Eligible);
            eligible.fold(Total::default(), |sum, host| Total {
                in_flight: sum.in_flight + u64::from(host.in_flight),
                weight: sum.weight + u64::from(host.weight),
            })
        }
    }

    pub(in super::super) fn fleet(standings: &[Standing]) -> Fleet {
        let host = |&standing: &Standing| Host { standing, in_flight: 0, weight: 1, warm: false };
        Fleet { hosts: standings.iter().map(host).collect(), soft_limit: 10 }
    }

    fn loaded(in_flight: &[u32]) -> Fleet {
        let mut fleet = fleet(&vec![Eligible; in_flight.len()]);
        for (host, &load) in fleet.hosts.iter_mut().zip(in_flight) {
            host.in_flight = load;
        }
        fleet
    }

    fn choice(fleet: &Fleet, width: u16, tried: &[(usize, Outcome)]) -> Result<Decision, NoHost> {
        let candidates: Vec<HostIndex> = (0..fleet.hosts.len()).map(HostIndex::new).collect();
        let tried: Vec<_> = tried.iter().map(|&(host, outcome)| (HostIndex::new(host), outcome)).collect();
        choose(Ask::new(&candidates, width, &tried), fleet, &Bound::default())
    }

    fn chosen(standings: &[Standing], tried: &[(usize, Outcome)]) -> Result<(usize, Reason), NoHost> {
        choice(&fleet(standings), 1, tried).map(|decision| (decision.position, decision.reason))
    }

    #[test]
    fn the_home_comes_first_and_each_detour_says_why() {
        assert_eq!(chosen(&[Eligible, Eligible], &[]), Ok((0, Reason::Home)));
        for (standing, reason) in [
            (Down, Reason::HomeDown),
            (Absent, Reason::HomeAbsent),
            (Settling, Reason::HomeSettling),
            (Ejected, Reason::HomeEjected),
            (Draining, Reason::HomeDraining),
        ] {
            assert_eq!(chosen(&[standing, Eligible], &[]), Ok((1, reason)));
        }
        assert_eq!(chosen(&[Eligible, Eligible], &[(0, Outcome::Refused)]), Ok((1, Reason::Refused)));
        assert_eq!(chosen(&[Eligible, Eligible], &[(0, Outcome::Leaving)]), Ok((1, Reason::Leaving)));
        assert_eq!(chosen(&[Down, Down, Eligible], &[(0, Outcome::Failed)]), Ok((2, Reason::Failed)));
    }

    #[test]
    fn a_host_that_ought_to_rest_waits_while_another_can_answer() {
        assert_eq!(chosen(&[Settling, Down], &[]), Ok((0, Reason::Home)));
        assert_eq!(chosen(&[Down, Settling], &[]), Ok((1, Reason::HomeDown)));
        assert_eq!(chosen(&[Draining, Ejected, Settling], &[]), Ok((2, Reason::HomeDraining)));
        assert_eq!(chosen(&[Draining, Ejected, Down], &[]), Ok((1, Reason::HomeDraining)));
        assert_eq!(chosen(&[Draining, Down], &[]), Ok((0, Reason::Home)));
        assert_eq!(chosen(&[Settling, Eligible], &[(1, Outcome::Failed)]), Ok((0, Reason::Home)));
    }

    #[test]
    fn health_is_ignored_rather_than_turning_a_request_away() {
        assert_eq!(chosen(&[Down, Down], &[]), Ok((0, Reason::LastResort)));
        assert_eq!(chosen(&[Eligible, Down], &[(0, Outcome::Failed)]), Ok((1, Reason::LastResort)));
    }

    #[test]
    fn no_host_is_tried_twice() {
        let tried = [(0, Outcome::Refused), (1, Outcome::Failed)];
        assert_eq!(chosen(&[Eligible, Eligible], &tried), Err(NoHost::Refused { tried: 2, refused: 1 }));
        assert_eq!(chosen(&[Absent, Absent], &[]), Err(NoHost::NoneRunning(2)));
        assert_eq!(chosen(&[], &[]), Err(NoHost::Empty));
    }

    #[test]
    fn within_the_width_warm_comes_first_then_the_least_loaded() {
        let mut fleet = loaded(&[5, 3, 0, 0]);
        let taken = |fleet: &Fleet, width| {
            choice(fleet, width, &[]).map(|decision| (decision.position, decision.reason)).unwrap()
        };
        assert_eq!(taken(&fleet, 1), (0, Reason::Home));
        assert_eq!(taken(&fleet, 2), (1, Reason::Spread));
        assert_eq!(taken(&fleet, 3), (2, Reason::Spread));
        fleet.hosts[0].warm = true;
        assert_eq!(taken(&fleet, 3), (0, Reason::Home), "warm outweighs load below the bound");
        fleet.hosts[1].warm = true;
        assert_eq!(taken(&fleet, 3), (1, Reason::Spread));
        fleet.hosts[0].weight = 2;
        assert_eq!(taken(&fleet, 3), (0, Reason::Home), "5 of weight 2 are less than 3");
    }

    #[test]
    fn a_host_that_is_down_gives_its_place_within_the_width_to_the_next() {
        let mut fleet = loaded(&[0, 9, 1, 0]);
        fleet.hosts[0].standing = Down;
        let decision = choice(&fleet, 2, &[]).unwrap();
        assert_eq!((decision.position, decision.reason, decision.needs), (2, Reason::HomeDown, None));
    }

    #[test]
    fn refusals_within_the_width_ask_for_more_and_failures_do_not() {
        let fleet = loaded(&[0, 0, 0, 0]);
        let needs = |width, tried: &[_]| {
            let decision = choice(&fleet, width, tried).unwrap();
            (decision.position, decision.needs)
        };
        assert_eq!(needs(1, &[(0, Outcome::Refused)]), (1, Some(2)));
        assert_eq!(needs(2, &[(0, Outcome::Refused)]), (1, None), "the other one of two is asked first");
        assert_eq!(needs(2, &[(0, Outcome::Refused), (1, Outcome::Refused)]), (2, Some(3)));
        assert_eq!(needs(1, &[(0, Outcome::Failed)]), (1, None));
        assert_eq!(needs(1, &[(0, Outcome::Leaving)]), (1, None));
    }

    #[test]
    fn a_host_over_its_bound_is_left_for_the_next_with_room() {
        let over = loaded(&[11, 0, 0, 0]);
        let decision = choice(&over, 1, &[]).unwrap();
        assert_eq!((decision.position, decision.reason, decision.needs), (1, Reason::OverBound, Some(2)));
        let light = loaded(&[9, 0, 0, 0]);
        assert_eq!(choice(&light, 1, &[]).unwrap().reason, Reason::Home, "below the soft limit");
        let busy = loaded(&[22, 20, 20, 20]);
        assert_eq!(choice(&busy, 1, &[]).unwrap().reason, Reason::Home, "the others have as much");
        let mut one_left = loaded(&[30, 2]);
        one_left.hosts[1].standing = Down;
        assert_eq!(choice(&one_left, 1, &[]).unwrap().reason, Reason::Home, "nobody else has room");
    }

    #[test]
    fn the_bound_grows_with_a_hosts_weight() {
        let mut fleet = loaded(&[40, 10, 10]);
        fleet.soft_limit = 1;
        fleet.hosts[0].weight = 4;
        // 60 in flight over weight 6: a fair 40 for weight 4, times 1.25.
        assert_eq!(Bound::default().of(HostIndex::new(0), &fleet), 50);
        assert_eq!(Bound::default().of(HostIndex::new(1), &fleet), 13);
    }

    /// A worker of one host that may live at two.
    fn at_home(fleet: &Fleet, tried: &[(usize, Outcome)]) -> (usize, Reason, Option<Price>) {
        let candidates: Vec<HostIndex> = (0..fleet.hosts.len()).map(HostIndex::new).collect();
        let tried: Vec<_> = tried.iter().map(|&(host, outcome)| (HostIndex::new(host), outcome)).collect();
        let ask = Ask { homes: 2, ..Ask::new(&candidates, 1, &tried) };
        let decision = choose(ask, fleet, &Bound::default()).unwrap();
        assert_eq!(decision.needs.is_some(), matches!(decision.reason, Reason::Refused | Reason::OverBound));
        (decision.position, decision.reason, decision.elsewhere)
    }

    #[test]
    fn homes_are_asked_in_turn_and_the_cheapest_makes_room() {
        let fleet = fleet(&[Eligible; 4]);
        let not_warm = |price| Outcome::NotWarm(Price(price));
        assert_eq!(at_home(&fleet, &[]), (0, Reason::Home, Some(Price::NOTHING)));
        assert_eq!(at_home(&fleet, &[(0, not_warm(7))]), (1, Reason::OtherHome, Some(Price(3))));
        let asked = |first, second| at_home(&fleet, &[(0, not_warm(first)), (1, not_warm(second))]);
        assert_eq!(asked(7, 9), (0, Reason::Home, None));
        assert_eq!(asked(9, 7), (0, Reason::Home, None), "not so much cheaper");
        assert_eq!(asked(9, 4), (1, Reason::OtherHome, None));
        // The second has no room at all: the first has to make some.
        let full = [(0, not_warm(7)), (1, Outcome::Refused)];
        assert_eq!(at_home(&fleet, &full).0, 0);
    }

    #[test]
    fn the_home_where_it_lives_comes_first() {
        let fleet = fleet(&[Eligible; 4]);
        let candidates: Vec<HostIndex> = (0..4).map(HostIndex::new).collect();
        let chosen = |lives: usize, tried: &[(HostIndex, Outcome)]| {
            let ask =
                Ask { homes: 2, other_home: Some(HostIndex::new(lives)), ..Ask::new(&candidates, 1, tried) };
            let decision = choose(ask, &fleet, &Bound::default()).unwrap();
            (decision.position, decision.reason, decision.elsewhere)
        };
        assert_eq!(chosen(1, &[]), (1, Reason::OtherHome, Some(Price::NOTHING)));
        assert_eq!(chosen(1, &[(HostIndex::new(1), Outcome::NotWarm(Price(3)))]).0, 0);
        assert_eq!(chosen(0, &[]).0, 0);
        assert_eq!(chosen(2, &[]).0, 0, "two homes, not three");
    }

    #[test]
    fn homes_are_among_those_that_are_eligible_and_have_room() {
        let mut fleet = fleet(&[Down, Eligible, Eligible, Eligible]);
        assert_eq!(at_home(&fleet, &[]), (1, Reason::HomeDown, Some(Price::NOTHING)));
        assert_eq!(at_home(&fleet, &[(1, Outcome::NotWarm(Price(3)))]).0, 2);
        fleet.hosts[0].standing = Eligible;
        fleet.hosts[0].in_flight = 1000;
        assert_eq!(at_home(&fleet, &[]), (1, Reason::OverBound, None), "that is a matter of width");
        fleet.hosts.truncate(1);
        fleet.hosts[0].in_flight = 0;
        assert_eq!(at_home(&fleet, &[]), (0, Reason::Home, None), "nobody else to ask");
    }
}
