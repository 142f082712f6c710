//! Requests that wait share an isolate.

use anyhow::Result;

use crate::fleet;

#[test]
fn fifty_requests_wait_together_in_one_isolate() -> Result<()> {
    const TOGETHER: usize = 50;
    let fleet = fleet(1)?;
    let answers = std::thread::scope(|scope| {
        let requests: Vec<_> =
            (0..TOGETHER).map(|_| scope.spawn(|| fleet.get("faults", "/await?seconds=2"))).collect();
        requests.into_iter().map(|request| request.join().expect("no panic")).collect::<Result<Vec<_>>>()
    })?;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let cold = answers.iter().filter(|answer| answer.start == "cold").count();
    assert_eq!(cold, 1, "one isolate serves them all");
    let most = answers.iter().filter_map(|answer| answer.json().ok()?["together"].as_u64()).max();
    assert_eq!(most, Some(TOGETHER as u64), "all were in flight at once");
    Ok(())
}

#[test]
fn two_restores_never_agree_on_randomness() -> Result<()> {
    let fleet = fleet(1)?;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let answer = fleet.get("faults", "/random")?;
        assert_eq!(answer.start, "cold");
        let value = answer.json()?;
        seen.insert(value["random"].to_string());
        seen.insert(value["urandom"].to_string());
        fleet.evict("faults")?;
    }
    assert_eq!(seen.len(), 8);
    Ok(())
}
