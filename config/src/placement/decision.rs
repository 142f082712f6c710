//! How far down the list of candidates a request goes.

use crate::units::HostId;

/// What a router knows of a host right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Eligible,
    /// It died and is up again, but not yet for long enough.
    Settling,
    /// Health says it is down or nothing has been heard of it yet.
    Down,
    /// It has no address, since its process is being started.
    Absent,
}

/// What became of this request at a host it was already sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The host promised that it processed nothing.
    Refused,
    /// The connection failed, and the request may be sent again.
    Failed,
}

/// Why a host was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is the key's home.
    Home,
    /// The home refused this request.
    HomeRefused,
    /// The connection to the home failed during this request.
    HomeFailed,
    /// The home died and is settling.
    HomeSettling,
    /// The home is down.
    HomeDown,
    /// The home is being started.
    HomeAbsent,
    /// No host is known to be up, so health is ignored and the order kept.
    LastResort,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::HomeRefused => "home_refused",
            Self::HomeFailed => "home_failed",
            Self::HomeSettling => "home_settling",
            Self::HomeDown => "home_down",
            Self::HomeAbsent => "home_absent",
            Self::LastResort => "last_resort",
        }
    }
}

/// The host to send to next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub host: HostId,
    pub reason: Reason,
    /// Its position among the candidates: 0 is the home.
    pub position: usize,
}

/// Why there is no host to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHost {
    #[error("the membership has no hosts")]
    Empty,
    #[error("none of the {0} hosts is running")]
    NoneRunning(usize),
    #[error("the connection to each of the {0} hosts failed")]
    AllFailed(usize),
    #[error("each of the {tried} hosts was asked and {refused} refused")]
    Refused { tried: usize, refused: usize },
}

/// Takes the first candidate that was not tried yet and is eligible, else the
/// first that is settling. When no such host is left, health is ignored: a wrong
/// guess about health must not turn away a request that some host could have
/// answered.
pub fn choose(
    candidates: &[HostId],
    standing: impl Fn(&HostId) -> Standing,
    tried: &[(HostId, Outcome)],
) -> Result<Decision, NoHost> {
    let home = candidates.first().ok_or(NoHost::Empty)?;
    let outcome = |id: &HostId| tried.iter().find(|(host, _)| host == id).map(|&(_, outcome)| outcome);
    let find = |wanted: Standing| {
        let fits = |id: &&HostId| outcome(id).is_none() && standing(id) == wanted;
        candidates.iter().position(|id| fits(&id))
    };
    let decision =
        |position: usize, reason| Decision { host: candidates[position].clone(), reason, position };
    if let Some(position) = find(Standing::Eligible).or_else(|| find(Standing::Settling)) {
        let reason = match (position, outcome(home), standing(home)) {
            (0, ..) => Reason::Home,
            (_, Some(Outcome::Refused), _) => Reason::HomeRefused,
            (_, Some(Outcome::Failed), _) => Reason::HomeFailed,
            (_, None, Standing::Absent) => Reason::HomeAbsent,
            (_, None, Standing::Settling) => Reason::HomeSettling,
            // Eligible: it has become so while this was decided.
            (_, None, Standing::Down | Standing::Eligible) => Reason::HomeDown,
        };
        return Ok(decision(position, reason));
    }
    if let Some(position) = find(Standing::Down) {
        return Ok(decision(position, Reason::LastResort));
    }
    if tried.is_empty() {
        return Err(NoHost::NoneRunning(candidates.len()));
    }
    let refused = tried.iter().filter(|(_, outcome)| *outcome == Outcome::Refused).count();
    match (tried.len(), refused) {
        (tried, 0) => Err(NoHost::AllFailed(tried)),
        (tried, refused) => Err(NoHost::Refused { tried, refused }),
    }
}

#[cfg(test)]
mod tests {
    use super::Standing::{Absent, Down, Eligible, Settling};
    use super::*;

    /// Chooses among hosts `a`, `b`, `c`, … of the given standings.
    fn chosen(standings: &[Standing], tried: &[(&str, Outcome)]) -> Result<(String, Reason), NoHost> {
        let id = |n: usize| HostId::parse(&char::from(b'a' + n as u8).to_string()).unwrap();
        let candidates: Vec<HostId> = (0..standings.len()).map(id).collect();
        let standing = |host: &HostId| standings[usize::from(host.as_str().as_bytes()[0] - b'a')];
        let tried: Vec<(HostId, Outcome)> =
            tried.iter().map(|&(host, outcome)| (HostId::parse(host).unwrap(), outcome)).collect();
        choose(&candidates, standing, &tried).map(|decision| (decision.host.to_string(), decision.reason))
    }

    fn taken(host: &str, reason: Reason) -> Result<(String, Reason), NoHost> {
        Ok((host.to_owned(), reason))
    }

    #[test]
    fn the_home_comes_first_and_each_detour_says_why() {
        assert_eq!(chosen(&[Eligible, Eligible], &[]), taken("a", Reason::Home));
        assert_eq!(chosen(&[Down, Eligible], &[]), taken("b", Reason::HomeDown));
        assert_eq!(chosen(&[Absent, Eligible], &[]), taken("b", Reason::HomeAbsent));
        let refused = [("a", Outcome::Refused)];
        assert_eq!(chosen(&[Eligible, Eligible], &refused), taken("b", Reason::HomeRefused));
        let failed = [("a", Outcome::Failed)];
        assert_eq!(chosen(&[Down, Down, Eligible], &failed), taken("c", Reason::HomeFailed));
    }

    #[test]
    fn a_settling_host_waits_while_another_can_answer() {
        assert_eq!(chosen(&[Settling, Eligible], &[]), taken("b", Reason::HomeSettling));
        assert_eq!(chosen(&[Settling, Down], &[]), taken("a", Reason::Home));
        assert_eq!(chosen(&[Down, Settling], &[]), taken("b", Reason::HomeDown));
        let failed = [("b", Outcome::Failed)];
        assert_eq!(chosen(&[Settling, Eligible], &failed), taken("a", Reason::Home));
    }

    #[test]
    fn health_is_ignored_rather_than_turning_a_request_away() {
        assert_eq!(chosen(&[Down, Down], &[]), taken("a", Reason::LastResort));
        let failed = [("a", Outcome::Failed)];
        assert_eq!(chosen(&[Eligible, Down], &failed), taken("b", Reason::LastResort));
    }

    #[test]
    fn no_host_is_tried_twice() {
        let tried = [("a", Outcome::Refused), ("b", Outcome::Failed)];
        assert_eq!(chosen(&[Eligible, Eligible], &tried), Err(NoHost::Refused { tried: 2, refused: 1 }));
        assert_eq!(chosen(&[Absent, Absent], &[]), Err(NoHost::NoneRunning(2)));
        assert_eq!(chosen(&[], &[]), Err(NoHost::Empty));
    }
}
