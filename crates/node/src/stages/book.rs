//! Frames to books and features: decode, apply, and at every boundary of event time sample all symbols.
//!
//! What is not to be trusted is masked, symbol by symbol ([`Mask`]): no mid price and no features for the engine, and
//! the router is told at once that the book is lost. Everything else goes on.

mod audit;
mod believed;
mod deepen;
mod mask;
pub mod news;
pub mod record;
mod touch;

use binance::decode::{Decoder, Frame as Decoded, Ignored};
use binance::feed::Feed;
use binance::snapshots::Purpose;
use book::{BookOutcome, FeatureEngine, Verdict};
use market::{Bbo, ClockOffset, Instrument, MarketEvent, Nanos, ObAverages, SymbolId};
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader};
use runtime::latency::Probe;
use runtime::pending::Taker;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};

use self::audit::Audits;
use self::believed::VenueClock;
use self::deepen::Deepening;
use self::mask::{MaskLimits, SymbolMask};
pub use self::news::{BookCounters, BookNews, Mask, SnapshotReply};
use self::record::{BookInput, BookJournal, BookRecord};
use self::touch::{Compared, Touch};
use super::feed::{FeedCommand, Frame, FrameKind};
use super::router::Quote;
use super::streams::Streams;
use super::ticks::{MidsAhead, MidsOut, TickOut};
use super::{Hop, Stamps, Tick};
use crate::config::MarketConfig;
use crate::published::{self, BookWriter};

/// What is known of one symbol beside its book and its mask.
#[derive(Debug, Clone, Copy, Default)]
struct SymbolState {
    /// A snapshot was asked for and has not come.
    asked: bool,
    /// The router must still hear that the book is lost.
    loss_pending: bool,
    /// The best prices last sent to the router.
    quoted: Option<Bbo>,
    /// When it lost its sync, monotonic; 0 before the first.
    lost_at: u64,
    was_live: bool,
}

/// The ends of the stage's links.
pub struct BookLinks {
    /// Frames of the feed.
    pub frames: Unloader<Frame>,
    /// Commands to the connections.
    pub commands: Loader<FeedCommand>,
    /// Snapshots fetched by the control thread.
    pub snapshots: Rx<Box<SnapshotReply>>,
    /// The venue's clock, whenever it was measured.
    pub clock: Taker<ClockOffset>,
    /// Ticks for the scanner, or for the writer of an ingest node.
    pub ticks: Loader<Tick>,
    /// Mids that the next tick will probably have.
    pub ahead: Option<Loader<MidsAhead>>,
    /// Quotes; conflated when full: the next one brings the state of then.
    pub quotes: Tx<Quote>,
    /// Requests for snapshots, counters.
    pub news: Tx<BookNews>,
    /// What is taken in. Full: a hole, counted.
    pub journal: BookJournal,
    /// For people.
    pub view: BookWriter,
}

/// The stage.
pub struct BookStage {
    decoder: Decoder,
    features: FeatureEngine,
    streams: Streams,
    frames: Unloader<Frame>,
    snapshots: Rx<Box<SnapshotReply>>,
    measured: Taker<ClockOffset>,
    venue_clock: VenueClock,
    ticks: TickOut,
    quotes: Tx<Quote>,
    news: Tx<BookNews>,
    limits: MaskLimits,
    counters: BookCounters,
    /// Samples at the last housekeeping, and at the counters sent last.
    samples_kept: u64,
    samples_told: u64,
    states: Vec<SymbolState>,
    masks: Vec<SymbolMask>,
    touches: Vec<Touch>,
    audits: Audits,
    deepening: Deepening,
    clock: Clock,
    probe: Probe,
    view: BookWriter,
    /// When the view was published last.
    viewed_ns: u64,
    /// Masks and quotes of the last sample are yet to be told: its tick goes first.
    sampled: bool,
    ahead: MidsOut,
    journal: BookJournal,
    /// Time of this poll: what depends on a time goes by it, so that it can be done again.
    now_ns: u64,
}

