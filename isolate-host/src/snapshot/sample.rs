//! A small snapshot that everything is right with, for tests to change.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};
use warmshard_config::units::{DeploymentId, WorkerName, hex};

use super::format::{self, encode_header};
use super::manifest::Manifest;
use super::surroundings::{LibraryFacts, Surroundings};
use crate::emscripten::files::{Layer, encode_overlay};
use crate::pyodide::RuntimeIdentity;

pub(crate) const LIBRARIES: [&str; 2] = ["/session/one.so", "/session/two.so"];
const PAGES: usize = 4;

pub(crate) struct Sample {
    pub(crate) manifest: Manifest,
    pub(crate) files: Vec<u8>,
    pub(crate) image: Vec<u8>,
    worker: WorkerName,
    deployment: DeploymentId,
    runtime: RuntimeIdentity,
    contents: [String; 2],
}

impl Sample {
    pub(crate) fn new() -> Self {
        let worker = WorkerName::parse("hello").unwrap();
        let deployment = DeploymentId::parse(&"5a".repeat(32)).unwrap();
        let runtime = RuntimeIdentity {
            pyodide: "314.0.7".to_owned(),
            archive: "aa".repeat(32),
            main_module: "bb".repeat(32),
            library_recipe: "library-r1".to_owned(),
            platform: "cc".repeat(8),
        };
        let contents = ["one", "two"].map(|text| hex(&Sha256::digest(text)));
        let manifest = json!({
            "worker": worker,
            "deployment": deployment,
            "runtime": runtime,
            "memory_pages": PAGES,
            "globals": { "__stack_pointer": 65536, "__warmshard_global_7": 0 },
            "table_size": 117,
            "appended": [
                [100, { "glue": { "name": "call" } }],
                [111, { "library": { "library": 0, "name": "PyInit_one" } }],
            ],
            "offset_table": [["PyType_Type", 2048], ["free", 12]],
            "libraries": [
                { "path": LIBRARIES[0], "content": contents[0], "memory_base": 131_072, "table_base": 101,
                  "globals": { "__warmshard_global_3": 5 } },
                { "path": LIBRARIES[1], "content": contents[1], "memory_base": 135_168, "table_base": 112,
                  "globals": {} },
            ],
            "handles": { "8192": 0, "8256": 1 },
            "pump": 1024,
            "environment": [["HOME", "/session"], ["PYTHONHASHSEED", "7"]],
            "working_directory": "/session",
            "descriptors": [
                { "fd": 0, "close_on_exec": false, "target": { "device": { "device": "stdin", "flags": 0 } } },
                { "fd": 3, "close_on_exec": true,
                  "target": { "path": { "path": "/session/data.txt", "offset": 2, "flags": 0 } } },
            ],
            "monotonic_floor": 532_000,
            "entrypoints": ["Default"],
        });
        let manifest = serde_json::from_value(manifest).unwrap();
        Self { manifest, files: encode_overlay(&[]), image: image(), worker, deployment, runtime, contents }
    }

    /// The host on which this sample was taken.
    pub(crate) fn surroundings(&self) -> Surroundings<'_> {
        let library = |index: usize, table_size: u32, offsets: &[&'static str]| LibraryFacts {
            content: &self.contents[index],
            memory_size: 4000,
            memory_alignment: 16,
            table_size,
            globals: if index == 0 { BTreeSet::from(["__warmshard_global_3"]) } else { BTreeSet::new() },
            offsets: offsets.iter().copied().collect(),
        };
        Surroundings {
            worker: &self.worker,
            deployment: &self.deployment,
            runtime: &self.runtime,
            globals: BTreeSet::from(["__stack_pointer", "__warmshard_global_7"]),
            initial_table: 100,
            libraries: BTreeMap::from([
                (LIBRARIES[0], library(0, 10, &["PyType_Type"])),
                (LIBRARIES[1], library(1, 5, &["free"])),
            ]),
        }
    }

    /// The deployment's files.
    pub(crate) fn layers(&self) -> Vec<Layer> {
        let mut layer = Layer::builder();
        layer.file("/session/data.txt", "text").unwrap();
        vec![layer.build()]
    }

    /// The file, whatever the manifest says.
    pub(crate) fn file(&self, manifest: &serde_json::Value) -> Bytes {
        let manifest = serde_json::to_vec(manifest).unwrap();
        let sections = [&manifest[..], &self.files, &self.image];
        let mut file = encode_header(sections);
        file.extend(&manifest);
        file.extend(&self.files);
        file.resize(file.len().next_multiple_of(format::IMAGE_ALIGNMENT as usize), 0);
        file.extend(&self.image);
        file.into()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::to_value(&self.manifest).unwrap()
    }
}

/// Memory with one Python function in it, as CPython on 32 bits lays it out.
fn image() -> Vec<u8> {
    let mut image = vec![0; PAGES << 16];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(1024 + 4, &2048_u32.to_le_bytes());
    put(1024 + 16, &4096_u32.to_le_bytes());
    put(2048 + 12, &3072_u32.to_le_bytes());
    put(3072, b"function\0");
    put(4096 + 8, &4_u32.to_le_bytes());
    put(4096 + 20, b"pump\0");
    image
}
