//! The one status model, made of what the control thread has seen and what the stages publish: four times a second, and
//! only where somebody looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use execution::{Purpose, TradingState};
use market::text::{counted, rough};
use market::{Nanos, OrderStatus, Side, SymbolId};
use runtime::worker::StageStats;
use telemetry::state as show;

use super::shown::{self, DATA_AGE_NS, Publishing};
use super::state::{Control, Ending};
use crate::gates::{self, Shut};
use crate::published::{EVERY_NS, EngineView, OrderView, PositionView, RouterView};
use crate::session::Fill;
use crate::stages::Hop;
use crate::topology::table;

/// A view of a stage that is older than this says that the stage does not turn.
const VIEW_AGE_NS: u64 = 2 * Nanos::SECOND;
/// Latencies are summed up this often.
const LATENCY_EVERY_NS: u64 = Nanos::SECOND;
/// Done orders and trades that are shown.
const KEPT: usize = 50;
/// Gates that are closed by way of the trading state.
const STOPS: [&str; 6] =
    ["dry_run", "worker_silent", "state_unkept", "journal_hole", "stopping", "kill_file"];
/// Orders whose first sight is remembered; there are never so many at once.
const MOST_ORDERS: usize = 4_096;

impl Control {
    /// Publishes the state when it is due.
    pub(super) fn publish(&mut self, now: u64) {
        let Some(mut p) = self.publishing.take() else { return };
        let frames = self.seen.feed.frames + self.seen.shards.updates;
        if frames > p.frames.0 {
            p.frames = (frames, Some(now));
        }
        if now >= p.due {
            p.due = now + EVERY_NS;
            self.make_state(&mut p, now);
        }
        self.publishing = Some(p);
    }

    /// An order of ours, as the venue tells of it.
    pub(super) fn show_report(&mut self, report: &market::ExecutionReport) {
        let Some(p) = self.publishing.as_mut() else { return };
        let (Some(id), Some(i)) = (report.origin.ours(), self.symbols.get(report.symbol)) else { return };
        let id = id.text().to_string();
        if report.trade_id != 0 {
            p.session.fill(Fill {
                ts_ms: report.ts_event.millis(),
                order: id.clone(),
                symbol: i.symbol.clone(),
                side: if report.side == Side::Buy { "BUY" } else { "SELL" },
                reduce_only: report.reduce_only,
                order_px: i.px_f64(report.px),
                px: i.px_f64(report.last_px),
                qty: i.qty_f64(report.last_qty),
                commission: report.commission.to_f64(),
                maker: report.maker,
                trade_id: report.trade_id,
            });
        }
        let now_ms = self.clock.wall_ns() / Nanos::MS;
        if !report.status.is_done() {
            p.orders.entry(id).or_insert(now_ms);
            return;
        }
        let done = show::Order {
            since_ms: p.orders.remove(&id).unwrap_or(now_ms),
            id,
            symbol: i.symbol.clone(),
            purpose: if report.reduce_only { "exit" } else { "entry" }.to_owned(),
            side: side(report.side),
            px: i.px_f64(report.px),
            qty: i.qty_f64(report.qty),
            filled: i.qty_f64(report.cum_qty),
            status: status(report.status),
            until_ms: now_ms,
        };
        if p.done.iter().all(|o| o.id != done.id) {
            p.session.order(done.clone());
        }
        p.done.retain(|o| o.id != done.id);
        p.done.push_front(done);
        p.done.truncate(KEPT);
    }

