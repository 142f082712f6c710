//! Snapshots that cannot be used: refused by name, taken again once, and nobody else notices.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use isolate_host::deploy::bundle;
use isolate_host::emscripten::files::Layer;
use isolate_host::progress::Silent;
use isolate_host::snapshot::format::{self, Snapshot};
use isolate_host::snapshot::manifest::Manifest;
use isolate_host::store::{BlobRef, DeploymentRecord, Store};
use system_tests::folders::{files_below, forget_deployments, own_cache};
use system_tests::{Host, deploy, deploy_command, example, finish, program, store, wait_until, worker};
use warmshard_config::units::{DeploymentId, WorkerName};

use crate::executable;

/// The record of the hello worker, deployed into the shared store.
fn hello() -> Result<(Store, DeploymentRecord)> {
    let deployed = deploy(executable(), &example("hello"), &store())?;
    anyhow::ensure!(deployed.status.success(), "{}", deployed.stderr);
    let shared = Store::open(store())?;
    let name = WorkerName::parse("hello")?;
    let id = shared.current(&name)?.context("it is deployed")?;
    let record = shared.record(&name, &id)?;
    Ok((shared, record))
}

/// Copies the blobs of a record to another store.
fn copy_blobs(from: &Store, record: &DeploymentRecord, to: &Store) -> Result<()> {
    for blob in [&record.files, &record.snapshot] {
        assert_eq!(to.put_file(&File::open(from.verified(blob)?)?)?, *blob);
    }
    Ok(())
}

/// Puts the snapshot of a record, with its manifest changed and every checksum right, into a store.
fn put_changed(
    from: &Store,
    record: &DeploymentRecord,
    to: &Store,
    change: impl FnOnce(&mut Manifest),
) -> Result<BlobRef> {
    let mut snapshot = Snapshot::read(&from.verified(&record.snapshot)?)?;
    change(&mut snapshot.manifest);
    let mut file = tempfile::tempfile()?;
    format::write(&mut file, &snapshot.manifest, &snapshot.files, &snapshot.image)?;
    Ok(to.put_file(&file)?)
}

fn publish(store: &Store, record: &DeploymentRecord) -> Result<()> {
    Ok(store.publish(record, &store.lock(&record.worker, &Silent)?)?)
}

/// Asks a worker from many threads at once; all have to be answered with 200. How they started.
fn ask_at_once(host: &Host, name: &str, count: usize) -> Result<Vec<String>> {
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..count).map(|_| scope.spawn(|| host.get(name, "/"))).collect();
        asking
            .into_iter()
            .map(|asked| {
                let answer = asked.join().expect("no panic")?;
                assert_eq!(answer.status, 200, "{}\n{}", answer.body, host.process.log());
                Ok(answer.start)
            })
            .collect()
    })
}

const REFUSED: &str = "warmshard_snapshots_refused_total";
const CAPTURED_AGAIN: &str = "warmshard_captured_again_total";
const PREPARED: &str = "warmshard_prepare_seconds_count";

#[test]
fn a_snapshot_of_another_runtime_is_taken_again_once_while_everybody_waits() -> Result<()> {
    let (shared, mut record) = hello()?;
    let folder = tempfile::tempdir()?;
    let own = Store::open(folder.path())?;
    copy_blobs(&shared, &record, &own)?;
    let platform = "0123456789abcdef";
    record.snapshot =
        put_changed(&shared, &record, &own, |manifest| manifest.runtime.platform = platform.into())?;
    let host = Host::start(executable(), folder.path(), &[])?;
    publish(&own, &record)?;
    ask_at_once(&host, "hello", 16)?;
    let log = host.process.log();
    assert!(log.contains(&format!("`runtime.platform` is `{platform}`, expected `")), "{log}");
    assert_eq!(host.metric(&format!("{REFUSED}{{reason=\"runtime\"}}"))?, 1.0);
    assert_eq!((host.metric(CAPTURED_AGAIN)?, host.metric(PREPARED)?), (1.0, 1.0));
    // Another host of this runtime finds what the first one made.
    let second = Host::start(executable(), folder.path(), &[])?;
    assert_eq!(second.get("hello", "/")?.status, 200);
    assert_eq!((second.metric(CAPTURED_AGAIN)?, second.metric(PREPARED)?), (0.0, 1.0));
    // What the deploy had stored is still there, for hosts it was made for.
    assert!(own.verified(&record.snapshot).is_ok());
    Ok(())
}

