//! What the kernel says about memory: how much this process may have, and how much it has.
//!
//! Why these figures and no others: `docs/decisions/0047-host-memory.md`.

use std::fs;
use std::io;
use std::path::Path;

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Bytes this process may take: what the machine has, or less where its control group or one of
/// those around it says so.
pub fn memory_allowed() -> io::Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let total = kilobytes(&meminfo, "MemTotal:").ok_or_else(|| missing("MemTotal", "/proc/meminfo"))?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Ok(group_limit(Path::new(CGROUPS), &groups).map_or(total, |limit| limit.min(total)))
}

/// Bytes that are this process's own: written to by it alone, whether in memory or swapped out,
/// with the page tables that this takes. Files in memory that it maps are not among them.
pub fn memory_taken() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let sum = |names: &[&str]| names.iter().map(|name| kilobytes(&status, name)).sum::<Option<u64>>();
    sum(&["RssAnon:", "VmSwap:", "VmPTE:"]).ok_or_else(|| missing("RssAnon", "/proc/self/status"))
}

fn missing(name: &str, file: &str) -> io::Error {
    io::Error::other(format!("found no `{name}` in {file}, expected a line with it, as Linux has since 4.5"))
}

/// `NAME   123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// The least that any of the groups allows which `/proc/self/cgroup` names, or those around them.
/// Version 1 has a line for the hierarchy with the memory controller, version 2 one without controllers.
fn group_limit(mount: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (hierarchy, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // Inside a container the path may be that of the machine: then only the root is there.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups.filter_map(|group| read_limit(&hierarchy.join(group).join(file))).min()
    });
    limits.min()
}

/// `max` is no limit, nor is a file that is not there.
fn read_limit(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_something_of_what_it_may_have() {
        let held = vec![1_u8; 64 << 20];
        let (taken, allowed) = (memory_taken().unwrap(), memory_allowed().unwrap());
        assert!(taken > held.len() as u64 && taken < allowed, "{taken} of {allowed}");
    }

    #[test]
    fn lines_of_proc_are_read() {
        let text = "Name:\tx\nRssAnon:\t    1024 kB\nVmSwap:\tmany kB\n";
        assert_eq!(kilobytes(text, "RssAnon:"), Some(1 << 20));
        assert_eq!(kilobytes(text, "VmSwap:"), None);
        assert_eq!(kilobytes(text, "VmPTE:"), None);
    }

    #[test]
    fn the_tightest_group_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let limit = |groups: &str| group_limit(folder.path(), groups);
        assert_eq!(limit("0::/system.slice/host.service\n"), None);
        write("system.slice/host.service/memory.max", "max\n");
        assert_eq!(limit("0::/system.slice/host.service\n"), None);
        write("system.slice/memory.max", "3000\n");
        assert_eq!(limit("0::/system.slice/host.service\n"), Some(3000));
        write("system.slice/host.service/memory.max", "2000\n");
        assert_eq!(limit("0::/system.slice/host.service\n"), Some(2000));
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/a/memory.limit_in_bytes", "1000\n");
        assert_eq!(limit("5:cpu,memory:/a\n3:cpuset:/\n0::/\n"), Some(1000));
        // A path that only the machine outside knows.
        write("memory.max", "500\n");
        assert_eq!(limit("0::/../elsewhere\n"), Some(500));
        assert_eq!(limit("garbage\n"), None);
    }
}
