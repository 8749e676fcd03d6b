//! The market streams as the book stage sees them: which are subscribed, which deliver, which symbols are blind.
//!
//! The rules are [`binance::feed`]'s; here they meet the decoded data, and their words become commands to the feed
//! (subscribe, replace the connection) and news for the control thread.

use binance::decode::DecodeError;
use binance::feed::{Feed, FeedEvent, StreamKind};
use market::{MarketEvent, Nanos, SymbolId};
use runtime::conveyor::Loader;
use runtime::ring::Tx;

use super::book::news::{BookNews, HEAD, StreamCounters, StreamNews};
use super::feed::{FeedAction, FeedCommand, FrameKind};

/// How often silence is looked for and subscriptions are sent.
const LOOK_EVERY: u64 = 50 * Nanos::MS;

struct Line {
    feed: Feed,
    /// It has delivered since the start.
    delivered: bool,
    /// Its connection wants a successor, and the feed has not been told.
    replace: bool,
    /// Refused frames since `minute` began.
    bad: u32,
    minute: u64,
}

/// See the module's text.
pub struct Streams {
    lines: Vec<Line>,
    /// By symbol: its streams of books and marks that are silent.
    silent: Vec<u8>,
    max_bad_per_minute: u32,
    counters: StreamCounters,
    looked: u64,
    to_feed: Loader<FeedCommand>,
    /// A box taken and not needed.
    spare: Option<Box<FeedCommand>>,
}

impl Streams {
    /// Over these feeds, one a connection, in the order of the connections.
    pub fn new(
        feeds: Vec<Feed>,
        symbols: usize,
        max_bad_per_minute: u32,
        to_feed: Loader<FeedCommand>,
    ) -> Self {
        let line = |feed| Line { feed, delivered: false, replace: false, bad: 0, minute: 0 };
        Self {
            lines: feeds.into_iter().map(line).collect(),
            silent: vec![0; symbols],
            max_bad_per_minute,
            counters: StreamCounters::default(),
            looked: 0,
            to_feed,
            spare: None,
        }
    }

    /// Is a stream of this symbol silent that should not be?
    #[inline]
    pub fn is_silent(&self, symbol: SymbolId) -> bool {
        self.silent[symbol.index()] > 0
    }

    /// Counters.
    pub fn counters(&self) -> StreamCounters {
        let sum = |f: fn(&Feed) -> u64| self.lines.iter().map(|l| f(&l.feed)).sum();
        StreamCounters {
            trades_missed: sum(Feed::trades_missed),
            repeated_trades: sum(Feed::repeated_trades),
            ..self.counters
        }
    }

    /// Is there such a connection?
    pub fn knows(&self, route: u8) -> bool {
        usize::from(route) < self.lines.len()
    }

    /// A connection changed.
    pub fn on_change(&mut self, (route, generation): (u8, u32), kind: FrameKind, now: Nanos) {
        let line = &mut self.lines[usize::from(route)];
        match kind {
            FrameKind::Opened | FrameKind::Replaced => line.feed.on_open(generation, now),
            FrameKind::Lost => line.feed.on_close(generation),
            FrameKind::Market => return,
        }
        (line.replace, line.bad) = (false, 0);
        // Subscriptions need not wait for the next look.
        self.looked = 0;
    }

