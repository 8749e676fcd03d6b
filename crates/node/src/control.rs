//! The control thread: everything slow around the pipeline. Snapshots, requests, signals, progress, and the end of a
//! run in good order; [`account`] is its private side (user stream, reconciliation, REST), [`watch`] looks after what
//! may change at the venue.
//!
//! It turns every 20 ms: takes what the stages tell, starts requests as futures, hands their results back. Nothing on
//! the hot path waits for it.

mod account;
pub(crate) mod beside;
pub(crate) mod close_stop;
mod gathered;
pub mod market_data;
pub mod orders;
mod publish;
mod rearm;
pub mod shown;
mod state;
pub mod status;
mod stop_orders;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use execution::{AlertKind, Check, Control as ControlRequest, Gate, KillTrigger, TradingState};
use futures_util::StreamExt;
use market::planted::{Bug, planted};
use market::{Nanos, SymbolId};
use memory::SystemMemory;
use memory::schema::Kill;

use crate::killed::{self, Wish};
use crate::stages::alpha::{AlphaCommand, AlphaNews};
use crate::stages::router::{RouterCommand, RouterNews};
use crate::topology::AccountEnds;
pub use account::account;

use self::market_data::{Fetched, MarketController};
pub use self::orders::{KILL_FLATTEN, Orders, say};
pub use self::state::{Control, WatchConfig};
use self::state::{Done, Ending, VERIFIED_WITHIN_NS, push};
pub use self::status::Seen;

/// How often the control thread looks.
const TURN: Duration = Duration::from_millis(20);
/// How long the end of a run waits for the engine's own exit; then follows the kill ladder ([`Ending::killing`]).
const FLAT_WITHIN_NS: u64 = 3 * Nanos::SECOND;
/// How much longer after a second signal.
const HURRY_NS: u64 = 300 * Nanos::MS;
/// Why a run ended that began while memory was silent.
const MEMORY_ANSWERS: &str = "system memory that answers";

impl Control {
    /// Memory was silent at the start: the run ends when it answers, and opens nothing unless it `may_open` because
    /// there was a local state.
    pub fn wait_for_memory(&mut self, memory: SystemMemory, may_open: bool) {
        if !may_open {
            push(&mut self.ends.to_alpha, AlphaCommand::Stop { flatten: false });
        }
        self.memory = Some(memory);
        self.alert("MemoryUnread");
    }

    /// Did the run end because memory answers now?
    pub fn memory_answers(&self) -> bool {
        self.seen.ended_by == MEMORY_ANSWERS
    }

    /// Runs until the end of the run is complete or `stop` is set by a stage that died.
    pub async fn run(&mut self, stop: &AtomicBool) {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while self.ending != Ending::Over {
            tokio::select! {
                biased;
                _ = turn.tick() => self.turn(stop),
                Some(done) = self.jobs.next() => self.done(done),
                Some(fetched) = fetched(&mut self.market) => self.snapshot(fetched),
            }
        }
        // Requests under way (a last cancel) get a moment.
        let rest = async {
            while let Some(done) = self.jobs.next().await {
                drop(done);
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), rest).await;
    }

    /// The latency collector, for the summary.
    pub fn ends(&mut self) -> &mut AccountEnds {
        &mut self.ends
    }

    fn turn(&mut self, stop: &AtomicBool) {
        let now = self.clock.now_ns();
        self.ends.latency.drain();
        self.ends.timelines.drain();
        if let Some(market) = &mut self.market {
            market.poll(now, &mut self.seen);
        }
        while let Some(counters) = self.shards.as_mut().and_then(|shards| shards.news.pop()) {
            self.seen.shards = counters;
            // For whoever looks at the market's health: a fresh symbol is a book in sync.
            self.seen.book.live_books = counters.fresh;
            if let Some(status) = &self.alpha_status {
                status.show(counters);
            }
        }
        while let Some(news) = self.ends.alpha.pop() {
            self.alpha(news);
        }
        while let Some(news) = self.ends.gateway.pop() {
            self.gateway(news);
        }
        while let Some(news) = self.ends.router.pop() {
            self.router(news);
        }
        self.beat.turned();
        self.gate.lease_until = self.ends.fence.until();
        self.trading_state();
        self.drop_copy();
        self.timers(now);
        self.ending(now, stop);
        self.tell_router();
        self.tell_armed(now);
        self.publish(now);
        self.show();
    }

