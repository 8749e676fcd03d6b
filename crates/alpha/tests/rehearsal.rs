//! Steps that are taken back leave nothing behind: an engine that rehearses between its ticks is bit for bit the one that
//! does not, on random markets, through entries, fills, exits and days.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use alpha::rng::RandomState;
use alpha::{Action, Booking, BoostMode, Engine, Gate, ObView, Params, Rehearsal, TickInput};
use market::{
    AbandonReason, Amount, CrossAsset, Date, EntryFilled, ExitFilled, Intent, Nanos, ObFeatures, Outcome,
    Posture, Qty, TripId,
};
use proptest::prelude::*;
use runtime::counting_alloc::{CountingAllocator, count};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ASSETS: usize = 12;
const STRIDE: u32 = 3;

fn engine(boost_mode: BoostMode) -> Engine {
    let params = Params {
        profile: "test".to_owned(),
        boost_mode,
        vel_div_threshold: -0.01,
        vel_div_extreme: -0.05,
        vol_p60: 1e-4,
        vol_window_bars: 10,
        lookback: 5,
        dc_lookback_bars: 2,
        warmup_bars: 12,
        max_hold_bars: 4,
        min_irp_alignment: 0.2,
        dc_min_magnitude_bps: 0.1,
        reference_symbol: "A0".to_owned(),
        ..Params::default()
    };
    let assets = (0..ASSETS).map(|i| format!("A{i}")).collect();
    let mut engine = Engine::new(params, assets, STRIDE).unwrap().with_booking(Booking::Venue);
    engine.begin_day(Date::constant(2026, 1, 1), Posture::Apex, 1.0, 0).unwrap();
    engine
}

/// Random prices, some missing, and features.
struct Market {
    rng: RandomState,
    prices: [f64; ASSETS],
    shown: [f64; ASSETS],
    features: Vec<Option<ObFeatures>>,
}

impl Market {
    fn move_on(&mut self) {
        let mut draw = || self.rng.random_sample() - 0.5;
        let common = draw();
        for i in 0..ASSETS {
            self.prices[i] *= 1.0 + 2e-3 * (common + draw());
            self.shown[i] = if i > 0 && draw() > 0.45 { f64::NAN } else { self.prices[i] };
            let lean = draw();
            self.features[i] = (draw() < 0.45).then_some(ObFeatures {
                depth_asymmetry: lean,
                imbalance_persistence: lean.signum(),
                ..ObFeatures::plain()
            });
        }
    }

    fn input(&self, bar: u32, (vel_div, v750): (f64, f64)) -> TickInput<'_> {
        let quiet = TickInput::quiet(bar, Nanos(u64::from(bar) * 100 * Nanos::MS), &self.shown);
        let ob = Some(ObView { features: &self.features, cross: CrossAsset::default() });
        TickInput { vel_div, v750_velocity: v750, instability_50: 0.1, ob, ..quiet }
    }
}

/// What a venue might make of an intent.
fn outcome(intent: &Intent, draw: f64, number: u32, price: f64) -> Option<Outcome> {
    let (trip, ts_event) = (TripId::new(7, number), Nanos(u64::from(number)));
    match *intent {
        Intent::Enter(e) if draw < 0.3 => {
            Some(Outcome::Abandoned { symbol: e.symbol, reason: AbandonReason::TimedOut })
        }
        Intent::Enter(e) => Some(Outcome::Entered(EntryFilled {
            symbol: e.symbol,
            direction: e.direction,
            trip,
            provisional: false,
            qty: Qty(500 * i64::from(e.direction)),
            avg_px: price,
            notional: e.notional,
            commission: Amount::from_f64(0.2).unwrap(),
            maker_share: 1.0,
            ts_event,
        })),
        Intent::Exit(x) => Some(Outcome::Exited(ExitFilled {
            symbol: x.symbol,
            trip,
            provisional: false,
            reason: x.reason,
            avg_px: price,
            notional: 990.0,
            commission: Amount::from_f64(0.4).unwrap(),
            maker_share: 0.5,
            ts_event,
        })),
        Intent::EntrySignal { .. } => None,
    }
}

fn alike(a: &Engine, b: &Engine, bar: u32) {
    // As text: there a history that is not full yet equals its copy, NaN and all.
    let text = |engine: &Engine| serde_json::to_string(&engine.snapshot()).unwrap();
    assert!(text(a) == text(b), "at bar {bar}");
    assert_eq!((a.digest(), a.gate_counts()), (b.digest(), b.gate_counts()), "at bar {bar}");
}

