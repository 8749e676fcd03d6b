//! The server over real sockets: what it answers, whom it refuses, and that whoever reads slowly or never keeps nobody
//! waiting.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use telemetry::client::Client;
use telemetry::config::TelemetrySection;
use telemetry::published::Published;
use telemetry::server::{self, Server};
use telemetry::state::{Book, ClosedGate, SCHEMA, State};

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn state(sequence: u64) -> State {
    let book =
        |i| Book { symbol: format!("S{i}USDT"), bid: Some(1.0), ask: Some(1.1), age_ms: Some(1), mask: None };
    State {
        schema: SCHEMA,
        at_ms: now_ms(),
        sequence,
        armed: true,
        books: (0..400).map(book).collect(),
        ..State::default()
    }
}

fn start(section: TelemetrySection) -> (Server, Arc<Published>, SocketAddr) {
    let published = Arc::new(Published::default());
    let section = TelemetrySection { listen: "127.0.0.1:0".into(), ..section };
    let server = server::start(&section, Arc::clone(&published), None).unwrap();
    let address = server.address().unwrap();
    (server, published, address)
}

/// The whole answer to a request, as text.
fn ask(address: SocketAddr, head: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_else(|_| panic!("{answer}"))
}

#[test]
fn health_and_readiness_say_why_not() {
    let (_server, published, address) = start(TelemetrySection::default());
    assert_eq!(status(&get(address, "/healthz")), 503, "nothing is published yet");
    published.publish(state(1));
    assert_eq!((status(&get(address, "/healthz")), status(&get(address, "/readyz"))), (200, 200));
    let gate = ClosedGate {
        name: "kill".into(),
        cause: "the kill switch is latched".into(),
        since_ms: now_ms(),
        reopens: "`dolphin rearm --reason`".into(),
        symbols: Vec::new(),
    };
    published.publish(State { armed: false, gates: vec![gate], ..state(2) });
    let answer = get(address, "/readyz");
    assert_eq!(status(&answer), 503);
    assert!(
        answer.contains("kill: the kill switch is latched; closed for 0.")
            && answer.contains("dolphin rearm")
    );
    published.publish(State { at_ms: now_ms() - 6_000, ..state(3) });
    assert_eq!((status(&get(address, "/healthz")), status(&get(address, "/readyz"))), (503, 503));
    assert_eq!(status(&get(address, "/nothing")), 404);
}

#[test]
fn pages_come_from_here_alone_and_with_a_policy_that_says_so() {
    let (_server, published, address) = start(TelemetrySection::default());
    published.publish(state(1));
    for path in ["/", "/app.js", "/style.css", "/uplot.js", "/uplot.css"] {
        let answer = get(address, path);
        assert_eq!(status(&answer), 200, "{path}");
        assert!(
            answer.to_ascii_lowercase().contains("content-security-policy: default-src 'none'"),
            "{path}"
        );
        let outside =
            ["http://", "https://"].map(|scheme| answer.matches(&format!("src=\"{scheme}")).count());
        assert_eq!(outside, [0, 0], "{path}");
    }
    let answer = get(address, "/metrics");
    assert!(answer.contains("application/openmetrics-text") && answer.contains("# EOF"));
    assert!(answer.contains("dolphin_trading_armed 1"));
    let (_server, _, address) = start(TelemetrySection { dashboard: false, ..TelemetrySection::default() });
    assert_eq!(status(&get(address, "/")), 404);
}

#[test]
fn the_client_takes_the_state_and_names_what_is_wrong() {
    let (server, published, address) = start(TelemetrySection::default());
    published.publish(state(7));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(&format!("http://{address}/"), None, None).unwrap();
    let taken = runtime.block_on(client.state()).unwrap();
    assert_eq!(taken, *published.newest());
    published.publish(State { schema: 99, ..state(8) });
    assert!(runtime.block_on(client.state()).unwrap_err().contains("schema 99"));
    drop(server);
    // The first question may go out on the connection that has just ended.
    assert!(runtime.block_on(client.state()).is_err());
    assert!(runtime.block_on(client.state()).unwrap_err().contains("nobody listens there"));
}

