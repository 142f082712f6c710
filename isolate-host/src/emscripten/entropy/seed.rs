//! What a capture derives instead of drawing it.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// One deployment's seed: the same wherever it is built with the same store secret, and
/// told to nobody.
///
/// CPython here hashes strings with FNV, of which collisions are easy to make for anybody
/// who knows the seed. So it must not follow from what a deployment consists of alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CaptureSeed([u8; 32]);

impl CaptureSeed {
    pub const fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// `PYTHONHASHSEED`: CPython takes 32 bits.
    pub fn hash_seed(&self) -> u32 {
        let [a, b, c, d, ..] = self.derive(b"hash seed");
        u32::from_le_bytes([a, b, c, d])
    }

    /// What the poison is made of.
    pub fn poison(&self) -> [u8; 32] {
        self.derive(b"poison")
    }

    fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose);
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for CaptureSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CaptureSeed(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_get_seeds_of_their_own() {
        let seed = CaptureSeed::new([1; 32]);
        assert_ne!(seed.hash_seed().to_le_bytes(), seed.poison()[..4]);
        assert_ne!(seed.hash_seed(), CaptureSeed::new([2; 32]).hash_seed());
        assert_eq!(format!("{seed:?}"), "CaptureSeed(…)");
    }
}
