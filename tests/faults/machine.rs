//! Faults of the process, its machine and its operator: ends, kills, pauses, a full disk, spoiled files, a stage that
//! panics.

use std::collections::BTreeSet;
use std::time::Duration;

use market::{ClientOrderId, Nanos};
use node::config::Config;
use node::journal::replay::{RunReport, Verdict, Within, replay};
use runtime::environment::Files;
use sim::faults::Fault as Strike;
use venue::faults::Fault;

use crate::harness::{
    KEY, Node, Setup, Venue, always, books_agree, open_orders, orders, positions, same_again,
};
use crate::memory::remembers;
use crate::orders::{in_order, is_ours, openings, setup};

/// The usual node with a dead-man switch of three seconds.
fn switched(seed: u64) -> Setup {
    setup(seed).config(|c| {
        (c.router.dead_man_countdown_ms, c.router.dead_man_refresh_ms) = (3_000, 1_000);
        c.router.risk.max_dead_man_age_ms = 2_000;
    })
}

/// Does a take-profit order of ours rest?
fn rests(venue: &Venue) -> bool {
    open_orders(venue).iter().any(|o| is_ours(o) && o.reduce_only)
}

/// Runs that have sent orders.
fn runs(venue: &Venue) -> BTreeSet<u64> {
    orders(venue).iter().filter_map(|o| ClientOrderId::parse(&o.client_id)).map(|id| id.run).collect()
}

/// SIGKILL; the next start is for the test.
fn kill(node: &Node, power: bool) {
    node.strike(&Strike::Kill { machine: 0, after_polls: 0, power, back_ms: u64::MAX });
}

#[test]
fn row_21_terminated_in_the_middle_of_an_order_at_many_moments() {
    const STOPS: u64 = 20;
    setup(90).start(async |node| {
        for stop in 0..STOPS {
            node.until("an order works", |now| open_orders(now.venue).iter().any(is_ours)).await;
            node.world.wait_ms(stop * 17).await;
            node.signal();
            let summary = node.ended().await.unwrap();
            always(&node, &summary);
            // A start needs a good part of what the venue allows in a minute: two, and what ends with them may ask what is left.
            node.world.wait_ms(20_000).await;
            node.start_again();
            node.ready(8).await;
            assert_eq!(runs(&node.venue).len() as u64, stop + 1, "each start has ids of its own");
        }
        node.trades_again().await;
        let again = same_again(&node);
        assert!(again.runs >= STOPS && again.requests > STOPS, "{again:?}");
        node.finish().await;
    });
}

#[test]
fn row_22_what_a_killed_node_left_resting_the_countdown_cancels() {
    switched(81).start(async |node| {
        node.until("a take-profit order rests", |now| rests(now.venue)).await;
        node.world.wait_ms(200).await; // the countdown is asked for over REST, right after the order
        kill(&node, false);
        let since = node.wall();
        node.until_venue("the venue's countdown cancelled", |venue| open_orders(venue).is_empty()).await;
        assert!(node.wall().since(since) <= Nanos::from_millis(3_100), "{:?}", node.wall().since(since));
    });
}

#[test]
fn row_22_a_killed_node_is_back_within_seconds_and_ends_the_trade_it_had() {
    let long = |seed| switched(seed).config(|c| c.alpha.max_hold_bars = 12);
    for (seed, power) in [(91, false), (92, true)] {
        long(seed).start(async |node| {
            let symbol = node.holds().await;
            let opened = openings(&node.venue);
            kill(&node, power);
            node.killed().await;
            node.start_again();
            let took = node.until("in order", |now| in_order(now) && now.seen.gate.order_path).await;
            assert!(took <= Duration::from_secs(3), "{took:?}");
            node.until("the trade is over", |now| {
                assert!(openings(now.venue) == opened || !now.seen.positions.contains_key(&symbol));
                now.seen.trades.len() == 1
            })
            .await;
            node.trades_again().await;
            node.finish().await;
        });
    }
}

