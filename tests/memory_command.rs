//! `dolphin memory` as an operator meets it: on an embedded memory, beside another process, on a real cluster, and
//! where there is nothing (SPEC §11).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};
use testkit::hazelcast::{CURRENT, Cluster, Python};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dolphin"));
    command.arg("memory").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// What it printed; it must have ended with 0.
fn prints(args: &[&str]) -> String {
    let output = run(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(args: &[&str], exit: i32, words: &str) {
    let output = run(args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {message}");
    assert!(message.contains(words) && !message.contains("panicked"), "{args:?}: {message}");
}

/// A `watch` under way.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Watching {
    fn start(args: &[&str]) -> Self {
        let mut child = command(args).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it goes on").unwrap()
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn an_embedded_memory_is_read_written_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.memory").display().to_string();
    let at = |rest: &[&str]| -> Vec<String> {
        ["--embedded", &path].iter().chain(rest).map(|word| (*word).to_owned()).collect()
    };
    let at = |rest: &[&str]| -> Vec<&'static str> {
        at(rest).into_iter().map(|word| &*String::leak(word)).collect()
    };
    fails(&at(&["get", "M", "k"]), 4, "there is no memory at");
    assert_eq!(prints(&at(&["put", "M", "k", r#"{"boost": 1.2}"#])), "");
    assert_eq!(prints(&at(&["get", "M", "k"])), "{\"boost\": 1.2}\n");
    let object: Value = serde_json::from_str(&prints(&at(&["--json", "get", "M", "k"]))).unwrap();
    assert_eq!(object, json!({"map": "M", "key": "k", "value": "{\"boost\": 1.2}"}));
    fails(&at(&["get", "M", "other"]), 1, "M[other] is not there");
    fails(&at(&["get", "M", ""]), 2, "1024 bytes");
    prints(&at(&["put", "M", "a key", "v"]));
    assert_eq!(prints(&at(&["keys", "M"])), "a key\nk\n");
    assert_eq!(prints(&at(&["--json", "keys", "M"])), "[\"a key\",\"k\"]\n");
    assert_eq!(prints(&at(&["keys", "NOTHING"])), "");

    // The watch owns the store now; the others write through it.
    let mut watching = Watching::start(&at(&["watch", "M"]));
    assert_eq!([watching.line(), watching.line()], ["a key\tv", "k\t{\"boost\": 1.2}"]);
    prints(&at(&["put", "M", "k", "2"]));
    assert_eq!(watching.line(), "k\t2");
    watching.interrupt();
    let mut watching = Watching::start(&at(&["--json", "watch", "M", "k"]));
    assert_eq!(watching.line(), r#"{"map":"M","key":"k","value":"2"}"#);
    watching.interrupt();
}

#[test]
fn what_cannot_be_reached_is_exit_4_and_nonsense_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.memory");
    std::fs::write(&broken, "no database").unwrap();
    let broken = broken.display().to_string();
    let quick = ["--timeout-ms", "300"];
    fails(&[&quick[..], &["--embedded", &broken, "get", "M", "k"]].concat(), 4, "broken.memory");
    fails(&[&quick[..], &["--embedded", &broken, "watch", "M"]].concat(), 4, "broken.memory");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    fails(&[&quick[..], &["--hazelcast", &free, "keys", "M"]].concat(), 4, &free);
    fails(&["--hazelcast", "nowhere", "keys", "M"], 2, "`nowhere`");
    fails(&["keys", "M"], 2, "--config");
    fails(&["--embedded", "x", "--config", "y", "keys", "M"], 2, "cannot be used with");
    fails(&["--config", "there/is/none.yml", "keys", "M"], 2, "none.yml");
    let local = folder.path().join("local.yml");
    std::fs::write(&local, "venue: {name: \"127.0.0.1:9080\"}\n").unwrap();
    fails(&["--config", &local.display().to_string(), "keys", "M"], 2, "--embedded");
}

#[test]
fn a_cluster_is_read_written_and_watched() {
    let Some(mut cluster) = Cluster::start(CURRENT, 1) else { return };
    let Some(mut python) = Python::start(&cluster) else { return };
    let address = cluster.members[0].address();
    let at = |rest: &[&'static str]| -> Vec<&str> { [&["--hazelcast", &address], rest].concat() };
    python.put("M", "ключ", "{\"a\": 1}");
    assert_eq!(prints(&at(&["get", "M", "ключ"])), "{\"a\": 1}\n");
    prints(&at(&["put", "M", "ours", "[1]"]));
    assert_eq!(python.get("M", "ours"), json!(["str", "[1]"]));
    assert_eq!(prints(&at(&["keys", "M"])), "ours\nключ\n");
    python.run(json!({"op": "put", "map": "M", "key": "pickle", "value": {"a": 1}}));
    fails(&at(&["get", "M", "pickle"]), 3, "pickle");
    let mut watching = Watching::start(&at(&["watch", "M", "ours"]));
    assert_eq!(watching.line(), "ours\t[1]");
    python.put("M", "ours", "[2]");
    assert_eq!(watching.line(), "ours\t[2]");

    // It goes on through the death of the member; what a memory-less member forgot is gone.
    cluster.members[0].kill();
    cluster.members[0].restart();
    assert_eq!(watching.line(), "ours is gone");
    prints(&at(&["put", "M", "ours", "[3]"]));
    assert_eq!(watching.line(), "ours\t[3]");
    watching.interrupt();
    let wrong = ["--hazelcast", &address, "--cluster", "dolfin", "get", "M", "k"];
    fails(&wrong, 4, "the cluster is not `dolfin`");
}
