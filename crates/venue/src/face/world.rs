//! Everything the venue holds: exchange, played market, connections, keys, limits, faults. It knows no clock, no thread
//! and no socket: a driver calls [`World::pump`] when something is due, and hands it requests and frames in between.

use std::collections::{BTreeMap, VecDeque};

use market::{Amount, ExecType, Level, Nanos, Px, Qty, Side, SymbolId};
use serde_json::{Value, json};

use super::auth::Keys;
use super::candles::Candles;
use super::feed::{Feed, Print, Sink};
use super::hub::Hub;
use super::limits::Limits;
use super::request::DelayedQueue;
use super::user;
use crate::config::{Rules, VenueConfig, VenueError};
use crate::core::{
    Account, AccountId, DELIVERY, Exchange, Funding, Listing, ONBOARD, Order, OrderReport, Output, Reject,
    reject,
};
use crate::faults::{Ending, Fault, Faults};
use crate::recorded::{Change, Player};
use crate::sim::{self, STEP, SimMarket, Step};

/// Funding comes every eight hours.
const FUNDING_EVERY: u64 = 8 * 3600 * Nanos::SECOND;
/// Steps the simulated market may catch up at once; beyond that, it skips.
const MOST_STEPS_BEHIND: u64 = 5;
/// User events kept per account for [`Fault::ReplayEvents`].
const RECENT: usize = 64;

/// A live listen key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenKey {
    pub account: AccountId,
    pub expires: Nanos,
}

/// What the venue has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// REST requests.
    pub requests: u64,
    /// WS-API requests.
    pub api_requests: u64,
    /// Frames sent to streams.
    pub frames: u64,
    /// WebSocket connections open.
    pub connections: u64,
    /// WebSocket connections ever opened.
    pub connects: u64,
    /// Depth snapshots asked for over REST.
    pub snapshots: u64,
    /// Connections dropped because they were too slow.
    pub slow_connections: u64,
    /// Requests refused with an error code.
    pub rejects: u64,
    /// Orders accepted.
    pub orders: u64,
    /// Fills of accounts.
    pub fills: u64,
    /// Faults that struck.
    pub faults: u64,
}

/// The venue's state.
pub(crate) struct World {
    pub exchange: Exchange,
    pub feed: Feed,
    pub hub: Hub,
    pub keys: Keys,
    pub limits: Limits,
    /// Ends of all REST connections that the driver has yet to bring about.
    pub rest_endings: Vec<Ending>,
    /// Work that faults hold back.
    pub delayed: DelayedQueue,
    pub faults: Faults,
    pub rules: Rules,
    pub listen_keys: BTreeMap<String, ListenKey>,
    pub by_name: BTreeMap<String, SymbolId>,
    /// The snapshots that `snapshot_stale` serves.
    pub stale_snapshots: BTreeMap<SymbolId, Value>,
    /// Last user events of each account: kind and text.
    recent: BTreeMap<AccountId, VecDeque<(String, String)>>,
    /// Bids that `cross_book` put in.
    crossed: BTreeMap<SymbolId, Px>,
    pub counters: Counters,
    /// Some book is bent by a fault.
    bent: bool,
    sim: SimMarket,
    recorded: Vec<bool>,
    mirrored: bool,
    player: Option<Player>,
    started: Nanos,
    steps: u64,
    next_symbol: usize,
    step: Step,
    mark_due: Nanos,
    next_key: u64,
    seed: u64,
}

/// The fundings before the opening, as far as the history of prices goes.
fn past_fundings(listing: &Listing, candles: &Candles, next: Nanos) -> Vec<Funding> {
    let times = (1..=3).rev().map(|n| Nanos(next.0.saturating_sub(n * FUNDING_EVERY)));
    let rate = listing.mark.funding_rate;
    let funding = |at| Some(Funding { at, rate, mark: Amount::from_f64(candles.close_before(at)?)? });
    times.filter_map(funding).collect()
}

/// How often a book changes.
fn market_step(config: &VenueConfig) -> Result<Nanos, VenueError> {
    let step = Nanos(u64::try_from(config.market_step.as_nanos()).unwrap_or(u64::MAX));
    if (STEP.0..=600 * STEP.0).contains(&step.0) && step.0.is_multiple_of(STEP.0) {
        return Ok(step);
    }
    let given = config.market_step;
    Err(VenueError::Config(format!(
        "a market step of {given:?}; choose 100 ms to 60 s, in whole tenths of a second"
    )))
}

