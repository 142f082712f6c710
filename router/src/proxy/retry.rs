//! Whether a request that failed at one host may go to the next.

use warmshard_config::host_policy::Price;
use warmshard_config::placement::Outcome;

/// What went wrong between router and host, or client and router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The host promised that it processed nothing: it is full.
    Refused,
    /// The host promised that it processed nothing: the worker is not warm there, and another
    /// host may have room for less.
    NotWarm(Price),
    /// The host promised that it processed nothing: it is shutting down.
    Leaving,
    /// The connection to the host ended too early.
    Lost,
    /// The host sent nothing for too long.
    Silent,
    /// The host sent something that is not HTTP.
    Garbage,
    /// The client went away, or what it sent is not HTTP.
    Client,
    /// The router itself failed.
    Router,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Situation {
    pub(crate) trouble: Trouble,
    /// The client has seen the beginning of an answer.
    pub(crate) response_began: bool,
    /// The method says that doing it twice is the same as doing it once.
    pub(crate) idempotent: bool,
    /// Not even the request's headers reached the host.
    pub(crate) nothing_sent: bool,
    /// All of the body read so far is still here.
    pub(crate) body_kept: bool,
}

/// `None` when the request must end here.
pub(crate) fn next_step(situation: &Situation) -> Option<Outcome> {
    if situation.response_began || !situation.body_kept {
        return None;
    }
    match situation.trouble {
        Trouble::Refused => Some(Outcome::Refused),
        Trouble::NotWarm(price) => Some(Outcome::NotWarm(price)),
        Trouble::Leaving => Some(Outcome::Leaving),
        Trouble::Lost if situation.idempotent || situation.nothing_sent => Some(Outcome::Failed),
        // What answered is no isolate host, or one that lost its way.
        Trouble::Garbage if situation.idempotent => Some(Outcome::Failed),
        // A silent host may still be working on it: asking another one would
        // double the load just when hosts are slow.
        Trouble::Lost | Trouble::Silent | Trouble::Garbage | Trouble::Client | Trouble::Router => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: Situation = Situation {
        trouble: Trouble::Lost,
        response_began: false,
        idempotent: false,
        nothing_sent: false,
        body_kept: true,
    };
    const GET: Situation = Situation { idempotent: true, ..POST };

    #[test]
    fn a_refusal_moves_any_method_as_long_as_the_body_is_there() {
        let refused = Situation { trouble: Trouble::Refused, ..POST };
        assert_eq!(next_step(&refused), Some(Outcome::Refused));
        assert_eq!(next_step(&Situation { body_kept: false, ..refused }), None);
        let not_warm = Situation { trouble: Trouble::NotWarm(Price(3)), ..POST };
        assert_eq!(next_step(&not_warm), Some(Outcome::NotWarm(Price(3))));
    }

    #[test]
    fn a_lost_connection_moves_what_may_be_repeated() {
        assert_eq!(next_step(&GET), Some(Outcome::Failed));
        assert_eq!(next_step(&POST), None);
        assert_eq!(next_step(&Situation { nothing_sent: true, ..POST }), Some(Outcome::Failed));
    }

    #[test]
    fn nothing_moves_once_the_answer_began() {
        assert_eq!(next_step(&Situation { response_began: true, ..GET }), None);
    }

    #[test]
    fn other_troubles_end_the_request() {
        for trouble in [Trouble::Silent, Trouble::Client, Trouble::Router] {
            assert_eq!(next_step(&Situation { trouble, ..GET }), None, "{trouble:?}");
        }
        assert_eq!(next_step(&Situation { trouble: Trouble::Garbage, ..POST }), None);
        assert_eq!(next_step(&Situation { trouble: Trouble::Garbage, ..GET }), Some(Outcome::Failed));
    }
}
