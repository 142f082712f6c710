//! Holds the parsed tree against the shape, collecting problems instead of
//! stopping at the first.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems, line_of};
use super::shape::{SECTIONS, Section, closest};
use crate::units::parse_duration;

/// A value of the tree, with its place.
pub(super) type Node<'t> = &'t Spanned<DeValue<'t>>;

/// Why a value does not fit: perhaps with more to say than "expected …".
pub(super) struct Misfit {
    hint: Option<String>,
}

impl Misfit {
    pub(super) const PLAIN: Misfit = Misfit { hint: None };

    pub(super) fn because(hint: &impl ToString) -> Self {
        Self { hint: Some(hint.to_string()) }
    }
}

/// What a value parsed into, or why not.
pub(super) type Fit<T> = Result<T, Misfit>;

/// The whole file.
pub(super) struct File<'t, 'p> {
    pub(super) text: &'t str,
    root: &'t DeTable<'t>,
    pub(super) problems: &'p mut Problems,
}

impl<'t, 'p> File<'t, 'p> {
    pub(super) fn new(text: &'t str, root: &'t DeTable<'t>, problems: &'p mut Problems) -> Self {
        let mut file = Self { text, root, problems };
        file.refuse_unknown_sections();
        file
    }

    fn refuse_unknown_sections(&mut self) {
        for (name, _) in self.root.iter() {
            let found = name.get_ref().as_ref();
            if SECTIONS.iter().any(|section| section.name == found) {
                continue;
            }
            let known: Vec<String> = SECTIONS.iter().map(|section| section.header()).collect();
            let hint = closest(found, SECTIONS.iter().map(|section| section.name))
                .map(|meant| format!("did you mean `{meant}`?"));
            self.problems.push(Problem {
                line: Some(line_of(self.text, name.span().start)),
                key: found.to_owned(),
                found: "an unknown section".to_owned(),
                expected: format!("one of {}", known.join(", ")),
                hint,
            });
        }
    }

    /// A table that may be left out; then all its keys have their defaults.
    pub(super) fn table(&mut self, shape: &'static Section) -> Table<'t> {
        let Some(node) = self.root.get(shape.name) else {
            return Table { shape, path: shape.name.to_owned(), line: None, table: None };
        };
        self.open(shape, node, shape.name.to_owned())
    }

    /// The elements of an array of tables; none when it is left out.
    pub(super) fn tables(&mut self, shape: &'static Section) -> Vec<Table<'t>> {
        let Some(node) = self.root.get(shape.name) else {
            return Vec::new();
        };
        let Some(elements) = node.get_ref().as_array() else {
            self.misplaced(shape, node, shape.name.to_owned());
            return Vec::new();
        };
        let numbered = elements.iter().enumerate();
        numbered.map(|(n, node)| self.open(shape, node, format!("{}[{n}]", shape.name))).collect()
    }

    fn open(&mut self, shape: &'static Section, node: Node<'t>, path: String) -> Table<'t> {
        let line = Some(line_of(self.text, node.span().start));
        let Some(table) = node.get_ref().as_table() else {
            self.misplaced(shape, node, path.clone());
            return Table { shape, path, line, table: None };
        };
        for (name, _) in table.iter() {
            let found = name.get_ref().as_ref();
            if shape.key(found).is_some() {
                continue;
            }
            let names = || shape.keys.iter().map(|key| key.name);
            let list: Vec<String> = names().map(|name| format!("`{name}`")).collect();
            self.problems.push(Problem {
                line: Some(line_of(self.text, name.span().start)),
                key: format!("{path}.{found}"),
                found: "an unknown key".to_owned(),
                expected: format!("one of {}", list.join(", ")),
                hint: closest(found, names()).map(|meant| format!("did you mean `{meant}`?")),
            });
        }
        Table { shape, path, line, table: Some(table) }
    }

    fn misplaced(&mut self, shape: &'static Section, node: Node<'t>, key: String) {
        self.problems.push(Problem {
            line: Some(line_of(self.text, node.span().start)),
            key,
            found: describe(node.get_ref()),
            expected: format!("a table `{}`", shape.header()),
            hint: None,
        });
    }
}

/// One table of the file.
#[derive(Debug)]
pub(super) struct Table<'t> {
    shape: &'static Section,
    pub(super) path: String,
    /// The line it begins on; `None` when it is left out.
    pub(super) line: Option<usize>,
    table: Option<&'t DeTable<'t>>,
}

