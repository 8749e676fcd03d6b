//! The order-book features of one symbol (SPEC §5), advanced once per sample.

use market::{DEPTH_BANDS, Instrument, ObAverages, ObFeatures, Px, Side, Trade, TradeKind};

use crate::order_book::{BandSums, OrderBook};

/// Half-life of the baselines: depth, asymmetry, spread.
const MACRO_HALF_LIFE_S: f64 = 300.0;
/// Half-life of the aggressive flow.
const FLOW_HALF_LIFE_S: f64 = 10.0;
/// Horizon of the fill probabilities.
const FILL_HORIZON_S: f64 = 5.0;
/// Samples of `imbalance_persistence`.
const PERSISTENCE_SAMPLES: usize = 20;
/// Samples back of `withdrawal_velocity`.
const WITHDRAWAL_SAMPLES: usize = 10;

/// `v ← k·v + (1 − k)·x`; the first value initialises.
#[derive(Debug, Clone, Copy, Default)]
struct Ewma {
    value: f64,
    started: bool,
}

impl Ewma {
    const fn at(value: f64) -> Self {
        Self { value, started: true }
    }

    fn update(&mut self, k: f64, x: f64) -> f64 {
        self.value = if self.started { k * self.value + (1.0 - k) * x } else { x };
        self.started = true;
        self.value
    }
}

/// The last `N` values, oldest overwritten.
#[derive(Debug, Clone, Copy)]
struct Window<T, const N: usize> {
    values: [T; N],
    len: usize,
    next: usize,
}

impl<T: Copy + Default, const N: usize> Default for Window<T, N> {
    fn default() -> Self {
        Self { values: [T::default(); N], len: 0, next: 0 }
    }
}

impl<T: Copy, const N: usize> Window<T, N> {
    fn push(&mut self, value: T) {
        self.values[self.next] = value;
        self.next = (self.next + 1) % N;
        self.len = (self.len + 1).min(N);
    }

    /// The oldest value kept and how many samples back it is.
    fn oldest(&self) -> Option<(T, usize)> {
        let at = (self.next + N - self.len) % N;
        (self.len > 0).then(|| (self.values[at], self.len))
    }

    fn iter(&self) -> impl Iterator<Item = T> {
        self.values[..self.len].iter().copied()
    }
}

/// The decay factors of one sampling interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decay {
    interval_s: f64,
    macro_k: f64,
    flow_k: f64,
}

impl Decay {
    pub(crate) fn new(interval_s: f64) -> Self {
        let k = |half_life: f64| (-interval_s / half_life).exp2();
        Self { interval_s, macro_k: k(MACRO_HALF_LIFE_S), flow_k: k(FLOW_HALF_LIFE_S) }
    }
}

/// Aggressive volume of one interval by trade kind, in lots.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    /// The number of the interval.
    interval: u64,
    /// By [`TradeKind`]: raw, aggregate.
    bought: [i64; 2],
    sold: [i64; 2],
}

impl Flow {
    /// Of this interval: nothing, where the last trade was in an earlier one. So nobody has to clear it at a boundary.
    fn of(self, interval: u64) -> Self {
        if self.interval == interval { self } else { Self { interval, ..Self::default() } }
    }
}

/// What turns the integers of one instrument into floats.
#[derive(Debug, Clone, Copy)]
struct Scale {
    px: f64,
    qty: f64,
    /// Units of the last decimal in one tick, lot, tick·lot; exact.
    tick: f64,
    lot: f64,
}

impl Scale {
    fn new(instrument: &Instrument) -> Self {
        let (tick, lot) = (instrument.tick, instrument.lot);
        let pow = |scale: u8| 10f64.powi(i32::from(scale));
        Self {
            px: pow(tick.scale()),
            qty: pow(lot.scale()),
            tick: tick.mantissa() as f64,
            lot: lot.mantissa() as f64,
        }
    }

    fn price(&self, px: Px) -> f64 {
        px.0 as f64 * self.tick / self.px
    }

    fn quantity(&self, lots: i128) -> f64 {
        lots as f64 * self.lot / self.qty
    }

    fn notional(&self, tick_lots: i128) -> f64 {
        tick_lots as f64 * (self.tick * self.lot) / (self.px * self.qty)
    }
}

/// What the features of one symbol remember of earlier samples.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Past {
    buy_rate: Ewma,
    sell_rate: Ewma,
    depth: Ewma,
    asymmetry: Ewma,
    spread: Ewma,
    signs: Window<i8, PERSISTENCE_SAMPLES>,
    depths: Window<f64, WITHDRAWAL_SAMPLES>,
}

/// What turns one symbol's book, trades and past into features.
#[derive(Debug, Clone)]
pub(crate) struct SymbolFeatures {
    scale: Scale,
    flow: Flow,
    /// The symbol has `aggTrade`: raw trades are not counted (SPEC §2.4).
    has_aggregates: bool,
}

impl SymbolFeatures {
    pub(crate) fn new(instrument: &Instrument) -> Self {
        Self { scale: Scale::new(instrument), flow: Flow::default(), has_aggregates: false }
    }

    /// From now on only `aggTrade` counts.
    pub(crate) fn expect_aggregates(&mut self) {
        self.has_aggregates = true;
    }

    /// A trade in the interval of this number.
    pub(crate) fn on_trade(&mut self, t: &Trade, interval: u64) {
        let kind = match t.kind {
            TradeKind::Raw => 0,
            TradeKind::Aggregate => {
                self.has_aggregates = true;
                1
            }
        };
        self.flow = self.flow.of(interval);
        let volume = match t.aggressor {
            Side::Buy => &mut self.flow.bought[kind],
            Side::Sell => &mut self.flow.sold[kind],
        };
        *volume = volume.saturating_add(t.qty.0);
    }

