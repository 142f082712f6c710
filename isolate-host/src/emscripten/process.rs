//! Ending, environment, identity and messages of the guest's "process".

use wasmtime::{Caller, Linker};

use super::files::Errno;
use super::memory::GuestMemory;
use crate::isolate::guest::Guest;
use crate::linker::dlopen;

/// Ends a guest that asked for it; its exit code is in [`Guest::exit_code`].
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the guest ended its process with exit code {0}")]
pub struct Exited(pub i32);

fn exit(mut caller: Caller<'_, Guest>, code: i32) -> wasmtime::Result<()> {
    caller.data_mut().exit_code = Some(code);
    Err(Exited(code).into())
}

pub fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", exit)?;
    linker.func_wrap("env", "exit", exit)?;
    linker.func_wrap("env", "_abort_js", || -> wasmtime::Result<()> {
        Err(wasmtime::format_err!("the guest called abort()"))
    })?;
    linker.func_wrap(
        "env",
        "__assert_fail",
        |mut caller: Caller<'_, Guest>,
         condition: u32,
         file: u32,
         line: i32,
         _function: u32|
         -> wasmtime::Result<()> {
            let (memory, _) = GuestMemory::with_guest(&mut caller);
            let (condition, file) = (memory.c_string(condition)?, memory.c_string(file)?);
            Err(wasmtime::format_err!("assertion `{condition}` failed at {file}:{line}"))
        },
    )?;
    linker.func_wrap("env", "__syscall_getuid32_js", || 0)?;
    linker.func_wrap("env", "__syscall_umask_js", |_mask: i32| 0o022)?;
    define_environment(linker)?;
    define_messages(linker)?;
    define_signals(linker)?;
    linker.func_wrap_async("env", "_dlopen_js", |mut caller: Caller<'_, Guest>, (handle,): (u32,)| {
        Box::new(async move { dlopen::dlopen(&mut caller, handle).await })
    })?;
    linker.func_wrap(
        "env",
        "_dlsym_js",
        |mut caller: Caller<'_, Guest>, handle: u32, name: u32, _index: u32| {
            dlopen::dlsym(&mut caller, handle, name)
        },
    )?;
    Ok(())
}

fn define_environment(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let wasi = "wasi_snapshot_preview1";
    linker.func_wrap(wasi, "environ_sizes_get", |mut caller: Caller<'_, Guest>, count: u32, size: u32| {
        let (mut memory, guest) = GuestMemory::with_guest(&mut caller);
        let bytes: usize = guest.environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        memory.write_u32(count, guest.environment.len() as u32)?;
        memory.write_u32(size, bytes as u32)?;
        Ok::<i32, wasmtime::Error>(0)
    })?;
    linker.func_wrap(wasi, "environ_get", |mut caller: Caller<'_, Guest>, pointers: u32, strings: u32| {
        let (mut memory, guest) = GuestMemory::with_guest(&mut caller);
        let mut at = strings;
        for (index, (name, value)) in guest.environment.iter().enumerate() {
            memory.write_u32(pointers + 4 * index as u32, at)?;
            let entry = format!("{name}={value}\0");
            memory.write(at, entry.as_bytes())?;
            at += entry.len() as u32;
        }
        Ok::<i32, wasmtime::Error>(0)
    })?;
    Ok(())
}

fn define_messages(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "_emscripten_get_progname",
        |mut caller: Caller<'_, Guest>, at: u32, length: i32| {
            let name = b"python\0";
            let (mut memory, _) = GuestMemory::with_guest(&mut caller);
            let length = name.len().min(length.max(0) as usize);
            Ok::<(), wasmtime::Error>(memory.write(at, &name[..length])?)
        },
    )?;
    linker.func_wrap(
        "env",
        "_emscripten_log_formatted",
        |mut caller: Caller<'_, Guest>, _flags: i32, text: u32| {
            let (memory, guest) = GuestMemory::with_guest(&mut caller);
            let text = memory.c_string(text)?;
            guest.output.line(&text);
            Ok::<(), wasmtime::Error>(())
        },
    )?;
    linker.func_wrap("env", "emscripten_log_impl_js", |mut caller: Caller<'_, Guest>, text: u32| {
        let (memory, guest) = GuestMemory::with_guest(&mut caller);
        let text = memory.c_string(text)?;
        guest.output.line(&text);
        Ok::<(), wasmtime::Error>(())
    })?;
    Ok(())
}

/// There are no signals: timers are refused, and nobody calls a handler.
fn define_signals(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "_setitimer_js", |_which: i32, _milliseconds: f64| Errno::ENOSYS.negated())?;
    linker.func_wrap_async(
        "env",
        "__call_sighandler",
        |mut caller: Caller<'_, Guest>, (handler, signal): (u32, i32)| {
            Box::new(async move {
                let table = caller.data().parts().table;
                let function = table.get(&mut caller, u64::from(handler));
                let Some(wasmtime::Ref::Func(Some(function))) = function else {
                    return Err(wasmtime::format_err!("the guest's signal handler {handler} is no function"));
                };
                function.typed::<i32, ()>(&caller)?.call_async(&mut caller, signal).await
            })
        },
    )?;
    Ok(())
}
