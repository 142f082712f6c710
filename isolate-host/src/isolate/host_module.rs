//! The host's half of the builtin `_warmshard`: one function per operation.
//!
//! `call(op, id, data)` in Python arrives here through the glue as
//! `dispatch(op, id, data, length)`. Its result is a length: the reply waits in
//! [`Exchange::reply`](super::exchange::Exchange) until the glue takes it.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::{Caller, Linker};

use super::body::{BodyPull, Room, pipe};
use super::exchange::{Answer, AnswerBody, Exchange, Report, RequestId};
use super::fault::GuestFault;
use super::guest::{Guest, Phase};
use super::marshal::{MarshalError, Value};
use crate::emscripten::entropy::{Entropy, EntropyError, Trace};
use crate::emscripten::memory::GuestMemory;

/// What an operation answers Python.
enum Reply {
    None,
    /// The bytes in `Exchange::reply`.
    Bytes,
}

/// Why an operation was refused; Python sees a `RuntimeError`.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("operation {0} does not exist")]
    Operation(u32),
    #[error("operation {op} got data it cannot read: {source}")]
    Malformed { op: u32, source: MarshalError },
    #[error("operation {op} got {found}, expected {expected}")]
    Shape { op: u32, found: String, expected: &'static str },
    #[error("request {0} is not in flight")]
    Request(RequestId),
    #[error("the response of request {0} has begun already")]
    Begun(RequestId),
    #[error("the response of request {0} has not begun")]
    NotBegun(RequestId),
    #[error("objects are marked only while the worker is deployed")]
    Marking,
    #[error("found {found} random bytes asked for, expected at most {RANDOM_LIMIT}")]
    TooMuchEntropy { found: i64 },
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

const RANDOM_LIMIT: i64 = 1 << 20;
/// A guest writes its own log lines at most this long.
const LOG_LIMIT: usize = 64 << 10;

mod op {
    pub(super) const POLL: u32 = 1;
    pub(super) const PARK: u32 = 2;
    pub(super) const CONFIG: u32 = 3;
    pub(super) const REPORT: u32 = 4;
    pub(super) const LOG: u32 = 5;
    pub(super) const RESPONSE_HEAD: u32 = 10;
    pub(super) const RESPONSE_CHUNK: u32 = 11;
    pub(super) const RESPONSE_END: u32 = 12;
    pub(super) const RESPONSE_FAIL: u32 = 13;
    pub(super) const REQUEST_DONE: u32 = 14;
    pub(super) const RESPONSE_FULL: u32 = 15;
    pub(super) const BODY_PULL: u32 = 20;
    pub(super) const BODY_CANCEL: u32 = 21;
    pub(super) const RANDOM: u32 = 30;
    pub(super) const MARK: u32 = 40;
    pub(super) const ALLOW: u32 = 41;
    pub(super) const SEARCH: u32 = 42;
}

pub(super) fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "host",
        "dispatch",
        |mut caller: Caller<'_, Guest>, op: u32, id: u32, at: u32, length: u32| {
            let (memory, guest) = GuestMemory::with_guest(&mut caller);
            let data = memory.bytes(at, length as usize)?;
            let length = match dispatch(guest, memory.all(), op, id, data) {
                Ok(Reply::None) => return Ok(-1),
                Ok(Reply::Bytes) => i32::try_from(guest.exchange.reply.len()),
                Err(refused) => {
                    guest.exchange.reply = refused.to_string().into_bytes();
                    i32::try_from(guest.exchange.reply.len()).map(|length| -2 - length)
                }
            };
            length.map_err(|_| wasmtime::format_err!("a reply to the guest is larger than 2 GiB"))
        },
    )?;
    linker.func_wrap("host", "take", |mut caller: Caller<'_, Guest>, at: u32, length: u32| {
        let (mut memory, guest) = GuestMemory::with_guest(&mut caller);
        let reply = &mut guest.exchange.reply;
        let taken = reply.get(..length as usize).unwrap_or(reply);
        memory.write(at, taken)?;
        // Kept for the next reply, unless this one was unusually large.
        reply.clear();
        reply.shrink_to(16 << 10);
        Ok::<(), wasmtime::Error>(())
    })?;
    Ok(())
}

