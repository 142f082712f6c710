//! From a path to a node.

use super::kinds::{FileKind, Follow, NAME_MAX, PATH_MAX};
use super::overlay::ROOT;
use super::{Errno, FileSystem, Place};

/// Symbolic links followed in one walk, as on Linux.
const MOST_LINKS: u32 = 40;

/// Where a walk ended.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Absolute, without `.`, `..` or links.
    pub(super) path: String,
    /// The directory that has the last name, or would; the root's is itself.
    pub(super) parent: Place,
    /// What is there; `None` when only the last name is missing.
    pub(super) place: Option<Place>,
    /// The path ended with a slash: nothing but a directory will do.
    pub(super) wants_directory: bool,
    /// The path ended with `.` or `..`, which cannot be removed or renamed.
    pub(super) ends_in_dots: bool,
}

impl Found {
    /// The last name; empty for the root.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The path of [`Found::parent`].
    pub(super) fn parent_path(&self) -> &str {
        match self.path.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((parent, _)) => parent,
        }
    }

    pub(super) fn is_root(&self) -> bool {
        self.path == "/"
    }
}

impl FileSystem {
    /// Resolves a path; only its last name may be missing.
    pub(super) fn walk(&self, path: &str, follow: Follow) -> Result<Found, Errno> {
        check_length(path)?;
        let mut walk = Walk { trail: vec![("", Place::Upper(ROOT))], pending: Vec::new() };
        walk.push(path);
        if !path.starts_with('/') {
            walk.push(&self.working_directory);
        }
        let wants_directory = path.ends_with('/');
        let ends_in_dots = matches!(path.trim_end_matches('/').rsplit('/').next(), Some("." | ".."));
        let mut links = 0;
        let mut scratch = String::new();
        while let Some(name) = walk.pending.pop() {
            let here = walk.here();
            if self.kind(here) != FileKind::Directory {
                return Err(Errno::ENOTDIR);
            }
            match name {
                "" | "." => continue,
                ".." => {
                    walk.leave();
                    continue;
                }
                _ => {}
            }
            let last = walk.pending.is_empty();
            let Some(place) = self.child(here, name, &mut scratch) else {
                if !last {
                    return Err(Errno::ENOENT);
                }
                return Ok(Found {
                    path: walk.path(Some(name)),
                    parent: here,
                    place: None,
                    wants_directory,
                    ends_in_dots,
                });
            };
            match self.symlink_target(place) {
                Some(target) if !last || follow == Follow::Yes || wants_directory => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    if target.starts_with('/') {
                        walk.trail.truncate(1);
                    }
                    walk.push(target);
                }
                _ => walk.trail.push((name, place)),
            }
        }
        let place = walk.here();
        if wants_directory && self.kind(place) != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let parent = walk.trail[walk.trail.len().saturating_sub(2)].1;
        Ok(Found { path: walk.path(None), parent, place: Some(place), wants_directory, ends_in_dots })
    }

    /// Resolves a path that must exist.
    pub(super) fn find(&self, path: &str, follow: Follow) -> Result<(Found, Place), Errno> {
        let found = self.walk(path, follow)?;
        let place = found.place.ok_or(Errno::ENOENT)?;
        Ok((found, place))
    }
}

/// A walk under way: where it has been and the names still to come, last one first.
struct Walk<'a> {
    trail: Vec<(&'a str, Place)>,
    pending: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn push(&mut self, path: &'a str) {
        self.pending.extend(path.split('/').rev().filter(|name| !name.is_empty()));
    }

    fn here(&self) -> Place {
        self.trail[self.trail.len() - 1].1
    }

    fn leave(&mut self) {
        if self.trail.len() > 1 {
            self.trail.pop();
        }
    }

    fn path(&self, last: Option<&str>) -> String {
        let mut path = String::with_capacity(64);
        for name in self.trail[1..].iter().map(|(name, _)| *name).chain(last) {
            path.push('/');
            path.push_str(name);
        }
        if path.is_empty() {
            path.push('/');
        }
        path
    }
}

fn check_length(path: &str) -> Result<(), Errno> {
    if path.is_empty() {
        Err(Errno::ENOENT)
    } else if path.contains('\0') {
        Err(Errno::EINVAL)
    } else if path.len() >= PATH_MAX || path.split('/').any(|name| name.len() > NAME_MAX) {
        Err(Errno::ENAMETOOLONG)
    } else {
        Ok(())
    }
}