    fn make_state(&mut self, p: &mut Publishing, now: u64) {
        if let Some(view) = self.ends.router_view.take() {
            p.router = Some(view);
        }
        if let Some(view) = self.ends.engine_view.take() {
            p.engine = Some(view);
        }
        // The monotonic clock stands on the wall's epoch: the difference is what the wall was set by since the start.
        let wall = self.clock.wall_ns();
        let ms = |at: u64| wall.saturating_sub(now.saturating_sub(at)) / Nanos::MS;
        p.sequence += 1;
        let market = self.show_market(p, now);
        let shut = self.shut_gates(p, &market, now);
        let gates: Vec<show::ClosedGate> = shut
            .into_iter()
            .map(|g| {
                let since = g.since.map_or_else(|| *p.since.entry(g.name).or_insert(now), |at| at.0);
                show::ClosedGate {
                    name: g.name.to_owned(),
                    cause: g.cause,
                    since_ms: ms(since),
                    reopens: g.reopens,
                    symbols: g.symbols,
                }
            })
            .collect();
        p.session.gates(&gates, wall / Nanos::MS);
        p.since.retain(|name, _| gates.iter().any(|g| g.name == *name));
        self.show_trades(p, wall / Nanos::MS);
        let state = show::State {
            schema: show::SCHEMA,
            at_ms: wall / Nanos::MS,
            sequence: p.sequence,
            node: p.facts.node.clone(),
            armed: gates.iter().all(|g| !g.symbols.is_empty()),
            trading_state: trading_state(self.gate.state, p.router.as_ref()),
            gates,
            account: self.show_account(p, &ms),
            positions: self.show_positions(p),
            orders: self.show_orders(p, wall / Nanos::MS),
            done_orders: p.done.iter().cloned().collect(),
            trades: p.trades.iter().cloned().collect(),
            counts: self.show_counts(p, now),
            maker: {
                let r = &self.seen.router;
                show::Maker { entries: r.maker_entries, exits: r.maker_exits, all: r.maker_share }
            },
            signal: self.show_signal(p),
            books: self.show_books(p, &market, now),
            market,
            connections: self.show_connections(),
            latency: self.show_latency(p, now),
            latency_lost: self.ends.latency.lost(),
            stages: show_stages(p, now),
            rings: self.ends.rings.iter().map(|r| show_ring(r)).collect(),
            memory: show_memory(&p.facts.memory.status()),
            journal: self.journal.as_deref().map(show_journal),
            clock: show::Clock {
                offset_ms: self.gate.clock.map(|c| c.offset_ns as f64 / 1e6),
                error_ms: self.gate.clock.map(|c| c.error_at(Nanos(now)) as f64 / 1e6),
            },
            limits: self.show_limits(p, now),
            alerts: self.seen.alerts.clone(),
            log: telemetry::log::tail(50),
        };
        p.state = Arc::new(state);
        if let Some(out) = &p.out {
            out.publish((*p.state).clone());
        }
    }

    // ---- gates --------------------------------------------------------------------------------------------------

    /// Every gate that is closed, in the order in which they matter.
    fn shut_gates(&self, p: &Publishing, market: &show::Market, now: u64) -> Vec<Shut> {
        let mut shut = self.own_gates(now);
        self.connection_gates(&mut shut);
        self.market_gates(market, now, &mut shut);
        match &p.router {
            None => shut.push(Shut::new("starting", "the router has not said anything yet", "in a moment")),
            Some(view) => {
                if now.saturating_sub(view.at.0) > VIEW_AGE_NS {
                    shut.push(Shut::new(
                        "worker_silent",
                        "the router's worker does not turn",
                        "when it turns again",
                    ));
                }
                for mut gate in view.gates.iter().flatten().filter_map(gates::of_router) {
                    if gate.name == "unlisted" && !self.seen.unlisted.is_empty() {
                        gate.cause = format!("{}: {}", gate.cause, self.seen.unlisted);
                    }
                    // Whoever changed the trading state says why, where it is one of ours.
                    let ours = self.killed().is_none();
                    let told = |g: &Shut| {
                        g.name == gate.name
                            || (gate.name == "state" && STOPS.contains(&g.name))
                            // A run that ends in good order goes down the kill switch's ladder, too.
                            || (gate.name == "kill" && g.name == "stopping" && ours)
                    };
                    if !shut.iter().any(told) {
                        shut.push(gate);
                    }
                }
            }
        }
        self.engine_gates(p, &mut shut);
        shut
    }

