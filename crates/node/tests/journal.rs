//! Engine's stage and router's stage on a market of numbers, with a journal: it decides the same again, from the beginning
//! and from any segment; a record that says something else is found; a hole stops what is behind it and no more.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use alpha::{Booking, Engine, SafetyWord};
use execution::{Gate, Margin, Router};
use market::{
    Amount, Bbo, ExecType, ExecutionReport, Increment, Instrument, Level, Nanos, NewOrder, ObFeatures,
    OrderOrigin, OrderRequest, OrderStatus, Posture, Px, Qty, SymbolId,
};
use node::config::Config;
use node::day::SharedDay;
use node::environment::Environment;
use node::journal::header::{Header, RECORDS};
use node::journal::recorder::{JournalEnds, Recorder};
use node::journal::records::encoded;
use node::journal::replay::{RunReport, Verdict, Within, against, replay};
use node::journal::shadow::Shadow;
use node::journal::states::States;
use node::stages::alpha::{AlphaJournal, AlphaLinks, AlphaMemo, AlphaStage};
use node::stages::memory::Step;
use node::stages::router::{AccountState, Quote, RouterCommand, RouterLinks, RouterStage};
use node::stages::{StampedIntent, Tick};
use runtime::clock::Clock;
use runtime::conveyor::conveyor;
use runtime::environment::SystemFiles;
use runtime::journal::frame::{self, Record};
use runtime::journal::library::Limits;
use runtime::journal::library::segments;
use runtime::journal::segment::{OPEN_MARK, OWN, kind, walk};
use runtime::journal::tap::tap;
use runtime::latency::Collector;
use runtime::pending::pending;
use runtime::ring::ring;
use runtime::stage::{Stage, Work};

const DEMO: &str = include_str!("../../../configs/demo.yml");
const NAMES: [&str; 4] = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"];
const START: u64 = 1_767_225_600_000_000_000;
const TICK_NS: u64 = 100 * Nanos::MS;

fn instruments() -> Vec<Instrument> {
    let one = |(id, name): (u16, &&str)| Instrument {
        max_orders: 200,
        ..Instrument::plain(SymbolId(id), name, Increment::decimals(1), Increment::decimals(3))
    };
    (0..).zip(&NAMES).map(one).collect()
}

/// A venue that takes every order, and fills it at once where it crosses, else a little later.
fn said(o: &NewOrder, exec_type: ExecType, status: OrderStatus, at: Nanos) -> ExecutionReport {
    ExecutionReport {
        symbol: o.symbol,
        origin: OrderOrigin::Ours(o.client_order_id),
        order_id: 1000 + u64::from(o.client_order_id.intent) * 100 + u64::from(o.client_order_id.attempt),
        exec_type,
        status,
        side: o.side,
        px: o.px,
        qty: o.qty,
        last_px: Px::ZERO,
        last_qty: Qty::ZERO,
        cum_qty: Qty::ZERO,
        leaves_qty: o.qty,
        trade_id: 0,
        commission: Amount::ZERO,
        realised: Amount::ZERO,
        maker: true,
        reduce_only: o.reduce_only,
        code: 0,
        ts_event: at,
    }
}

fn features() -> ObFeatures {
    ObFeatures {
        bid_depth: [10.0; 5],
        ask_depth: [10.0; 5],
        bid_notional: [1e6; 5],
        ask_notional: [1e6; 5],
        coverage_pct: 1.0,
        spread_proxy_bps: 0.5,
        depth_quality: 1.0,
        macro_spread_bps: 0.5,
        ..ObFeatures::plain()
    }
}

