//! Real Hazelcast members and Hazelcast's own Python client, as child processes that end with the test.
//!
//! What they need is fetched once by `tests/hazelcast/fetch`, outside of the repository. Without Java, Maven or Python
//! (or with `DOLPHIN_TEST_HAZELCAST=0`) starting says `skipped: …` and is `None`.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The current open-source member, without CP.
pub const CURRENT: &str = "5.7.0";
/// The last open-source member with CP.
pub const WITH_CP: &str = "5.4.0";
/// The name of the clusters started here, as `tests/hazelcast/member.yaml` has it.
pub const CLUSTER_NAME: &str = "dolphin";
/// Generous: a JVM on a busy machine. Nothing is asserted about it.
pub const PATIENCE: Duration = Duration::from_secs(240);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hazelcast").join(name)
}

fn fetch(arguments: &[&str]) -> Option<PathBuf> {
    if std::env::var("DOLPHIN_TEST_HAZELCAST").as_deref() == Ok("0") {
        crate::skipped("DOLPHIN_TEST_HAZELCAST=0");
        return None;
    }
    let output = Command::new(script("fetch")).args(arguments).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {
            Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
        }
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            let reason = told.trim().lines().last().unwrap_or("");
            crate::skipped(&format!("fetch {}: {reason}", arguments.join(" ")));
            None
        }
        Err(error) => {
            crate::skipped(&format!("{}: {error}", script("fetch").display()));
            None
        }
    }
}

/// One member: a JVM.
#[derive(Debug)]
pub struct Member {
    child: Child,
    jar: PathBuf,
    config: PathBuf,
    log: PathBuf,
    port: u16,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Member {
    fn spawn(jar: &Path, config: &Path, log: &Path) -> Child {
        let file = File::options().create(true).append(true).open(log).expect("a log of the member");
        let errors = file.try_clone().expect("a second handle on the log");
        Command::new(script("member"))
            .args([jar, config])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .expect("tests/hazelcast/member runs")
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("a member of ours");
        self.child.wait().expect("a member of ours");
    }

    /// Starts it again on the same port, and waits until it lets clients in.
    pub fn restart(&mut self) {
        std::fs::write(&self.log, "").expect("its log is ours");
        self.child = Self::spawn(&self.jar, &self.config, &self.log);
        self.wait_ready(1);
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("`kill` runs").success());
    }

    /// Waits until it lets clients in, in a cluster of at least so many.
    pub fn wait_ready(&mut self, size: usize) {
        let deadline = Instant::now() + PATIENCE;
        let wanted = format!("Members {{size:{size}");
        loop {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            if (size == 1 || log.contains(&wanted)) && RawClient::connect(&self.address()).is_ok() {
                return;
            }
            let ended = self.child.try_wait().expect("a member of ours");
            assert!(ended.is_none() && Instant::now() < deadline, "the member did not start: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Members of one cluster, each on a free port of the loopback interface. One cluster at a time on the machine: who
/// starts another waits, so a test holds one at most.
#[derive(Debug)]
pub struct Cluster {
    /// The members.
    pub members: Vec<Member>,
    _folder: tempfile::TempDir,
    _turn: File,
}

impl Cluster {
    /// `None` (and a line `skipped: …`) if members are not to be had here.
    pub fn start(version: &str, size: usize) -> Option<Self> {
        Self::start_with(version, size, "")
    }

    /// The same, with further lines of the members' configuration, two spaces deep.
    pub fn start_with(version: &str, size: usize, lines: &str) -> Option<Self> {
        let jar = fetch(&["jar", version])?;
        let turn = File::create(jar.with_file_name("turn")).expect("the cache is ours");
        turn.lock().expect("a lock on a file of ours");
        let folder = tempfile::tempdir().expect("a temporary folder");
        // All listeners stand until all ports are known, so that they differ.
        let listeners: Vec<_> =
            (0..size).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().expect("it is bound").port()).collect();
        drop(listeners);
        let all: Vec<String> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let members = ports.iter().map(|port| {
            let config = folder.path().join(format!("{port}.yaml"));
            std::fs::write(&config, yaml(*port, &all.join(", ")) + lines).expect("a file in our folder");
            let log = folder.path().join(format!("{port}.log"));
            let child = Member::spawn(&jar, &config, &log);
            Member { child, jar: jar.clone(), config, log, port: *port }
        });
        let mut cluster = Self { members: members.collect(), _folder: folder, _turn: turn };
        for member in &mut cluster.members {
            member.wait_ready(size);
        }
        Some(cluster)
    }

    /// `host:port` of every member.
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(Member::address).collect()
    }
}

fn yaml(port: u16, members: &str) -> String {
    include_str!("../../../tests/hazelcast/member.yaml")
        .replace("PORT", &port.to_string())
        .replace("MEMBERS", members)
}

/// The plainest client there can be: one blocking socket, one request at a time. It tells when a member lets clients
/// in, and is what latencies are compared with.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
}

/// A key whose partition of 271 is known, so that nothing has to be computed here.
pub const RAW_KEY: &str = "BTCUSDT";
const RAW_PARTITION: i32 = 23;

impl RawClient {
    /// Connects and authenticates; an error is a member that is not (yet) ready.
    pub fn connect(address: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(b"CP2")?;
        let mut client = Self { stream };
        // A uuid (not null, two numbers), serialization version 1.
        let half = || RandomState::new().hash_one(address).to_le_bytes();
        let fixed = [&[0][..], &half(), &half(), &[1]].concat();
        let name = CLUSTER_NAME.as_bytes();
        let null = (0x0400, &b""[..]);
        let (begin, end) = ((0x1000, &b""[..]), (0x0800, &b""[..]));
        let frames = [(0, name), null, null, (0, b"RST"), (0, b"0"), (0, b"raw"), begin, end];
        let answer = client.call(0x0000_0100, -1, &fixed, &frames)?;
        match answer.get(6 + 13) {
            Some(0) if answer[6..10] == 0x0000_0101_i32.to_le_bytes() => Ok(client),
            _ => Err(io::Error::other("the member refuses")),
        }
    }