impl<'t> Table<'t> {
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn node(&self, key: &str) -> Option<Node<'t>> {
        debug_assert!(self.shape.key(key).is_some(), "`{key}` is not in the shape of {}", self.path);
        self.table.and_then(|table| table.get(key))
    }

    /// A value that may be left out; `None` too when it does not fit, which is a problem.
    pub(super) fn get<T>(
        &self,
        file: &mut File<'_, '_>,
        key: &str,
        parse: impl FnOnce(&DeValue<'t>) -> Fit<T>,
    ) -> Option<T> {
        let node = self.node(key)?;
        match parse(node.get_ref()) {
            Ok(value) => Some(value),
            Err(misfit) => {
                self.misfit(file, key, node, &format!("{}.{key}", self.path), misfit);
                None
            }
        }
    }

    /// A value that must be there.
    pub(super) fn required<T>(
        &self,
        file: &mut File<'_, '_>,
        key: &str,
        parse: impl FnOnce(&DeValue<'t>) -> Fit<T>,
    ) -> Option<T> {
        if self.is_present() && self.node(key).is_none() {
            file.problems.push(Problem {
                line: self.line,
                key: format!("{}.{key}", self.path),
                found: "no such key".to_owned(),
                expected: self.expects(key).to_owned(),
                hint: None,
            });
        }
        self.get(file, key, parse)
    }

    /// A list that may be left out. Each element that does not fit is a problem of its own.
    pub(super) fn list<T>(
        &self,
        file: &mut File<'_, '_>,
        key: &str,
        parse: impl Fn(&DeValue<'t>) -> Fit<T>,
    ) -> Vec<(T, Node<'t>)> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Some(elements) = node.get_ref().as_array() else {
            self.misfit(file, key, node, &format!("{}.{key}", self.path), Misfit::PLAIN);
            return Vec::new();
        };
        let mut parsed = Vec::new();
        for (n, element) in elements.iter().enumerate() {
            match parse(element.get_ref()) {
                Ok(value) => parsed.push((value, element)),
                Err(misfit) => {
                    self.misfit(file, key, element, &format!("{}.{key}[{n}]", self.path), misfit);
                }
            }
        }
        parsed
    }

    fn expects(&self, key: &str) -> &'static str {
        self.shape.key(key).map_or("something else", |key| key.expects)
    }

    fn misfit(&self, file: &mut File<'_, '_>, key: &str, node: Node<'t>, path: &str, misfit: Misfit) {
        file.problems.push(Problem {
            line: Some(line_of(file.text, node.span().start)),
            key: path.to_owned(),
            found: describe(node.get_ref()),
            expected: self.expects(key).to_owned(),
            hint: misfit.hint,
        });
    }
}

/// A value as an operator would recognise it.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", text.as_ref()),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(elements) => format!("a list of {}", elements.len()),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Fit<&'v str> {
    value.as_str().ok_or(Misfit::PLAIN)
}

/// Text of a type that parses itself and explains itself.
pub(super) fn parsed<T: FromStr<Err: ToString>>(value: &DeValue<'_>) -> Fit<T> {
    text(value)?.parse().map_err(|error: T::Err| Misfit::because(&error))
}

pub(super) fn address(value: &DeValue<'_>) -> Fit<SocketAddr> {
    text(value)?.parse().map_err(|_| Misfit::PLAIN)
}

/// Zero stands for doing without.
pub(super) fn duration_or_none(value: &DeValue<'_>) -> Fit<Duration> {
    parse_duration(text(value)?).map_err(|_| Misfit::PLAIN)
}

pub(super) fn duration(value: &DeValue<'_>) -> Fit<Duration> {
    let duration = parse_duration(text(value)?).map_err(|_| Misfit::PLAIN)?;
    if duration.is_zero() { Err(Misfit::because(&"it must not be zero")) } else { Ok(duration) }
}

pub(super) fn whole(value: &DeValue<'_>) -> Fit<u64> {
    let number = value.as_integer().ok_or(Misfit::PLAIN)?;
    u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| Misfit::PLAIN)
}

pub(super) fn within(range: std::ops::RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Fit<u32> {
    move |value| {
        let number = u32::try_from(whole(value)?).map_err(|_| Misfit::PLAIN)?;
        if range.contains(&number) { Ok(number) } else { Err(Misfit::PLAIN) }
    }
}
