//! Public market data: what changed in the books and what traded, as the venue's frames.
//!
//! Each symbol has one book update id. Changes gather in a cursor per stream speed; a flush sends them with
//! `U` = the first id gathered, `u` = the last, `pu` = the `u` sent before.

use std::collections::{BTreeMap, VecDeque};

use market::{Increment, Level, Nanos, Px, Qty, Side, SymbolId};

use super::candles::{Candles, Interval, PriceCandles};
use super::hub::{Hub, StreamId};
use super::text::Text;
use crate::core::{Exchange, Ladder, Listing};
use crate::faults::{Fault, Faults};

/// Trades and aggregates kept per symbol for the REST history.
const PRINTS_KEPT: usize = 1000;
/// Speeds of the depth streams: period and stream suffix.
const SPEEDS: [(u64, &str); 4] = [(0, "@0ms"), (100, "@100ms"), (250, ""), (500, "@500ms")];
/// A symbol that is none of this venue's, with a name beyond ASCII.
pub(crate) const FOREIGN_SYMBOL: &str = "币安人生USDT";
/// Rows that streams of all symbols carry besides this venue's: symbol and `st` (2: coin-margined).
const FOREIGN: [(&str, u8); 2] = [(FOREIGN_SYMBOL, 1), ("BTCUSD_PERP", 2)];
/// Between two events of a kline stream, ns.
const KLINES_EVERY: u64 = 250 * Nanos::MS;
/// Levels of the partial depth streams.
const PARTIAL: [usize; 3] = [5, 10, 20];

/// A level that changed.
#[derive(Debug, Clone, Copy)]
struct Changed {
    ask: bool,
    px: i64,
    qty: i64,
}

/// Changes since a stream's last frame; gathered only while somebody listens.
#[derive(Debug)]
struct Cursor {
    /// `…@depth` of this speed.
    diff: StreamId,
    /// `…@depth5`, `…@depth10`, `…@depth20` of this speed.
    partial: [StreamId; 3],
    active: bool,
    /// In the order they came: the last word on a price counts.
    changes: Vec<Changed>,
    first: u64,
    last_sent: u64,
    due: Nanos,
}

impl Cursor {
    fn is_wanted(&self, hub: &Hub) -> bool {
        hub.wants(self.diff) || self.partial.iter().any(|s| hub.wants(*s))
    }

    /// One entry a price: bids, then asks, by rising price.
    fn sort(&mut self) {
        let c = &mut self.changes;
        c.sort_by_key(|c| (c.ask, c.px));
        // Of equal keys the last one stays.
        let mut kept = 0;
        for i in 0..c.len() {
            if kept > 0 && (c[kept - 1].ask, c[kept - 1].px) == (c[i].ask, c[i].px) {
                c[kept - 1] = c[i];
            } else {
                c[kept] = c[i];
                kept += 1;
            }
        }
        c.truncate(kept);
    }
}

/// A trade as published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Print {
    /// Trade id.
    pub id: u64,
    /// Price.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Who took.
    pub aggressor: Side,
    /// When.
    pub at: Nanos,
}

/// Trades of one taker at one price.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aggregate {
    /// Aggregate id.
    pub id: u64,
    /// First and last trade id.
    pub trades: (u64, u64),
    /// Price.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Who took.
    pub aggressor: Side,
    /// When.
    pub at: Nanos,
}

/// The streams of a symbol besides its depth.
#[derive(Debug)]
struct Streams {
    trade: StreamId,
    aggregate: StreamId,
    touch: StreamId,
    marks: [StreamId; 2],
    ticker: StreamId,
    mini: StreamId,
}

/// The streams of all symbols at once.
#[derive(Debug)]
struct AllStreams {
    touch: StreamId,
    marks: [StreamId; 2],
    ticker: StreamId,
    mini: StreamId,
}

/// One symbol's public data.
#[derive(Debug)]
pub(crate) struct SymbolFeed {
    name: String,
    lower: String,
    tick: Increment,
    lot: Increment,
    /// Update id of the book as it stands.
    pub book_id: u64,
    changed_at: Nanos,
    cursors: [Cursor; 4],
    streams: Streams,
    touch: Option<(Level, Level)>,
    /// The played market has bookTicker frames of its own.
    pub touches_recorded: bool,
    open_aggregate: Option<Aggregate>,
    next_aggregate: u64,
    /// Last trades.
    pub prints: VecDeque<Print>,
    /// Last aggregates.
    pub aggregates: VecDeque<Aggregate>,
    /// One-minute candles.
    pub candles: Candles,
    /// Of the mark price, of the index price, and of the premium of the one over the other.
    pub marks: [PriceCandles; 3],
}

