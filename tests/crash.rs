//! kill -9 at random moments, and what the next start makes of it: capital, trades and position as before, agreeing
//! with the venue (SPEC §12, invariants 6 and 9). And the same node where memory cannot be opened, or is a real cluster with
//! flows in Python on the other side. What a simulation can show of starts and of memory stands in `tests/faults`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alpha::TradeRecord;
use archive::day::{Bar, Day};
use market::{Amount, Qty, Side};
use memory::{EmbeddedConfig, MemoryConfig, MemoryEnvironment, SystemMemory};
use serde_json::Value;
use testkit::hazelcast::{CLUSTER_NAME, CURRENT, Cluster, Python};
use venue::core::Fill;
use venue::{AccountConfig, Venue, VenueConfig, VenueHandle};

const DEMO: &str = include_str!("../configs/demo.yml");
const KEY: (&str, &str) = ("crash", "dummy-secret-of-a-test");
/// Few, because each start fetches their books, and the starts on a venue must fit into its weight limit of a minute.
const SYMBOLS: usize = 3;
const CAPITAL: f64 = 25_000.0;
/// How long a condition may take to come true. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(180);
/// Lives, each on a venue of its own, and kills in each.
const LIVES: [u64; 3] = [42, 46, 47];
const KILLS: u64 = 3;

/// A small generator: the test's instants are random, and the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A venue in this process, and a directory with what a node on it needs.
struct Stage {
    venue: VenueHandle,
    dir: tempfile::TempDir,
}

impl Stage {
    /// `memory`: the configuration's section, `DIR` in it stands for the directory.
    fn new(seed: u64, memory: &str) -> Self {
        let accounts = vec![AccountConfig::hmac(KEY.0, KEY.1, 100_000)];
        let config = VenueConfig { seed, symbols: SYMBOLS, accounts, ..VenueConfig::default() };
        let venue = Venue::start(config).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "{}\nruntime: {{idle: park, unpinned: true}}\njournal: {{path: {}/journal}}\nmemory:\n{}\n",
            DEMO.replace("max_symbols: 48", &format!("max_symbols: {SYMBOLS}")),
            dir.path().display(),
            memory.replace("DIR", &dir.path().display().to_string()),
        );
        fs::write(dir.path().join("node.yml"), config).unwrap();
        let preroll = venue.preroll(alpha::eigen::WINDOWS[3] + 150, Duration::from_millis(500));
        let mut day = Day::new(market::Date::constant(2026, 1, 1), preroll.symbols);
        preroll.rows.iter().for_each(|row| day.push(Bar::EMPTY, row));
        archive::day::write(&dir.path().join("2026-01-01.parquet"), &day).unwrap();
        Self { venue, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn live(&self, more: &[&str]) -> Node {
        let child = Command::new(env!("CARGO_BIN_EXE_dolphin"))
            .args(["live", "--config", &self.path("node.yml").display().to_string()])
            .args(["--venue", &self.venue.addr().to_string()])
            .args(["--warm-start", &self.path("2026-01-01.parquet").display().to_string()])
            .args(more)
            .env("DOLPHIN_API_KEY", KEY.0)
            .env("DOLPHIN_API_SECRET", KEY.1)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap())
            .spawn()
            .unwrap();
        Node { child, log: self.path("log") }
    }

    /// Runs a node for so long and ends it in good order; its summary.
    fn whole(&self, seconds: &str) -> Value {
        finished(self.live(&["--seconds", seconds, "--json"]))
    }

    /// The account's fills, oldest first.
    fn fills(&self) -> Vec<Fill> {
        self.venue.inspect(|x| x.account(self.venue.account(0)).fills.iter().cloned().collect())
    }

    fn symbol(&self, fill: &Fill) -> String {
        self.venue.inspect(|x| x.listing(fill.symbol).instrument.symbol.clone())
    }

    /// Positions that are not zero: symbol, lots, units.
    fn positions(&self) -> Vec<(String, Qty, f64)> {
        self.venue.inspect(|x| {
            let account = x.account(self.venue.account(0));
            let open = account.positions.iter().filter(|(_, p)| !p.qty.is_zero());
            open.map(|((symbol, _), p)| {
                let i = &x.listing(*symbol).instrument;
                (i.symbol.clone(), p.qty, i.qty_f64(p.qty))
            })
            .collect()
        })
    }

    fn open_orders(&self) -> usize {
        self.venue.inspect(|x| x.account(self.venue.account(0)).open.len())
    }
}

