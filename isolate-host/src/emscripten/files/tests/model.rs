//! Random programs do the same to the file system and to a simple model of it,
//! which copies everything and knows neither layers nor an overlay.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Node {
    Folder,
    File(Rc<RefCell<Vec<u8>>>),
}

#[derive(Default)]
struct Model {
    nodes: BTreeMap<String, Node>,
    open: BTreeMap<i32, Rc<RefCell<Vec<u8>>>>,
}

impl Model {
    fn new(fs: &mut FileSystem) -> Self {
        let mut model = Self::default();
        for (path, content) in tree(fs) {
            let node = match content {
                None => Node::Folder,
                Some(text) => Node::File(Rc::new(RefCell::new(text.into_bytes()))),
            };
            model.nodes.insert(path, node);
        }
        model
    }

    /// The node at a path, when its ancestors are folders.
    fn find(&self, path: &str) -> Result<Option<Node>, Errno> {
        for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            match self.nodes.get(&path[..at]) {
                Some(Node::Folder) => {}
                Some(Node::File(_)) => return Err(Errno::ENOTDIR),
                None => return Err(Errno::ENOENT),
            }
        }
        Ok(self.nodes.get(path).cloned())
    }

    fn is_empty(&self, path: &str) -> bool {
        !self.nodes.keys().any(|other| other.starts_with(&format!("{path}/")))
    }

    fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        match self.find(path)? {
            Some(_) => Err(Errno::EEXIST),
            None => {
                self.nodes.insert(path.into(), Node::Folder);
                Ok(())
            }
        }
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        match self.find(path)?.ok_or(Errno::ENOENT)? {
            Node::File(_) => Err(Errno::ENOTDIR),
            Node::Folder if !self.is_empty(path) => Err(Errno::ENOTEMPTY),
            Node::Folder => {
                self.nodes.remove(path);
                Ok(())
            }
        }
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        match self.find(path)?.ok_or(Errno::ENOENT)? {
            Node::Folder => Err(Errno::EISDIR),
            Node::File(_) => {
                self.nodes.remove(path);
                Ok(())
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let moved = self.find(from)?.ok_or(Errno::ENOENT)?;
        let replaced = self.find(to)?;
        if to.starts_with(&format!("{from}/")) {
            return Err(Errno::EINVAL);
        }
        match (&moved, &replaced) {
            _ if from == to => return Ok(()),
            (Node::Folder, Some(Node::Folder)) if !self.is_empty(to) => return Err(Errno::ENOTEMPTY),
            (Node::Folder, Some(Node::File(_))) => return Err(Errno::ENOTDIR),
            (Node::File(_), Some(Node::Folder)) => return Err(Errno::EISDIR),
            _ => {}
        }
        let prefix = format!("{from}/");
        let below: Vec<String> =
            self.nodes.keys().filter(|path| path.starts_with(&prefix)).cloned().collect();
        for path in below.into_iter().chain([from.to_owned()]) {
            let node = self.nodes.remove(&path).unwrap();
            self.nodes.insert(format!("{to}{}", &path[from.len()..]), node);
        }
        Ok(())
    }

    fn open(&mut self, path: &str, fd: Result<i32, Errno>) -> Result<(), Errno> {
        let file = match self.find(path)? {
            Some(Node::Folder) => return Err(Errno::EISDIR),
            Some(Node::File(content)) => content,
            None => {
                let content = Rc::default();
                self.nodes.insert(path.into(), Node::File(Rc::clone(&content)));
                content
            }
        };
        self.open.insert(fd.expect("the model opened it"), file);
        Ok(())
    }

    fn close_all(&mut self, fs: &mut FileSystem) {
        for fd in std::mem::take(&mut self.open).into_keys() {
            fs.close(fd).unwrap();
        }
    }

    fn tree(&self) -> BTreeMap<String, Option<String>> {
        let content = |node: &Node| match node {
            Node::Folder => None,
            Node::File(content) => Some(String::from_utf8(content.borrow().clone()).unwrap()),
        };
        self.nodes.iter().map(|(path, node)| (path.clone(), content(node))).collect()
    }
}

/// Every path but the devices, with the content of files.
fn tree(fs: &mut FileSystem) -> BTreeMap<String, Option<String>> {
    let mut all = BTreeMap::new();
    let mut pending = vec![String::new()];
    while let Some(folder) = pending.pop() {
        let here = if folder.is_empty() { "/" } else { &folder };
        for name in list(fs, here).unwrap() {
            let path = format!("{folder}/{name}");
            let content = match fs.stat(&path, Follow::No).unwrap().kind {
                FileKind::Directory => {
                    pending.push(path.clone());
                    None
                }
                FileKind::File => Some(read_file(fs, &path).unwrap()),
                _ => continue,
            };
            all.insert(path, content);
        }
    }
    all
}

