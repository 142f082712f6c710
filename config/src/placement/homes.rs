//! Which of its homes a worker lives at.
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
use super::decision::{Ask, Bound, Decision, Hosts, Outcome, Reason, Standing, reason};
use crate::host_policy::Price;

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
pub(super) fn choose_home(
    ask: &Ask<'_>,
    home: HostIndex,
    hosts: &impl Hosts,
    bound: &Bound,
) -> Option<Decision> {
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