    /// Once: exits are in hand, and what is open is what the venue says.
    fn tell_armed(&mut self, now: u64) {
        let armed = self.gate.order_path && self.gate.user_stream && self.seen.router.reconciled;
        if armed && !std::mem::replace(&mut self.told_armed, true) {
            let ms = (now - self.started) / Nanos::MS;
            tracing::info!(
                "orders and reports pass, and the account was compared; {ms} ms after the pipeline began"
            );
        }
    }

    /// While a worker is silent nothing is opened: what it had in hand may come out at any moment. Nor while the state can be
    /// kept nowhere: the next start would not know what was done.
    fn trading_state(&mut self) {
        let now = (self.silence.is_there(), self.unkept.load(Ordering::Acquire), self.journal_has_hole());
        self.gate.state = match now {
            _ if self.ends.fence.is_dry() => TradingState::Halted,
            (false, false, false) => TradingState::Active,
            _ => TradingState::Reducing,
        };
        let before = std::mem::replace(&mut self.told_state, now);
        if now.0 && !before.0 {
            self.alert("WorkerSilent");
        }
        if now.1 != before.1 && now.1 {
            tracing::error!(
                "the state can be written neither to memory nor to the local file (is the disk full?): nothing is \
                 opened until it can; exits go on"
            );
            self.alert("StateUnkept");
        } else if now.1 != before.1 {
            tracing::info!("the state is kept again");
        }
        if now.2 != before.2 && now.2 {
            tracing::error!(
                "the journal has a hole: {} records are lost so far; nothing is opened until it has been whole for a \
                 minute; exits go on",
                self.journal_lost.0
            );
            self.alert("JournalHole");
        } else if now.2 != before.2 {
            tracing::info!("the journal has been whole for a minute");
        }
    }

    /// Within the last minute, did the disk refuse the journal, or were records lost? What is decided then can never be
    /// explained again.
    fn journal_has_hole(&mut self) -> bool {
        let Some(journal) = &self.journal else { return false };
        let (lost, now) = (journal.lost(), self.clock.now_ns());
        // What a disk that refuses costs is counted only when it takes records again, and a little later.
        if journal.is_failing() || lost != self.journal_lost.0 {
            self.journal_lost = (lost, Some(now));
        }
        self.journal_lost.1.is_some_and(|at| now.saturating_sub(at) < JOURNAL_WHOLE_NS)
    }

    /// What the router believes, for the drop copy; and its word.
    fn drop_copy(&mut self) {
        let r = &self.seen.router;
        let named = |(name, qty): (&String, &market::Qty)| Some((self.symbols.by_name(name)?.id, *qty));
        self.drop_copy.believe(
            self.seen.positions.iter().filter_map(named),
            self.private.traded.keys().copied(),
            r.reconciled && r.unknown == 0 && r.unpriced == 0,
        );
        if let Some(found) = self.drop_copy.differs() {
            tracing::error!("drop copy: {found}; nothing is opened until a person has looked");
            self.alert("DropCopyDiffers");
            self.router_commands.push_back(RouterCommand::Trip(Check::Unexpected));
        }
    }

    fn show(&mut self) {
        self.seen.gate = self.gate;
        if let Some(watch) = self.orders.watch.as_ref().filter(|w| w.receiver_count() > 0) {
            watch.send_modify(|shown| shown.clone_from(&self.seen));
        }
    }

