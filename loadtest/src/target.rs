//! Where requests go: the address that is connected to, and the `Host` header that tells
//! the router which worker is meant. The two are independent, so no name service needs to
//! know `*.localhost`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use http::{HeaderValue, Uri};
use warmshard_config::units::WorkerName;

const PLACEHOLDER: &str = "{worker}";

#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("found `{found}`, expected a URL such as `http://127.0.0.1:8080`")]
    NotAUrl { found: String },
    #[error("found the scheme `{found}`, expected `http` or `https`")]
    Scheme { found: String },
    #[error("`{host}` has no address; use one that resolves, or an IP address")]
    Unresolved { host: String, source: Option<std::io::Error> },
    #[error("found the host pattern `{found}`, expected {{worker}} in it, as in `{{worker}}.localhost`")]
    NoPlaceholder { found: String },
    #[error("found the host pattern `{found}`, expected only characters a Host header may hold")]
    NotAHeader { found: String },
    #[error("found the path `{found}`, expected it to start with `/` and hold no spaces")]
    Path { found: String },
}

/// `http[s]://HOST[:PORT][/PATH]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    host: String,
    port: u16,
    path: String,
    tls: bool,
}

impl BaseUrl {
    /// Whether it begins with `https`.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The path of the URL, `/` when it has none.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub async fn resolve(&self) -> Result<SocketAddr, TargetError> {
        // RFC 6761: names under `localhost` are the loopback; not every resolver knows.
        if self.host == "localhost" || self.host.ends_with(".localhost") {
            return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port));
        }
        let unresolved = |source| TargetError::Unresolved { host: self.host.clone(), source };
        tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| unresolved(Some(error)))?
            .next()
            .ok_or_else(|| unresolved(None))
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<SocketAddr> for BaseUrl {
    fn from(address: SocketAddr) -> Self {
        Self {
            text: format!("http://{address}"),
            host: address.ip().to_string(),
            port: address.port(),
            path: "/".to_owned(),
            tls: false,
        }
    }
}

impl FromStr for BaseUrl {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let not_a_url = || TargetError::NotAUrl { found: text.to_owned() };
        let uri: Uri = text.parse().map_err(|_| not_a_url())?;
        let host = uri.host().ok_or_else(not_a_url)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => {
                return Err(TargetError::Scheme { found: other.to_owned() });
            }
            None => return Err(not_a_url()),
        };
        Ok(Self {
            text: text.trim_end_matches('/').to_owned(),
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            tls,
        })
    }
}

/// A `Host` header with `{worker}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(String);

impl HostPattern {
    pub fn header(&self, worker: &WorkerName) -> HeaderValue {
        HeaderValue::from_str(&self.0.replace(PLACEHOLDER, worker.as_str()))
            .expect("the pattern was checked, and worker names are letters, digits, `-` and `_`")
    }

    /// As a shard file's route has it.
    pub fn without_port(&self) -> &str {
        self.0.rsplit_once(':').map_or(self.0.as_str(), |(host, _)| host)
    }
}

impl FromStr for HostPattern {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if !text.contains(PLACEHOLDER) {
            return Err(TargetError::NoPlaceholder { found: text.to_owned() });
        }
        if text.contains(|c: char| !c.is_ascii_graphic() || c == '/') {
            return Err(TargetError::NotAHeader { found: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

/// The request target in origin form, as it goes over the wire.
pub fn parse_path(text: &str) -> Result<Uri, TargetError> {
    let bad = || TargetError::Path { found: text.to_owned() };
    if !text.starts_with('/') {
        return Err(bad());
    }
    text.parse().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url: BaseUrl = "http://127.0.0.1:8080".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path()), ("127.0.0.1", 8080, "/"));
        let url: BaseUrl = "http://[::1]:81/a?b=c".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path()), ("::1", 81, "/a?b=c"));
        let url: BaseUrl = "http://example.test".parse().unwrap();
        assert_eq!(url.port, 80);
    }

    #[test]
    fn what_is_not_http_is_refused_by_name() {
        let error = |text: &str| text.parse::<BaseUrl>().unwrap_err().to_string();
        assert!(error("ftp://a").contains("`ftp`"));
        assert!("https://a".parse::<BaseUrl>().unwrap().is_tls());
        assert!(error("127.0.0.1:8080").contains("expected a URL"));
        assert!(error("").contains("expected a URL"));
    }

    #[tokio::test]
    async fn names_under_localhost_need_no_name_service() {
        let url: BaseUrl = "http://fastapi.localhost:8080".parse().unwrap();
        assert_eq!(url.resolve().await.unwrap(), "127.0.0.1:8080".parse().unwrap());
    }

    #[test]
    fn the_host_header_names_the_worker() {
        let pattern: HostPattern = "{worker}.localhost:8080".parse().unwrap();
        let header = pattern.header(&WorkerName::parse("fastapi").unwrap());
        assert_eq!(header, "fastapi.localhost:8080");
        assert_eq!(pattern.without_port(), "{worker}.localhost");
        assert!("localhost".parse::<HostPattern>().is_err());
        assert!("{worker} .localhost".parse::<HostPattern>().is_err());
    }

    #[test]
    fn a_path_starts_with_a_slash() {
        assert_eq!(parse_path("/a?b").unwrap(), "/a?b");
        assert!(parse_path("a").is_err());
        assert!(parse_path("/a b").is_err());
    }
}
