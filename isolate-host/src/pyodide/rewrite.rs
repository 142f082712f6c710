//! Rewrites a module so that instantiating it touches no memory.
//!
//! A snapshot is an image of linear memory. For it to be mapped and used as it
//! is, neither the main module nor a library may initialise memory when it is
//! instantiated again, and everything outside memory must be readable:
//!
//! ```text
//! stock module                         rewritten module
//! ------------                         ----------------
//! (memory 480) defined                 (import "env" "memory")
//! (data (i32.const 1024) "...")        none: `data_segments` gives them to the host
//! (start $zero_bss)                    (export "__warmshard_start" (func $zero_bss))
//! (import "GOT.func" "x" (global))     (global (mut i32) (i32.const 0))   main module only
//! (global $hidden (mut i32))           the same, exported as "__warmshard_global_N"
//! ```
//!
//! The main module's `GOT.func` imports are weak symbols nobody defines (OpenGL):
//! they are its first globals, so defining them in place keeps every index and
//! saves 280 imports on each restore.

use std::ops::Range;

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    ConstExpr, EntityType, ExportKind, ExportSection, GlobalSection, GlobalType, ImportSection, MemoryType,
    Module, RawSection, SectionId, ValType,
};
use wasmparser::{ExternalKind, Operator, Parser, Payload, TypeRef};

/// The export under which a library's start function is called by the host.
pub const START_EXPORT: &str = "__warmshard_start";
/// Exported in place of being hidden, followed by the global's index.
pub const GLOBAL_EXPORT_PREFIX: &str = "__warmshard_global_";

/// Which of the two shapes a module has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `pyodide.asm.wasm`: defines memory and table.
    Main,
    /// A dynamic library: imports them.
    Library,
}

/// Why a module cannot be rewritten.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    #[error("the module is malformed")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    #[error("found a section that ends at byte {end}, expected it within the {length} bytes of the module")]
    Cut { end: usize, length: usize },
    #[error("cannot re-encode the module: {0}")]
    Encode(String),
    #[error(
        "found a passive data segment, expected only active ones: the module was not built by Emscripten as a dynamic library"
    )]
    PassiveData,
    #[error("found a data segment whose offset is not `constant` or `__memory_base + constant`")]
    DataOffset,
    #[error("found an imported global `{module}.{name}`, expected only `GOT.func` ones in the main module")]
    MainGlobalImport { module: String, name: String },
    #[error(
        "found data segments that end at {end}, expected them inside the {memory} bytes of initial memory"
    )]
    DataBounds { end: u64, memory: u64 },
}

impl<E: std::fmt::Display> From<wasm_encoder::reencode::Error<E>> for RewriteError {
    fn from(error: wasm_encoder::reencode::Error<E>) -> Self {
        Self::Encode(error.to_string())
    }
}

/// One piece of initial memory, relative to the module's memory base (0 for the main module).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSegment {
    pub offset: u32,
    /// Where its bytes are in the wasm file.
    pub bytes: Range<usize>,
}

/// The module without data, start function or hidden state; see the module's documentation.
pub fn rewrite(wasm: &[u8], role: Role) -> Result<Vec<u8>, RewriteError> {
    let facts = Facts::read(wasm)?;
    let mut out = Module::new();
    let mut copy = RoundtripReencoder;
    let mut exports_written = false;
    let mut globals_written = false;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Some((id, _)) = payload.as_section() {
            // Sections the module lacks but we add to come in their ordained place.
            if !globals_written && role == Role::Main && comes_after(id, SectionId::Global) {
                write_globals(&mut out, &mut copy, &facts, None)?;
                globals_written = true;
            }
            if !exports_written && comes_after(id, SectionId::Export) {
                write_exports(&mut out, &mut copy, &facts, None)?;
                exports_written = true;
            }
        }
        match payload {
            Payload::ImportSection(section) => write_imports(&mut out, &mut copy, section, role, &facts)?,
            Payload::MemorySection(_) if role == Role::Main => {}
            Payload::GlobalSection(section) if role == Role::Main => {
                write_globals(&mut out, &mut copy, &facts, Some(section))?;
                globals_written = true;
            }
            Payload::ExportSection(section) => {
                write_exports(&mut out, &mut copy, &facts, Some(section))?;
                exports_written = true;
            }
            Payload::StartSection { .. } | Payload::DataSection(_) | Payload::DataCountSection { .. } => {}
            Payload::CodeSectionStart { range, .. } => {
                out.section(&RawSection { id: SectionId::Code as u8, data: part(wasm, range)? });
            }
            Payload::CodeSectionEntry(_) | Payload::Version { .. } | Payload::End(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    out.section(&RawSection { id, data: part(wasm, range)? });
                }
            }
        }
    }
    Ok(out.finish())
}

