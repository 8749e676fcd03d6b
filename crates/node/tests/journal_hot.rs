//! What the journal costs the stages: no allocation, also where nobody empties its rings.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use market::{Bbo, Level, Nanos, Px, Qty, SymbolId};
use node::stages::Tick;
use node::stages::alpha::{AlphaJournal, AlphaRecord, shared_ticks};
use node::stages::router::{Quote, RouterRecord};
use runtime::counting_alloc::{CountingAllocator, count};
use runtime::journal::tap::tap;
use runtime::ring::ring;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn recording_allocates_nothing_and_a_full_ring_neither() {
    let (router, mut taken) = tap::<RouterRecord>("router", 64);
    let (alpha, mut steps) = tap::<AlphaRecord>("alpha", 64);
    let (ticks, mut ticks_out) = ring("ticks", 4);
    let mut journal = AlphaJournal { tap: alpha, ticks };
    let mut places = shared_ticks(48);
    let mut router = router;
    let mut tick = Tick::new(48);
    let level = |px, qty| Level { px: Px(px), qty: Qty(qty) };
    let (bid, ask) = (level(100, 5), level(101, 5));
    let allocated = count(|| {
        for i in 0..1000u64 {
            tick.ts = Nanos(i);
            let share = places.share(|place| place.change_places(&mut tick));
            journal.tick(i, share.as_ref());
            for s in 0..48 {
                let bbo = Bbo {
                    symbol: SymbolId(s),
                    ts_event: Nanos(i),
                    ts_send: Nanos(i),
                    update_id: i,
                    bid,
                    ask,
                };
                router.push(i, RouterRecord::Quote(Quote::Bbo(bbo)));
            }
            // Of a hundred nobody takes anything.
            if i / 100 % 2 == 0 {
                while taken.pop().is_some() {}
                while let Some(entry) = steps.pop() {
                    assert!(matches!(entry.item, AlphaRecord::Tick));
                    let tick = ticks_out.pop().unwrap();
                    assert_eq!(tick.ts, Nanos(entry.at), "each record has its own tick");
                }
            }
        }
    });
    assert_eq!(allocated, 0);
    assert!(router.stats().unwrap().full() > 1000);
    assert_eq!(journal.tap.stats().unwrap().full(), 0, "a tick that finds no room is not pushed");
}

/// Not a measurement to hold anybody to: builds for tests are slower than the program. It is printed to be looked at.
#[test]
fn what_a_record_costs_the_stage() {
    let (mut router, mut taken) = tap::<RouterRecord>("router", 4096);
    let (alpha, mut steps) = tap::<AlphaRecord>("alpha", 4096);
    let level = |px, qty| Level { px: Px(px), qty: Qty(qty) };
    let (bid, ask) = (level(100, 5), level(101, 5));
    let (mut quotes, mut copies) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    let (ticks, mut ticks_out) = ring("ticks", 64);
    let mut journal = AlphaJournal { tap: alpha, ticks };
    let (mut places, mut tick) = (shared_ticks(48), Tick::new(48));
    for round in 0..200u64 {
        let began = std::time::Instant::now();
        for i in 0..1000 {
            let bbo =
                Bbo { symbol: SymbolId(1), ts_event: Nanos(i), ts_send: Nanos(i), update_id: i, bid, ask };
            router.push(round, RouterRecord::Quote(Quote::Bbo(bbo)));
        }
        quotes += began.elapsed();
        let began = std::time::Instant::now();
        for i in 0..4 {
            let share = places.share(|place| place.change_places(&mut tick));
            journal.tick(i, share.as_ref());
        }
        copies += began.elapsed();
        while taken.pop().is_some() {}
        while steps.pop().is_some() {
            drop(ticks_out.pop().unwrap());
        }
    }
    assert_eq!(router.stats().unwrap().full(), 0);
    println!(
        "a quote: {:.1} ns; a tick of 48 symbols: {:.0} ns",
        quotes.as_nanos() as f64 / 200_000.0,
        copies.as_nanos() as f64 / 800.0
    );
}
