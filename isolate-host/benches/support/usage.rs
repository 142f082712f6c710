//! What the kernel says this process uses.

use std::fs;

/// Counted in bytes where not said otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Pages this process alone has and has written to, swapped ones included.
    pub(crate) private_dirty: u64,
    /// Everything in its mappings that is in memory, shared or not.
    pub(crate) resident: u64,
    /// Tables of the processor's that say where pages are.
    pub(crate) page_tables: u64,
    /// Mappings, of which a process may have `vm.max_map_count`.
    pub(crate) mappings: usize,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let rollup = read("/proc/self/smaps_rollup");
        let status = read("/proc/self/status");
        let threads = field(&status, "Threads:");
        Self {
            private_dirty: (field(&rollup, "Private_Dirty:") + field(&rollup, "Swap:")) << 10,
            resident: field(&rollup, "Rss:") << 10,
            page_tables: field(&status, "VmPTE:") << 10,
            mappings: read("/proc/self/maps").lines().count(),
            descriptors: fs::read_dir("/proc/self/fd").expect("/proc is mounted").count(),
            threads: threads as usize,
        }
    }
}

/// Reads a file of `/proc`.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// The number behind a name in one of `/proc`'s tables.
pub(crate) fn field(table: &str, name: &str) -> u64 {
    let line = table.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("found no `{name}` in:\n{table}"))
}