impl World {
    pub(crate) fn new(config: &VenueConfig, now: Nanos) -> Result<Self, VenueError> {
        let mirrored = !config.mirrored.is_empty();
        let symbols = if mirrored { 0 } else { config.symbols };
        let listed = if mirrored { config.mirrored.len() } else { symbols };
        if !(1..=400).contains(&listed) {
            return Err(VenueError::Config(format!("{listed} symbols; choose 1 to 400")));
        }
        let mut listings = if mirrored { config.mirrored.clone() } else { sim::listings(symbols) };
        let player = Player::open(config, &mut listings)?;
        let keys = Keys::new(&config.accounts)?;
        let accounts =
            (config.accounts.iter()).map(|a| Account::open(a.balance, config.hedge_mode)).collect();
        let sim = SimMarket::new(config.seed, &sim::listings(symbols), market_step(config)?);
        let mut recorded: Vec<bool> = (0..listings.len()).map(|i| i >= symbols).collect();
        for symbol in player.iter().flat_map(Player::symbols) {
            recorded[symbol.index()] = true;
        }
        let candles = Self::candles(config, &listings, &recorded, now);
        let next_funding = Nanos((now.0 / FUNDING_EVERY + 1) * FUNDING_EVERY);
        for l in &mut listings {
            l.take_bound = config.rules.market_take_bound;
            l.instrument.max_orders = config.rules.max_orders.unwrap_or(l.instrument.max_orders);
            l.mark.next_funding = next_funding;
        }
        let fundings: Vec<Vec<Funding>> =
            listings.iter().zip(&candles).map(|(l, c)| past_fundings(l, c, next_funding)).collect();
        let by_name = listings.iter().map(|l| (l.instrument.symbol.clone(), l.instrument.id)).collect();
        let mut hub = Hub::new(config.rules.legacy_urls);
        let mut feed = Feed::new(&listings, candles, &mut hub, now);
        feed.depth_at_once = config.depth_at_once;
        for f in player.iter().flat_map(|p| p.symbols().filter(|s| p.has_touches(*s))) {
            feed.symbols[f.index()].touches_recorded = true;
        }
        let mut world = Self {
            exchange: Exchange::new(listings, accounts, config.commission),
            feed,
            hub,
            keys,
            limits: Limits::new(&config.rules),
            rest_endings: Vec::new(),
            delayed: DelayedQueue::default(),
            faults: Faults::default(),
            rules: config.rules.clone(),
            listen_keys: BTreeMap::new(),
            by_name,
            stale_snapshots: BTreeMap::new(),
            recent: BTreeMap::new(),
            crossed: BTreeMap::new(),
            counters: Counters::default(),
            bent: false,
            sim,
            recorded,
            mirrored,
            player,
            started: now,
            steps: 0,
            next_symbol: usize::MAX,
            step: Step::default(),
            mark_due: Nanos(0),
            next_key: 0,
            seed: config.seed,
        };
        for (symbol, past) in fundings.into_iter().enumerate() {
            let symbol = SymbolId(u16::try_from(symbol).expect("at most a few hundred"));
            past.into_iter().for_each(|f| world.exchange.note_funding(symbol, f));
        }
        // The books exist before the first client does.
        world.play_sim(now, true);
        world.play_recorded(now);
        world.settle(now);
        Ok(world)
    }

    fn candles(config: &VenueConfig, listings: &[Listing], recorded: &[bool], now: Nanos) -> Vec<Candles> {
        let history = sim::preroll(config.seed, config.symbols, 1500, std::time::Duration::from_secs(60));
        (listings.iter().zip(recorded).enumerate())
            .map(|(i, (l, recorded))| {
                let column: Vec<f64> =
                    if *recorded { Vec::new() } else { history.rows.iter().map(|r| r[i]).collect() };
                Candles::new(&column, l.instrument.tick.scale(), now)
            })
            .collect()
    }

