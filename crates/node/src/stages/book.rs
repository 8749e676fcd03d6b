//! Frames to books and features: decode, apply, and at every boundary of event time sample all symbols.
//!
//! What is not to be trusted is masked, symbol by symbol ([`Mask`]): no mid price and no features for the engine, and
//! the router is told at once that the book is lost. Everything else goes on.

use binance::decode::{Decoder, Frame as Decoded, Ignored};
use book::{Audit, BookOutcome, FeatureEngine, Sample, Verdict};
use market::{Bbo, MarketEvent, Nanos, SymbolId};
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader};
use runtime::latency::Probe;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};

use super::feed::{Frame, FrameKind};
use super::router::Quote;
use super::streams::{StreamCounters, StreamNews, Streams};
use super::{Hop, Tick};
use crate::config::MarketConfig;

/// Why a symbol is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// Its book is not in sync with the venue.
    Unsynced,
    /// A stream of it is silent.
    Silent,
    /// Its book has not moved for longer than `ob_stale_after_ms` of event time.
    Stale,
    /// One side of its book is empty: it has no mid.
    OneSided,
    /// Its mid is farther from the mark price than `max_mark_gap_pct`.
    Odd,
}

/// What the book stage tells the control thread.
#[derive(Debug)]
pub enum BookNews {
    /// This symbol's book waits for a snapshot.
    NeedsSnapshot(SymbolId),
    /// This symbol's book is in sync (again).
    Synced(SymbolId),
    /// A snapshot is wanted to compare this symbol's book with.
    Audit(SymbolId),
    /// The comparison found a difference; the book is taken again.
    AuditFailed(SymbolId, Verdict),
    /// A symbol was masked, or is no longer.
    Masked(SymbolId, Option<Mask>),
    /// Of the streams.
    Streams(StreamNews),
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
    /// Books found crossed.
    pub crossed: u64,
    /// Updates not newer than the book: replayed or late, dropped.
    pub old_updates: u64,
    /// Snapshots older than what was buffered for them.
    pub old_snapshots: u64,
    /// Books taken again after they had been in sync.
    pub resyncs: u64,
    /// Longest time that took, ms.
    pub longest_resync_ms: u64,
    /// Books in sync and not masked at the last sample.
    pub live_books: u32,
    /// Samples that found no empty box: the engine is behind.
    pub lost_samples: u64,
    /// Books compared level by level with the venue's at the same update id, and found equal.
    pub audits: u64,
    /// … and found different.
    pub audit_failures: u64,
    /// Of the streams.
    pub streams: StreamCounters,
}

/// A depth snapshot as the REST reply brought it.
#[derive(Debug)]
pub struct SnapshotReply {
    /// Whose.
    pub symbol: SymbolId,
    /// For a comparison, not to build on.
    pub audit: bool,
    /// The reply's body.
    pub body: Vec<u8>,
}

/// Limits of the stage.
#[derive(Debug, Clone, Copy)]
pub struct BookLimits {
    /// See [`Mask::Stale`].
    pub stale_after: Nanos,
    /// See [`Mask::Odd`]; a fraction.
    pub max_mark_gap: f64,
    /// A book is audited this often, the symbols in turn; 0: never.
    pub audit_interval: u64,
}

impl BookLimits {
    /// Of the configuration.
    pub fn of(market: &MarketConfig) -> Self {
        Self {
            stale_after: Nanos::from_millis(market.ob_stale_after_ms),
            max_mark_gap: market.max_mark_gap_pct / 100.0,
            audit_interval: Nanos::from_millis(market.audit_interval_ms).0,
        }
    }
}

/// What is known of one symbol beside its book.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// `E` of the last depth update.
    updated: Nanos,
    /// A snapshot was asked for and has not come.
    asked: bool,
    mask: Option<Mask>,
    /// What the sample being taken says of it.
    next_mask: Option<Mask>,
    /// The router must still hear that the book is lost.
    untold: bool,
    /// The best prices last told to the router.
    told: Option<Bbo>,
    /// When it lost its sync, monotonic; 0 before the first.
    lost_at: u64,
    was_live: bool,
    /// Mark price and its time.
    mark: (f64, Nanos),
    /// Since when the mid has been odd, event time; 0: it is not.
    odd_since: u64,
    /// Time of the sample.
    odd_now: Nanos,
}

impl Default for Standing {
    fn default() -> Self {
        Self::new()
    }
}