    fn alpha(&mut self, news: AlphaNews) {
        match news {
            AlphaNews::Gates(gates) => self.seen.gates = Some(gates),
            AlphaNews::Closed(number, trade) => {
                match self.seen.trades.iter_mut().rev().find(|(known, _)| *known == number) {
                    Some((_, was)) => *was = trade,
                    None => self.seen.trades.push((number, trade)),
                }
            }
            AlphaNews::DayEnded(_) => self.router_commands.push_back(RouterCommand::BeginDay),
            AlphaNews::StaleState => self.alert("StaleState"),
            AlphaNews::Mismatch => self.alert("EngineMismatch"),
            AlphaNews::SafetyUnreadable => self.alert("SafetyUnreadable"),
            AlphaNews::StaleScans(n) => {
                if self.seen.alerts.insert("StaleScan".to_owned(), n).is_none() {
                    tracing::warn!(
                        "a scan of system memory was too old to be used; further ones are counted"
                    );
                }
            }
            AlphaNews::Allowed { posture, abs_max_leverage, breaker_can_open } => {
                self.gate = Gate { posture, abs_max_leverage, breaker_can_open, ..self.gate };
            }
        }
    }

    fn router(&mut self, news: RouterNews) {
        match news {
            RouterNews::ControlRequest(request) => self.control_request(request),
            RouterNews::Alert(alert) => {
                // The ladder that ends every run is no alert.
                if self.ending != Ending::No
                    && matches!(alert.kind, AlertKind::KillTripped | AlertKind::KillDone)
                {
                    return;
                }
                let name = format!("{:?}", alert.kind);
                if alert.kind.pages() {
                    tracing::warn!(symbol = self.name_of(alert.symbol), "{alert}");
                } else {
                    tracing::debug!("{alert}");
                }
                self.alert(&name);
            }
            RouterNews::Rearmed(done) => self.rearmed(done),
            RouterNews::Denied(denial) => {
                tracing::debug!("{denial}");
                self.alert(&format!("Denied {:?}", denial.check));
            }
            RouterNews::Outcome(outcome) => tracing::debug!(?outcome),
            RouterNews::Report(report) => self.show_report(&report),
            RouterNews::State(state) => self.seen.router = state,
            RouterNews::Position(symbol, qty) => {
                self.stops.on_position(symbol, qty, self.clock.now_ns());
                let name = self.name_of(Some(symbol)).to_owned();
                if qty.is_zero() {
                    self.seen.positions.remove(&name);
                } else {
                    self.seen.positions.insert(name, qty);
                }
            }
        }
    }

    fn name_of(&self, symbol: Option<SymbolId>) -> &str {
        symbol.and_then(|id| self.symbols.get(id)).map_or("", |i| i.symbol.as_str())
    }

    fn control_request(&mut self, request: ControlRequest) {
        match request {
            ControlRequest::Reconcile => self.reconcile(),
            ControlRequest::SyncClock => self.sync_clock(true),
            ControlRequest::DeadMan { .. } if !self.may_send() => {}
            ControlRequest::DeadMan { symbol, countdown_ms } => {
                let Some(name) = self.symbols.get(symbol).map(|i| i.symbol.clone()) else { return };
                let rest = Arc::clone(&self.rest);
                self.start(async move {
                    let result = rest.countdown_cancel_all(&name, countdown_ms).await;
                    if countdown_ms > 0 {
                        Done::DeadMan(symbol, result)
                    } else {
                        Done::Sent("dead-man switch", result)
                    }
                });
            }
            ControlRequest::ListTransfers => self.list_transfers(),
            ControlRequest::ClearUnlisted { .. } if !self.may_send() => {}
            ControlRequest::ClearUnlisted { flatten } => {
                let (rest, symbols, clock) =
                    (Arc::clone(&self.rest), self.symbols.clone(), self.clock.clone());
                self.start(async move {
                    Done::Sent(
                        "clearing what is not followed",
                        beside::clear(&rest, &symbols, &clock, flatten).await,
                    )
                });
            }
            ControlRequest::RefreshFilters(symbol) => self.refresh_filters(symbol),
        }
    }