/// A kline stream.
#[derive(Debug)]
struct Klines {
    symbol: usize,
    interval: Interval,
    /// The interval as its name has it.
    name: String,
    /// A pair's continuous contract, which is its perpetual.
    continuous: bool,
    /// Opening time of the bar of the last event, ms.
    sent: Option<u64>,
}

/// All public data.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) symbols: Vec<SymbolFeed>,
    all: AllStreams,
    /// Depth streams of every speed send at once.
    pub depth_at_once: bool,
    /// Some aggregate is open.
    aggregating: bool,
    mark_due: Nanos,
    candle_due: Nanos,
    /// The kline streams with listeners; `None` for names that are no stream.
    klines: BTreeMap<String, Option<Klines>>,
    /// The hub's [`Hub::version`] that the next field was true for.
    seen: u64,
    /// Does anybody listen to marks or tickers?
    wanted_each_second: bool,
    text: Text,
}

/// What the feed needs to send.
pub(crate) struct Sink<'a> {
    pub hub: &'a mut Hub,
    pub faults: &'a mut Faults,
    /// Now, by the venue's clock.
    pub now: Nanos,
}

impl Sink<'_> {
    fn send(&mut self, stream: StreamId, data: &str) {
        self.hub.publish(stream, None, data, self.faults, self.now);
    }
}

impl Feed {
    pub(crate) fn new(listings: &[Listing], candles: Vec<Candles>, hub: &mut Hub, now: Nanos) -> Self {
        let n = listings.len() as u64;
        let mut symbols = Vec::with_capacity(listings.len());
        for (i, (l, candles)) in listings.iter().zip(candles).enumerate() {
            let due = now.plus(i as u64 * 100 * Nanos::MS / n.max(1));
            let lower = l.instrument.symbol.to_lowercase();
            let book_id = 5_000_000_000_000 + i as u64 * 1_000_003;
            symbols.push(SymbolFeed {
                name: l.instrument.symbol.clone(),
                tick: l.instrument.tick,
                lot: l.instrument.lot,
                book_id,
                changed_at: now,
                cursors: SPEEDS.map(|(_, suffix)| Cursor {
                    diff: hub.keep(&format!("{lower}@depth{suffix}")),
                    partial: PARTIAL.map(|k| hub.keep(&format!("{lower}@depth{k}{suffix}"))),
                    active: false,
                    changes: Vec::new(),
                    first: 0,
                    last_sent: book_id,
                    due,
                }),
                streams: Streams {
                    trade: hub.keep(&format!("{lower}@trade")),
                    aggregate: hub.keep(&format!("{lower}@aggTrade")),
                    touch: hub.keep(&format!("{lower}@bookTicker")),
                    marks: ["@1s", ""].map(|s| hub.keep(&format!("{lower}@markPrice{s}"))),
                    ticker: hub.keep(&format!("{lower}@ticker")),
                    mini: hub.keep(&format!("{lower}@miniTicker")),
                },
                lower,
                touch: None,
                touches_recorded: false,
                open_aggregate: None,
                next_aggregate: 2_000_000_000 + i as u64 * 1_000_003,
                prints: VecDeque::new(),
                aggregates: VecDeque::new(),
                candles,
                marks: Default::default(),
            });
        }
        let all = AllStreams {
            touch: hub.keep("!bookTicker"),
            marks: ["!markPrice@arr@1s", "!markPrice@arr"].map(|s| hub.keep(s)),
            ticker: hub.keep("!ticker@arr"),
            mini: hub.keep("!miniTicker@arr"),
        };
        Self {
            symbols,
            all,
            depth_at_once: false,
            aggregating: false,
            mark_due: Nanos(0),
            candle_due: Nanos(0),
            klines: BTreeMap::new(),
            seen: u64::MAX,
            wanted_each_second: false,
            text: Text::default(),
        }
    }

