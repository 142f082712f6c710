//! The policies that can be compared.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PolicyName {
    /// What routers do: elastic width, learned from refusals, with a bound and a floor
    Ours,
    /// Any host, all alike
    Random,
    /// The less loaded of two hosts drawn at random
    P2c,
    /// The worker's home; others only where it cannot be reached or refuses
    Strict,
    /// Textbook bounded load: the next host on the ring above 1.25 times the mean
    Bounded,
    /// Knows the future: one pool of all the slots that drops whose next request is furthest
    Clairvoyant,
}

impl PolicyName {
    pub const ALL: [Self; 6] =
        [Self::Ours, Self::Random, Self::P2c, Self::Strict, Self::Bounded, Self::Clairvoyant];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Random => "random",
            Self::P2c => "p2c",
            Self::Strict => "strict",
            Self::Bounded => "bounded",
            Self::Clairvoyant => "clairvoyant",
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