#[test]
fn a_host_that_has_never_seen_a_deployment_prepares_it_once_and_serves_everybody() -> Result<()> {
    let (shared, record) = hello()?;
    let folder = tempfile::tempdir()?;
    let own = Store::open(folder.path().join("store"))?;
    copy_blobs(&shared, &record, &own)?;
    let cache = own_cache(folder.path())?;
    forget_deployments(&cache)?;
    let host = Host::start(executable(), own.path(), &[("WARMSHARD_CACHE", &cache.to_string_lossy())])?;
    assert_eq!(host.metric(PREPARED)?, 0.0);
    publish(&own, &record)?;
    let starts = ask_at_once(&host, "hello", 16)?;
    assert_eq!(starts.iter().filter(|start| *start == "cold").count(), 1, "{starts:?}");
    assert_eq!(host.metric(PREPARED)?, 1.0);
    println!("prepared in {} s", host.metric("warmshard_prepare_seconds_sum")?);
    Ok(())
}

/// A record of its own for a broken copy of the hello worker's snapshot.
fn renamed(record: &DeploymentRecord, number: u8, snapshot: BlobRef) -> Result<DeploymentRecord> {
    let mut record = record.clone();
    record.worker = WorkerName::parse(&format!("broken-{number}"))?;
    record.id = DeploymentId::parse(&format!("{number:064x}"))?;
    record.snapshot = snapshot;
    Ok(record)
}

fn blob_path(store: &Store, blob: &BlobRef) -> std::path::PathBuf {
    let name = blob.sha256.as_str();
    store.path().join("blobs/sha256").join(&name[..2]).join(name)
}

#[test]
fn damaged_and_hostile_snapshots_are_refused_by_name_and_the_host_goes_on() -> Result<()> {
    let (shared, record) = hello()?;
    let folder = tempfile::tempdir()?;
    let own = Store::open(folder.path())?;
    copy_blobs(&shared, &record, &own)?;
    publish(&own, &record)?;
    let bytes = std::fs::read(shared.verified(&record.snapshot)?)?;
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 4;
    let mut old = bytes.clone();
    old[8..12].copy_from_slice(&1_u32.to_le_bytes());
    // Named by what is in them, as somebody would who may write to the store.
    let put = |bytes: &[u8]| own.put(bytes);
    let cases = [
        (put(&bytes[..bytes.len() - 4096])?, "it is truncated", "damaged"),
        (put(&flipped)?, "the snapshot's image has SHA-256", "damaged"),
        (put(&old)?, "format version 1, this host reads version 2", "version"),
        (put_changed(&shared, &record, &own, |manifest| manifest.pump += 4)?, "`pump` is", "manifest"),
        (
            put_changed(&shared, &record, &own, |manifest| manifest.descriptors[0].fd = 1_000_000)?,
            "`descriptors`",
            "manifest",
        ),
        (record.snapshot.clone(), "`deployment` is", "manifest"),
    ];
    let mut records = Vec::new();
    for (number, (snapshot, ..)) in cases.iter().enumerate() {
        records.push(renamed(&record, number as u8, snapshot.clone())?);
    }
    // And two that are not what their names say.
    let lost = put(b"lost")?;
    std::fs::remove_file(blob_path(&own, &lost))?;
    records.push(renamed(&record, 100, lost)?);
    let cut = put(&[&bytes[..], b"longer"].concat())?;
    File::options().write(true).open(blob_path(&own, &cut))?.set_len(100_000)?;
    records.push(renamed(&record, 101, cut)?);

    let host = Host::start(executable(), folder.path(), &[])?;
    assert_eq!(host.get("hello", "/")?.start, "cold");
    for record in &records {
        publish(&own, record)?;
    }
    for record in &records {
        let answer = host.get(record.worker.as_str(), "/")?;
        assert_eq!(answer.status, 200, "{}: {}\n{}", record.worker, answer.body, host.process.log());
        let neighbour = host.get("hello", "/")?;
        assert_eq!((neighbour.status, neighbour.start.as_str()), (200, "warm"));
    }
    let log = host.process.log();
    for (_, expected, _) in &cases {
        assert!(log.contains(expected), "no `{expected}` in:\n{log}");
    }
    for reason in ["damaged", "version", "manifest", "missing"] {
        let listed = cases.iter().filter(|(.., found)| *found == reason).count();
        let expected = listed + usize::from(reason == "missing" || reason == "damaged");
        assert_eq!(host.metric(&format!("{REFUSED}{{reason=\"{reason}\"}}"))?, expected as f64, "{reason}");
    }
    assert_eq!(host.metric(CAPTURED_AGAIN)?, records.len() as f64);
    assert_eq!(host.metric("warmshard_prepares_failed_total")?, 0.0);
    Ok(())
}