#[test]
fn row_23_a_frozen_node_loses_its_orders_to_the_countdown_and_goes_on_in_order() {
    // A second, then longer than countdown, receive window and every silence limit, then two minutes.
    for (seed, for_ms) in [(80, 1_000), (81, 12_000), (82, 120_000)] {
        switched(seed).start(async |node| {
            node.until("a take-profit order rests", |now| rests(now.venue)).await;
            node.world.wait_ms(200).await;
            let end = node.wall().plus(for_ms * Nanos::MS);
            node.strike(&Strike::Pause { machine: 0, for_ms });
            if for_ms > 3_000 {
                node.until_venue("the venue's countdown cancelled", |venue| open_orders(venue).is_empty())
                    .await;
            }
            let opened = openings(&node.venue);
            node.world.wait_ms(end.since(node.wall()).millis()).await;
            assert_eq!(openings(&node.venue), opened, "nothing is sent by a process that stands still");
            let before = orders(&node.venue).len();
            node.until("it trades again", |now| orders(now.venue).len() >= before + 4).await;
            node.until("in order", in_order).await;
            node.finish().await;
        });
    }
}

#[test]
fn row_24_with_a_full_disk_nothing_is_opened_and_positions_are_closed() {
    setup(93).start(async |node| {
        node.holds().await;
        let closed = node.seen().trades.len();
        let whole = node.wall().plus(80_000 * Nanos::MS);
        node.strike(&Strike::DiskFull { machine: 0, for_ms: 20_000 });
        node.until("it was told", |now| now.alerts("JournalHole") == 1).await;
        node.until("the position was closed all the same", |now| now.seen.trades.len() > closed).await;
        node.until("flat", |now| now.seen.positions.is_empty() && now.seen.router.working == 0).await;
        // To the end of the minute for which the journal must be whole again.
        node.opens_nothing(Duration::from_nanos(whole.since(node.wall()).0)).await;
        node.trades_again().await;
        node.heal().await;
        node.signal();
        let summary = node.ended().await.unwrap();
        always(&node, &summary);
        assert_eq!(summary.alerts["JournalHole"], 1, "{}", summary.text());
    });
}

/// The last bytes of a journal are missing, or one in its middle is another: that is the affair of whoever reads it. The
/// next run asks the venue what is true.
#[test]
fn row_25_a_spoiled_journal_is_named_and_stops_no_start() {
    for torn in [true, false] {
        setup(94).start(async |node| {
            node.trades_again().await;
            kill(&node, true);
            node.killed().await;
            let files = node.world.slots.borrow()[0].host.files.clone();
            let dir = files.journals().into_iter().next().unwrap();
            let segments = files.list(&dir).unwrap();
            let (name, _) = segments.iter().rfind(|(name, _)| name.ends_with(".dj")).unwrap();
            let path = dir.join(name);
            let mut bytes = files.read_bytes(&path).unwrap().unwrap();
            if torn {
                bytes.truncate(bytes.len() - 7);
            } else {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
            }
            files.write_bytes(&path, &bytes).unwrap();
            node.start_again();
            node.ready(8).await;
            node.trades_again().await;
            node.heal().await;
            node.signal();
            let summary = node.ended().await.unwrap();
            always(&node, &summary);
            let reports = replay(&files, &dir, Within::ALL, &|_| None, &mut |_, _, _| true).unwrap();
            let [before, after] = &reports[..] else { panic!("{reports:#?}") };
            let equal =
                |r: &RunReport| (r.alpha == Verdict::Equal, r.router == Verdict::Equal) == (true, true);
            assert!(!before.ended && before.damage.is_empty() == torn, "{before:#?}");
            assert!(
                !torn || (equal(before) && before.counts.steps > 0),
                "up to its last record: {before:#?}"
            );
            assert!(
                after.ended && equal(after) && after.gaps.is_empty() && after.damage.is_empty(),
                "{after:#?}"
            );
        });
    }
}