    /// Takes a symbol's book changes from the exchange and publishes what is real-time. `ids` are the first and last
    /// update id of a played event; without, the next ids are taken.
    pub(crate) fn book_changed(
        &mut self,
        exchange: &mut Exchange,
        symbol: SymbolId,
        ids: Option<(u64, u64)>,
        sink: &mut Sink<'_>,
    ) {
        let f = &mut self.symbols[symbol.index()];
        let (first, last) = ids.unwrap_or_else(|| {
            // The venue's ids count the updates of all symbols: ours skip a few, too.
            let first = f.book_id + 1 + f.book_id % 7;
            (first, first + 1 + f.book_id % 5)
        });
        for c in &mut f.cursors {
            let wanted = c.is_wanted(sink.hub);
            if wanted != c.active {
                // Who begins to listen hears what changes from now on.
                c.active = wanted;
                c.changes.clear();
                c.last_sent = f.book_id;
            }
        }
        let cursors = &mut f.cursors;
        let changed = exchange.take_book_changes(symbol, |side, level| {
            for c in cursors.iter_mut().filter(|c| c.active) {
                if c.changes.is_empty() {
                    c.first = first;
                }
                c.changes.push(Changed { ask: side == Side::Sell, px: level.px.0, qty: level.qty.0 });
            }
        });
        if !changed && ids.is_none() {
            return;
        }
        f.book_id = last;
        f.changed_at = sink.now;
        let at_once = if self.depth_at_once { SPEEDS.len() } else { 1 };
        (0..at_once).for_each(|n| f.flush(n, exchange.ladder(symbol), &mut self.text, sink));
        if !f.touches_recorded {
            f.touch_changed(exchange.ladder(symbol), self.all.touch, &mut self.text, sink);
        }
    }

    /// A recorded bookTicker, as our accounts' orders and fills leave it.
    pub(crate) fn touch_recorded(
        &mut self,
        ladder: &Ladder,
        symbol: SymbolId,
        id: u64,
        [bid, ask]: [Level; 2],
        sink: &mut Sink<'_>,
    ) {
        let f = &mut self.symbols[symbol.index()];
        let now = (ladder.adjusted(Side::Buy, bid), ladder.adjusted(Side::Sell, ask));
        f.send_touch(id, now, self.all.touch, &mut self.text, sink);
    }

