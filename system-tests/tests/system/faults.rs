//! What one worker does wrong costs nobody else anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use system_tests::wait_until;

use crate::{fleet, fleet_with};

#[test]
fn an_exception_is_a_500_and_the_isolate_lives_on() -> Result<()> {
    let fleet = fleet(1)?;
    assert_eq!(fleet.get("faults", "/ok")?.json()?["count"], 1);
    let raised = fleet.get("faults", "/raise")?;
    assert_eq!(raised.status, 500);
    assert_eq!(raised.json()?["error"]["code"], "worker_exception");
    assert!(
        !raised.body.contains("raised on request"),
        "a client learns nothing of the inside: {}",
        raised.body
    );
    let next = fleet.get("faults", "/ok")?;
    assert_eq!((next.json()?["count"].as_u64(), next.start.as_str()), (Some(2), "warm"));
    wait_until(Duration::from_secs(5), "the traceback in the log", || {
        let log = fleet.router.log();
        Ok(log.contains("Traceback (most recent call last)") && log.contains("ValueError: raised on request"))
    })
}

#[test]
fn an_unknown_worker_is_a_404_that_says_so() -> Result<()> {
    let fleet = fleet(1)?;
    let answer = fleet.get("nobody", "/")?;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()?["error"]["code"], "unknown_worker");
    assert!(answer.body.contains("nobody"), "{}", answer.body);
    Ok(())
}

#[test]
fn recursion_loops_exits_and_greed_leave_the_neighbour_alone() -> Result<()> {
    let fleet = fleet_with(1, "", &[("WARMSHARD_CPU_LIMIT", "2s")])?;
    assert_eq!(fleet.get("hello", "/")?.status, 200);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let neighbour = scope.spawn(|| -> Result<u32> {
            let mut answered = 0;
            while !done.load(Ordering::Relaxed) {
                let answer = fleet.get("hello", "/")?;
                assert_eq!((answer.status, answer.start.as_str()), (200, "warm"), "{}", answer.body);
                answered += 1;
            }
            Ok(answered)
        });
        let misbehave = || -> Result<()> {
            let caught = fleet.get("faults", "/recurse")?;
            assert_eq!((caught.status, caught.body.as_str()), (200, r#"{"caught": "RecursionError"}"#));
            let deep = fleet.get("faults", "/deep-json")?;
            assert!(deep.status == 200 || deep.json()?["error"]["code"] == "worker_crashed", "{deep:?}");
            for (path, code) in [("/loop", "cpu_limit_exceeded"), ("/exit", "worker_exited")] {
                let failed = fleet.get("faults", path)?;
                assert_eq!(
                    (failed.status, failed.json()?["error"]["code"].as_str()),
                    (500, Some(code)),
                    "{path}"
                );
                assert_eq!(fleet.get("faults", "/ok")?.status, 200, "a new isolate takes over after {path}");
            }
            let greedy = fleet.get("faults", "/allocate?bytes=3000000000")?;
            assert_eq!(greedy.status, 500, "{}", greedy.body);
            assert_eq!(fleet.get("faults", "/ok")?.status, 200);
            Ok(())
        };
        let outcome = misbehave();
        done.store(true, Ordering::Relaxed);
        let answered = neighbour.join().expect("the neighbour's assertions hold")?;
        assert!(answered > 0);
        outcome
    })
}

#[test]
fn hosts_serve_only_the_fleet() -> Result<()> {
    let fleet = fleet(1)?;
    let (_, _, address) = fleet.hosts()?.remove(0);
    for key in ["", "wrong"] {
        let mut request =
            fleet.client().get(format!("http://{address}/")).header("x-warmshard-worker", "hello");
        if !key.is_empty() {
            request = request.header("x-warmshard-key", key);
        }
        let response = request.send()?;
        assert_eq!(response.status().as_u16(), 401);
    }
    // What a client says about itself in our headers never reaches a host.
    let spoofed =
        fleet.client().get(fleet.url("hello", "/")).header("x-warmshard-worker", "faults").send()?;
    assert!(spoofed.text()?.contains("Hello"), "the host name decides");
    Ok(())
}
