//! A host with little memory, and one that lets go of what nobody calls.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use system_tests::{Host, deploy_command, finish, store, wait_until, worker};

use crate::executable;

const MIB: f64 = 1048576.0;
const NAMES: [&str; 4] = ["holder-0", "holder-1", "holder-2", "holder-3"];
const MEMORY: &str = "warmshard_memory_bytes";
const EVICTED: &str = "warmshard_evictions_total{cause=\"memory\"}";

/// A store with one worker under several names and nothing else.
fn store_of_holders() -> Result<PathBuf> {
    static DEPLOYING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = DEPLOYING.lock().unwrap_or_else(PoisonError::into_inner);
    let store = store().with_file_name("memory-store");
    for name in NAMES {
        let mut command = deploy_command(executable(), &worker("faults"), &store);
        command.args(["--name", name]);
        let deployed = finish(command)?;
        ensure!(deployed.status.success(), "{}", deployed.stderr);
    }
    Ok(store)
}

/// What the host takes once it has been looked at after this.
fn memory(host: &Host, mut fits: impl FnMut(f64) -> bool) -> Result<f64> {
    let mut found = 0.0;
    wait_until(Duration::from_secs(30), "the host's memory to be as expected", || {
        found = host.metric(MEMORY)?;
        Ok(found > 0.0 && fits(found))
    })
    .with_context(|| format!("last found {found}\n{}", host.process.log()))?;
    Ok(found)
}

fn all_alive(host: &Host) -> Result<()> {
    for name in NAMES {
        let answer = host.get(name, "/ok")?;
        ensure!(answer.status == 200, "{answer:?}\n{}", host.process.log());
    }
    Ok(())
}

#[test]
fn a_host_makes_room_before_its_memory_is_over_and_then_refuses() -> Result<()> {
    let store = store_of_holders()?;
    let base = {
        let host = Host::start(executable(), &store, &[])?;
        let empty = memory(&host, |_| true)?;
        all_alive(&host)?;
        let before = host.get("holder-0", "/hold?bytes=33554432&seconds=0")?;
        assert_eq!(before.status, 200, "{before:?}");
        // What it took before somebody looked again is not enough to be this.
        memory(&host, |bytes| bytes > empty + 32.0 * MIB)? / MIB - 32.0
    };
    // Room for two and a half of what is held below, and a bit more until requests are refused.
    let (soft, hard) = (base + 100.0, (base + 100.0) * 8.0 / 7.0);
    let most = (hard.ceil() as u64).to_string();
    let host = Host::start(executable(), &store, &[("WARMSHARD_MAX_MEMORY", &most)])?;
    all_alive(&host)?;
    memory(&host, |bytes| bytes < soft * MIB)?;
    assert_eq!(host.metric(EVICTED)?, 0.0, "{}", host.process.log());

    // Each holds 40 MiB and is idle then.
    for name in NAMES {
        let answer = host.get(name, "/hold?bytes=41943040&seconds=0")?;
        assert_eq!(answer.status, 200, "{answer:?}\n{}", host.process.log());
        memory(&host, |bytes| bytes <= soft * MIB)?;
    }
    wait_until(Duration::from_secs(30), "idle isolates to go", || Ok(host.metric(EVICTED)? >= 1.0))
        .with_context(|| host.process.log())?;
    memory(&host, |bytes| bytes <= soft * MIB)?;
    all_alive(&host)?;

    // What is in use stays, so that the limit is passed: then nothing more is taken on.
    let bytes = ((hard - base + 40.0) * MIB) as u64;
    std::thread::scope(|scope| -> Result<()> {
        let busy = scope.spawn(|| host.get("holder-3", &format!("/hold?bytes={bytes}&seconds=4")));
        wait_until(Duration::from_secs(30), "requests to be refused", || {
            let answer = host.get("holder-0", "/ok")?;
            Ok(answer.status == 503 && answer.body.contains("out_of_memory"))
        })
        .with_context(|| host.process.log())?;
        let answer = busy.join().expect("no panic")?;
        assert_eq!(answer.status, 200, "what is in flight goes on: {answer:?}");
        Ok(())
    })?;
    wait_until(Duration::from_secs(30), "requests to be taken again", || {
        Ok(host.get("holder-0", "/ok")?.status == 200)
    })
    .with_context(|| host.process.log())?;
    memory(&host, |bytes| bytes <= soft * MIB)?;
    let log = host.process.log();
    assert!(log.contains("memory is over") && log.contains("memory suffices again"), "{log}");
    Ok(())
}

#[test]
fn isolates_that_nobody_calls_hibernate() -> Result<()> {
    let store = store_of_holders()?;
    let host = Host::start(executable(), &store, &[("WARMSHARD_HIBERNATE_AFTER", "300ms")])?;
    assert_eq!(host.get("holder-0", "/ok")?.start, "cold");
    wait_until(Duration::from_secs(20), "the isolate to be dropped", || {
        Ok(host.metric("warmshard_evictions_total{cause=\"idle\"}")? == 1.0)
    })?;
    assert_eq!(host.get("holder-0", "/ok")?.start, "cold");
    Ok(())
}