    fn own_gates(&self, now: u64) -> Vec<Shut> {
        let mut shut = Vec::new();
        if self.ending != Ending::No {
            let cause = format!("the run is ending: {}", self.seen.ended_by);
            let name = if self.seen.ended_by == "the kill file" { "kill_file" } else { "stopping" };
            let reopens = match (name, &self.orders.kill_file) {
                ("kill_file", Some(file)) => format!("remove {} and start again", file.display()),
                _ => "start again".to_owned(),
            };
            shut.push(Shut::new(name, cause, reopens));
        }
        if self.ends.fence.is_dry() {
            shut.push(Shut::new(
                "dry_run",
                "a dry run changes nothing at the venue",
                "start without --dry-run",
            ));
        } else if !self.ends.fence.is_open(now) {
            let cause = if self.ends.fence.is_lost() {
                "the lease is lost: another node may be active"
            } else {
                "system memory does not confirm the lease"
            };
            shut.push(Shut::new("lease", cause, "when system memory confirms the lease"));
        }
        let holds = self.private.holds;
        let until = holds.banned_until.max(holds.orders_until);
        let left = until.since(self.rest.clock().server_time(Nanos(now)));
        if left > Nanos(0) {
            let what =
                if holds.banned_until == until { "has banned this address" } else { "takes no orders" };
            let cause = format!("the venue {what} for {:.1} s", left.0 as f64 / 1e9);
            shut.push(Shut::new("backoff", cause, "time; another start does not help"));
        }
        if self.memory.is_some() {
            let cause = "system memory was silent at the start: what it holds has not been read";
            shut.push(Shut::new(
                "memory_unread",
                cause,
                "when it answers; the node begins anew with what it says",
            ));
        }
        if self.silence.is_there() {
            shut.push(Shut::new("worker_silent", "a worker does not turn", "when it turns again"));
        }
        if self.unkept.load(Ordering::Acquire) {
            let cause = "the state can be written neither to memory nor to the local file";
            shut.push(Shut::new("state_unkept", cause, "when either can be written again"));
        }
        // Since the control thread looked last, which told the router so.
        if self.told_state.2 {
            let cause = format!("the journal has a hole: {} so far", counted(self.journal_lost.0, "record"));
            shut.push(Shut::new("journal_hole", cause, "when it has been whole for a minute"));
        }
        shut
    }

    fn connection_gates(&self, shut: &mut Vec<Shut>) {
        let gate = &self.gate;
        if !gate.order_path {
            shut.push(Shut::new("order_path", "the connection for orders is not open", "when it is open"));
        } else if gate.fallback {
            let cause = "the connection for orders is down: exits and cancels go over REST";
            shut.push(Shut::new("rest_fallback", cause, "when it is open again"));
        }
        if !gate.user_stream {
            let cause = "the user stream is down: fills would not be heard of";
            shut.push(Shut::new(
                "user_stream",
                cause,
                "when it is open and the account has been compared since",
            ));
        }
    }

    fn market_gates(&self, market: &show::Market, now: u64, shut: &mut Vec<Shut>) {
        let quiet = market.data_age_ms.is_none_or(|age| age * Nanos::MS > DATA_AGE_NS);
        if quiet {
            let cause = match market.data_age_ms {
                Some(age) => format!("no market data for {:.1} s", age as f64 / 1e3),
                None => "no market data yet".to_owned(),
            };
            let since = market.data_age_ms.map(|age| Nanos(now.saturating_sub(age * Nanos::MS)));
            shut.push(Shut { since, ..Shut::new("market_data", cause, "when frames come again") });
        } else if market.books_live == 0 {
            let cause = format!("0 of {} books are in sync", market.books);
            shut.push(Shut::new("books", cause, "snapshots are being fetched"));
        } else if market.books_live < market.books {
            let symbols: Vec<String> = self.seen.masked.keys().cloned().collect();
            let dark = market.books - market.books_live;
            let cause = format!("{dark} of {} books are not in sync or not to be trusted", market.books);
            if !symbols.is_empty() {
                shut.push(Shut { symbols, ..Shut::new("books", cause, "each as soon as it is in sync") });
            }
        }
    }

