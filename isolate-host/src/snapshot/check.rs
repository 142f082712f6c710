//! Whether a snapshot can be what it says, and whether it fits this host. Pure.
//!
//! Three questions, asked in this order, each of every field it concerns:
//!
//! * [`check_alone`]: does the manifest agree with itself and with the image? Asked
//!   wherever a snapshot is read, also by a tool that has no runtime.
//! * [`check_fit`]: is it of the deployment that is wanted, and is everything it was
//!   taken with here, byte for byte?
//! * [`check_files`]: can files and descriptors be put in place?
//!
//! Symbols of the function table are looked up while the plan is made.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{Manifest, Mismatch, SavedLibrary};
use super::surroundings::{LibraryFacts, Surroundings};
use crate::emscripten::files::{ExportError, FileSystem, Layer, OverlayEntry};
use crate::linker::bind::Symbol;

const WASM_PAGE: u64 = 65536;
/// As many pages as 32-bit addresses reach.
const MOST_PAGES: u32 = 65536;
/// Entries no function table has; a larger number would only be allocated in vain.
const MOST_TABLE: u32 = 1 << 24;
/// A top level that ran for a year: no clock goes on from there.
const LATEST_FLOOR: u64 = 365 * 24 * 3600 * 1_000_000_000;
/// What the function the host calls is named in Python.
const PUMP_NAME: &str = "pump";
/// CPython on 32 bits: where a type has its name, a function its name, and short text its length and bytes.
const TYPE_OF: u64 = 4;
const TYPE_NAME: u64 = 12;
const FUNCTION_NAME: u64 = 16;
const TEXT_LENGTH: u64 = 8;
const TEXT_BYTES: u64 = 20;

/// Whether the manifest agrees with itself and with the image.
pub fn check_alone(manifest: &Manifest, image: &[u8]) -> Result<(), Mismatch> {
    // Every field is named here, so that a new one is not forgotten.
    let Manifest {
        // Any name and any runtime can be true of a snapshot: `check_fit` compares them.
        worker: _,
        deployment: _,
        runtime: _,
        memory_pages,
        globals,
        table_size,
        appended,
        offset_table,
        libraries,
        handles,
        pump,
        environment,
        working_directory,
        descriptors,
        monotonic_floor,
        entrypoints,
    } = manifest;
    memory(*memory_pages, image.len() as u64)?;
    let memory = image.len() as u64;
    for (name, value) in globals {
        addresses(&format!("globals.{name}"), *value as u32, memory)?;
    }
    table(*table_size, appended, libraries.len())?;
    offsets(offset_table, memory)?;
    for (index, library) in libraries.iter().enumerate() {
        alone(index, library, *table_size, memory)?;
    }
    for (address, library) in handles {
        handle(*address, *library, libraries.len(), memory)?;
    }
    python_function(*pump, image)?;
    for (name, value) in environment {
        variable(environment, name, value)?;
    }
    if !working_directory.starts_with('/') || working_directory.contains('\0') {
        return Err(Mismatch::new("working_directory", quoted(working_directory), "an absolute path"));
    }
    ascending("descriptors", descriptors.iter().map(|descriptor| i64::from(descriptor.fd)))?;
    if *monotonic_floor > LATEST_FLOOR {
        let expected = format!("at most {LATEST_FLOOR}, a year of nanoseconds");
        return Err(Mismatch::new("monotonic_floor", monotonic_floor, expected));
    }
    names("entrypoints", entrypoints)
}

