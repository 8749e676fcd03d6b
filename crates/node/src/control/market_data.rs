//! Market connections, for every role that has any: snapshots for the books, the life of the connections, and whether the
//! streams came at all.
//!
//! * Which snapshot is fetched next and how deep says [`Snapshots`], by what the venue's weight limit has room for.
//! * A run whose connection never brought anything is no run: wrong host, wrong route, closed port. It ends with the
//!   URL ([`MarketController::failed`]). A single stream that never comes is told, its symbol masked, and the run goes on.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use binance::feed::FeedEvent;
use binance::net::Change;
use binance::rest::{RestClient, RestError};
use binance::snapshots::{
    FEATURE_DEPTH, Fetched as How, Purpose, SnapshotConfig, SnapshotRequest, Snapshots, levels_within,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use market::{ClockOffset, Nanos, SymbolId};

use super::gathered::Gathered;
use super::status::{LineSummary, Seen};
use crate::published::BookReader;
use crate::stages::book::news::{BookNews, Mask, SnapshotReply, StreamNews};
use crate::stages::feed::FeedNews;
use crate::topology::MarketEnds;

/// So many snapshots without success are worth a word, again and again.
const MANY: u32 = 5;
/// How often the venue's clock is compared with ours.
pub const CLOCK_EVERY_NS: u64 = 30 * Nanos::SECOND;
/// … and how soon again where it did not answer: what was measured before may be of a time when it was off.
pub const CLOCK_AGAIN_NS: u64 = 5 * Nanos::SECOND;
/// After this a connection that has brought nothing has failed: first data, a second subscription, first data again, and
/// the time to connect.
const START_WITHIN_NS: u64 = 20 * Nanos::SECOND;

/// A snapshot that was fetched: what was asked for, and the venue's reply.
pub struct Fetched {
    request: SnapshotRequest,
    reply: Result<Vec<u8>, RestError>,
}

type Fetch = Pin<Box<dyn Future<Output = Fetched>>>;

/// See the module's text.
pub struct MarketController {
    ends: MarketEnds,
    rest: Arc<RestClient>,
    names: Vec<String>,
    /// Connections that have brought nothing yet.
    waiting: BTreeSet<u8>,
    started: u64,
    snapshots: Snapshots,
    fetches: FuturesUnordered<Fetch>,
    /// The last snapshot was refused, and that was logged.
    refused: bool,
    failed: Option<String>,
    bad_frames_shown: u32,
    gathered: Gathered,
}

/// Refused frames shown in full; the rest is counted.
const SHOW_BAD_FRAMES: u32 = 20;

impl MarketController {
    /// For these symbols, in column order, all masked at first.
    pub fn new(
        ends: MarketEnds,
        rest: Arc<RestClient>,
        names: Vec<String>,
        now: u64,
        seen: &mut Seen,
    ) -> Self {
        seen.masked = names.iter().map(|n| (n.clone(), Mask::Unsynced)).collect();
        let connections = ends.connections.iter();
        seen.connections = connections.map(|c| (c.name.clone(), LineSummary::default())).collect();
        let waiting = (0..ends.connections.len() as u8).collect();
        Self {
            ends,
            rest,
            snapshots: Snapshots::new(names.len(), SnapshotConfig::default()),
            names,
            waiting,
            started: now,
            fetches: FuturesUnordered::new(),
            refused: false,
            failed: None,
            bad_frames_shown: 0,
            gathered: Gathered::default(),
        }
    }

    /// Takes the news of feed and books, and fetches the snapshots that are due.
    pub fn poll(&mut self, now: u64, seen: &mut Seen) {
        while let Some(news) = self.ends.feed.pop() {
            self.on_feed(news, seen);
        }
        while let Some(news) = self.ends.book.pop() {
            self.on_book(news, now, seen);
        }
        for line in self.gathered.due(now) {
            tracing::warn!("{line}");
        }
        // One a turn: its weight is counted before the next is planned.
        let (now, snapshots) = (Nanos(now), &mut self.snapshots);
        let server = self.rest.clock().server_time(now);
        if let Some(request) = self.rest.with_limits(|limits| snapshots.next(limits, server, now)) {
            self.fetch(request);
        }
    }

    fn fetch(&mut self, request: SnapshotRequest) {
        let (rest, name) = (Arc::clone(&self.rest), self.name(request.symbol).to_owned());
        if request.purpose == Purpose::Deepen {
            // A stage that polls every few microseconds leaves room; if it is dead the run is ending.
            let _ = self.ends.snapshots.push(Box::new(SnapshotReply { request, body: None }));
        }
        self.fetches.push(Box::pin(async move {
            let reply = rest.depth(&name, request.limit, request.purpose.urgency()).await;
            Fetched { request, reply }
        }));
    }

    /// The books, for people.
    pub const fn view(&self) -> &BookReader {
        &self.ends.view
    }

    /// The venue's clock was measured: event times are judged by it.
    pub fn set_clock(&mut self, clock: ClockOffset) {
        self.ends.clock.publish(clock);
    }

    /// The next snapshot to arrive; `None`: none is under way.
    pub async fn fetched(&mut self) -> Option<Fetched> {
        self.fetches.next().await
    }

    /// Hands a snapshot to the books.
    pub fn on_fetched(&mut self, fetched: Fetched, now: u64) {
        let Fetched { request, reply } = fetched;
        let how = match &reply {
            Ok(_) => How::Arrived,
            Err(RestError::Wait(_)) => How::NotSent,
            Err(_) => How::Failed,
        };
        self.snapshots.done(request, how, Nanos(now));
        match reply {
            Ok(body) => {
                self.refused = false;
                // It would tell of levels that the book, taken anew meanwhile, was never given.
                if request.purpose == Purpose::Audit && request.limit > self.snapshots.taken(request.symbol) {
                    return;
                }
                let _ = self.ends.snapshots.push(Box::new(SnapshotReply { request, body: Some(body) }));
            }
            Err(RestError::Wait(_)) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::warn!("a snapshot is tried again, as others may be: {error}");
                }
            }
        }
    }

    /// Why this run cannot be one, if so.
    pub fn failed(&mut self, now: u64, seen: &Seen) -> Option<&str> {
        if self.failed.is_none() && now - self.started > START_WITHIN_NS {
            let first = self.waiting.first().and_then(|&i| self.ends.connections.get(usize::from(i)));
            self.failed = first.map(|line| {
                let why = seen.connections.get(&line.name).map_or("", |c| c.last_failure.as_str());
                let why = if why.is_empty() { "nothing came" } else { why };
                format!("no market data from {}: {why}", line.url)
            });
        }
        self.failed.as_deref()
    }

    fn connection(&self, route: u8) -> &str {
        self.ends.connections.get(usize::from(route)).map_or("?", |l| l.name.as_str())
    }

    fn name(&self, symbol: SymbolId) -> &str {
        self.names.get(symbol.index()).map_or("?", String::as_str)
    }

    /// News of the feed.
    fn on_feed(&mut self, news: FeedNews, seen: &mut Seen) {
        let (route, change) = match news {
            FeedNews::Counters(counters) => return seen.feed = counters,
            FeedNews::Heard { route, at } => {
                let name = self.connection(route);
                if let Some(line) = seen.connections.get_mut(name) {
                    line.heard_at = Some(at);
                }
                return;
            }
            FeedNews::Changed { route, change } => (route, change),
        };
        let name = self.connection(route).to_owned();
        let line = seen.connections.entry(name.clone()).or_default();
        match change {
            Change::Opened => line.opened += 1,
            Change::Replaced => line.replaced += 1,
            Change::Lost(reason) => {
                tracing::warn!(%reason, "{name} streams lost");
                *line.lost.entry(reason.kind().to_owned()).or_default() += 1;
            }
            Change::Failed(reason) => {
                tracing::warn!(%reason, "{name} streams refused");
                line.failed += 1;
                line.last_failure = reason.to_string();
            }
        }
    }

    /// News of the books.
    fn on_book(&mut self, news: BookNews, now: u64, seen: &mut Seen) {
        match news {
            BookNews::Counters(counters) => seen.book = counters,
            BookNews::NeedsSnapshot(symbol) => {
                let had = self.snapshots.need(symbol, Nanos(now));
                if had > 0 && had.is_multiple_of(MANY) {
                    tracing::warn!("{}: {had} snapshots, and its book is not in step", self.name(symbol));
                    seen.alert("ResyncFailing");
                }
            }
            BookNews::Synced(symbol, ticks) => {
                self.snapshots.set_levels(symbol, levels_within(ticks, 1.0, FEATURE_DEPTH));
                self.snapshots.synced(symbol, Nanos(now));
            }
            BookNews::Deepened(symbol, limit) => {
                self.snapshots.deepened(symbol, limit, Nanos(now));
            }
            BookNews::Audit(symbol) => self.snapshots.audit(symbol, Nanos(now)),
            BookNews::AuditFailed(symbol, verdict) => {
                tracing::warn!(
                    ?verdict,
                    "{}: the book is not the venue's; it is taken again",
                    self.name(symbol)
                );
                seen.alert("BookMismatch");
            }
            BookNews::TouchDiffers(symbol, [ticker, book]) => {
                tracing::warn!(
                    ?ticker,
                    ?book,
                    "{}: bookTicker and the book differ about one state; orders go by bookTicker",
                    self.name(symbol)
                );
            }
            BookNews::Masked(symbol, mask) => {
                let name = self.name(symbol).to_owned();
                tracing::debug!(?mask, "{name}");
                match mask {
                    Some(mask) => seen.masked.insert(name, mask),
                    None => seen.masked.remove(&name),
                };
            }
            BookNews::Streams(news) => self.on_streams(news, now, seen),
        }
    }

    fn on_streams(&mut self, news: StreamNews, now: u64, seen: &mut Seen) {
        match news {
            StreamNews::Delivers { route } => {
                self.waiting.remove(&route);
            }
            StreamNews::Event { route, event } => self.on_event(route, event, now, seen),
            StreamNews::BadFrame { route, error, head } => {
                if self.bad_frames_shown < SHOW_BAD_FRAMES {
                    self.bad_frames_shown += 1;
                    let head = String::from_utf8_lossy(&head);
                    tracing::warn!(%error, ?head, "a frame of the {} streams is refused", self.connection(route));
                }
            }
            StreamNews::TooManyBadFrames { route } => {
                tracing::warn!(
                    "too many bad frames on the {} streams: they are replaced",
                    self.connection(route)
                );
                seen.alert("BadFrames");
            }
        }
    }

    fn on_event(&mut self, route: u8, event: FeedEvent, now: u64, seen: &mut Seen) {
        let line = self.connection(route).to_owned();
        match event {
            FeedEvent::Complete => tracing::debug!("all {line} streams deliver"),
            FeedEvent::Silent { symbol, kind, .. } => {
                let stream = format!("{}{}", self.name(symbol).to_lowercase(), kind.suffix());
                self.gathered.add("silent, subscribed once more", stream, now);
                seen.alert("SilentStream");
            }
            FeedEvent::Resumed { symbol, kind } => {
                let stream = format!("{}{}", self.name(symbol).to_lowercase(), kind.suffix());
                self.gathered.add("delivering again", stream, now);
            }
            FeedEvent::Dead { stream, url } => {
                tracing::error!("{stream} does not deliver from {url}, asked for twice");
                seen.alert("DeadStream");
                if self.waiting.contains(&route) && self.failed.is_none() {
                    self.failed = Some(format!(
                        "no market data from {url}: {stream} was subscribed twice and never came (wrong host or route?)"
                    ));
                }
            }
            FeedEvent::Stalled { .. } => {
                tracing::warn!("no data on the {line} streams; the connection is replaced");
                seen.alert("StalledConnection");
            }
            FeedEvent::Shutdown => {
                tracing::warn!("the venue will close the {line} streams; they are replaced");
            }
            FeedEvent::TradeGap { symbol, from, to } => {
                tracing::debug!("{}: aggregate trades {from} to {to} are missing", self.name(symbol));
                self.gathered.add("aggregate trades are missing", self.name(symbol).to_owned(), now);
                seen.alert("TradeGap");
            }
            FeedEvent::Refused { code, text } => {
                tracing::error!(code, %text, "the venue refused a subscription on the {line} streams");
                seen.alert("SubscriptionRefused");
            }
        }
    }
}
