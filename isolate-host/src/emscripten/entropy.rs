//! Random bytes: real ones when serving, poison while deploying.
//!
//! Whatever is drawn before a snapshot is the same in every clone. So while a worker is
//! deployed nothing random is to be had: draws are refused, but for those that were
//! allowed beforehand, and these get [`Poison`]: bytes that are no secret, that the same
//! deployment gets again when it is built again, and that the host recognises wherever
//! they turn up in memory.

mod poison;
mod search;
mod seed;

use wasmtime::{Caller, Linker};

pub use poison::{Poison, Trace};
pub use search::Form;
pub use seed::CaptureSeed;

use super::files::Errno;
use super::memory::GuestMemory;
use crate::isolate::guest::Guest;

/// Where an isolate's random bytes come from.
#[derive(Debug)]
pub enum Entropy {
    /// Nowhere: what is drawn is poison, or refused.
    Deploying(Poison),
    /// The operating system.
    Serving,
}

/// Why there are no random bytes.
#[derive(Debug, thiserror::Error)]
pub enum EntropyError {
    #[error("random bytes are not to be had while the worker's top level runs")]
    Deploying,
    #[error("the host has no entropy")]
    Host(#[from] getrandom::Error),
}

impl Entropy {
    pub fn deploying(seed: &CaptureSeed) -> Self {
        Self::Deploying(Poison::new(seed.poison()))
    }

    /// Draws that were refused so far.
    pub fn refused(&self) -> u32 {
        match self {
            Self::Deploying(poison) => poison.refused(),
            Self::Serving => 0,
        }
    }

    /// Fills `out`, as one draw.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        match self {
            Self::Serving => Ok(getrandom::fill(out)?),
            Self::Deploying(poison) => poison.draw(out),
        }
    }
}

pub fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "random_get",
        |mut caller: Caller<'_, Guest>, at: u32, length: u32| {
            let (mut memory, guest) = GuestMemory::with_guest(&mut caller);
            let out = memory.bytes_mut(at, length as usize)?;
            match guest.entropy.fill(out) {
                Ok(()) => Ok(0),
                Err(EntropyError::Deploying) => Ok(i32::from(Errno::EIO.number())),
                Err(error @ EntropyError::Host(_)) => Err(wasmtime::Error::new(error)),
            }
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serving_twice_draws_different_bytes() {
        let draw = || {
            let mut out = [0; 40];
            Entropy::Serving.fill(&mut out).unwrap();
            out
        };
        assert_ne!(draw(), draw());
    }

    #[test]
    fn a_deployment_draws_what_its_seed_says() {
        let draw = |seed: [u8; 32]| {
            let mut out = [0; 40];
            Entropy::deploying(&CaptureSeed::new(seed)).fill(&mut out).unwrap();
            out
        };
        assert_eq!(draw([7; 32]), draw([7; 32]));
        assert_ne!(draw([7; 32]), draw([8; 32]));
    }
}
