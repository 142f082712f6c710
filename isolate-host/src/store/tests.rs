//! The store gives back what was put in, or says by name what is wrong with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use warmshard_config::worker_config::WorkerConfig;

use super::*;
use crate::deploy::bundle;
use crate::progress::Silent;

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    Fixture { dir, store }
}

fn name(text: &str) -> WorkerName {
    WorkerName::parse(text).unwrap()
}

impl Fixture {
    /// Puts a version with this source into the store and makes it current.
    fn deploy(&self, worker: &str, source: &str) -> DeploymentRecord {
        let mut sources = Layer::builder();
        sources.file("/entry.py", source.to_owned()).unwrap();
        let archive = bundle::pack(&sources.build(), &Layer::empty()).unwrap();
        let files = self.store.put(&archive).unwrap();
        let mut snapshot = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        snapshot.write_all(b"image of ").unwrap();
        snapshot.write_all(source.as_bytes()).unwrap();
        let snapshot = self.store.put_file(snapshot.as_file()).unwrap();
        let record = DeploymentRecord {
            format: FORMAT_VERSION,
            worker: name(worker),
            id: DeploymentId::parse(files.sha256.as_str()).unwrap(),
            created: 1_700_000_000,
            config: WorkerConfig {
                name: name(worker),
                main: "entry.py".into(),
                compatibility_date: "2026-01-01".into(),
                compatibility_flags: Vec::new(),
                vars: BTreeMap::new(),
                secrets: Vec::new(),
            },
            files,
            snapshot,
            runtime: "test".into(),
            requirements: vec!["fastapi".into()],
        };
        let lock = self.store.lock(&record.worker, &Silent).unwrap();
        self.store.publish(&record, &lock).unwrap();
        record
    }

    fn blob(&self, blob: &BlobRef) -> PathBuf {
        let name = blob.sha256.as_str();
        self.store.path().join("blobs/sha256").join(&name[..2]).join(name)
    }
}

#[test]
fn a_deployment_comes_back_as_it_was() {
    let fixture = fixture();
    let record = fixture.deploy("hello", "print()");
    assert_eq!(fixture.store.current(&record.worker).unwrap(), Some(record.id.clone()));
    assert_eq!(fixture.store.record(&record.worker, &record.id).unwrap(), record);
    let (source, loaded) = fixture.store.source(&record.worker, &record.id).unwrap();
    assert_eq!(source.files.file("/session/metadata/entry.py").unwrap(), "print()");
    assert_eq!(fs::read(fixture.store.snapshot(&loaded, "test").unwrap()).unwrap(), b"image of print()");
    assert_eq!(fixture.store.workers().unwrap(), [(record.worker, record.id)]);
}

#[test]
fn a_new_version_is_seen_by_a_store_that_remembers_the_old_one() {
    let fixture = fixture();
    let old = fixture.deploy("hello", "old");
    let reader = Store::open(fixture.store.path()).unwrap();
    assert_eq!(reader.current(&old.worker).unwrap(), Some(old.id.clone()));
    let new = fixture.deploy("hello", "new");
    let deadline = Instant::now() + Duration::from_secs(10);
    while reader.current(&old.worker).unwrap() != Some(new.id.clone()) {
        assert!(Instant::now() < deadline, "the new version was never seen");
        std::thread::yield_now();
    }
    let pointer = Pointer::read(&fixture.store.pointer_path(&old.worker)).unwrap().unwrap();
    assert_eq!(pointer.history, [new.id, old.id]);
}

#[test]
fn unknown_workers_are_unknown_and_not_remembered() {
    let fixture = fixture();
    assert_eq!(fixture.store.current(&name("nobody")).unwrap(), None);
    let record = fixture.deploy("nobody", "now somebody");
    assert_eq!(fixture.store.current(&record.worker).unwrap(), Some(record.id));
}

#[test]
fn a_changed_blob_is_refused_by_name() {
    let fixture = fixture();
    let record = fixture.deploy("hello", "print()");
    let path = fixture.blob(&record.snapshot);
    fs::write(&path, b"image of evil()").unwrap();
    let refused = fixture.store.snapshot(&record, "test").unwrap_err();
    let StoreError::BlobDamaged { expected, .. } = &refused else { panic!("{refused}") };
    assert_eq!(expected, record.snapshot.sha256.as_str());
    // Deploying again mends it.
    fixture.deploy("hello", "print()");
    assert!(fixture.store.snapshot(&record, "test").is_ok());
    fs::remove_file(fixture.blob(&record.files)).unwrap();
    let refused = fixture.store.source(&record.worker, &record.id).unwrap_err();
    assert!(matches!(refused, StoreError::BlobMissing { .. }), "{refused}");
}