    /// Mid of a book that is two-sided and not crossed, NaN otherwise.
    pub(crate) fn mid(&self, book: &OrderBook) -> f64 {
        match (book.best_bid(), book.best_ask()) {
            (Some(bid), Some(ask)) if bid.px < ask.px => {
                (self.scale.price(bid.px) + self.scale.price(ask.px)) / 2.0
            }
            _ => f64::NAN,
        }
    }

    /// Ends the interval of this number: the flow advances, features or not.
    pub(crate) fn close_interval(&self, past: &mut Past, decay: &Decay, interval: u64) {
        let kind = usize::from(self.has_aggregates);
        let rate = |lots: i64| self.scale.quantity(i128::from(lots)) / decay.interval_s;
        let flow = self.flow.of(interval);
        let (bought, sold) = (rate(flow.bought[kind]), rate(flow.sold[kind]));
        past.buy_rate.update(decay.flow_k, bought);
        past.sell_rate.update(decay.flow_k, sold);
    }

    /// The features of a book in sync; `None`, and no history advances, if it is one-sided or crossed, or has nothing
    /// within 1 % of mid (a spread above 2 %: asymmetry is not defined). After [`Self::close_interval`].
    pub(crate) fn sample(&self, past: &mut Past, book: &OrderBook, decay: &Decay) -> Option<ObFeatures> {
        let (bid, ask) = (book.best_bid()?, book.best_ask()?);
        if bid.px >= ask.px {
            return None;
        }
        let (bids, asks) = band_sums(book, bid.px, ask.px);
        let bid_notional = bids.map(|(_, n)| self.scale.notional(n));
        let ask_notional = asks.map(|(_, n)| self.scale.notional(n));
        let total = bid_notional[0] + ask_notional[0];
        if total <= 0.0 {
            return None;
        }
        let (bid_px, ask_px) = (self.scale.price(bid.px), self.scale.price(ask.px));
        let mid = (bid_px + ask_px) / 2.0;
        let spread = (ask_px - bid_px) / mid * 1e4;
        let asymmetry = (bid_notional[0] - ask_notional[0]) / total;
        let fill = |rate: f64, qty: f64| -(-rate * FILL_HORIZON_S / qty).exp_m1();
        let fill_bid = fill(past.sell_rate.value, self.scale.quantity(i128::from(bid.qty.0)));
        let fill_ask = fill(past.buy_rate.value, self.scale.quantity(i128::from(ask.qty.0)));
        Some(ObFeatures {
            bid_depth: bids.map(|(q, _)| self.scale.quantity(q)),
            ask_depth: asks.map(|(q, _)| self.scale.quantity(q)),
            bid_notional,
            ask_notional,
            coverage_pct: self.coverage(book, mid),
            spread_proxy_bps: spread,
            depth_quality: total / (total + past.depth.update(decay.macro_k, total)),
            fill_probability_bid: fill_bid,
            fill_probability_ask: fill_ask,
            fill_probability: (fill_bid + fill_ask) / 2.0,
            depth_asymmetry: asymmetry,
            imbalance_persistence: past.persistence(asymmetry),
            withdrawal_velocity: past.withdrawal(total, decay.interval_s),
            macro_imbalance: past.asymmetry.update(decay.macro_k, asymmetry),
            macro_spread_bps: past.spread.update(decay.macro_k, spread),
        })
    }

    /// How far the kept book reaches on its shorter side, % of mid.
    fn coverage(&self, book: &OrderBook, mid: f64) -> f64 {
        let Some((low, high)) = book.reach() else { return 0.0 };
        let reach = (mid - self.scale.price(low)).min(self.scale.price(high) - mid);
        reach / mid * 100.0
    }
}

impl Past {
    /// Goes on from averages of before. What spans two seconds (signs, depths) and the flow, whose half-life is ten, begin anew.
    pub(crate) const fn go_on(&mut self, averages: &ObAverages) {
        self.depth = Ewma::at(averages.depth);
        self.asymmetry = Ewma::at(averages.asymmetry);
        self.spread = Ewma::at(averages.spread);
    }

    fn persistence(&mut self, asymmetry: f64) -> f64 {
        self.signs.push(sign(asymmetry));
        let sum: i32 = self.signs.iter().map(i32::from).sum();
        f64::from(sum) / PERSISTENCE_SAMPLES as f64
    }

    fn withdrawal(&mut self, total: f64, interval_s: f64) -> f64 {
        let velocity = self
            .depths
            .oldest()
            .map_or(0.0, |(before, back)| (total / before - 1.0) / (back as f64 * interval_s));
        self.depths.push(total);
        velocity
    }
}

/// −1, 0 or 1.
pub(crate) fn sign(x: f64) -> i8 {
    i8::from(x > 0.0) - i8::from(x < 0.0)
}

/// Sums of both sides within 1 … 5 % of mid. `price ≥ mid·(1 − p/100)` in whole ticks, exactly:
/// `200·price ≥ (bid + ask)·(100 − p)`.
fn band_sums(book: &OrderBook, bid: Px, ask: Px) -> (BandSums, BandSums) {
    let twice_mid = bid.0 + ask.0;
    let mut low = [Px::ZERO; DEPTH_BANDS];
    let mut high = [Px::ZERO; DEPTH_BANDS];
    for (p, (low, high)) in (1..).zip(low.iter_mut().zip(&mut high)) {
        let floor = twice_mid * (100 - p);
        *low = Px(floor / 200 + i64::from(floor % 200 != 0));
        *high = Px(twice_mid * (100 + p) / 200);
    }
    (book.bid_sums(low), book.ask_sums(high))
}
