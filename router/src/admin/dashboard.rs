//! The dashboard: one page that polls the JSON endpoints beside it.

use http::{HeaderValue, StatusCode, header};

use super::Reply;

static PAGE: &str = include_str!("dashboard.html");

/// Everything is in the page, and it may talk to this listener only.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn page() -> Reply {
    let mut reply = super::reply(StatusCode::OK, "text/html; charset=utf-8", PAGE.into());
    reply.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