    /// `map[RAW_KEY] = value`.
    pub fn set(&mut self, map: &str, value: &str) -> io::Result<()> {
        let fixed = [1i64.to_le_bytes(), (-1i64).to_le_bytes()].concat();
        let frames = [(0, map.as_bytes()), (0, &data(RAW_KEY)), (0, &data(value))];
        self.call(0x0001_0F00, RAW_PARTITION, &fixed, &frames).map(|_| ())
    }

    /// The bytes of the answer to a get of `map[RAW_KEY]`.
    pub fn get(&mut self, map: &str) -> io::Result<Vec<u8>> {
        let frames = [(0, map.as_bytes()), (0, &data(RAW_KEY)[..])];
        self.call(0x0001_0200, RAW_PARTITION, &1i64.to_le_bytes(), &frames)
    }

    /// Asks to be told of the changes of a map.
    pub fn listen(&mut self, map: &str) -> io::Result<()> {
        let fixed = [&[1][..], &7i32.to_le_bytes(), &[0]].concat();
        self.call(0x0001_1900, -1, &fixed, &[(0, map.as_bytes())]).map(|_| ())
    }

    /// The next message, whatever it is.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let mut header = [0; 6];
            self.stream.read_exact(&mut header)?;
            let [a, b, c, d, _, flags] = header;
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            let start = message.len();
            message.extend_from_slice(&header);
            message.resize(start + length.max(6), 0);
            self.stream.read_exact(&mut message[start + 6..])?;
            if flags & 0x20 != 0 {
                return Ok(message);
            }
        }
    }

    fn call(
        &mut self,
        kind: i32,
        partition: i32,
        fixed: &[u8],
        frames: &[(u16, &[u8])],
    ) -> io::Result<Vec<u8>> {
        let initial =
            [&kind.to_le_bytes()[..], &1i64.to_le_bytes(), &partition.to_le_bytes(), fixed].concat();
        let mut bytes = Vec::new();
        for (at, (flags, payload)) in [(0xC000, &initial[..])].iter().chain(frames).enumerate() {
            let last = if at == frames.len() { 0x2000 } else { 0 };
            bytes.extend_from_slice(&(payload.len() as u32 + 6).to_le_bytes());
            bytes.extend_from_slice(&(flags | last).to_le_bytes());
            bytes.extend_from_slice(payload);
        }
        self.stream.write_all(&bytes)?;
        loop {
            let answer = self.receive()?;
            if answer[5] & 0x02 == 0 {
                return Ok(answer); // no event
            }
        }
    }
}

/// Text as members keep it.
fn data(text: &str) -> Vec<u8> {
    [&0i32.to_be_bytes()[..], &(-11i32).to_be_bytes(), &(text.len() as i32).to_be_bytes(), text.as_bytes()]
        .concat()
}

/// Hazelcast's Python client.
#[derive(Debug)]
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
    /// `None` (and a line `skipped: …`) if the client is not to be had here.
    pub fn start(cluster: &Cluster) -> Option<Self> {
        let python = fetch(&["python"])?;
        let mut child = Command::new(python)
            .arg(script("oracle.py"))
            .arg(CLUSTER_NAME)
            .args(cluster.addresses())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (answer, answers) = channel();
        let (event, events) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let value: Value = serde_json::from_str(&line).expect("the oracle writes JSON");
                let sent = if value.get("event").is_some() { event.send(value) } else { answer.send(value) };
                if sent.is_err() {
                    return;
                }
            }
        });
        let to = child.stdin.take();
        let python = Self { child, to, answers, events };
        let ready = python.answers.recv_timeout(PATIENCE).expect("the Python client connects");
        assert_eq!(ready, json!({"answer": "ready"}));
        Some(python)
    }

    /// Runs a command of `oracle.py`; panics on an error of the client.
    pub fn run(&mut self, command: Value) -> Value {
        writeln!(self.to.as_mut().expect("it lives"), "{command}").expect("the Python client lives");
        let mut answer = self.answers.recv_timeout(PATIENCE).expect("the Python client answers");
        assert!(answer.get("answer").is_some(), "{command}: {answer}");
        answer["answer"].take()
    }

    /// `map.put(key, value)`.
    pub fn put(&mut self, map: &str, key: &str, value: &str) {
        self.run(json!({"op": "put", "map": map, "key": key, "value": value}));
    }

    /// `map.get(key)` as `[name of the type, text]`.
    pub fn get(&mut self, map: &str, key: &str) -> Value {
        self.run(json!({"op": "get", "map": map, "key": key}))
    }

    /// The next event of a listener, `[key, [name of the type, text]]`.
    pub fn event(&self) -> Value {
        self.events.recv_timeout(PATIENCE).expect("an event comes")["event"].take()
    }
}
