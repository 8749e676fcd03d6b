//! Real members and the Python client, as child processes that end with the test.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use memory::{HazelcastConfig, MemoryConfig, SystemMemory};
use serde_json::{Value, json};

/// Generous: a JVM on a busy machine. Nothing is asserted about it.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// One cluster at a time: they are large.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fetch(arguments: &[&str]) -> Option<PathBuf> {
    if std::env::var("DOLPHIN_TEST_HAZELCAST").as_deref() != Ok("1") {
        return skipped("real members are started only with DOLPHIN_TEST_HAZELCAST=1");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hazelcast/fetch");
    let output =
        Command::new(&script).args(arguments).stdin(Stdio::null()).output().expect("the script runs");
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let reason = told.trim().lines().last().unwrap_or("");
    skipped(&format!("fetch {}: {reason}", arguments.join(" ")))
}

/// Says on the real stderr, past the test harness, why the present test proves nothing.
fn skipped(reason: &str) -> Option<PathBuf> {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    std::io::stderr().write_all(format!("skipped: {test}: {reason}\n").as_bytes()).ok();
    None
}

pub struct Member {
    child: Child,
    jar: PathBuf,
    config: PathBuf,
    log: PathBuf,
    pub port: u16,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Member {
    fn spawn(jar: &Path, config: &Path, log: &Path) -> Child {
        let file = std::fs::File::options().create(true).append(true).open(log).unwrap();
        Command::new("java")
            .args(["--add-modules", "java.se", "--add-exports", "java.base/jdk.internal.ref=ALL-UNNAMED"])
            .args([
                "--add-opens",
                "java.base/java.lang=ALL-UNNAMED",
                "--add-opens",
                "java.base/sun.nio.ch=ALL-UNNAMED",
            ])
            .args(["--add-opens", "java.management/sun.management=ALL-UNNAMED"])
            .args(["--add-opens", "jdk.management/com.sun.management.internal=ALL-UNNAMED"])
            .args(["-Xms32m", "-Xmx160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg(format!("-Dhazelcast.config={}", config.display()))
            .args(["-Dhazelcast.logging.type=jdk", "-cp"])
            .arg(jar)
            .arg("com.hazelcast.core.server.HazelcastMemberStarter")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .expect("java starts")
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        std::fs::write(&self.log, "").unwrap();
        self.child = Self::spawn(&self.jar, &self.config, &self.log);
        self.wait_started(1);
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the member says it is started, in a cluster of so many.
    pub fn wait_started(&mut self, size: usize) {
        let deadline = Instant::now() + PATIENCE;
        let wanted = format!("Members {{size:{size}");
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            if log.contains("is STARTED") && (size == 1 || log.contains(&wanted)) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "the member did not start: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Members of one cluster, each on a free port of the loopback interface.
pub struct Cluster {
    pub members: Vec<Member>,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// `None` (and a line `skipped: …`) if a member is not to be had here.
    pub fn start(version: &str, size: usize) -> Option<Self> {
        let jar = fetch(&["jar", version])?;
        let folder = tempfile::tempdir().unwrap();
        // All listeners stand until all ports are known, so that they differ.
        let listeners: Vec<_> = (0..size).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        drop(listeners);
        let all: Vec<String> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let members = ports.iter().map(|port| {
            let config = folder.path().join(format!("{port}.yaml"));
            std::fs::write(&config, yaml(*port, &all.join(", "))).unwrap();
            let log = folder.path().join(format!("{port}.log"));
            let child = Member::spawn(&jar, &config, &log);
            Member { child, jar: jar.clone(), config, log, port: *port }
        });
        let mut cluster = Self { members: members.collect(), _folder: folder };
        for member in &mut cluster.members {
            member.wait_started(size);
        }
        Some(cluster)
    }

    pub fn config(&self) -> HazelcastConfig {
        HazelcastConfig {
            members: self.members.iter().map(Member::address).collect(),
            invocation_timeout_ms: 10_000,
            ..HazelcastConfig::default()
        }
    }

    pub async fn memory(&self) -> SystemMemory {
        let memory = SystemMemory::open(MemoryConfig::Hazelcast(self.config())).unwrap();
        memory.wait_ready(PATIENCE).await.unwrap();
        memory
    }
}

fn yaml(port: u16, members: &str) -> String {
    format!(
        "hazelcast:
  cluster-name: dolphin
  network:
    port: {{port: {port}, auto-increment: false}}
    interfaces: {{enabled: true, interfaces: [127.0.0.1]}}
    join:
      auto-detection: {{enabled: false}}
      multicast: {{enabled: false}}
      tcp-ip: {{enabled: true, member-list: [{members}]}}
  jet: {{enabled: false}}
  properties:
    hazelcast.phone.home.enabled: \"false\"
    hazelcast.socket.bind.any: \"false\"
"
    )
}

/// The Python client.
pub struct Python {
    child: Child,
    to: Option<ChildStdin>,
    answers: Receiver<Value>,
    events: Receiver<Value>,
}

impl Drop for Python {
    fn drop(&mut self) {
        self.to.take();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Python {
    pub fn start(cluster: &Cluster) -> Option<Self> {
        let python = fetch(&["python"])?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hazelcast/oracle.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg("dolphin")
            .args(cluster.members.iter().map(Member::address))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (answer, answers) = channel();
        let (event, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let value: Value = serde_json::from_str(&line).unwrap();
                let sent = if value.get("event").is_some() { event.send(value) } else { answer.send(value) };
                if sent.is_err() {
                    return;
                }
            }
        });
        let to = child.stdin.take();
        let python = Self { child, to, answers, events };
        assert_eq!(python.answers.recv_timeout(PATIENCE).unwrap(), json!({"answer": "ready"}));
        Some(python)
    }

    /// Runs a command; panics on an error of the client.
    pub fn run(&mut self, command: Value) -> Value {
        writeln!(self.to.as_mut().unwrap(), "{command}").unwrap();
        let mut answer = self.answers.recv_timeout(PATIENCE).unwrap();
        assert!(answer.get("answer").is_some(), "{command}: {answer}");
        answer["answer"].take()
    }

    pub fn put(&mut self, map: &str, key: &str, value: &str) {
        self.run(json!({"op": "put", "map": map, "key": key, "value": value}));
    }

    pub fn get(&mut self, map: &str, key: &str) -> Value {
        self.run(json!({"op": "get", "map": map, "key": key}))
    }

    pub fn event(&self) -> Value {
        self.events.recv_timeout(PATIENCE).unwrap()["event"].take()
    }
}

/// Waits for something to become true; panics with what is asked for if it does not.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
