//! What room for one more isolate costs.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The worth of the isolate that would be dropped, in billionths of a call a second: nothing where
/// there is room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Price(pub u32);

impl Price {
    pub const NOTHING: Price = Price(0);
    /// There is no room and none can be made.
    pub const MOST: Price = Price(u32::MAX);

    /// Of calls a second; never nothing.
    pub fn of_worth(worth: f64) -> Self {
        // The conversion saturates: four calls a second and more are all the same.
        Self(((worth * 1e9) as u32).max(1))
    }
}

impl FromStr for Price {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
