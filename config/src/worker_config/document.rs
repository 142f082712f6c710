//! A TOML or JSON-with-comments file as one kind of tree that knows its lines.

use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, ast, parse_to_ast};
use serde_json::Number;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// A value and the line it, or the key it belongs to, stands on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    /// What it is, for a message.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "`null`".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(value) => format!("the number `{value}`"),
            Value::Text(text) => format!("the text `{}`", text.escape_debug()),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Table(entries) => entries
                .iter()
                .map(|(key, value)| (key.clone(), value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// Reads a file by its extension.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<(String, Node)>, Problem> {
    let reader = Reader { file, text, line_starts: line_starts(text) };
    if file.ends_with(".toml") { reader.toml() } else { reader.json() }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl Reader<'_> {
    fn toml(&self) -> Result<Vec<(String, Node)>, Problem> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line(span.start));
            Problem::new(self.file, line, "", error.message())
        })?;
        self.toml_table(table.get_ref())
    }

    fn toml_table(&self, table: &DeTable<'_>) -> Result<Vec<(String, Node)>, Problem> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let line = self.line(key.span().start);
            let value = self.toml_value(value.get_ref(), line)?;
            entries.push((key.get_ref().to_string(), Node { line, value }));
        }
        // The library sorts by name; problems are told in the file's order.
        entries.sort_by_key(|(_, node)| node.line);
        Ok(entries)
    }

    fn toml_value(&self, value: &DeValue<'_>, line: usize) -> Result<Value, Problem> {
        let number = |text: &str, radix: u32| {
            let number = i64::from_str_radix(text, radix).ok().map(Number::from);
            number.ok_or_else(|| {
                Problem::wrong(self.file, line, "", &format!("the number `{text}`"), "one of at most 64 bits")
            })
        };
        Ok(match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Integer(value) => Value::Number(number(value.as_str(), value.radix())?),
            DeValue::Float(value) => {
                let parsed = value.as_str().parse().ok().and_then(Number::from_f64);
                Value::Number(parsed.ok_or_else(|| {
                    Problem::wrong(
                        self.file,
                        line,
                        "",
                        &format!("the number `{}`", value.as_str()),
                        "a finite one",
                    )
                })?)
            }
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .map(|item| {
                        let line = self.line(item.span().start);
                        Ok(Node { line, value: self.toml_value(item.get_ref(), line)? })
                    })
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(table) => Value::Table(self.toml_table(table)?),
        })
    }

    fn json(&self) -> Result<Vec<(String, Node)>, Problem> {
        let strict = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
        };
        let parsed = parse_to_ast(self.text, &CollectOptions::default(), &strict)
            .map_err(|error| Problem::new(self.file, error.line_display(), "", error.kind().to_string()))?;
        match parsed.value {
            Some(ast::Value::Object(object)) => self.json_object(&object),
            Some(other) => Err(Problem::new(
                self.file,
                self.line(other.start()),
                "",
                "found no `{`, expected one object",
            )),
            None => Err(Problem::new(self.file, 1, "", "found an empty file, expected one object")),
        }
    }

    fn json_object(&self, object: &ast::Object<'_>) -> Result<Vec<(String, Node)>, Problem> {
        let mut entries: Vec<(String, Node)> = Vec::with_capacity(object.properties.len());
        for property in &object.properties {
            let (line, key) = (self.line(property.start()), property.name.as_str());
            if entries.iter().any(|(other, _)| other == key) {
                return Err(Problem::new(self.file, line, key, "found it twice, expected it once"));
            }
            entries.push((key.to_owned(), Node { line, value: self.json_value(&property.value)? }));
        }
        Ok(entries)
    }

    fn json_value(&self, value: &ast::Value<'_>) -> Result<Value, Problem> {
        Ok(match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
            ast::Value::StringLit(literal) => Value::Text(literal.value.to_string()),
            ast::Value::NumberLit(literal) => Value::Number(literal.value.parse().map_err(|_| {
                let line = self.line(literal.range.start);
                Problem::wrong(
                    self.file,
                    line,
                    "",
                    &format!("the number `{}`", literal.value),
                    "one JSON can hold",
                )
            })?),
            ast::Value::Array(array) => Value::List(
                array
                    .elements
                    .iter()
                    .map(|item| Ok(Node { line: self.line(item.start()), value: self.json_value(item)? }))
                    .collect::<Result<_, _>>()?,
            ),
            ast::Value::Object(object) => Value::Table(self.json_object(object)?),
        })
    }

    /// The line of a byte, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at)
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}
