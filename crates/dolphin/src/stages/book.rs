//! Frames to books and features: decode, apply, and at every boundary of event time sample all symbols.

use binance::decode::{Decoder, Frame as Decoded};
use book::{BookOutcome, FeatureEngine, Sample};
use market::{Bbo, MarketEvent, Nanos, SymbolId};
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader};
use runtime::latency::Probe;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};

use super::feed::{Frame, FrameKind};
use super::router::Quote;
use super::{Hop, Tick};

/// What the book stage tells the control thread.
#[derive(Debug, Clone, Copy)]
pub enum BookNews {
    /// This symbol's book waits for a snapshot.
    NeedsSnapshot(SymbolId),
    /// Counters, every 10 samples.
    Counters(BookCounters),
}

/// What passed through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct BookCounters {
    /// Frames decoded into events.
    pub events: u64,
    /// Frames refused.
    pub rejected: u64,
    /// Frames of no interest.
    pub ignored: u64,
    /// Samples of all symbols.
    pub samples: u64,
    /// `pu` gaps.
    pub gaps: u64,
    /// Books in sync at the last sample.
    pub live_books: u32,
    /// Samples that found no empty box: the engine is behind.
    pub lost_samples: u64,
}

/// A depth snapshot as the REST reply brought it.
#[derive(Debug)]
pub struct SnapshotReply {
    /// Whose.
    pub symbol: SymbolId,
    /// The reply's body.
    pub body: Vec<u8>,
}

/// The stage; the rings are named by their ends.
pub struct BookStage {
    /// Bytes to events.
    pub decoder: Decoder,
    /// Books, features, the event-time clock.
    pub features: FeatureEngine,
    /// Frames of the feed.
    pub feed_to_book: Unloader<Frame>,
    /// Snapshots fetched by the control thread.
    pub control_to_book: Rx<Box<SnapshotReply>>,
    /// Ticks for the scanner.
    pub book_to_scanner: Loader<Tick>,
    /// Quotes; conflated when full: the next one brings the state of then.
    pub book_to_router: Tx<Quote>,
    /// Requests for snapshots, counters.
    pub book_to_control: Tx<BookNews>,
    /// Features of a book that has been silent for longer count as not there (`ob_stale_after`).
    pub stale_after: Nanos,
    /// By symbol: `E` of the last depth update.
    pub updated: Vec<Nanos>,
    /// Counters.
    pub counters: BookCounters,
    /// By symbol: a snapshot was asked for and has not come.
    pub asked: Vec<bool>,
    /// By symbol: the best prices last told to the router.
    pub told: Vec<Option<Bbo>>,
    /// For latencies.
    pub clock: Clock,
    /// Latencies.
    pub probe: Probe,
}

/// Frames taken in one duty cycle.
const BATCH: usize = 32;

impl BookStage {
    fn frame(&mut self, frame: &Frame) {
        match frame.kind {
            FrameKind::Market => {}
            FrameKind::PublicLost => {
                // Updates were missed: no book can be trusted until its next snapshot.
                for i in 0..self.asked.len() {
                    self.features.invalidate(SymbolId(i as u16));
                    self.ask(SymbolId(i as u16));
                }
                return;
            }
        }
        let Self { decoder, features, book_to_scanner, counters, stale_after, updated, clock, .. } = self;
        let event = match decoder.decode(&frame.bytes) {
            Ok(Decoded::Market(event)) => event,
            Ok(Decoded::Snapshot(snapshot)) => {
                features.on_snapshot(&snapshot);
                return;
            }
            Ok(Decoded::Ignored(_)) => return counters.ignored += 1,
            Err(_) => return counters.rejected += 1,
        };
        counters.events += 1;
        let mut sampled = false;
        let stale_after = *stale_after;
        let outcome = features.on_event(&event, |sample| {
            sampled = true;
            counters.samples += 1;
            match book_to_scanner.acquire() {
                Some(mut tick) => {
                    fill(&mut tick, sample, updated, stale_after);
                    tick.recv_ns = frame.recv_ns;
                    tick.handed_ns = clock.now_ns();
                    counters.live_books = sample.mids.iter().filter(|m| m.is_finite()).count() as u32;
                    book_to_scanner.send(tick);
                }
                None => counters.lost_samples += 1,
            }
        });
        let symbol = event.symbol();
        let mark = if let MarketEvent::Mark(m) = event { Some(m) } else { None };
        if let MarketEvent::Depth(update) = event {
            updated[symbol.index()] = update.ts_send;
        }
        let now = self.clock.now_ns();
        self.probe.record(if sampled { Hop::Features } else { Hop::Book } as u8, now - frame.recv_ns);
        match outcome {
            Some(BookOutcome::Gap | BookOutcome::Crossed) => {
                self.counters.gaps += 1;
                self.ask(symbol);
            }
            Some(BookOutcome::Buffered | BookOutcome::SnapshotTooOld) => self.ask(symbol),
            Some(BookOutcome::Applied) => self.quote(symbol),
            _ => {}
        }
        if let Some(mark) = mark {
            let _ = self.book_to_router.push(Quote::Mark(mark));
        }
        if sampled {
            self.after_sample();
        }
    }

