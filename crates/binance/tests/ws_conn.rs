//! The polled connection against a real WebSocket server on loopback that answers, closes, resets, falls silent,
//! sends garbage, and sends too much. Time is scripted where waiting would be long; sockets are real.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use binance::hosts::Endpoint;
use binance::net::{Activity, Change, CloseReason, ConnConfig, ConnState, SendError, SystemDialer, WsConn};
use market::Nanos;
use tungstenite::{Message, WebSocket};

const S: u64 = Nanos::SECOND;

/// A server: each accepted socket runs `serve`; what it reports goes to the test.
fn server(
    serve: impl Fn(usize, TcpStream, Sender<String>) + Send + 'static,
) -> (u16, Receiver<String>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    let handle = std::thread::spawn(move || {
        for (i, socket) in listener.incoming().enumerate() {
            let socket = socket.unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // The test ends the server by connecting once more and saying nothing but this.
            let mut first = [0u8; 4];
            if socket.peek(&mut first).unwrap_or(0) == 4 && &first == b"STOP" {
                return;
            }
            serve(i, socket, sender.clone());
        }
    });
    (port, receiver, handle)
}

fn stop(port: u16, handle: JoinHandle<()>) {
    TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(b"STOP").unwrap();
    handle.join().unwrap();
}

fn conn_with(port: u16, config: ConnConfig) -> WsConn {
    let endpoint = Endpoint::parse(&format!("ws://127.0.0.1:{port}/public/stream")).unwrap();
    WsConn::new(endpoint, Arc::new(SystemDialer::new()), config, 7)
}

fn conn(port: u16) -> WsConn {
    conn_with(port, ConnConfig::default())
}

/// Polls, with a clock that advances by `step` ns a turn, until `done` or (real) ten seconds.
struct Driver {
    now: Nanos,
    step: u64,
    got: Vec<String>,
    changes: Vec<Change>,
}

impl Driver {
    fn new(step: u64) -> Self {
        Self { now: Nanos(1_800_000_000 * S), step, got: vec![], changes: vec![] }
    }

