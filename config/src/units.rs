//! Names and quantities that cannot be mixed up: parsed once, valid ever after.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("found an empty name, expected 1 to 63 characters `a-z`, `0-9`, `-` or `_`")]
    Empty,
    #[error("found a name of {0} characters, expected at most 63")]
    TooLong(usize),
    #[error(
        "found `{found}` in the name `{name}`, expected only `a-z`, `0-9`, `-` and `_`, starting with a letter or digit"
    )]
    Character { name: String, found: char },
}

fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > 63 {
        return Err(NameError::TooLong(name.len()));
    }
    let allowed = |(position, c): (usize, char)| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || (position > 0 && (c == '-' || c == '_'))
    };
    match name.chars().enumerate().find(|&at| !allowed(at)) {
        Some((_, found)) => Err(NameError::Character { name: name.to_owned(), found }),
        None => Ok(()),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name: 1 to 63 characters `a-z`, `0-9`, `-`, `_`, the first a letter or digit.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check_name(name)?;
                Ok(Self(Arc::from(name)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::parse(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name_type! {
    /// A worker's ID: what requests name and what the ring hashes.
    WorkerName
}
name_type! {
    /// An isolate host's ID: what the ring places, whatever the host's address.
    HostId
}
name_type! {
    /// Hosts that fail together: a rack, a room, a data centre.
    ZoneName
}
name_type! {
    /// One object of a worker, which has a home of its own.
    ObjectName
}

/// A deployment's ID: the SHA-256 of its content, as 64 lowercase hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentId(Arc<str>);

/// Why a deployment ID was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found the deployment ID `{0}`, expected 64 lowercase hex digits")]
pub struct DeploymentIdError(String);

impl DeploymentId {
    pub fn parse(id: &str) -> Result<Self, DeploymentIdError> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if id.len() == 64 && id.bytes().all(hex) {
            Ok(Self(Arc::from(id)))
        } else {
            Err(DeploymentIdError(id.chars().take(80).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits: enough for people and headers.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for DeploymentId {
    type Error = DeploymentIdError;
    fn try_from(id: String) -> Result<Self, DeploymentIdError> {
        Self::parse(&id)
    }
}

impl From<DeploymentId> for String {
    fn from(id: DeploymentId) -> String {
        id.0.as_ref().to_owned()
    }
}

/// What placement hashes: a worker, or one object of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShardKey {
    worker: WorkerName,
    object: Option<ObjectName>,
}

impl ShardKey {
    pub fn of_worker(worker: WorkerName) -> Self {
        Self { worker, object: None }
    }

    pub fn of_object(worker: WorkerName, object: ObjectName) -> Self {
        Self { worker, object: Some(object) }
    }

    pub fn worker(&self) -> &WorkerName {
        &self.worker
    }

    pub fn object(&self) -> Option<&ObjectName> {
        self.object.as_ref()
    }

    /// The bytes that are hashed. They are part of the wire between routers: a
    /// change moves every worker, so golden vectors in `placement` hold them.
    pub fn hashed_bytes(&self) -> Vec<u8> {
        // The kind of key and a separator that no name can contain.
        let kind: &[u8] = if self.object.is_some() { b"o\0" } else { b"w\0" };
        let mut bytes = [kind, self.worker.as_str().as_bytes()].concat();
        if let Some(object) = &self.object {
            bytes.push(0);
            bytes.extend_from_slice(object.as_str().as_bytes());
        }
        bytes
    }
}

/// A host's share of the load relative to the others; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight(NonZeroU32);

impl Weight {
    /// The weight of a host that says nothing.
    pub const ONE: Weight = Weight(NonZeroU32::MIN);
    /// Beyond this a ring would be needlessly large.
    pub const MAX: u32 = 100;

    /// `None` for zero and for more than [`Weight::MAX`].
    pub fn new(weight: u32) -> Option<Self> {
        NonZeroU32::new(weight).filter(|weight| weight.get() <= Self::MAX).map(Self)
    }

    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// How much of its weight a host has right now, in thousandths: all of it, or
/// less while it is being filled or emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    pub const NONE: Share = Share(0);
    pub const FULL: Share = Share(1000);

    /// More than all of it is all of it.
    pub fn of_thousand(thousandths: u32) -> Self {
        Self(u16::try_from(thousandths).unwrap_or(u16::MAX).min(Self::FULL.0))
    }

    pub fn thousandths(self) -> u32 {
        u32::from(self.0)
    }
}

/// The version of a membership: equal on two routers exactly when they place alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

/// Why a fleet key was refused. The key itself is never shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetKeyError {
    #[error("found a fleet key of {0} characters, expected 16 to 256")]
    Length(usize),
    #[error("found a space or an unprintable character in the fleet key, expected printable ASCII")]
    Character,
}

/// The secret that router and hosts share, and while it is being changed the one
/// before or after it as well. It never shows in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct FleetKey(Arc<[Box<str>]>);

impl FleetKey {
    /// Parses one key on each line: 16 to 256 printable ASCII characters; white
    /// space around them is dropped. The first one is sent, any of them is accepted.
    pub fn parse(text: &str) -> Result<Self, FleetKeyError> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Err(FleetKeyError::Length(0));
        }
        for key in &lines {
            if !(16..=256).contains(&key.len()) {
                return Err(FleetKeyError::Length(key.len()));
            }
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(FleetKeyError::Character);
            }
        }
        Ok(Self(lines.into_iter().map(Box::from).collect()))
    }

    /// The secret, for the one header that carries it.
    pub fn reveal(&self) -> &str {
        &self.0[0]
    }

    /// Whether somebody knows a key, in a time that does not depend on how much of it they know.
    pub fn is(&self, offered: &[u8]) -> bool {
        let knows = |key: &str| {
            let key = key.as_bytes();
            let difference = key.iter().zip(offered).fold(0, |sum, (a, b)| sum | (a ^ b));
            key.len() == offered.len() && difference == 0
        };
        self.0.iter().fold(false, |known, key| known | knows(key))
    }
}

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetKey(…)")
    }
}

/// A password. It never shows in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

impl Password {
    /// White space around it, such as the line break of a file, is dropped. `None` when nothing is left.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The secret, for the one message that carries it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Bytes as lowercase hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let pairs = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    pairs.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Why a duration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{0}`, expected a number and a unit, as in `500ms`, `1.5s`, `10m` or `1h`")]
pub struct DurationError(String);

/// Parses `500ms`, `1.5s`, `10m`, `1h`.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let refuse = || DurationError(text.to_owned());
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(refuse)?;
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(refuse()),
    };
    let digits_only = number.trim().bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let amount: f64 = number.trim().parse().map_err(|_| refuse())?;
    if !digits_only {
        return Err(refuse());
    }
    Duration::try_from_secs_f64(amount * scale).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_with_what_was_found() {
        assert!(WorkerName::parse("fast-api_2").is_ok());
        assert_eq!(WorkerName::parse(""), Err(NameError::Empty));
        assert_eq!(WorkerName::parse(&"a".repeat(64)), Err(NameError::TooLong(64)));
        for (name, found) in [("-a", '-'), ("A", 'A'), ("a.b", '.'), ("a/b", '/'), ("a\0", '\0')] {
            assert_eq!(WorkerName::parse(name), Err(NameError::Character { name: name.into(), found }));
        }
    }

    #[test]
    fn hex_digits() {
        assert_eq!(hex(&[]), "");
        assert_eq!(hex(&[0x00, 0x0f, 0xa1, 0xff]), "000fa1ff");
    }

    #[test]
    fn durations() {
        let parsed = |text| parse_duration(text).ok();
        assert_eq!(parsed("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parsed("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parsed("10m"), Some(Duration::from_secs(600)));
        assert_eq!(parsed("1h"), Some(Duration::from_secs(3600)));
        for wrong in ["", "1", "s", "-1s", "1 day", "1e300h", "infs", "1.2.3s", "1S"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn fleet_keys_compare_whole_and_stay_secret() {
        let key = FleetKey::parse("  0123456789abcdef\n").unwrap();
        assert!(key.is(b"0123456789abcdef"));
        assert!(!key.is(b"0123456789abcdeX"));
        assert!(!key.is(b"0123456789abcdef0"));
        assert!(!key.is(b""));
        assert_eq!(format!("{key:?}"), "FleetKey(…)");
        assert_eq!(FleetKey::parse("short"), Err(FleetKeyError::Length(5)));
        assert_eq!(FleetKey::parse("0123456789 abcdef"), Err(FleetKeyError::Character));
        assert_eq!(FleetKey::parse(" \n"), Err(FleetKeyError::Length(0)));
    }

    #[test]
    fn while_a_key_is_changed_both_are_accepted_and_the_first_is_sent() {
        let keys = FleetKey::parse("0123456789abcdef\n\n fedcba9876543210\n").unwrap();
        assert_eq!(keys.reveal(), "0123456789abcdef");
        assert!(keys.is(b"0123456789abcdef") && keys.is(b"fedcba9876543210"));
        assert!(!keys.is(b"0123456789abcdeX") && !keys.is(b""));
        assert_eq!(FleetKey::parse("0123456789abcdef\nshort"), Err(FleetKeyError::Length(5)));
    }
}
