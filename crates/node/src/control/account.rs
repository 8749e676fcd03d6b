//! The private side of the control thread: the user stream's life, the comparison with the venue, orders over REST
//! while the order connection is down, the clock, and what the venue told us to wait for.

use std::collections::BTreeSet;
use std::sync::Arc;

use binance::Symbols;
use binance::errors::{self, Action};
use binance::limits::{Holds, Urgency};
use binance::rest::{IncomeKind, RestClient, RestError, windows};
use binance::user_stream::UserAction;
use execution::{Check, Margin, Transfer, VenuePosition};
use market::{Amount, ClockOffset, ExecutionReport, Nanos, OrderRequest, SymbolId, VenueTime};
use runtime::clock::Clock;
use secrecy::{ExposeSecret, SecretString};

use super::market_data::{CLOCK_AGAIN_NS, CLOCK_EVERY_NS};
use super::state::{Control, Done, push};
use crate::stages::gateway::{GatewayCommand, GatewayNews, UNMEASURED};
use crate::stages::router::{AccountState, RouterCommand, UnlistedRow};

/// A failed look at the account is repeated after this, then after twice as long, up to 16 times.
const READ_AGAIN_NS: u64 = 500 * Nanos::MS;
/// A refused key does not become good by asking: the account is looked at this often then.
const KEY_REFUSED_NS: u64 = 60 * Nanos::SECOND;
/// Fills are listed from this long before the last good comparison on, venue ms.
const FILLS_MARGIN_MS: u64 = 30_000;

impl Control {
    /// Takes the listen key that the node has created.
    pub fn use_listen_key(&mut self, key: &str) {
        let now = Nanos(self.clock.now_ns());
        self.private.stream.on_key(Ok(key.into()), now);
    }

    fn venue_ms(&self) -> u64 {
        self.rest.clock().server_time(Nanos(self.clock.now_ns())).millis()
    }

    /// What is due on the private side.
    pub(super) fn tend_account(&mut self, now: u64) {
        if now >= self.private.clock_due {
            self.sync_clock(false);
        }
        if self.private.read_due.is_some_and(|due| now >= due) {
            self.private.read_due = None;
            self.read_account();
        }
        while let Some(action) = self.private.stream.poll(Nanos(now)) {
            self.user_action(&action);
        }
        self.gate.user_stream = self.private.stream.is_healthy();
        let holds = self.rest.with_limits(|limits| limits.holds());
        if holds != self.private.holds {
            self.hold(holds);
            push(&mut self.ends.to_gateway, GatewayCommand::Hold(holds));
        }
    }

    fn user_action(&mut self, action: &UserAction) {
        let rest = Arc::clone(&self.rest);
        match action {
            UserAction::CreateKey => {
                self.start(async move { Done::ListenKey(rest.create_listen_key().await) });
            }
            UserAction::KeepKey => self.start(async move { Done::Kept(rest.keep_listen_key().await) }),
            UserAction::Connect { path } => {
                let path = path.expose_secret().to_owned();
                push(&mut self.ends.to_gateway, GatewayCommand::UserPath(path));
            }
            UserAction::Reconcile => {
                // One under way began before the stream was open.
                let next = self.private.reads + 1;
                self.private.stream_waits_for = Some(next);
                self.reconcile();
            }
        }
    }

    /// News of the order gateway and the user stream.
    pub(super) fn gateway(&mut self, news: GatewayNews) {
        let now = Nanos(self.clock.now_ns());
        let stream = &mut self.private.stream;
        match news {
            // Once it was there, its loss is bridged over REST.
            GatewayNews::Fenced => self.alert("Fenced"),
            GatewayNews::OrderPath(open) => {
                self.gate.order_path |= open;
                self.gate.fallback = self.gate.order_path && !open;
            }
            GatewayNews::UserStream(true) => stream.on_open(),
            GatewayNews::UserStream(false) => stream.on_lost(now),
            GatewayNews::UserStreamReplaced => stream.on_replaced(),
            GatewayNews::UserStreamMute { heard } => {
                tracing::warn!("the user stream is silent about an acknowledged order: it begins anew");
                if let Some(form) = stream.on_mute(heard, now) {
                    tracing::warn!(?form, "it has never told of an order: its URL takes another form");
                }
                self.alert("UserStreamMute");
            }
            GatewayNews::ListenKeyExpired => {
                stream.on_expired(now);
                self.alert("ListenKeyExpired");
            }
            GatewayNews::Reconcile => self.reconcile(),
            GatewayNews::SyncClock => self.sync_clock(true),
            GatewayNews::Rest(request) => self.order_over_rest(request),
            GatewayNews::Traded(symbol) => {
                let at = self.venue_ms();
                self.private.traded.insert(symbol, at);
            }
            GatewayNews::Hold(holds) => {
                self.rest.with_limits(|limits| limits.hold(holds));
                let holds = self.rest.with_limits(|limits| limits.holds());
                self.hold(holds);
            }
            GatewayNews::Refused { code } => self.refused(code),
            GatewayNews::Unlisted => self.alert("UnlistedSymbol"),
            GatewayNews::MarginCall => self.alert("MarginCall"),
            GatewayNews::Income { reason, asset, change } => self.income(&reason, &asset, change),
            GatewayNews::OtherCommission { asset, amount } => {
                *self.seen.ledger.entry(format!("COMMISSION {asset}")).or_default() -= amount;
            }
            GatewayNews::AccountChanged => self.check_settings_now(),
        }
    }

