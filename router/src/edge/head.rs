//! Whether bytes are the head of an HTTP/1 request. Pure: what is read, and when, is the
//! business of whoever asks.

use crate::respond::Failure;

/// What pingora takes at most.
const MOST_HEADERS: usize = 256;
/// So much of what a client sent is shown to it.
const SHOWN: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The head is there, whatever follows it.
    Whole,
    /// So far nothing is wrong.
    Partial,
}

/// Judges what has been read so far of a request whose head may have `most` bytes.
pub(super) fn judge(bytes: &[u8], most: usize) -> Result<Progress, Failure> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return wrong(
            "a TLS handshake, expected plain HTTP/1.1; TLS has an address of its own (`listen.tls`)",
        );
    }
    if bytes.starts_with(b"PRI * HTTP/2") {
        return wrong("HTTP/2 without TLS, expected HTTP/1.1");
    }
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= most => {
            framing(request.version, request.headers)?;
            Ok(Progress::Whole)
        }
        Ok(httparse::Status::Partial) if bytes.len() < most => Ok(Progress::Partial),
        Ok(_) => Err(Failure::HeadTooLarge(format!("found a head of more than {most} bytes"))),
        Err(httparse::Error::TooManyHeaders) => {
            Err(Failure::HeadTooLarge(format!("found more than {MOST_HEADERS} headers")))
        }
        Err(error) => wrong(&describe(error, bytes)),
    }
}

/// The first byte of what a TLS client sends.
const TLS_HANDSHAKE: u8 = 0x16;

fn wrong<T>(found: &str) -> Result<T, Failure> {
    Err(Failure::BadHead(format!("found {found}")))
}

/// Where a body ends must be beyond doubt, or two readers of the same bytes see different requests.
fn framing(version: Option<u8>, headers: &[httparse::Header<'_>]) -> Result<(), Failure> {
    let all =
        |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    if all("host").count() > 1 {
        return wrong("more than one `host` header, expected one");
    }
    let mut lengths = all("content-length");
    if let Some(first) = lengths.next() {
        let is_number = !first.value.is_empty() && first.value.iter().all(u8::is_ascii_digit);
        if !is_number {
            return wrong(&format!("the content-length `{}`, expected a number", shown(first.value)));
        }
        if lengths.any(|other| other.value != first.value) {
            return wrong("two different content-lengths, expected one");
        }
    }
    let Some(coding) = all("transfer-encoding").next_back() else { return Ok(()) };
    if version == Some(0) {
        return wrong("a transfer-encoding in a request of HTTP/1.0, which has none");
    }
    let last = coding.value.rsplit(|&byte| byte == b',').next().unwrap_or_default();
    if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    wrong(&format!("the transfer-encoding `{}`, expected `chunked` as the last one", shown(coding.value)))
}

fn describe(error: httparse::Error, bytes: &[u8]) -> String {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    match error {
        httparse::Error::Version => {
            format!("the request line `{}`, expected HTTP/1.0 or HTTP/1.1 at its end", shown(first))
        }
        httparse::Error::Token => {
            format!("the request line `{}`, expected `METHOD TARGET HTTP/1.1`", shown(first))
        }
        httparse::Error::NewLine => "a line that ends in a lone carriage return".to_owned(),
        httparse::Error::HeaderName => {
            format!("a header without a valid name{}", place_of_bad(lines))
        }
        httparse::Error::HeaderValue => {
            format!("a header with a character that no value may have{}", place_of_bad(lines))
        }
        other => format!("something that is not HTTP/1.1 ({other})"),
    }
}

/// ` in line N (`NAME`)` of the first header that is wrong. Its value is not repeated.
fn place_of_bad<'b>(lines: impl Iterator<Item = &'b [u8]>) -> String {
    for (number, line) in lines.enumerate() {
        let alone = [line, b"\n\n"].concat();
        let mut header = [httparse::EMPTY_HEADER; 2];
        if httparse::parse_headers(&alone, &mut header).is_err() {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            return format!(" in line {} (`{}`)", number + 2, shown(name));
        }
    }
    String::new()
}

fn shown(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii();
    let cut = if bytes.len() > SHOWN { "…" } else { "" };
    format!("{}{cut}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 200;

    fn code(bytes: &[u8]) -> (&'static str, String) {
        let failure = judge(bytes, MOST).unwrap_err();
        (failure.code(), failure.message())
    }

    #[test]
    fn a_head_is_partial_until_it_is_whole_at_every_length() {
        let head = b"POST /x?y HTTP/1.1\r\nhost: a.test\r\ncontent-length: 3\r\n\r\n";
        for length in 0..head.len() {
            assert_eq!(judge(&head[..length], MOST), Ok(Progress::Partial), "{length}");
        }
        assert_eq!(judge(head, MOST), Ok(Progress::Whole));
        assert_eq!(judge(&[&head[..], b"abc"].concat(), MOST), Ok(Progress::Whole));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (bytes, expected) in [
            (&b"\x16\x03\x01"[..], "a TLS handshake"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 without TLS"),
            (b"GET / HTTP/3\r\n", "the request line `GET / HTTP/3`, expected HTTP/1.0 or HTTP/1.1"),
            (b"SSH-2.0-Open(SSH)\r\n", "expected `METHOD TARGET HTTP/1.1`"),
            (b"GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n", "in line 3 (`x y`)"),
            (b"GET / HTTP/1.1\r\nx-secret: hidden\0\r\n\r\n", "in line 2 (`x-secret`)"),
            (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "more than one `host`"),
            (b"GET / HTTP/1.1\r\ncontent-length: +3\r\n\r\n", "the content-length `+3`"),
            (b"GET / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n", "two different"),
            (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n", "`chunked, gzip`"),
            (b"GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", "of HTTP/1.0"),
        ] {
            let (code, message) = code(bytes);
            assert_eq!(code, "bad_request_head", "{message}");
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("hidden"));
        }
    }

    #[test]
    fn a_head_has_a_largest_size() {
        let long = |fill: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(fill)).into_bytes();
        let room = MOST - long(0).len();
        assert_eq!(judge(&long(room), MOST), Ok(Progress::Whole));
        assert_eq!(code(&long(room + 1)).0, "head_too_large");
        assert_eq!(code(&long(MOST)[..MOST]).0, "head_too_large", "it will not fit any more");
        // A body behind it does not count.
        let with_body = [long(3), vec![b'x'; MOST]].concat();
        assert_eq!(judge(&with_body, MOST), Ok(Progress::Whole));
        let many: String = (0..=MOST_HEADERS).map(|n| format!("h{n}: 1\r\n")).collect();
        let many = format!("GET / HTTP/1.1\r\n{many}\r\n");
        assert_eq!(judge(many.as_bytes(), 1 << 20).unwrap_err().code(), "head_too_large");
    }
}
