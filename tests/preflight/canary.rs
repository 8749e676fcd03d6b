//! A secret that can be recognised goes through a whole run at the loudest logging: it must be nowhere.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use runtime::journal::segment::walk;
use serde_json::Value;
use venue::{AccountConfig, VenueConfig};

use super::stage::{Running, Set, stderr, until};

const KEY: &str = "CanaryKey/0123456789+abcdefghijklmnopqrstuvwxyz";
const SECRET: &str = "CanarySecret/~!+0123456789=ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The account's live listen key, asked of the venue with the same API key.
fn listen_key(set: &Set) -> String {
    let mut socket = TcpStream::connect(set.venue.addr()).unwrap();
    let request = format!(
        "POST /fapi/v1/listenKey HTTP/1.1\r\nHost: venue\r\nX-MBX-APIKEY: {KEY}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    let body: Value = serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap();
    body["listenKey"].as_str().unwrap().to_owned()
}

fn url_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle.as_bytes())
}

/// Everything below a folder.
fn files(dir: &Path, out: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else {
            let bytes = fs::read(&path).unwrap();
            let name = path.display().to_string();
            if name.ends_with(".djz") {
                let mut inside = Vec::new();
                let condition = walk(&bytes, |record| {
                    inside.extend_from_slice(record.payload);
                    ControlFlow::Continue(())
                });
                assert!(condition.is_whole() && condition.records > 1000, "{condition:?}");
                out.push((format!("{name}, unpacked"), inside));
            }
            out.push((name, bytes));
        }
    }
}

#[test]
fn no_secret_is_told_anywhere() {
    let accounts = vec![AccountConfig::hmac(KEY, SECRET, 100_000)];
    let set = Set::new(VenueConfig { accounts, ..VenueConfig::default() });
    set.keys(KEY, SECRET);
    let mut live = set.live(&["--json", "--seconds", "20"]);
    live.env("DOLPHIN_LOG", "trace").env("TMPDIR", set.dir.path()).env("STATE_DIRECTORY", set.dir.path());
    let running = Running::start(live);
    until("orders were sent", || set.venue.counters().orders > 1);
    let listen = listen_key(&set);
    let argv = fs::read(format!("/proc/{}/cmdline", running.id())).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.id())).unwrap_or_default();
    let output = running.finish();
    assert!(output.status.success(), "{}", stderr(&output));
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap_or_default();
    assert!(core.split_whitespace().nth(4) == Some("0"), "no core dump: `{core}`");

    fs::remove_file(set.path("keys.toml")).unwrap();
    let mut told = vec![("argv".to_owned(), argv), ("stdout".to_owned(), output.stdout.clone())];
    told.push(("stderr".to_owned(), output.stderr.clone()));
    files(set.dir.path(), &mut told);
    let forms = [KEY, SECRET]
        .into_iter()
        .flat_map(|s| [s.to_owned(), STANDARD.encode(s), URL_SAFE.encode(s), url_encoded(s)]);
    let forms: Vec<String> =
        forms.chain([listen, "signature=".to_owned(), "\"signature\"".to_owned()]).collect();
    assert!(told.iter().any(|(name, _)| name.ends_with(".djz, unpacked")), "the run left no journal");
    for (name, bytes) in &told {
        for form in &forms {
            assert!(!contains(bytes, form), "{form} stands in {name}");
        }
    }
    // What may be told is the fingerprint; and the run did log at its loudest.
    let said = stderr(&output);
    assert!(said.contains("key 0e443e2a") && said.contains("DEBUG"), "{said}");
}