#[test]
fn verbs_hosts_origins_bodies_and_sizes_are_refused_over_the_wire() {
    let (_server, published, address) = start(TelemetrySection::default());
    published.publish(state(1));
    let head = |first: &str, more: &str| format!("{first} HTTP/1.1\r\nConnection: close\r\n{more}\r\n");
    let host = format!("Host: {address}\r\n");
    assert_eq!(status(&ask(address, &head("GET /metrics", "Host: evil.example\r\n"))), 421);
    assert_eq!(
        status(&ask(address, &head("GET /metrics", &format!("{host}Origin: http://evil.example\r\n")))),
        403
    );
    assert_eq!(status(&ask(address, &head("POST /api/state", &format!("{host}Content-Length: 0\r\n")))), 405);
    assert_eq!(status(&ask(address, &head("DELETE /", &host))), 405);
    assert_eq!(status(&ask(address, &head("GET /metrics", &format!("{host}Content-Length: 9\r\n")))), 413);
    let long = "a".repeat(4_000);
    assert_eq!(status(&ask(address, &head(&format!("GET /{long}"), &host))), 414);
    let large = format!("{host}X-Large: {}\r\n", "a".repeat(20_000));
    assert_eq!(status(&ask(address, &head("GET /metrics", &large))), 431);
}

#[test]
fn stalled_readers_and_fifty_dashboards_keep_nobody_waiting() {
    let (_server, published, address) = start(TelemetrySection::default());
    published.publish(state(1));
    let mut stalled = Vec::new();
    for i in 0..60 {
        let mut socket = TcpStream::connect(address).unwrap();
        let path = if i % 2 == 0 { "/api/events" } else { "/metrics" };
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
        // It is never read from.
        stalled.push(socket);
    }
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    let mut n = 1;
    while begun.elapsed() < Duration::from_secs(3) {
        n += 1;
        let newest = state(n);
        let at = Instant::now();
        published.publish(newest);
        longest = longest.max(at.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(longest < Duration::from_millis(100), "publishing took {longest:?}");
    let at = Instant::now();
    assert_eq!(status(&get(address, "/readyz")), 200);
    assert!(at.elapsed() < Duration::from_secs(1), "{:?}", at.elapsed());
}

fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn tls_and_token_together() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key, token) = (dir.path().join("cert"), dir.path().join("key"), dir.path().join("token"));
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&cert, made.cert.pem()).unwrap();
    write_secret(&key, &made.signing_key.serialize_pem());
    write_secret(&token, "the-token-of-a-test\n");
    let section = TelemetrySection {
        token_file: Some(token.clone()),
        tls_cert: Some(cert.clone()),
        tls_key: Some(key),
        ..TelemetrySection::default()
    };
    let (_server, published, address) = start(section.clone());
    published.publish(state(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let with = |token: Option<&str>, ca: Option<&Path>| {
        let client = Client::new(&format!("https://{address}"), token.map(str::to_owned), ca).unwrap();
        runtime.block_on(client.state())
    };
    assert_eq!(with(Some("the-token-of-a-test"), Some(&cert)).unwrap().sequence, 1);
    let refused = with(Some("another"), Some(&cert)).unwrap_err();
    assert!(refused.contains("401") && !refused.contains("the-token-of-a-test"), "{refused}");
    assert!(with(None, Some(&cert)).unwrap_err().contains("401"));
    assert!(with(Some("the-token-of-a-test"), None).is_err(), "an unknown certificate");
    // A hanging handshake keeps nobody waiting.
    let _hangs: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert!(with(Some("the-token-of-a-test"), Some(&cert)).is_ok());
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).unwrap();
    let error = server::start(&section, Arc::default(), None).unwrap_err();
    assert!(error.contains("chmod 600"), "{error}");
}