    fn until(&mut self, conn: &mut WsConn, mut done: impl FnMut(&Self, &WsConn) -> bool) {
        let start = Instant::now();
        while !done(self, conn) {
            assert!(start.elapsed() < Duration::from_secs(10), "{:?} {:?}", self.changes, self.got);
            let got = &mut self.got;
            let Activity { change, .. } =
                conn.poll(self.now, &mut |frame, _, _| got.push(String::from_utf8_lossy(frame).into_owned()));
            self.changes.extend(change);
            self.now = self.now.plus(self.step);
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn lost(&self) -> Option<&CloseReason> {
        self.changes.iter().find_map(|c| if let Change::Lost(r) = c { Some(r) } else { None })
    }
}

fn accept(socket: TcpStream) -> WebSocket<TcpStream> {
    tungstenite::accept(socket).unwrap()
}

#[test]
fn it_opens_sends_receives_and_answers_pings() {
    let (port, told, handle) = server(|_, socket, tell| {
        let mut ws = accept(socket);
        ws.send(Message::text("hello")).unwrap();
        ws.send(Message::Ping("p1".into())).unwrap();
        while let Ok(message) = ws.read() {
            match message {
                Message::Text(t) => tell.send(format!("text {t}")).unwrap(),
                Message::Pong(p) => tell.send(format!("pong {}", String::from_utf8_lossy(&p))).unwrap(),
                _ => {}
            }
        }
    });
    let mut conn = conn(port);
    let mut driver = Driver::new(0);
    assert_eq!((conn.state(), conn.send(b"x")), (ConnState::Idle, Err(SendError::NotOpen)));
    driver.until(&mut conn, |d, _| !d.got.is_empty());
    assert_eq!((conn.state(), driver.got[0].as_str()), (ConnState::Open, "hello"));
    assert_eq!(driver.changes, [Change::Opened]);
    let long = "y".repeat(3000);
    conn.send(b"{\"a\":1}").unwrap();
    conn.send(long.as_bytes()).unwrap();
    let mut seen = Vec::new();
    driver.until(&mut conn, |_, _| {
        seen.extend(told.try_iter());
        seen.len() == 3
    });
    seen.sort();
    assert_eq!(seen, ["pong p1".to_owned(), format!("text {long}"), "text {\"a\":1}".to_owned()]);
    conn.close();
    stop(port, handle);
}

#[test]
fn a_close_is_told_with_its_code_and_the_connection_comes_back() {
    let (port, _told, handle) = server(|i, socket, _| {
        let mut ws = accept(socket);
        if i == 0 {
            let frame = tungstenite::protocol::CloseFrame { code: 1008u16.into(), reason: "policy".into() };
            ws.close(Some(frame)).unwrap();
            while ws.read().is_ok() {}
        } else {
            ws.send(Message::text("again")).unwrap();
            while ws.read().is_ok() {}
        }
    });
    let mut conn = conn(port);
    let mut driver = Driver::new(S / 2000);
    driver.until(&mut conn, |d, _| !d.got.is_empty());
    assert_eq!(driver.lost(), Some(&CloseReason::Closed { code: 1008, text: "policy".into() }));
    conn.close();
    stop(port, handle);
}

#[test]
fn a_reset_is_noticed() {
    let (port, _told, handle) = server(|i, socket, _| {
        let ws = accept(socket);
        if i == 0 {
            // Linger 0: the socket is reset, not closed in order.
            socket2::SockRef::from(ws.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    let mut conn = conn(port);
    let mut driver = Driver::new(0);
    driver.until(&mut conn, |d, _| d.lost().is_some());
    assert_eq!(driver.lost(), Some(&CloseReason::Io(std::io::ErrorKind::ConnectionReset)));
    stop(port, handle);
}

#[test]
fn a_half_open_socket_is_found_by_our_own_pings_within_the_limit() {
    let (port, _told, handle) = server(|_, socket, _| {
        let ws = accept(socket);
        // Reads nothing, answers nothing, closes nothing.
        let mut raw = ws.get_ref();
        let mut sink = [0u8; 1024];
        while !matches!(raw.read(&mut sink), Ok(0) | Err(_)) {}
    });
    let mut conn = conn(port);
    let mut driver = Driver::new(S / 1000);
    driver.until(&mut conn, |_, c| c.is_open());
    let opened = driver.now;
    driver.until(&mut conn, |d, _| d.lost().is_some());
    let took = driver.now.since(opened).0;
    assert!((3 * S..=3 * S + S / 10).contains(&took), "{took}");
    assert!(matches!(driver.lost(), Some(CloseReason::Silent { .. })));
    conn.close();
    stop(port, handle);
}

#[test]
fn pongs_alone_keep_a_connection_open() {
    let (port, _told, handle) = server(|_, socket, _| {
        let mut ws = accept(socket);
        while ws.read().is_ok() {}
    });
    let mut conn = conn(port);
    // Slow enough for the real server to answer between two steps of the scripted clock.
    let mut driver = Driver::new(S / 1000);
    driver.until(&mut conn, |_, c| c.is_open());
    let opened = driver.now;
    driver.until(&mut conn, |d, _| d.now.since(opened).0 > 12 * S);
    assert_eq!(driver.changes, [Change::Opened]);
    conn.close();
    stop(port, handle);
}

#[test]
fn garbage_and_oversize_close_the_connection() {
    let (port, _told, handle) = server(|i, socket, _| {
        let mut ws = accept(socket);
        match i {
            0 => ws.get_mut().write_all(&[0xff; 64]).unwrap(),
            // A frame that says it has 64 MiB.
            1 => ws.get_mut().write_all(&[0x81, 127, 0, 0, 0, 0, 4, 0, 0, 0]).unwrap(),
            // Not UTF-8 in a text frame.
            _ => ws.get_mut().write_all(&[0x81, 2, 0xc3, 0x28]).unwrap(),
        }
        while ws.get_mut().read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
    });
    let mut conn = conn(port);
    let mut driver = Driver::new(S / 2000);
    for _ in 0..3 {
        driver.changes.clear();
        driver.until(&mut conn, |d, _| d.lost().is_some());
        assert!(matches!(driver.lost(), Some(CloseReason::Protocol(_))), "{:?}", driver.changes);
    }
    assert!(driver.got.is_empty());
    conn.close();
    stop(port, handle);
}

#[test]
fn attempts_are_at_least_a_second_apart_and_back_off() {
    // A port that was just free: nobody listens.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = ConnConfig { max_backoff: 8 * S, ..ConnConfig::default() };
    let mut conn = conn_with(port, config);
    let mut driver = Driver::new(S / 20);
    let mut at = Vec::new();
    driver.until(&mut conn, |d, _| {
        if d.changes.len() > at.len() {
            at.push(d.now);
        }
        at.len() == 7
    });
    let waits: Vec<u64> = at.windows(2).map(|w| w[1].since(w[0]).0).collect();
    assert!(waits.iter().all(|w| *w >= S), "{waits:?}");
    assert!(waits[3..].iter().all(|w| (4 * S..=8 * S + S).contains(w)), "{waits:?}");
    let Change::Failed(reason) = &driver.changes[0] else { panic!() };
    assert!(reason.to_string().contains("is the port open"), "{reason}");
}

#[test]
fn a_server_that_is_no_websocket_server_is_named() {
    let (port, _told, handle) = server(|_, mut socket, _| {
        let mut request = [0u8; 2048];
        let _ = socket.read(&mut request);
        socket.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let mut conn = conn(port);
    conn.set_path("/private/ws/CANARYLISTENKEY");
    let mut driver = Driver::new(0);
    driver.until(&mut conn, |d, _| !d.changes.is_empty());
    let Change::Failed(reason) = &driver.changes[0] else { panic!() };
    assert!(reason.to_string().contains("HTTP status 404"), "{reason}");
    assert!(!format!("{reason} {reason:?}").contains("CANARY"));
    stop(port, handle);
}

#[test]
fn tls_is_never_given_up() {
    let (port, told, handle) = server(|_, mut socket, tell| {
        let mut first = [0u8; 3];
        let _ = socket.read_exact(&mut first);
        tell.send(format!("{first:?}")).unwrap();
        let _ = socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
    });
    let endpoint = Endpoint::parse(&format!("wss://127.0.0.1:{port}/")).unwrap();
    let mut conn = WsConn::new(endpoint, Arc::new(SystemDialer::new()), ConnConfig::default(), 1);
    let mut driver = Driver::new(0);
    driver.until(&mut conn, |d, _| !d.changes.is_empty());
    assert!(
        matches!(driver.changes[0], Change::Failed(CloseReason::Handshake { .. })),
        "{:?}",
        driver.changes
    );
    assert!(told.recv().unwrap().starts_with("[22, 3, "), "a TLS record, not a plain request");
    stop(port, handle);
}

#[test]
fn rollover_opens_the_successor_first_and_loses_nothing() {
    let (port, _told, handle) = server(|i, socket, _| {
        std::thread::spawn(move || {
            let mut ws = accept(socket);
            ws.get_ref().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            for n in 0..20_000 {
                if ws.send(Message::text(format!("{i}:{n}"))).is_err() {
                    break;
                }
                let _ = ws.read();
            }
        });
    });
    // Scripted seconds pass quickly: only the rollover shall depend on them here.
    let (silence_limit, connect_timeout) = (3600 * S, 3600 * S);
    let config =
        ConnConfig { max_age: 10 * S, drain: 2 * S, silence_limit, connect_timeout, ..ConnConfig::default() };
    let mut conn = conn_with(port, config);
    let mut driver = Driver::new(S / 500);
    driver.until(&mut conn, |d, _| d.changes.len() == 2);
    assert_eq!(driver.changes, [Change::Opened, Change::Replaced]);
    let (replaced, so_far) = (driver.now, driver.got.len());
    driver
        .until(&mut conn, |d, _| d.now.since(replaced).0 > 4 * S && d.got.last().unwrap().starts_with("1:"));
    let after = &driver.got[so_far..];
    assert!(
        after.iter().any(|f| f.starts_with("0:")) && after.iter().any(|f| f.starts_with("1:")),
        "both deliver"
    );
    // Nothing is lost from either: their numbers are contiguous.
    for which in ["0:", "1:"] {
        let numbers: Vec<u64> =
            driver.got.iter().filter_map(|f| f.strip_prefix(which)?.parse().ok()).collect();
        assert!(numbers.iter().enumerate().all(|(i, n)| i as u64 == *n), "{which}");
    }
    assert_eq!(driver.changes.len(), 2);
    conn.close();
    stop(port, handle);
}
