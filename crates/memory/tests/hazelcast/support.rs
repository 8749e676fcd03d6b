//! What the tests against real members share.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use memory::{Change, HazelcastConfig, MemoryConfig, MemoryEnvironment, SystemMemory, Watch};
use testkit::hazelcast::{Cluster, PATIENCE};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

pub fn config(cluster: &Cluster) -> HazelcastConfig {
    HazelcastConfig {
        members: cluster.addresses(),
        invocation_timeout_ms: 10_000,
        ..HazelcastConfig::default()
    }
}

pub fn open(config: HazelcastConfig) -> SystemMemory {
    SystemMemory::open(MemoryConfig::Hazelcast(config), &MemoryEnvironment::system()).unwrap()
}

pub async fn connect(cluster: &Cluster) -> SystemMemory {
    connect_to(cluster.addresses()).await
}

pub async fn connect_to(members: Vec<String>) -> SystemMemory {
    let memory =
        open(HazelcastConfig { members, invocation_timeout_ms: 10_000, ..HazelcastConfig::default() });
    memory.wait_ready(PATIENCE).await.unwrap();
    memory
}

/// Waits for something to become true; panics with what is asked for if it does not.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn next(watch: &mut Watch) -> Change {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("a change comes")
}

/// Waits for a value under a key, past older changes.
pub async fn until(watch: &mut Watch, key: &str, value: Option<&str>) {
    loop {
        let change = next(watch).await;
        if change.key == key && change.value.as_deref() == value {
            return;
        }
    }
}

pub fn symbols(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("SYM{at:03}é🐬USDT")).collect()
}

/// The log of this thread, which is that of a test and of its single-threaded runtime.
pub struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Log {
    /// Info and above, from now on.
    pub fn capture() -> Self {
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Writer(Arc::clone(&text));
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(writer)
            .finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines since the last time.
    pub fn lines(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.text.lock().unwrap());
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

/// How many of the lines hold these words.
pub fn count(lines: &[String], words: &str) -> usize {
    lines.iter().filter(|line| line.contains(words)).count()
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