/// Plays `ticks` ticks into a journal at `dir`; how many orders were sent.
#[expect(clippy::too_many_lines, reason = "two stages and all their links")]
fn play(dir: &Path, ticks: u64, segment_bytes: u64) -> usize {
    let mut config = Config::parse(DEMO).unwrap();
    config.alpha.min_irp_alignment = 0.0;
    config.alpha.dc_min_magnitude_bps = -1e6;
    config.alpha.use_alpha_layers = false;
    config.alpha.vol_p60 = -1.0;
    let assets: Vec<String> = NAMES.map(str::to_owned).to_vec();
    let stride = config.market.stride();
    let mut engine =
        Engine::new(config.alpha.clone(), assets.clone(), stride).unwrap().with_booking(Booking::Venue);
    engine.begin_day("2026-01-01".parse().unwrap(), Posture::Apex, 1.0, 0).unwrap();
    let router = Router::new(config.router.clone(), instruments(), 7).unwrap();

    let memo = AlphaMemo::at_start(&engine, Nanos(START));
    let states = States::new(
        (encoded(&engine.snapshot()), encoded(&memo)),
        (encoded(&router), encoded(&0u64)),
        [0, 0],
    );
    let header = Header {
        records: RECORDS,
        version: "test".to_owned(),
        run: 7,
        wall_ns: START,
        at: START,
        role: "all".to_owned(),
        venue: "local".to_owned(),
        account: String::new(),
        param_hash: config.alpha.hash(),
        symbols: assets,
        booked: START,
        forewarner: false,
        config: serde_json::to_value(&config).unwrap(),
    };
    let limits =
        Limits { dir: dir.to_owned(), segment_bytes, days: 7, max_bytes: 1 << 40, fsync_ns: u64::MAX };

    let n = NAMES.len();
    let mut latency = Collector::new(16);
    let (mut ticks_in, ticks_out) = conveyor("ticks", 4, || Tick::new(n));
    let (outcomes, outcomes_out) = ring("outcomes", 64);
    let (_commands, commands_out) = ring("commands", 4);
    let (mut acb, acb_taken) = pending();
    let ((_safety, safety_taken), (mut rm, rm_taken)) = (pending::<SafetyWord>(), pending::<f64>());
    let (_scan, scan_taken) = pending();
    let (intents, intents_out) = ring::<StampedIntent>("intents", 16);
    let (news, mut alpha_news) = ring("news", 1024);
    let (memory_news, mut memory_out) = ring("memory_news", 1024);
    let image = engine.image();
    let (steps, mut steps_out) = conveyor("steps", 2, || Step::new(&image));
    let (alpha_tap, alpha_drain) = tap("alpha_journal", 8192);
    let (kept, kept_out) = ring("kept", 64);
    let alpha_kept = alpha_tap.stats().unwrap();
    let links = AlphaLinks {
        ticks: ticks_out,
        outcomes: outcomes_out,
        commands: commands_out,
        acb: acb_taken,
        safety: safety_taken,
        rm: rm_taken,
        scan: scan_taken,
        intents,
        news,
        steps,
        memory_news,
        view: pending().0,
        journal: AlphaJournal { tap: alpha_tap, ticks: kept },
    };
    let clock = Clock::simulated(Arc::default());
    let probe = latency.probe("alpha", 1);
    let mut alpha = AlphaStage::new(&config, engine, Nanos(START), links, clock.clone(), probe);
    let (mut reports, reports_out) = ring("reports", 256);
    let (mut quotes, quotes_out) = ring("quotes", 256);
    let (mut to_router, router_commands) = ring("router_commands", 16);
    // So small that the router must wait now and then.
    let (requests, mut requests_out) = ring("requests", 1);
    let (router_news, mut router_out) = ring("router_news", 1024);
    let (router_tap, router_drain) = tap("router_journal", 16384);
    let router_kept = router_tap.stats().unwrap();
    let links = RouterLinks {
        intents: intents_out,
        reports: reports_out,
        quotes: quotes_out,
        commands: router_commands,
        requests,
        outcomes,
        news: router_news,
        view: pending().0,
        journal: router_tap,
    };
    let mut orders = RouterStage::new(router, links, SharedDay::default(), clock, latency.probe("router", 1));
    let ends = JournalEnds { alpha: alpha_drain, ticks: kept_out, router: router_drain, book: None };
    let shadow = Shadow::new(&config, &states, None).unwrap();
    let recorder =
        Recorder::start(limits, &header, (states, Some(shadow)), ends, &Environment::system()).unwrap();

    let wallet = Amount(25_000 * Amount::ONE);
    let account = |at| AccountState {
        requested_at: Nanos(at),
        orders: Vec::new(),
        positions: Vec::new(),
        fills: Vec::new(),
        wallet,
        margin: Some(Margin { available: wallet, maintenance: Amount::ZERO }),
        transfers: None,
        unlisted: Vec::new(),
    };
    to_router.push(RouterCommand::Gate(Gate::open())).unwrap();
    to_router.push(RouterCommand::Account(Box::new(account(START)))).unwrap();
    let (mut sent, mut trade_id, mut seed) = (0, 0, 5u64);
    let mut mids = [60_000i64, 50_000, 40_000, 55_000];
    let mut resting: Vec<NewOrder> = Vec::new();
    for i in 1..=ticks {
        let at = START + i * TICK_NS;
        let mut random = || runtime::environment::splitmix64(&mut seed);
        let move_all = (random() % 41) as i64 - 20;
        for (s, mid) in mids.iter_mut().enumerate() {
            *mid += move_all + (random() % 11) as i64 - 5;
            let level = |px| Level { px: Px(px), qty: Qty(5000) };
            let bbo = Bbo {
                symbol: SymbolId(s as u16),
                ts_event: Nanos(at),
                ts_send: Nanos(at),
                update_id: i,
                bid: level(*mid),
                ask: level(*mid + 1),
            };
            quotes.push(Quote::Bbo(bbo)).unwrap();
        }
        let mut tick = ticks_in.acquire().unwrap();
        tick.ts = Nanos(at);
        tick.mids.iter_mut().zip(&mids).for_each(|(to, mid)| *to = *mid as f64 / 10.0);
        tick.features.fill(Some(features()));
        tick.scan.vel_div = (random() % 2001) as f64 / 1e5 - 0.01;
        tick.scan.velocity = [0.001; 4];
        ticks_in.send(tick);
        match i % 97 {
            13 => acb.publish(alpha::AcbPush { boost: 1.0 + (i % 5) as f64 / 10.0, beta: 0.5 }),
            57 => rm.publish(1.0 - (i % 3) as f64 / 100.0),
            _ => {}
        }
        for pass in 0..8 {
            let now = at + pass * 1000;
            while alpha.poll(now) == Work::Done {}
            while orders.poll(now) == Work::Done {}
            while let Some(request) = requests_out.pop() {
                match request.request {
                    OrderRequest::New(o) => {
                        sent += 1;
                        resting.push(o);
                        reports.push(said(&o, ExecType::New, OrderStatus::New, Nanos(now))).unwrap();
                    }
                    OrderRequest::Cancel(c) => {
                        let place = resting.iter().position(|o| o.client_order_id == c.client_order_id);
                        if let Some(place) = place {
                            let o = resting.swap_remove(place);
                            reports
                                .push(said(&o, ExecType::Canceled, OrderStatus::Canceled, Nanos(now)))
                                .unwrap();
                        }
                    }
                    _ => {}
                }
            }
            if pass == 3 {
                let fills = |o: &NewOrder| o.px.is_zero() || o.client_order_id.intent % 4 != 3;
                while let Some(place) = resting.iter().position(fills) {
                    let o = resting.swap_remove(place);
                    trade_id += 1;
                    let px = if o.px.is_zero() { Px(mids[o.symbol.index()]) } else { o.px };
                    let fill = ExecutionReport {
                        last_px: px,
                        last_qty: o.qty,
                        cum_qty: o.qty,
                        leaves_qty: Qty::ZERO,
                        trade_id,
                        ..said(&o, ExecType::Trade, OrderStatus::Filled, Nanos(now))
                    };
                    reports.push(fill).unwrap();
                }
            }
            alpha.housekeep(now);
            orders.housekeep(now);
        }
        while alpha_news.pop().is_some() {}
        while memory_out.pop().is_some() {}
        while router_out.pop().is_some() {}
        while let Some(mut step) = steps_out.recv() {
            step.tick = None;
            steps_out.give_back(step);
        }
        // The journal's thread looks every 20 ms; here ticks come faster than anywhere.
        while i % 30 == 0 && recorder.status.records() < alpha_kept.pushed() + router_kept.pushed() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
    drop((alpha, orders));
    let status = Arc::clone(&recorder.status);
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(recorder.finish());
    assert_eq!(status.lost(), 0);
    sent
}

fn decide(path: &Path) -> RunReport {
    let mut reports = replay(&SystemFiles, path, Within::ALL, &|_| None, &mut |_, _, _| true).unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

#[test]
fn both_stages_decide_the_same_again_from_every_segment() {
    let dir = tempfile::tempdir().unwrap();
    let sent = play(dir.path(), 1500, 1 << 20);
    let whole = decide(dir.path());
    assert!(whole.is_equal(), "{whole:#?}");
    assert!(whole.gaps.is_empty() && whole.damage.is_empty() && whole.ended);
    assert_eq!((whole.counts.steps, whole.symbols), (1500, 4));
    assert!(sent > 10 && whole.counts.requests >= sent as u64, "{sent} {:?}", whole.counts);
    assert!(whole.counts.outcomes > 8 && whole.counts.intents > 20, "{:?}", whole.counts);
    let all = segments(&SystemFiles, dir.path()).unwrap();
    // The last one may have been begun for nothing.
    let (n, states) = (all.len() as u64, whole.counts.snapshots);
    assert!(n > 2 && (states == n || states + 1 == n), "{n} {:?}", whole.counts);
    let mut steps = 0;
    for segment in &all {
        let part = decide(&segment.path);
        assert!(part.is_equal() || part.counts.records == 0, "{}: {part:#?}", segment.name);
        steps += part.counts.steps;
    }
    assert_eq!(steps, 1500);

    // Without one in the middle: what is behind it is decided again, and what is missing is told.
    fs::remove_file(&all[1].path).unwrap();
    let rest = decide(dir.path());
    assert!(rest.is_equal() && !rest.gaps.is_empty(), "{rest:#?}");
    assert!(rest.counts.steps < 1500 && rest.counts.steps > 0 && rest.ended);
    // Without the last one nothing is damaged, and no number is missing: that the run went on is told all the same.
    fs::remove_file(&all[all.len() - 1].path).unwrap();
    let cut = decide(dir.path());
    assert!(cut.is_equal() && !cut.ended && cut.damage.is_empty(), "{cut:#?}");
}

/// Where nothing is held both decide the same on the same ticks; on others they do not, and it is found.
#[test]
fn live_and_model_decide_the_same_wherever_both_are_flat() {
    let dir = tempfile::tempdir().unwrap();
    play(dir.path(), 1500, 1 << 30);
    let compare = |rows: &mut dyn FnMut(&mut Tick) -> Result<(), String>| {
        let (reports, mut runs) = against(&SystemFiles, dir.path(), &|_| None, rows).unwrap();
        assert!(reports[0].is_equal(), "{reports:#?}");
        assert_eq!(runs.len(), 1);
        runs.remove(0)
    };
    let found = compare(&mut |_| Ok(()));
    assert_eq!((found.ticks, found.stride), (1500, 5));
    assert_eq!(found.unexplained, [], "{found:#?}");
    assert_eq!(found.equal, found.both_flat);
    let intents = decide(dir.path()).counts.intents;
    assert!(found.same_intents == intents && found.same_with_fills == intents + 1500, "{found:#?}");
    assert!(found.same_entries > 0 && found.both_flat > 50 && found.stopped.is_none(), "{found:#?}");
    assert!(found.same_entries < found.live_entries, "fills come later than the model's: {found:#?}");
    assert!(!found.by_fills.is_empty(), "{found:#?}");
    // Another market: a scan that fires where the real one did not.
    let mut n = 0;
    let other = compare(&mut |tick| {
        n += 1;
        tick.scan.vel_div = if n % 50 == 0 { -0.02 } else { tick.scan.vel_div };
        Ok(())
    });
    assert!(!other.unexplained.is_empty() && other.same_with_fills < 1500, "{other:#?}");
    // No row for a tick is an error, not an answer.
    let none = &mut |_: &mut Tick| Err("no row".to_owned());
    assert!(against(&SystemFiles, dir.path(), &|_| None, none).unwrap_err().to_string().contains("no row"));
}

/// A segment as it lies before it is sealed, with one record changed by `change`, all checksums right.
fn unsealed(file: &[u8], mut change: impl FnMut(&Record<'_>, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = OPEN_MARK.to_vec();
    let mut count = 0;
    let condition = walk(file, |record| {
        let mut payload = record.payload.to_vec();
        change(&record, &mut payload);
        frame::append(&mut out, Record { payload: &payload, ..record });
        count += 1u64;
        std::ops::ControlFlow::Continue(())
    });
    let mut end = |kind, payload: &[u8]| {
        frame::append(&mut out, Record { stream: OWN, kind, seq: 0, at: 0, payload });
    };
    if condition.run_ended {
        end(kind::RUN_END, &[]);
        count += 1;
    }
    end(kind::END, &count.to_le_bytes());
    out
}

/// The segment's records with one changed, its checksums right.
fn forge(path: &Path, stream: u8, kind_of: u8, change: impl Fn(&mut Vec<u8>)) {
    let mut done = false;
    let forged = unsealed(&fs::read(path).unwrap(), |record, payload| {
        if !done && (record.stream, record.kind) == (stream, kind_of) && record.seq > 300 {
            change(payload);
            done = true;
        }
    });
    assert!(done);
    fs::write(path, forged).unwrap();
}

/// Of `DOLPHIN_EVERY_BYTE=1` every byte, else 100 cuts and 200 flips.
#[test]
fn cut_or_flipped_at_any_byte_what_is_whole_is_decided_again_and_the_loss_is_told() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    play(dir.path(), 12, 1 << 30);
    let found = segments(&SystemFiles, dir.path()).unwrap().remove(0);
    let sealed = fs::read(&found.path).unwrap();
    let open = unsealed(&sealed, |_, _| ());
    let path = other.path().join(found.path.file_name().unwrap());
    // The content decides what it is, not the name.
    let check = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let report = decide(&path);
        assert!(!report.differs(), "{what}: {report:#?}");
        let told = !report.damage.is_empty() || !report.gaps.is_empty() || !report.ended;
        assert!(told, "{what}: nothing is told");
        assert!(report.counts.steps <= 12, "{what}");
        report
    };
    fs::write(&path, &open).unwrap();
    let whole = decide(&path);
    assert!(whole.is_equal() && whole.ended && whole.damage.is_empty(), "{whole:#?}");
    let mut end = Vec::new();
    frame::append(&mut end, Record { stream: OWN, kind: kind::END, seq: 0, at: 0, payload: &[0; 8] });
    check(&open[..open.len() - end.len()], "without the end of the segment");
    let every = std::env::var_os("DOLPHIN_EVERY_BYTE").is_some();
    let mut seed = 11;
    for (file, is_open) in [(&open, true), (&sealed, false)] {
        let mut places = |n: usize| -> Vec<usize> {
            if every {
                return (0..file.len()).collect();
            }
            let mut one = || runtime::environment::splitmix64(&mut seed) as usize % file.len();
            (0..n).map(|_| one()).collect()
        };
        for at in places(50) {
            let report = check(&file[..at], &format!("cut at {at}"));
            let mut before = 0;
            walk(&file[..at], |record| {
                before += u64::from(record.stream != OWN);
                std::ops::ControlFlow::Continue(())
            });
            assert_eq!(report.counts.records, before, "cut at {at}: not all that is whole was used");
        }
        for at in places(100) {
            let mut bytes = file.clone();
            bytes[at] ^= 1 << (at % 8);
            let report = check(&bytes, &format!("byte {at}"));
            // Of an open one a flip costs one record, and where that is not its header or a state, nothing else.
            let records = report.counts.records;
            assert!(
                !is_open || records == 0 || records + 1 >= whole.counts.records,
                "byte {at}: {report:#?}"
            );
        }
    }
}

#[test]
fn a_decision_that_was_another_one_is_found_with_what_was_before_it() {
    let dir = tempfile::tempdir().unwrap();
    play(dir.path(), 600, 1 << 30);
    let segment = segments(&SystemFiles, dir.path()).unwrap()[0].path.clone();
    let whole = fs::read(&segment).unwrap();
    // A digest of the engine's state; an order request; the price of a tick, which changes what comes of it.
    let flip_last = |payload: &mut Vec<u8>| *payload.last_mut().unwrap() ^= 1;
    forge(&segment, 1, 7, flip_last);
    let report = decide(&segment);
    let Verdict::Differs(found) = &report.alpha else { panic!("{report:#?}") };
    assert!(found.stage == "alpha" && found.before.len() > 5 && found.then.contains("step"), "{found:#?}");
    assert_eq!(report.router, Verdict::Equal);
    fs::write(&segment, &whole).unwrap();
    forge(&segment, 2, 6, |payload| *payload.last_mut().unwrap() ^= 1);
    let report = decide(&segment);
    assert!(matches!(report.router, Verdict::Differs(_)) && report.alpha == Verdict::Equal, "{report:#?}");
    fs::write(&segment, &whole).unwrap();
    forge(&segment, 1, 6, |payload| {
        // Three times and a length stand before the prices.
        payload[9 + 1 + 1 + 1 + 4] ^= 1;
    });
    assert!(!decide(&segment).is_equal());
}