    /// The venue's clock: ours, unless a fault puts it off.
    pub(crate) fn clock(&self, now: Nanos) -> Nanos {
        if self.faults.is_empty() {
            return now;
        }
        let offset = self.faults.stands(|f, _| match f {
            Fault::ClockOffset { ms } => Some(ms.saturating_mul(Nanos::MS as i64)),
            _ => None,
        });
        let drift = self.faults.stands(|f, since| match f {
            Fault::ClockDrift { ppm } => Some((now.since(since).0 as f64 * *ppm as f64 / 1e6) as i64),
            _ => None,
        });
        let off = offset.unwrap_or(0).saturating_add(drift.unwrap_or(0));
        Nanos(now.0.saturating_add_signed(off))
    }

    /// A symbol by name (−1121).
    pub(crate) fn symbol(&self, name: &str) -> Result<SymbolId, Reject> {
        self.by_name.get(&name.to_uppercase()).copied().ok_or(reject::BAD_SYMBOL)
    }

    /// Does what is due: the played markets, timers, frames.
    pub(crate) fn pump(&mut self, now: Nanos) {
        self.faults.on_time(now);
        let at = self.clock(now);
        self.play_sim(now, false);
        self.play_recorded(now);
        self.bend_books(at);
        if now >= self.mark_due {
            self.mark_due = now.plus(Nanos::SECOND);
            self.mark(at);
        }
        self.exchange.on_time(at);
        self.expire_listen_keys(at);
        self.settle(at);
        let mut sink = Sink { hub: &mut self.hub, faults: &mut self.faults, now: at };
        self.feed.tick(&self.exchange, &mut sink);
        self.hub.release(at);
        self.hub.end_old(self.connection_life(), now);
    }

    /// What was counted until now.
    pub(crate) fn counted(&mut self) -> Counters {
        let c = &mut self.counters;
        c.frames = self.hub.frames;
        c.faults += std::mem::take(&mut self.hub.struck);
        c.slow_connections = self.hub.slow;
        c.connections = self.hub.open_connections() as u64;
        c.connects = self.hub.opened;
        *c
    }

    /// When [`Self::pump`] has something to do next, if nothing else happens until then.
    pub(crate) fn next_due(&self, now: Nanos) -> Nanos {
        let mut due = self.market_due(now);
        due = due.min(self.delayed.due().unwrap_or(Nanos(u64::MAX)));
        if let Some(opened) = self.hub.oldest() {
            due = due.min(opened.plus(self.connection_life()));
        }
        if let Some(ends) = self.faults.due() {
            due = due.min(ends);
        }
        // The rest goes by the venue's clock, which a fault may have put off.
        let at = self.clock(now);
        let own = [
            self.feed.due(&self.hub, at),
            self.exchange.due(),
            self.hub.release_due().unwrap_or(Nanos(u64::MAX)),
            self.listen_keys.values().map(|k| k.expires).min().unwrap_or(Nanos(u64::MAX)),
        ];
        let first = own.into_iter().min().unwrap_or(Nanos(u64::MAX));
        due.min(now.plus(first.since(at).0)).max(now)
    }

    /// When the played market goes on.
    fn market_due(&self, now: Nanos) -> Nanos {
        let mut due = Nanos(u64::MAX);
        if !self.mirrored {
            due = due.min(self.mark_due);
        }
        if self.recorded.iter().any(|r| !r) {
            due = due.min(self.step_due());
        }
        if let Some(player) = &self.player {
            due = due.min(self.started.plus(player.due(now.since(self.started)).0));
        }
        due
    }

    fn connection_life(&self) -> u64 {
        let life = u64::try_from(self.rules.connection_life.as_nanos()).unwrap_or(u64::MAX);
        let short = self.faults.stands(|f, _| match f {
            Fault::ConnectionLife { ms } => Some(ms.saturating_mul(Nanos::MS)),
            _ => None,
        });
        short.map_or(life, |s| s.min(life))
    }