    /// The instruments whose books a connection carries.
    pub fn books(&self, route: u8) -> impl Iterator<Item = SymbolId> + '_ {
        self.lines[usize::from(route)].feed.books()
    }

    /// Notes decoded data; `false`: a repetition, to be dropped.
    #[inline]
    pub fn note(
        &mut self,
        (route, generation): (u8, u32),
        event: &MarketEvent<'_>,
        now: Nanos,
        news: &mut Tx<BookNews>,
    ) -> bool {
        let Self { lines, silent, counters, .. } = self;
        let line = &mut lines[usize::from(route)];
        if !line.delivered {
            line.delivered = true;
            let _ = news.push(BookNews::Streams(StreamNews::Delivers { route }));
        }
        let mut replace = false;
        let fresh = line.feed.on_event(event, generation, now, &mut |event| {
            replace |= told(route, event, silent, counters, news);
        });
        line.replace |= replace;
        fresh
    }

    /// A frame without data: the reply to a subscription, a notice.
    pub fn on_other(&mut self, (route, generation): (u8, u32), frame: &[u8], news: &mut Tx<BookNews>) {
        let Self { lines, silent, counters, .. } = self;
        let line = &mut lines[usize::from(route)];
        line.feed.on_control(frame, generation, &mut |event| {
            line.replace |= told(route, event, silent, counters, news);
        });
    }

    /// A frame was refused.
    #[cold]
    pub fn on_bad_frame(
        &mut self,
        route: u8,
        frame: &[u8],
        error: DecodeError,
        now: Nanos,
        news: &mut Tx<BookNews>,
    ) {
        let head = frame.iter().copied().take(HEAD).collect();
        let _ = news.push(BookNews::Streams(StreamNews::BadFrame { route, error, head }));
        let line = &mut self.lines[usize::from(route)];
        if now.0.saturating_sub(line.minute) >= 60 * Nanos::SECOND {
            (line.minute, line.bad) = (now.0, 0);
        }
        line.bad += 1;
        if line.bad > self.max_bad_per_minute {
            (line.minute, line.bad) = (now.0, 0);
            line.replace = true;
            let _ = news.push(BookNews::Streams(StreamNews::TooManyBadFrames { route }));
        }
    }

    /// Is it time to look?
    pub const fn is_due(&self, now: Nanos) -> bool {
        now.0.saturating_sub(self.looked) >= LOOK_EVERY
    }

    /// Looks for silence, sends what is due; `false`: the feed had no room for a command.
    pub fn tend(&mut self, now: Nanos, news: &mut Tx<BookNews>) -> bool {
        if !self.is_due(now) {
            return true;
        }
        let mut room = true;
        self.looked = now.0;
        let Self { lines, silent, counters, to_feed, spare, .. } = self;
        for (route, line) in lines.iter_mut().enumerate() {
            let route = route as u8;
            let mut replace = false;
            line.feed.poll(now, &mut |event| replace |= told(route, event, silent, counters, news));
            line.replace |= replace;
            // Nothing can be said to a connection that is closed.
            let Some(generation) = line.feed.generation() else { continue };
            loop {
                let Some(mut command) = spare.take().or_else(|| to_feed.acquire()) else {
                    room = false;
                    break;
                };
                command.bytes.clear();
                (command.route, command.generation) = (route, generation);
                if std::mem::take(&mut line.replace) {
                    command.action = FeedAction::Replace;
                    counters.replaced += 1;
                } else if let Some(frame) = line.feed.next_frame(now) {
                    command.action = FeedAction::Send;
                    command.bytes.extend_from_slice(frame);
                } else {
                    *spare = Some(command);
                    break;
                }
                to_feed.send(command);
            }
        }
        room
    }
}

/// Counts and tells an event; should the connection be replaced?
#[cold]
fn told(
    route: u8,
    event: FeedEvent,
    silent: &mut [u8],
    counters: &mut StreamCounters,
    news: &mut Tx<BookNews>,
) -> bool {
    // Trades and moves of a quiet symbol may be far apart: their silence blinds nobody, because books tell of the touch, too.
    let quiet = [StreamKind::AggTrade, StreamKind::BookTicker];
    let blinds = |kind: StreamKind| u8::from(!quiet.contains(&kind));
    let replace = match &event {
        FeedEvent::Silent { symbol, kind, .. } => {
            counters.silent += 1;
            silent[symbol.index()] += blinds(*kind);
            false
        }
        FeedEvent::Resumed { symbol, kind } => {
            silent[symbol.index()] -= blinds(*kind);
            false
        }
        FeedEvent::Dead { stream, .. } => {
            counters.dead += 1;
            !stream.ends_with(StreamKind::BookTicker.suffix())
        }
        FeedEvent::Stalled { .. } => {
            counters.stalled += 1;
            true
        }
        FeedEvent::Shutdown => true,
        FeedEvent::TradeGap { .. } => {
            counters.trade_gaps += 1;
            false
        }
        FeedEvent::Complete | FeedEvent::Refused { .. } => false,
    };
    let _ = news.push(BookNews::Streams(StreamNews::Event { route, event }));
    replace
}
