//! Large bodies stream in bounded memory, both ways.

use std::io::Read;

use anyhow::Result;
use sha2::{Digest, Sha256};
use system_tests::{Fleet, peak_memory};
use warmshard_config::units::hex;

use crate::fleet;

const PIECE: usize = 64 << 10;
const PIECES: usize = 1600;
const TOTAL: usize = PIECE * PIECES; // 100 MiB
/// What router and host together may need on top, for a body of 100 MiB.
const ALLOWED: u64 = 48 << 20;

fn piece() -> Vec<u8> {
    (0..PIECE).map(|index| (index % 256) as u8).collect()
}

/// Peak memory of the router and of its one host.
fn memory(fleet: &Fleet) -> Result<u64> {
    let (_, host, _) = fleet.hosts()?.remove(0);
    Ok(peak_memory(fleet.router.id())? + peak_memory(host)?)
}

#[test]
fn a_response_of_100_mib_streams() -> Result<()> {
    let fleet = fleet(1)?;
    fleet.get("faults", "/stream?pieces=4")?;
    let before = memory(&fleet)?;
    let mut response = fleet.client().get(fleet.url("faults", &format!("/stream?pieces={PIECES}"))).send()?;
    let (mut hasher, mut length, mut buffer) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        match response.read(&mut buffer)? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                length += read;
            }
        }
    }
    assert_eq!(length, TOTAL);
    assert_eq!(hasher.finalize(), expected());
    let grown = memory(&fleet)? - before;
    assert!(grown < ALLOWED, "memory grew by {grown} bytes");
    Ok(())
}

#[test]
fn a_request_of_100_mib_streams() -> Result<()> {
    let fleet = fleet(1)?;
    fleet.get("faults", "/ok")?;
    let before = memory(&fleet)?;
    let body = reqwest::blocking::Body::new(Repeated { piece: piece(), sent: 0 });
    let response = fleet.client().post(fleet.url("faults", "/digest")).body(body).send()?;
    let answer = system_tests::Answer::read(response)?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let value = answer.json()?;
    assert_eq!(value["length"].as_u64(), Some(TOTAL as u64));
    let digest = hex(&expected());
    assert_eq!(value["sha256"].as_str(), Some(digest.as_str()));
    let grown = memory(&fleet)? - before;
    assert!(grown < ALLOWED, "memory grew by {grown} bytes");
    Ok(())
}

#[test]
fn a_client_that_goes_away_costs_nothing() -> Result<()> {
    let fleet = fleet(1)?;
    for _ in 0..3 {
        let mut response =
            fleet.client().get(fleet.url("faults", &format!("/stream?pieces={PIECES}"))).send()?;
        let mut first = vec![0; PIECE];
        response.read_exact(&mut first)?;
    }
    let after = fleet.get("faults", "/ok")?;
    assert_eq!((after.status, after.start.as_str()), (200, "warm"), "the isolate lives on");
    Ok(())
}

fn expected() -> sha2::digest::Output<Sha256> {
    let (mut hasher, piece) = (Sha256::new(), piece());
    for _ in 0..PIECES {
        hasher.update(&piece);
    }
    hasher.finalize()
}

/// A body that is never in memory as a whole.
struct Repeated {
    piece: Vec<u8>,
    sent: usize,
}

impl Read for Repeated {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let at = self.sent % PIECE;
        let length = into.len().min(PIECE - at).min(TOTAL - self.sent);
        into[..length].copy_from_slice(&self.piece[at..at + length]);
        self.sent += length;
        Ok(length)
    }
}