impl Standing {
    /// Before the first frame.
    pub fn new() -> Self {
        Self {
            updated: Nanos(0),
            asked: false,
            mask: Some(Mask::Unsynced),
            next_mask: None,
            untold: false,
            told: None,
            lost_at: 0,
            was_live: false,
            mark: (f64::NAN, Nanos(0)),
            odd_since: 0,
            odd_now: Nanos(0),
        }
    }
}

/// The audit under way.
#[derive(Debug, Default)]
pub struct Auditing {
    audit: Audit,
    symbol: Option<SymbolId>,
    next: u16,
    due: u64,
}

/// The stage; the rings are named by their ends.
pub struct BookStage {
    /// Bytes to events.
    pub decoder: Decoder,
    /// Books, features, the event-time clock.
    pub features: FeatureEngine,
    /// Which streams deliver.
    pub streams: Streams,
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
    /// Limits.
    pub limits: BookLimits,
    /// Counters.
    pub counters: BookCounters,
    /// By symbol.
    pub standing: Vec<Standing>,
    /// Comparison with the venue's books.
    pub auditing: Auditing,
    /// For latencies.
    pub clock: Clock,
    /// Latencies.
    pub probe: Probe,
}

/// Frames taken in one duty cycle.
const BATCH: usize = 32;
/// A mark older than this says nothing about a mid.
const MARK_AGE: u64 = 5 * Nanos::SECOND;
/// A mid that stays odd for this long makes its book suspect: it is taken again, once per such time.
const ODD_FOR: u64 = 10 * Nanos::SECOND;
/// An audit that has found no verdict in this time is given up.
const AUDIT_FOR: u64 = 10 * Nanos::SECOND;

impl BookStage {
    fn frame(&mut self, frame: &Frame) {
        if frame.kind != FrameKind::Market {
            return self.connection(frame);
        }
        let now = Nanos(frame.recv_ns);
        let Self { decoder, features, streams, book_to_control, book_to_scanner, counters, .. } = self;
        let event = match decoder.decode(&frame.bytes) {
            Ok(Decoded::Market(event)) => event,
            // Snapshots come in recordings alone.
            Ok(Decoded::Snapshot(_)) => return counters.ignored += 1,
            Ok(Decoded::Ignored(what)) => {
                counters.ignored += 1;
                if what == Ignored::OtherKind {
                    streams.on_other((frame.route, frame.generation), &frame.bytes, book_to_control);
                }
                return;
            }
            Err(error) => {
                counters.rejected += 1;
                return streams.on_bad_frame(frame.route, &frame.bytes, error, now, book_to_control);
            }
        };
        if !streams.note((frame.route, frame.generation), &event, now, book_to_control) {
            return;
        }
        counters.events += 1;
        let mut sampled = false;
        let (standing, limits, clock) = (&mut self.standing, self.limits, &self.clock);
        let outcome = features.on_event(&event, |sample| {
            sampled = true;
            counters.samples += 1;
            look(sample, standing, streams, limits);
            match book_to_scanner.acquire() {
                Some(mut tick) => {
                    counters.live_books = fill(&mut tick, sample, standing);
                    tick.recv_ns = frame.recv_ns;
                    tick.handed_ns = clock.now_ns();
                    book_to_scanner.send(tick);
                }
                None => counters.lost_samples += 1,
            }
        });
        let symbol = event.symbol();
        match event {
            MarketEvent::Depth(update) => {
                self.standing[symbol.index()].updated = update.ts_send;
                if self.auditing.symbol == Some(symbol) {
                    self.auditing.audit.on_update(&update);
                }
            }
            MarketEvent::Mark(mark) => {
                self.standing[symbol.index()].mark = (mark.mark, mark.ts_send);
                let _ = self.book_to_router.push(Quote::Mark(mark));
            }
            MarketEvent::Trade(_) | MarketEvent::Bbo(_) => {}
        }
        let now = self.clock.now_ns();
        self.probe.record(if sampled { Hop::Features } else { Hop::Book } as u8, now - frame.recv_ns);
        if let Some(outcome) = outcome {
            self.outcome(symbol, outcome);
        }
        if sampled {
            self.after_sample();
        }
    }

    /// A connection opened, was replaced, or was lost.
    #[cold]
    fn connection(&mut self, frame: &Frame) {
        self.streams.on_change((frame.route, frame.generation), frame.kind, Nanos(frame.recv_ns));
        if frame.kind == FrameKind::Lost {
            // Updates were missed: no book of it can be trusted until its next snapshot, and that is asked for when the
            // first update of the next connection has come.
            let Self { streams, features, .. } = self;
            streams.books(frame.route).for_each(|symbol| features.invalidate(symbol));
            for i in 0..self.standing.len() {
                self.lost(SymbolId(i as u16));
            }
        }
    }

