//! The main job: a FastAPI worker answers from a snapshot, and goes on when its host dies.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use system_tests::{alive, wait_until};

use crate::fleet;

const GREETING: &str = r#"{"message":"This is FastAPI on Workers"}"#;

#[test]
fn fastapi_is_cold_once_then_warm_and_survives_its_host() -> Result<()> {
    let fleet = fleet(2)?;
    let first = fleet.get("fastapi", "/")?;
    assert_eq!((first.status, first.body.as_str(), first.start.as_str()), (200, GREETING, "cold"));
    let second = fleet.get("fastapi", "/")?;
    assert_eq!((second.status, second.start.as_str()), (200, "warm"));
    assert_eq!(second.host, first.host, "the same worker has the same home");

    let killed = fleet.pid_of(&first.host)?;
    kill_process(Pid::from_raw(killed.try_into()?).context("a process ID")?, Signal::KILL)?;
    let third = fleet.get("fastapi", "/")?;
    assert_eq!((third.status, third.body.as_str()), (200, GREETING), "{}", fleet.router.log());
    assert_ne!(third.host, first.host, "the other host answers");

    wait_until(Duration::from_secs(60), "the killed host to be replaced", || {
        Ok(fleet.pid_of(&first.host)? != killed)
    })?;
    Ok(())
}

#[test]
fn ctrl_c_ends_the_router_and_every_child() -> Result<()> {
    for signal in [Signal::INT, Signal::TERM] {
        let mut fleet = fleet(2)?;
        let children: Vec<u32> = fleet.hosts()?.into_iter().map(|(_, pid, _)| pid).collect();
        assert_eq!(children.len(), 2);
        fleet.router.signal(signal)?;
        let status = fleet.router.wait(Duration::from_secs(15))?;
        assert_eq!(status.code(), Some(0), "{}", fleet.router.log());
        for pid in children {
            wait_until(Duration::from_secs(5), "the child to be gone", || Ok(!alive(pid)))?;
        }
    }
    Ok(())
}

#[test]
fn a_killed_router_leaves_no_host_behind() -> Result<()> {
    let mut fleet = fleet(1)?;
    let (_, pid, _) = fleet.hosts()?.remove(0);
    fleet.router.signal(Signal::KILL)?;
    fleet.router.wait(Duration::from_secs(5))?;
    wait_until(Duration::from_secs(15), "the host to notice", || Ok(!alive(pid)))
}

#[test]
fn the_admin_listener_tells_how_things_are() -> Result<()> {
    let fleet = fleet(1)?;
    fleet.get("hello", "/")?;
    let admin = |path: &str| -> Result<(u16, String)> {
        let response = fleet.client().get(format!("http://{}{path}", fleet.admin)).send()?;
        Ok((response.status().as_u16(), response.text()?))
    };
    assert_eq!(admin("/healthz")?.0, 200);
    assert_eq!(admin("/readyz")?.0, 200);
    let (status, metrics) = admin("/metrics")?;
    assert_eq!(status, 200);
    assert!(metrics.contains(r#"start="cold""#), "{metrics}");
    Ok(())
}