/// Seen: exit 4 while holding, because the venue would not say what it lists; SIGTERM unheard for a minute.
#[test]
fn a_start_that_holds_a_position_never_gives_up_and_obeys_a_signal() {
    let long = |c: &mut Config| {
        remembers(c);
        c.alpha.max_hold_bars = 30;
    };
    setup(51).config(long).start(async |node| {
        node.holds().await;
        // The state is written.
        node.world.wait_ms(300).await;
        kill(&node, false);
        node.killed().await;
        let held = positions(&node.venue);
        let page = node.inject(Fault::Page { on: "GET /fapi/v1/exchangeInfo".to_owned(), status: 503 });
        node.start_again();
        node.until("it tries again", |now| now.venue.hits(page) >= 2).await;
        let since = node.wall();
        node.signal();
        let summary = node.ended().await.unwrap();
        assert!(node.wall().since(since) <= Nanos::from_millis(1_000), "{:?}", node.wall().since(since));
        assert_eq!(summary.ended_by, "a signal");
        let tried = node.venue.hits(page);
        node.start_again();
        node.until("it tries again", |now| now.venue.hits(page) > tried + 2).await;
        assert!(!held.is_empty() && positions(&node.venue) == held, "it waits with its position");
        node.venue.clear_faults();
        node.ready(8).await;
        node.until("flat", |now| now.seen.positions.is_empty() && positions(now.venue).is_empty()).await;
        node.finish().await;
        assert!(books_agree(&node) >= 1);
    });
}

#[test]
fn row_29_a_stage_that_panics_ends_the_run_with_nothing_left_at_the_venue() {
    for (seed, layout, worker) in [(96, 1, "hot"), (97, 4, "market"), (98, 4, "signal"), (99, 4, "orders")] {
        setup(seed).config(|c| c.runtime.layout = Some(layout)).start(async |node| {
            node.until("an order works", |now| open_orders(now.venue).iter().any(is_ours)).await;
            node.strike(&Strike::Panic { machine: 0, worker: worker.to_owned() });
            let failure = node.ended().await.unwrap_err();
            assert_eq!(failure.exit, 4, "{failure:?}");
            assert!(
                failure.message.contains("told to panic") && failure.message.contains(worker),
                "{failure:?}"
            );
            assert_eq!(open_orders(&node.venue), []);
        });
    }
}

#[test]
fn row_42_a_key_that_the_venue_does_not_know_ends_the_start() {
    let revoked = Fault::RevokeKey { api_key: KEY.0.to_owned() };
    setup(100).launch(&[revoked.into()], async |node| {
        let failure = node.ended().await.unwrap_err();
        assert!(failure.message.contains("key"), "{failure:?}");
        assert_eq!(node.world.orders(), 0);
    });
}

/// A start waits for no person where time will do, and leaves no position alone.
#[test]
fn row_13_a_start_with_a_clock_that_is_off_is_tried_again_and_closes_what_it_holds() {
    let off = Fault::ClockOffset { ms: 5_000 };
    setup(101).launch(&[off.clone().into()], async |node| {
        let failure = node.ended().await.unwrap_err();
        assert_eq!(failure.exit, 4, "a supervisor tries again: {failure:?}");
        assert!(failure.message.contains(" ms behind the venue's"), "{failure:?}");
        assert_eq!(node.world.orders(), 0);
        node.venue.clear_faults();
        node.start_again();
        node.ready(8).await;
        node.trades_again().await;
        node.finish().await;
    });
    setup(102).config(|c| c.alpha.max_hold_bars = 24).start(async |node| {
        node.holds().await;
        kill(&node, false);
        node.killed().await;
        let opened = openings(&node.venue);
        node.inject(off.clone());
        node.start_again();
        node.until("the position is closed", |now| {
            assert_eq!(openings(now.venue), opened, "nothing is opened");
            now.seen.trades.len() == 1 && now.positions_agree() && now.seen.positions.is_empty()
        })
        .await;
        node.opens_nothing(Duration::from_secs(2)).await;
        node.venue.clear_faults();
        node.trades_again().await;
        node.finish().await;
    });
}