    #[inline]
    fn outcome(&mut self, symbol: SymbolId, outcome: BookOutcome) {
        match outcome {
            BookOutcome::Applied => {
                if self.standing[symbol.index()].mask == Some(Mask::Unsynced) {
                    self.synced(symbol);
                }
                self.quote(symbol);
                if self.auditing.symbol == Some(symbol) {
                    self.verdict(symbol);
                }
            }
            BookOutcome::Gap => self.counters.gaps += 1,
            BookOutcome::Crossed => self.counters.crossed += 1,
            BookOutcome::Old => self.counters.old_updates += 1,
            BookOutcome::SnapshotTooOld => self.counters.old_snapshots += 1,
            BookOutcome::Buffered | BookOutcome::OutOfRange => {}
        }
        if outcome != BookOutcome::Applied {
            self.lost(symbol);
            self.ask(symbol);
        }
    }

    /// If the book of `symbol` is no longer live, everybody hears of it now.
    #[cold]
    fn lost(&mut self, symbol: SymbolId) {
        let standing = &mut self.standing[symbol.index()];
        let live = self.features.book(symbol).is_some_and(|b| b.is_live());
        if live || standing.mask == Some(Mask::Unsynced) {
            return;
        }
        standing.lost_at = self.clock.now_ns();
        self.mask(symbol, Some(Mask::Unsynced));
    }

    /// Tells the mask of a symbol, if it is another one.
    fn mask(&mut self, symbol: SymbolId, mask: Option<Mask>) {
        let standing = &mut self.standing[symbol.index()];
        if standing.mask == mask {
            return;
        }
        standing.mask = mask;
        standing.told = None;
        standing.untold = mask.is_some();
        self.tell_mask(symbol);
        let _ = self.book_to_control.push(BookNews::Masked(symbol, mask));
    }

    fn tell_mask(&mut self, symbol: SymbolId) {
        let standing = &mut self.standing[symbol.index()];
        if standing.untold {
            standing.untold = self.book_to_router.push(Quote::Lost(symbol)).is_err();
        }
    }

    /// The book of `symbol` is in step with the venue.
    #[cold]
    fn synced(&mut self, symbol: SymbolId) {
        let standing = &mut self.standing[symbol.index()];
        if std::mem::replace(&mut standing.was_live, true) {
            let took = (self.clock.now_ns() - standing.lost_at) / Nanos::MS;
            self.counters.resyncs += 1;
            self.counters.longest_resync_ms = self.counters.longest_resync_ms.max(took);
        }
        let _ = self.book_to_control.push(BookNews::Synced(symbol));
        self.mask(symbol, None);
    }