    fn timers(&mut self, now: u64) {
        self.tend_account(now);
        self.tend_watch(now);
        self.keep_stops(now);
        self.look_for_rearm(now);
        let s = self.seen.router;
        let (sent, refused) = (s.orders - self.orders_told.0, s.rejects - self.orders_told.1);
        if sent > 0 || refused > 0 {
            let command = AlphaCommand::Orders {
                accepted: u32::try_from(sent.saturating_sub(refused)).unwrap_or(u32::MAX),
                rejected: u32::try_from(refused).unwrap_or(u32::MAX),
            };
            if self.ends.to_alpha.push(command).is_ok() {
                self.orders_told = (s.orders, s.rejects);
            }
        }
        let connected = self.gate.order_path && self.gate.user_stream;
        if let Some(health) = self.health.look(now, connected, &self.seen.router, &self.seen.book) {
            // Telemetry: full only if memory's thread is dead.
            let _ = self.ends.to_memory.push(health);
        }
        if self.orders.progress && now >= self.progress_due {
            self.progress_due = now + 5 * Nanos::SECOND;
            self.progress();
        }
    }

    fn progress(&self) {
        if let Some(publishing) = &self.publishing {
            self.orders.say(&telemetry::line::line(publishing.state()));
        }
    }

    // ---- the end of a run ---------------------------------------------------------------------------------------

    fn ending(&mut self, now: u64, stop: &AtomicBool) {
        if stop.load(Ordering::Acquire) {
            // A stage died: what works at the venue is cancelled over REST, by the node.
            self.seen.ended_by = "a stage that died".to_owned();
            self.ending = Ending::Over;
        }
        self.lease(now);
        if self.ending != Ending::Over && self.ends.fence.is_lost() {
            tracing::warn!("the lease is lost: nothing more is sent to the venue");
            self.seen.fenced = true;
            "a lost lease".clone_into(&mut self.seen.ended_by);
            self.ending = Ending::Over;
        }
        if self.ending != Ending::No && self.signalled.swap(false, Ordering::AcqRel) {
            self.orders.say("a second signal: what works is cancelled at once, positions stay");
            if matches!(self.ending, Ending::Flattening { .. }) {
                let (flatten, trigger) = (false, KillTrigger::Command);
                self.router_commands.push_back(RouterCommand::Kill { flatten, trigger });
            }
            self.ending = self.ending.hurried(now + HURRY_NS);
        }
        match self.ending {
            Ending::No => {
                if let Some((flatten, by)) = self.kill_wish() {
                    by.clone_into(&mut self.seen.ended_by);
                    push(&mut self.ends.to_alpha, AlphaCommand::Stop { flatten: false });
                    let trigger = KillTrigger::File;
                    self.router_commands.push_back(RouterCommand::Kill { flatten, trigger });
                    self.ending = Ending::killing(now, flatten);
                } else if let Some(why) = self.should_end(now) {
                    why.clone_into(&mut self.seen.ended_by);
                    // A position outlives the change to another state.
                    let flatten = self.orders.flatten && why != MEMORY_ANSWERS;
                    push(&mut self.ends.to_alpha, AlphaCommand::Stop { flatten });
                    self.ending = Ending::Flattening { until: now + FLAT_WITHIN_NS };
                }
            }
            Ending::Flattening { until } => {
                let r = &self.seen.router;
                let flat = r.positions == 0 && r.working == 0 && r.unknown == 0;
                let wanted = self.orders.flatten && !self.memory_answers();
                if flat || !wanted || now >= until {
                    let (flatten, trigger) = (wanted, KillTrigger::Command);
                    self.router_commands.push_back(RouterCommand::Kill { flatten, trigger });
                    self.ending = Ending::killing(now, flatten);
                }
            }
            Ending::Killing { until } => {
                let r = &self.seen.router;
                let nothing_works = r.working == 0 && r.unknown == 0;
                let until = if nothing_works { until + VERIFIED_WITHIN_NS } else { until };
                if r.kill_done || now >= until {
                    self.ending = Ending::Over;
                }
            }
            Ending::Over => {}
        }
    }

