//! The boundary path in one thread on a made-up stream, always the same: what `benches/counts/run` counts the instructions of.
//! `cargo run --release -p bench --example boundary [BOUNDARIES]`
//!
//! Each part is a function that is not inlined, because callgrind counts by function. Between two boundaries everything is
//! prepared as an idle worker prepares it; of that nothing is counted.

use std::fmt::Write as _;
use std::hint::black_box;

use alpha::eigen::{Scan, Scanner};
use alpha::{Action, Booking, Engine, ObView, Params, StepReport, TickInput};
use binance::Symbols;
use binance::decode::{Decoder, Frame};
use binance::gateway::{Gateway, GatewayConfig, Outgoing};
use binance::key::ApiKey;
use binance::sign::Signer;
use book::FeatureEngine;
use execution::Rehearsal;
use market::{
    AbandonReason, CrossAsset, Date, DepthSnapshot, Increment, Instrument, Intent, Level, MarketEvent, Nanos,
    ObFeatures, OrderRequest, Outcome, Posture, Px, Qty, SymbolId,
};
use runtime::environment::splitmix64;

const SYMBOLS: usize = 48;
/// Ten times shorter than in production, because of the warm-up; a boundary runs the same instructions.
const STRIDE: u32 = 5;
const TICK: u64 = 100 * Nanos::MS;
/// 2026-01-01, and a boundary.
const BEGIN: u64 = 1_767_225_600_000 * Nanos::MS;
/// Levels of a side that an update changes.
const LEVELS: usize = 10;

/// What a sample brings on its way.
#[derive(Default)]
struct Tick {
    mids: Vec<f64>,
    features: Vec<Option<ObFeatures>>,
    cross: CrossAsset,
    ts: Nanos,
}

struct Path {
    decoder: Decoder,
    features: FeatureEngine,
    scanner: Scanner,
    engine: Engine,
    router: Rehearsal,
    gateway: Gateway,
    tick: Tick,
}