/// A section's bytes: its header may promise more than the file has.
fn part(wasm: &[u8], range: Range<usize>) -> Result<&[u8], RewriteError> {
    let (end, length) = (range.end, wasm.len());
    wasm.get(range).ok_or(RewriteError::Cut { end, length })
}

/// The module's initial memory: what `rewrite` leaves out.
pub fn data_segments(wasm: &[u8]) -> Result<Vec<DataSegment>, RewriteError> {
    let mut segments = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::DataSection(section) = payload? else { continue };
        for segment in section {
            let segment = segment?;
            let wasmparser::DataKind::Active { offset_expr, .. } = segment.kind else {
                return Err(RewriteError::PassiveData);
            };
            let offset = constant_offset(&offset_expr)?;
            let end = segment.range.end;
            segments.push(DataSegment { offset, bytes: end - segment.data.len()..end });
        }
    }
    Ok(segments)
}

/// The smallest memory a module starts with, in bytes: defined or imported.
pub fn initial_memory_bytes(wasm: &[u8]) -> Result<u64, RewriteError> {
    let facts = Facts::read(wasm)?;
    Ok(facts.memory.map_or(0, |memory| memory.initial.saturating_mul(65536)))
}

/// `constant` or `__memory_base + constant` as the constant.
fn constant_offset(expr: &wasmparser::ConstExpr<'_>) -> Result<u32, RewriteError> {
    let mut constant: i64 = 0;
    for operator in expr.get_operators_reader() {
        match operator? {
            Operator::I32Const { value } => constant += i64::from(value as u32),
            Operator::GlobalGet { .. } | Operator::I32Add | Operator::End => {}
            _ => return Err(RewriteError::DataOffset),
        }
    }
    u32::try_from(constant).map_err(|_| RewriteError::DataOffset)
}

/// Module sections in the order the format prescribes (the tag section comes between memory and global).
fn comes_after(id: u8, section: SectionId) -> bool {
    const ORDER: [u8; 13] = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];
    let rank = |id: u8| ORDER.iter().position(|&at| at == id);
    match (rank(id), rank(section as u8)) {
        (Some(a), Some(b)) => a > b,
        _ => false,
    }
}

/// What one pass over the module finds out before the second one writes.
#[derive(Default)]
struct Facts {
    imported_globals: Vec<(String, String, wasmparser::GlobalType)>,
    defined_globals: Vec<wasmparser::GlobalType>,
    exported_globals: Vec<u32>,
    memory: Option<wasmparser::MemoryType>,
    start: Option<u32>,
}