#[test]
fn records_are_judged_before_they_are_believed() {
    let fixture = fixture();
    let record = fixture.deploy("hello", "print()");
    let path = fixture.store.record_path(&record.id);
    let rewrite = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(&record).unwrap();
        change(&mut value);
        fs::write(&path, value.to_string()).unwrap();
        fixture.store.record(&record.worker, &record.id).unwrap_err()
    };
    let refused = rewrite(&|value| {
        value["format"] = 99.into();
        value["new_field"] = 1.into();
    });
    assert!(matches!(refused, StoreError::Format { found: 99, .. }), "{refused}");
    let refused = rewrite(&|value| value["surprise"] = 1.into());
    assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
    let refused = rewrite(&|value| value["files"]["sha256"] = "../../etc/passwd".into());
    assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
    let refused = rewrite(&|value| value["worker"] = "other".into());
    assert!(matches!(refused, StoreError::Mismatch { .. }), "{refused}");
    fs::write(&path, "{").unwrap();
    let refused = fixture.store.record(&record.worker, &record.id).unwrap_err();
    assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
}

#[test]
fn what_a_killed_deploy_leaves_behind_is_ignored() {
    let fixture = fixture();
    let record = fixture.deploy("hello", "print()");
    let workers = fixture.store.path().join("workers");
    fs::write(workers.join(format!("{}abc", durable::TEMPORARY_PREFIX)), "{").unwrap();
    fs::write(workers.join("Not A Name.json"), "{").unwrap();
    assert_eq!(fixture.store.workers().unwrap(), [(record.worker, record.id)]);
}

#[test]
fn deploys_of_one_worker_take_turns() {
    let fixture = fixture();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let fixture = &fixture;
            scope.spawn(move || fixture.deploy("hello", &format!("print({number})")));
        }
    });
    let worker = name("hello");
    let pointer = Pointer::read(&fixture.store.pointer_path(&worker)).unwrap().unwrap();
    assert_eq!(pointer.history.len(), 8);
    assert_eq!(pointer.current, pointer.history[0]);
    for id in &pointer.history {
        fixture.store.source(&worker, id).unwrap();
    }
}

#[test]
fn what_a_killed_process_left_is_removed_and_what_is_being_written_is_not() {
    let fixture = fixture();
    let record = fixture.deploy("hello", "print()");
    let shelf = fixture.blob(&record.files).parent().unwrap().to_owned();
    let left = shelf.join(format!("{}left", durable::TEMPORARY_PREFIX));
    fs::write(&left, "half").unwrap();
    let target = shelf.join("being-written");
    durable::write_with(&target, |file| {
        Store::open(fixture.store.path()).unwrap();
        file.write_all(b"whole")
    })
    .unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"whole");
    assert!(!left.exists());
    assert!(fixture.store.snapshot(&record, "test").is_ok());
}

#[test]
fn a_snapshot_taken_again_is_for_one_runtime_and_survives_no_damage() {
    let fixture = fixture();
    let record = fixture.deploy("hello", "print()");
    let lock = fixture.store.lock(&record.worker, &Silent).unwrap();
    let mut again = tempfile::tempfile().unwrap();
    again.write_all(b"another image").unwrap();
    fixture.store.keep_snapshot(&record, "new", &again, &lock).unwrap();
    let image = |runtime: &str| fs::read(fixture.store.snapshot(&record, runtime).unwrap()).unwrap();
    assert_eq!(image("new"), b"another image");
    assert_eq!(image("test"), b"image of print()");
    // Without its blob it is no better than none.
    fs::write(fixture.store.snapshot(&record, "new").unwrap(), b"damaged").unwrap();
    assert_eq!(image("new"), b"image of print()");
    // The same bytes again mend the deploy's own snapshot.
    fs::remove_file(fixture.blob(&record.snapshot)).unwrap();
    let mut same = tempfile::tempfile().unwrap();
    same.write_all(b"image of print()").unwrap();
    fixture.store.keep_snapshot(&record, "test", &same, &lock).unwrap();
    assert_eq!(image("test"), b"image of print()");
    assert_eq!(fs::read_dir(fixture.store.path().join("captured-again")).unwrap().count(), 1);
}

#[test]
fn copies_have_holes_where_the_source_has_zeros() {
    let (from, to) = (tempfile::tempfile().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let mut content = vec![0; 300 * 4096 + 17];
    content[5000] = 1;
    content[300 * 4096 + 3] = 2;
    std::os::unix::fs::FileExt::write_all_at(&from, &content, 0).unwrap();
    durable::copy_sparse(&from, &mut to.reopen().unwrap()).unwrap();
    assert!(fs::read(to.path()).unwrap() == content);
}
