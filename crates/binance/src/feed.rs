//! The market data subscription of one connection: which streams, on which route, and whether they really deliver.
//!
//! A subscription that is acknowledged proves nothing: on a wrong route, or after a fault of the venue, the ack comes
//! and the data never does, while pings go on (BINANCE.md §5, rows 1, 3, 25). So data itself is watched, stream by
//! stream:
//!
//! 1. Streams are asked for in batches, few messages a second (the venue closes above ten, pings included).
//! 2. Each stream must deliver within its `first_data`, and never be silent for its `stale_after`. One that fails is
//!    unsubscribed and subscribed once more; if that does not help it is [`FeedEvent::Dead`], with the URL.
//! 3. A connection on which all streams fall silent together is [`FeedEvent::Stalled`], and wants a successor, whatever
//!    its pings say. So does one that the venue is about to close ([`FeedEvent::Shutdown`]).
//! 4. Aggregate trade ids are contiguous: a hole is counted and told with its ids. It is not filled from REST: the trades
//!    serve a flow of ten seconds' memory, and late volume would be counted to the wrong seconds.
//! 5. Subscriptions belong to one *generation* of the connection. In a rollover two generations deliver at once, the old
//!    one everything and the new one nothing until it has been asked: only data of the generation that was asked proves
//!    that its subscription works. Data of any generation is data, and trades are told apart by their ids.
//! 6. A stream that has been left is asked for again, whatever comes meanwhile: that was on its way when it was left.
//!
//! A pure core: control frames in and out, data noted by [`Feed::on_event`], time and generation as arguments. A
//! generation is a number that the connection raises each time it opens, first opening and successor alike.

use market::planted::{Bug, planted};
use market::{MarketEvent, Nanos, SymbolId, TradeKind};

use crate::json::Reader;
use crate::reply::ErrorBody;
use crate::symbols::Symbols;

/// Streams that one connection may carry by the venue's rule.
pub const MAX_STREAMS: usize = 1024;

/// A part of the venue's stream host. Streams are silent on any other than theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Book.
    Public,
    /// Trades and prices.
    Market,
}

/// A kind of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// `@depth@100ms`.
    Depth,
    /// `@bookTicker`.
    BookTicker,
    /// `@aggTrade`.
    AggTrade,
    /// `@markPrice@1s`.
    MarkPrice,
}

impl StreamKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Depth, Self::BookTicker, Self::AggTrade, Self::MarkPrice];

    /// Where it is served.
    pub const fn route(self) -> Route {
        match self {
            Self::Depth | Self::BookTicker => Route::Public,
            Self::AggTrade | Self::MarkPrice => Route::Market,
        }
    }

    /// What stands behind the symbol in a stream's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Depth => "@depth@100ms",
            Self::BookTicker => "@bookTicker",
            Self::AggTrade => "@aggTrade",
            Self::MarkPrice => "@markPrice@1s",
        }
    }

    /// The kind of a decoded event; `None` for raw trades, which are not subscribed.
    pub const fn of(event: &MarketEvent<'_>) -> Option<Self> {
        match event {
            MarketEvent::Depth(_) => Some(Self::Depth),
            MarketEvent::Bbo(_) => Some(Self::BookTicker),
            MarketEvent::Trade(t) if matches!(t.kind, TradeKind::Aggregate) => Some(Self::AggTrade),
            MarketEvent::Trade(_) => None,
            MarketEvent::Mark(_) => Some(Self::MarkPrice),
        }
    }
}

/// How long a stream may be silent, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the subscription to the first frame.
    pub first_data: u64,
    /// Between two frames.
    pub stale_after: u64,
}

/// Settings of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedConfig {
    /// By kind, in the order of [`StreamKind::ALL`]. Trades of a quiet symbol may be minutes apart; books and mark
    /// prices are not.
    pub patience: [Patience; 4],
    /// Most streams of one connection (≤ [`MAX_STREAMS`]).
    pub streams_per_connection: usize,
    /// Most streams in one subscription message.
    pub batch: usize,
    /// Between two messages of ours, ns.
    pub message_interval: u64,
    /// After the first data: all streams silent for so long is a stalled connection, ns.
    pub data_age: u64,
}

impl Default for FeedConfig {
    fn default() -> Self {
        let of = |first: u64, stale: u64| Patience {
            first_data: first * Nanos::SECOND,
            stale_after: stale * Nanos::SECOND,
        };
        Self {
            patience: [of(5, 10), of(5, 30), of(60, 600), of(5, 10)],
            streams_per_connection: 200,
            batch: 50,
            message_interval: Nanos::SECOND / 4,
            data_age: 3 * Nanos::SECOND,
        }
    }
}

