//! A store and a private cache below `target/tmp`, filled once and kept from run to run.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use isolate_host::cache::CacheDir;
use isolate_host::deploy::{DeployRequest, PackageOptions, PipOptions, Reuse, deploy};
use isolate_host::isolate::{Engine, EngineOptions, Isolate, StoredDeployment, WorkerName};
use isolate_host::progress::{Silent, to_stderr};
use isolate_host::pyodide::fingerprint;
use isolate_host::store::Store;
use tokio::runtime::Runtime;

/// Where workers are deployed to, and the threads everything runs on.
pub(crate) struct Place {
    pub(crate) runtime: Runtime,
    pub(crate) cache: CacheDir,
    store: Store,
}

impl Place {
    /// `name` is the folder below `target/tmp`; Pyodide is compiled when it is new.
    pub(crate) fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).expect("target/ can be written");
        Self {
            runtime: Runtime::new().expect("threads can be started"),
            cache: CacheDir::open(folder.join("cache")).expect("the cache can be opened"),
            store: Store::open(folder.join("store")).expect("the store can be opened"),
        }
    }

    /// Deploys a worker, unless that has been done: an example by its name, or a folder by its whole path,
    /// under another name if one is given.
    pub(crate) fn deploy(&self, worker: &Path, name: Option<WorkerName>) -> StoredDeployment {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(worker);
        let pip = PipOptions { python: "python3".into(), index_url: None, extra_index_urls: Vec::new() };
        let packages = PackageOptions { pip, reuse: Reuse::Cached };
        let request = DeployRequest { folder, name, packages };
        let progress = to_stderr();
        let deploying = deploy(&request, &self.store, &self.cache, &*progress, &|_| {});
        let deployed = self.runtime.block_on(deploying).expect("the worker can be deployed");
        let (worker, id) = (deployed.worker, deployed.id);
        let (input, record) = self.store.source(&worker, &id).expect("it is in the store");
        let snapshot = self.store.snapshot(&record, &fingerprint()).expect("with its snapshot");
        StoredDeployment { worker, id, config: input.config, files: input.files, snapshot }
    }

    /// An engine on this place's cache, or on another.
    pub(crate) fn engine(&self, cache: &CacheDir, options: EngineOptions) -> Arc<Engine> {
        Engine::open(cache, options, self.runtime.handle().clone(), &Silent).expect("it can be opened")
    }

    /// Has an isolate answer a request, and reads the answer to its end.
    pub(crate) fn answer(&self, isolate: &Isolate) -> Bytes {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = http::Request::get("http://localhost/").body(body).expect("a request");
        self.runtime.block_on(async {
            let response = isolate.fetch(request).await.expect("it answers");
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.expect("to the end").to_bytes()
        })
    }
}

/// Ends an isolate; its store is let go of soon after.
pub(crate) fn end(isolate: &Isolate) {
    isolate.close();
    while isolate.is_alive() {
        std::thread::yield_now();
    }
}