fn dispatch(guest: &mut Guest, memory: &[u8], op: u32, id: RequestId, data: &[u8]) -> Result<Reply, Refused> {
    let exchange = &mut guest.exchange;
    match op {
        op::POLL => exchange.poll(),
        op::PARK => {
            exchange.deadline = deadline(data)?;
            return Ok(Reply::None);
        }
        op::CONFIG => exchange.reply.clone_from(&exchange.config),
        op::REPORT => {
            exchange.report = Some(report(data)?);
            return Ok(Reply::None);
        }
        op::LOG => return log(guest, id, data),
        op::RESPONSE_HEAD => return response_head(exchange, id, data),
        op::RESPONSE_CHUNK => return response_chunk(exchange, id, data),
        op::RESPONSE_END => return response_end(exchange, id),
        op::RESPONSE_FAIL => return response_fail(exchange, id, data),
        op::RESPONSE_FULL => return response_full(exchange, id, data),
        op::REQUEST_DONE => return request_done(exchange, id),
        op::BODY_PULL => return body(exchange, id, BodyPull::Next),
        op::BODY_CANCEL => return body(exchange, id, BodyPull::Cancel),
        op::RANDOM => return random(guest, data),
        op::MARK => return mark(guest, data),
        op::ALLOW => allow(guest, id, data),
        op::SEARCH => search(guest, if data.is_empty() { memory } else { data }),
        _ => return Err(Refused::Operation(op)),
    }
    Ok(Reply::Bytes)
}

fn read(op: u32, data: &[u8]) -> Result<Value, Refused> {
    Value::read(data).map_err(|source| Refused::Malformed { op, source })
}

fn shape<T>(op: u32, found: &Value, expected: &'static str) -> Result<T, Refused> {
    let found = match found {
        Value::None => "None".to_owned(),
        Value::Bool(_) => "a bool".to_owned(),
        Value::Int(_) => "an int".to_owned(),
        Value::Float(_) => "a float".to_owned(),
        Value::Bytes(_) => "bytes".to_owned(),
        Value::Str(_) => "a str".to_owned(),
        Value::Tuple(items) => format!("a tuple of {}", items.len()),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Dict(_) => "a dict".to_owned(),
    };
    Err(Refused::Shape { op, found, expected })
}

fn deadline(data: &[u8]) -> Result<Option<f64>, Refused> {
    match read(op::PARK, data)? {
        Value::None => Ok(None),
        Value::Float(seconds) => Ok(Some(seconds)),
        Value::Int(seconds) => Ok(Some(seconds as f64)),
        other => shape(op::PARK, &other, "seconds or None"),
    }
}