/// Frames taken in one duty cycle: more than the feed brings in one, so that none gather between the two.
const BATCH: usize = 256;
/// Symbols whose features are prepared at once: a few microseconds.
const PREPARE: usize = 2;
/// Samples between two copies of the counters.
const COUNT_EVERY: u64 = 10;

impl BookStage {
    /// Over the connections that carry `feeds`, in their order. `max_ahead`: how far ahead of the venue's clock an event time
    /// is believed.
    pub fn new(
        (config, max_ahead): (&MarketConfig, Nanos),
        instruments: &[Instrument],
        feeds: Vec<Feed>,
        links: BookLinks,
        clock: Clock,
        probe: Probe,
    ) -> Self {
        let n = instruments.len();
        let mut features = FeatureEngine::new(instruments, Nanos::from_millis(config.tick_ms));
        instruments.iter().for_each(|i| features.expect_aggregates(i.id));
        let BookLinks { frames, commands, snapshots, clock: measured, ticks, ahead, .. } = links;
        let BookLinks { quotes, news, journal, view, .. } = links;
        Self {
            decoder: Decoder::new(instruments),
            features,
            streams: Streams::new(feeds, n, config.max_bad_frames_per_min, commands),
            frames,
            snapshots,
            measured,
            venue_clock: VenueClock::new(max_ahead),
            ticks: TickOut::new(ticks, n),
            quotes,
            news,
            limits: MaskLimits::of(config),
            counters: BookCounters::default(),
            samples_kept: 0,
            samples_told: 0,
            states: vec![SymbolState::default(); n],
            masks: vec![SymbolMask::new(); n],
            touches: vec![Touch::default(); n],
            audits: Audits::new(Nanos::from_millis(config.audit_interval_ms).0),
            deepening: Deepening::default(),
            clock,
            probe,
            view,
            viewed_ns: 0,
            sampled: false,
            ahead: MidsOut::new(ahead, n, Nanos::from_millis(config.tick_ms)),
            journal,
            now_ns: 0,
        }
    }

    /// The averages of an earlier run, by column, go on; `None`: they begin anew.
    #[must_use]
    pub fn with_averages(mut self, averages: &[Option<ObAverages>]) -> Self {
        for (column, averages) in averages.iter().enumerate() {
            if let Some(averages) = averages {
                self.features.go_on(SymbolId(column as u16), averages);
            }
        }
        self
    }