/// What a feed tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    /// Every stream has delivered.
    Complete,
    /// A stream is silent; it is subscribed once more.
    Silent {
        /// Instrument.
        symbol: SymbolId,
        /// Kind.
        kind: StreamKind,
        /// Since when.
        since: Nanos,
    },
    /// A silent stream delivers again.
    Resumed {
        /// Instrument.
        symbol: SymbolId,
        /// Kind.
        kind: StreamKind,
    },
    /// A stream stays silent after a second subscription: wrong route or host, or a fault of the venue. The
    /// connection should be replaced; while starting, the start has failed.
    Dead {
        /// Name of the stream.
        stream: String,
        /// Where it was asked for.
        url: String,
    },
    /// Nothing at all has come since then, of streams that did deliver: the connection should be replaced.
    Stalled {
        /// Since when.
        since: Nanos,
    },
    /// The venue announces that it will close the connection: it should be replaced before.
    Shutdown,
    /// Aggregate trades are missing: ids `from` to `to`, both included.
    TradeGap {
        /// Instrument.
        symbol: SymbolId,
        /// First missing id.
        from: u64,
        /// Last missing id.
        to: u64,
    },
    /// The venue refused a subscription.
    Refused {
        /// Its code.
        code: i32,
        /// Its text, cut to 200 characters.
        text: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    /// To be unsubscribed before it is asked for again: the venue takes no second subscription of a stream.
    Leaving,
    /// To be asked for. Again: it was silent before.
    Queued {
        again: bool,
    },
    /// Asked for; must deliver by then.
    Asked {
        by: Nanos,
        again: bool,
    },
    Live,
    Dead,
}

#[derive(Debug)]
struct Stream {
    symbol: SymbolId,
    kind: StreamKind,
    name: String,
    state: StreamState,
    seen: Nanos,
    /// Told as silent, and not heard since.
    silent: bool,
}

/// The subscription of one connection; see the module's text.
#[derive(Debug)]
pub struct Feed {
    url: String,
    route: Route,
    config: FeedConfig,
    streams: Vec<Stream>,
    /// Place in `streams` by symbol and kind, `u32::MAX` where there is none.
    places: Vec<[u32; 4]>,
    last_trade: Vec<u64>,
    missing: usize,
    next_message: Nanos,
    next_id: u64,
    frame: Vec<u8>,
    trades_missed: u64,
    repeated_trades: u64,
    /// Newest data of any stream of this generation.
    newest: Option<Nanos>,
    /// The open connection's; `None` while there is none.
    generation: Option<u32>,
}

/// A feed that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// A limit that is zero or above the venue's.
    #[error("streams_per_connection must be 1 to 1024 and batch at least 1")]
    Limits,
}

impl Feed {
    /// The feeds that carry `kinds` of all `symbols`: each on its route, none with more streams than a connection
    /// takes. `urls` are the bases of the two routes, [`crate::hosts::Hosts::public`] and `market`.
    pub fn plan(
        symbols: &Symbols,
        kinds: &[StreamKind],
        config: FeedConfig,
        urls: (&str, &str),
    ) -> Result<Vec<Self>, FeedError> {
        if !(1..=MAX_STREAMS).contains(&config.streams_per_connection) || config.batch == 0 {
            return Err(FeedError::Limits);
        }
        let mut feeds = Vec::new();
        for (route, url) in [(Route::Public, urls.0), (Route::Market, urls.1)] {
            let mut streams: Vec<Stream> = Vec::new();
            for instrument in symbols.all() {
                for &kind in kinds.iter().filter(|k| k.route() == route) {
                    let name = format!("{}{}", instrument.symbol.to_lowercase(), kind.suffix());
                    let (symbol, state) = (instrument.id, StreamState::Queued { again: false });
                    streams.push(Stream { symbol, kind, name, state, seen: Nanos(0), silent: false });
                }
            }
            while !streams.is_empty() {
                let rest = streams.split_off(streams.len().min(config.streams_per_connection));
                feeds.push(Self::new(
                    url,
                    route,
                    config,
                    std::mem::replace(&mut streams, rest),
                    symbols.all().len(),
                ));
            }
        }
        Ok(feeds)
    }

    fn new(url: &str, route: Route, config: FeedConfig, streams: Vec<Stream>, symbols: usize) -> Self {
        let mut places = vec![[u32::MAX; 4]; symbols];
        for (i, s) in streams.iter().enumerate() {
            places[s.symbol.index()][s.kind as usize] = i as u32;
        }
        Self {
            url: format!("{}/stream", url.trim_end_matches('/')),
            route,
            config,
            missing: streams.len(),
            streams,
            places,
            last_trade: vec![0; symbols],
            next_message: Nanos(0),
            next_id: 1,
            frame: Vec::with_capacity(4096),
            trades_missed: 0,
            repeated_trades: 0,
            newest: None,
            generation: None,
        }
    }

