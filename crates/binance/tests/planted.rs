//! Each planted fault of this crate breaks what it says, and nothing is broken without it (feature `planted`).

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
use binance::Symbols;
use binance::clock::ServerClock;
use binance::feed::{Feed, FeedConfig, StreamKind};
use binance::limits::{Cost, RateLimits, Urgency};
use binance::user_stream::{UserAction, UserStream, UserStreamConfig};
use market::planted::{Bug, plant};
use market::{DepthUpdate, Increment, Instrument, MarketEvent, Nanos, SymbolId};

const T0: Nanos = Nanos(1_800_000_000 * Nanos::SECOND);

fn venue_time_follows_the_offset() -> bool {
    let mut clock = ServerClock::new();
    clock.sample(T0, T0.plus(10 * Nanos::MS), T0.millis() + 2_000);
    clock.server_time(T0).millis() > T0.millis() + 1_900
}

fn cancels_find_room() -> bool {
    let mut limits = RateLimits::new();
    let now = T0.plus(Nanos::SECOND);
    while limits.take(Cost { weight: 1, orders: 0 }, Urgency::Reconcile, now).is_ok() {}
    while limits.take(Cost { weight: 0, orders: 1 }, Urgency::Entry, now).is_ok() {}
    limits.take(Cost { weight: 1, orders: 1 }, Urgency::Cancel, now).is_ok()
}

fn a_dead_key_is_renewed() -> bool {
    let mut stream = UserStream::new("/private", UserStreamConfig::default());
    stream.poll(T0);
    stream.on_key(Ok("LK1".into()), T0);
    while stream.poll(T0).is_some() {}
    let later = T0.plus(1_800 * Nanos::SECOND);
    let kept = matches!(stream.poll(later), Some(UserAction::KeepKey));
    stream.on_kept(Ok(()), later);
    stream.on_expired(later);
    kept && matches!(stream.poll(later), Some(UserAction::CreateKey))
}

fn every_stream_is_asked_for_again() -> bool {
    let grid = Increment::decimals(2);
    let symbols = (0..60u16).map(|i| Instrument::plain(SymbolId(i), &format!("S{i}USDT"), grid, grid));
    let symbols = Symbols::new(symbols.collect());
    let mut feed =
        Feed::plan(&symbols, &[StreamKind::Depth], FeedConfig::default(), ("x", "x")).unwrap().remove(0);
    let mut asked = 0;
    feed.on_open(1, T0);
    for step in 0..20 {
        let now = T0.plus(step * 100 * Nanos::MS);
        if step == 10 {
            feed.on_open(2, now);
            asked = 0;
        }
        for symbol in 0..60 {
            let update = DepthUpdate {
                symbol: SymbolId(symbol),
                ts_event: now,
                ts_send: now,
                first_update_id: 1,
                last_update_id: 2,
                prev_last_update_id: 0,
                bids: &[],
                asks: &[],
            };
            feed.on_event(&MarketEvent::Depth(update), 1, now, &mut |_| {});
        }
        if let Some(frame) = feed.next_frame(now) {
            asked += String::from_utf8_lossy(frame).matches("@depth").count();
        }
    }
    asked == 60
}

#[test]
fn each_fault_breaks_what_it_says_and_nothing_else() {
    let checks: [(Bug, fn() -> bool); 4] = [
        (Bug::ClockOffsetIgnored, venue_time_follows_the_offset),
        (Bug::LimitReserveForCancelsGone, cancels_find_room),
        (Bug::ListenKeyNotRenewed, a_dead_key_is_renewed),
        (Bug::SubscriptionsLostOnRollover, every_stream_is_asked_for_again),
    ];
    for bug in [None].into_iter().chain(checks.iter().map(|(bug, _)| Some(*bug))) {
        plant(bug.as_slice());
        for (of, holds) in checks {
            assert_eq!(holds(), bug != Some(of), "{bug:?} and {of:?}");
        }
    }
    plant(&[]);
}
