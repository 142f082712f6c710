//! What a guest gets that draws entropy while it is deployed.

use sha2::{Digest, Sha256};

use super::EntropyError;
use super::search::{Form, Patterns};

/// Bytes a deployment may draw; all of them are kept, to be searched for.
const MOST_BYTES: usize = 64 << 10;

/// The draws of one deployment, and whether there may be more.
#[derive(Debug)]
pub struct Poison {
    seed: [u8; 32],
    draws: Vec<Draw>,
    drawn: usize,
    allowance: Allowance,
    /// What the current allowance is for.
    purpose: String,
    /// Draws that were refused.
    refused: u32,
}

#[derive(Debug)]
struct Draw {
    bytes: Vec<u8>,
    purpose: String,
}

#[derive(Debug, Clone, Copy)]
enum Allowance {
    /// Until the platform is up: only its own code runs.
    Booting,
    Draws(u32),
}

/// A copy of poison in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace<'a> {
    /// Offset of the first byte that is recognised.
    pub at: usize,
    pub length: usize,
    pub form: Form,
    /// What the draw was allowed for.
    pub purpose: &'a str,
}

impl Poison {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let (allowance, purpose) = (Allowance::Booting, "the start of Python".to_owned());
        Self { seed, draws: Vec::new(), drawn: 0, allowance, purpose, refused: 0 }
    }

    /// Sets how many draws may follow; answers how many of the draws allowed before are left.
    pub fn allow(&mut self, draws: u32, purpose: &str) -> u32 {
        purpose.clone_into(&mut self.purpose);
        match std::mem::replace(&mut self.allowance, Allowance::Draws(draws)) {
            Allowance::Booting => 0,
            Allowance::Draws(left) => left,
        }
    }

    /// Draws that were refused so far.
    pub fn refused(&self) -> u32 {
        self.refused
    }

    pub(super) fn draw(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        let left = match self.allowance {
            Allowance::Booting => Allowance::Booting,
            Allowance::Draws(left @ 1..) => Allowance::Draws(left - 1),
            Allowance::Draws(0) => return self.refuse(),
        };
        if self.drawn + out.len() > MOST_BYTES {
            return self.refuse();
        }
        self.allowance = left;
        self.drawn += out.len();
        let draw = self.draws.len() as u64;
        for (block, chunk) in out.chunks_mut(32).enumerate() {
            let bytes = Sha256::new()
                .chain_update(self.seed)
                .chain_update(draw.to_le_bytes())
                .chain_update((block as u64).to_le_bytes())
                .finalize();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        self.draws.push(Draw { bytes: out.to_vec(), purpose: self.purpose.clone() });
        Ok(())
    }

    fn refuse(&mut self) -> Result<(), EntropyError> {
        self.refused += 1;
        Err(EntropyError::Deploying)
    }

    /// Every copy of what was drawn that `memory` holds, by address.
    pub fn search(&self, memory: &[u8]) -> Vec<Trace<'_>> {
        let found = Patterns::of(self.draws.iter().map(|draw| &draw.bytes[..])).find(memory);
        found
            .into_iter()
            .map(|hit| Trace {
                at: hit.at,
                length: hit.length,
                form: hit.form,
                purpose: &self.draws[hit.draw as usize].purpose,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(poison: &mut Poison) -> Option<[u8; 40]> {
        let mut out = [0; 40];
        poison.draw(&mut out).ok().map(|()| out)
    }

    #[test]
    fn draws_are_reproducible_and_never_repeat() {
        let (mut one, mut two) = (Poison::new([7; 32]), Poison::new([7; 32]));
        let first = draw(&mut one).unwrap();
        assert_eq!(Some(first), draw(&mut two));
        assert_ne!(Some(first), draw(&mut one));
        assert_ne!(first[..32], first[8..]);
    }

    #[test]
    fn what_was_not_allowed_is_refused_and_counted() {
        let mut poison = Poison::new([7; 32]);
        assert!(draw(&mut poison).is_some(), "while Python starts");
        assert_eq!(poison.allow(2, "one"), 0);
        assert!(draw(&mut poison).is_some());
        assert_eq!(poison.allow(1, "two"), 1, "one is left of the first allowance");
        assert!(draw(&mut poison).is_some() && draw(&mut poison).is_none());
        assert_eq!((poison.allow(0, ""), poison.refused()), (0, 1));
    }

    #[test]
    fn nobody_draws_without_end() {
        let mut poison = Poison::new([7; 32]);
        let mut out = vec![0; MOST_BYTES];
        assert!(poison.draw(&mut out).is_ok());
        assert!(poison.draw(&mut [0]).is_err());
    }

    #[test]
    fn a_trace_names_what_was_allowed() {
        let mut poison = Poison::new([7; 32]);
        poison.allow(1, "opentelemetry.context");
        let drawn = draw(&mut poison).unwrap();
        let mut memory = vec![1; 1000];
        memory[501..541].copy_from_slice(&drawn);
        let found = poison.search(&memory);
        let expected = Trace { at: 501, length: 40, form: Form::Bytes, purpose: "opentelemetry.context" };
        assert_eq!(found, [expected]);
    }
}