    /// Makes the books as crossed and as one-sided as the faults in force want them, and whole again afterwards.
    fn bend_books(&mut self, at: Nanos) {
        if self.faults.is_empty() && !self.bent {
            return;
        }
        self.bent = false;
        for i in 0..self.recorded.len() {
            let symbol = SymbolId(u16::try_from(i).expect("at most a few hundred"));
            let name = &self.exchange.listing(symbol).instrument.symbol;
            let (mut hidden, mut cross) = ([false; 2], None);
            for f in self.faults.active().iter().filter(|a| !a.over).map(|a| &a.rule.fault) {
                match f {
                    Fault::EmptySide { symbol: s, side } if s == name => {
                        hidden[usize::from(side == "SELL")] = true;
                    }
                    Fault::CrossBook { symbol: s } if s == name => cross = Some(true),
                    Fault::LockBook { symbol: s } if s == name => cross = Some(false),
                    _ => {}
                }
            }
            self.bent |= cross.is_some() || hidden != [false; 2];
            self.exchange.hide_side(symbol, Side::Buy, hidden[0]);
            self.exchange.hide_side(symbol, Side::Sell, hidden[1]);
            self.cross(symbol, cross, at);
        }
    }

    /// Puts a bid above (or at) the best ask, or takes it away again.
    fn cross(&mut self, symbol: SymbolId, above: Option<bool>, at: Nanos) {
        let qty = self.exchange.listing(symbol).instrument.min_qty.max(Qty(1));
        if let Some(above) = above
            && !self.crossed.contains_key(&symbol)
        {
            let Some(ask) = self.exchange.ladder(symbol).best(Side::Sell) else { return };
            let px = Px(ask.px.0 + if above { ask.px.0 / 200 + 1 } else { 0 });
            self.crossed.insert(symbol, px);
            self.exchange.play_levels(symbol, &[Level { px, qty }], &[], at);
        } else if above.is_none()
            && let Some(px) = self.crossed.remove(&symbol)
        {
            self.exchange.play_levels(symbol, &[Level { px, qty: Qty::ZERO }], &[], at);
        }
    }

    /// Lets a simulated price jump; `false` where the symbol is played from a recording.
    pub(crate) fn jump(&mut self, symbol: SymbolId, factor: f64) -> bool {
        let simulated = !self.recorded[symbol.index()];
        if simulated {
            self.sim.jump(symbol, factor);
        }
        simulated
    }

    /// Steps the simulated symbols that are due: each once a step of the market, spread over it.
    fn play_sim(&mut self, now: Nanos, opening: bool) {
        let n = self.recorded.len();
        let target = if opening { 1 } else { 1 + now.since(self.started).0 / self.sim.step_length().0 };
        if target > self.steps + MOST_STEPS_BEHIND {
            self.steps = target - MOST_STEPS_BEHIND;
            self.next_symbol = n;
        }
        loop {
            if self.next_symbol >= n {
                if self.steps >= target {
                    return;
                }
                self.sim.advance();
                self.steps += 1;
                self.next_symbol = 0;
            }
            if !opening && now < self.step_due() {
                return;
            }
            let i = self.next_symbol;
            self.next_symbol += 1;
            if !self.recorded[i] {
                self.step_symbol(SymbolId(u16::try_from(i).expect("at most a few hundred")), now);
            }
        }
    }

    /// When the next symbol steps.
    fn step_due(&self) -> Nanos {
        let (n, step) = (self.recorded.len(), self.sim.step_length().0);
        if self.next_symbol >= n {
            return self.started.plus(self.steps * step);
        }
        self.started.plus((self.steps - 1) * step + self.next_symbol as u64 * step / n as u64)
    }

    fn step_symbol(&mut self, symbol: SymbolId, now: Nanos) {
        let at = self.clock(now);
        let mut step = std::mem::take(&mut self.step);
        self.sim.step(symbol, &mut step);
        for (aggressor, px, qty) in &step.trades {
            self.exchange.play_trade(symbol, *aggressor, *px, *qty, at);
        }
        self.exchange.play_levels(symbol, &step.bids, &step.asks, at);
        self.step = step;
        let mut sink = Sink { hub: &mut self.hub, faults: &mut self.faults, now: at };
        self.feed.book_changed(&mut self.exchange, symbol, None, &mut sink);
    }