impl Facts {
    fn read(wasm: &[u8]) -> Result<Self, RewriteError> {
        let mut facts = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        match import.ty {
                            TypeRef::Global(ty) => {
                                facts.imported_globals.push((
                                    import.module.to_owned(),
                                    import.name.to_owned(),
                                    ty,
                                ));
                            }
                            TypeRef::Memory(ty) => facts.memory = Some(ty),
                            _ => {}
                        }
                    }
                }
                Payload::MemorySection(section) => facts.memory = section.into_iter().next().transpose()?,
                Payload::GlobalSection(section) => {
                    for global in section {
                        facts.defined_globals.push(global?.ty);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == ExternalKind::Global {
                            facts.exported_globals.push(export.index);
                        }
                    }
                }
                Payload::StartSection { func, .. } => facts.start = Some(func),
                Payload::CodeSectionStart { .. } => break,
                _ => {}
            }
        }
        Ok(facts)
    }

    /// Mutable globals of the module's own that nothing outside could read.
    fn hidden_mutable_globals(&self) -> impl Iterator<Item = u32> + '_ {
        let first = self.imported_globals.len() as u32;
        (first..).zip(&self.defined_globals).filter_map(|(index, ty)| {
            (ty.mutable && !self.exported_globals.contains(&index)).then_some(index)
        })
    }
}

fn write_imports(
    out: &mut Module,
    copy: &mut RoundtripReencoder,
    section: wasmparser::ImportSectionReader<'_>,
    role: Role,
    facts: &Facts,
) -> Result<(), RewriteError> {
    let mut imports = ImportSection::new();
    for import in section.into_imports() {
        let import = import?;
        if role == Role::Main && matches!(import.ty, TypeRef::Global(_)) {
            if import.module != "GOT.func" {
                return Err(RewriteError::MainGlobalImport {
                    module: import.module.to_owned(),
                    name: import.name.to_owned(),
                });
            }
            continue;
        }
        imports.import(import.module, import.name, copy.entity_type(import.ty)?);
    }
    if role == Role::Main
        && let Some(memory) = facts.memory
    {
        imports.import(
            "env",
            "memory",
            EntityType::Memory(MemoryType {
                minimum: memory.initial,
                maximum: memory.maximum,
                memory64: memory.memory64,
                shared: memory.shared,
                page_size_log2: memory.page_size_log2,
            }),
        );
    }
    out.section(&imports);
    Ok(())
}

fn write_globals(
    out: &mut Module,
    copy: &mut RoundtripReencoder,
    facts: &Facts,
    section: Option<wasmparser::GlobalSectionReader<'_>>,
) -> Result<(), RewriteError> {
    let mut globals = GlobalSection::new();
    for _ in &facts.imported_globals {
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i32_const(0));
    }
    if let Some(section) = section {
        copy.parse_global_section(&mut globals, section)?;
    }
    if !globals.is_empty() {
        out.section(&globals);
    }
    Ok(())
}

fn write_exports(
    out: &mut Module,
    copy: &mut RoundtripReencoder,
    facts: &Facts,
    section: Option<wasmparser::ExportSectionReader<'_>>,
) -> Result<(), RewriteError> {
    let mut exports = ExportSection::new();
    if let Some(section) = section {
        copy.parse_export_section(&mut exports, section)?;
    }
    for index in facts.hidden_mutable_globals() {
        exports.export(&format!("{GLOBAL_EXPORT_PREFIX}{index}"), ExportKind::Global, index);
    }
    if let Some(start) = facts.start {
        exports.export(START_EXPORT, ExportKind::Func, start);
    }
    out.section(&exports);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with one empty function.
    const SMALL: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";

    #[test]
    fn sections_that_promise_more_than_there_is_are_refused() {
        for role in [Role::Main, Role::Library] {
            assert!(rewrite(SMALL, role).is_ok());
            let mut longer = SMALL.to_vec();
            longer[SMALL.len() - 5] = 100;
            assert!(rewrite(&longer, role).is_err());
        }
    }

    #[test]
    fn cut_and_changed_modules_are_judged_without_a_panic() {
        for at in 0..SMALL.len() {
            for byte in 0..=255 {
                let mut changed = SMALL.to_vec();
                changed[at] = byte;
                for role in [Role::Main, Role::Library] {
                    let _ = rewrite(&changed, role);
                    let _ = rewrite(&changed[..at], role);
                }
            }
        }
    }
}