/// A node as a process. It is killed when this is dropped.
struct Node {
    child: Child,
    log: PathBuf,
}

impl Node {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before: {what}\n{}", self.log());
            assert!(start.elapsed() < PATIENCE, "this did not come about: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// kill -9.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands in memory.
struct Memory {
    state: Value,
    trades: Vec<TradeRecord>,
    maps: Vec<(String, String, String)>,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn open(path: &Path) -> SystemMemory {
    let memory =
        SystemMemory::open(MemoryConfig::Embedded(EmbeddedConfig::at(path)), &MemoryEnvironment::system())
            .unwrap();
    memory.wait_ready(Duration::from_secs(20)).await.unwrap();
    memory
}

fn remembered(path: &Path) -> Memory {
    runtime().block_on(async {
        let memory = open(path).await;
        let state = memory.get("DOLPHIN_STATE_BLUE", "latest_nautilus").await.unwrap().expect("a state");
        let entries = memory.entries("DOLPHIN_TRADES_BLUE").await.unwrap();
        let mut maps = Vec::new();
        for map in ["DOLPHIN_PNL_BLUE", "DOLPHIN_HEARTBEAT", "DOLPHIN_SAFETY", "DOLPHIN_STATE_BLUE"] {
            let found = memory.entries(map).await.unwrap();
            maps.extend(found.into_iter().map(|(key, value)| (map.to_owned(), key, value)));
        }
        let mut trades = Vec::new();
        for (n, (key, text)) in entries.iter().enumerate() {
            let mut value: Value = serde_json::from_str(text).unwrap();
            let number = value.as_object_mut().unwrap().remove("number").unwrap();
            // Written under a lease.
            assert!(value.as_object_mut().unwrap().remove("fence").is_some(), "{key}");
            assert_eq!(number, n + 1, "trades are numbered without a gap: {key}");
            trades.push(serde_json::from_value(value).unwrap());
        }
        Memory { state: serde_json::from_str(&state).unwrap(), trades, maps }
    })
}

/// From flat to flat at the venue.
#[derive(Debug)]
struct Trip {
    symbol: String,
    direction: i64,
    lots: i64,
    value: f64,
    exit_lots: i64,
    exit_value: f64,
    pnl: Amount,
}

/// The account's life by the venue's own books. Nothing overlaps: an entry was never doubled.
fn trips(stage: &Stage) -> Vec<Trip> {
    let mut trips: Vec<Trip> = Vec::new();
    for f in stage.fills() {
        let (symbol, sign) = (stage.symbol(&f), if f.side == Side::Buy { 1 } else { -1 });
        if trips.last().is_none_or(|t| t.lots == t.exit_lots) {
            let (lots, exit_lots, pnl) = (0, 0, Amount::ZERO);
            let (value, exit_value) = (0.0, 0.0);
            trips.push(Trip {
                symbol: symbol.clone(),
                direction: sign,
                lots,
                value,
                exit_lots,
                exit_value,
                pnl,
            });
        }
        let t = trips.last_mut().unwrap();
        assert_eq!(t.symbol, symbol, "one position at a time: {t:?} {f:?}");
        t.pnl += f.realised - f.commission;
        if sign == t.direction {
            assert_eq!(t.exit_lots, 0, "nothing is added once it is being closed: {t:?} {f:?}");
            (t.lots, t.value) = (t.lots + f.qty.0, t.value + f.quote.to_f64());
        } else {
            (t.exit_lots, t.exit_value) = (t.exit_lots + f.qty.0, t.exit_value + f.quote.to_f64());
        }
        assert!(t.exit_lots <= t.lots, "never beyond flat: {t:?} {f:?}");
    }
    trips
}

/// Memory after an orderly end, held against the venue.
fn agrees(stage: &Stage, path: &Path) -> (usize, bool) {
    let memory = remembered(path);
    let trips = trips(stage);
    let (closed, open): (Vec<&Trip>, Vec<&Trip>) = trips.iter().partition(|t| t.lots == t.exit_lots);
    let log = || fs::read_to_string(stage.path("log")).unwrap_or_default();
    assert_eq!(memory.trades.len(), closed.len(), "trades\n{:#?}\n{}", memory.trades, log());
    for (t, v) in memory.trades.iter().zip(&closed) {
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
        let same = t.symbol == v.symbol
            && i64::from(t.direction) == v.direction
            && close(t.notional, v.value)
            && close(t.exit_price / t.entry_price, v.exit_value / v.value)
            && close(t.pnl, v.pnl.to_f64());
        assert!(same, "{t:#?}\n{v:#?}\n{}", log());
    }
    let expected = CAPITAL + closed.iter().map(|t| t.pnl.to_f64()).sum::<f64>();
    let capital = memory.state["capital"].as_f64().unwrap();
    assert!((capital - expected).abs() < 1e-4, "capital {capital}, by the venue {expected}\n{}", log());
    let held = &memory.state["position"];
    let at_venue = stage.positions();
    match (open.as_slice(), at_venue.as_slice()) {
        ([], []) => assert!(held.is_null(), "{held}\n{}", log()),
        ([t], [(symbol, lots, units)]) => {
            assert_eq!(held["symbol"], symbol.as_str(), "{}", log());
            assert_eq!(held["direction"], t.direction, "{}", log());
            assert_eq!(lots.0, t.direction * (t.lots - t.exit_lots));
            let entry = held["entry_price"].as_f64().unwrap();
            let whole = units.abs() * t.lots as f64 / (t.lots - t.exit_lots) as f64;
            assert!((entry * whole / t.value - 1.0).abs() < 1e-6, "{held} {t:?}\n{}", log());
        }
        other => panic!("{other:?} {held}\n{}", log()),
    }
    assert_eq!(stage.open_orders(), 0, "{}", log());
    (closed.len(), !open.is_empty())
}

#[test]
fn killed_at_random_moments_it_goes_on_as_it_was() {
    let (mut with_position, mut trades) = (0, 0);
    for seed in LIVES {
        let (positions, closed) = life(seed);
        (with_position, trades) = (with_position + positions, trades + closed);
    }
    assert!(with_position > 0 && trades > 0, "the kills met {with_position} positions and {trades} trades");
}

/// Kills that met an open position, and trades, of one life.
fn life(seed: u64) -> (u32, usize) {
    let stage = Stage::new(seed, "  path: DIR/memory\n  state_every_ms: 200\n  history_every_ms: 500");
    let path = stage.path("memory");
    let mut dice = Dice(0xd01f ^ seed);
    let (mut with_position, mut trades) = (0, 0);
    for kill in 0..KILLS {
        let mut node = stage.live(&[]);
        let (before, wanted) = (stage.fills().len(), dice.below(4) as usize);
        node.until("orders, fills", || {
            let fills = stage.fills().len() - before;
            fills >= wanted.max(1) || wanted == 0 && stage.open_orders() > 0
        });
        // Anywhere between an order and its fill, a fill and its report, a report and the write of the state.
        std::thread::sleep(Duration::from_micros(dice.below(150_000)));
        node.kill();
        with_position += u32::from(!stage.positions().is_empty());
        let summary = stage.whole("0.5");
        let (closed, _) = agrees(&stage, &path);
        assert!(closed >= trades, "life {seed}, kill {kill}: no trade is forgotten");
        trades = closed;
        assert_eq!(summary["memory"]["lost"], 0);
        // The file beside memory is the newer one where the kill fell between the two writes.
        let restored = summary["memory"]["restored"].as_str().unwrap();
        assert!(["latest_nautilus", "the local state"].iter().any(|s| restored.starts_with(s)), "{summary}");
    }
    let memory = remembered(&path);
    let has = |map: &str, key: &str| memory.maps.iter().any(|(m, k, _)| m == map && k == key);
    let today = memory.state["date"].as_str().unwrap();
    assert!(has("DOLPHIN_PNL_BLUE", today) && has("DOLPHIN_SAFETY", "live_blue"));
    assert!(has("DOLPHIN_STATE_BLUE", "latest") && !has("DOLPHIN_SAFETY", "latest"));
    let (_, _, beat) = memory.maps.iter().find(|(m, ..)| m == "DOLPHIN_HEARTBEAT").unwrap();
    assert!(beat.contains("flow_end"), "{beat}");
    (with_position, trades)
}

/// Real kills against a venue under faults: `tests/restarts/run N` runs it and prints what it measured.
#[test]
#[ignore = "minutes: tests/restarts/run N"]
fn many_restarts_under_faults() {
    use venue::faults::{Fault, Rule};
    let wanted: usize = std::env::var("RESTARTS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let (mut all, mut holding, mut trades) = (Vec::new(), Vec::new(), 0);
    let mut dice = Dice(0x7e57);
    for life in 0..wanted.div_ceil(KILLS as usize) {
        let seed = 100 + life as u64;
        let stage = Stage::new(seed, "  path: DIR/memory\n  state_every_ms: 200\n  history_every_ms: 500");
        let path = stage.path("memory");
        let mut node = stage.live(&["--json"]);
        for _ in 0..KILLS.min((wanted - all.len()) as u64) {
            let on = || "order.place".to_owned();
            for fault in [
                Fault::RequestDelay { on: on(), ms: 200 + dice.below(600) },
                Fault::ReplyLost { on: on(), executed: true },
                Fault::FillFirst { symbol: "*".into(), quantity: None },
            ] {
                stage.venue.inject(Rule::times(fault, 1 + dice.below(3) as u32)).unwrap();
            }
            let (before, more) = (stage.fills().len(), 1 + dice.below(4) as usize);
            node.until("fills", || stage.fills().len() >= before + more);
            std::thread::sleep(Duration::from_micros(dice.below(150_000)));
            node.kill();
            let held = !stage.positions().is_empty();
            let told = fs::read_to_string(stage.path("log")).unwrap().matches(ARMED).count();
            let began = Instant::now();
            node = stage.live(&["--json"]);
            node.until("it is armed", || {
                fs::read_to_string(stage.path("log")).unwrap().matches(ARMED).count() > told
            });
            let took = began.elapsed();
            all.push(took);
            holding.extend(held.then_some(took));
        }
        if left_unknown(&terminated(node)) {
            // The limit's minute passes; then a last run compares, cancels and asks.
            std::thread::sleep(Duration::from_secs(60));
            assert!(!left_unknown(&stage.whole("0.5")));
        }
        trades += agrees(&stage, &path).0;
    }
    let percentile = |times: &mut Vec<Duration>, p: usize| {
        times.sort_unstable();
        times.get((times.len() * p / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    println!(
        "{} restarts, {trades} trades equal to the venue's; restart to armed: p50 {:.0?}, p99 {:.0?}; {} with a position: p50 \
         {:.0?}, p99 {:.0?}",
        all.len(),
        percentile(&mut all, 50),
        percentile(&mut all, 99),
        holding.len(),
        percentile(&mut holding, 50),
        percentile(&mut holding, 99),
    );
}

/// What a node says when order path and user stream are there and the venue was compared.
const ARMED: &str = "the account was compared";

/// Seen: −296 against a day's limit of 15, and trading again half a second after a restart; so with every latch.
#[test]
fn a_restart_forgets_no_limit() {
    let stage = Stage::new(48, "  path: DIR/memory\n  state_every_ms: 200");
    let mut node = stage.live(&[]);
    node.until("a round trip", || trips(&stage).iter().any(|t| t.lots == t.exit_lots));
    let symbol = stage.venue.inspect(|x| x.listings().last().unwrap().instrument.symbol.clone());
    // A person trades by hand on the account.
    let (side, quantity, price) = ("BUY".to_owned(), "1".to_owned(), None);
    let fault =
        venue::faults::Fault::ExternalOrder { account: 0, symbol, side, quantity, price, client_id: None };
    stage.venue.inject(venue::faults::Rule::times(fault, 1)).unwrap();
    node.until("it has tripped", || {
        fs::read_to_string(stage.path("log")).unwrap().contains("latched, lifted by")
    });
    std::thread::sleep(Duration::from_millis(300));
    node.kill();
    let before = remembered(&stage.path("memory"));
    let day = &before.state["snapshot"]["day"];
    assert!(day["day"]["messages"].as_u64().unwrap() > 0 && day["latches"][0]["check"] == "foreign", "{day}");
    let openings =
        || stage.venue.inspect(|x| x.orders_of(stage.venue.account(0)).filter(|o| !o.reduce_only).count());
    let mut node = stage.live(&[]);
    node.until("it says what is latched", || {
        fs::read_to_string(stage.path("log")).unwrap().contains("still latched since the run before")
    });
    let opened = openings();
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(openings(), opened, "{}", node.log());
    // He takes back what he did; the node's own position ends by itself.
    let symbol = stage.venue.inspect(|x| x.listings().last().unwrap().instrument.symbol.clone());
    let (side, quantity, price) = ("SELL".to_owned(), "1".to_owned(), None);
    let fault =
        venue::faults::Fault::ExternalOrder { account: 0, symbol, side, quantity, price, client_id: None };
    stage.venue.inject(venue::faults::Rule::times(fault, 1)).unwrap();
    node.until("flat", || stage.positions().is_empty());
    std::thread::sleep(Duration::from_millis(500));
    let rearm = |reason: &str| {
        Command::new(env!("CARGO_BIN_EXE_dolphin"))
            .args(["rearm", "--config", &stage.path("node.yml").display().to_string(), "--reason", reason])
            .args(["--timeout", "20"])
            .output()
            .unwrap()
    };
    assert_eq!(rearm("short").status.code(), Some(2));
    let output = rearm("that order was mine, by hand");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("has lifted"), "{said} {}", node.log());
    node.until("it opens again", || openings() > opened);
    node.kill();
    let after = remembered(&stage.path("memory"));
    assert_eq!(after.state["snapshot"]["day"]["rearmed"]["reason"], "that order was mine, by hand");
    assert!(after.state["snapshot"]["day"]["latches"].as_array().unwrap().is_empty());
}

/// SIGTERM, and the summary.
fn ended(node: Node) -> Value {
    let summary = terminated(node);
    assert!(!left_unknown(&summary), "{summary}");
    summary
}

fn terminated(node: Node) -> Value {
    Command::new("kill").args(["-TERM", &node.child.id().to_string()]).status().unwrap();
    finished(node)
}

/// The summary of a node that ends in good order.
fn finished(mut node: Node) -> Value {
    let mut out = String::new();
    node.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let status = node.child.wait().unwrap();
    let summary = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{}", node.log()));
    assert_eq!(status.code(), Some(if left_unknown(&summary) { 4 } else { 0 }), "{}", node.log());
    summary
}

/// Some starts within a minute use up the venue's limit: then nobody can ask it what is left, and that is told.
fn left_unknown(summary: &Value) -> bool {
    summary["alerts"]["LeftUnknown"].is_number()
}

fn wall_ms() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
}

/// A path that cannot be had is an outage like any other: the node runs, opens nothing, and says so.
#[test]
fn a_memory_that_cannot_be_opened_stops_nothing() {
    let summary = Stage::new(44, "  path: DIR/log/memory\n  start_timeout_ms: 300").whole("8");
    let memory = &summary["memory"];
    assert_eq!((&memory["connected"], &memory["restored"]), (&false.into(), &"none".into()), "{memory}");
    assert_eq!((&summary["round_trips"], &memory["lost"]), (&0.into(), &0.into()), "{summary}");
    assert_eq!(summary["alerts"]["MemoryUnread"], 1, "{summary}");
    assert!(summary["book"]["live_books"].as_u64().unwrap() > 0, "{summary}");
}

/// `[type, text]` of the Python client, which must be a `str` of JSON.
fn flow_reads(python: &mut Python, map: &str, key: &str) -> Value {
    let found = python.get(map, key);
    assert_eq!(found[0], "str", "{map}[{key}]: {found}");
    serde_json::from_str(found[1].as_str().unwrap()).unwrap()
}

/// The flows' side is Hazelcast's own Python client, as it is today (SPEC §9): it pushes a boost, scans and a posture,
/// the engine takes each of them, and what the engine writes is read back.
#[test]
fn flows_in_python_steer_the_engine_and_read_what_it_writes() {
    let Some(cluster) = Cluster::start(CURRENT, 1) else { return };
    let Some(mut python) = Python::start(&cluster) else { return };
    let stage = Stage::new(
        42,
        &format!(
            "  backend: hazelcast\n  hazelcast: {{members: [\"{}\"], cluster_name: {CLUSTER_NAME}}}\n  \
             state_every_ms: 200\n  features_every_ms: 200\nsignal: memory",
            cluster.addresses()[0]
        ),
    );
    let mut node = stage.live(&["--seconds", "300", "--json"]);
    python.put("DOLPHIN_FEATURES", "acb_boost", r#"{"boost": 1.25, "beta": 0.5}"#);
    node.until("the boost is in the engine's state", || {
        let state = python.get("DOLPHIN_STATE_BLUE", "latest_nautilus");
        state[1].as_str().is_some_and(|text| text.contains(":1.25"))
    });
    python.put("DOLPHIN_FEATURES", "acb_boost", "not a boost");
    let mut number = 0;
    node.until("a scan of the flow's leads to a fill", || {
        number += 1;
        let scan = serde_json::json!({
            "scan_number": number, "timestamp": wall_ms(), "vel_div": -0.2, "asset_prices": {},
        });
        python.put("DOLPHIN_FEATURES", "latest_eigen_scan", &scan.to_string());
        std::thread::sleep(Duration::from_millis(50));
        !stage.positions().is_empty()
    });
    python.put("DOLPHIN_SAFETY", "latest", r#"{"posture": "HIBERNATE", "Rm": 0.1}"#);
    node.until("HIBERNATE closes the position", || stage.positions().is_empty() && stage.open_orders() == 0);
    node.until("the trade is in memory", || {
        python.run(serde_json::json!({"op": "keys", "map": "DOLPHIN_TRADES_BLUE"})) != serde_json::json!([])
    });
    let summary = ended(node);
    let memory = &summary["memory"];
    for taken in ["acb_taken", "acb_rejected", "safety_taken", "scans_taken"] {
        assert!(memory[taken].as_u64().unwrap() > 0, "{taken}: {memory}");
    }
    assert_eq!((&memory["lost"], &memory["pending"]), (&0.into(), &0.into()), "{memory}");

    let keys = python.run(serde_json::json!({"op": "keys", "map": "DOLPHIN_TRADES_BLUE"}));
    let trade = flow_reads(&mut python, "DOLPHIN_TRADES_BLUE", keys[0].as_str().unwrap());
    assert_eq!((&trade["boost"], &trade["vel_div"]), (&1.25.into(), &(-0.2).into()), "{trade}");
    let state = flow_reads(&mut python, "DOLPHIN_STATE_BLUE", "latest_nautilus");
    let latest = flow_reads(&mut python, "DOLPHIN_STATE_BLUE", "latest");
    assert_eq!(state["capital"], latest["capital"]);
    flow_reads(&mut python, "DOLPHIN_PNL_BLUE", state["date"].as_str().unwrap());
    let beat = flow_reads(&mut python, "DOLPHIN_HEARTBEAT", "nautilus_flow_heartbeat");
    assert_eq!(beat["phase"], "flow_end", "{beat}");
    for symbol in
        stage.venue.inspect(|x| x.listings().iter().map(|l| l.instrument.symbol.clone()).collect::<Vec<_>>())
    {
        let shard = symbol.chars().map(|c| c as u32).sum::<u32>() % 10;
        let features = flow_reads(&mut python, &format!("DOLPHIN_FEATURES_SHARD_{shard:02}"), &symbol);
        assert_eq!(features["symbol"], symbol.as_str());
        assert_eq!(features["bid_notional"].as_array().map(Vec::len), Some(5));
    }
}

/// A member dies, trading goes on; it comes back empty, and the last value of each key is there again (SPEC §9).
#[test]
fn a_member_that_dies_stops_no_trading_and_loses_no_last_value() {
    let Some(mut cluster) = Cluster::start(CURRENT, 1) else { return };
    let Some(mut python) = Python::start(&cluster) else { return };
    let member = cluster.addresses()[0].clone();
    let stage = Stage::new(
        42,
        &format!(
            "  backend: hazelcast\n  hazelcast: {{members: [\"{member}\"], cluster_name: {CLUSTER_NAME}}}"
        ),
    );
    let mut node = stage.live(&["--seconds", "300", "--json"]);
    node.until("a state", || python.get("DOLPHIN_STATE_BLUE", "latest_nautilus")[0] == "str");
    cluster.members[0].kill();
    drop(python);
    let before = trips(&stage).len();
    node.until("a whole round trip without memory", || {
        trips(&stage).iter().skip(before).any(|t| t.lots == t.exit_lots)
    });
    cluster.members[0].restart();
    let Some(mut python) = Python::start(&cluster) else { return };
    node.until("the state is delivered", || python.get("DOLPHIN_STATE_BLUE", "latest_nautilus")[0] == "str");
    let log = node.log();
    let summary = ended(node);
    assert_eq!(summary["memory"]["lost"], 0, "{summary}");
    // A write under way when the member died may outlast a short outage; then nothing is told.
    assert!(log.matches("system memory takes no writes").count() <= 1, "{log}");
    let state = flow_reads(&mut python, "DOLPHIN_STATE_BLUE", "latest_nautilus");
    let closed: f64 = summary["trades"].as_array().unwrap().iter().map(|t| t["pnl"].as_f64().unwrap()).sum();
    assert!((state["capital"].as_f64().unwrap() - CAPITAL - closed).abs() < 1e-6, "{state}\n{summary}");
    let keys = python.run(serde_json::json!({"op": "keys", "map": "DOLPHIN_TRADES_BLUE"}));
    assert!(!keys.as_array().unwrap().is_empty(), "trades closed during the outage are in memory");
}
