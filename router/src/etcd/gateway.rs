//! etcd's JSON gateway, which every etcd since 3.4 serves beside gRPC: keys and
//! values are base64, numbers are texts, and a watch is a line of JSON for each message.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::{Value, json};
use warmshard_config::shard_file::Etcd;
use warmshard_config::units::Password;

use super::{Record, RecordError};

/// No answer is larger; etcd itself takes no value beyond 1.5 MiB.
const LARGEST_ANSWER: usize = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error("no connection to {0}")]
    Connect(String, #[source] hyper_util::client::legacy::Error),
    #[error("no answer from {0} within {1:?}")]
    Late(String, Duration),
    #[error("{endpoint} answered {status}: {said}")]
    Status { endpoint: String, status: StatusCode, said: String },
    #[error("the answer broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("found an answer that is not etcd's")]
    Answer(#[source] serde_json::Error),
    #[error("the watch was ended by etcd: {0}")]
    Cancelled(String),
}

/// What a key has, and at which revision of the store.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) revision: i64,
    value: Option<Vec<u8>>,
}

impl Found {
    /// The value as a record.
    pub(crate) fn record(&self, etcd: &Etcd) -> Result<Record, RecordError> {
        match &self.value {
            Some(value) => Record::parse(value, etcd),
            None => Err(RecordError::Missing(etcd.key())),
        }
    }
}

/// A client of one etcd cluster.
pub(crate) struct Gateway {
    endpoints: Vec<String>,
    user: Option<(String, Password)>,
    timeout: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
    /// What etcd gave for the password.
    token: Mutex<Option<String>>,
}

impl Gateway {
    pub(crate) fn new(etcd: &Etcd) -> Self {
        Self {
            endpoints: etcd.endpoints.clone(),
            user: etcd.user.clone(),
            timeout: etcd.timeout,
            client: Client::builder(TokioExecutor::new()).build_http(),
            token: Mutex::default(),
        }
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Found, GatewayError> {
        let answer = self.call("/v3/kv/range", &json!({ "key": BASE64.encode(key) })).await?;
        let answer: RangeAnswer = serde_json::from_slice(&answer).map_err(GatewayError::Answer)?;
        let value = match answer.kvs.into_iter().next() {
            Some(kv) => Some(BASE64.decode(kv.value).map_err(|error| not_etcds(&error))?),
            None => None,
        };
        Ok(Found { revision: number(&answer.header.revision)?, value })
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<(), GatewayError> {
        let pair = json!({ "key": BASE64.encode(key), "value": BASE64.encode(value) });
        self.call("/v3/kv/put", &pair).await.map(drop)
    }

    /// Returns when the key has changed since this revision.
    pub(crate) async fn watch(&self, key: &str, revision: i64) -> Result<(), GatewayError> {
        let create = json!({ "key": BASE64.encode(key), "start_revision": revision.to_string() });
        let response = self.send("/v3/watch", &json!({ "create_request": create })).await?;
        let mut body = response.into_body();
        let mut line = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| GatewayError::Body(error.into()))?;
            let Ok(data) = frame.into_data() else { continue };
            for byte in data {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let message: WatchMessage = serde_json::from_slice(&line).map_err(GatewayError::Answer)?;
                line.clear();
                match message.result {
                    Some(result) if result.canceled => {
                        return Err(GatewayError::Cancelled(result.cancel_reason));
                    }
                    Some(result) if result.events.is_empty() => {}
                    Some(_) => return Ok(()),
                    None => return Err(GatewayError::Cancelled(message.error.to_string())),
                }
            }
        }
        Err(GatewayError::Cancelled("the connection was closed".to_owned()))
    }

    /// One call and its whole answer.
    async fn call(&self, path: &str, body: &Value) -> Result<Bytes, GatewayError> {
        let response = self.send(path, body).await?;
        let collected = Limited::new(response.into_body(), LARGEST_ANSWER).collect();
        let late = || GatewayError::Late(self.endpoints.join(", "), self.timeout);
        let collected = tokio::time::timeout(self.timeout, collected).await.map_err(|_| late())?;
        Ok(collected.map_err(GatewayError::Body)?.to_bytes())
    }

    /// Asks the members in order until one answers; logs in first where there is a user, and
    /// again when etcd has forgotten that.
    async fn send(&self, path: &str, body: &Value) -> Result<http::Response<Incoming>, GatewayError> {
        let mut last = None;
        for endpoint in &self.endpoints {
            let mut answer = self.try_one(endpoint, path, body).await;
            let is_stranger = matches!(&answer, Err(GatewayError::Status { status, .. }) if *status == StatusCode::UNAUTHORIZED);
            if is_stranger && self.user.is_some() {
                self.set_token(None);
                answer = self.try_one(endpoint, path, body).await;
            }
            match answer {
                Ok(response) => return Ok(response),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| GatewayError::Cancelled("there is no endpoint".to_owned())))
    }

    async fn try_one(
        &self,
        endpoint: &str,
        path: &str,
        body: &Value,
    ) -> Result<http::Response<Incoming>, GatewayError> {
        let token = match (&self.user, self.token()) {
            (Some((user, password)), None) => {
                let who = json!({ "name": user, "password": password.reveal() });
                let response = self.post(endpoint, "/v3/auth/authenticate", &who, None).await?;
                let answer = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
                let answer = answer.map_err(GatewayError::Body)?.to_bytes();
                let answer: TokenAnswer = serde_json::from_slice(&answer).map_err(GatewayError::Answer)?;
                self.set_token(Some(answer.token.clone()));
                Some(answer.token)
            }
            (_, token) => token,
        };
        self.post(endpoint, path, body, token.as_deref()).await
    }

    async fn post(
        &self,
        endpoint: &str,
        path: &str,
        body: &Value,
        token: Option<&str>,
    ) -> Result<http::Response<Incoming>, GatewayError> {
        let mut request =
            Request::post(format!("{endpoint}{path}")).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request.body(Full::new(Bytes::from(body.to_string())));
        let request = request.map_err(|error| GatewayError::Cancelled(format!("{endpoint}: {error}")))?;
        let sent = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let sent = sent.map_err(|_| GatewayError::Late(endpoint.to_owned(), self.timeout))?;
        let response = sent.map_err(|error| GatewayError::Connect(endpoint.to_owned(), error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let said = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let said = said.map(|said| String::from_utf8_lossy(&said.to_bytes()).trim().to_owned());
        Err(GatewayError::Status { endpoint: endpoint.to_owned(), status, said: said.unwrap_or_default() })
    }

    fn token(&self) -> Option<String> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_token(&self, token: Option<String>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

fn number(text: &str) -> Result<i64, GatewayError> {
    text.parse().map_err(|error: std::num::ParseIntError| not_etcds(&error))
}

fn not_etcds(error: &dyn std::error::Error) -> GatewayError {
    GatewayError::Answer(serde::de::Error::custom(error.to_string()))
}

#[derive(Deserialize)]
struct RangeAnswer {
    header: Header,
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct KeyValue {
    /// Empty values are left out.
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: String,
}

#[derive(Deserialize)]
struct WatchMessage {
    result: Option<WatchResult>,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct WatchResult {
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    cancel_reason: String,
    #[serde(default)]
    events: Vec<Value>,
}
