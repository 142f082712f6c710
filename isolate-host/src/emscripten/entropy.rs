//! Random bytes: real ones when serving, a reproducible stream while deploying.
//!
//! Whatever is drawn before a snapshot is the same in every clone, so it might as
//! well be the same in every build: the stream comes from the deployment's content.

use sha2::{Digest, Sha256};
use wasmtime::{Caller, Linker};

use super::memory::GuestMemory;
use crate::isolate::guest::Guest;

/// Where an isolate's random bytes come from.
#[derive(Debug, Clone)]
pub enum Entropy {
    /// SHA-256 of a seed and a counter.
    Deploying { seed: [u8; 32], drawn: u64 },
    /// The operating system.
    Serving,
}

impl Entropy {
    pub fn deploying(seed: [u8; 32]) -> Self {
        Self::Deploying { seed, drawn: 0 }
    }

    pub fn fill(&mut self, out: &mut [u8]) -> Result<(), getrandom::Error> {
        match self {
            Self::Serving => getrandom::fill(out),
            Self::Deploying { seed, drawn } => {
                for chunk in out.chunks_mut(32) {
                    let block =
                        Sha256::new().chain_update(*seed).chain_update(drawn.to_le_bytes()).finalize();
                    chunk.copy_from_slice(&block[..chunk.len()]);
                    *drawn += 1;
                }
                Ok(())
            }
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
            guest
                .entropy
                .fill(out)
                .map_err(|error| wasmtime::format_err!("the host has no entropy: {error}"))?;
            Ok::<i32, wasmtime::Error>(0)
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(entropy: &mut Entropy) -> [u8; 40] {
        let mut out = [0; 40];
        entropy.fill(&mut out).unwrap();
        out
    }

    #[test]
    fn deploying_twice_draws_the_same() {
        let (mut one, mut two) = (Entropy::deploying([7; 32]), Entropy::deploying([7; 32]));
        let first = draw(&mut one);
        assert_eq!(first, draw(&mut two));
        assert_ne!(first, draw(&mut one), "the stream goes on");
    }

    #[test]
    fn serving_twice_does_not() {
        assert_ne!(draw(&mut Entropy::Serving), draw(&mut Entropy::Serving));
    }
}