    /// What keeps the engine from ever asking for an entry.
    fn engine_gates(&self, p: &Publishing, shut: &mut Vec<Shut>) {
        let Some(engine) = &p.engine else {
            shut.push(Shut::new("warm_up", "no tick has come yet", "with the first ticks"));
            return;
        };
        let (bars, needed) = warmth(p, engine);
        if bars < needed {
            let left = rough(u64::from(needed - bars) * p.facts.bar_ms);
            let cause = format!("warm-up: {bars} of {needed} bars, about {left} left");
            let reopens = "with the bars that are missing; --warm-start DIR takes them from day files";
            shut.push(Shut::new("warm_up", cause, reopens));
        }
        if engine.gate == alpha::Gate::Forewarner {
            shut.push(Shut::new("forewarner", "the forewarner says RED", "the next day"));
        }
        let named = |name: &str, shut: &[Shut]| shut.iter().any(|g| g.name == name);
        if engine.gate == alpha::Gate::Posture && !named("hibernate", shut) {
            shut.push(Shut::new("hibernate", "posture HIBERNATE", gates::HIBERNATE_ENDS));
        }
    }

    // ---- parts --------------------------------------------------------------------------------------------------

    fn show_account(&self, p: &Publishing, ms: &impl Fn(u64) -> u64) -> show::Account {
        let Some(r) = &p.router else { return show::Account::default() };
        let values = self.show_positions(p).into_iter().filter_map(|p| Some((p.notional?, p.unrealised)));
        let values: Vec<_> = values.collect();
        // The sum of nothing is -0.
        let unrealised: Option<f64> = values.iter().map(|(_, u)| *u).sum::<Option<f64>>().map(|x| x + 0.0);
        show::Account {
            equity: r.equity,
            wallet: r.wallet,
            day_pnl: r.day_pnl,
            realised: Some(r.realised),
            unrealised,
            drawdown: r.drawdown,
            day_start: r.day_start,
            fees: r.fees,
            turnover: r.turnover,
            margin_free: r.margin_free,
            gross: values.iter().map(|(v, _)| v.abs()).sum::<f64>() + 0.0,
            net: values.iter().map(|(v, _)| v).sum::<f64>() + 0.0,
            reconciled: self.seen.router.reconciled,
            compared_ms: r.compared_at.map(|at| ms(at.0)),
            killed: self.seen.router.killed,
        }
    }

    fn show_positions(&self, p: &Publishing) -> Vec<show::Position> {
        let Some(r) = &p.router else { return Vec::new() };
        let tp = |symbol: SymbolId| {
            let rests = |o: &&OrderView| o.symbol == symbol && o.purpose == Purpose::TakeProfit;
            r.orders.iter().flatten().find(rests).map(|o| o.px)
        };
        let one = |v: &PositionView| {
            let i = self.symbols.get(v.symbol)?;
            let (qty, px) = (i.qty_f64(v.qty), v.px.map(|px| i.px_f64(px)));
            Some(show::Position {
                symbol: i.symbol.clone(),
                qty,
                lots: v.qty.0,
                entry_px: i.tick.to_f64() * v.avg_ticks,
                px,
                tp_px: tp(v.symbol).map(|px| i.px_f64(px)),
                notional: px.map(|px| px * qty),
                unrealised: v.unrealised,
            })
        };
        r.positions.iter().flatten().filter_map(one).collect()
    }

