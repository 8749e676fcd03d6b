//! The feed core with scripted data and time.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
use binance::Symbols;
use binance::feed::{Feed, FeedConfig, FeedEvent, Route, StreamKind};
use market::{
    Bbo, DepthUpdate, Increment, Instrument, Level, MarketEvent, Nanos, Px, Qty, Side, SymbolId, Trade,
    TradeKind,
};
use serde_json::Value;

const S: u64 = Nanos::SECOND;
const URLS: (&str, &str) = ("wss://x/public", "wss://x/market/");

fn at(ms: u64) -> Nanos {
    Nanos(1_800_000_000 * S + ms * Nanos::MS)
}

fn symbols(count: u16) -> Symbols {
    let inc = Increment::decimals(2);
    let name = |i: u16| if i == 0 { "BTCUSDT".to_owned() } else { format!("S{i}USDT") };
    Symbols::new((0..count).map(|i| Instrument::plain(SymbolId(i), &name(i), inc, inc)).collect())
}

fn plan(count: u16, kinds: &[StreamKind]) -> Vec<Feed> {
    Feed::plan(&symbols(count), kinds, FeedConfig::default(), URLS).unwrap()
}

fn depth(symbol: u16) -> MarketEvent<'static> {
    MarketEvent::Depth(DepthUpdate {
        symbol: SymbolId(symbol),
        ts_event: at(0),
        ts_send: at(0),
        first_update_id: 1,
        last_update_id: 2,
        prev_last_update_id: 0,
        bids: &[],
        asks: &[],
    })
}

fn bbo(symbol: u16) -> MarketEvent<'static> {
    let level = Level { px: Px(1), qty: Qty(1) };
    let (bid, ask) = (level, level);
    MarketEvent::Bbo(Bbo {
        symbol: SymbolId(symbol),
        ts_event: at(0),
        ts_send: at(0),
        update_id: 1,
        bid,
        ask,
    })
}

fn trade(id: u64) -> MarketEvent<'static> {
    MarketEvent::Trade(Trade {
        symbol: SymbolId(0),
        kind: TradeKind::Aggregate,
        id,
        ts_event: at(0),
        ts_send: at(0),
        px: Px(1),
        qty: Qty(1),
        aggressor: Side::Buy,
    })
}

/// All messages that are due from `from` on, with their times in ms, the feed polled every 50 ms.
fn messages(feed: &mut Feed, from: u64, until: u64) -> Vec<(u64, Vec<String>)> {
    let mut out = Vec::new();
    for ms in (from..until).step_by(50) {
        while let Some(frame) = feed.next_frame(at(ms)) {
            let frame: Value = serde_json::from_slice(frame).unwrap();
            assert!(frame["id"].is_u64());
            let names = frame["params"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned());
            let sign = match frame["method"].as_str() {
                Some("SUBSCRIBE") => "",
                Some("UNSUBSCRIBE") => "-",
                other => panic!("{other:?}"),
            };
            out.push((ms, names.map(|n| format!("{sign}{n}")).collect()));
        }
    }
    out
}

fn polled(feed: &mut Feed, ms: u64) -> Vec<FeedEvent> {
    let mut events = Vec::new();
    feed.poll(at(ms), &mut |e| events.push(e));
    events
}

/// Data of the open connection.
fn give(feed: &mut Feed, event: &MarketEvent<'_>, ms: u64) -> (bool, Vec<FeedEvent>) {
    let generation = feed.generation().expect("the connection is open");
    give_on(feed, generation, event, ms)
}

fn give_on(feed: &mut Feed, generation: u32, event: &MarketEvent<'_>, ms: u64) -> (bool, Vec<FeedEvent>) {
    let mut events = Vec::new();
    let fresh = feed.on_event(event, generation, at(ms), &mut |e| events.push(e));
    (fresh, events)
}

#[test]
fn streams_go_to_their_routes_and_connections_are_not_overfilled() {
    let feeds = plan(250, &StreamKind::ALL);
    let shape: Vec<(Route, &str)> = feeds.iter().map(|f| (f.route(), f.url())).collect();
    assert_eq!(shape.iter().filter(|s| **s == (Route::Public, "wss://x/public/stream")).count(), 3);
    assert_eq!(shape.iter().filter(|s| **s == (Route::Market, "wss://x/market/stream")).count(), 3);
    let bad = FeedConfig { streams_per_connection: 1025, ..FeedConfig::default() };
    assert!(Feed::plan(&symbols(1), &StreamKind::ALL, bad, URLS).is_err());
}