#[inline(never)]
fn part_decode<'a>(decoder: &'a mut Decoder, bytes: &'a [u8]) -> MarketEvent<'a> {
    match decoder.decode(bytes) {
        Ok(Frame::Market(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// The book takes the event; before it the sample that the event makes due.
#[inline(never)]
fn part_features(features: &mut FeatureEngine, event: &MarketEvent<'_>, tick: &mut Tick) -> bool {
    let mut sampled = false;
    features.on_event(event, |sample| {
        sampled = true;
        tick.mids.clear();
        tick.mids.extend_from_slice(sample.mids);
        tick.features.clear();
        tick.features.extend_from_slice(sample.features);
        (tick.cross, tick.ts) = (sample.cross, sample.ts);
    });
    sampled
}

#[inline(never)]
fn part_scan(scanner: &mut Scanner, tick: &Tick) -> Scan {
    scanner.step(&tick.mids)
}

#[inline(never)]
fn part_decide(engine: &mut Engine, tick: &Tick, scan: &Scan, bar: u32) -> StepReport {
    // Every boundary fires: what is counted is the whole path.
    let vel_div = if black_box(scan.vel_div).is_nan() { f64::NAN } else { -1.0 };
    engine.step_bar(&TickInput {
        vel_div,
        v50_velocity: scan.velocity[0],
        v750_velocity: scan.velocity[3],
        instability_50: scan.instability_50,
        ob: Some(ObView { features: &tick.features, cross: tick.cross }),
        ..TickInput::quiet(bar, tick.ts, &tick.mids)
    })
}

#[inline(never)]
fn part_route(router: &mut Rehearsal, now: Nanos) -> Option<OrderRequest> {
    router.enter(now)
}

#[inline(never)]
fn part_sign(gateway: &mut Gateway, request: &OrderRequest, now: Nanos) -> usize {
    match gateway.request(request, 2_000, now) {
        Ok(Outgoing::Frame(frame)) => frame.len(),
        other => panic!("{other:?}"),
    }
}

/// From the frame that crosses the boundary to the signed order; the asset that was entered.
#[inline(never)]
fn boundary(path: &mut Path, frame: &[u8], bar: u32, now: Nanos) -> Option<SymbolId> {
    let event = part_decode(&mut path.decoder, frame);
    if !part_features(&mut path.features, &event, &mut path.tick) {
        return None;
    }
    let scan = part_scan(&mut path.scanner, &path.tick);
    let report = part_decide(&mut path.engine, &path.tick, &scan, bar);
    let Action::Intent(Intent::Enter(entry)) = report.action else { return None };
    let request = part_route(&mut path.router, now)?;
    black_box(part_sign(&mut path.gateway, &request, now));
    Some(entry.symbol)
}

/// A market that wanders: frames of one symbol after the other.
struct Market {
    state: u64,
    middle: [i64; SYMBOLS],
    update: [u64; SYMBOLS],
    text: String,
}

impl Market {
    fn draw(&mut self, below: u64) -> u64 {
        splitmix64(&mut self.state) % below
    }

    /// A depth update that leaves the best prices a tick about the middle.
    fn frame(&mut self, names: &[String], i: usize, at: u64) -> &[u8] {
        let step = self.draw(3) as i64 - 1;
        let (was, middle) = (self.middle[i], self.middle[i] + step);
        self.middle[i] = middle;
        let (first, before) = (self.update[i] + 1, self.update[i]);
        let last = first + self.draw(20);
        self.update[i] = last;
        let ms = at / Nanos::MS;
        self.text.clear();
        let _ = write!(
            self.text,
            r#"{{"stream":"{0}@depth@100ms","data":{{"e":"depthUpdate","E":{ms},"T":{ms},"s":"{1}","U":{first},"u":{last},"pu":{before},"b":["#,
            names[i].to_lowercase(),
            names[i]
        );
        let level = |text: &mut String, px: i64, qty: u64, last: bool| {
            let comma = if last { "" } else { "," };
            let (whole, cents) = (px / 100, px % 100);
            let _ = write!(text, r#"["{whole}.{cents:02}","{qty}.000"]{comma}"#);
        };
        // What the middle has left behind is taken away.
        for side in [-1, 1] {
            for k in 1..=LEVELS as i64 {
                let px = middle + side * k;
                let qty = 1 + self.draw(50);
                level(&mut self.text, px, qty, false);
            }
            let gone = if side == -1 { was.max(middle) } else { was.min(middle) };
            level(&mut self.text, gone, 0, true);
            self.text.push_str(if side == -1 { r#"],"a":["# } else { "]}}" });
        }
        self.text.as_bytes()
    }
}

fn params() -> Params {
    Params {
        profile: "counts".to_owned(),
        vel_div_threshold: -1e-8,
        vel_div_extreme: -1e-2,
        vol_p60: 0.0,
        vol_window_bars: 20,
        lookback: 20,
        warmup_bars: 0,
        min_irp_alignment: 0.0,
        dc_lookback_bars: 1,
        dc_min_magnitude_bps: -1e6,
        min_fill_probability: 0.0,
        ob_confirm_rate: -1.0,
        reference_symbol: "S00USDT".to_owned(),
        ..Params::default()
    }
}

/// Books of every symbol in step, and histories that are full.
fn made(names: &[String], market: &mut Market) -> Path {
    let (tick, lot) = (Increment::decimals(2), Increment::decimals(3));
    let instruments: Vec<Instrument> =
        (0..SYMBOLS).map(|i| Instrument::plain(SymbolId(i as u16), &names[i], tick, lot)).collect();
    let mut features = FeatureEngine::new(&instruments, Nanos(TICK));
    for (i, middle) in market.middle.iter().enumerate() {
        let side = |sign: i64| -> Vec<Level> {
            (1..=500).map(|k| Level { px: Px(middle + sign * k), qty: Qty(5_000) }).collect()
        };
        let (bids, asks) = (side(-1), side(1));
        let symbol = SymbolId(i as u16);
        features.on_snapshot(&DepthSnapshot {
            symbol,
            ts_send: Nanos(BEGIN),
            last_update_id: market.update[i],
            bids: &bids,
            asks: &asks,
        });
    }
    let mut scanner = Scanner::new(SYMBOLS, STRIDE as usize).expect("a size that is allowed");
    let mut engine = Engine::new(params(), names.to_vec(), STRIDE).expect("parameters in order");
    engine = engine.with_booking(Booking::Venue);
    engine.begin_day(Date::constant(2026, 1, 1), Posture::Apex, 1.0, -1).expect("a first day");
    let mut prices: Vec<f64> = market.middle.iter().map(|m| *m as f64 / 100.0).collect();
    for _ in 0..scanner.warmup_ticks() + 10 {
        let common = market.draw(1_000) as f64 - 499.5;
        for price in &mut prices {
            *price *= 1.0 + 1e-7 * (common + market.draw(1_000) as f64 - 499.5);
        }
        scanner.step(&prices);
        engine.step_bar(&TickInput::quiet(0, Nanos(BEGIN), &prices));
    }
    let signer = Signer::new(&ApiKey::hmac(&"K".repeat(64), &"S".repeat(64)).expect("a key")).expect("a key");
    let gateway = Gateway::new(signer, Symbols::new(instruments.clone()), GatewayConfig::default());
    Path {
        decoder: Decoder::new(&instruments),
        features,
        scanner,
        engine,
        router: Rehearsal::new().expect("a configuration in order"),
        gateway: gateway.expect("names in order"),
        tick: Tick::default(),
    }
}

fn main() {
    let boundaries: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200);
    let names: Vec<String> = (0..SYMBOLS).map(|i| format!("S{i:02}USDT")).collect();
    let middle = std::array::from_fn(|i| 10_000 + 1_000 * i as i64);
    let mut market = Market { state: 7, middle, update: [1_000; SYMBOLS], text: String::new() };
    let mut path = made(&names, &mut market);
    let mut entries = 0;
    for bar in 0..boundaries {
        let at = BEGIN + u64::from(bar) * TICK;
        let crossing = bar as usize % SYMBOLS;
        let entered = boundary(&mut path, market.frame(&names, crossing, at + Nanos::MS), bar, Nanos(at));
        if let Some(symbol) = entered {
            entries += 1;
            let gone = Outcome::Abandoned { symbol, reason: AbandonReason::TimedOut };
            path.engine.on_outcome(&gone).expect("it was entering");
        }
        // The connection is lost and there again: no request waits for an answer.
        path.gateway.on_close(&mut |_| {});
        for i in (0..SYMBOLS).filter(|i| *i != crossing) {
            let frame = market.frame(&names, i, at + 50 * Nanos::MS);
            let event = part_decode(&mut path.decoder, frame);
            part_features(&mut path.features, &event, &mut path.tick);
        }
        while path.features.prepare(SYMBOLS) {}
        if let Some(mids) = path.features.mids_ahead() {
            path.scanner.prepare(mids);
        }
        path.router.prepare(Nanos(at + TICK));
    }
    let prepared = path.features.counters().prepared;
    println!("{boundaries} boundaries, {entries} entries, {prepared} ticks prepared");
    assert!(entries + 10 > boundaries, "the stream enters at every boundary");
}