/// Whether the snapshot is the wanted one and everything it was taken with is here.
pub fn check_fit(manifest: &Manifest, here: &Surroundings<'_>) -> Result<(), Mismatch> {
    equal("deployment", &manifest.deployment, here.deployment)?;
    equal("worker", &manifest.worker, here.worker)?;
    for ((part, found), (_, expected)) in manifest.runtime.parts().into_iter().zip(here.runtime.parts()) {
        equal(&format!("runtime.{part}"), found, expected)?;
    }
    same_names("globals", &manifest.globals, &here.globals)?;
    let mut table = TableCursor { next: here.initial_table, appended: &manifest.appended };
    let mut before = Vec::new();
    for (index, library) in manifest.libraries.iter().enumerate() {
        let field = |name: &str| format!("libraries[{index}].{name}");
        let Some(facts) = here.libraries.get(library.path.as_str()) else {
            let brought = if here.libraries.is_empty() { "none" } else { "others" };
            let expected = format!("a library of the deployment, which brings {brought}");
            return Err(Mismatch::new(field("path"), quoted(&library.path), expected));
        };
        equal(&field("content"), library.content.as_str(), facts.content)?;
        table.skip_appended();
        equal(&field("table_base"), &library.table_base, &table.next)?;
        table.next = table.next.saturating_add(facts.table_size);
        place(&field("memory_base"), library, facts, u64::from(manifest.memory_pages) * WASM_PAGE, &before)?;
        before.push((library.memory_base, facts.memory_size));
        same_names(&field("globals"), &library.globals, &facts.globals)?;
        let known = |name: &&&str| manifest.offset_table.iter().any(|(other, _)| other == **name);
        if let Some(missing) = facts.offsets.iter().find(|name| !known(name)) {
            let expected = format!("one for each that `{}` reaches through it", library.path);
            return Err(Mismatch::new("offset_table", format!("without an entry `{missing}`"), expected));
        }
    }
    table.skip_appended();
    if let Some((index, _)) = manifest.appended.iter().find(|(index, _)| !table.is_appended(*index)) {
        let expected = "places of the table that neither the main module nor a library fills";
        return Err(Mismatch::new("appended", format!("with an entry for {index}"), expected));
    }
    equal("table_size", &manifest.table_size, &table.next)
}

/// Puts the saved files and descriptors in place once, over the deployment's layers.
pub fn check_files(manifest: &Manifest, layers: &[Layer], overlay: &[OverlayEntry]) -> Result<(), Mismatch> {
    let wrong = |field: &str, error: &ExportError| {
        let found = match error {
            ExportError::PathTooLong { below } => format!("with a too long path below `{below}`"),
            ExportError::Entry { path, source } => format!("with `{}` ({source})", path.escape_debug()),
            ExportError::Descriptor { fd, source } => format!("with descriptor {fd} ({source})"),
        };
        Mismatch::new(field, found, "what can be put in place over the deployment's files")
    };
    let mut files = FileSystem::new(layers.to_vec(), u64::MAX);
    files.restore_overlay(overlay.to_vec()).map_err(|error| wrong("files", &error))?;
    files.chdir(&manifest.working_directory).map_err(|errno| {
        let found = format!("`{}` ({errno})", manifest.working_directory.escape_debug());
        Mismatch::new("working_directory", found, "a folder of the deployment")
    })?;
    files.restore_descriptors(&manifest.descriptors).map_err(|error| wrong("descriptors", &error))
}

/// Walks the function table: each library fills its part, single entries lie between.
struct TableCursor<'a> {
    next: u32,
    appended: &'a [(u32, Symbol)],
}

impl TableCursor<'_> {
    /// Advances over the entries appended one by one.
    fn skip_appended(&mut self) {
        while let Some(((index, _), rest)) = self.appended.split_first() {
            if *index != self.next {
                return;
            }
            self.next += 1;
            self.appended = rest;
        }
    }

    /// Whether an entry has been passed by `skip_appended`.
    fn is_appended(&self, index: u32) -> bool {
        self.appended.iter().all(|(other, _)| *other != index)
    }
}

fn memory(pages: u32, image: u64) -> Result<(), Mismatch> {
    if pages == 0 || pages > MOST_PAGES {
        return Err(Mismatch::new("memory_pages", pages, format!("1 to {MOST_PAGES}")));
    }
    let bytes = u64::from(pages) * WASM_PAGE;
    if bytes != image {
        let expected = format!("{}: the image has {image} bytes", image as f64 / WASM_PAGE as f64);
        return Err(Mismatch::new("memory_pages", pages, expected));
    }
    Ok(())
}