    fn refused(&mut self, code: i32) {
        self.alert(&format!("Refused {code}"));
        let rule = errors::rule(code);
        if rule.action == Action::HaltTrading {
            self.fatal(code, &format!("the venue answered {code}: {}", rule.meaning));
        } else if rule.action != Action::Report && self.private.told.insert(code) {
            tracing::warn!(
                "the venue refused an order, {code}: {} (told once; the summary counts)",
                rule.meaning
            );
        }
    }

    /// A refusal that no retry mends: nothing is opened any more, and people are told which and why, once.
    fn fatal(&mut self, code: i32, why: &str) {
        if self.private.fatal.insert(code) {
            tracing::error!("trading stops: {why}");
            self.alert("TradingStopped");
            self.router_commands.push_back(RouterCommand::Trip(Check::Refused));
        }
    }

    fn income(&mut self, reason: &str, asset: &str, change: Amount) {
        let quote = asset == crate::preflight::QUOTE;
        let entry = if quote { reason.to_owned() } else { format!("{reason} {asset}") };
        *self.seen.ledger.entry(entry).or_default() += change.to_f64();
        if quote {
            let is_profit = matches!(reason, "FUNDING_FEE" | "INSURANCE_CLEAR");
            self.router_commands.push_back(RouterCommand::Income { change, is_profit });
        }
    }

    fn hold(&mut self, holds: Holds) {
        if holds.banned_until > self.private.holds.banned_until {
            tracing::error!("the venue bans this address until {}: nothing is sent", holds.banned_until);
            self.alert("Banned");
        }
        self.private.holds = holds;
    }

    // ---- clock --------------------------------------------------------------------------------------------------

    /// Takes the venue's time; `anew` where it said that our estimate is wrong.
    pub(super) fn sync_clock(&mut self, anew: bool) {
        self.private.clock_due = self.clock.now_ns() + CLOCK_EVERY_NS;
        if std::mem::replace(&mut self.private.clock_running, true) {
            return;
        }
        if anew {
            self.rest.reset_clock();
        }
        let rest = Arc::clone(&self.rest);
        self.start(async move { Done::Clock(rest.sync_clock(3).await) });
    }

    pub(super) fn clock_synced(&mut self, result: Result<binance::clock::ServerClock, RestError>) {
        self.private.clock_running = false;
        match result {
            Ok(server) => {
                let off = |ns: i64| ns.unsigned_abs() > self.watch.max_clock_offset_ms * Nanos::MS;
                if off(server.offset()) && !self.gate.clock.is_some_and(|c| off(c.offset_ns)) {
                    let ms = server.offset() / Nanos::MS as i64;
                    tracing::error!("our clock is {ms} ms behind the venue's: nothing is opened meanwhile");
                    self.alert("ClockOffset");
                }
                let measured = server.error_bound().map(|error_ns| ClockOffset {
                    offset_ns: server.offset(),
                    error_ns,
                    at: Nanos(self.clock.now_ns()),
                });
                self.gate.clock = measured;
                if let Some(measured) = measured {
                    self.market.iter_mut().for_each(|market| market.set_clock(measured));
                    self.shards.iter_mut().for_each(|shards| shards.clock.publish(measured));
                }
                push(&mut self.ends.to_gateway, GatewayCommand::Clock(Box::new(server)));
            }
            Err(error) => {
                tracing::warn!("clock: {error}");
                self.private.clock_due = self.clock.now_ns() + CLOCK_AGAIN_NS;
            }
        }
    }

    /// How long an order that is sent now may be on its way, ms; 0: it is too late.
    fn window_ms(&self) -> u32 {
        let now = self.clock.now_ns();
        let error = self.gate.clock.map_or(UNMEASURED, |clock| clock.error_at(Nanos(now)));
        self.ends.fence.window_ms(now, error, self.watch.recv_window_ms)
    }

    // ---- orders over REST ---------------------------------------------------------------------------------------

