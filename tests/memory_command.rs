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

/// A value that its reader would refuse does not get there by mistake.
#[test]
fn a_value_that_would_be_refused_is_refused_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.memory").display().to_string();
    let at = |rest: &[&'static str]| -> Vec<&str> { [&["--embedded", &path], rest].concat() };
    prints(&at(&["put", "DOLPHIN_SAFETY", "latest", r#"{"posture": "APEX", "Rm": 1}"#]));
    fails(&at(&["put", "DOLPHIN_SAFETY", "latest", "HIBERNATE"]), 3, "--force writes it");
    fails(&at(&["put", "DOLPHIN_FEATURES", "acb_boost", r#"{"boost": 12, "beta": 0}"#]), 3, "`boost` is 12");
    assert_eq!(prints(&at(&["get", "DOLPHIN_SAFETY", "latest"])), "{\"posture\": \"APEX\", \"Rm\": 1}\n");
    prints(&at(&["put", "--force", "DOLPHIN_SAFETY", "latest", "HIBERNATE"]));
    assert_eq!(prints(&at(&["get", "DOLPHIN_SAFETY", "latest"])), "HIBERNATE\n");
}

/// A damaged file, as an operator meets it: every command names it with exit 4 and no word of a panic, and what is to be
/// done is done.
#[test]
fn a_damaged_memory_is_refused_repaired_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("state.memory");
    let path = store.display().to_string();
    let at = |rest: &[&'static str]| -> Vec<&str> {
        [&["--embedded", &path, "--timeout-ms", "2000"], rest].concat()
    };
    for number in 0..50 {
        let key: &'static str = String::leak(format!("key{number}"));
        prints(&at(&["put", "M", key, r#"{"capital": 25000.5}"#]));
    }
    assert_eq!(prints(&at(&["repair"])), format!("{path} is sound: nothing was changed\n"));
    fails(&at(&["restore"]), 2, "--force");
    let sound = std::fs::read(&store).unwrap();
    let mut changed = sound.clone();
    changed[4096..].iter_mut().step_by(512).for_each(|byte| *byte ^= 0x10);
    let damaged = [
        Vec::new(),
        vec![0; sound.len()],
        sound[..sound.len() / 2].to_vec(),
        sound[..77].to_vec(),
        changed,
        b"not a database at all".to_vec(),
    ];
    for image in damaged {
        std::fs::write(&store, &image).unwrap();
        for action in
            [&["get", "M", "key1"][..], &["put", "M", "key1", "{}"], &["keys", "M"], &["watch", "M"]]
        {
            fails(&at(action), 4, "state.memory is damaged");
        }
        assert!(std::fs::read(&store).unwrap() == image, "it is left as it is");
        let told = prints(&at(&["--json", "repair"]));
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (&told["repaired"], told["saved"].as_u64().unwrap() + told["from_copies"].as_u64().unwrap()),
            (&json!(true), 50)
        );
        assert!(std::fs::read(told["aside"].as_str().unwrap()).unwrap() == image);
        assert_eq!(prints(&at(&["keys", "M"])).lines().count(), 50);

        std::fs::write(&store, &image).unwrap();
        assert!(prints(&at(&["restore"])).contains("is as it was in"));
        assert_eq!(prints(&at(&["get", "M", "key49"])), "{\"capital\": 25000.5}\n");
    }
    // Not while somebody uses it, and there is nothing of the kind for a cluster.
    let watching = Watching::start(&at(&["watch", "M"]));
    let mut watching = watching;
    watching.line();
    fails(&at(&["repair"]), 4, "is in use");
    fails(&at(&["restore", "--force"]), 4, "is in use");
    watching.interrupt();
    fails(&["--hazelcast", "127.0.0.1:5701", "repair"], 2, "a cluster has no file");
    fails(&["--embedded", "/nowhere/at/all", "repair"], 4, "there is no memory at");
    fails(&["--embedded", "/nowhere/at/all", "restore"], 4, "no sound copy");
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
