//! Counts by name, where names come as bytes with every answer and are few.

use std::collections::HashMap;

#[derive(Debug)]
pub(super) struct Names<T> {
    index: HashMap<Box<[u8]>, usize>,
    /// In the order in which names appeared.
    all: Vec<(String, T)>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { index: HashMap::new(), all: Vec::new() }
    }
}

impl<T: Default> Names<T> {
    /// The count of this name, and its place in the order of appearance.
    pub(super) fn entry(&mut self, name: &[u8]) -> (usize, &mut T) {
        let index = match self.index.get(name) {
            Some(&index) => index,
            None => self.add(name),
        };
        (index, &mut self.all[index].1)
    }

    fn add(&mut self, name: &[u8]) -> usize {
        let index = self.all.len();
        self.index.insert(name.into(), index);
        self.all.push((String::from_utf8_lossy(name).into_owned(), T::default()));
        index
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.all.iter().map(|(name, count)| (name.as_str(), count))
    }
}