    /// A trade of the exchange.
    pub(crate) fn traded(&mut self, symbol: SymbolId, print: Print, sink: &mut Sink<'_>) {
        let f = &mut self.symbols[symbol.index()];
        if f.prints.len() == PRINTS_KEPT {
            f.prints.pop_front();
        }
        f.prints.push_back(print);
        f.candles.trade(
            print.at,
            f.tick.value(print.px.0),
            f.lot.value(print.qty.0),
            print.aggressor,
            print.id,
        );
        if sink.hub.wants(f.streams.trade) {
            let t = self.text.clear();
            t.str(r#"{"e":"trade","E":"#).int(sink.now.millis()).str(r#","T":"#).int(print.at.millis());
            t.str(r#","s":""#).str(&f.name).str(r#"","t":"#).int(print.id).str(r#","p":""#);
            t.count(f.tick, print.px.0).str(r#"","q":""#).count(f.lot, print.qty.0);
            t.str(r#"","X":"MARKET","m":"#).flag(print.aggressor == Side::Sell).str(r#","st":1}"#);
            sink.send(f.streams.trade, t.as_str());
        }
        match &mut f.open_aggregate {
            Some(a)
                if a.px == print.px
                    && a.aggressor == print.aggressor
                    && a.at.millis() == print.at.millis() =>
            {
                a.qty += print.qty;
                a.trades.1 = print.id;
            }
            _ => {
                f.close_aggregate(&mut self.text, sink);
                self.aggregating = true;
                f.open_aggregate = Some(Aggregate {
                    id: f.next_aggregate,
                    trades: (print.id, print.id),
                    px: print.px,
                    qty: print.qty,
                    aggressor: print.aggressor,
                    at: print.at,
                });
                f.next_aggregate += 1;
            }
        }
    }

    /// A new mark and index price.
    pub(crate) fn marked(&mut self, symbol: SymbolId, mark: f64, index: f64, at: Nanos) {
        let premium = if index > 0.0 { mark / index - 1.0 } else { 0.0 };
        for (candles, px) in self.symbols[symbol.index()].marks.iter_mut().zip([mark, index, premium]) {
            candles.note(at, px);
        }
    }

    /// What is due: aggregates, depth frames, mark prices, klines.
    pub(crate) fn tick(&mut self, exchange: &Exchange, sink: &mut Sink<'_>) {
        let aggregating = std::mem::take(&mut self.aggregating);
        for (f, listing) in self.symbols.iter_mut().zip(exchange.listings()) {
            if aggregating {
                f.close_aggregate(&mut self.text, sink);
            }
            for (n, (ms, _)) in SPEEDS.iter().enumerate().skip(1) {
                if f.cursors[n].active && sink.now >= f.cursors[n].due {
                    let period = ms * Nanos::MS;
                    let behind = sink.now.since(f.cursors[n].due).0 / period;
                    f.cursors[n].due = f.cursors[n].due.plus((behind + 1) * period);
                    f.flush(n, exchange.ladder(listing.instrument.id), &mut self.text, sink);
                }
            }
        }
        if self.seen != sink.hub.version() {
            self.seen = sink.hub.version();
            let wanted = self.is_wanted_each_second(sink.hub);
            let before = std::mem::replace(&mut self.wanted_each_second, wanted);
            if !before && self.mark_due < sink.now {
                self.mark_due = Nanos((sink.now.0 / Nanos::SECOND + 1) * Nanos::SECOND);
            }
            self.follow_klines(sink.hub);
        }
        if self.wanted_each_second && sink.now >= self.mark_due {
            let second = sink.now.0 / Nanos::SECOND;
            self.mark_due = Nanos((second + 1) * Nanos::SECOND);
            self.marks(exchange, second.is_multiple_of(3), sink);
            self.tickers(second.is_multiple_of(2), sink);
        }
        if !self.klines.is_empty() && sink.now >= self.candle_due {
            self.candle_due = Nanos((sink.now.0 / KLINES_EVERY + 1) * KLINES_EVERY);
            self.send_klines(sink);
        }
    }

    /// When [`Self::tick`] has something to do next, by the venue's clock.
    pub(crate) fn due(&self, hub: &Hub, now: Nanos) -> Nanos {
        if self.aggregating {
            return now;
        }
        let mut due = Nanos(u64::MAX);
        for f in &self.symbols {
            for c in f.cursors[1..].iter().filter(|c| !c.changes.is_empty()) {
                due = due.min(c.due);
            }
        }
        if self.seen != hub.version() {
            return now;
        }
        if self.wanted_each_second {
            due = due.min(self.mark_due);
        }
        if !self.klines.is_empty() {
            due = due.min(self.candle_due);
        }
        due
    }

    fn is_wanted_each_second(&self, hub: &Hub) -> bool {
        let all = [self.all.marks[0], self.all.marks[1], self.all.ticker, self.all.mini];
        all.iter().any(|s| hub.wants(*s))
            || self
                .symbols
                .iter()
                .map(|f| &f.streams)
                .any(|s| [s.marks[0], s.marks[1], s.ticker, s.mini].iter().any(|s| hub.wants(*s)))
    }

    fn marks(&mut self, exchange: &Exchange, every_third: bool, sink: &mut Sink<'_>) {
        let want_all = self.all.marks.iter().any(|s| sink.hub.wants(*s));
        let mut rows = String::new();
        for (f, l) in self.symbols.iter().zip(exchange.listings()) {
            let streams = f.streams.marks;
            if !want_all && !streams.iter().any(|s| sink.hub.wants(*s)) {
                continue;
            }
            let m = &l.mark;
            let t = self.text.clear();
            t.str(r#"{"e":"markPriceUpdate","E":"#).int(sink.now.millis()).str(r#","s":""#).str(&f.name);
            t.str(r#"","p":""#).amount(m.mark).str(r#"","ap":""#).amount(m.mark).str(r#"","P":""#);
            t.amount(m.mark).str(r#"","i":""#).amount(m.index).str(r#"","r":""#);
            t.amount(market::Amount(m.funding_rate)).str(r#"","T":"#).int(m.next_funding.millis());
            t.str(r#","st":1}"#);
            sink.send(streams[0], t.as_str());
            if every_third {
                sink.send(streams[1], t.as_str());
            }
            if want_all {
                rows.push(if rows.is_empty() { '[' } else { ',' });
                rows.push_str(t.as_str());
            }
        }
        if want_all {
            if sink.faults.stands(|f, _| (*f == Fault::ForeignSymbols).then_some(())).is_some() {
                for (symbol, st) in FOREIGN {
                    let e = sink.now.millis();
                    rows += &format!(
                        r#",{{"e":"markPriceUpdate","E":{e},"s":"{symbol}","p":"1.25000000","ap":"1.25000000","P":"1.25000000","i":"1.25000000","r":"","T":0,"st":{st}}}"#
                    );
                }
            }
            rows.push(']');
            sink.send(self.all.marks[0], &rows);
            if every_third {
                sink.send(self.all.marks[1], &rows);
            }
        }
    }

    fn tickers(&self, every_second: bool, sink: &mut Sink<'_>) {
        for (mini, all) in [(true, self.all.mini), (false, self.all.ticker)] {
            let want_all = sink.hub.wants(all);
            let mut rows = Vec::new();
            for f in &self.symbols {
                let stream = if mini { f.streams.mini } else { f.streams.ticker };
                if want_all || (every_second && sink.hub.wants(stream)) {
                    let row = f.candles.day_event(&f.name, mini, &f.last_qty(), sink.now);
                    if every_second {
                        sink.send(stream, &row);
                    }
                    rows.push(row);
                }
            }
            if want_all {
                sink.send(all, &format!("[{}]", rows.join(",")));
            }
        }
    }

    /// Which kline streams have listeners now.
    fn follow_klines(&mut self, hub: &Hub) {
        let mut before = std::mem::take(&mut self.klines);
        for stream in hub.other_streams() {
            let continuous = stream.split_once("_perpetual@continuousKline_");
            let Some((lower, name)) = continuous.or_else(|| stream.split_once("@kline_")) else { continue };
            let continuous = continuous.is_some();
            let followed = before.remove(stream).unwrap_or_else(|| {
                let symbol = self.symbols.iter().position(|f| f.lower == lower)?;
                let interval = Interval::parse(name)?;
                Some(Klines { symbol, interval, name: name.to_owned(), continuous, sent: None })
            });
            self.klines.insert(stream.to_owned(), followed);
        }
    }

    fn send_klines(&mut self, sink: &mut Sink<'_>) {
        for (stream, k) in &mut self.klines {
            let Some(k) = k else { continue };
            let f = &mut self.symbols[k.symbol];
            let events = f.candles.events(&f.name, &k.name, k.interval, k.continuous, &mut k.sent, sink.now);
            for event in events {
                sink.hub.publish_named(stream, stream, &event, sink.faults, sink.now);
            }
        }
    }
}

impl SymbolFeed {
    /// Price text.
    pub(crate) fn px(&self, px: Px) -> String {
        Text::of(self.tick, px.0)
    }

    /// Quantity text.
    pub(crate) fn qty(&self, qty: Qty) -> String {
        Text::of(self.lot, qty.0)
    }

    /// Quantity of the last trade, as text.
    pub(crate) fn last_qty(&self) -> String {
        self.prints.back().map_or("0".to_owned(), |p| self.qty(p.qty))
    }

    /// Sends what a cursor has gathered.
    fn flush(&mut self, n: usize, ladder: &Ladder, text: &mut Text, sink: &mut Sink<'_>) {
        if self.cursors[n].changes.is_empty() {
            return;
        }
        self.cursors[n].sort();
        let c = &self.cursors[n];
        if sink.hub.wants(c.diff) {
            let (bids, asks) = c.changes.split_at(c.changes.partition_point(|c| !c.ask));
            let level = |c: &Changed| (c.px, c.qty);
            self.depth_frame(c, bids.iter().rev().map(level), asks.iter().map(level), text, sink.now);
            sink.send(c.diff, text.as_str());
        }
        for (stream, levels) in c.partial.into_iter().zip(PARTIAL) {
            if sink.hub.wants(stream) {
                let side = |side| ladder.levels(side).take(levels).map(|l| (l.px.0, l.qty.0));
                self.depth_frame(c, side(Side::Buy), side(Side::Sell), text, sink.now);
                sink.send(stream, text.as_str());
            }
        }
        let c = &mut self.cursors[n];
        c.changes.clear();
        c.last_sent = self.book_id;
    }

    /// Writes a depth frame; bids and asks come best first.
    fn depth_frame(
        &self,
        cursor: &Cursor,
        bids: impl Iterator<Item = (i64, i64)>,
        asks: impl Iterator<Item = (i64, i64)>,
        text: &mut Text,
        now: Nanos,
    ) {
        let t = text.clear();
        t.str(r#"{"e":"depthUpdate","E":"#).int(now.millis()).str(r#","T":"#).int(self.changed_at.millis());
        t.str(r#","s":""#).str(&self.name).str(r#"","ps":""#).str(&self.name).str(r#"","U":"#);
        t.int(cursor.first).str(r#","u":"#).int(self.book_id).str(r#","pu":"#).int(cursor.last_sent);
        t.str(r#","b":["#);
        self.levels(bids, t);
        t.str(r#"],"a":["#);
        self.levels(asks, t);
        t.str(r#"],"st":1}"#);
    }

    fn levels(&self, levels: impl Iterator<Item = (i64, i64)>, t: &mut Text) {
        let mut open = r#"[""#;
        for (px, qty) in levels {
            t.str(open).count(self.tick, px).str(r#"",""#).count(self.lot, qty).str(r#""]"#);
            open = r#",[""#;
        }
    }

    fn touch_changed(&mut self, ladder: &Ladder, all: StreamId, text: &mut Text, sink: &mut Sink<'_>) {
        // An empty side shows as price and quantity zero.
        let touch = [Side::Buy, Side::Sell].map(|side| ladder.best(side));
        if touch == [None, None] {
            return;
        }
        let now = (touch[0].unwrap_or_default(), touch[1].unwrap_or_default());
        if self.touch != Some(now) {
            self.send_touch(self.book_id, now, all, text, sink);
        }
    }

    fn send_touch(
        &mut self,
        id: u64,
        (bid, ask): (Level, Level),
        all: StreamId,
        text: &mut Text,
        sink: &mut Sink<'_>,
    ) {
        self.touch = Some((bid, ask));
        let stream = self.streams.touch;
        if sink.hub.wants(stream) || sink.hub.wants(all) {
            let t = text.clear();
            t.str(r#"{"e":"bookTicker","u":"#).int(id).str(r#","s":""#).str(&self.name).str(r#"","ps":""#);
            t.str(&self.name).str(r#"","b":""#).count(self.tick, bid.px.0).str(r#"","B":""#);
            t.count(self.lot, bid.qty.0).str(r#"","a":""#).count(self.tick, ask.px.0).str(r#"","A":""#);
            t.count(self.lot, ask.qty.0).str(r#"","T":"#).int(self.changed_at.millis()).str(r#","E":"#);
            t.int(sink.now.millis()).str(r#","st":1}"#);
            sink.send(stream, t.as_str());
            sink.send(all, t.as_str());
        }
    }

    fn close_aggregate(&mut self, text: &mut Text, sink: &mut Sink<'_>) {
        let Some(a) = self.open_aggregate.take() else { return };
        if self.aggregates.len() == PRINTS_KEPT {
            self.aggregates.pop_front();
        }
        self.aggregates.push_back(a);
        if sink.hub.wants(self.streams.aggregate) {
            let t = text.clear();
            t.str(r#"{"e":"aggTrade","E":"#)
                .int(sink.now.millis())
                .str(r#","a":"#)
                .int(a.id)
                .str(r#","s":""#);
            t.str(&self.name).str(r#"","p":""#).count(self.tick, a.px.0).str(r#"","q":""#);
            t.count(self.lot, a.qty.0).str(r#"","nq":""#).count(self.lot, a.qty.0).str(r#"","f":"#);
            t.int(a.trades.0).str(r#","l":"#).int(a.trades.1).str(r#","T":"#).int(a.at.millis());
            t.str(r#","m":"#).flag(a.aggressor == Side::Sell).str(r#","st":1}"#);
            sink.send(self.streams.aggregate, t.as_str());
        }
    }
}