#[test]
fn subscriptions_are_batched_below_the_venues_message_rate() {
    let mut feed = plan(100, &[StreamKind::Depth, StreamKind::BookTicker]).remove(0);
    assert!(feed.next_frame(at(0)).is_none(), "not before the connection is open");
    feed.on_open(1, at(0));
    let sent = messages(&mut feed, 0, 5_000);
    assert_eq!(sent.iter().map(|(ms, _)| *ms).collect::<Vec<_>>(), [0, 250, 500, 750]);
    let mut names: Vec<&String> = sent.iter().flat_map(|(_, n)| n).collect();
    assert_eq!(
        (names.len(), names[0].as_str(), names[1].as_str()),
        (200, "btcusdt@depth@100ms", "btcusdt@bookTicker")
    );
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 200);
}

#[test]
fn an_ack_proves_nothing_a_stream_must_deliver() {
    let mut feed = plan(2, &[StreamKind::Depth]).remove(0);
    feed.on_open(1, at(0));
    messages(&mut feed, 0, 100);
    let mut told = Vec::new();
    feed.on_control(br#"{"result":null,"id":1}"#, 1, &mut |e| told.push(e));
    assert!(told.is_empty());
    assert_eq!(give(&mut feed, &depth(0), 200).1, []);
    assert_eq!(give(&mut feed, &depth(0), 3_000).1, []);
    assert_eq!(polled(&mut feed, 4_999), []);
    // Symbol 1 never came: once more, and then it is dead, by name and URL.
    let silent = |since| FeedEvent::Silent { symbol: SymbolId(1), kind: StreamKind::Depth, since: at(since) };
    assert_eq!(polled(&mut feed, 5_000), [silent(0)]);
    assert_eq!(
        messages(&mut feed, 5_000, 5_400),
        [(5_000, vec!["-s1usdt@depth@100ms".to_owned()]), (5_250, vec!["s1usdt@depth@100ms".to_owned()])],
        "a second subscription of a stream is none: it is left first"
    );
    for ms in (5_500..10_250).step_by(250) {
        give(&mut feed, &depth(0), ms);
        assert_eq!(polled(&mut feed, ms), []);
    }
    let dead = FeedEvent::Dead { stream: "s1usdt@depth@100ms".into(), url: "wss://x/public/stream".into() };
    assert_eq!(polled(&mut feed, 10_250), [dead]);
    assert_eq!(polled(&mut feed, 11_000), [], "told once");
    assert!(!feed.is_complete());
    let resumed = FeedEvent::Resumed { symbol: SymbolId(1), kind: StreamKind::Depth };
    assert_eq!(give(&mut feed, &depth(1), 12_000).1, [resumed, FeedEvent::Complete]);
    assert!(feed.is_complete());
}

#[test]
fn one_mute_stream_is_found_while_others_run() {
    let mut feed = plan(2, &[StreamKind::Depth, StreamKind::BookTicker]).remove(0);
    feed.on_open(1, at(0));
    messages(&mut feed, 0, 100);
    for event in [depth(0), depth(1), bbo(0), bbo(1)] {
        give(&mut feed, &event, 100);
    }
    assert!(feed.is_complete());
    for ms in (200..10_100).step_by(100) {
        give(&mut feed, &depth(0), ms);
        assert_eq!(polled(&mut feed, ms), [], "{ms}");
    }
    assert_eq!(feed.age(SymbolId(1), StreamKind::Depth, at(10_000)), Some(Nanos(9_900 * Nanos::MS)));
    let silent = FeedEvent::Silent { symbol: SymbolId(1), kind: StreamKind::Depth, since: at(100) };
    assert_eq!(polled(&mut feed, 10_100), [silent]);
    assert_eq!(messages(&mut feed, 10_100, 10_200), [(10_100, vec!["-s1usdt@depth@100ms".to_owned()])]);
    // It has been left: what comes now was on its way, and the stream is asked for again all the same.
    assert_eq!(give(&mut feed, &depth(1), 10_300).1, []);
    assert_eq!(messages(&mut feed, 10_300, 10_400), [(10_350, vec!["s1usdt@depth@100ms".to_owned()])]);
    assert_eq!(
        give(&mut feed, &depth(1), 10_400).1,
        [FeedEvent::Resumed { symbol: SymbolId(1), kind: StreamKind::Depth }, FeedEvent::Complete]
    );
}

#[test]
fn holes_in_trade_ids_are_told_and_repeats_dropped() {
    let mut feed = plan(1, &[StreamKind::AggTrade]).remove(0);
    feed.on_open(1, at(0));
    assert!(give(&mut feed, &trade(100), 1).0);
    assert_eq!(give(&mut feed, &trade(101), 2), (true, vec![]));
    let gap = FeedEvent::TradeGap { symbol: SymbolId(0), from: 102, to: 104 };
    assert_eq!(give(&mut feed, &trade(105), 3), (true, vec![gap]));
    // The old connection of a rollover tells the same again.
    assert_eq!(give(&mut feed, &trade(105), 4), (false, vec![]));
    assert_eq!(give(&mut feed, &trade(101), 5), (false, vec![]));
    assert_eq!(feed.trades_missed(), 3);
    // A reconnect does not hide what was missed meanwhile.
    feed.on_close(1);
    feed.on_open(2, at(10));
    let gap = FeedEvent::TradeGap { symbol: SymbolId(0), from: 106, to: 199 };
    assert!(give(&mut feed, &trade(200), 11).1.contains(&gap));
}

#[test]
fn a_refused_subscription_is_told() {
    let mut feed = plan(1, &[StreamKind::Depth]).remove(0);
    feed.on_open(1, at(0));
    for frame in [
        r#"{"code":2,"msg":"Invalid request: unknown variant"}"#,
        r#"{"error":{"code":2,"msg":"Invalid request: unknown variant"},"id":3}"#,
    ] {
        let mut told = Vec::new();
        feed.on_control(frame.as_bytes(), 1, &mut |e| told.push(e));
        assert_eq!(told, [FeedEvent::Refused { code: 2, text: "Invalid request: unknown variant".into() }]);
    }
    for frame in [&b"{"[..], b"", b"\xff", b"[]", br#"{"msg":5}"#] {
        feed.on_control(frame, 1, &mut |e| panic!("{e:?}"));
    }
}

#[test]
fn after_a_reconnect_everything_is_asked_for_again() {
    let mut feed = plan(3, &[StreamKind::Depth]).remove(0);
    feed.on_open(1, at(0));
    assert_eq!(messages(&mut feed, 0, 100).len(), 1);
    for s in 0..3 {
        give(&mut feed, &depth(s), 100);
    }
    feed.on_close(1);
    assert!(!feed.is_complete() && feed.next_frame(at(200)).is_none());
    assert_eq!(polled(&mut feed, 60_000), [], "a closed connection is not a silent stream");
    feed.on_open(2, at(60_000));
    assert_eq!(messages(&mut feed, 60_000, 60_100)[0].1.len(), 3);
}

#[test]
fn a_connection_that_falls_silent_as_a_whole_is_told_once_and_only_after_it_has_delivered() {
    let mut feed = plan(2, &[StreamKind::Depth]).remove(0);
    feed.on_open(1, at(0));
    messages(&mut feed, 0, 100);
    assert_eq!(polled(&mut feed, 4_000), [], "what has not begun is the business of the first data");
    give(&mut feed, &depth(0), 4_000);
    give(&mut feed, &depth(1), 4_500);
    assert_eq!(polled(&mut feed, 7_499), []);
    assert_eq!(polled(&mut feed, 7_500), [FeedEvent::Stalled { since: at(4_500) }]);
    assert_eq!(polled(&mut feed, 9_000), []);
    // Its successor asks for everything; a stream that was never told as silent does not resume.
    feed.on_open(2, at(9_000));
    assert_eq!(messages(&mut feed, 9_000, 9_100)[0].1.len(), 2);
    assert_eq!(give(&mut feed, &depth(0), 9_200).1, []);
    assert_eq!(give(&mut feed, &depth(1), 9_200).1, [FeedEvent::Complete]);
    assert_eq!(polled(&mut feed, 12_200), [FeedEvent::Stalled { since: at(9_200) }]);
}

#[test]
fn a_stream_that_was_silent_resumes_also_on_another_connection() {
    let mut feed = plan(1, &[StreamKind::MarkPrice]).remove(0);
    feed.on_open(1, at(0));
    messages(&mut feed, 0, 100);
    assert_eq!(polled(&mut feed, 5_000).len(), 1, "silent");
    feed.on_close(1);
    feed.on_open(2, at(6_000));
    messages(&mut feed, 6_000, 6_100);
    assert_eq!(polled(&mut feed, 11_000), [], "told before, and not heard since");
    let mark = MarketEvent::Mark(market::MarkPrice {
        symbol: SymbolId(0),
        ts_send: at(0),
        mark: 1.0,
        index: 1.0,
        funding_rate: 0.0,
        next_funding: at(0),
    });
    let resumed = FeedEvent::Resumed { symbol: SymbolId(0), kind: StreamKind::MarkPrice };
    assert_eq!(give(&mut feed, &mark, 11_100).1, [resumed, FeedEvent::Complete]);
}

#[test]
fn a_notice_of_shutdown_is_understood_in_both_forms() {
    let mut feed = plan(1, &[StreamKind::Depth]).remove(0);
    feed.on_open(1, at(0));
    for frame in [
        r#"{"e":"serverShutdown","E":1790526538985}"#,
        r#"{"stream":"","data":{"E":1790526538985,"e":"serverShutdown"}}"#,
    ] {
        let mut told = Vec::new();
        feed.on_control(frame.as_bytes(), 1, &mut |e| told.push(e));
        assert_eq!(told, [FeedEvent::Shutdown], "{frame}");
    }
    feed.on_control(br#"{"stream":"x","data":{"e":"kline"}}"#, 1, &mut |e| panic!("{e:?}"));
}

#[test]
fn a_rollover_asks_for_every_stream_again_while_the_old_connection_delivers_everything() {
    // 60 streams are two messages; the old connection goes on delivering before, between and after them.
    let mut feed = plan(60, &[StreamKind::Depth]).remove(0);
    feed.on_open(1, at(0));
    messages(&mut feed, 0, 500);
    (0..60).for_each(|s| drop(give(&mut feed, &depth(s), 600)));
    assert!(feed.is_complete());
    feed.on_open(2, at(10_000));
    let mut asked = Vec::new();
    for ms in (10_000..12_000).step_by(50) {
        for s in 0..60 {
            assert_eq!(give_on(&mut feed, 1, &depth(s), ms), (true, vec![]), "old data is data");
        }
        asked.extend(messages(&mut feed, ms, ms + 50).into_iter().flat_map(|(_, names)| names));
    }
    assert_eq!(asked.len(), 60, "each stream once: {asked:?}");
    assert!(!feed.is_complete(), "nothing of the new connection has come");
    assert!(feed.asking_time() >= 250 * Nanos::MS, "the old one must be read for longer than this");

    // All but one come on the new connection: the old one's data does not hide the one that does not.
    (0..59).for_each(|s| drop(give(&mut feed, &depth(s), 12_000)));
    drop(give_on(&mut feed, 1, &depth(59), 15_200));
    (0..59).for_each(|s| drop(give(&mut feed, &depth(s), 15_200)));
    let silent = FeedEvent::Silent { symbol: SymbolId(59), kind: StreamKind::Depth, since: at(10_250) };
    assert_eq!(polled(&mut feed, 15_250), [silent]);
}

#[test]
fn the_end_of_an_old_connection_and_its_words_change_nothing() {
    let mut feed = plan(1, &[StreamKind::Depth]).remove(0);
    feed.on_open(1, at(0));
    feed.on_open(2, at(1_000));
    messages(&mut feed, 1_000, 1_100);
    give(&mut feed, &depth(0), 1_200);
    feed.on_close(1);
    assert!(feed.is_complete() && feed.generation() == Some(2));
    feed.on_control(br#"{"e":"serverShutdown","E":1790526538985}"#, 1, &mut |e| panic!("{e:?}"));
    // Data of the draining connection does not keep a stalled successor alive.
    drop(give_on(&mut feed, 1, &depth(0), 4_100));
    assert_eq!(polled(&mut feed, 4_200), [FeedEvent::Stalled { since: at(1_200) }]);
    feed.on_close(2);
    drop(give_on(&mut feed, 2, &depth(0), 4_300));
    assert!(!feed.is_complete() && feed.next_frame(at(5_000)).is_none(), "closed, whatever still comes");
}
