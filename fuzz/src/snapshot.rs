//! Snapshot files: the header, the manifest, the saved files.
//!
//! Checksums keep mutations from everything behind them, so the first byte says which
//! part is made of the input, and the checksums are made right for it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use isolate_host::emscripten::files::{Layer, decode_overlay, encode_overlay};
use isolate_host::pyodide::RuntimeIdentity;
use isolate_host::snapshot::check::{check_files, check_fit};
use isolate_host::snapshot::format::{IMAGE_ALIGNMENT, Snapshot, encode_header};
use isolate_host::snapshot::surroundings::{LibraryFacts, Surroundings};
use warmshard_config::units::{DeploymentId, WorkerName};

/// Nothing is read beyond the file and nothing panics. What passes every judgement can be
/// written again, byte for byte, and put in place.
pub fn check(data: &[u8]) {
    let Some((part, input)) = data.split_first() else { return };
    match part % 4 {
        0 => judge(Bytes::copy_from_slice(input)),
        1 => judge(file(input, &encode_overlay(&[]))),
        2 => judge(file(MANIFEST.as_bytes(), input)),
        _ => check_overlay(input),
    }
}

/// Whether the files of a snapshot are read as they are written.
fn check_overlay(input: &[u8]) {
    let Ok(entries) = decode_overlay(Bytes::copy_from_slice(input)) else { return };
    assert_eq!(encode_overlay(&entries), input, "there is one way to write entries");
}

fn judge(file: Bytes) {
    let Ok(snapshot) = Snapshot::parse(&file) else { return };
    let again = self::file(&file[192..snapshot.header.sections[0].end as usize], &snapshot.files);
    assert_eq!(again[..192], file[..192], "there is one way to write a snapshot");
    let (worker, deployment, runtime) = here();
    let surroundings = Surroundings {
        worker: &worker,
        deployment: &deployment,
        runtime: &runtime,
        globals: BTreeSet::from(["__stack_pointer"]),
        initial_table: 100,
        libraries: BTreeMap::from([("/session/one.so", library())]),
    };
    let Ok(entries) = decode_overlay(snapshot.files) else { return };
    let mut layer = Layer::builder();
    layer.file("/session/data.txt", "text").expect("a plain path");
    let _ = check_files(&snapshot.manifest, &[layer.build()], &entries);
    let _ = check_fit(&snapshot.manifest, &surroundings);
}

fn library() -> LibraryFacts<'static> {
    LibraryFacts {
        content: ONE,
        memory_size: 4000,
        memory_alignment: 16,
        table_size: 10,
        globals: BTreeSet::new(),
        offsets: BTreeSet::from(["free"]),
    }
}

fn here() -> (WorkerName, DeploymentId, RuntimeIdentity) {
    let text = |text: &str| text.to_owned();
    let runtime = RuntimeIdentity {
        pyodide: text("1"),
        archive: text("2"),
        main_module: text("3"),
        library_recipe: text("4"),
        platform: text("5"),
    };
    let deployment = DeploymentId::parse(&"5a".repeat(32)).expect("64 hex digits");
    (WorkerName::parse("hello").expect("a name"), deployment, runtime)
}

/// A file with these sections and one page of memory with one Python function in it.
fn file(manifest: &[u8], files: &[u8]) -> Bytes {
    let mut image = vec![0; 65536];
    for (at, bytes) in [
        (1028, &2048_u32.to_le_bytes()[..]),
        (1040, &4096_u32.to_le_bytes()),
        (2060, &3072_u32.to_le_bytes()),
        (3072, b"function\0"),
        (4104, &4_u32.to_le_bytes()),
        (4116, b"pump\0"),
    ] {
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }
    let sections = [manifest, files, &image];
    let mut file = encode_header(sections);
    file.extend(manifest);
    file.extend(files);
    file.resize(file.len().next_multiple_of(IMAGE_ALIGNMENT as usize), 0);
    file.extend(&image);
    file.into()
}

const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

/// One that fits; also the first seed.
pub const MANIFEST: &str = concat!(
    r#"{"worker":"hello","deployment":"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a","#,
    r#""runtime":{"pyodide":"1","archive":"2","main_module":"3","library_recipe":"4","platform":"5"},"#,
    r#""memory_pages":1,"globals":{"__stack_pointer":60000},"table_size":112,"#,
    r#""appended":[[100,{"glue":{"name":"call"}}],[111,{"library":{"library":0,"name":"PyInit_one"}}]],"#,
    r#""offset_table":[["free",12]],"libraries":[{"path":"/session/one.so","#,
    r#""content":"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed","#,
    r#""memory_base":8192,"table_base":101,"globals":{}}],"handles":{"8192":0},"pump":1024,"#,
    r#""environment":[["HOME","/session"]],"working_directory":"/session","descriptors":["#,
    r#"{"fd":0,"close_on_exec":false,"target":{"device":{"device":"stdin","flags":0}}},"#,
    r#"{"fd":3,"close_on_exec":true,"target":{"path":{"path":"/session/data.txt","offset":2,"flags":0}}}],"#,
    r#""monotonic_floor":532000,"entrypoints":["Default"]}"#
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_passes_every_judgement() {
        let snapshot = Snapshot::parse(&file(MANIFEST.as_bytes(), &encode_overlay(&[]))).unwrap();
        assert_eq!(snapshot.manifest.libraries.len(), 1);
        check(&[&[1], MANIFEST.as_bytes()].concat());
    }
}