#[test]
fn a_deployment_that_cannot_be_captured_again_is_not_tried_for_ever() -> Result<()> {
    let (_, mut record) = hello()?;
    let folder = tempfile::tempdir()?;
    let own = Store::open(folder.path())?;
    let sources = Layer::from_folder(&worker("broken").join("src"), "", |_| true)?;
    record.files = own.put(&bundle::pack(&sources, &Layer::empty())?)?;
    record.snapshot = own.put(b"no snapshot")?;
    publish(&own, &record)?;
    let host = Host::start(executable(), folder.path(), &[])?;
    wait_until(Duration::from_secs(60), "the deployment to be tried a second time", || {
        let answer = host.get("hello", "/")?;
        assert_eq!(
            (answer.status, answer.json()?["error"]["code"].as_str()),
            (500, Some("snapshot_refused"))
        );
        Ok(host.metric("warmshard_prepares_failed_total")? >= 2.0)
    })?;
    assert_eq!(host.metric("warmshard_captures_failed_total")?, 1.0, "{}", host.process.log());
    Ok(())
}

#[test]
fn files_truncated_under_a_running_host_do_not_end_it() -> Result<()> {
    let (shared, record) = hello()?;
    let folder = tempfile::tempdir()?;
    let own = Store::open(folder.path().join("store"))?;
    copy_blobs(&shared, &record, &own)?;
    publish(&own, &record)?;
    let cache = own_cache(folder.path())?;
    let mut host = Host::start(executable(), own.path(), &[("WARMSHARD_CACHE", &cache.to_string_lossy())])?;
    let truncate = |folder: &Path| -> Result<usize> {
        let files = files_below(folder)?;
        for file in &files {
            File::options().write(true).open(file)?.set_len(0)?;
        }
        Ok(files.len())
    };
    assert!(truncate(&own.path().join("blobs"))? >= 2);
    assert!(truncate(&cache.join("compiled"))? >= 2);
    for _ in 0..3 {
        let answer = host.get("hello", "/")?;
        assert_eq!((answer.status, answer.start.as_str()), (200, "cold"), "{}", answer.body);
        host.evict("hello")?;
    }
    host.process.check_alive()
}

#[test]
fn verify_names_the_field_and_exits_with_1() -> Result<()> {
    let (shared, record) = hello()?;
    let folder = tempfile::tempdir()?;
    let own = Store::open(folder.path())?;
    let verify = |blob: &Path, arguments: &[&str]| {
        let mut command = program(executable(), "isolate-host");
        command.args(["snapshot", "verify"]).arg(blob).args(arguments);
        finish(command)
    };
    let whole = verify(&shared.verified(&record.snapshot)?, &[])?;
    assert_eq!(whole.status.code(), Some(0), "{}", whole.stderr);
    assert!(whole.stdout.contains("\twhole\thello\t"), "{}", whole.stdout);
    let changed = put_changed(&shared, &record, &own, |manifest| manifest.pump = 16)?;
    let refused = verify(&own.verified(&changed)?, &["--json"])?;
    assert_eq!(refused.status.code(), Some(1));
    let said: serde_json::Value = serde_json::from_str(&refused.stdout)?;
    assert_eq!(said["whole"], false);
    assert!(said["error"].as_str().is_some_and(|error| error.contains("`pump` is 16")), "{said}");
    Ok(())
}

#[test]
fn deployments_nobody_uses_leave_memory_and_come_back_when_asked_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for name in ["one", "two"] {
        let mut command = deploy_command(executable(), &example("hello"), folder.path());
        command.args(["--name", name]);
        let deployed = finish(command)?;
        assert!(deployed.status.success(), "{}", deployed.stderr);
    }
    let host = Host::start(executable(), folder.path(), &[("WARMSHARD_MAX_PREPARED", "1")])?;
    let ask = |name: &str| -> Result<()> {
        let answer = host.get(name, "/")?;
        assert_eq!((answer.status, answer.start.as_str()), (200, "cold"), "{}", answer.body);
        host.evict(name)
    };
    const DROPPED: &str = "warmshard_prepared_dropped_total";
    for (name, dropped) in [("one", 0.0), ("two", 1.0), ("one", 2.0)] {
        ask(name)?;
        wait_until(Duration::from_secs(20), "the other one to be dropped", || {
            Ok(host.metric(DROPPED)? >= dropped)
        })?;
    }
    wait_until(Duration::from_secs(20), "one to be left", || {
        Ok(host.metric("warmshard_prepared_deployments")? == 1.0)
    })
}