    /// Where to connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its route.
    pub const fn route(&self) -> Route {
        self.route
    }

    /// The generation whose subscriptions these are; `None` while the connection is closed. A message of
    /// [`Self::next_frame`] is for this generation and for no other.
    pub const fn generation(&self) -> Option<u32> {
        self.generation
    }

    /// How long it takes to ask for all streams, ns: a connection must be read for longer than this after its successor
    /// has opened, or updates are missed between the two.
    pub fn asking_time(&self) -> u64 {
        let messages = self.streams.len().div_ceil(self.config.batch) as u64;
        messages.saturating_mul(self.config.message_interval)
    }

    /// The connection is open, or a successor has taken over while the old one still delivers: everything is asked for
    /// on this generation.
    pub fn on_open(&mut self, generation: u32, now: Nanos) {
        self.start_over(Some(generation));
        self.next_message = now;
    }

    /// The connection of this generation is lost. Another generation's end changes nothing here.
    pub fn on_close(&mut self, generation: u32) {
        if self.generation == Some(generation) {
            self.start_over(None);
        }
    }

    fn start_over(&mut self, generation: Option<u32>) {
        self.generation = generation;
        self.newest = None;
        self.missing = self.streams.len();
        for stream in &mut self.streams {
            stream.state = StreamState::Queued { again: false };
        }
    }

    /// The next message to send, if one is due.
    pub fn next_frame(&mut self, now: Nanos) -> Option<&[u8]> {
        if self.generation.is_none() || now < self.next_message {
            return None;
        }
        let leaving = self.streams.iter().any(|s| s.state == StreamState::Leaving);
        let wanted = |s: &&mut Stream| match s.state {
            StreamState::Leaving => leaving,
            StreamState::Queued { .. } => !leaving,
            _ => false,
        };
        let mut batch = self.streams.iter_mut().filter(wanted).take(self.config.batch).peekable();
        batch.peek()?;
        let method = if leaving { "UNSUBSCRIBE" } else { "SUBSCRIBE" };
        self.frame.clear();
        self.frame.extend_from_slice(b"{\"method\":\"");
        self.frame.extend_from_slice(method.as_bytes());
        self.frame.extend_from_slice(b"\",\"params\":[");
        for stream in batch {
            let by = now.plus(self.config.patience[stream.kind as usize].first_data);
            stream.state = match stream.state {
                StreamState::Queued { again } => StreamState::Asked { by, again },
                _ => StreamState::Queued { again: true },
            };
            self.frame.push(b'"');
            self.frame.extend_from_slice(stream.name.as_bytes());
            self.frame.extend_from_slice(b"\",");
        }
        self.frame.pop();
        self.frame.extend_from_slice(b"],\"id\":");
        self.frame.extend_from_slice(itoa::Buffer::new().format(self.next_id).as_bytes());
        self.frame.push(b'}');
        self.next_id += 1;
        self.next_message = now.plus(self.config.message_interval);
        Some(&self.frame)
    }

    /// Notes decoded data that came on the connection of `generation`. `false`: an aggregate trade that was told before
    /// (both connections of a rollover tell it), to be dropped.
    #[inline]
    pub fn on_event(
        &mut self,
        event: &MarketEvent<'_>,
        generation: u32,
        now: Nanos,
        events: &mut impl FnMut(FeedEvent),
    ) -> bool {
        let Some(kind) = StreamKind::of(event) else { return true };
        let symbol = event.symbol();
        let Some(&place) = self.places.get(symbol.index()).map(|p| &p[kind as usize]) else { return true };
        if self.generation == Some(generation) || planted(Bug::SubscriptionsLostOnRollover) {
            self.delivered(place as usize, now, events);
        }
        match event {
            MarketEvent::Trade(t) if t.kind == TradeKind::Aggregate => self.trade(symbol, t.id, events),
            _ => true,
        }
    }

