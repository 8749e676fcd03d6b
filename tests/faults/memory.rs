//! Faults of system memory: it is away, never there, or full of nonsense.

use std::time::Duration;

use node::config::{Backend, Config};
use sim::faults::Fault as Strike;

use crate::harness::books_agree;
use crate::orders::{openings, setup};

/// A node that keeps its state in memory and, beside it, in a file.
pub fn remembers(c: &mut Config) {
    c.memory.backend = Backend::Hazelcast;
    // The local state lies beside it.
    c.memory.path = Some("/var/lib/dolphin/memory".into());
    c.memory.state_every_ms = 100;
    c.memory.start_timeout_ms = 300;
    // A comparison every two seconds would use up the venue's limit before the minute is over.
    c.router.reconcile_interval_ms = 30_000;
}

fn away(for_ms: u64) -> Strike {
    Strike::MemoryAway { machine: 0, for_ms }
}

#[test]
fn row_26_memory_that_is_away_stops_no_trading_and_misses_nothing() {
    setup(95).config(remembers).start(async |node| {
        node.trades_again().await;
        node.strike(&Strike::MemoryAway { machine: 0, for_ms: 30_000 });
        let before = node.seen().trades.len();
        node.world.wait_ms(29_000).await;
        let trades = node.seen().trades.len();
        assert!(trades >= before + 4, "{before} and {trades}");
        assert_eq!(node.alerts("StateUnkept"), 0, "the local file has it");
        node.until("memory has every trade", |now| {
            let kept = node.world.cluster.entries("DOLPHIN_TRADES_BLUE");
            kept.len() >= trades && kept.len() >= now.seen.trades.len()
        })
        .await;
        let summary = node.finish().await;
        assert_eq!(summary.memory.lost, 0, "{}", summary.text());
    });
}

/// Neither memory nor a local state was read: the node runs, opens nothing, and says so. With a local state it goes on as
/// it was.
#[test]
fn a_memory_that_nobody_answers_for_stops_nothing() {
    const FOR_EVER_MS: u64 = 3_600_000;
    setup(43).config(remembers).launch(&[], async |node| {
        node.strike(&away(FOR_EVER_MS));
        node.ready(8).await;
        assert_eq!(node.alerts("MemoryUnread"), 1);
        node.opens_nothing(Duration::from_secs(30)).await;
        let summary = node.finish().await;
        let memory = &summary.memory;
        assert_eq!((memory.connected, memory.restored.as_str()), (false, "none"), "{memory:?}");
        assert_eq!((summary.round_trips, memory.lost), (0, 0), "{}", summary.text());
    });
    setup(46).config(remembers).start(async |node| {
        node.trades_again().await;
        let before = node.finish().await;
        let opened = openings(&node.venue);
        node.strike(&away(FOR_EVER_MS));
        node.start_again();
        node.ready(8).await;
        node.trades_again().await;
        assert!(openings(&node.venue) > opened, "it trades on");
        let after = node.finish().await.memory;
        let restored = format!("the local state: {} trades", before.round_trips);
        assert!(
            !after.connected && before.round_trips > 0 && after.restored.starts_with(&restored),
            "{after:?}"
        );
    });
}

#[test]
fn nonsense_under_every_key_stops_nothing() {
    let big = "x".repeat(1 << 20);
    setup(45).config(remembers).launch(&[], async |node| {
        for (map, key) in [
            ("DOLPHIN_SAFETY", "latest"),
            ("DOLPHIN_FEATURES", "acb_boost"),
            ("DOLPHIN_FEATURES", "latest_eigen_scan"),
            ("DOLPHIN_STATE_BLUE", "latest"),
            ("DOLPHIN_STATE_BLUE", "latest_nautilus"),
            ("DOLPHIN_STATE_BLUE", "history.000"),
            ("DOLPHIN_STATE_BLUE", "history.001"),
            ("DOLPHIN_HEARTBEAT", "nautilus_flow_heartbeat"),
            ("DOLPHIN_FEATURES_SHARD_07", "BTCUSDT"),
        ] {
            let value = if key == "history.001" { &big } else { "{\"capital\": [NaN, \u{1F42C}" };
            node.world.cluster.put(map, key, value.to_owned());
        }
        node.ready(8).await;
        node.trades_again().await;
        let memory = node.finish().await.memory;
        assert_eq!((memory.connected, memory.restored.as_str()), (true, "none"), "{memory:?}");
        assert_eq!((memory.acb_rejected, memory.safety_rejected), (1, 1), "{memory:?}");
        assert!(books_agree(&node) >= 2);
    });
}