    fn order_over_rest(&self, request: OrderRequest) {
        if !self.may_send() {
            return;
        }
        let (rest, symbols) = (Arc::clone(&self.rest), self.symbols.clone());
        let window_ms = self.window_ms();
        self.start(async move {
            let result = rest.order(&request, &symbols, window_ms).await;
            Done::Ordered(request, result)
        });
    }

    pub(super) fn ordered(
        &mut self,
        request: &OrderRequest,
        result: Result<Option<ExecutionReport>, RestError>,
    ) {
        let report = match result {
            // Acknowledged only: the user stream tells of each order.
            Ok(report) => report,
            Err(error) => {
                tracing::warn!("order over REST: {error}");
                self.private_error(&error);
                let all = matches!(request, OrderRequest::CancelAll(_));
                (!all).then(|| error.report(request))
            }
        };
        if let Some(report) = report {
            push(&mut self.ends.to_gateway, GatewayCommand::Report(Box::new(report)));
        }
    }

    /// What an error of a signed request means beyond the request.
    pub(super) fn private_error(&mut self, error: &RestError) {
        if error.action() == Action::HaltTrading && error.code() != 0 {
            self.fatal(error.code(), &error.to_string());
        }
    }

    // ---- listen key ---------------------------------------------------------------------------------------------

    pub(super) fn listen_key(&mut self, result: Result<SecretString, RestError>) {
        let now = Nanos(self.clock.now_ns());
        if let Err(error) = &result {
            tracing::warn!("listen key: {error}");
            self.private_error(error);
        }
        self.private.stream.on_key(result.map_err(|e| e.action()), now);
    }

    pub(super) fn kept(&mut self, result: Result<(), RestError>) {
        let now = Nanos(self.clock.now_ns());
        if let Err(error) = &result {
            tracing::warn!("keeping the listen key: {error}");
            self.private_error(error);
        }
        self.private.stream.on_kept(result.map_err(|e| e.action()), now);
    }

    // ---- comparison with the venue ------------------------------------------------------------------------------

    /// Looks at the account; what is being looked at already may be older than what was just missed.
    pub(super) fn reconcile(&mut self) {
        if self.private.reading {
            self.private.read_again = true;
        } else {
            self.private.reading = true;
            self.read_account();
        }
    }

    fn read_account(&mut self) {
        self.private.reads += 1;
        let asked_ms = self.venue_ms();
        let since_ms = self.private.fills_since_ms;
        let recent = self.private.traded.iter().filter(|(_, at)| **at >= since_ms);
        let traded: BTreeSet<SymbolId> = recent.map(|(symbol, _)| *symbol).collect();
        let listed = self.private.list_transfers;
        let transfers = listed.then(|| self.private.transfers_since_ms.saturating_sub(FILLS_MARGIN_MS));
        let (rest, symbols, clock) = (Arc::clone(&self.rest), self.symbols.clone(), self.clock.clone());
        self.start(async move {
            let state = read(&rest, &symbols, &clock, traded, (since_ms, transfers)).await;
            Done::Account(asked_ms, state.map(Box::new))
        });
    }

    /// The balance differs and nothing explains it: the next look at the account lists the transfers too.
    pub(super) fn list_transfers(&mut self) {
        if !std::mem::replace(&mut self.private.list_transfers, true) {
            self.reconcile();
        }
    }

    pub(super) fn account_read(&mut self, asked_ms: u64, result: Result<Box<AccountState>, RestError>) {
        let now = self.clock.now_ns();
        let state = match result {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!("reconciliation: {error}");
                self.private_error(&error);
                let p = &mut self.private;
                let wait = match error.action() {
                    Action::HaltTrading => KEY_REFUSED_NS,
                    _ => READ_AGAIN_NS << p.read_failures.min(4),
                };
                p.read_failures += 1;
                p.read_due = Some(now + wait);
                return;
            }
        };
        self.name_unlisted(&state);
        let p = &mut self.private;
        p.read_failures = 0;
        if state.transfers.is_some() {
            p.list_transfers = false;
        }
        // What the router shows now is what it made of the look before this one.
        let settled = self.seen.router.unknown == 0 && self.seen.router.unpriced == 0;
        if self.seen.router.reconciled && settled {
            p.fills_since_ms = p.fills_since_ms.max(p.last_read_ms.saturating_sub(FILLS_MARGIN_MS));
        }
        p.last_read_ms = asked_ms;
        for symbol in state.orders.iter().map(|o| o.symbol).chain(state.positions.iter().map(|p| p.symbol)) {
            p.traded.insert(symbol, asked_ms);
        }
        let answers_stream = p.stream_waits_for.is_some_and(|read| p.reads >= read);
        if answers_stream {
            p.stream_waits_for = None;
            p.stream.on_reconciled(true);
        }
        p.reading = false;
        self.router_commands.push_back(RouterCommand::Account(state));
        if std::mem::take(&mut self.private.read_again) {
            self.reconcile();
        }
    }

    fn name_unlisted(&mut self, state: &AccountState) {
        let beside = in_words(&state.unlisted);
        if beside == self.seen.unlisted {
            return;
        }
        if beside.is_empty() {
            tracing::info!("nothing is left in instruments that are not followed");
        } else {
            tracing::warn!("not followed, and nothing is opened beside it: {beside}");
        }
        self.seen.unlisted = beside;
    }
}

