//! What stages publish of themselves for people: copies of small values, written in housekeeping and read by the control
//! thread, which makes the one status model of them ([`telemetry::state`]). Nobody waits for a reader.

use alpha::{Engine, Gate as Step, StepReport};
use execution::{ClosedGate, Purpose, Router, Stats, TradingState};
use market::{Amount, ClientOrderId, Nanos, OrderStatus, Posture, Px, Qty, Side, SymbolId};
use telemetry::slot;

/// Between two copies.
pub const EVERY_NS: u64 = 250 * Nanos::MS;
/// Gates, positions and orders that a copy holds at most.
const GATES: usize = 40;
const POSITIONS: usize = 16;
const ORDERS: usize = 32;

/// A few values, as many as there are.
pub type Few<T, const N: usize> = [Option<T>; N];

fn few<T: Copy, const N: usize>(all: impl Iterator<Item = T>) -> Few<T, N> {
    let mut few = [None; N];
    few.iter_mut().zip(all).for_each(|(to, one)| *to = Some(one));
    few
}

/// A position, with what it is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionView {
    /// Where.
    pub symbol: SymbolId,
    /// Signed lots.
    pub qty: Qty,
    /// Average price in ticks.
    pub avg_ticks: f64,
    /// Price now; `None`: there is none.
    pub px: Option<Px>,
    /// Profit at it.
    pub unrealised: Option<f64>,
}

/// An order that works, or whose fate is unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of execution::WorkingOrder")]
pub struct OrderView {
    pub id: ClientOrderId,
    pub symbol: SymbolId,
    pub purpose: Purpose,
    pub side: Side,
    pub px: Px,
    pub qty: Qty,
    pub cum: Qty,
    pub status: OrderStatus,
}

/// The router at one moment.
#[derive(Debug, Clone, Copy)]
pub struct RouterView {
    /// When.
    pub at: Nanos,
    /// Gates of the account that are closed, latches first.
    pub gates: Few<ClosedGate, GATES>,
    /// Trading state, latches considered.
    pub state: TradingState,
    /// Positions.
    pub positions: Few<PositionView, POSITIONS>,
    /// Orders.
    pub orders: Few<OrderView, ORDERS>,
    /// Counters.
    pub stats: Stats,
    /// Wallet, quote asset.
    pub wallet: Option<f64>,
    /// Equity.
    pub equity: Option<f64>,
    /// Equity when the day began.
    pub day_start: Option<f64>,
    /// Profit of the day.
    pub day_pnl: Option<f64>,
    /// Fall from the day's peak.
    pub drawdown: Option<f64>,
    /// Of the day.
    pub realised: f64,
    /// Of the day.
    pub fees: f64,
    /// Of the day.
    pub turnover: f64,
    /// Free margin at the last comparison.
    pub margin_free: Option<f64>,
    /// When the venue was last asked and told of everything.
    pub compared_at: Option<Nanos>,
    /// Since when the oldest unknown order is so.
    pub unknown_since: Option<Nanos>,
    /// Of resting orders.
    pub dead_man_age_ms: u64,
    /// Share used of limits: loss of the day, drawdown of it, our budget of orders.
    pub used: [(&'static str, f64); 3],
}

impl RouterView {
    /// Of this router.
    pub fn of(router: &mut Router, now: Nanos) -> Self {
        let gates = few(router.closed_gates(now));
        let r = &*router;
        let (ledger, day) = (r.ledger(), r.ledger().day());
        let day_start = day.start.map(Amount::to_f64);
        let (day_pnl, drawdown) = (ledger.day_pnl().map(Amount::to_f64), ledger.drawdown());
        let risk = &r.config().risk;
        let most_loss = risk.max_day_loss_usd.or(day_start.map(|s| s * risk.max_day_loss_of_equity));
        let share = |x: Option<f64>, most: Option<f64>| match (x, most) {
            (Some(x), Some(most)) if most > 0.0 => (x / most).max(0.0),
            _ => 0.0,
        };
        let order = |o: &execution::WorkingOrder| OrderView {
            id: o.id,
            symbol: o.symbol,
            purpose: o.purpose,
            side: o.side,
            px: o.px,
            qty: o.qty,
            cum: o.cum,
            status: o.status,
        };
        Self {
            at: now,
            gates,
            state: r.trading_state(),
            positions: few(positions(r)),
            orders: few(r.orders().live().map(order)),
            stats: *r.stats(),
            wallet: ledger.wallet().map(Amount::to_f64),
            equity: ledger.equity().map(Amount::to_f64),
            day_start,
            day_pnl,
            drawdown,
            realised: day.realised.to_f64(),
            fees: day.fees.to_f64(),
            turnover: day.turnover.to_f64(),
            margin_free: r.margin().map(|m| m.available.to_f64()),
            compared_at: r.compared_at(),
            unknown_since: r.orders().unknown().1,
            dead_man_age_ms: r.dead_man_age_ms(now),
            used: [
                ("day_loss", share(day_pnl.map(|x| -x), most_loss)),
                ("day_drawdown", share(drawdown, Some(risk.max_day_drawdown))),
                ("own_orders", r.orders_used(now)),
            ],
        }
    }
}

fn positions(r: &Router) -> impl Iterator<Item = PositionView> {
    let held = r.instruments().iter().map(|i| (i, r.position(i.id))).filter(|(_, p)| !p.qty.is_zero());
    held.map(|(i, p)| {
        let px = r.price(i.id);
        PositionView {
            symbol: i.id,
            qty: p.qty,
            avg_ticks: p.avg_ticks(),
            px,
            unrealised: px.map(|px| p.unrealised(i, px).to_f64()),
        }
    })
}

/// The engine at one moment.
#[derive(Debug, Clone, Copy)]
pub struct EngineView {
    /// Event time of the newest tick.
    pub at: Nanos,
    /// Ticks stepped in this run.
    pub ticks: u64,
    /// Bar of the day.
    pub bar: u64,
    /// Its scan.
    pub vel_div: f64,
    /// Gate that it came to.
    pub gate: Step,
    /// May the stage enter?
    pub may_enter: bool,
    /// Posture in force.
    pub posture: Posture,
    /// Rm in force.
    pub rm: f64,
    /// Boost in force.
    pub boost: f64,
    /// Beta in force.
    pub beta: f64,
    /// Capital that it sizes with.
    pub capital: f64,
}

impl EngineView {
    /// After a step.
    pub fn of(engine: &Engine, at: Nanos, ticks: u64, bar_ticks: u64, report: &StepReport) -> Self {
        let safety = engine.safety();
        Self {
            at,
            ticks,
            bar: bar_ticks / engine.stride() as u64,
            vel_div: report.values.vel_div,
            gate: report.gate,
            may_enter: report.gate != Step::Caller,
            posture: safety.posture,
            rm: safety.rm,
            boost: engine.acb().boost(),
            beta: engine.acb().beta(),
            capital: engine.capital(),
        }
    }
}

/// Of a book: event time of its last update, best bid, best offer in ticks (0: none).
pub const BOOK_WORDS: usize = 3;
/// The book stage's end.
pub type BookWriter = slot::Writer<BOOK_WORDS>;
/// The control thread's end.
pub type BookReader = slot::Reader<BOOK_WORDS>;
