//! The node as a process of its own: frozen, killed. What rests at the venue is the venue's to cancel then.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use archive::day::{Bar, Day, write};
use market::Date;
use tempfile::TempDir;
use venue::{AccountConfig, Venue, VenueConfig, VenueHandle};

use super::harness::{KEY, PATIENCE, Turn, open_orders, orders};
use crate::harness::DEMO;
use crate::orders::is_ours;

/// A venue, and `dolphin live` on it as a child.
struct Process {
    venue: VenueHandle,
    child: Child,
    _files: TempDir,
    _turn: Turn,
}

impl Process {
    /// With a dead-man switch of three seconds.
    fn start(seed: u64) -> Self {
        let turn = Turn::take();
        let accounts = vec![AccountConfig::hmac(KEY.0, KEY.1, 100_000)];
        let config = VenueConfig { seed, symbols: 8, accounts, ..VenueConfig::default() };
        let venue = Venue::start(config).unwrap();
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        let switch = "router:\n  dead_man_countdown_ms: 3000\n  dead_man_refresh_ms: 1000\n  reconcile_interval_ms: 2000";
        let text = DEMO
            .replace("max_symbols: 48", "max_symbols: 8")
            .replace("router:", switch)
            .replace("  risk:\n", "  risk:\n    max_dead_man_age_ms: 2000\n");
        fs::write(path("node.yml"), format!("{text}\nruntime:\n  idle: park\n  unpinned: true\n")).unwrap();
        fs::write(path("keys.toml"), format!("[local]\nkey = \"{}\"\nsecret = \"{}\"\n", KEY.0, KEY.1))
            .unwrap();
        fs::set_permissions(path("keys.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        let preroll = venue.preroll(alpha::eigen::WINDOWS[3] + 150, Duration::from_millis(500));
        let mut day = Day::new(Date::ZERO, preroll.symbols);
        preroll.rows.iter().for_each(|row| day.push(Bar::EMPTY, row));
        write(&path("1970-01-01.parquet"), &day).unwrap();
        let arg = |name: &str| path(name).display().to_string();
        let (config, keys, history) = (arg("node.yml"), arg("keys.toml"), arg("1970-01-01.parquet"));
        let at = venue.addr().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dolphin"));
        command.args(["live", "--config", &config, "--keys", &keys, "--warm-start", &history]);
        command.args(["--venue", &at, "--flatten", "--json"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        Self { venue, child, _files: files, _turn: turn }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([format!("-{name}"), pid]).status().unwrap();
        assert!(sent.success(), "{name}");
    }

    fn until(&mut self, what: &str, holds: impl Fn(&VenueHandle) -> bool) {
        let start = Instant::now();
        while !holds(&self.venue) {
            assert!(start.elapsed() < PATIENCE, "this did not come about: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A reduce-only order of ours rests, and the countdown for it runs.
    fn rests(&mut self) {
        self.until("a take-profit order rests", |venue| {
            open_orders(venue).iter().any(|o| is_ours(o) && o.reduce_only)
        });
    }

    /// Ends it by SIGTERM; its summary.
    fn finish(mut self) -> serde_json::Value {
        self.signal("TERM");
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "it did not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.child.stdout.take().unwrap(), &mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        assert!(open_orders(&self.venue).is_empty(), "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn row_23_a_frozen_node_loses_its_orders_to_the_countdown_and_goes_on_in_order() {
    let mut node = Process::start(80);
    node.rests();
    std::thread::sleep(Duration::from_millis(200)); // the countdown is asked for over REST, right after the order
    node.signal("STOP");
    node.until("the venue's countdown cancelled", |venue| open_orders(venue).is_empty());
    let before = orders(&node.venue).len();
    node.signal("CONT");
    node.until("it trades again", |venue| orders(venue).len() >= before + 4);
    let summary = node.finish();
    assert_eq!(summary["router"]["unknown"], 0, "{summary}");
    assert_eq!(summary["open_positions"], serde_json::json!([]), "{summary}");
}

#[test]
fn row_22_what_a_killed_node_left_resting_the_countdown_cancels() {
    let mut node = Process::start(81);
    node.rests();
    std::thread::sleep(Duration::from_millis(200));
    node.child.kill().unwrap();
    node.until("the venue's countdown cancelled", |venue| open_orders(venue).is_empty());
}
