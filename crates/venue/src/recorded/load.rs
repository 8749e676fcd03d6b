//! Reads recordings (SPEC §2.4) into played events. Everything is checked here, before the venue opens.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use archive::recording::{MergedRecordings, RecordingError, Survey, is_bare_snapshot, survey};
use market::{Increment, Level, Nanos, Px, Qty, Side, SymbolId};
use serde::Deserialize;

use crate::config::VenueError;
use crate::core::Listing;
use crate::sim;

/// Most levels and frames held in memory (about 1 GiB).
const MAX_HELD: usize = 60_000_000;

/// A recorded event of one symbol.
#[derive(Debug, Clone)]
pub(super) enum Played {
    /// Depth update: first id, last id, changed levels.
    Depth { ids: (u64, u64), bids: Box<[Level]>, asks: Box<[Level]> },
    /// Trade.
    Trade { aggressor: Side, px: Px, qty: Qty },
    /// Best bid and offer with its id.
    Touch { id: u64, bid: Level, ask: Level },
}

/// An event with its place in time.
#[derive(Debug, Clone)]
pub(super) struct Timed {
    /// Since the start of playing.
    pub after: Nanos,
    /// Venue send time as recorded.
    pub sent: Nanos,
    pub symbol: SymbolId,
    pub what: Played,
}

/// The book of a symbol when playing starts.
#[derive(Debug, Clone, Default)]
pub(super) struct Opening {
    pub id: u64,
    sides: [BTreeMap<i64, i64>; 2],
}

impl Opening {
    fn apply(&mut self, side: usize, levels: &[Level]) {
        for l in levels {
            if l.qty.0 == 0 {
                self.sides[side].remove(&l.px.0);
            } else {
                self.sides[side].insert(l.px.0, l.qty.0);
            }
        }
    }

    /// Bids and asks.
    pub fn levels(&self) -> (Vec<Level>, Vec<Level>) {
        let list =
            |m: &BTreeMap<i64, i64>| m.iter().map(|(p, q)| Level { px: Px(*p), qty: Qty(*q) }).collect();
        (list(&self.sides[0]), list(&self.sides[1]))
    }
}

/// All that is played.
#[derive(Debug, Default)]
pub(super) struct Recording {
    pub events: Vec<Timed>,
    pub openings: BTreeMap<SymbolId, Opening>,
    /// Symbols with bookTicker frames of their own.
    pub touches: BTreeMap<SymbolId, bool>,
}

/// A frame, as far as it matters; `b` and `a` mean different things in different frames.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default)]
    e: Option<Cow<'a, str>>,
    #[serde(rename = "E", default)]
    sent: u64,
    #[serde(borrow, default)]
    s: Option<Cow<'a, str>>,
    #[serde(rename = "U", default)]
    first: u64,
    #[serde(default)]
    u: u64,
    #[serde(rename = "lastUpdateId", default)]
    snapshot: u64,
    #[serde(borrow, default)]
    b: Word<'a>,
    #[serde(borrow, default)]
    a: Word<'a>,
    #[serde(borrow, default)]
    bids: Word<'a>,
    #[serde(borrow, default)]
    asks: Word<'a>,
    #[serde(rename = "B", borrow, default)]
    bid_qty: Word<'a>,
    #[serde(rename = "A", borrow, default)]
    ask_qty: Word<'a>,
    #[serde(borrow, default)]
    p: Word<'a>,
    #[serde(borrow, default)]
    q: Word<'a>,
    #[serde(default)]
    m: bool,
    #[serde(rename = "X", borrow, default)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Word<'a> {
    Levels(#[serde(borrow)] Vec<(Cow<'a, str>, Cow<'a, str>)>),
    Text(#[serde(borrow)] Cow<'a, str>),
    #[default]
    Nothing,
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow, default)]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<Frame<'a>>,
}

/// Adds the recorded symbols to the listings (those that are there already are played instead of simulated) and
/// reads the events.
pub(super) fn load(paths: &[PathBuf], listings: &mut Vec<Listing>) -> Result<Recording, VenueError> {
    let fail = |e: RecordingError| VenueError::Recording {
        path: paths.first().cloned().unwrap_or_default(),
        reason: e.to_string(),
    };
    let known = listings.len();
    let found = survey(paths).map_err(fail)?;
    let symbols = enlist(&found, listings, paths)?;
    let mut reader = MergedRecordings::open(paths).map_err(fail)?;
    let mut loader = Loader {
        listings,
        symbols: &symbols,
        found: &found,
        out: Recording::default(),
        raw: Vec::new(),
        held: 0,
        base: Nanos(0),
    };
    while let Some(line) = reader.next_line().map_err(fail)? {
        let (file, number, recv) = (line.file, line.number, line.recv);
        let reason = loader.take(file, recv, line.frame).err();
        if let Some(reason) = reason {
            let path = reader.path(file).to_owned();
            return Err(VenueError::Recording { path, reason: format!("line {number}: {reason}") });
        }
    }
    let recording = loader.finish().map_err(|reason| VenueError::Recording {
        path: paths.first().cloned().unwrap_or_default(),
        reason,
    })?;
    price_new_listings(listings, known, &recording);
    Ok(recording)
}

