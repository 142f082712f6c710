//! Load over TLS, against a real rustls server.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use super::tests::plan;
use super::*;
use crate::client::{Failure, TlsError, Trust};
use crate::test_server::{Answer, TestServer};

/// A server for `hello.localhost`, and its certificate as a file.
async fn server(folder: &tempfile::TempDir) -> (TestServer, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["hello.localhost".to_owned()]).unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let server = TestServer::secure(TlsAcceptor::from(Arc::new(config)), |_| Answer::ok("hello")).await;
    (server, file)
}

async fn run(server: &TestServer, trust: Trust<'_>, connection: Connection) -> Arc<Run> {
    let mut plan = plan(server, 100.0, 16);
    plan.dial = Dial::with_tls(server.address(), trust).unwrap();
    plan.requests.connection = connection;
    let run = Run::new(plan);
    assert_eq!(run.drive(pending()).await.unwrap(), Ending::Finished);
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_or_made_anew_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let (server, ca) = server(&folder).await;
    let kept = run(&server, Trust::Signed(&ca), Connection::KeepAlive).await;
    assert_eq!(kept.measure().succeeded(), 100, "{:?}", kept.measure().errors());
    let before = server.connections();
    assert!(before <= 16, "{before} connections");
    let anew = run(&server, Trust::Signed(&ca), Connection::New).await;
    assert_eq!(anew.measure().succeeded(), 100, "{:?}", anew.measure().errors());
    assert_eq!(server.connections() - before, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_somebody_elses_is_refused_unless_anybodys_will_do() {
    let [own, others] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (server, _) = server(&own).await;
    let (_, other) = self::server(&others).await;
    let refused = run(&server, Trust::Signed(&other), Connection::New).await;
    // One guard at a time: a second one within an expression would wait for the first for ever.
    assert_eq!(refused.measure().succeeded(), 0);
    assert_eq!(refused.measure().errors()[&Failure::Tls], 100);
    let taken = run(&server, Trust::Anybody, Connection::New).await;
    assert_eq!(taken.measure().succeeded(), 100, "{:?}", taken.measure().errors());
}

#[test]
fn a_file_without_certificates_is_refused_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.pem");
    std::fs::write(&file, "nothing\n").unwrap();
    let error = Dial::with_tls(([127, 0, 0, 1], 1).into(), Trust::Signed(&file)).unwrap_err();
    assert!(matches!(error, TlsError::None { .. }), "{error}");
    assert!(error.to_string().contains("empty.pem"), "{error}");
}
