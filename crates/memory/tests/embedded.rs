//! The embedded backend over processes: whoever comes first owns the store, a crash loses nothing that was answered.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use memory::{
    Change, EmbeddedConfig, MAX_VALUE_BYTES, MemoryConfig, MemoryEnvironment, MemoryError, SystemMemory,
    Watch, Write,
};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(120);

fn open(path: &Path) -> SystemMemory {
    let config = EmbeddedConfig { timeout_ms: 60_000, ..EmbeddedConfig::at(path) };
    SystemMemory::open(MemoryConfig::Embedded(config), &MemoryEnvironment::system()).unwrap()
}

async fn next(watch: &mut Watch) -> Change {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("a change comes")
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn change(key: &str, value: &str) -> Change {
    Change { key: key.to_owned(), value: Some(value.to_owned()) }
}

#[tokio::test]
async fn maps_hold_what_was_put_and_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/memory.redb");
    let memory = open(&path);
    assert_eq!(memory.get("m", "k").await, Ok(None));
    memory.put("m", "k", "{\"a\":1}").await.unwrap();
    memory.put("m", "ключ", "🐬").await.unwrap();
    // Names that could be mistaken for each other.
    for (map, key) in [("ma", "k"), ("m", "ka"), ("m\u{1}", "k"), ("l", "k")] {
        memory.put(map, key, map).await.unwrap();
    }
    assert_eq!(memory.keys("m").await.unwrap(), ["k", "ka", "ключ"]);
    memory.remove("m", "ka").await.unwrap();
    memory.remove("m", "ka").await.unwrap();
    assert!(memory.compare_and_set("m", "k", Some("{\"a\":1}"), "2").await.unwrap());
    assert!(!memory.compare_and_set("m", "k", Some("{\"a\":1}"), "3").await.unwrap());
    assert!(!memory.compare_and_set("m", "k", None, "3").await.unwrap());
    assert!(memory.compare_and_set("m", "new", None, "4").await.unwrap());
    assert_eq!(memory.get_reference("R", "m", "new").await.unwrap().as_deref(), Some("4"));
    drop(memory);

    let memory = open(&path);
    let expected = [("k", "2"), ("new", "4"), ("ключ", "🐬")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(memory.entries("m").await.unwrap(), expected);
    assert_eq!(memory.entries("nothing").await.unwrap(), []);
}

#[tokio::test]
async fn limits_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let memory = open(&folder.path().join("memory.redb"));
    let long = "k".repeat(1025);
    for (map, key) in [("", "k"), ("m", ""), ("m", "a\0b"), ("m", &long)] {
        let error = memory.put(map, key, "v").await.unwrap_err();
        assert!(matches!(&error, MemoryError::Invalid(why) if why.contains("1024")), "{error}");
    }
    let large = "x".repeat(MAX_VALUE_BYTES);
    memory.put("m", "large", &large).await.unwrap();
    assert!(memory.get("m", "large").await.unwrap().unwrap() == large);
    let error = memory.put("m", "large", &(large + "x")).await.unwrap_err();
    assert!(error.to_string().contains(&MAX_VALUE_BYTES.to_string()), "{error}");
}

#[tokio::test]
async fn a_watch_sees_the_present_and_then_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let memory = open(&folder.path().join("memory.redb"));
    memory.put("m", "a", "0").await.unwrap();
    let mut map = memory.watch("m", None).unwrap();
    let mut key = memory.watch("m", Some("b")).unwrap();
    assert_eq!(next(&mut map).await, change("a", "0"));
    memory.put("m", "b", "1").await.unwrap();
    assert_eq!(next(&mut map).await, change("b", "1"));
    assert_eq!(next(&mut key).await, change("b", "1"));
    let batch = ["2", "3"].map(|value| Write { map: "m".into(), key: "b".into(), value: value.into() });
    memory.put_all(&batch).await.unwrap();
    // Latest value per key: what a slow reader missed is gone.
    assert_eq!(next(&mut key).await, change("b", "3"));
    assert_eq!(key.try_next(), None);
    memory.remove("m", "b").await.unwrap();
    assert_eq!(next(&mut key).await, Change { key: "b".into(), value: None });
}

/// The other process. It runs as this test binary with `MEMORY_TEST_STORE` set; without it there is nothing to do. It
/// counts up, one number a write, each under the same key of two maps at once, and says what was answered.
#[tokio::test]
async fn other_process() {
    let Some(store) = std::env::var_os("MEMORY_TEST_STORE") else { return };
    let first: u64 = std::env::var("MEMORY_TEST_FIRST").unwrap().parse().unwrap();
    let memory = open(Path::new(&store));
    memory.wait_ready(PATIENCE).await.unwrap();
    println!("ready: {}", memory.status().detail);
    for at in first.. {
        let write = |map: &str| Write { map: map.into(), key: (at % 50).to_string(), value: at.to_string() };
        memory.put_all(&[write("crash"), write("twin")]).await.unwrap();
        println!("answered {at}");
        std::io::stdout().flush().unwrap();
    }
}

struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Process {
    fn start(store: &Path, first: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process", "--nocapture"])
            .env("MEMORY_TEST_STORE", store)
            .env("MEMORY_TEST_FIRST", first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Read on a thread: this test's runtime has to go on serving.
        let (line, lines) = mpsc::unbounded_channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
        Self { child, lines }
    }

    /// The next line of ours; the test harness has lines of its own. `None`: the process has ended.
    async fn line(&mut self, word: &str) -> Option<String> {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.recv()).await.expect("a line or the end")?;
            if let Some((_, rest)) = line.split_once(word) {
                return Some(rest.trim().to_owned());
            }
        }
    }

    async fn answered(&mut self) -> u64 {
        self.line("answered").await.unwrap().parse().unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_killed_owner_loses_nothing_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.redb");
    let mut first = 0;
    for round in 0..8u64 {
        let mut process = Process::start(&path, first);
        let owner = process.line("ready:").await.unwrap();
        assert!(owner.ends_with("held by this process"), "{owner}");
        let mut last = first;
        while last < first + 55 {
            last = process.answered().await;
        }
        // Anywhere within a write: they take a few milliseconds each.
        tokio::time::sleep(Duration::from_micros(round * 1_373 % 5_000)).await;
        process.kill();
        while let Some(more) = process.line("answered").await {
            last = last.max(more.parse().unwrap_or(0)); // a line may be cut off
        }
        // A process of its own reads: it has let go of the file when it has ended.
        let found = read_all(&path);
        assert_eq!(found["crash"], found["twin"], "what was written together is there together");
        for at in last - 49..=last {
            let newest = found["crash"][(at % 50) as usize];
            // The one after the last may have been under way.
            assert!(newest == at || newest == last + 1, "{at} was answered, {newest} is there");
        }
        first = last + 2;
    }
}

/// Both maps of [`other_process`] by key, read on a runtime that is gone afterwards, and with it the store.
fn read_all(path: &Path) -> HashMap<&'static str, Vec<u64>> {
    let path = path.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let memory = open(&path);
            let mut found = HashMap::new();
            for map in ["crash", "twin"] {
                let mut values = vec![0; 50];
                for (key, value) in memory.entries(map).await.unwrap() {
                    values[key.parse::<usize>().unwrap()] = value.parse().unwrap();
                }
                found.insert(map, values);
            }
            found
        })
    })
    .join()
    .unwrap()
}

#[tokio::test]
async fn processes_share_the_store_and_the_ownership_passes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.redb");
    let mut process = Process::start(&path, 0);
    process.answered().await;

    // The other one owns it; we read, write and watch through its socket.
    let memory = open(&path);
    memory.wait_ready(PATIENCE).await.unwrap();
    assert!(memory.status().detail.ends_with("owned by another process"), "{:?}", memory.status());
    let mut watch = memory.watch("crash", None).unwrap();
    let first: u64 = next(&mut watch).await.value.unwrap().parse().unwrap();
    let mut latest = first;
    while latest < first + 20 {
        latest = next(&mut watch).await.value.unwrap().parse::<u64>().unwrap().max(latest);
    }
    memory.put("m", "ours", "1").await.unwrap();
    assert_eq!(memory.keys("m").await.unwrap(), ["ours"]);
    assert!(memory.compare_and_set("m", "ours", Some("1"), "2").await.unwrap());
    let mut ours = memory.watch("m", Some("ours")).unwrap();
    assert_eq!(next(&mut ours).await, change("ours", "2"));

    process.kill();
    eventually("we own it", async || memory.status().detail.ends_with("held by this process")).await;
    assert_eq!(memory.get("m", "ours").await.unwrap().as_deref(), Some("2"));
    memory.put("m", "ours", "3").await.unwrap();
    // Nothing changed during the passage, so the next thing seen is the new value.
    assert_eq!(next(&mut ours).await, change("ours", "3"));

    // Now the other way round: a second process comes, and we own.
    let mut second = Process::start(&path, 1_000_000);
    assert!(second.line("ready:").await.unwrap().ends_with("owned by another process"));
    let answered = second.answered().await;
    let mut crash = memory.watch("crash", Some(&(answered % 50).to_string())).unwrap();
    let value: u64 = next(&mut crash).await.value.unwrap().parse().unwrap();
    assert!(value >= answered && value % 50 == answered % 50, "{value}, {answered} was answered");
}

#[tokio::test]
async fn garbage_on_the_socket_harms_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.redb");
    let memory = open(&path);
    memory.put("m", "k", "v").await.unwrap();
    let socket = folder.path().join("memory.redb.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let frame = |json: &str| [&(json.len() as u32).to_le_bytes(), json.as_bytes()].concat();
    let endless = [0xff; 64].to_vec();
    let broken = frame("{\"id\":1,");
    let unknown = frame(r#"{"id":1,"request":{"op":"format_disk"}}"#);
    for bytes in [endless, broken, unknown, frame(&"[".repeat(10_000))] {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0, "the connection is closed");
    }
    // Over a limit: refused by name, and the connection goes on.
    let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    stream.write_all(&frame(r#"{"id":7,"request":{"op":"get","map":"","key":"k"}}"#)).await.unwrap();
    stream.write_all(&frame(r#"{"id":8,"request":{"op":"get","map":"m","key":"k"}}"#)).await.unwrap();
    let mut told = String::new();
    while !told.contains("\"id\":8") {
        let mut buffer = [0; 256];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{told}");
        told.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(told.contains("1024 bytes") && told.contains("\"v\""), "{told}");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_away_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.redb");
    std::fs::write(&path, "this is no database, and it is not ours to overwrite").unwrap();
    let memory = SystemMemory::open(
        MemoryConfig::Embedded(EmbeddedConfig { timeout_ms: 300, ..EmbeddedConfig::at(&path) }),
        &MemoryEnvironment::system(),
    )
    .unwrap();
    let error = memory.get("m", "k").await.unwrap_err();
    assert!(error.is_outage() && error.to_string().contains("memory.redb"), "{error}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("this is no database"));
    // Repaired by the operator: it comes up by itself.
    std::fs::remove_file(&path).unwrap();
    memory.wait_ready(PATIENCE).await.unwrap();
    eventually("a write", async || memory.put("m", "k", "v").await.is_ok()).await;
}
