//! One way to end, whatever asks for it; and readers of stdout and stderr that go away or stop reading.

use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use super::stage::{Running, Set, dolphin, finish, json, stderr, until};

fn signal(name: &str, id: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().unwrap().success());
}

/// A child inherits it: SigIgn, bit 0 is signal 1.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

fn open_orders(set: &Set) -> usize {
    set.venue.inspect(|exchange| {
        let account = exchange.account_ids().next().unwrap();
        exchange.orders_of(account).filter(|o| o.is_open()).count()
    })
}

/// Seen: SIGHUP (the terminal has gone) ended the process at once, 129, its orders at the venue; so did a second Ctrl-C.
#[test]
fn each_signal_ends_it_within_seconds_with_no_order_left() {
    let set = Set::plain();
    for (name, twice) in [("HUP", false), ("TERM", false), ("INT", true)] {
        if name == "HUP" && ignores_hangup() {
            println!("skipped: these tests run under nohup, and so does the node: it goes on");
            continue;
        }
        let before = set.venue.counters().orders;
        let running = Running::start(set.live(&["--json", "--flatten"]));
        until("the node trades", || set.venue.counters().orders > before + 2);
        let began = Instant::now();
        signal(name, running.id());
        if twice {
            std::thread::sleep(Duration::from_millis(50));
            signal(name, running.id());
        }
        let output = running.finish();
        assert_eq!(json(&output)["ended_by"], "a signal", "{name}");
        assert!(began.elapsed() < Duration::from_secs(20), "{name}: {:?}", began.elapsed());
        assert_eq!(open_orders(&set), 0, "{name}");
        let summary = json(&output);
        // A third start within a minute may leave no room to ask the venue at the end: then it says so.
        let unknown = summary["open_orders"] == "unknown" && summary["alerts"]["LeftUnknown"] == 1;
        assert!(summary["open_orders"] == 0 || unknown, "{name}: {summary}");
        let exit = if unknown { 4 } else { 0 };
        assert_eq!(output.status.code(), Some(exit), "{name}: {}", stderr(&output));
    }
}

/// Seen: `dolphin live | head` and `dolphin topology | head` panicked, 101.
#[test]
fn a_reader_that_goes_away_ends_nothing_and_panics_nowhere() {
    for args in [&["topology"][..], &["topology", "--json"], &["--help"], &["replay", "--help"]] {
        let mut child = dolphin(args).spawn().unwrap();
        drop(child.stdout.take());
        let output = finish(child);
        assert!(output.status.success(), "{args:?}: {:?} {}", output.status, stderr(&output));
        assert!(!stderr(&output).contains("panicked"), "{args:?}: {}", stderr(&output));
    }
    let set = Set::plain();
    let mut live = set.live(&["--seconds", "4"]);
    let mut child = live.env("DOLPHIN_LOG", "debug").spawn().unwrap();
    drop(child.stdout.take());
    // The reader of stderr takes a line and leaves.
    let mut first = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut first).unwrap();
    let output = finish(child);
    assert!(output.status.success(), "{:?}", output.status);
    assert!(set.venue.counters().orders > 0, "it traded all the same");
    assert_eq!(open_orders(&set), 0);
}

/// Seen: a pipe that nobody read stopped the worker that wrote a line into it, and with it everything.
#[test]
fn a_reader_that_stops_reading_stops_no_trading() {
    let set = Set::plain();
    let (blocked, mut full) = std::io::pipe().unwrap();
    // As much as a pipe holds: the first line would wait for ever.
    full.write_all(&[b'.'; 65_536]).unwrap();
    let mut live = set.live(&["--seconds", "6"]);
    live.env("DOLPHIN_LOG", "debug").stderr(full);
    let child = live.spawn().unwrap();
    drop(live);
    until("the node trades", || set.venue.counters().orders > 2);
    let began = Instant::now();
    let output = finish(child);
    assert!(output.status.success(), "{:?}", output.status);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert!(String::from_utf8_lossy(&output.stdout).contains("its time"));
    assert_eq!(open_orders(&set), 0);
    drop(blocked);
}

#[test]
fn a_dry_run_places_nothing() {
    let set = Set::plain();
    let output = finish(set.live(&["--dry-run", "--seconds", "5", "--json"]).spawn().unwrap());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("DRY RUN"), "{}", stderr(&output));
    let summary = json(&output);
    assert!(summary["book"]["samples"].as_u64().unwrap() > 10, "the pipeline ran: {summary}");
    assert_eq!((set.venue.counters().orders, &summary["router"]["orders"]), (0, &0.into()));
}