fn report(data: &[u8]) -> Result<Report, Refused> {
    let value = read(op::REPORT, data)?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ok = value.get("ok") == Some(&Value::Bool(true));
    let entrypoints = match value.get("entrypoints") {
        Some(Value::List(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Ok(Report { error: (!ok).then(|| text("error")), traceback: text("traceback"), entrypoints })
}

fn log(guest: &mut Guest, id: RequestId, data: &[u8]) -> Result<Reply, Refused> {
    let (level, text) = match read(op::LOG, data)? {
        Value::Tuple(parts) => match <[Value; 2]>::try_from(parts) {
            Ok([Value::Int(level), Value::Str(text)]) => (level, text),
            Ok(_) => return shape(op::LOG, &Value::Tuple(vec![]), "(level, text)"),
            Err(parts) => return shape(op::LOG, &Value::Tuple(parts), "(level, text)"),
        },
        other => return shape(op::LOG, &other, "(level, text)"),
    };
    guest.output.record(level, id, &text[..text.floor_char_boundary(LOG_LIMIT)]);
    Ok(Reply::None)
}

fn pending(exchange: &mut Exchange, id: RequestId) -> Result<&mut super::exchange::Pending, Refused> {
    exchange.pending.get_mut(&id).ok_or(Refused::Request(id))
}

/// Status and headers of a response, however they were sent.
fn head(op: u32, status: Value, headers: Value) -> Result<(u16, Vec<(Bytes, Bytes)>), Refused> {
    let status = match status {
        Value::Int(status @ 100..=999) => status as u16,
        Value::Int(found) => {
            return Err(Refused::Shape {
                op,
                found: format!("status {found}"),
                expected: "a status of 100 to 999",
            });
        }
        other => return shape(op, &other, "an int as the status"),
    };
    let (Value::List(items) | Value::Tuple(items)) = headers else {
        return shape(op, &headers, "a list of headers");
    };
    let mut list = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Value::Tuple(pair) => match <[Value; 2]>::try_from(pair) {
                Ok([Value::Bytes(name), Value::Bytes(value)]) => list.push((name.into(), value.into())),
                Ok(_) => return shape(op, &Value::None, "headers as (bytes, bytes)"),
                Err(pair) => return shape(op, &Value::Tuple(pair), "headers as (bytes, bytes)"),
            },
            other => return shape(op, &other, "headers as (bytes, bytes)"),
        }
    }
    Ok((status, list))
}

fn triple(op: u32, data: &[u8], expected: &'static str) -> Result<[Value; 3], Refused> {
    match read(op, data)? {
        Value::Tuple(parts) => parts.try_into().or_else(|parts| shape(op, &Value::Tuple(parts), expected)),
        other => shape(op, &other, expected),
    }
}

fn response_head(exchange: &mut Exchange, id: RequestId, data: &[u8]) -> Result<Reply, Refused> {
    let [status, headers, _streaming] = triple(op::RESPONSE_HEAD, data, "(status, headers, streaming)")?;
    let (status, headers) = head(op::RESPONSE_HEAD, status, headers)?;
    let mailbox = exchange.mailbox.clone().ok_or(Refused::Request(id))?;
    let pending = pending(exchange, id)?;
    let respond = pending.respond.take().ok_or(Refused::Begun(id))?;
    let (sender, chunks) = pipe(id, mailbox);
    pending.chunks = Some(sender);
    // A client that went away has a Cancel on its way.
    let _ = respond.send(Ok(Answer { status, headers, body: AnswerBody::Streamed(chunks) }));
    Ok(Reply::None)
}

fn response_full(exchange: &mut Exchange, id: RequestId, data: &[u8]) -> Result<Reply, Refused> {
    let [status, headers, body] = triple(op::RESPONSE_FULL, data, "(status, headers, body)")?;
    let (status, headers) = head(op::RESPONSE_FULL, status, headers)?;
    let Value::Bytes(body) = body else { return shape(op::RESPONSE_FULL, &body, "bytes as the body") };
    let respond = pending(exchange, id)?.respond.take().ok_or(Refused::Begun(id))?;
    let _ = respond.send(Ok(Answer { status, headers, body: AnswerBody::Whole(body.into()) }));
    Ok(Reply::None)
}

fn response_chunk(exchange: &mut Exchange, id: RequestId, data: &[u8]) -> Result<Reply, Refused> {
    let chunks = pending(exchange, id)?.chunks.as_ref().ok_or(Refused::NotBegun(id))?;
    match chunks.send(Bytes::copy_from_slice(data)) {
        Room::GoOn => Ok(Reply::None),
        Room::Pause => {
            exchange.reply.clear();
            Ok(Reply::Bytes)
        }
    }
}

fn response_end(exchange: &mut Exchange, id: RequestId) -> Result<Reply, Refused> {
    pending(exchange, id)?.chunks.take().ok_or(Refused::NotBegun(id))?.end();
    Ok(Reply::None)
}

fn response_fail(exchange: &mut Exchange, id: RequestId, data: &[u8]) -> Result<Reply, Refused> {
    let message = match read(op::RESPONSE_FAIL, data)? {
        Value::Tuple(parts) => parts.into_iter().nth(1),
        _ => None,
    };
    let message = message.as_ref().and_then(Value::as_str).unwrap_or("no message").to_owned();
    let pending = pending(exchange, id)?;
    if let Some(respond) = pending.respond.take() {
        let _ = respond.send(Err(GuestFault::Exception { message }));
    } else if let Some(chunks) = pending.chunks.take() {
        chunks.fail(Arc::from(message));
    }
    Ok(Reply::None)
}

fn request_done(exchange: &mut Exchange, id: RequestId) -> Result<Reply, Refused> {
    let done = exchange.pending.remove(&id).ok_or(Refused::Request(id))?;
    if let Some(respond) = done.respond {
        let message = "the handler ended without a response".to_owned();
        let _ = respond.send(Err(GuestFault::Exception { message }));
    }
    Ok(Reply::None)
}

fn body(exchange: &mut Exchange, id: RequestId, pull: BodyPull) -> Result<Reply, Refused> {
    if let Some(body) = &pending(exchange, id)?.body {
        // A feeder that ended has sent its last event already.
        let _ = body.send(pull);
    }
    Ok(Reply::None)
}

fn random(guest: &mut Guest, data: &[u8]) -> Result<Reply, Refused> {
    let length = match read(op::RANDOM, data)? {
        Value::Int(length @ 0..=RANDOM_LIMIT) => length as usize,
        Value::Int(found) => return Err(Refused::TooMuchEntropy { found }),
        other => return shape(op::RANDOM, &other, "a number of bytes"),
    };
    guest.exchange.reply.clear();
    guest.exchange.reply.resize(length, 0);
    guest.entropy.fill(&mut guest.exchange.reply)?;
    Ok(Reply::Bytes)
}

/// Notes objects that are to become immortal; answers a byte for each: 1 = not seen before.
fn mark(guest: &mut Guest, data: &[u8]) -> Result<Reply, Refused> {
    if guest.phase != Phase::Deploying {
        return Err(Refused::Marking);
    }
    let marked = &mut guest.immortal;
    let addresses = data.chunks_exact(4).map(|at| u32::from_le_bytes(at.try_into().expect("four bytes")));
    guest.exchange.reply = addresses.map(|address| u8::from(marked.insert(address))).collect();
    Ok(Reply::Bytes)
}

/// Sets how many draws of entropy may follow, and what for; answers how many of those
/// allowed before are left, and how many draws were refused so far.
///
/// While serving there is nothing to allow.
fn allow(guest: &mut Guest, draws: u32, purpose: &[u8]) {
    let (left, refused) = match &mut guest.entropy {
        Entropy::Deploying(poison) => {
            (poison.allow(draws, &String::from_utf8_lossy(purpose)), poison.refused())
        }
        Entropy::Serving => (0, 0),
    };
    let counts = Value::Tuple(vec![Value::Int(left.into()), Value::Int(refused.into())]);
    guest.exchange.reply = counts.to_bytes();
}

/// Copies of poison in all of memory, or in the bytes given.
fn search(guest: &mut Guest, memory: &[u8]) {
    let traces = match &guest.entropy {
        Entropy::Deploying(poison) => poison.search(memory),
        Entropy::Serving => Vec::new(),
    };
    let tuple = |trace: Trace<'_>| {
        Value::Tuple(vec![
            Value::Int(trace.at as i64),
            Value::Int(trace.length as i64),
            Value::str(trace.form.name()),
            Value::str(trace.purpose),
        ])
    };
    guest.exchange.reply = Value::List(traces.into_iter().map(tuple).collect()).to_bytes();
}