    fn show_orders(&self, p: &mut Publishing, now_ms: u64) -> Vec<show::Order> {
        let Some(r) = &p.router else { return Vec::new() };
        let (orders, done) = (&mut p.orders, &p.done);
        if orders.len() > MOST_ORDERS {
            orders.clear();
        }
        let one = |o: &OrderView| {
            let (i, id) = (self.symbols.get(o.symbol)?, o.id.text().to_string());
            // The venue's word may be newer than the router's copy.
            if done.iter().any(|o| o.id == id) {
                return None;
            }
            let since_ms = *orders.entry(id.clone()).or_insert(now_ms);
            Some(show::Order {
                id,
                symbol: i.symbol.clone(),
                purpose: purpose(o.purpose).to_owned(),
                side: side(o.side),
                px: i.px_f64(o.px),
                qty: i.qty_f64(o.qty),
                filled: i.qty_f64(o.cum),
                status: status(o.status),
                since_ms,
                until_ms: now_ms,
            })
        };
        r.orders.iter().flatten().filter_map(one).collect()
    }

    fn show_trades(&self, p: &mut Publishing, now_ms: u64) {
        let new = self.seen.trades.get(p.trades_seen..).unwrap_or_default();
        for (_, t) in new {
            let h = &t.position;
            p.trades.push_front(show::Trade {
                at_ms: now_ms,
                symbol: self.symbols.get(h.symbol).map_or_else(String::new, |i| i.symbol.clone()),
                side: if h.direction < 0 { "SHORT" } else { "LONG" }.to_owned(),
                reason: t.reason.name().to_owned(),
                ..show::Trade::default()
            });
        }
        // What was told before may have been put right since.
        for (shown, (_, t)) in p.trades.iter_mut().zip(self.seen.trades.iter().rev()) {
            (shown.notional, shown.entry_px) = (t.position.notional, t.position.entry_price);
            (shown.exit_px, shown.pnl, shown.fees) = (t.exit_price, t.pnl, t.fees);
            (shown.maker_entry, shown.maker_exit) = (t.position.maker_entry, t.maker_exit);
        }
        p.trades_seen = self.seen.trades.len();
        p.trades.truncate(KEPT);
    }

    fn show_counts(&self, p: &Publishing, now: u64) -> show::Counts {
        let r = &self.seen.router;
        let stats = p.router.as_ref().map(|v| v.stats).unwrap_or_default();
        let unknown = p.router.as_ref().and_then(|v| v.unknown_since);
        show::Counts {
            orders: r.orders,
            cancels: stats.cancels,
            queries: stats.queries,
            rejects: r.rejects,
            denials: r.denials,
            fills: r.fills,
            entries: r.entries,
            abandoned: r.abandoned,
            exits: r.exits,
            unknown_now: r.unknown,
            unknown_oldest_ms: unknown.map_or(0, |at| now.saturating_sub(at.0) / Nanos::MS),
            duplicate_reports: stats.duplicate_reports,
            external_fills: stats.external_fills,
            late_fills: stats.late_fills,
            mismatches: stats.mismatches,
            repegs: stats.repegs,
            dead_man_age_ms: p.router.as_ref().map_or(0, |v| v.dead_man_age_ms),
            round_trips: self.seen.trades.len() as u64,
        }
    }

    fn show_signal(&self, p: &Publishing) -> show::Signal {
        let (facts, before) = (&p.facts, p.facts.gates_before);
        let counts = self.seen.gates.unwrap_or(before);
        let funnel = alpha::Gate::ALL.iter().zip(counts).zip(before);
        let funnel = funnel.map(|((gate, n), before)| (gate.name().to_owned(), n - before)).collect();
        let known = |x: f64| x.is_finite().then_some(x);
        let e = p.engine.as_ref();
        let (warm_bars, warm_needed) = e.map_or((0, facts.warm_bars), |e| warmth(p, e));
        show::Signal {
            at_ms: e.map_or(0, |e| e.at.millis()),
            ticks: e.map_or(0, |e| e.ticks),
            vel_div: e.and_then(|e| known(e.vel_div)),
            threshold: facts.threshold,
            extreme: facts.extreme,
            gate: e.map_or_else(String::new, |e| e.gate.name().to_owned()),
            warm_bars: warm_bars.min(warm_needed),
            warm_needed,
            posture: e.map_or(self.gate.posture, |e| e.posture).name().to_owned(),
            rm: e.and_then(|e| known(e.rm)),
            own_rm: p.facts.memory.status().rm,
            boost: e.and_then(|e| known(e.boost)),
            beta: e.and_then(|e| known(e.beta)),
            max_leverage: self.gate.abs_max_leverage,
            funnel,
        }
    }