    fn play_recorded(&mut self, now: Nanos) {
        let Some(mut player) = self.player.take() else { return };
        let at = self.clock(now);
        let elapsed = now.since(self.started);
        player.play(elapsed, &mut self.exchange, at, |exchange, symbol, change, stamp| {
            let mut sink = Sink { hub: &mut self.hub, faults: &mut self.faults, now: stamp };
            match change {
                Change::Book(first, last) => {
                    self.feed.book_changed(exchange, symbol, Some((first, last)), &mut sink);
                }
                Change::Touch(id, bid, ask) => {
                    self.feed.touch_recorded(exchange.ladder(symbol), symbol, id, [bid, ask], &mut sink);
                }
            }
        });
        self.player = Some(player);
    }

    /// Marks: the simulated fair price, or the mid of a played book; funding when it is due.
    fn mark(&mut self, at: Nanos) {
        if self.mirrored {
            return;
        }
        for i in 0..self.recorded.len() {
            let symbol = SymbolId(u16::try_from(i).expect("at most a few hundred"));
            let index = if self.recorded[i] {
                let ladder = self.exchange.ladder(symbol);
                let tick = self.exchange.listing(symbol).instrument.tick;
                match (ladder.best(Side::Buy), ladder.best(Side::Sell)) {
                    (Some(b), Some(a)) => {
                        Amount::from_f64((tick.value(b.px.0) + tick.value(a.px.0)) / 2.0).unwrap_or_default()
                    }
                    _ => continue,
                }
            } else {
                self.sim.index_price(symbol)
            };
            let mark = Amount::from_f64(index.to_f64() * self.mark_factor(symbol)).unwrap_or(index);
            self.exchange.set_mark(symbol, mark, index, at);
            self.feed.marked(symbol, mark.to_f64(), index.to_f64(), at);
            if at >= self.exchange.listing(symbol).mark.next_funding {
                self.exchange.fund(symbol, at);
                let next = Nanos((at.0 / FUNDING_EVERY + 1) * FUNDING_EVERY);
                self.exchange.listing_mut(symbol).mark.next_funding = next;
            }
        }
    }

    fn mark_factor(&self, symbol: SymbolId) -> f64 {
        let name = &self.exchange.listing(symbol).instrument.symbol;
        let off = self.faults.stands(|f, _| match f {
            Fault::MarkOff { symbol, factor } if symbol == name => Some(*factor),
            _ => None,
        });
        off.unwrap_or(1.0)
    }

    /// Publishes what the exchange did since the last call. Call it after every change.
    pub(crate) fn settle(&mut self, at: Nanos) {
        for output in self.exchange.drain() {
            match output {
                Output::Trade { symbol, id, px, qty, aggressor, at: when } => {
                    let print = Print { id, px, qty, aggressor, at: when };
                    let mut sink = Sink { hub: &mut self.hub, faults: &mut self.faults, now: at };
                    self.feed.traded(symbol, print, &mut sink);
                }
                other => self.tell(&other, at),
            }
        }
        for i in 0..self.recorded.len() {
            let symbol = SymbolId(u16::try_from(i).expect("at most a few hundred"));
            if self.exchange.ladder(symbol).has_changes() {
                let ids = match &mut self.player {
                    Some(player) if self.recorded[i] => {
                        let id = player.bump(symbol);
                        Some((id, id))
                    }
                    _ => None,
                };
                let mut sink = Sink { hub: &mut self.hub, faults: &mut self.faults, now: at };
                self.feed.book_changed(&mut self.exchange, symbol, ids, &mut sink);
            }
        }
    }