/// As many as a line holds.
const NAMED: usize = 8;

/// What there is, with quantities: `-150 ATOMUSDT, an order of 2 in AAVEUSDT`.
fn in_words(rows: &[UnlistedRow]) -> String {
    let one = |row: &UnlistedRow| match row.order {
        None => format!("{} {}", row.qty, row.name),
        Some(_) => format!("an order of {} in {}", row.qty.abs(), row.name),
    };
    let mut words: Vec<String> = rows.iter().take(NAMED).map(one).collect();
    if rows.len() > NAMED {
        words.push(format!("and {} more", rows.len() - NAMED));
    }
    words.join(", ")
}

/// Open orders, positions and balance.
pub async fn account(
    rest: &RestClient,
    symbols: &Symbols,
    clock: &Clock,
    urgency: Urgency,
) -> Result<AccountState, RestError> {
    let requested_at = Nanos(clock.now_ns());
    let (orders, beside) = rest.open_orders(symbols, None, urgency).await?;
    let positions = rest.positions(symbols, None, urgency).await?;
    let summary = rest.account(urgency).await?;
    let margin = Some(Margin { available: summary.available, maintenance: summary.maintenance });
    let listed = positions.iter().filter_map(|p| {
        let symbol = p.id.filter(|_| !p.qty.is_zero())?;
        Some(VenuePosition { symbol, qty: p.qty, entry_px: p.entry_px, liquidation_px: p.liquidation_px })
    });
    let mut unlisted: Vec<UnlistedRow> = Vec::new();
    for p in positions.iter().filter(|p| p.id.is_none() && p.amount != 0.0) {
        let (name, qty, notional) = (p.symbol.clone(), p.amount, (p.amount * p.mark_px).abs());
        unlisted.push(UnlistedRow { name, qty, notional, order: None });
    }
    for o in beside {
        let (notional, order) = ((o.qty * o.px).abs(), Some(o.origin));
        unlisted.push(UnlistedRow { name: o.symbol, qty: o.qty, notional, order });
    }
    Ok(AccountState {
        requested_at,
        unlisted,
        transfers: None,
        orders,
        positions: listed.collect(),
        fills: Vec::new(),
        wallet: summary.wallet,
        margin,
    })
}

/// Transfers to and from the wallet between two venue times, ms.
async fn transfers(rest: &RestClient, since_ms: u64, until_ms: u64) -> Result<Vec<Transfer>, RestError> {
    let mut all = Vec::new();
    for window in windows(since_ms, until_ms) {
        let rows = rest.income(IncomeKind::Transfer, window, Urgency::Reconcile).await?;
        let ours = rows.into_iter().filter(|row| row.asset == crate::preflight::QUOTE);
        all.extend(ours.map(|row| Transfer { id: row.id, at: VenueTime(row.ts_event), amount: row.amount }));
    }
    Ok(all)
}

/// The same, and then the fills since `since_ms` (venue time) wherever there may be any: after the positions, so that
/// no fill that a position holds is missing from the list.
async fn read(
    rest: &RestClient,
    symbols: &Symbols,
    clock: &Clock,
    mut traded: BTreeSet<SymbolId>,
    (since_ms, transfers_since_ms): (u64, Option<u64>),
) -> Result<AccountState, RestError> {
    let mut state = account(rest, symbols, clock, Urgency::Reconcile).await?;
    let until_ms = rest.clock().server_time(Nanos(clock.now_ns())).millis() + FILLS_MARGIN_MS;
    traded.extend(state.orders.iter().map(|o| o.symbol));
    traded.extend(state.positions.iter().map(|p| p.symbol));
    for symbol in traded {
        let Some(name) = symbols.get(symbol).map(|i| i.symbol.clone()) else { continue };
        for window in windows(since_ms, until_ms) {
            state.fills.extend(rest.user_trades(symbols, &name, window, Urgency::Reconcile).await?);
        }
    }
    if let Some(since_ms) = transfers_since_ms {
        state.transfers = Some(transfers(rest, since_ms, until_ms).await?);
    }
    Ok(state)
}