/// The main module's globals are addresses: of the stack, of the heap, of thread-local data.
fn addresses(field: &str, found: u32, memory: u64) -> Result<(), Mismatch> {
    if u64::from(found) > memory {
        return Err(Mismatch::new(field, found, format!("an address within {memory} bytes")));
    }
    Ok(())
}

fn table(size: u32, appended: &[(u32, Symbol)], libraries: usize) -> Result<(), Mismatch> {
    if size > MOST_TABLE {
        return Err(Mismatch::new("table_size", size, format!("at most {MOST_TABLE}")));
    }
    ascending("appended", appended.iter().map(|(index, _)| i64::from(*index)))?;
    for (position, (index, symbol)) in appended.iter().enumerate() {
        let field = format!("appended[{position}]");
        if *index >= size {
            return Err(Mismatch::new(field, index, format!("less than `table_size`, {size}")));
        }
        if let Symbol::Library { library, .. } = symbol
            && *library >= libraries
        {
            let found = format!("of library {library}");
            return Err(Mismatch::new(field, found, format!("one of {libraries}")));
        }
    }
    Ok(())
}

fn offsets(entries: &[(String, i32)], memory: u64) -> Result<(), Mismatch> {
    let mut seen = BTreeSet::new();
    for (name, value) in entries {
        if !seen.insert(name) {
            return Err(Mismatch::new("offset_table", format!("with two of `{name}`"), "each name once"));
        }
        // An address or a table index: the former reaches further.
        addresses(&format!("offset_table.{name}"), *value as u32, memory)?;
    }
    Ok(())
}

fn alone(index: usize, library: &SavedLibrary, table_size: u32, memory: u64) -> Result<(), Mismatch> {
    let SavedLibrary { path, content, memory_base, table_base, globals } = library;
    let field = |name: &str| format!("libraries[{index}].{name}");
    if !path.starts_with('/') {
        return Err(Mismatch::new(field("path"), quoted(path), "an absolute path"));
    }
    let is_hash = content.len() == 64 && content.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash {
        return Err(Mismatch::new(field("content"), quoted(content), "64 hex digits"));
    }
    addresses(&field("memory_base"), *memory_base, memory)?;
    if *table_base > table_size {
        let expected = format!("at most `table_size`, {table_size}");
        return Err(Mismatch::new(field("table_base"), table_base, expected));
    }
    if let Some(name) = globals.keys().find(|name| name.is_empty()) {
        return Err(Mismatch::new(field("globals"), quoted(name), "names"));
    }
    Ok(())
}

/// Where a library's own memory lies: aligned, inside, apart from that of others.
fn place(
    field: &str,
    library: &SavedLibrary,
    facts: &LibraryFacts<'_>,
    memory: u64,
    before: &[(u32, u32)],
) -> Result<(), Mismatch> {
    let (base, size) = (u64::from(library.memory_base), u64::from(facts.memory_size));
    if facts.memory_alignment > 1 && !library.memory_base.is_multiple_of(facts.memory_alignment) {
        let expected = format!("a multiple of {}", facts.memory_alignment);
        return Err(Mismatch::new(field, base, expected));
    }
    if base == 0 || base + size > memory {
        let expected = format!("an address with {size} of {memory} bytes behind it");
        return Err(Mismatch::new(field, base, expected));
    }
    let overlaps = |(other, length): &&(u32, u32)| {
        base < u64::from(*other) + u64::from(*length) && u64::from(*other) < base + size
    };
    match before.iter().find(overlaps) {
        Some((other, _)) => {
            let expected = format!("memory apart from that of the library at {other}");
            Err(Mismatch::new(field, base, expected))
        }
        None => Ok(()),
    }
}

fn handle(address: u32, library: usize, libraries: usize, memory: u64) -> Result<(), Mismatch> {
    let field = format!("handles.{address}");
    if address == 0 || u64::from(address) >= memory {
        return Err(Mismatch::new("handles", address, format!("an address within {memory} bytes")));
    }
    if library >= libraries {
        return Err(Mismatch::new(field, library, format!("one of {libraries} libraries")));
    }
    Ok(())
}