#[derive(Debug, Clone)]
enum Op {
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Rename(String, String),
    Open(String),
    Write(usize, u8, String),
    Truncate(usize, u8),
    Close(usize),
    Snapshot,
}

fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["lib", "pkg", "mod.py", "a.py", "new"]);
    prop::collection::vec(name, 1..4).prop_map(|names| format!("/{}", names.join("/")))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => path().prop_map(Op::Mkdir),
        2 => path().prop_map(Op::Rmdir),
        3 => path().prop_map(Op::Unlink),
        4 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to)),
        3 => path().prop_map(Op::Open),
        3 => (0..4_usize, 0..20_u8, "[a-z]{0,9}").prop_map(|(which, at, text)| Op::Write(which, at, text)),
        1 => (0..4_usize, 0..20_u8).prop_map(|(which, size)| Op::Truncate(which, size)),
        2 => (0..4_usize).prop_map(Op::Close),
        1 => Just(Op::Snapshot),
    ]
}

fn apply(fs: &mut FileSystem, model: &mut Model, op: &Op) -> (Result<(), Errno>, Result<(), Errno>) {
    let chosen =
        |model: &Model, which: usize| model.open.iter().nth(which).map(|(fd, file)| (*fd, Rc::clone(file)));
    match op {
        Op::Mkdir(path) => (fs.mkdir(path, 0o755, NOW), model.mkdir(path)),
        Op::Rmdir(path) => (fs.rmdir(path, NOW), model.rmdir(path)),
        Op::Unlink(path) => (fs.unlink(path, NOW), model.unlink(path)),
        Op::Rename(from, to) => (fs.rename(from, to, NOW), model.rename(from, to)),
        Op::Open(path) => {
            let fd = fs.open(path, OpenFlags::RDWR | OpenFlags::CREAT, 0o644, NOW);
            (fd.map(drop), model.open(path, fd))
        }
        Op::Write(which, at, text) => {
            let Some((fd, file)) = chosen(model, *which) else { return (Ok(()), Ok(())) };
            let mut file = file.borrow_mut();
            let begin = usize::from(*at);
            if !text.is_empty() {
                let length = file.len().max(begin + text.len());
                file.resize(length, 0);
                file[begin..begin + text.len()].copy_from_slice(text.as_bytes());
            }
            (fs.pwrite(fd, u64::from(*at), text.as_bytes(), NOW).map(drop), Ok(()))
        }
        Op::Truncate(which, size) => {
            let Some((fd, file)) = chosen(model, *which) else { return (Ok(()), Ok(())) };
            file.borrow_mut().resize(usize::from(*size), 0);
            (fs.ftruncate(fd, u64::from(*size), NOW), Ok(()))
        }
        Op::Close(which) => {
            let Some((fd, _)) = chosen(model, *which) else { return (Ok(()), Ok(())) };
            model.open.remove(&fd);
            (fs.close(fd).map(drop), Ok(()))
        }
        Op::Snapshot => {
            model.close_all(fs);
            let mut fresh = super::fs();
            let bytes = encode_overlay(&fs.overlay_entries().unwrap());
            fresh.restore_overlay(decode_overlay(bytes.into()).unwrap()).unwrap();
            assert_eq!(fresh.used(), fs.used());
            *fs = fresh;
            (Ok(()), Ok(()))
        }
    }
}

proptest! {
    #[test]
    fn random_programs_do_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        let mut fs = fs();
        let mut model = Model::new(&mut fs);
        for (step, op) in ops.iter().enumerate() {
            let (found, expected) = apply(&mut fs, &mut model, op);
            prop_assert_eq!(found, expected, "step {}: {:?}", step, op);
            for (fd, file) in &model.open {
                let mut buffer = [0; 64];
                let count = match fs.pread(*fd, 0, &mut buffer).unwrap() {
                    Transfer::Done(count) => count,
                    Transfer::Device(_) => unreachable!(),
                };
                prop_assert_eq!(&buffer[..count], &file.borrow()[..]);
            }
        }
        prop_assert_eq!(tree(&mut fs), model.tree());
    }

    #[test]
    fn what_is_removed_is_given_back(ops in prop::collection::vec(op(), 1..60)) {
        let mut fs = fs();
        let mut model = Model::new(&mut fs);
        for op in &ops {
            let _ = apply(&mut fs, &mut model, op);
        }
        model.close_all(&mut fs);
        for (path, content) in tree(&mut fs).into_iter().rev() {
            match content {
                Some(_) => fs.unlink(&path, NOW).unwrap(),
                None if path != "/dev" => fs.rmdir(&path, NOW).unwrap(),
                None => {}
            }
        }
        // What is left are whiteouts for names the layers have, at most one each: /lib, /home, /tmp.
        let left = fs.overlay_entries().unwrap();
        prop_assert!(left.iter().all(|entry| entry.path == "/" || entry.kind == OverlayKind::Removed));
        prop_assert_eq!(fs.used(), (left.len() as u64 - 1) * overlay::NODE_COST);
    }
}
