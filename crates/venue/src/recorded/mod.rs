//! Recorded markets: the depth, bookTicker and trade frames of recordings, played in real time (or faster) into the
//! exchange. Update ids are the recorded ones plus an offset per symbol, which grows when our accounts change the
//! book and when a recording starts again, so that ids always rise and `pu` always chains.

mod load;

use std::collections::BTreeMap;

use market::{Level, Nanos, SymbolId};

use crate::config::{VenueConfig, VenueError};
use crate::core::{Exchange, Listing};
use load::{Played, Recording};

/// Pause between the end of a recording and its new start.
const PAUSE: Nanos = Nanos(200 * Nanos::MS);

/// What a played event changed, for the feed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// The book, between these ids.
    Book(u64, u64),
    /// The best bid and offer, with the id.
    Touch(u64, Level, Level),
}

/// Plays recordings.
pub(crate) struct Player {
    recording: Recording,
    offsets: BTreeMap<SymbolId, u64>,
    /// Last id published per symbol.
    last: BTreeMap<SymbolId, u64>,
    next: usize,
    /// When this round began.
    round: Option<Nanos>,
    speed: f64,
    looping: bool,
    keep_times: bool,
}

impl Player {
    /// Loads the recordings of a configuration, if there are any.
    pub(crate) fn open(
        config: &VenueConfig,
        listings: &mut Vec<Listing>,
    ) -> Result<Option<Self>, VenueError> {
        if !(config.speed > 0.0 && config.speed <= 1000.0) {
            return Err(VenueError::Config(format!("speed {}; choose one in (0, 1000]", config.speed)));
        }
        if config.recordings.is_empty() {
            return Ok(None);
        }
        let recording = load::load(&config.recordings, listings)?;
        Ok(Some(Self {
            recording,
            offsets: BTreeMap::new(),
            last: BTreeMap::new(),
            next: 0,
            round: None,
            speed: config.speed,
            looping: config.looping,
            keep_times: config.keep_times,
        }))
    }

    /// The symbols played.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = SymbolId> {
        self.recording.openings.keys().copied()
    }

    /// Has the symbol bookTicker frames of its own?
    pub(crate) fn has_touches(&self, symbol: SymbolId) -> bool {
        self.recording.touches.contains_key(&symbol)
    }

    /// An account changed the book of a symbol: the id of that change.
    pub(crate) fn bump(&mut self, symbol: SymbolId) -> u64 {
        *self.offsets.entry(symbol).or_default() += 1;
        let last = self.last.entry(symbol).or_default();
        *last += 1;
        *last
    }

    /// Plays what is due at `elapsed`; `each` publishes an event's change with the time to stamp it with.
    pub(crate) fn play(
        &mut self,
        elapsed: Nanos,
        exchange: &mut Exchange,
        now: Nanos,
        mut each: impl FnMut(&mut Exchange, SymbolId, Change, Nanos),
    ) {
        let mut round = match self.round {
            Some(round) => round,
            None => {
                self.open_books(exchange, now, &mut each);
                elapsed
            }
        };
        loop {
            let Some(event) = self.recording.events.get(self.next) else {
                let end = self.recording.events.last().map_or(Nanos(0), |e| e.after);
                let length = Nanos((end.plus(PAUSE.0).0 as f64 / self.speed) as u64);
                if !self.looping || elapsed.since(round) < length {
                    break;
                }
                round = round.plus(length.0);
                self.next = 0;
                self.open_books(exchange, now, &mut each);
                continue;
            };
            if event.after.0 as f64 > elapsed.since(round).0 as f64 * self.speed {
                break;
            }
            let stamp = if self.keep_times { event.sent } else { now };
            let symbol = event.symbol;
            let offset = self.offsets.get(&symbol).copied().unwrap_or_default();
            match &event.what {
                Played::Depth { ids, bids, asks } => {
                    exchange.play_levels(symbol, bids, asks, stamp);
                    self.last.insert(symbol, ids.1 + offset);
                    each(exchange, symbol, Change::Book(ids.0 + offset, ids.1 + offset), stamp);
                }
                Played::Trade { aggressor, px, qty } => {
                    exchange.play_trade(symbol, *aggressor, *px, *qty, stamp);
                }
                Played::Touch { id, bid, ask } => {
                    each(exchange, symbol, Change::Touch(id + offset, *bid, *ask), stamp);
                }
            }
            self.next += 1;
        }
        self.round = Some(round);
    }

    /// When, after the start, the next event is due.
    pub(crate) fn due(&self, elapsed: Nanos) -> Nanos {
        let Some(round) = self.round else { return elapsed };
        let scaled = |after: Nanos| round.plus((after.0 as f64 / self.speed).ceil() as u64);
        match self.recording.events.get(self.next) {
            Some(event) => scaled(event.after),
            None if self.looping => {
                let end = self.recording.events.last().map_or(Nanos(0), |e| e.after);
                scaled(end.plus(PAUSE.0))
            }
            None => Nanos(u64::MAX),
        }
    }

    /// Sets the books to where playing starts. Ids go on from the last published one.
    fn open_books(
        &mut self,
        exchange: &mut Exchange,
        now: Nanos,
        each: &mut impl FnMut(&mut Exchange, SymbolId, Change, Nanos),
    ) {
        for (&symbol, opening) in &self.recording.openings {
            let (bids, asks) = opening.levels();
            exchange.play_snapshot(symbol, &bids, &asks, now);
            let first = self.last.get(&symbol).map_or(opening.id.max(1), |last| last + 1);
            // From here, recorded ids are above the opening's, ours above the last published.
            let id = first.max(opening.id);
            self.offsets.insert(symbol, id - opening.id);
            self.last.insert(symbol, id);
            each(exchange, symbol, Change::Book(first, id), now);
        }
    }
}

#[cfg(test)]
mod tests;