    #[inline]
    fn delivered(&mut self, place: usize, now: Nanos, events: &mut impl FnMut(FeedEvent)) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        stream.seen = now;
        self.newest = Some(now);
        // What is queued is not subscribed: rule 6.
        let queued = matches!(stream.state, StreamState::Queued { .. });
        if stream.state == StreamState::Live || (queued && !planted(Bug::SubscriptionsLostOnRollover)) {
            return;
        }
        stream.state = StreamState::Live;
        self.missing -= 1;
        if std::mem::take(&mut stream.silent) {
            events(FeedEvent::Resumed { symbol: stream.symbol, kind: stream.kind });
        }
        if self.missing == 0 {
            events(FeedEvent::Complete);
        }
    }

    fn trade(&mut self, symbol: SymbolId, id: u64, events: &mut impl FnMut(FeedEvent)) -> bool {
        let last = &mut self.last_trade[symbol.index()];
        if id <= *last {
            self.repeated_trades += 1;
            return false;
        }
        if *last != 0 && id != *last + 1 {
            self.trades_missed += id - *last - 1;
            events(FeedEvent::TradeGap { symbol, from: *last + 1, to: id - 1 });
        }
        *last = id;
        true
    }

    /// A frame of the connection of `generation` that is not market data: the answer to a subscription, a notice. Others
    /// are ignored, and so are those of another generation: a successor of that connection is there already.
    pub fn on_control(&mut self, frame: &[u8], generation: u32, events: &mut impl FnMut(FeedEvent)) {
        if self.generation != Some(generation) {
            return;
        }
        let (mut error, mut shutdown) = (ErrorBody::default(), false);
        let Ok(reader) = Reader::new(frame) else { return };
        let read = reader.document(&mut |r, key| match key {
            "error" if r.at_object()? => {
                error = ErrorBody::read(r)?;
                Ok(())
            }
            "e" => {
                shutdown = r.scalar()?.text() == Some("serverShutdown");
                Ok(())
            }
            "data" if r.at_object()? => r.object(&mut |r, key| {
                let value = r.scalar()?;
                shutdown |= key == "e" && value.text() == Some("serverShutdown");
                Ok(())
            }),
            // Some errors come without the wrapper: {"code":2,"msg":"Invalid request: …"}.
            _ => error.field(r, key),
        });
        if read.is_ok() && shutdown {
            events(FeedEvent::Shutdown);
        }
        // An error has a code; a stray `msg` is none.
        if let (Ok(()), Some(text), true) = (read, error.msg.text(), error.code() != 0) {
            events(FeedEvent::Refused { code: error.code(), text: text.chars().take(200).collect() });
        }
    }

    /// Looks for silent streams. Call it a few times a second.
    pub fn poll(&mut self, now: Nanos, events: &mut impl FnMut(FeedEvent)) {
        if self.generation.is_none() {
            return;
        }
        if let Some(since) = self.newest.filter(|t| now.since(*t).0 >= self.config.data_age) {
            // Told once; new data arms it again.
            self.newest = None;
            events(FeedEvent::Stalled { since });
        }
        for stream in &mut self.streams {
            let patience = self.config.patience[stream.kind as usize];
            let (symbol, kind) = (stream.symbol, stream.kind);
            match stream.state {
                StreamState::Live if now.since(stream.seen).0 >= patience.stale_after => {
                    self.missing += 1;
                    stream.state = StreamState::Leaving;
                    if !std::mem::replace(&mut stream.silent, true) {
                        events(FeedEvent::Silent { symbol, kind, since: stream.seen });
                    }
                }
                StreamState::Asked { by, again: false } if now >= by => {
                    stream.state = StreamState::Leaving;
                    if !std::mem::replace(&mut stream.silent, true) {
                        let since = Nanos(by.0 - patience.first_data);
                        events(FeedEvent::Silent { symbol, kind, since });
                    }
                }
                StreamState::Asked { by, again: true } if now >= by => {
                    stream.state = StreamState::Dead;
                    events(FeedEvent::Dead { stream: stream.name.clone(), url: self.url.clone() });
                }
                _ => {}
            }
        }
    }

    /// Age of the newest data of a stream that its own generation brought; `None` if there is none, or the stream is not
    /// of this feed.
    pub fn age(&self, symbol: SymbolId, kind: StreamKind, now: Nanos) -> Option<Nanos> {
        let place = *self.places.get(symbol.index())?.get(kind as usize)?;
        let stream = self.streams.get(place as usize)?;
        (stream.seen != Nanos(0)).then(|| now.since(stream.seen))
    }

    /// The instruments whose books it carries.
    pub fn books(&self) -> impl Iterator<Item = SymbolId> + '_ {
        self.streams.iter().filter(|s| s.kind == StreamKind::Depth).map(|s| s.symbol)
    }

    /// Has every stream delivered, and none gone silent since?
    pub const fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Aggregate trades missed so far.
    pub const fn trades_missed(&self) -> u64 {
        self.trades_missed
    }

    /// Aggregate trades that were told before, and dropped.
    pub const fn repeated_trades(&self) -> u64 {
        self.repeated_trades
    }
}
