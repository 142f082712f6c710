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