    fn show_market(&self, p: &Publishing, now: u64) -> show::Market {
        let age = p.frames.1.map(|at| now.saturating_sub(at));
        shown::market(&self.seen, self.symbols.all().len(), age)
    }

    fn show_books(&self, p: &Publishing, market: &show::Market, now: u64) -> Vec<show::Book> {
        let Some(view) = self.market.as_ref().map(super::market_data::MarketController::view) else {
            return Vec::new();
        };
        let venue_ms = self.rest.clock().server_time(Nanos(now)).millis();
        let quiet = market.data_age_ms.is_none_or(|age| age * Nanos::MS > DATA_AGE_NS);
        let one = |(n, i): (usize, &market::Instrument)| {
            let [at, bid, ask] = view.read(n).unwrap_or_default();
            let there = at > 0;
            let age_ms = there.then(|| venue_ms.saturating_sub(at / Nanos::MS));
            let masked = self.seen.masked.get(&i.symbol).map(|mask| format!("{mask:?}").to_lowercase());
            let stale = quiet && age_ms.is_none_or(|age| age > p.facts.book_stale_ms);
            let px = |ticks: u64| there.then(|| i.px_f64(market::Px(ticks as i64)));
            show::Book {
                symbol: i.symbol.clone(),
                bid: px(bid),
                ask: px(ask),
                age_ms,
                mask: masked.or_else(|| stale.then(|| "stale".to_owned())),
            }
        };
        self.symbols.all().iter().enumerate().map(one).collect()
    }

    fn show_connections(&self) -> Vec<show::Connection> {
        let private =
            [("orders", self.gate.order_path && !self.gate.fallback), ("user_stream", self.gate.user_stream)];
        let private = private.map(|(name, up)| show::Connection {
            name: name.to_owned(),
            up,
            ..show::Connection::default()
        });
        shown::connections(&self.seen, self.clock.now_ns()).chain(private).collect()
    }

    fn show_latency(&self, p: &mut Publishing, now: u64) -> Vec<show::Hop> {
        if now >= p.latency_due {
            p.latency_due = now + LATENCY_EVERY_NS;
            let hops = Hop::ALL.into_iter().zip(&mut p.hops).filter_map(|(hop, minute)| {
                let recorded = self.ends.latency.recorded(hop as usize)?;
                Some(minute.hop(hop.name(), now, recorded))
            });
            p.latency = hops.collect();
        }
        p.latency.clone()
    }

    fn show_limits(&self, p: &Publishing, now: u64) -> BTreeMap<String, f64> {
        let server = self.rest.clock().server_time(Nanos(now));
        let windows = self.rest.with_limits(|limits| limits.status(Nanos(server.millis() * Nanos::MS)));
        let windows = windows.iter().filter(|w| w.limit > 0).map(|w| {
            let kind = match w.kind {
                binance::limits::LimitKind::Weight => "weight",
                binance::limits::LimitKind::Orders => "orders",
                binance::limits::LimitKind::Other => "other",
            };
            let seconds = w.length / Nanos::SECOND;
            (format!("venue_{kind}_{seconds}s"), f64::from(w.used) / f64::from(w.limit))
        });
        let own = p.router.iter().flat_map(|r| r.used).map(|(name, share)| (name.to_owned(), share));
        windows.chain(own).collect()
    }
}