    /// Tells the router the best prices of `symbol` if they moved.
    #[inline]
    fn quote(&mut self, symbol: SymbolId) {
        if self.standing[symbol.index()].mask.is_some() {
            return;
        }
        let Some(now) = self.best(symbol) else { return };
        let told = &mut self.standing[symbol.index()].told;
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

    /// At a sample: masks that changed are told; every other live book is told again (its age is what the router's
    /// checks go by); counters go out.
    fn after_sample(&mut self) {
        for i in 0..self.standing.len() {
            let symbol = SymbolId(i as u16);
            let next = self.standing[i].next_mask;
            if self.standing[i].mask != Some(Mask::Unsynced) {
                self.mask(symbol, next);
            }
            self.tell_mask(symbol);
            self.standing[i].told = None;
            self.quote(symbol);
            self.doubt(symbol);
        }
        if self.counters.samples.is_multiple_of(10) {
            self.counters.streams = self.streams.counters();
            let _ = self.book_to_control.push(BookNews::Counters(self.counters));
        }
    }

    /// A book whose mid has been far from the mark for long is taken again.
    fn doubt(&mut self, symbol: SymbolId) {
        let standing = &mut self.standing[symbol.index()];
        if standing.odd_since == 0 || standing.odd_now.0 - standing.odd_since < ODD_FOR {
            return;
        }
        standing.odd_since = standing.odd_now.0;
        self.features.invalidate(symbol);
        self.lost(symbol);
    }

    fn ask(&mut self, symbol: SymbolId) {
        let asked = &mut self.standing[symbol.index()].asked;
        let wants = self.features.book(symbol).is_some_and(|b| b.needs_snapshot());
        if wants && !*asked {
            *asked = self.book_to_control.push(BookNews::NeedsSnapshot(symbol)).is_ok();
        }
    }

    fn snapshot(&mut self, reply: &SnapshotReply) {
        let symbol = reply.symbol;
        if !reply.audit {
            self.standing[symbol.index()].asked = false;
        }
        let snapshot = match self.decoder.decode_snapshot(symbol, &reply.body) {
            Ok(snapshot) => snapshot,
            Err(_) => {
                self.counters.rejected += 1;
                return self.ask(symbol);
            }
        };
        if !reply.audit {
            let outcome = self.features.on_snapshot(&snapshot);
            // With the snapshot alone the book is not live: the next update decides.
            let live = self.features.book(symbol).is_some_and(|b| b.is_live());
            if outcome != BookOutcome::Applied || live {
                self.outcome(symbol, outcome);
            } else {
                self.lost(symbol);
            }
        } else if self.auditing.symbol == Some(symbol) {
            self.auditing.audit.on_snapshot(&snapshot);
            self.verdict(symbol);
        }
    }

    // ---- audits -------------------------------------------------------------------------------------------------

    /// Begins the next audit when it is due.
    fn audit(&mut self, now_ns: u64) {
        let auditing = &mut self.auditing;
        if self.limits.audit_interval == 0 || now_ns < auditing.due {
            return;
        }
        // The one before has either come to its verdict or is given up.
        let symbol = SymbolId(auditing.next);
        auditing.next = (auditing.next + 1) % self.standing.len().max(1) as u16;
        auditing.due = now_ns + self.limits.audit_interval;
        auditing.symbol = None;
        if self.standing[symbol.index()].mask.is_none()
            && self.book_to_control.push(BookNews::Audit(symbol)).is_ok()
        {
            auditing.audit.begin();
            auditing.symbol = Some(symbol);
            auditing.due = now_ns + self.limits.audit_interval.max(AUDIT_FOR);
        }
    }

    /// Has the audit of `symbol` come to a verdict?
    fn verdict(&mut self, symbol: SymbolId) {
        let Some(book) = self.features.book(symbol) else { return };
        let Some(verdict) = self.auditing.audit.verdict(book) else { return };
        self.auditing.symbol = None;
        self.auditing.due = self.clock.now_ns() + self.limits.audit_interval;
        if matches!(verdict, Verdict::Same { .. }) {
            self.counters.audits += 1;
            return;
        }
        self.counters.audit_failures += 1;
        let _ = self.book_to_control.push(BookNews::AuditFailed(symbol, verdict));
        self.features.invalidate(symbol);
        self.lost(symbol);
    }
}

/// Which symbols are to be masked at this sample?
fn look(sample: &Sample<'_>, standing: &mut [Standing], streams: &Streams, limits: BookLimits) {
    for (i, s) in standing.iter_mut().enumerate() {
        let (mark, at) = s.mark;
        let odd = sample.ts.since(at).0 <= MARK_AGE
            && (sample.mids[i] - mark).abs() > mark.abs() * limits.max_mark_gap;
        s.odd_now = sample.ts;
        s.odd_since = match (odd, s.odd_since) {
            (false, _) => 0,
            (true, 0) => sample.ts.0,
            (true, since) => since,
        };
        s.next_mask = if streams.is_silent(SymbolId(i as u16)) {
            Some(Mask::Silent)
        } else if sample.ts.since(s.updated) > limits.stale_after {
            Some(Mask::Stale)
        } else if odd {
            Some(Mask::Odd)
        } else if s.mask != Some(Mask::Unsynced) && !sample.mids[i].is_finite() {
            Some(Mask::OneSided)
        } else {
            None
        };
    }
}

/// The tick of a sample, what is masked left out; how many symbols it holds.
fn fill(tick: &mut Tick, sample: &Sample<'_>, standing: &[Standing]) -> u32 {
    tick.ts = sample.ts;
    tick.cross = sample.cross;
    let mut live = 0;
    for (i, s) in standing.iter().enumerate() {
        let masked = s.next_mask.is_some();
        tick.mids[i] = if masked { f64::NAN } else { sample.mids[i] };
        tick.features[i] = sample.features[i].filter(|_| !masked);
        live += u32::from(tick.mids[i].is_finite());
    }
    live
}

impl Stage for BookStage {
    fn name(&self) -> &'static str {
        "book"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
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
        self.streams.tend(Nanos(now_ns), &mut self.book_to_control);
        self.audit(now_ns);
        Work::from(did)
    }
}
