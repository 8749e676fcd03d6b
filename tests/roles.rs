//! Roles past one machine (SPEC §9): real processes of the built binary against a venue in this one. Two ingest nodes, an
//! active alpha node and a standby; then the active one is killed, and the standby must take over without a duplicate
//! order.
//!
//! The small variant meets in an embedded memory, the large one (400 symbols) in a real three-member Hazelcast cluster.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use market::ClientOrderId;
use memory::schema::HEARTBEAT;
use memory::{EmbeddedConfig, HazelcastConfig, MemoryConfig, MemoryEnvironment, SystemMemory};
use serde_json::Value;
use testkit::hazelcast::{Cluster, WITH_CP};
use venue::core::Order;
use venue::{AccountConfig, Rules, Venue, VenueConfig, VenueHandle};

/// How long a condition may take to come true. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Ticks that are looked at.
const TICKS: u64 = 100;

/// Short bars and holds, so that trades come within seconds; no warm start is needed.
const CONFIG: &str = "
alpha:
  profile: roles
  vel_div_threshold: -0.0002
  vel_div_extreme: -0.01
  fixed_tp_pct: 0.0008
  max_hold_bars: 30
  dc_lookback_bars: 1
  dc_min_magnitude_bps: 0.0
  min_irp_alignment: 0.30
  lookback: 20
  warmup_bars: 0
  vol_window_bars: 20
  vol_p60: 0.0
  ob_confirm_rate: 0.0
  min_fill_probability: 0.0
direction: both
router:
  min_fill_probability: 0.0
  maker_timeout_ms: 600
  exit_maker_timeout_ms: 500
  min_repeg_interval_ms: 300
  risk: {max_repeated_entries: 32}
runtime: {idle: park, unpinned: true}
roles: {lease_ttl_ms: 2000}
journal: {enabled: false}
";

/// A node as a process of its own; it ends with the test.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Process {
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; its exit code and what it printed.
    fn terminate(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (status.code(), out)
    }
}

/// Everything around the nodes.
struct Scene {
    folder: tempfile::TempDir,
    venue: VenueHandle,
    tokio: tokio::runtime::Handle,
    memory: SystemMemory,
    /// Names in memory, by process id.
    names: RefCell<BTreeMap<u32, String>>,
}

impl Scene {
    fn new(symbols: usize, section: &str, memory: MemoryConfig, folder: tempfile::TempDir) -> Self {
        // Ingest nodes have addresses, and weights, of their own; here they share one.
        let rules = Rules { weight_per_minute: 100_000, ..Rules::default() };
        let accounts = vec![AccountConfig::hmac("K", "S", 100_000)];
        let venue = Venue::start(VenueConfig { symbols, rules, accounts, ..VenueConfig::default() }).unwrap();
        let market = format!("market: {{max_symbols: {symbols}, bar_ms: 100}}\n");
        std::fs::write(folder.path().join("config.yml"), format!("{CONFIG}{market}memory: {section}\n"))
            .unwrap();
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut keys = options.open(folder.path().join("keys.toml")).unwrap();
        std::io::Write::write_all(&mut keys, b"[local]\nkey = \"K\"\nsecret = \"S\"\n").unwrap();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = tokio.handle().clone();
        // The first process at an embedded memory serves the others: it must not sleep.
        std::thread::spawn(move || tokio.block_on(std::future::pending::<()>()));
        let memory = {
            let _inside = handle.enter();
            SystemMemory::open(memory, &MemoryEnvironment::system()).unwrap()
        };
        Self { folder, venue, tokio: handle, memory, names: RefCell::default() }
    }

