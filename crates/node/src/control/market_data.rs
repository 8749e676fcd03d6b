//! Market connections, for every role that has any: snapshots for the books, the life of the connections, and whether the
//! streams came at all.
//!
//! * A snapshot weighs 20 of the venue's 2400 a minute. A few are fetched at a time, and one symbol's next attempt waits
//!   longer and longer while its book does not come into step ([`Snapshots`]).
//! * A run whose connection never brought anything is no run: wrong host, wrong route, closed port. It ends with the
//!   URL ([`MarketController::failed`]). A single stream that never comes is told, its symbol masked, and the run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use binance::feed::FeedEvent;
use binance::limits::Urgency;
use binance::net::Change;
use binance::rest::{RestClient, RestError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use market::{Nanos, SymbolId};

use super::status::{LineSummary, Seen};
use crate::stages::book::news::{BookNews, Mask, SnapshotReply, StreamNews};
use crate::stages::feed::FeedNews;
use crate::topology::MarketEnds;

/// Snapshots fetched at one time.
const AT_ONCE: usize = 4;
/// First pause before another snapshot of a book that did not come into step; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A book that was in step for so long has forgotten its failures. One that crosses or breaks again and again right
/// after each snapshot must not use up the venue's limit.
const SETTLED_NS: u64 = 10 * Nanos::SECOND;
/// So many snapshots without success are worth a word, again and again.
const MANY: u32 = 5;
/// After this a connection that has brought nothing has failed: first data, a second subscription, first data again, and
/// the time to connect.
const START_WITHIN_NS: u64 = 20 * Nanos::SECOND;

/// Which snapshots are due.
#[derive(Debug, Default)]
struct Snapshots {
    /// Due time, symbol, for an audit?
    wanted: BTreeSet<(u64, SymbolId, bool)>,
    /// By symbol: snapshots since its book was last in step for long, and since when it is in step.
    attempts: BTreeMap<SymbolId, (u32, Option<u64>)>,
    running: usize,
}

impl Snapshots {
    /// A book needs one; how many it had since it was last in step for long.
    fn need(&mut self, symbol: SymbolId, now: u64) -> u32 {
        let (attempts, synced) = self.attempts.entry(symbol).or_default();
        if synced.take().is_some_and(|at| now.saturating_sub(at) >= SETTLED_NS) {
            *attempts = 0;
        }
        let pause = match *attempts {
            0 => Duration::ZERO,
            n => FIRST_PAUSE.saturating_mul(1 << (n - 1).min(10)).min(LONGEST_PAUSE),
        };
        *attempts += 1;
        self.wanted.insert((now + pause.as_nanos() as u64, symbol, false));
        *attempts - 1
    }

    /// The next one to fetch; [`Self::done`] must follow.
    fn next(&mut self, now: u64) -> Option<(SymbolId, bool)> {
        let &(due, symbol, audit) = self.wanted.first()?;
        if due > now || self.running >= AT_ONCE {
            return None;
        }
        self.wanted.pop_first();
        self.running += 1;
        Some((symbol, audit))
    }

    /// A fetch has ended. One that failed is made again, unless it was for an audit: that one is given up.
    fn done(&mut self, symbol: SymbolId, audit: bool, failed: bool, now: u64) {
        self.running -= 1;
        if failed && !audit {
            self.need(symbol, now);
        }
    }
}

/// A snapshot that was fetched: whose, whether for an audit, and the venue's reply.
pub struct Fetched {
    symbol: SymbolId,
    audit: bool,
    reply: Result<Vec<u8>, RestError>,
}

type Fetch = Pin<Box<dyn Future<Output = Fetched>>>;

/// See the module's text.
pub struct MarketController {
    ends: MarketEnds,
    rest: Arc<RestClient>,
    names: Vec<String>,
    /// Levels of a snapshot.
    levels: u32,
    /// Connections that have brought nothing yet.
    waiting: BTreeSet<u8>,
    started: u64,
    snapshots: Snapshots,
    fetches: FuturesUnordered<Fetch>,
    /// The last snapshot was refused, and that was logged.
    refused: bool,
    failed: Option<String>,
    bad_frames_shown: u32,
}

/// Refused frames shown in full; the rest is counted.
const SHOW_BAD_FRAMES: u32 = 20;

impl MarketController {
    /// For the symbols `names`, in column order, all masked at first. Snapshots have `levels` levels.
    pub fn new(
        ends: MarketEnds,
        rest: Arc<RestClient>,
        names: Vec<String>,
        levels: u32,
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
            names,
            levels,
            waiting,
            started: now,
            snapshots: Snapshots::default(),
            fetches: FuturesUnordered::new(),
            refused: false,
            failed: None,
            bad_frames_shown: 0,
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
        while let Some((symbol, audit)) = self.snapshots.next(now) {
            let (rest, levels) = (Arc::clone(&self.rest), self.levels);
            let name = self.name(symbol).to_owned();
            let urgency = if audit { Urgency::Audit } else { Urgency::Snapshot };
            self.fetches.push(Box::pin(async move {
                Fetched { symbol, audit, reply: rest.depth(&name, levels, urgency).await }
            }));
        }
    }

    /// The next snapshot to arrive; `None`: none is under way.
    pub async fn fetched(&mut self) -> Option<Fetched> {
        self.fetches.next().await
    }

    /// Hands a snapshot to the books.
    pub fn on_fetched(&mut self, fetched: Fetched, now: u64) {
        let Fetched { symbol, audit, reply } = fetched;
        self.snapshots.done(symbol, audit, reply.is_err(), now);
        match reply {
            Ok(body) => {
                self.refused = false;
                // A stage that polls every few microseconds leaves room; if it is dead the run is ending.
                let _ = self.ends.snapshots.push(Box::new(SnapshotReply { symbol, audit, body }));
            }
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
                let had = self.snapshots.need(symbol, now);
                if had > 0 && had.is_multiple_of(MANY) {
                    tracing::warn!("{}: {had} snapshots, and its book is not in step", self.name(symbol));
                    seen.alert("ResyncFailing");
                }
            }
            BookNews::Synced(symbol) => {
                self.snapshots.attempts.entry(symbol).or_default().1 = Some(now);
            }
            BookNews::Audit(symbol) => {
                self.snapshots.wanted.insert((now, symbol, true));
            }
            BookNews::AuditFailed(symbol, verdict) => {
                tracing::warn!(
                    ?verdict,
                    "{}: the book is not the venue's; it is taken again",
                    self.name(symbol)
                );
                seen.alert("BookMismatch");
            }
            BookNews::Masked(symbol, mask) => {
                let name = self.name(symbol).to_owned();
                tracing::debug!(?mask, "{name}");
                match mask {
                    Some(mask) => seen.masked.insert(name, mask),
                    None => seen.masked.remove(&name),
                };
            }
            BookNews::Streams(news) => self.on_streams(news, seen),
        }
    }

    fn on_streams(&mut self, news: StreamNews, seen: &mut Seen) {
        match news {
            StreamNews::Delivers { route } => {
                self.waiting.remove(&route);
            }
            StreamNews::Event { route, event } => self.on_event(route, event, seen),
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

    fn on_event(&mut self, route: u8, event: FeedEvent, seen: &mut Seen) {
        let line = self.connection(route).to_owned();
        match event {
            FeedEvent::Complete => tracing::debug!("all {line} streams deliver"),
            FeedEvent::Silent { symbol, kind, .. } => {
                let stream = format!("{}{}", self.name(symbol).to_lowercase(), kind.suffix());
                tracing::warn!("{stream} is silent on the {line} streams; it is subscribed once more");
                seen.alert("SilentStream");
            }
            FeedEvent::Resumed { symbol, kind } => {
                let name = self.name(symbol).to_lowercase();
                tracing::info!("{name}{} delivers again", kind.suffix());
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
                tracing::warn!("{}: aggregate trades {from} to {to} are missing", self.name(symbol));
                seen.alert("TradeGap");
            }
            FeedEvent::Refused { code, text } => {
                tracing::error!(code, %text, "the venue refused a subscription on the {line} streams");
                seen.alert("SubscriptionRefused");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = Nanos::MS;

    #[test]
    fn a_book_that_does_not_come_into_step_is_asked_for_less_and_less_often() {
        let (mut s, symbol) = (Snapshots::default(), SymbolId(3));
        let mut now = 0;
        let mut times = Vec::new();
        s.need(symbol, now);
        while times.len() < 8 {
            if s.next(now).is_some() {
                times.push(now / MS);
                s.done(symbol, false, true, now);
            }
            now += 50 * MS;
        }
        let pauses: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000]);
    }

    #[test]
    fn a_book_that_breaks_right_after_each_snapshot_waits_too_and_a_settled_one_does_not() {
        let (mut s, symbol) = (Snapshots::default(), SymbolId(3));
        let due = |s: &mut Snapshots, now: u64| {
            s.need(symbol, now);
            let at = s.wanted.pop_first().unwrap().0;
            s.attempts.get_mut(&symbol).unwrap().1 = Some(at);
            (at - now) / MS
        };
        assert_eq!([0, 1_000, 2_000].map(|ms| due(&mut s, ms * MS)), [0, 250, 500]);
        assert_eq!(due(&mut s, 20_000 * MS), 0);
    }

    #[test]
    fn few_are_fetched_at_a_time_and_a_failed_audit_is_given_up() {
        let mut s = Snapshots::default();
        (0..6).for_each(|i| {
            s.need(SymbolId(i), 0);
        });
        assert_eq!((0..6).filter_map(|_| s.next(0)).count(), AT_ONCE);
        s.done(SymbolId(0), true, true, 0);
        assert_eq!((s.wanted.len(), s.running), (2, AT_ONCE - 1));
    }
}