    /// Takes a frame in; did it make a sample due?
    fn frame(&mut self, frame: &Frame) -> bool {
        if frame.kind != FrameKind::Market {
            self.connection(frame);
            return false;
        }
        let now = Nanos(frame.recv_ns);
        let taken_ns = self.clock.now_ns();
        let Self { decoder, features, streams, news, ticks, counters, .. } = self;
        let told = (&mut *streams, &mut *counters, &mut *news);
        let Some(mut event) = event_of(decoder, frame, told) else { return false };
        counters.events += 1;
        counters.odd_times += u64::from(self.venue_clock.believe(&mut event, now));
        let mut sampled = false;
        let decoded_ns = self.clock.now_ns();
        let (masks, limits, clock) = (&mut self.masks, self.limits, &self.clock);
        let outcome = features.on_event(&event, |sample| {
            sampled = true;
            counters.samples += 1;
            let sampled_ns = clock.now_ns();
            mask::judge(sample, masks, |i| streams.is_silent(SymbolId(i as u16)), limits);
            let kept = ticks.put(|tick| {
                counters.live_books = mask::fill(tick, sample, masks);
                tick.recv_ns = frame.recv_ns;
                tick.handed_ns = clock.now_ns();
                let handed_ns = tick.handed_ns;
                tick.stamps = Stamps { taken_ns, decoded_ns, sampled_ns, handed_ns, ..Stamps::default() };
            });
            counters.lost_samples += u64::from(!kept);
        });
        let symbol = event.symbol();
        match event {
            MarketEvent::Depth(update) => {
                self.masks[symbol.index()].on_update(update.ts_send);
                if self.audits.is_of(symbol) {
                    self.audits.on_update(&update);
                }
                if self.deepening.is_of(symbol) {
                    self.deepening.on_update(&update);
                }
            }
            MarketEvent::Mark(mark) => {
                self.masks[symbol.index()].on_mark(&mark);
                let _ = self.quotes.push(Quote::Mark(mark));
            }
            MarketEvent::Bbo(told) => {
                let compared = self.touches[symbol.index()].on_ticker(&told);
                self.compared(symbol, compared);
                self.peg(symbol);
            }
            MarketEvent::Trade(_) => {}
        }
        let now = self.clock.now_ns();
        self.probe
            .record(if sampled { Hop::Features } else { Hop::Book } as u8, now.saturating_sub(frame.recv_ns));
        if let Some(outcome) = outcome {
            self.outcome(symbol, outcome);
        }
        if sampled {
            self.ahead.sampled(frame.recv_ns);
            // The tick travels on before anything else is told of this sample.
            if std::mem::replace(&mut self.sampled, true) {
                self.after_sample();
            }
        }
        sampled
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
            for i in 0..self.states.len() {
                self.lost(SymbolId(i as u16));
            }
        }
    }

    #[inline]
    fn outcome(&mut self, symbol: SymbolId, outcome: BookOutcome) {
        match outcome {
            BookOutcome::Applied => {
                if self.masks[symbol.index()].is_unsynced() {
                    self.synced(symbol);
                }
                self.quote(symbol);
                self.compare(symbol);
                if self.audits.is_of(symbol) {
                    self.verdict(symbol);
                }
                if self.deepening.is_of(symbol) {
                    self.deepen(symbol);
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
        let live = self.features.book(symbol).is_some_and(|b| b.is_live());
        if live || self.masks[symbol.index()].is_unsynced() {
            return;
        }
        self.states[symbol.index()].lost_at = self.now_ns;
        self.touches[symbol.index()].forget();
        // Its next book is taken anew.
        self.deepening.give_up(symbol);
        self.mask(symbol, Some(Mask::Unsynced));
    }

    /// Tells the mask of a symbol, if it is another one.
    fn mask(&mut self, symbol: SymbolId, mask: Option<Mask>) {
        if !self.masks[symbol.index()].set(mask) {
            return;
        }
        let state = &mut self.states[symbol.index()];
        state.quoted = None;
        state.loss_pending = mask.is_some();
        self.report_loss(symbol);
        let _ = self.news.push(BookNews::Masked(symbol, mask));
    }

    fn report_loss(&mut self, symbol: SymbolId) {
        let state = &mut self.states[symbol.index()];
        if state.loss_pending {
            state.loss_pending = self.quotes.push(Quote::Lost(symbol)).is_err();
        }
    }

    /// The book of `symbol` is in step with the venue.
    #[cold]
    fn synced(&mut self, symbol: SymbolId) {
        let state = &mut self.states[symbol.index()];
        if std::mem::replace(&mut state.was_live, true) {
            let took = self.now_ns.saturating_sub(state.lost_at) / Nanos::MS;
            self.counters.resyncs += 1;
            self.counters.longest_resync_ms = self.counters.longest_resync_ms.max(took);
        }
        let book = self.features.book(symbol).map(|b| b.book());
        let middle = book.and_then(|b| Some((b.best_bid()?.px.0 + b.best_ask()?.px.0) as f64 / 2.0));
        let _ = self.news.push(BookNews::Synced(symbol, middle.unwrap_or(f64::NAN)));
        self.mask(symbol, None);
    }

    /// Tells the router the best prices of `symbol` if they moved.
    #[inline]
    fn quote(&mut self, symbol: SymbolId) {
        if self.masks[symbol.index()].current().is_some() {
            return;
        }
        let Some(now) = self.newest(symbol) else { return };
        let quoted = &mut self.states[symbol.index()].quoted;
        if quoted.is_some_and(|t| t.bid == now.bid && t.ask == now.ask) {
            return;
        }
        if self.quotes.push(Quote::Bbo(now)).is_ok() {
            *quoted = Some(now);
        }
    }

    /// Tells the router of a move that `bookTicker` told of. What orders peg to are prices; the quantities come with depth.
    #[inline]
    fn peg(&mut self, symbol: SymbolId) {
        let quoted = self.states[symbol.index()].quoted;
        let moved = |now: &Bbo| quoted.is_none_or(|q| (q.bid.px, q.ask.px) != (now.bid.px, now.ask.px));
        if self.newest(symbol).is_some_and(|now| moved(&now)) {
            self.quote(symbol);
        }
    }

    /// The best prices of a live book: of `bookTicker` where it knows more than the book.
    #[inline]
    fn newest(&self, symbol: SymbolId) -> Option<Bbo> {
        let live = self.features.book(symbol)?.is_live();
        self.features.bbo(symbol).filter(|b| live && b.bid.px < b.ask.px && !b.bid.qty.is_zero())
    }

    /// Holds the book that was just brought on against what `bookTicker` says of that state.
    #[inline]
    fn compare(&mut self, symbol: SymbolId) {
        if let Some(book) = self.best(symbol) {
            let compared = self.touches[symbol.index()].on_book(&book);
            self.compared(symbol, compared);
        }
    }

    #[inline]
    fn compared(&mut self, symbol: SymbolId, compared: Option<Compared>) {
        match compared {
            None => {}
            Some(Compared::Same) => self.counters.touches_same += 1,
            Some(Compared::Different(touches)) => {
                self.counters.touches_different += 1;
                let _ = self.news.push(BookNews::TouchDiffers(symbol, touches));
            }
        }
    }

    /// The best prices of the book.
    fn best(&self, symbol: SymbolId) -> Option<Bbo> {
        let local = self.features.book(symbol)?;
        if !local.is_live() {
            return None;
        }
        let (bid, ask) = (local.book().best_bid()?, local.book().best_ask()?);
        let (ts_event, ts_send) = local.times();
        Some(Bbo { symbol, ts_event, ts_send, update_id: local.last_update_id(), bid, ask })
    }

    /// At a sample: masks that changed are sent; every other live book is quoted again (its age is what the router's
    /// checks go by).
    fn after_sample(&mut self) {
        for i in 0..self.states.len() {
            let symbol = SymbolId(i as u16);
            if !self.masks[i].is_unsynced() {
                self.mask(symbol, self.masks[i].next());
            }
            self.report_loss(symbol);
            self.states[i].quoted = None;
            self.quote(symbol);
        }
    }

    /// Does what the last sample left over; `false`: nothing was left.
    fn tell_sample(&mut self, now_ns: u64) -> bool {
        let left = std::mem::take(&mut self.sampled);
        if left {
            self.journal.push(now_ns, BookRecord::Told);
            self.after_sample();
        }
        left
    }

    /// Is housekeeping due that changes what is told?
    fn is_to_tend(&self, now_ns: u64) -> bool {
        self.samples_kept != self.counters.samples
            || self.streams.is_due(Nanos(now_ns))
            || self.audits.is_due(now_ns)
            || self.deepening.overdue(now_ns).is_some()
    }

    fn tend(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.drop_suspects();
        if !self.streams.tend(Nanos(now_ns), &mut self.news) {
            // When the feed has room again nobody can say later.
            self.journal.lose();
        }
        self.audit(now_ns);
        self.give_up_deepening(now_ns);
    }

    /// Is there such a connection?
    pub fn knows(&self, route: u8) -> bool {
        self.streams.knows(route)
    }

    /// Takes an input of the journal in again; what it makes leaves by the links.
    pub fn take_in(&mut self, at_ns: u64, input: BookInput<'_>) {
        self.now_ns = at_ns;
        match input {
            BookInput::Frame(frame) => {
                self.frame(frame);
            }
            BookInput::Snapshot(reply) => self.snapshot(reply),
            BookInput::Clock(offset) => self.venue_clock.set(offset),
            BookInput::Told => {
                self.tell_sample(at_ns);
            }
            BookInput::Tended => self.tend(at_ns),
        }
    }

    /// Books whose mid has been far from the mark for long are taken again.
    fn drop_suspects(&mut self) {
        if self.samples_kept == self.counters.samples {
            return;
        }
        self.samples_kept = self.counters.samples;
        for i in 0..self.masks.len() {
            if self.masks[i].is_suspect() {
                let symbol = SymbolId(i as u16);
                self.features.invalidate(symbol);
                self.lost(symbol);
            }
        }
    }

    fn send_counters(&mut self) {
        if self.counters.samples < self.samples_told + COUNT_EVERY {
            return;
        }
        self.samples_told = self.counters.samples;
        self.counters.streams = self.streams.counters();
        let sampled = self.features.counters();
        (self.counters.prepared, self.counters.computed_late) = (sampled.prepared, sampled.computed_late);
        self.counters.scans_prepared = self.ahead.used();
        let _ = self.news.push(BookNews::Counters(self.counters));
    }

    /// The best prices of every book, for people.
    fn publish(&mut self, now_ns: u64) {
        if now_ns < self.viewed_ns + published::EVERY_NS {
            return;
        }
        self.viewed_ns = now_ns;
        for i in 0..self.states.len() {
            let best = self.best(SymbolId(i as u16));
            let words = best.map_or([0; 3], |b| [b.ts_send.0, b.bid.px.0 as u64, b.ask.px.0 as u64]);
            self.view.write(i, words);
        }
    }

    fn ask(&mut self, symbol: SymbolId) {
        let asked = &mut self.states[symbol.index()].asked;
        let wants = self.features.book(symbol).is_some_and(|b| b.needs_snapshot());
        if wants && !*asked {
            *asked = self.news.push(BookNews::NeedsSnapshot(symbol)).is_ok();
        }
    }

    fn snapshot(&mut self, reply: &SnapshotReply) {
        let (symbol, purpose, limit) = (reply.request.symbol, reply.request.purpose, reply.request.limit);
        let to_build_on = matches!(purpose, Purpose::Book | Purpose::Resync);
        let Some(body) = &reply.body else {
            return self.deepening.begin(symbol, limit, self.now_ns);
        };
        if to_build_on {
            self.states[symbol.index()].asked = false;
        }
        let snapshot = match self.decoder.decode_snapshot(symbol, body) {
            Ok(snapshot) => snapshot,
            Err(_) => {
                self.counters.rejected += 1;
                return self.ask(symbol);
            }
        };
        if to_build_on {
            let outcome = self.features.on_snapshot(&snapshot);
            // With the snapshot alone the book is not live: the next update decides.
            let live = self.features.book(symbol).is_some_and(|b| b.is_live());
            if outcome != BookOutcome::Applied || live {
                self.outcome(symbol, outcome);
            } else {
                self.lost(symbol);
            }
        } else if purpose == Purpose::Deepen {
            self.deepening.on_snapshot(&snapshot);
            self.deepen(symbol);
        } else if self.audits.is_of(symbol) {
            self.audits.on_snapshot(&snapshot);
            self.verdict(symbol);
        }
    }

    /// Is the deeper book of `symbol` in step with the one it is to replace?
    fn deepen(&mut self, symbol: SymbolId) {
        let Some(kept) = self.features.book(symbol) else { return };
        if let Some((book, limit)) = self.deepening.ready(symbol, kept) {
            self.features.replace_book(symbol, book);
            let _ = self.news.push(BookNews::Deepened(symbol, Some(limit)));
        }
    }

    /// A deeper book that does not come into step.
    fn give_up_deepening(&mut self, now_ns: u64) {
        while let Some(symbol) = self.deepening.overdue(now_ns) {
            self.deepening.give_up(symbol);
            let _ = self.news.push(BookNews::Deepened(symbol, None));
        }
    }

    /// Begins the next audit when it is due.
    fn audit(&mut self, now_ns: u64) {
        let Some(symbol) = self.audits.due(now_ns, self.states.len()) else { return };
        if self.masks[symbol.index()].current().is_none() {
            // Not heard: no snapshot comes, and the audit is given up. Whether there is one must not hang on another thread.
            let _ = self.news.push(BookNews::Audit(symbol));
            self.audits.begin(symbol, now_ns);
        }
    }

    /// Has the audit of `symbol` come to a verdict?
    fn verdict(&mut self, symbol: SymbolId) {
        let Some(book) = self.features.book(symbol) else { return };
        let Some(verdict) = self.audits.verdict(book, self.now_ns) else { return };
        if matches!(verdict, Verdict::Same { .. }) {
            self.counters.audits += 1;
            return;
        }
        self.counters.audit_failures += 1;
        let _ = self.news.push(BookNews::AuditFailed(symbol, verdict));
        self.features.invalidate(symbol);
        self.lost(symbol);
    }
}

/// The event of a frame that is followed; everything else is counted, and told where it matters.
#[inline]
fn event_of<'a>(
    decoder: &'a mut Decoder,
    frame: &'a Frame,
    (streams, counters, news): (&mut Streams, &mut BookCounters, &mut Tx<BookNews>),
) -> Option<MarketEvent<'a>> {
    let now = Nanos(frame.recv_ns);
    let event = match decoder.decode(&frame.bytes) {
        Ok(Decoded::Market(event)) => event,
        // Snapshots come in recordings alone.
        Ok(Decoded::Snapshot(_)) => {
            counters.ignored += 1;
            return None;
        }
        Ok(Decoded::Ignored(what)) => {
            counters.ignored += 1;
            if what == Ignored::OtherKind {
                streams.on_other((frame.route, frame.generation), &frame.bytes, news);
            }
            return None;
        }
        Err(error) => {
            counters.rejected += 1;
            streams.on_bad_frame(frame.route, &frame.bytes, error, now, news);
            return None;
        }
    };
    streams.note((frame.route, frame.generation), &event, now, news).then_some(event)
}