/// Listings made for a recording get their filters around its first price.
fn price_new_listings(listings: &mut [Listing], known: usize, recording: &Recording) {
    for listing in listings.iter_mut().skip(known) {
        let (id, tick, lot) = (listing.instrument.id, listing.instrument.tick, listing.instrument.lot);
        let of_book = recording.openings.get(&id).and_then(|o| o.sides[0].keys().next_back()).copied();
        let of_events = || {
            recording.events.iter().filter(|e| e.symbol == id).find_map(|e| match &e.what {
                Played::Trade { px, .. } => Some(px.0),
                Played::Touch { bid, .. } => Some(bid.px.0),
                Played::Depth { bids, .. } => bids.iter().map(|l| l.px.0).max(),
            })
        };
        if let Some(px) = of_book.or_else(of_events) {
            let name = listing.instrument.symbol.clone();
            let base = listing.base.clone();
            *listing = sim::listing(id, &base, tick, lot, tick.value(px), 5, 50);
            listing.instrument.symbol = name;
        }
    }
}

/// Finds or makes a listing for each recorded symbol.
fn enlist(
    found: &Survey,
    listings: &mut Vec<Listing>,
    paths: &[PathBuf],
) -> Result<BTreeMap<String, SymbolId>, VenueError> {
    let mut symbols = BTreeMap::new();
    for s in &found.symbols {
        if s.px_decimals + s.qty_decimals > 8 {
            let reason = format!(
                "{}: {} price and {} quantity decimals; amounts are exact only up to 8 together",
                s.symbol, s.px_decimals, s.qty_decimals
            );
            return Err(VenueError::Recording { path: paths.first().cloned().unwrap_or_default(), reason });
        }
        let id = match listings.iter().find(|l| l.instrument.symbol == s.symbol) {
            // The table's tick is used where the recording fits it; the first frame that does not fit is an error,
            // so widen here when decimals say that it may be finer.
            Some(l) => {
                let id = l.instrument.id;
                let finer = l.instrument.lot.scale() < s.qty_decimals;
                if finer {
                    listings[id.index()].instrument.lot = Increment::decimals(s.qty_decimals);
                }
                id
            }
            None => {
                let id = SymbolId(u16::try_from(listings.len()).expect("a few hundred listings"));
                let base = s.symbol.strip_suffix("USDT").unwrap_or(&s.symbol);
                let (tick, lot) = (Increment::decimals(s.px_decimals), Increment::decimals(s.qty_decimals));
                let mut listing = sim::listing(id, base, tick, lot, 1.0, 5, 50);
                listing.instrument.symbol.clone_from(&s.symbol);
                listings.push(listing);
                id
            }
        };
        symbols.insert(s.symbol.clone(), id);
    }
    Ok(symbols)
}

struct Loader<'a> {
    listings: &'a [Listing],
    symbols: &'a BTreeMap<String, SymbolId>,
    found: &'a Survey,
    out: Recording,
    raw: Vec<(Nanos, Timed)>,
    held: usize,
    /// The last of the symbols' first snapshots: playing starts there.
    base: Nanos,
}