/// Both engines see the same; one rehearses, on the newest tick or on another one. How many steps came to entry and exit.
fn run(seed: u32, boost_mode: BoostMode, bars: u32) -> (u64, u64) {
    let (mut plain, mut rehearsing) = (engine(boost_mode), engine(boost_mode));
    let mut room = Rehearsal::default();
    let rng = RandomState::new(seed);
    let mut market =
        Market { rng, prices: [100.0; ASSETS], shown: [100.0; ASSETS], features: vec![None; ASSETS] };
    let mut due: Option<(u32, Outcome)> = None;
    for bar in 0..bars {
        for _ in 0..3 {
            if market.rng.random_sample() < 0.5 {
                rehearsing.rehearse(&mut room, &market.input(bar, (f64::NAN, f64::NAN)));
            }
        }
        market.move_on();
        rehearsing.rehearse(&mut room, &market.input(bar, (0.3, 0.1)));
        alike(&plain, &rehearsing, bar);
        let scan = ((market.rng.random_sample() - 0.5) * 0.06, market.rng.random_sample() - 0.5);
        let reports = [&mut plain, &mut rehearsing].map(|engine| engine.step_bar(&market.input(bar, scan)));
        assert_eq!(format!("{:?}", reports[0]), format!("{:?}", reports[1]), "at bar {bar}");
        if let Action::Intent(intent) = reports[0].action {
            let (draw, later) = (market.rng.random_sample(), (market.rng.random_sample() * 4.0) as u32);
            let symbol = match intent {
                Intent::Enter(e) => e.symbol,
                Intent::Exit(x) => x.symbol,
                Intent::EntrySignal { symbol, .. } => symbol,
            };
            let told = outcome(&intent, draw, bar, market.prices[symbol.index()]);
            due = told.map(|told| (bar + later, told)).or(due);
        }
        if let Some((_, told)) = due.take_if(|(at, _)| *at <= bar) {
            let booked = [&mut plain, &mut rehearsing].map(|engine| engine.on_outcome(&told));
            assert_eq!(booked[0], booked[1]);
        }
        if bar % 400 == 399 {
            for engine in [&mut plain, &mut rehearsing] {
                let day = engine.date().unwrap();
                engine.end_day();
                engine.begin_day(day.tomorrow().unwrap(), Posture::Apex, 0.9, 0).unwrap();
            }
        }
    }
    alike(&plain, &rehearsing, bars);
    (plain.gate_counts()[Gate::Entered as usize], plain.gate_counts()[Gate::Exited as usize])
}

#[test]
fn an_engine_that_rehearses_decides_the_same() {
    for boost_mode in [BoostMode::Baseline, BoostMode::ProxyB] {
        let (entries, exits) = run(1, boost_mode, 4_000);
        assert!(entries > 20 && exits > 10, "it trades: {entries} entries, {exits} exits");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_the_market(seed in any::<u32>()) {
        run(seed, BoostMode::ProxyB, 500);
    }
}

/// The gates that happen to be shut are passed for once: a rehearsal that stops at the first warms nothing behind it.
#[test]
fn a_rehearsal_goes_all_the_way_and_allocates_nothing_after_the_first() {
    let mut engine = engine(BoostMode::ProxyB);
    let mut room = Rehearsal::default();
    let rng = RandomState::new(3);
    let mut market =
        Market { rng, prices: [100.0; ASSETS], shown: [100.0; ASSETS], features: vec![None; ASSETS] };
    let mut came = [0u32; Gate::ALL.len()];
    for bar in 0..600 {
        market.move_on();
        let input = market.input(bar, (f64::NAN, 0.0));
        let mut report = None;
        let allocations = count(|| report = engine.rehearse(&mut room, &input));
        assert!(bar == 0 || allocations == 0);
        came[report.unwrap().gate as usize] += 1;
        assert_eq!(engine.step_bar(&input).gate, if bar < 36 { Gate::Volatility } else { Gate::Signal });
    }
    assert!(came[Gate::Entered as usize] > 300, "{came:?}");
}

#[test]
fn nothing_is_rehearsed_where_no_step_would_be_taken() {
    let mut room = Rehearsal::default();
    let quiet = TickInput::quiet(0, Nanos(0), &[]);
    let mut asleep = engine(BoostMode::Baseline);
    asleep.push_safety(alpha::Safety { posture: Posture::Hibernate, rm: 1.0 });
    assert!(asleep.rehearse(&mut room, &quiet).is_none());
    asleep.end_day();
    assert!(asleep.rehearse(&mut room, &quiet).is_none(), "no day");
    let mut model = engine(BoostMode::Baseline).with_booking(Booking::Model);
    assert!(model.rehearse(&mut room, &quiet).is_none(), "the model's bookings cannot be taken back");
}