    /// Tells the router the best prices of `symbol` if they moved.
    fn quote(&mut self, symbol: SymbolId) {
        let Some(now) = self.best(symbol) else { return };
        let told = &mut self.told[symbol.index()];
        if told.is_some_and(|t| t.bid == now.bid && t.ask == now.ask) {
            return;
        }
        if self.book_to_router.push(Quote::Bbo(now)).is_ok() {
            *told = Some(now);
        }
    }

    fn best(&self, symbol: SymbolId) -> Option<Bbo> {
        let local = self.features.book(symbol)?;
        if !local.is_live() {
            return None;
        }
        let (bid, ask) = (local.book().best_bid()?, local.book().best_ask()?);
        let (ts_event, ts_send) = local.times();
        Some(Bbo { symbol, ts_event, ts_send, update_id: local.last_update_id(), bid, ask })
    }

    /// At a sample: every live book is told again (its age is what the router's checks go by), counters go out.
    fn after_sample(&mut self) {
        for i in 0..self.told.len() {
            self.told[i] = None;
            self.quote(SymbolId(i as u16));
        }
        if self.counters.samples.is_multiple_of(10) {
            let _ = self.book_to_control.push(BookNews::Counters(self.counters));
        }
    }

    fn ask(&mut self, symbol: SymbolId) {
        let asked = &mut self.asked[symbol.index()];
        let wants = self.features.book(symbol).is_some_and(|b| b.needs_snapshot());
        if wants && !*asked {
            *asked = self.book_to_control.push(BookNews::NeedsSnapshot(symbol)).is_ok();
        }
    }

    fn snapshot(&mut self, reply: &SnapshotReply) {
        self.asked[reply.symbol.index()] = false;
        match self.decoder.decode_snapshot(reply.symbol, &reply.body) {
            Ok(snapshot) => {
                let outcome = self.features.on_snapshot(&snapshot);
                if outcome == BookOutcome::Applied {
                    self.quote(reply.symbol);
                } else {
                    self.ask(reply.symbol);
                }
            }
            Err(_) => {
                self.counters.rejected += 1;
                self.ask(reply.symbol);
            }
        }
    }
}

fn fill(tick: &mut Tick, sample: &Sample<'_>, updated: &[Nanos], stale_after: Nanos) {
    tick.ts = sample.ts;
    tick.mids.copy_from_slice(sample.mids);
    tick.cross = sample.cross;
    for ((out, features), at) in tick.features.iter_mut().zip(sample.features).zip(updated) {
        *out = features.filter(|_| sample.ts.since(*at) <= stale_after);
    }
}

impl Stage for BookStage {
    fn name(&self) -> &'static str {
        "book"
    }

    fn poll(&mut self, _now_ns: u64) -> Work {
        let mut did = false;
        if let Some(reply) = self.control_to_book.pop() {
            self.snapshot(&reply);
            did = true;
        }
        for _ in 0..BATCH {
            let Some(frame) = self.feed_to_book.recv() else { break };
            self.frame(&frame);
            self.feed_to_book.give_back(frame);
            did = true;
        }
        Work::from(did)
    }
}
