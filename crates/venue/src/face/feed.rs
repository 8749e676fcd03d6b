//! Public market data: what changed in the books and what traded, as the venue's frames.
//!
//! Each symbol has one book update id. Changes gather in a cursor per stream speed; a flush sends them with
//! `U` = the first id gathered, `u` = the last, `pu` = the `u` sent before.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use market::{Increment, Level, Nanos, Px, Qty, Side, SymbolId};

use super::candles::Candles;
use super::hub::Hub;
use crate::core::{Exchange, Ladder, Listing};
use crate::faults::Faults;

/// Trades and aggregates kept per symbol for the REST history.
const PRINTS_KEPT: usize = 1000;
/// Speeds of the depth streams: period and stream suffix.
const SPEEDS: [(u64, &str); 4] = [(0, "@0ms"), (100, "@100ms"), (250, ""), (500, "@500ms")];

/// Changes since a stream's last frame.
#[derive(Debug, Default)]
struct Cursor {
    changes: BTreeMap<(bool, i64), i64>,
    first: u64,
    last_sent: u64,
    due: Nanos,
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
}

/// All public data.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) symbols: Vec<SymbolFeed>,
    mark_due: Nanos,
    candle_due: Nanos,
}

/// What the feed needs to send.
pub(crate) struct Sink<'a> {
    pub hub: &'a mut Hub,
    pub faults: &'a mut Faults,
    /// Now, by the venue's clock.
    pub now: Nanos,
}

impl Sink<'_> {
    fn send(&mut self, stream: &str, data: &str) {
        self.hub.publish(stream, stream, data, self.faults, self.now);
    }
}

