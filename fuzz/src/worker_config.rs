//! A worker's own configuration files, and its requirements.

use warmshard_config::worker_config::{CONFIG_FILES, Requirement, WorkerFiles, resolve};

/// Every text is either a worker or refused with at least one problem that names its file; what is
/// resolved can be written and read again, and its sources stay in the worker's folder.
pub fn check(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let file = CONFIG_FILES[usize::from(kind % 3)];
    let (wrangler, pyproject) = text.split_once('\u{1}').unwrap_or((text, ""));
    let files = WorkerFiles { wrangler: Some((file, wrangler)), pyproject: Some(pyproject), name: None };
    match resolve(files) {
        Ok(project) => {
            let parts = project.source_folder.split('/').chain(project.config.main.split('/'));
            assert!(parts.into_iter().all(|part| part != ".."), "{project:?}");
            assert!(!project.source_folder.starts_with('/'), "{project:?}");
            let written = serde_json::to_vec(&project.config).expect("settings always serialise");
            let read = serde_json::from_slice(&written).expect("what was written can be read");
            assert_eq!(project.config, read);
        }
        Err(problems) => assert!(!problems.errors().is_empty()),
    }
    if let Ok(requirement) = Requirement::parse(wrangler) {
        // It becomes a line of a file that pip reads: no second line, no option.
        assert!(!requirement.as_str().contains('\n') && !requirement.as_str().starts_with('-'));
    }
}