/// Bars of warm-up: of the day's volatility regime, or of the windows that the signal is made of, whichever is missing more.
fn warmth(p: &Publishing, engine: &EngineView) -> (u32, u32) {
    let facts = &p.facts;
    let day = (u32::try_from(engine.bar).unwrap_or(u32::MAX), facts.warm_bars);
    let window = alpha::eigen::SIGNAL_BARS as u32;
    let stepped = u32::try_from(engine.ticks / u64::from(facts.stride.max(1))).unwrap_or(u32::MAX);
    if facts.own_scanner && engine.vel_div.is_nan() && stepped < window {
        return (stepped, window);
    }
    (day.0.min(day.1), day.1)
}

fn trading_state(told: TradingState, router: Option<&RouterView>) -> String {
    let state = router.map_or(told, |r| r.state);
    match state {
        TradingState::Active => "ACTIVE",
        TradingState::Reducing => "REDUCING",
        TradingState::Halted => "HALTED",
    }
    .to_owned()
}

fn side(side: Side) -> String {
    if side == Side::Buy { "BUY" } else { "SELL" }.to_owned()
}

fn status(status: OrderStatus) -> String {
    let text = match status {
        OrderStatus::PendingNew => "pending_new",
        OrderStatus::New => "new",
        OrderStatus::PartiallyFilled => "partially_filled",
        OrderStatus::Filled => "filled",
        OrderStatus::PendingCancel => "pending_cancel",
        OrderStatus::Canceled => "canceled",
        OrderStatus::Rejected => "rejected",
        OrderStatus::Expired => "expired",
        OrderStatus::Unknown => "unknown",
    };
    text.to_owned()
}

const fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Entry => "entry",
        Purpose::TakeProfit => "take_profit",
        Purpose::Exit => "exit",
    }
}

fn show_stages(p: &mut Publishing, now: u64) -> Vec<show::Stage> {
    let one = |((worker, stats), last): (&(String, Arc<StageStats>), &mut (u64, u64))| {
        let (polls, worked) = (stats.polls(), stats.worked());
        let (before, did) = std::mem::replace(last, (polls, worked));
        show::Stage {
            name: stats.name().to_owned(),
            worker: worker.clone(),
            polls,
            worked,
            duty: worked.saturating_sub(did) as f64 / polls.saturating_sub(before).max(1) as f64,
            longest_ns: stats.longest_ns(),
            heartbeat_age_ms: now.saturating_sub(stats.last_poll_ns()) / Nanos::MS,
        }
    };
    p.facts.stages.iter().zip(&mut p.worked).map(one).collect()
}

fn show_ring(r: &runtime::ring::RingStats) -> show::Ring {
    show::Ring {
        name: r.name().to_owned(),
        capacity: r.capacity() as u64,
        pushed: r.pushed(),
        high_water: r.high_water(),
        full: r.full(),
        lossless: table::LINKS.iter().any(|l| l.name == r.name() && l.when_full.contains("waits")),
    }
}

fn show_memory(m: &crate::memory_link::MemoryStatus) -> show::Memory {
    show::Memory {
        backend: m.backend.to_owned(),
        connected: m.connected,
        detail: m.detail.clone(),
        restored: m.restored.clone(),
        written: m.written,
        pending: m.pending as u64,
        lost: m.lost,
        outages: m.outages,
    }
}

fn show_journal(status: &runtime::journal::writer::Status) -> show::Journal {
    let ((syncs, took_ns, longest_ns), room) = (status.syncs(), status.room());
    show::Journal {
        records: status.records(),
        lost: status.lost(),
        bytes: status.bytes(),
        waiting: status.waiting(),
        syncs,
        sync_s: took_ns as f64 / 1e9,
        sync_longest_s: longest_ns as f64 / 1e9,
        failing: status.is_failing(),
        disk_free: room.map(|r| r.free),
        disk_size: room.map(|r| r.size),
    }
}