    /// A user event, as its frames.
    fn tell(&mut self, output: &Output, at: Nanos) {
        match output {
            Output::Order(r) => self.tell_order(r, at),
            Output::Account { account, reason, wallet, cross, change, positions, symbol, at: when } => {
                let rows: Vec<Value> = positions
                    .iter()
                    .map(|p| user::position_json(p, self.exchange.listing(p.symbol)))
                    .collect();
                let balance = json!({
                    "a": "USDT", "wb": wallet.to_string(), "cw": cross.to_string(), "bc": change.to_string(),
                });
                let mut a = json!({"B": [balance], "P": rows, "m": reason});
                if let Some(s) = symbol {
                    a["S"] = json!(self.exchange.listing(*s).instrument.symbol);
                }
                let event = json!({"e": "ACCOUNT_UPDATE", "T": when.millis(), "E": at.millis(), "a": a});
                self.tell_account(*account, "user@ACCOUNT_UPDATE", &event.to_string(), at);
            }
            Output::MarginCall { account, cross, positions, .. } => {
                let rows: Vec<Value> = (positions.iter())
                    .map(|(p, m)| user::margin_call_json(p, *m, self.exchange.listing(p.symbol)))
                    .collect();
                let mut event = json!({"e": "MARGIN_CALL", "E": at.millis(), "p": rows});
                if let Some(cross) = cross {
                    event["cw"] = json!(cross.to_string());
                }
                self.tell_account(*account, "user@MARGIN_CALL", &event.to_string(), at);
            }
            Output::Leverage { account, symbol, leverage, at: when } => {
                let s = &self.exchange.listing(*symbol).instrument.symbol;
                let event = json!({
                    "e": "ACCOUNT_CONFIG_UPDATE", "E": at.millis(), "T": when.millis(), "ac": {"s": s, "l": leverage},
                });
                self.tell_account(*account, "user@ACCOUNT_CONFIG_UPDATE", &event.to_string(), at);
            }
            Output::MultiAssets { account, on, at: when } => {
                let event = json!({
                    "e": "ACCOUNT_CONFIG_UPDATE", "E": at.millis(), "T": when.millis(), "ai": {"j": on},
                });
                self.tell_account(*account, "user@ACCOUNT_CONFIG_UPDATE", &event.to_string(), at);
            }
            Output::Algo(o) => {
                let event = user::algo_event(o, self.exchange.listing(o.ask.symbol), at);
                let kind = format!("user@ALGO_UPDATE@{}", o.status.name());
                self.tell_account(o.account, &kind, &event, at);
            }
            Output::TriggerReject(o) => {
                let event = user::trigger_reject_event(o, self.exchange.listing(o.ask.symbol), at);
                self.tell_account(o.account, "user@CONDITIONAL_ORDER_TRIGGER_REJECT", &event, at);
            }
            Output::Liquidation(o) => self.tell_liquidation(o, at),
            Output::Trade { .. } => {}
        }
    }

    fn tell_order(&mut self, r: &OrderReport, at: Nanos) {
        let kind = match r.exec {
            ExecType::Trade => "user@ORDER_TRADE_UPDATE@TRADE",
            ExecType::Canceled => "user@ORDER_TRADE_UPDATE@CANCELED",
            ExecType::Expired => "user@ORDER_TRADE_UPDATE@EXPIRED",
            ExecType::Amendment => "user@ORDER_TRADE_UPDATE@AMENDMENT",
            ExecType::Calculated => "user@ORDER_TRADE_UPDATE@CALCULATED",
            _ => "user@ORDER_TRADE_UPDATE@NEW",
        };
        let l = self.exchange.listing(r.order.symbol);
        let event = user::order_event(r, l, at);
        let lite = r.fill.as_ref().map(|fill| user::trade_lite(r, fill, l, at));
        if let Some(lite) = lite {
            self.counters.fills += 1;
            if r.exec == ExecType::Trade {
                self.tell_account(r.order.account, "user@TRADE_LITE", &lite, at);
            }
        }
        self.tell_account(r.order.account, kind, &event, at);
    }

    fn tell_liquidation(&mut self, o: &Order, at: Nanos) {
        let l = self.exchange.listing(o.symbol);
        let (px, qty) = (l.instrument.tick.format(o.px.0), l.instrument.lot.format(o.filled.0));
        let name = &l.instrument.symbol;
        let event = json!({
            "e": "forceOrder", "E": at.millis(), "o": {
                "s": name, "S": user::side(o.side), "o": "LIMIT", "f": "IOC", "q": qty.as_str(), "p": px.as_str(),
                "ap": px.as_str(), "X": "FILLED", "l": qty.as_str(), "z": qty.as_str(), "T": o.updated.millis(),
            }, "st": 1,
        });
        let own = format!("{}@forceOrder", name.to_lowercase());
        for stream in [own.as_str(), "!forceOrder@arr"] {
            self.hub.publish_named(stream, stream, &event.to_string(), &mut self.faults, at);
        }
    }