impl Stage for BookStage {
    fn name(&self) -> &'static str {
        "book"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        self.now_ns = now_ns;
        let mut did = self.ticks.flush();
        if let Some(offset) = self.measured.take() {
            self.venue_clock.set(offset);
            self.journal.push(now_ns, BookRecord::Clock(offset));
        }
        if let Some(reply) = self.snapshots.pop() {
            self.snapshot(&reply);
            self.journal.push(now_ns, BookRecord::Snapshot(reply));
            did = true;
        }
        for _ in 0..BATCH {
            let Some(mut frame) = self.frames.recv() else { break };
            let sampled = self.frame(&frame);
            self.journal.frame(now_ns, &mut frame);
            self.frames.give_back(frame);
            did = true;
            // A sample ends its batch: the tick travels on before the next frame is taken, so that the decision goes
            // first.
            if sampled {
                break;
            }
        }
        Work::from(did)
    }

    fn settle(&mut self, now_ns: u64) -> Work {
        Work::from(self.tell_sample(now_ns))
    }

    fn prepare(&mut self, now_ns: u64) -> Work {
        if self.features.prepare(PREPARE) {
            self.ahead.changed();
            return Work::Done;
        }
        let (at, masks) = (self.features.next_boundary(), &self.masks);
        let Some(mids) = self.features.mids_ahead() else { return Work::Idle };
        let told = self.ahead.tell(now_ns, |told| {
            told.ts = at;
            mask::mids(&mut told.mids, mids, masks)
        });
        Work::from(told)
    }

    fn housekeep(&mut self, now_ns: u64) {
        self.tell_sample(now_ns);
        if self.is_to_tend(now_ns) {
            self.journal.push(now_ns, BookRecord::Tended);
            self.tend(now_ns);
        }
        self.send_counters();
        self.publish(now_ns);
    }
}
