//! Recordings play as they were recorded.

use std::io::Write;

use market::{Side, SymbolId};

use super::*;
use crate::core::{Commission, Exchange};
use crate::sim;

fn file(name: &str, text: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("venue-recorded-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}

const SMALL: &str = r#"1000000000 {"stream":"abcusdt@depth@0ms","data":{"e":"depthUpdate","E":1000,"T":1000,"s":"ABCUSDT","U":8,"u":9,"pu":7,"b":[["9.0","1"]],"a":[]}}
2000000000 {"lastUpdateId":10,"E":2000,"T":2000,"bids":[["10.0","5"],["9.0","7"]],"asks":[["10.2","5"]]}
2500000000 {"stream":"abcusdt@depth@0ms","data":{"e":"depthUpdate","E":2500,"T":2500,"s":"ABCUSDT","U":9,"u":12,"pu":9,"b":[["10.0","4"]],"a":[]}}
3000000000 {"stream":"abcusdt@trade","data":{"e":"trade","E":3000,"T":3000,"s":"ABCUSDT","t":1,"p":"10.0","q":"2","X":"MARKET","m":true}}
3500000000 {"stream":"abcusdt@depth@0ms","data":{"e":"depthUpdate","E":3500,"T":3500,"s":"ABCUSDT","U":13,"u":15,"pu":12,"b":[["10.0","0"],["9.9","3"]],"a":[["10.2","6"]]}}
"#;

fn open(path: &std::path::Path, looping: bool) -> (Player, Exchange, SymbolId) {
    let mut listings = sim::listings(1);
    let config = VenueConfig { recordings: vec![path.to_owned()], looping, ..VenueConfig::default() };
    let player = Player::open(&config, &mut listings).unwrap().unwrap();
    (player, Exchange::new(listings, vec![], Commission::default()), SymbolId(1))
}

#[test]
fn a_recording_opens_at_its_snapshot_and_plays_in_time() {
    let (mut player, mut exchange, abc) = open(&file("small.txt", SMALL), true);
    assert_eq!(exchange.listing(abc).instrument.symbol, "ABCUSDT");
    let mut changes = Vec::new();
    let mut play = |player: &mut Player, exchange: &mut Exchange, ms: u64| {
        let mut now = Vec::new();
        player.play(Nanos::from_millis(ms), exchange, Nanos(0), |_, _, change, _| now.push(change));
        let ids: Vec<(u64, u64)> = now
            .into_iter()
            .map(|c| match c {
                Change::Book(a, b) => (a, b),
                Change::Touch(..) => unreachable!("no bookTicker in it"),
            })
            .collect();
        changes.extend(ids.clone());
        ids
    };
    assert_eq!(play(&mut player, &mut exchange, 0), [(10, 10)]);
    assert_eq!(
        exchange.ladder(abc).best(Side::Buy).unwrap(),
        Level { px: market::Px(100), qty: market::Qty(5) }
    );
    assert_eq!(play(&mut player, &mut exchange, 499), []);
    assert_eq!(play(&mut player, &mut exchange, 500), [(9, 12)]);
    // An order of ours takes an id, and the recorded ids move up behind it.
    assert_eq!(player.bump(abc), 13);
    assert_eq!(play(&mut player, &mut exchange, 1600), [(14, 16)]);
    assert_eq!(exchange.ladder(abc).best(Side::Buy).unwrap().px, market::Px(99));
    // The next round begins 200 ms after the end, with ids that go on.
    let again = play(&mut player, &mut exchange, 1700);
    assert_eq!(again, [(17, 17)]);
    assert_eq!(exchange.ladder(abc).best(Side::Buy).unwrap().px, market::Px(100));
    assert_eq!(play(&mut player, &mut exchange, 2200), [(16, 19)]);
}

#[test]
fn broken_recordings_are_refused_with_the_line() {
    let bad = SMALL.replace(r#""p":"10.0""#, r#""p":"ten""#);
    for (name, text, says) in [
        ("bad.txt", bad.as_str(), "line 4"),
        ("json.txt", "1000000000 {\"e\":\n", "json.txt"),
        ("empty.txt", "", "empty.txt"),
    ] {
        let config = VenueConfig { recordings: vec![file(name, text)], ..VenueConfig::default() };
        let error = Player::open(&config, &mut sim::listings(1)).err().expect(name).to_string();
        assert!(error.contains(says), "{name}: {error}");
    }
    let config = VenueConfig { recordings: vec!["/no/such/file.gz".into()], ..VenueConfig::default() };
    assert!(matches!(Player::open(&config, &mut sim::listings(1)), Err(VenueError::Recording { .. })));
    let config = VenueConfig { speed: 0.0, ..VenueConfig::default() };
    assert!(matches!(Player::open(&config, &mut sim::listings(1)), Err(VenueError::Config(_))));
}

#[test]
fn the_recorded_book_at_the_end_is_the_recorded_book() {
    let Some(path) = testkit::shared_data("recordings/usdm_btcusdt_20240808.gz") else { return };
    let mut listings = sim::listings(2);
    let config = VenueConfig { recordings: vec![path], looping: false, ..VenueConfig::default() };
    let mut player = Player::open(&config, &mut listings).unwrap().unwrap();
    let mut exchange = Exchange::new(listings, vec![], Commission::default());
    let (mut books, mut touches, mut crossed, mut agree) = (0, 0, 0, 0);
    let mut at_id = (0, None);
    for second in 0..400 {
        player.play(Nanos(second * Nanos::SECOND), &mut exchange, Nanos(0), |exchange, symbol, change, _| {
            let ladder = exchange.ladder(symbol);
            let best = ladder.best(Side::Buy).zip(ladder.best(Side::Sell));
            match change {
                Change::Book(_, last) => {
                    books += 1;
                    crossed += u32::from(best.is_none_or(|(b, a)| b.px >= a.px));
                    at_id = (last, best);
                }
                Change::Touch(id, bid, ask) => {
                    touches += 1;
                    if id == at_id.0 {
                        assert_eq!(at_id.1, Some((bid, ask)), "bookTicker and book at the same id");
                        agree += 1;
                    }
                }
            }
        });
    }
    assert!(books > 4500 && touches > 40_000, "{books} {touches}");
    assert_eq!(crossed, 0);
    assert!(agree > 20, "{agree} bookTickers at a book's id");
}