    /// Sends a user event to every live listen key of an account.
    pub(crate) fn tell_account(&mut self, account: AccountId, kind: &str, event: &str, at: Nanos) {
        let recent = self.recent.entry(account).or_default();
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back((kind.to_owned(), event.to_owned()));
        let keys: Vec<String> =
            self.listen_keys.iter().filter(|(_, k)| k.account == account).map(|(n, _)| n.clone()).collect();
        for key in keys {
            self.hub.publish_named(&key, kind, event, &mut self.faults, at);
        }
    }

    /// The last user events again, for a connection that has just subscribed to a listen key (a fault).
    pub(crate) fn replay_events(&mut self, connection: u64, key: &str) {
        let Some(account) = self.listen_keys.get(key).map(|k| k.account) else { return };
        let Some(Fault::ReplayEvents { count }) =
            self.faults.strike(|f| matches!(f, Fault::ReplayEvents { .. }))
        else {
            return;
        };
        self.counters.faults += 1;
        let recent = self.recent.get(&account).into_iter().flatten();
        let events: Vec<&(String, String)> = recent.rev().take(count).collect();
        for (kind, event) in events.into_iter().rev() {
            self.hub.send_to(connection, key, kind, event);
        }
    }

    /// Tells everybody that an instrument's status changed (`contractInfo`).
    pub(crate) fn tell_status(&mut self, symbol: SymbolId, at: Nanos) {
        let l = self.exchange.listing(symbol);
        let name = &l.instrument.symbol;
        let event = json!({
            "e": "contractInfo", "E": at.millis(), "s": name, "ps": name, "ct": "PERPETUAL", "dt": DELIVERY,
            "ot": ONBOARD, "cs": l.status.name(), "st": 1,
        });
        self.hub.publish_named("!contractInfo", "!contractInfo", &event.to_string(), &mut self.faults, at);
    }

    /// The account's live listen key, extended, or a new one.
    pub(crate) fn listen_key(&mut self, account: AccountId, at: Nanos) -> String {
        let expires = at.plus(u64::try_from(self.rules.listen_key_life.as_nanos()).unwrap_or(u64::MAX));
        if let Some((name, key)) = self.listen_keys.iter_mut().find(|(_, k)| k.account == account) {
            key.expires = expires;
            return name.clone();
        }
        self.next_key += 1;
        let mut random = sim::Random::new(self.seed ^ at.0, self.next_key);
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let name: String =
            (0..64).map(|_| char::from(LETTERS[random.below(LETTERS.len() as u64) as usize])).collect();
        self.listen_keys.insert(name.clone(), ListenKey { account, expires });
        name
    }

    fn expire_listen_keys(&mut self, at: Nanos) {
        let dead: Vec<String> =
            self.listen_keys.iter().filter(|(_, k)| k.expires <= at).map(|(n, _)| n.clone()).collect();
        for key in dead {
            self.end_listen_key(&key, true, at);
        }
    }

    /// Ends a listen key; the sockets on it stay open and silent.
    pub(crate) fn end_listen_key(&mut self, key: &str, event: bool, at: Nanos) {
        if event {
            let text = format!(r#"{{"e":"listenKeyExpired","E":{},"listenKey":"{key}"}}"#, at.millis());
            self.hub.publish_named(key, "user@listenKeyExpired", &text, &mut self.faults, at);
        }
        self.listen_keys.remove(key);
    }

    /// The depth reply of a symbol now.
    pub(crate) fn depth(&self, symbol: SymbolId, limit: usize, at: Nanos) -> Value {
        let f = &self.feed.symbols[symbol.index()];
        let ladder = self.exchange.ladder(symbol);
        let side = |s| -> Vec<Value> {
            ladder.levels(s).take(limit).map(|l| json!([f.px(l.px), f.qty(l.qty)])).collect()
        };
        json!({
            "lastUpdateId": f.book_id, "E": at.millis(), "T": at.millis(), "bids": side(Side::Buy),
            "asks": side(Side::Sell),
        })
    }

    /// Last trade price, or the mid while nothing has traded.
    pub(crate) fn last_px(&self, symbol: SymbolId) -> Px {
        match self.exchange.last_px(symbol) {
            Px(0) => self.exchange.ladder(symbol).best(Side::Buy).map_or(Px(0), |l| l.px),
            px => px,
        }
    }
}
