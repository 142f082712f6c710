//! Policies without a home, to measure the others against. `draw` is a random
//! number of the caller's, so that a run with one seed gives one result.

use super::decision::{Ask, Decision, Hosts, NoHost, Reason, Standing, choose};
use super::{Bound, HostIndex};

/// Any eligible host, all alike.
pub fn random(ask: Ask<'_>, hosts: &impl Hosts, draw: u64) -> Result<Decision, NoHost> {
    let eligible = eligible(ask, hosts);
    match pick(eligible.len(), draw) {
        Some(n) => Ok(drawn(eligible[n])),
        None => choose(ask, hosts, &Bound::default()),
    }
}

/// The less loaded of two different eligible hosts: "the power of two choices"
/// (Mitzenmacher, 2001).
pub fn least_of_two(ask: Ask<'_>, hosts: &impl Hosts, draw: u64) -> Result<Decision, NoHost> {
    let mut eligible = eligible(ask, hosts);
    let Some(first) = pick(eligible.len(), draw & 0xffff_ffff) else {
        return choose(ask, hosts, &Bound::default());
    };
    let first = eligible.swap_remove(first);
    let Some(second) = pick(eligible.len(), draw >> 32) else {
        return Ok(drawn(first));
    };
    let second = eligible[second];
    let load = |host: HostIndex, other| u64::from(hosts.in_flight(host)) * u64::from(hosts.weight(other));
    let taken = if load(second.1, first.1) < load(first.1, second.1) { second } else { first };
    Ok(drawn(taken))
}

fn eligible(ask: Ask<'_>, hosts: &impl Hosts) -> Vec<(usize, HostIndex)> {
    let fits = |&(_, host): &(usize, HostIndex)| {
        hosts.standing(host) == Standing::Eligible && !ask.tried.iter().any(|&(tried, _)| tried == host)
    };
    ask.candidates.iter().copied().enumerate().filter(fits).collect()
}

fn pick(count: usize, draw: u64) -> Option<usize> {
    draw.checked_rem(count as u64).map(|n| n as usize)
}

fn drawn((position, host): (usize, HostIndex)) -> Decision {
    Decision { host, reason: Reason::Drawn, position, needs: None, elsewhere: None }
}

#[cfg(test)]
mod tests {
    use super::super::decision::tests::fleet;
    use super::super::{NoHost, Outcome, Standing};
    use super::*;

    #[test]
    fn random_reaches_every_eligible_host_and_no_other() {
        let fleet = fleet(&[Standing::Eligible, Standing::Down, Standing::Eligible]);
        let candidates: Vec<HostIndex> = (0..3).map(HostIndex::new).collect();
        let ask = Ask::new(&candidates, 1, &[]);
        let mut seen: Vec<usize> = (0..10).map(|draw| random(ask, &fleet, draw).unwrap().position).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 2]);
    }

    #[test]
    fn of_two_the_less_loaded_is_taken() {
        let mut fleet = fleet(&[Standing::Eligible; 2]);
        fleet.hosts[0].in_flight = 3;
        let candidates: Vec<HostIndex> = (0..2).map(HostIndex::new).collect();
        let ask = Ask::new(&candidates, 1, &[]);
        for draw in [0, 1, 1 << 32, u64::MAX] {
            assert_eq!(least_of_two(ask, &fleet, draw).unwrap().position, 1);
        }
        let tried = [(HostIndex::new(1), Outcome::Refused)];
        let ask = Ask { tried: &tried, ..ask };
        assert_eq!(least_of_two(ask, &fleet, 7).unwrap().position, 0);
        let none: [HostIndex; 0] = [];
        let ask = Ask::new(&none, 1, &[]);
        assert_eq!(random(ask, &fleet, 7), Err(NoHost::Empty));
    }
}