impl Feed {
    pub(crate) fn new(listings: &[Listing], candles: Vec<Candles>, now: Nanos) -> Self {
        let n = listings.len() as u64;
        let symbols = listings
            .iter()
            .zip(candles)
            .enumerate()
            .map(|(i, (l, candles))| {
                let phase = now.plus(i as u64 * 100 * Nanos::MS / n.max(1));
                let cursors = [(); 4].map(|()| Cursor { due: phase, ..Cursor::default() });
                SymbolFeed {
                    name: l.instrument.symbol.clone(),
                    lower: l.instrument.symbol.to_lowercase(),
                    tick: l.instrument.tick,
                    lot: l.instrument.lot,
                    book_id: 5_000_000_000_000 + i as u64 * 1_000_003,
                    changed_at: now,
                    cursors,
                    touch: None,
                    touches_recorded: false,
                    open_aggregate: None,
                    next_aggregate: 2_000_000_000 + i as u64 * 1_000_003,
                    prints: VecDeque::new(),
                    aggregates: VecDeque::new(),
                    candles,
                }
            })
            .collect();
        Self { symbols, mark_due: Nanos(0), candle_due: Nanos(0) }
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
        let cursors = &mut f.cursors;
        let changed = exchange.take_book_changes(symbol, |side, level| {
            for c in cursors.iter_mut() {
                if c.changes.is_empty() {
                    c.first = first;
                }
                c.changes.insert((side == Side::Sell, level.px.0), level.qty.0);
            }
        });
        if !changed && ids.is_none() {
            return;
        }
        f.book_id = last;
        f.changed_at = sink.now;
        f.flush(0, exchange.ladder(symbol), sink);
        if !f.touches_recorded {
            f.touch_changed(exchange.ladder(symbol), sink);
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
        f.send_touch(id, now, sink);
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
        let stream = format!("{}@trade", f.lower);
        if sink.hub.wants(&stream) {
            let text = format!(
                r#"{{"e":"trade","E":{},"T":{},"s":"{}","t":{},"p":"{}","q":"{}","X":"MARKET","m":{},"st":1}}"#,
                sink.now.millis(),
                print.at.millis(),
                f.name,
                print.id,
                f.tick.format(print.px.0),
                f.lot.format(print.qty.0),
                print.aggressor == Side::Sell
            );
            sink.send(&stream, &text);
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
                f.close_aggregate(sink);
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

    /// What is due: aggregates, depth frames, mark prices, klines.
    pub(crate) fn tick(&mut self, exchange: &Exchange, sink: &mut Sink<'_>) {
        for (f, listing) in self.symbols.iter_mut().zip(exchange.listings()) {
            f.close_aggregate(sink);
            for (n, (ms, _)) in SPEEDS.iter().enumerate().skip(1) {
                if sink.now >= f.cursors[n].due {
                    let period = ms * Nanos::MS;
                    let behind = sink.now.since(f.cursors[n].due).0 / period;
                    f.cursors[n].due = f.cursors[n].due.plus((behind + 1) * period);
                    f.flush(n, exchange.ladder(listing.instrument.id), sink);
                }
            }
        }
        if sink.now >= self.mark_due {
            let second = sink.now.0 / Nanos::SECOND;
            self.mark_due = Nanos((second + 1) * Nanos::SECOND);
            self.marks(exchange, second.is_multiple_of(3), sink);
            self.tickers(second.is_multiple_of(2), sink);
        }
        if sink.now >= self.candle_due {
            self.candle_due = sink.now.plus(250 * Nanos::MS);
            self.klines(sink);
        }
    }

    fn marks(&self, exchange: &Exchange, every_third: bool, sink: &mut Sink<'_>) {
        let all = ["!markPrice@arr@1s", "!markPrice@arr"];
        let want_all = all.iter().any(|s| sink.hub.wants(s));
        let mut rows = Vec::new();
        for (f, l) in self.symbols.iter().zip(exchange.listings()) {
            let streams = [format!("{}@markPrice@1s", f.lower), format!("{}@markPrice", f.lower)];
            if !want_all && !streams.iter().any(|s| sink.hub.wants(s)) {
                continue;
            }
            let m = &l.mark;
            let row = format!(
                r#"{{"e":"markPriceUpdate","E":{},"s":"{}","p":"{}","ap":"{}","P":"{}","i":"{}","r":"{}","T":{},"st":1}}"#,
                sink.now.millis(),
                f.name,
                m.mark,
                m.mark,
                m.mark,
                m.index,
                market::Amount(m.funding_rate),
                m.next_funding.millis()
            );
            sink.send(&streams[0], &row);
            if every_third {
                sink.send(&streams[1], &row);
            }
            rows.push(row);
        }
        if want_all {
            let text = format!("[{}]", rows.join(","));
            sink.send(all[0], &text);
            if every_third {
                sink.send(all[1], &text);
            }
        }
    }

    fn tickers(&self, every_second: bool, sink: &mut Sink<'_>) {
        for (mini, all, own) in [(true, "!miniTicker@arr", "miniTicker"), (false, "!ticker@arr", "ticker")] {
            let want_all = sink.hub.wants(all);
            let mut rows = Vec::new();
            for f in &self.symbols {
                let stream = format!("{}@{own}", f.lower);
                if want_all || (every_second && sink.hub.wants(&stream)) {
                    let row = f.candles.day_event(&f.name, mini, sink.now);
                    if every_second {
                        sink.send(&stream, &row);
                    }
                    rows.push(row);
                }
            }
            if want_all {
                sink.send(all, &format!("[{}]", rows.join(",")));
            }
        }
    }

    fn klines(&mut self, sink: &mut Sink<'_>) {
        let wanted: Vec<String> =
            sink.hub.streams().filter(|s| s.contains("@kline_")).map(str::to_owned).collect();
        for stream in wanted {
            let Some((lower, interval)) = stream.split_once("@kline_") else { continue };
            if let Some(f) = self.symbols.iter().find(|f| f.lower == lower)
                && let Some(text) = f.candles.event(&f.name, interval, sink.now)
            {
                sink.send(&stream, &text);
            }
        }
    }
}

impl SymbolFeed {
    /// Price text.
    pub(crate) fn px(&self, px: Px) -> String {
        self.tick.format(px.0).to_string()
    }

    /// Quantity text.
    pub(crate) fn qty(&self, qty: Qty) -> String {
        self.lot.format(qty.0).to_string()
    }

    /// Is anything unsent at any speed? Then a snapshot now is ahead of the streams (as at the venue).
    fn flush(&mut self, n: usize, ladder: &Ladder, sink: &mut Sink<'_>) {
        if self.cursors[n].changes.is_empty() {
            return;
        }
        let suffix = SPEEDS[n].1;
        let stream = format!("{}@depth{suffix}", self.lower);
        let partials = [5, 10, 20].map(|k| (k, format!("{}@depth{k}{suffix}", self.lower)));
        let ids = (self.cursors[n].first, self.book_id, self.cursors[n].last_sent);
        if sink.hub.wants(&stream) {
            let text = self.depth_frame(ids, &self.cursors[n].changes, sink.now);
            sink.send(&stream, &text);
        }
        for (levels, stream) in &partials {
            if sink.hub.wants(stream) {
                let mut top = BTreeMap::new();
                for side in [Side::Buy, Side::Sell] {
                    for l in ladder.levels(side).take(*levels) {
                        top.insert((side == Side::Sell, l.px.0), l.qty.0);
                    }
                }
                let text = self.depth_frame(ids, &top, sink.now);
                sink.send(stream, &text);
            }
        }
        let c = &mut self.cursors[n];
        c.changes.clear();
        c.last_sent = self.book_id;
    }

    fn depth_frame(&self, ids: (u64, u64, u64), levels: &BTreeMap<(bool, i64), i64>, now: Nanos) -> String {
        let mut s = String::with_capacity(160 + levels.len() * 28);
        let (e, t) = (now.millis(), self.changed_at.millis());
        write!(
            s,
            r#"{{"e":"depthUpdate","E":{e},"T":{t},"s":"{}","ps":"{}","U":{},"u":{},"pu":{},"b":["#,
            self.name, self.name, ids.0, ids.1, ids.2
        )
        .expect("a string takes all");
        let side = |asks: bool, s: &mut String| {
            // Bids best first: descending.
            let range: Vec<(&(bool, i64), &i64)> =
                levels.range((asks, i64::MIN)..=(asks, i64::MAX)).collect();
            let mut comma = "";
            let mut one = |(key, qty): (&(bool, i64), &i64)| {
                write!(s, r#"{comma}[""#).expect("a string takes all");
                self.tick.write(key.1, s).expect("a string takes all");
                s.push_str(r#"",""#);
                self.lot.write(*qty, s).expect("a string takes all");
                s.push_str(r#""]"#);
                comma = ",";
            };
            if asks {
                range.into_iter().for_each(&mut one);
            } else {
                range.into_iter().rev().for_each(&mut one);
            }
        };
        side(false, &mut s);
        s.push_str(r#"],"a":["#);
        side(true, &mut s);
        s.push_str(r#"],"st":1}"#);
        s
    }

    fn touch_changed(&mut self, ladder: &Ladder, sink: &mut Sink<'_>) {
        // An empty side shows as price and quantity zero.
        let touch = [Side::Buy, Side::Sell].map(|side| ladder.best(side));
        if touch == [None, None] {
            return;
        }
        let now = (touch[0].unwrap_or_default(), touch[1].unwrap_or_default());
        if self.touch != Some(now) {
            self.send_touch(self.book_id, now, sink);
        }
    }

    fn send_touch(&mut self, id: u64, (bid, ask): (Level, Level), sink: &mut Sink<'_>) {
        self.touch = Some((bid, ask));
        let stream = format!("{}@bookTicker", self.lower);
        if sink.hub.wants(&stream) || sink.hub.wants("!bookTicker") {
            let text = format!(
                r#"{{"e":"bookTicker","u":{id},"s":"{}","ps":"{}","b":"{}","B":"{}","a":"{}","A":"{}","T":{},"E":{},"st":1}}"#,
                self.name,
                self.name,
                self.tick.format(bid.px.0),
                self.lot.format(bid.qty.0),
                self.tick.format(ask.px.0),
                self.lot.format(ask.qty.0),
                self.changed_at.millis(),
                sink.now.millis()
            );
            sink.send(&stream, &text);
            sink.send("!bookTicker", &text);
        }
    }

    fn close_aggregate(&mut self, sink: &mut Sink<'_>) {
        let Some(a) = self.open_aggregate.take() else { return };
        if self.aggregates.len() == PRINTS_KEPT {
            self.aggregates.pop_front();
        }
        self.aggregates.push_back(a);
        let stream = format!("{}@aggTrade", self.lower);
        if sink.hub.wants(&stream) {
            let qty = self.lot.format(a.qty.0);
            let text = format!(
                r#"{{"e":"aggTrade","E":{},"a":{},"s":"{}","p":"{}","q":"{qty}","nq":"{qty}","f":{},"l":{},"T":{},"m":{},"st":1}}"#,
                sink.now.millis(),
                a.id,
                self.name,
                self.tick.format(a.px.0),
                a.trades.0,
                a.trades.1,
                a.at.millis(),
                a.aggressor == Side::Sell
            );
            sink.send(&stream, &text);
        }
    }
}
