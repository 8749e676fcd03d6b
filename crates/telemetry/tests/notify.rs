//! Pages over real sockets: the three formats arrive, a failure is tried again, a channel that hangs keeps no other waiting,
//! and no secret is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use telemetry::config::{NotifySection, TelemetrySection};
use telemetry::notify::Notifier;
use telemetry::published::Published;
use telemetry::server;
use telemetry::state::{ClosedGate, Node as NodeState, SCHEMA, State};

/// A receiver of pages: the path and body of each request; the first `failures` are answered 500.
fn receiver(failures: usize) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for (n, socket) in listener.incoming().enumerate() {
            let mut reader = BufReader::new(socket.unwrap());
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = if n < failures { "500 Broken" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            let path = first.split(' ').nth(1).unwrap().to_owned();
            if n >= failures && sender.send((path, serde_json::from_slice(&body).unwrap())).is_err() {
                return;
            }
        }
    });
    (base, received)
}

fn secret(dir: &tempfile::TempDir, name: &str, text: &str) -> Option<PathBuf> {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    Some(path)
}

fn killed(sequence: u64) -> State {
    let at_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let gate = ClosedGate {
        name: "kill".into(),
        cause: "the kill switch is latched".into(),
        since_ms: at_ms,
        reopens: "`dolphin rearm --reason`".into(),
        symbols: Vec::new(),
    };
    State { schema: SCHEMA, at_ms, sequence, gates: vec![gate], ..State::default() }
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_page_reaches_each_channel_is_tried_again_and_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (webhook, hooks) = receiver(1);
    let (slack, slacks) = receiver(0);
    let (telegram, telegrams) = receiver(0);
    let notify = NotifySection {
        webhook_file: secret(&dir, "webhook", &format!("{webhook}/hook")),
        slack_file: secret(&dir, "slack", &format!("{slack}/services/SECRET")),
        telegram_file: secret(&dir, "telegram", "123:SECRET"),
        telegram_chat: Some("42".into()),
        telegram_url: telegram,
        ..NotifySection::default()
    };
    let section = TelemetrySection { listen: "off".into(), notify, ..TelemetrySection::default() };
    let published = Arc::new(Published::default());
    let server = server::start(&section, Arc::clone(&published), None).unwrap();
    assert_eq!(server.address(), None);
    published.publish(killed(1));
    let (path, body) = slacks.recv_timeout(PATIENCE).unwrap();
    assert_eq!(path, "/services/SECRET");
    assert!(body["text"].as_str().unwrap().starts_with("PAGE dolphin"), "{body}");
    let (path, body) = telegrams.recv_timeout(PATIENCE).unwrap();
    assert_eq!((path.as_str(), body["chat_id"].as_str()), ("/bot123:SECRET/sendMessage", Some("42")));
    let (_, body) = hooks.recv_timeout(PATIENCE).unwrap();
    assert_eq!((body["key"].as_str(), body["status"].as_str()), (Some("kill"), Some("firing")));
    published.publish(State { gates: Vec::new(), armed: true, ..killed(2) });
    let (_, body) = hooks.recv_timeout(PATIENCE).unwrap();
    assert_eq!((body["key"].as_str(), body["status"].as_str()), (Some("kill"), Some("resolved")));
    assert!(body["text"].as_str().unwrap().starts_with("over: "), "{body}");
}

#[test]
fn a_page_of_a_killed_node_is_taken_back_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let (webhook, hooks) = receiver(0);
    let notify =
        NotifySection { webhook_file: secret(&dir, "webhook", &webhook), ..NotifySection::default() };
    let section = TelemetrySection { listen: "off".into(), notify, ..TelemetrySection::default() };
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    let of_role = |role: &str, state: State| {
        let published = Arc::new(Published::default());
        published.publish(State { node: NodeState { role: role.to_owned(), ..state.node.clone() }, ..state });
        published
    };
    let killed = server::start(&section, of_role("alpha", killed(1)), Some(&before)).unwrap();
    let (_, page) = hooks.recv_timeout(PATIENCE).unwrap();
    // What a kill leaves: its file, which nobody has locked any more.
    let file = std::fs::read_dir(&before).unwrap().next().unwrap().unwrap();
    std::fs::create_dir(&after).unwrap();
    std::fs::copy(file.path(), after.join(file.file_name())).unwrap();
    let calm = State { gates: Vec::new(), armed: true, ..self::killed(1) };
    let _other = server::start(&section, of_role("ingest", calm.clone()), Some(&after)).unwrap();
    assert!(hooks.recv_timeout(Duration::from_secs(2)).is_err(), "a node of another role leaves it alone");
    let _next = server::start(&section, of_role("alpha", calm), Some(&after)).unwrap();
    let (_, body) = hooks.recv_timeout(PATIENCE).unwrap();
    assert_eq!((body["key"].as_str(), body["status"].as_str()), (Some("kill"), Some("resolved")));
    assert_eq!(body["node"], page["node"], "in the name of the one that said it");
    assert!(body["text"].as_str().unwrap().starts_with("the node is gone without a word"), "{body}");
    drop(killed);
    assert_eq!(std::fs::read_dir(&before).unwrap().count(), 0, "an orderly end leaves nothing");
}

#[test]
fn a_channel_that_hangs_keeps_no_other_waiting_and_a_test_says_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    // Connections are accepted by the kernel, and nobody ever answers.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let (slack, slacks) = receiver(0);
    let notify = NotifySection {
        webhook_file: secret(&dir, "webhook", &format!("http://{}/SECRET", hangs.local_addr().unwrap())),
        slack_file: secret(&dir, "slack", &slack),
        ..NotifySection::default()
    };
    let section = TelemetrySection { listen: "off".into(), notify, ..TelemetrySection::default() };
    let published = Arc::new(Published::default());
    let _server = server::start(&section, Arc::clone(&published), None).unwrap();
    published.publish(killed(1));
    assert!(slacks.recv_timeout(PATIENCE).is_ok());
    published.publish(State { gates: Vec::new(), ..killed(2) });
    assert!(slacks.recv_timeout(PATIENCE).is_ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let results = runtime.block_on(Notifier::of(&section.notify).unwrap().test());
    assert_eq!(results[0], ("webhook", Err("it does not answer in time".to_owned())));
    assert_eq!(results[1], ("slack", Ok(())));
}