    fn node(&self, name: &str, arguments: &[&str]) -> Process {
        let path = |file: &str| self.folder.path().join(file);
        let log = path(&format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_dolphin"))
            .args(["live", "--json", "--venue", &self.venue.addr().to_string(), "--config"])
            .arg(path("config.yml"))
            .args(arguments)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Process { child, log }
    }

    fn alpha(&self, name: &str) -> Process {
        let keys = self.folder.path().join("keys.toml");
        self.node(name, &["--role", "alpha", "--flatten", "--keys", keys.to_str().unwrap()])
    }

    /// What the node shows in memory; `None` before its first sign of life.
    fn shown(&self, process: &Process) -> Option<Value> {
        let entries = self.tokio.block_on(self.memory.entries(HEARTBEAT)).unwrap_or_default();
        let mut names = self.names.borrow_mut();
        // Names are random: a sign of life that is nobody else's is that of the process that was started last.
        let taken: Vec<String> = names.values().cloned().collect();
        let mut alphas = entries.into_iter().filter(|(key, _)| key.starts_with("alpha_"));
        let pid = process.child.id();
        let (key, text) = match names.get(&pid) {
            Some(name) => alphas.find(|(key, _)| key == name)?,
            None => alphas.find(|(key, _)| !taken.contains(key))?,
        };
        names.insert(pid, key);
        serde_json::from_str(&text).ok()
    }

    /// Waits for something that a node shows.
    fn until(&self, what: &str, process: &mut Process, mut holds: impl FnMut(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let shown = self.shown(process);
            if let Some(value) = shown.as_ref().filter(|value| holds(value)) {
                return value.clone();
            }
            let ended = process.child.try_wait().unwrap();
            let log = process.log();
            assert!(ended.is_none(), "the node ended before: {what}\n{log}");
            assert!(start.elapsed() < PATIENCE, "this did not come about: {what}\n{shown:#?}\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn orders(&self) -> Vec<Order> {
        self.venue.inspect(|exchange| exchange.orders_of(self.venue.account(0)).cloned().collect())
    }

    fn position_open(&self) -> bool {
        self.venue.inspect(|e| e.account(self.venue.account(0)).positions.values().any(|p| !p.qty.is_zero()))
    }

    /// Waits for something at the venue.
    fn until_venue(&self, what: &str, process: &Process, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "this did not come about: {what}\n{:#?}\n{}",
                self.shown(process),
                process.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value["shards"][key].as_u64().unwrap_or(0)
}

/// The whole story; see the head of the file.
fn play(symbols: usize, section: &str, memory: MemoryConfig, folder: tempfile::TempDir) {
    let scene = Scene::new(symbols, section, memory, folder);
    let _ingest = ["1/2", "2/2"].map(|share| {
        let name = format!("ingest{}", &share[..1]);
        scene.node(&name, &["--role", "ingest", "--share", share])
    });
    let mut first = scene.alpha("first");
    scene.until("the first alpha node is active", &mut first, |v| v["state"] == "active");
    let mut second = scene.alpha("second");
    scene.until("the second stands by", &mut second, |v| v["lease"]["state"] == "standby");

    let fresh = |v: &Value| number(v, "fresh") == symbols as u64 && number(v, "whole_since_all") >= TICKS;
    for (name, node) in [("active", &mut first), ("standby", &mut second)] {
        let v = scene.until("all symbols are fresh, tick after tick", node, fresh);
        let (ticks, whole) = (number(&v, "ticks_since_all"), number(&v, "whole_since_all"));
        println!(
            "{name}: {symbols} symbols, {whole} of {ticks} ticks with all fresh ({:.1} %), at least {}; age p50 {} p99 {} \
             ticks; {} hurried, {} late, {} garbage",
            100.0 * whole as f64 / ticks as f64,
            number(&v, "fewest_since_all"),
            number(&v, "age_p50"),
            number(&v, "age_p99"),
            number(&v, "hurried"),
            number(&v, "late"),
            v["reader"]["garbage"],
        );
        assert_eq!(v["reader"]["garbage"], 0);
    }

    scene.until_venue("the active node holds a position", &first, Scene::position_open);
    let before = scene.orders().len();
    first.kill();
    let killed = Instant::now();
    scene.until("the standby is active", &mut second, |v| v["state"] == "active");
    println!("taken over {:.1} s after the kill", killed.elapsed().as_secs_f64());
    let runs = |s: &Scene| -> BTreeSet<u64> {
        s.orders().iter().filter_map(|o| ClientOrderId::parse(&o.client_id)).map(|id| id.run).collect()
    };
    scene.until_venue("the new active node trades", &second, |s| {
        runs(s).len() == 2 && s.orders().len() > before + 1
    });
    let log = second.log();
    assert!(log.contains("stands by") && log.contains("is active now, by lease"), "{log}");
    let (code, out) = second.terminate();
    let log = std::fs::read_to_string(scene.folder.path().join("second.log")).unwrap();
    assert_eq!(code, Some(0), "{out}\n{log}");
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(summary["alpha"]["state"], "active", "{out}");
    assert_eq!(summary["router"]["unknown"], 0, "{out}");
    // What the engine believes is what the venue has: it was told to end flat, and every trade is booked.
    assert_eq!(summary["open_positions"].as_array().map(Vec::len), Some(0), "{out}\n{log}");
    assert!(!scene.position_open());
    no_duplicates(&scene.orders());
}

/// No client order id twice, and never two opening orders at one time: neither of one intent, nor of the dead run and
/// the new one.
fn no_duplicates(orders: &[Order]) {
    let mut ids = BTreeSet::new();
    let ours = orders.iter().filter(|o| ClientOrderId::parse(&o.client_id).is_some());
    let mut opening: Vec<&Order> = ours.filter(|o| !o.reduce_only).collect();
    assert!(
        opening.iter().all(|o| ids.insert(&o.client_id)),
        "a client order id was used twice: {orders:#?}"
    );
    opening.sort_by_key(|o| o.created);
    for pair in opening.windows(2) {
        assert!(pair[0].updated <= pair[1].created, "two opening orders at one time: {pair:#?}");
    }
    assert!(orders.iter().all(|o| !o.is_open()), "orders are left: {orders:#?}");
}

#[test]
fn a_standby_takes_over_on_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("memory");
    let section = format!("{{backend: embedded, path: \"{}\"}}", path.display());
    play(40, &section, MemoryConfig::Embedded(EmbeddedConfig::at(&path)), folder);
}

#[test]
fn four_hundred_symbols_over_a_cluster_of_three() {
    let Some(cluster) = Cluster::start(WITH_CP, 3) else { return };
    let members = cluster.addresses();
    let listed: Vec<String> = members.iter().map(|m| format!("\"{m}\"")).collect();
    let section = format!("{{backend: hazelcast, hazelcast: {{members: [{}]}}}}", listed.join(", "));
    let config = HazelcastConfig { members, ..HazelcastConfig::default() };
    play(400, &section, MemoryConfig::Hazelcast(config), tempfile::tempdir().unwrap());
}

#[test]
fn roles_say_what_they_need() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yml");
    std::fs::write(&config, CONFIG).unwrap();
    let run = |arguments: &[&str], config: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dolphin"));
        command.args(["live", "--venue", "127.0.0.1:9", "--config"]).arg(config).args(arguments);
        let out = command.output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, text) = run(&["--role", "ingest"], &config);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("meet in one memory"), "{text}");
    let (code, text) = run(&["--role", "ingest", "--share", "3/2"], &config);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("no share"), "{text}");
    let (code, text) = run(&["--symbols", "BTCUSDT"], &config);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--role ingest"), "{text}");
}
