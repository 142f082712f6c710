//! Values of secrets, which come from the host and are in no snapshot.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use system_tests::folders::files_below;
use system_tests::{Host, deploy, worker};

use crate::executable;

fn answer(host: &Host, start: &str) -> Result<Value> {
    let answer = host.get("secrets", "/")?;
    ensure!((answer.status, answer.start.as_str()) == (200, start), "{answer:?}\n{}", host.process.log());
    answer.json()
}

fn write(folder: &Path, text: &str) -> Result<()> {
    let new = folder.join("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(new, folder.join("secrets.json"))?)
}

#[test]
fn isolates_have_the_values_the_host_had_when_they_were_restored() -> Result<()> {
    let (store, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let deployed = deploy(executable(), &worker("secrets"), store.path())?;
    ensure!(deployed.status.success(), "{}", deployed.stderr);
    let path = folder.path().to_str().context("a name in UTF-8")?;
    let host = Host::start(executable(), store.path(), &[("WARMSHARD_SECRETS", path)])?;
    let none = json!({"API_KEY": null, "SPARE_KEY": null, "UNNAMED": null});
    assert_eq!(answer(&host, "cold")?, none);
    assert!(host.process.log().contains("a worker's secrets have no value"), "{}", host.process.log());

    write(folder.path(), r#"{"API_KEY": "first-value-of-it", "UNNAMED": "kept back"}"#)?;
    assert_eq!(answer(&host, "warm")?, none, "an isolate keeps what it was restored with");
    host.evict("secrets")?;
    let first = json!({"API_KEY": "first-value-of-it", "SPARE_KEY": null, "UNNAMED": null});
    assert_eq!(answer(&host, "cold")?, first);

    write(folder.path(), "{\"API_KEY\": \"cut off")?;
    host.evict("secrets")?;
    assert_eq!(answer(&host, "cold")?, first, "a file that is none changes nothing");
    assert!(host.process.log().contains("holds no secrets"), "{}", host.process.log());

    write(folder.path(), r#"{"SPARE_KEY": "second"}"#)?;
    host.evict("secrets")?;
    let second = json!({"API_KEY": null, "SPARE_KEY": "second", "UNNAMED": null});
    assert_eq!(answer(&host, "cold")?, second, "nothing of the isolate before is left");

    assert!(!host.process.log().contains("first-value-of-it"), "{}", host.process.log());
    for file in files_below(store.path())? {
        let bytes = std::fs::read(&file)?;
        let held = bytes.windows(17).any(|window| window == b"first-value-of-it");
        assert!(!held, "{} holds the value of a secret", file.display());
    }
    Ok(())
}
