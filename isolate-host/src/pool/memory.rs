//! How much memory this host takes, as it was when last looked at.

use std::sync::atomic::{AtomicU64, Ordering};

use warmshard_config::host_policy::memory::{MemoryLimits, Pressure};

/// Looking is [`crate::server`]'s business; whoever decides reads a number.
#[derive(Debug)]
pub struct Memory {
    limits: MemoryLimits,
    used: AtomicU64,
}

impl Memory {
    pub fn new(limits: MemoryLimits) -> Self {
        Self { limits, used: AtomicU64::new(0) }
    }

    pub fn limits(&self) -> MemoryLimits {
        self.limits
    }

    /// Bytes.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub fn pressure(&self) -> Pressure {
        self.limits.pressure(self.used())
    }

    /// It takes so many bytes now. Returns how short memory was before.
    pub fn set_used(&self, used: u64) -> Pressure {
        self.limits.pressure(self.used.swap(used, Ordering::Relaxed))
    }
}