/// The object at `address` is the Python function that the host calls.
fn python_function(address: u32, image: &[u8]) -> Result<(), Mismatch> {
    let wrong = |found: String| Mismatch::new("pump", found, "the address of the Python function `pump`");
    let at = u64::from(address);
    let name = read_u32(image, at + TYPE_OF)
        .and_then(|kind| read_u32(image, u64::from(kind) + TYPE_NAME))
        .and_then(|name| bytes(image, u64::from(name), 9));
    if !address.is_multiple_of(4) || name != Some(b"function\0") {
        return Err(wrong(format!("{address}, where no function is")));
    }
    let text = read_u32(image, at + FUNCTION_NAME).map(u64::from);
    let length = text.and_then(|text| read_u32(image, text + TEXT_LENGTH));
    let found = text.and_then(|text| bytes(image, text + TEXT_BYTES, PUMP_NAME.len()));
    if length != Some(PUMP_NAME.len() as u32) || found != Some(PUMP_NAME.as_bytes()) {
        return Err(wrong(format!("{address}, where another function is")));
    }
    Ok(())
}

fn read_u32(image: &[u8], at: u64) -> Option<u32> {
    bytes(image, at, 4).map(|found| u32::from_le_bytes([found[0], found[1], found[2], found[3]]))
}

fn bytes(image: &[u8], at: u64, count: usize) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    image.get(at..at.checked_add(count)?)
}

fn variable(all: &[(String, String)], name: &str, value: &str) -> Result<(), Mismatch> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Mismatch::new("environment", quoted(name), "names without `=`"));
    }
    if value.contains('\0') {
        return Err(Mismatch::new(format!("environment.{name}"), quoted(value), "text without NUL"));
    }
    if all.iter().filter(|(other, _)| other == name).count() > 1 {
        return Err(Mismatch::new("environment", format!("with two of `{name}`"), "each name once"));
    }
    Ok(())
}

/// Names of classes: what the platform reports.
fn names(field: &str, all: &[String]) -> Result<(), Mismatch> {
    let is_name = |name: &&String| {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    if let Some(found) = all.iter().find(|name| !is_name(name)) {
        return Err(Mismatch::new(field, quoted(found), "Python names"));
    }
    let mut seen = BTreeSet::new();
    match all.iter().find(|name| !seen.insert(*name)) {
        Some(twice) => Err(Mismatch::new(field, format!("with two of `{twice}`"), "each name once")),
        None => Ok(()),
    }
}

fn ascending(field: &str, numbers: impl Iterator<Item = i64>) -> Result<(), Mismatch> {
    let mut last = -1;
    for number in numbers {
        if number <= last {
            return Err(Mismatch::new(
                field,
                format!("with {number} after {last}"),
                "ascending numbers from 0",
            ));
        }
        last = number;
    }
    Ok(())
}

fn equal<T: PartialEq + std::fmt::Display + ?Sized>(
    field: &str,
    found: &T,
    expected: &T,
) -> Result<(), Mismatch> {
    if found == expected {
        return Ok(());
    }
    Err(Mismatch::new(field, format!("`{found}`"), format!("`{expected}`")))
}

fn same_names(field: &str, found: &BTreeMap<String, i32>, expected: &BTreeSet<&str>) -> Result<(), Mismatch> {
    if let Some(missing) = expected.iter().find(|name| !found.contains_key(**name)) {
        return Err(Mismatch::new(field, format!("without `{missing}`"), "every global the module has"));
    }
    match found.keys().find(|name| !expected.contains(name.as_str())) {
        Some(other) => Err(Mismatch::new(field, format!("with `{other}`"), "only globals the module has")),
        None => Ok(()),
    }
}

fn quoted(text: &str) -> String {
    format!("`{}`", text.escape_debug())
}

#[cfg(test)]
mod tests;