impl Loader<'_> {
    fn take(&mut self, file: usize, recv: Nanos, text: &[u8]) -> Result<(), String> {
        if is_bare_snapshot(text) {
            let frame: Frame<'_> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
            let of_file = self.found.file_symbols.get(file).copied().flatten();
            let name = of_file.map(|id| &self.found.symbols[id.index()].symbol);
            let name = name.ok_or("a depth snapshot without a symbol in a file of several")?.clone();
            return self.snapshot(&name, recv, &frame);
        }
        let wrapped: Wrapped<'_> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        let (stream, frame) = match wrapped.data {
            Some(frame) => (wrapped.stream.unwrap_or_default(), frame),
            None => (Cow::Borrowed(""), serde_json::from_slice(text).map_err(|e| e.to_string())?),
        };
        if let Some(lower) = stream.strip_suffix("@depthSnapshot") {
            let name = lower.to_uppercase();
            return self.snapshot(&name, recv, &frame);
        }
        let Some(symbol) = frame.s.as_deref().and_then(|s| self.symbols.get(s)).copied() else {
            return Ok(());
        };
        // A partial book stream says nothing about the levels below it.
        let partial = stream.split('@').nth(1).is_some_and(|k| k.len() > 5 && k.starts_with("depth"));
        match frame.e.as_deref() {
            Some("depthUpdate") if !partial => self.depth(symbol, recv, &frame),
            Some("bookTicker") => self.touch(symbol, recv, &frame),
            Some(kind @ ("trade" | "aggTrade")) => self.trade(symbol, recv, &frame, kind == "aggTrade"),
            _ => Ok(()),
        }
    }

    fn px(&self, symbol: SymbolId, text: &str) -> Result<Px, String> {
        let tick = self.listings[symbol.index()].instrument.tick;
        tick.parse_count(text.as_bytes()).map(Px).map_err(|e| format!("price `{text}`: {e} of {tick}"))
    }

    fn qty(&self, symbol: SymbolId, text: &str) -> Result<Qty, String> {
        let lot = self.listings[symbol.index()].instrument.lot;
        lot.parse_count(text.as_bytes()).map(Qty).map_err(|e| format!("quantity `{text}`: {e} of {lot}"))
    }

    fn levels(&mut self, symbol: SymbolId, word: &Word<'_>) -> Result<Box<[Level]>, String> {
        let Word::Levels(rows) = word else { return Err("no levels".to_owned()) };
        self.held += rows.len();
        if self.held > MAX_HELD {
            return Err(format!("more than {MAX_HELD} levels: too long to be played from memory"));
        }
        rows.iter().map(|(p, q)| Ok(Level { px: self.px(symbol, p)?, qty: self.qty(symbol, q)? })).collect()
    }

    fn push(&mut self, symbol: SymbolId, recv: Nanos, frame: &Frame<'_>, what: Played) {
        self.held += 4;
        let sent = Nanos::from_millis(frame.sent);
        self.raw.push((recv, Timed { after: Nanos(0), sent, symbol, what }));
    }

    fn snapshot(&mut self, name: &str, recv: Nanos, frame: &Frame<'_>) -> Result<(), String> {
        let symbol =
            *self.symbols.get(name).ok_or_else(|| format!("a snapshot of {name}, which has no frames"))?;
        // Only the first one opens the book; later ones repeat what the updates say.
        if self.out.openings.contains_key(&symbol) {
            return Ok(());
        }
        let (bids, asks) = (self.levels(symbol, &frame.bids)?, self.levels(symbol, &frame.asks)?);
        let mut opening = Opening { id: frame.snapshot, ..Opening::default() };
        opening.apply(0, &bids);
        opening.apply(1, &asks);
        self.out.openings.insert(symbol, opening);
        self.base = self.base.max(recv);
        Ok(())
    }

    fn depth(&mut self, symbol: SymbolId, recv: Nanos, frame: &Frame<'_>) -> Result<(), String> {
        let (bids, asks) = (self.levels(symbol, &frame.b)?, self.levels(symbol, &frame.a)?);
        let ids = (frame.first, frame.u);
        if ids.0 == 0 || ids.1 < ids.0 {
            return Err(format!("update ids {}..{}", ids.0, ids.1));
        }
        self.push(symbol, recv, frame, Played::Depth { ids, bids, asks });
        Ok(())
    }

    fn touch(&mut self, symbol: SymbolId, recv: Nanos, frame: &Frame<'_>) -> Result<(), String> {
        let (Word::Text(b), Word::Text(bq), Word::Text(a), Word::Text(aq)) =
            (&frame.b, &frame.bid_qty, &frame.a, &frame.ask_qty)
        else {
            return Err("a bookTicker without prices".to_owned());
        };
        let bid = Level { px: self.px(symbol, b)?, qty: self.qty(symbol, bq)? };
        let ask = Level { px: self.px(symbol, a)?, qty: self.qty(symbol, aq)? };
        self.out.touches.insert(symbol, true);
        self.push(symbol, recv, frame, Played::Touch { id: frame.u, bid, ask });
        Ok(())
    }

    fn trade(
        &mut self,
        symbol: SymbolId,
        recv: Nanos,
        frame: &Frame<'_>,
        aggregate: bool,
    ) -> Result<(), String> {
        let name = &self.listings[symbol.index()].instrument.symbol;
        let has_aggregates = self.found.symbols.iter().any(|s| s.symbol == *name && s.has_aggregates);
        let on_market = frame.kind.as_deref().is_none_or(|k| k == "MARKET");
        if aggregate != has_aggregates || !on_market {
            return Ok(());
        }
        let (Word::Text(p), Word::Text(q)) = (&frame.p, &frame.q) else {
            return Err("a trade without price and quantity".to_owned());
        };
        let (px, qty) = (self.px(symbol, p)?, self.qty(symbol, q)?);
        let aggressor = if frame.m { Side::Sell } else { Side::Buy };
        self.push(symbol, recv, frame, Played::Trade { aggressor, px, qty });
        Ok(())
    }

    /// Folds what was before the start into the opening books; what is left is played.
    fn finish(mut self) -> Result<Recording, String> {
        let base = if self.base.0 > 0 { self.base } else { self.raw.first().map_or(Nanos(0), |r| r.0) };
        for (recv, mut event) in std::mem::take(&mut self.raw) {
            let opening = self.out.openings.entry(event.symbol).or_default();
            if let Played::Depth { ids, bids, asks } = &event.what {
                // Older than the snapshot: it is in it.
                if ids.1 < opening.id {
                    continue;
                }
                if recv < base {
                    opening.apply(0, bids);
                    opening.apply(1, asks);
                    opening.id = ids.1;
                }
            }
            if recv >= base {
                event.after = recv.since(base);
                self.out.events.push(event);
            }
        }
        if self.out.events.is_empty() {
            return Err(
                "nothing to play: no depth, bookTicker or trade frame after the first snapshot".to_owned()
            );
        }
        self.out.events.sort_by_key(|e| e.after);
        Ok(self.out)
    }
}