    /// Memory that does not confirm the lease is no reason to end (SPEC 12, invariant 5): nothing is sent while the fence is
    /// shut, and when memory answers the run goes on, or ends because another node has taken over.
    fn lease(&mut self, now: u64) {
        let away = !self.ends.fence.is_open(now) && !self.ends.fence.is_dry();
        if std::mem::replace(&mut self.lease_away, away) == away {
            return;
        }
        if away {
            tracing::warn!(
                "system memory does not confirm the lease: nothing is sent to the venue meanwhile"
            );
            self.alert("LeaseUnconfirmed");
        } else {
            tracing::info!("the lease is confirmed again");
            self.reconcile();
        }
    }

    /// The kill of the deployment that is in force in memory.
    pub fn killed(&self) -> Option<Kill> {
        self.lease_view.as_ref()?.borrow().killed().cloned()
    }

    /// Is the kill file there, or a kill in memory, and does it want positions closed?
    fn kill_wish(&self) -> Option<(bool, &'static str)> {
        if planted(Bug::KillNotSeen) {
            return None;
        }
        let file = self.orders.kill_file.as_deref();
        if let Some(wish) = file.and_then(|file| Wish::read(file, &*self.files)) {
            return Some((wish.flatten, "the kill file"));
        }
        let kill = self.killed()?;
        tracing::warn!("killed by {} through system memory: {}", kill.by, kill.reason);
        // This machine remembers it, whatever becomes of memory.
        killed::follow(Some(&kill), file, &*self.files);
        Some((kill.flatten, "a kill in system memory"))
    }

    fn should_end(&mut self, now: u64) -> Option<&'static str> {
        if let Some(why) = self.market.as_mut().and_then(|m| m.failed(now, &self.seen)) {
            self.seen.failed = Some(why.to_owned());
            return Some("market data that never came");
        }
        if self.signalled.swap(false, Ordering::AcqRel) {
            return Some("a signal");
        }
        if self.memory.as_ref().is_some_and(|memory| memory.status().connected) {
            return Some(MEMORY_ANSWERS);
        }
        let elapsed = (now - self.started) as f64 / 1e9;
        self.orders.seconds.is_some_and(|s| elapsed >= s).then_some("its time")
    }

    // ---- requests -----------------------------------------------------------------------------------------------

    fn snapshot(&mut self, fetched: Fetched) {
        let now = self.clock.now_ns();
        if let Some(market) = &mut self.market {
            market.on_fetched(fetched, now);
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Clock(result) => self.clock_synced(result),
            Done::Account(asked_ms, result) => self.account_read(asked_ms, result),
            Done::ListenKey(result) => self.listen_key(result),
            Done::Kept(result) => self.kept(result),
            Done::Ordered(request, result) => self.ordered(&request, result),
            Done::Settings(result) => self.settings_read(result),
            Done::Rates(result) => self.rates_read(result),
            Done::Instruments(result) => self.instruments_read(result),
            Done::DeadMan(symbol, result) => {
                self.router_commands.push_back(RouterCommand::DeadMan(symbol, result.is_ok()));
                self.done(Done::Sent("dead-man switch", result));
            }
            Done::Stop(answer) => self.stop_answered(answer),
            Done::Sent(what, Err(error)) => {
                tracing::error!("{what}: {error}");
                self.private_error(&error);
                self.alert(&format!("Failed {what}"));
            }
            Done::Sent(_, Ok(())) => {}
        }
    }

    fn tell_router(&mut self) {
        if self.gate_told != Some(self.gate)
            && self.ends.to_router.push(RouterCommand::Gate(self.gate)).is_ok()
        {
            self.gate_told = Some(self.gate);
        }
        while let Some(command) = self.router_commands.pop_front() {
            if let Err(command) = self.ends.to_router.push(command) {
                self.router_commands.push_front(command);
                break;
            }
        }
    }
}

/// After a hole the journal must have been whole for so long before anything is opened.
const JOURNAL_WHOLE_NS: u64 = 60 * Nanos::SECOND;

/// The next snapshot to arrive, where there are books.
async fn fetched(market: &mut Option<MarketController>) -> Option<Fetched> {
    market.as_mut()?.fetched().await
}
