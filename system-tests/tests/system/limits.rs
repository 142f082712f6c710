//! What clients that are wrong, slow or many get from the router, byte by byte.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use system_tests::{RoutedFleet, wait_until};

use crate::executable;
use crate::sharding::hosts;

const LIMITS: &str =
    "[limits]\nhead = 2048\nhead_time = \"1s\"\nconnections = 8\n[timeouts]\nclient_idle = \"1s\"\n";

fn connect(fleet: &RoutedFleet) -> Result<TcpStream> {
    let stream = TcpStream::connect(fleet.data())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Sends bytes and reads everything until the router closes.
fn say(fleet: &RoutedFleet, bytes: &[u8]) -> Result<String> {
    let mut stream = connect(fleet)?;
    stream.write_all(bytes)?;
    read_all(&mut stream)
}

fn read_all(stream: &mut TcpStream) -> Result<String> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("the router did not close the connection")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn what_is_wrong_with_a_request_is_told_and_nobody_holds_a_place_for_ever() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let running = hosts(&["one"], &[], folder.path())?;
    let fleet = RoutedFleet::start(executable(), &[("one", &running[0].address, "")], LIMITS)?;

    for (bytes, status, code, message) in [
        (
            &b"GET / HTTP/1.1\r\nhost: hello.localhost\r\nbad name: 1\r\n\r\n"[..],
            400,
            "bad_request_head",
            "`bad name`",
        ),
        (b"\x16\x03\x01\x02\x00", 400, "bad_request_head", "TLS handshake"),
        (b"hello there\r\n\r\n", 400, "bad_request_head", "METHOD TARGET HTTP/1.1"),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            400,
            "bad_request_head",
            "two different",
        ),
    ] {
        let answer = say(&fleet, bytes)?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(code) && answer.contains(message), "{answer}");
    }
    // Larger than the limit, and going on after that.
    let large = format!("GET / HTTP/1.1\r\nhost: hello.localhost\r\nx: {}\r\n\r\n", "y".repeat(60_000));
    let answer = say(&fleet, large.as_bytes())?;
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("more than 2048 bytes"), "{answer}");

    // A head in small pieces is a head.
    let mut slow = connect(&fleet)?;
    for piece in b"GET / HTTP/1.1\r\nhost: hello.localhost\r\nconnection: close\r\n\r\n".chunks(7) {
        slow.write_all(piece)?;
        slow.flush()?;
    }
    let answer = read_all(&mut slow)?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    // Two requests sent at once: the first is answered, and the connection says that it ends.
    let both =
        b"GET / HTTP/1.1\r\nhost: hello.localhost\r\n\r\nGET / HTTP/1.1\r\nhost: hello.localhost\r\n\r\n";
    assert!(say(&fleet, both)?.starts_with("HTTP/1.1 200 "));

    let metrics = fleet.client.get(format!("http://{}/metrics", fleet.admin)).send()?.text()?;
    assert!(
        metrics.contains(r#"warmshard_router_turned_away_total{reason="bad_request_head"} 4"#),
        "{metrics}"
    );
    Ok(())
}

#[test]
fn slow_and_silent_clients_lose_their_places() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let running = hosts(&["one"], &[], folder.path())?;
    let fleet = RoutedFleet::start(executable(), &[("one", &running[0].address, "")], LIMITS)?;
    let began = Instant::now();
    // As many as there are places: half of them silent, half sending a header now and then.
    let mut silent = Vec::new();
    for n in 0..8 {
        let mut stream = connect(&fleet)?;
        if n % 2 == 0 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: hello.localhost\r\n")?;
        }
        silent.push(stream);
    }
    // One more is closed at once, without an answer.
    wait_until(Duration::from_secs(10), "a client to be turned away", || {
        drop(connect(&fleet)?);
        let metrics = fleet.client.get(format!("http://{}/metrics", fleet.admin)).send()?.text()?;
        Ok(metrics.contains(r#"warmshard_router_turned_away_total{reason="too_many_connections"}"#))
    })?;
    let writers: Vec<_> = silent.iter().step_by(2).map(TcpStream::try_clone).collect::<Result<_, _>>()?;
    let dribble = std::thread::spawn(move || {
        // One header each 200 ms: never done, never silent.
        for _ in 0..25 {
            for mut stream in writers.iter() {
                let _ = stream.write_all(b"x: y\r\n");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    for (n, mut stream) in silent.into_iter().enumerate() {
        let answer = read_all(&mut stream)?;
        if n % 2 == 0 {
            assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("head_too_late"), "{n}: {answer}");
        } else {
            assert_eq!(answer, "", "a client that sent nothing has asked nothing");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    dribble.join().expect("no panic");
    let reply = fleet.get("hello", "/")?;
    assert_eq!(reply.status, 200, "{}", reply.body);
    Ok(())
}
