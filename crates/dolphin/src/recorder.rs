//! Recording a market (SPEC §2.4): the public streams and depth snapshots of any venue, without a key, as they come.
//!
//! The file named holds the newest part; a part that is full, of an earlier day, or left by an earlier run stands beside it
//! under a number (`market.zst`, `market.0001.zst`, …). Each part begins with a snapshot of every book, so that it can be read
//! alone. Where frames may be missing the file says so: `{"stream":"!gap",…}`, which readers of recordings leave out.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use archive::recording::{RecordingError, RecordingWriter};
use binance::decode::{Decoder, Frame};
use binance::hosts::Hosts;
use binance::limits::Urgency;
use binance::net::{Change, WsConn};
use binance::rest::{RestClient, RestError};
use book::{BookOutcome, LocalBook};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use market::{Instrument, MarketEvent, Nanos, SymbolId};
use node::connections;
use node::environment::Environment;
use node::error::Failure;
use serde::Serialize;

/// Streams of one connection.
const STREAMS: usize = 200;
/// Snapshots fetched at one time.
const SNAPSHOTS_AT_ONCE: usize = 4;
/// A refused snapshot is asked for again after this.
const RETRY: Duration = Duration::from_millis(500);
/// An open connection without a frame for this long is replaced.
const SILENT_NS: u64 = 5 * Nanos::SECOND;
/// A venue that has sent nothing for this long after the start is not there.
const FIRST_FRAME_NS: u64 = 30 * Nanos::SECOND;
/// What is buffered is written out so often.
const FLUSH_NS: u64 = Nanos::SECOND;
/// Levels a side of a snapshot, and of one where many symbols share the venue's limit.
const LEVELS: [u32; 2] = [1_000, 500];
/// Symbols up to which snapshots are deep.
const DEEP: usize = 100;

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Depth every 100 ms, and a snapshot of each book
    Depth,
    /// Aggregate trades
    #[value(name = "aggTrade")]
    AggTrade,
    /// Best bid and offer
    #[value(name = "bookTicker")]
    BookTicker,
    /// Mark price every second
    #[value(name = "markPrice")]
    MarkPrice,
}

impl Kind {
    fn stream(self) -> &'static str {
        match self {
            Self::Depth => "@depth@100ms",
            Self::AggTrade => "@aggTrade",
            Self::BookTicker => "@bookTicker",
            Self::MarkPrice => "@markPrice@1s",
        }
    }

    /// Is it served under `/public`, or under `/market`?
    fn is_public(self) -> bool {
        matches!(self, Self::Depth | Self::BookTicker)
    }
}

/// What was recorded.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recorded {
    /// Parts, oldest first; the last one has the name that was asked for.
    pub files: Vec<PathBuf>,
    /// Symbols.
    pub symbols: usize,
    /// Lines written.
    pub lines: u64,
    /// Bytes before compression.
    pub bytes: u64,
    /// Depth snapshots.
    pub snapshots: u64,
    /// Places where frames may be missing: lost connections and holes in a book's updates.
    pub gaps: u64,
    /// How long, s.
    pub seconds: f64,
}

/// The parts of a recording.
struct Parts {
    out: PathBuf,
    writer: RecordingWriter,
    /// Bytes after which the next part begins; 0: never.
    most: u64,
    bytes: u64,
    day: u64,
    /// The earlier ones of this run.
    full: Vec<PathBuf>,
}

impl Parts {
    /// Begins; what an earlier run left under the name is given a number.
    fn create(out: &Path, most: u64, now: Nanos) -> Result<Self, Failure> {
        if out.exists() {
            let aside = number(out)?;
            tracing::info!("{} was there already: it is {} now", out.display(), aside.display());
        }
        let writer = RecordingWriter::create(out).map_err(|e| Failure::usage(e.to_string()))?;
        Ok(Self { out: out.to_owned(), writer, most, bytes: 0, day: day(now), full: Vec::new() })
    }

    /// Is this part full, or yesterday's?
    fn is_over(&self, now: Nanos) -> bool {
        day(now) != self.day || (self.most > 0 && self.bytes >= self.most)
    }

    /// Ends this part and begins the next.
    fn next(&mut self, now: Nanos) -> Result<(), Failure> {
        // The new file is made under another name, so that there is always one to write to.
        let fresh = beside(&self.out, "next");
        let writer = RecordingWriter::create(&fresh).map_err(|e| unwritten(&e))?;
        std::mem::replace(&mut self.writer, writer).finish().map_err(|e| unwritten(&e))?;
        self.full.push(number(&self.out)?);
        fs::rename(&fresh, &self.out)
            .map_err(|e| Failure::unavailable(format!("cannot rename {}: {e}", fresh.display())))?;
        (self.bytes, self.day) = (0, day(now));
        Ok(())
    }
}

/// Exit 4: the disk is full or away.
fn unwritten(error: &RecordingError) -> Failure {
    Failure::unavailable(error.to_string())
}

fn day(at: Nanos) -> u64 {
    at.0 / (86_400 * Nanos::SECOND)
}

/// `DIR/market.zst` → `DIR/market.WORD.zst`.
fn beside(path: &Path, word: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}.{word}.{}", extension.to_string_lossy()),
        None => format!("{stem}.{word}"),
    };
    path.with_file_name(name)
}

/// Renames a file to the first free number after all that are taken.
fn number(path: &Path) -> Result<PathBuf, Failure> {
    let mut n = 1;
    while beside(path, &format!("{n:04}")).exists() {
        n += 1;
    }
    let name = beside(path, &format!("{n:04}"));
    fs::rename(path, &name)
        .map_err(|e| Failure::unavailable(format!("cannot rename {}: {e}", path.display())))?;
    Ok(name)
}

struct Line {
    conn: WsConn,
    name: &'static str,
    heard: u64,
}

/// A book is followed to know when a snapshot is due.
#[derive(Default)]
struct Followed {
    book: LocalBook,
    asked: bool,
}

type Fetched = (SymbolId, Result<Vec<u8>, RestError>);

/// What to record.
pub struct Order {
    /// Whose market.
    pub hosts: Hosts,
    /// Which symbols.
    pub instruments: Vec<Instrument>,
    /// Which streams.
    pub kinds: Vec<Kind>,
    /// The file.
    pub out: PathBuf,
    /// Bytes of a part before compression; 0: no limit.
    pub most_bytes: u64,
    /// How long, s; `None`: until the flag.
    pub seconds: Option<f64>,
}

/// A recording under way.
pub struct Recorder {
    order: Order,
    environment: Environment,
    decoder: Decoder,
    lines: Vec<Line>,
    followed: Vec<Followed>,
    wanted: VecDeque<SymbolId>,
    parts: Parts,
    recorded: Recorded,
    started: u64,
    flushed: u64,
    /// The first thing that could not be written ends the recording.
    failed: Option<Failure>,
}

impl Recorder {
    /// Creates the file and begins to dial.
    pub fn start(order: Order, environment: Environment) -> Result<Self, Failure> {
        let now = environment.clock.now_ns();
        let parts = Parts::create(&order.out, order.most_bytes, Nanos(now))?;
        let mut lines = Vec::new();
        for (base, name, public) in
            [(&order.hosts.public, "public", true), (&order.hosts.market, "market", false)]
        {
            let kinds: Vec<&Kind> = order.kinds.iter().filter(|k| k.is_public() == public).collect();
            let names = order.instruments.iter().map(|i| i.symbol.to_lowercase());
            let streams: Vec<String> = names
                .flat_map(|name| kinds.iter().map(move |kind| format!("{name}{}", kind.stream())))
                .collect();
            for chunk in streams.chunks(STREAMS) {
                let url = format!("{}/stream?streams={}", base.trim_end_matches('/'), chunk.join("/"));
                let mut conn = connections::dial(&url, &environment)?;
                conn.open();
                lines.push(Line { conn, name, heard: now });
            }
        }
        Ok(Self {
            decoder: Decoder::new(&order.instruments),
            followed: order.instruments.iter().map(|_| Followed::default()).collect(),
            recorded: Recorded { symbols: order.instruments.len(), ..Recorded::default() },
            order,
            environment,
            lines,
            wanted: VecDeque::new(),
            parts,
            started: now,
            flushed: now,
            failed: None,
        })
    }

    /// Records until the flag is set, the time is over, or something cannot be written; `tell` is called now and then.
    pub async fn run(
        mut self,
        rest: Arc<RestClient>,
        stop: &AtomicBool,
        mut tell: impl FnMut(&Recorded),
    ) -> Result<Recorded, Failure> {
        let mut jobs = FuturesUnordered::new();
        let limit = LEVELS[usize::from(self.followed.len() > DEEP)];
        while !stop.load(Ordering::Acquire) && !self.is_over() {
            self.sockets();
            self.turn()?;
            while jobs.len() < SNAPSHOTS_AT_ONCE
                && let Some(symbol) = self.wanted.pop_front()
            {
                let (rest, name) = (Arc::clone(&rest), self.order.instruments[symbol.index()].symbol.clone());
                jobs.push(async move {
                    let reply = rest.depth(&name, limit, Urgency::Snapshot).await;
                    if reply.is_err() {
                        tokio::time::sleep(RETRY).await;
                    }
                    (symbol, reply)
                });
            }
            tokio::select! {
                biased;
                Some(fetched) = jobs.next() => self.snapshot(fetched),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            if let Some(failure) = self.failed.take() {
                return Err(failure);
            }
            tell(&self.recorded);
        }
        self.finish()
    }

    fn is_over(&self) -> bool {
        let seconds = (self.environment.clock.now_ns() - self.started) as f64 / 1e9;
        self.order.seconds.is_some_and(|most| seconds >= most)
    }

    fn finish(mut self) -> Result<Recorded, Failure> {
        self.parts.writer.finish().map_err(|e| unwritten(&e))?;
        self.recorded.files = self.parts.full;
        self.recorded.files.push(self.parts.out);
        self.recorded.seconds = (self.environment.clock.now_ns() - self.started) as f64 / 1e9;
        Ok(self.recorded)
    }

    /// What is due besides frames.
    fn turn(&mut self) -> Result<(), Failure> {
        let now = self.environment.clock.now_ns();
        self.recorded.seconds = (now - self.started) as f64 / 1e9;
        if self.recorded.lines == 0 && now - self.started > FIRST_FRAME_NS {
            let hosts = &self.order.hosts;
            return Err(Failure::unavailable(format!(
                "no frame of {} or {} in {} s: is it the right venue, and are these streams served there?",
                hosts.public,
                hosts.market,
                FIRST_FRAME_NS / Nanos::SECOND
            )));
        }
        if self.parts.is_over(Nanos(now)) {
            self.parts.next(Nanos(now))?;
            // A part can be read alone.
            for i in 0..self.followed.len() {
                if self.records(Kind::Depth) && !self.followed[i].asked {
                    self.ask(i);
                }
            }
        }
        if now - self.flushed >= FLUSH_NS {
            self.flushed = now;
            self.parts.writer.flush().map_err(|e| unwritten(&e))?;
        }
        Ok(())
    }

    fn records(&self, kind: Kind) -> bool {
        self.order.kinds.contains(&kind)
    }

    fn ask(&mut self, symbol: usize) {
        self.followed[symbol].asked = true;
        self.wanted.push_back(self.order.instruments[symbol].id);
    }

    fn sockets(&mut self) {
        let now = self.environment.clock.now_ns();
        let mut lines = std::mem::take(&mut self.lines);
        for line in &mut lines {
            let activity = line.conn.poll(Nanos(now), &mut |bytes, at, _| self.frame(bytes, at));
            match activity.change {
                Some(Change::Lost(reason)) => {
                    tracing::warn!(%reason, "{} streams lost; the recording has a gap", line.name);
                    self.gap(line.name, &reason.to_string(), now);
                    if line.name == "public" {
                        self.followed.iter_mut().for_each(|f| f.book.invalidate());
                    }
                }
                Some(Change::Failed(reason)) => {
                    tracing::warn!(%reason, "{} streams refused; tried again", line.name);
                }
                Some(Change::Opened | Change::Replaced) => line.heard = now,
                None => {}
            }
            if activity.frames > 0 {
                line.heard = now;
            } else if line.conn.is_open() && now.saturating_sub(line.heard) > SILENT_NS {
                line.heard = now;
                self.gap(line.name, "silent for 5 s", now);
                line.conn.replace();
            }
        }
        self.lines = lines;
    }

    fn gap(&mut self, streams: &str, why: &str, now: u64) {
        self.recorded.gaps += 1;
        let mark = serde_json::json!({
            "stream": "!gap",
            "data": {"e": "gap", "E": Nanos(now).millis(), "streams": streams, "reason": why},
        });
        self.write(Nanos(now), mark.to_string().as_bytes());
    }

    fn write(&mut self, at: Nanos, frame: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.parts.writer.write(at, frame) {
            self.failed = Some(unwritten(&error));
            return;
        }
        self.count(frame.len());
    }

    fn count(&mut self, bytes: usize) {
        // The receive time, a blank, a line's end.
        let bytes = bytes as u64 + 21;
        self.recorded.lines += 1;
        self.recorded.bytes += bytes;
        self.parts.bytes += bytes;
    }

    fn frame(&mut self, bytes: &[u8], at: Nanos) {
        self.write(at, bytes);
        // Only depth decides anything here; what cannot be read is recorded as it came.
        let Ok(Frame::Market(MarketEvent::Depth(update))) = self.decoder.decode(bytes) else { return };
        let symbol = update.symbol.index();
        let f = &mut self.followed[symbol];
        let outcome = f.book.on_update(&update);
        let due = f.book.needs_snapshot() && !f.asked;
        if outcome == BookOutcome::Gap {
            let name = format!("{}@depth", self.order.instruments[symbol].symbol.to_lowercase());
            self.gap(&name, "update ids do not chain", at.0);
        }
        if due {
            self.ask(symbol);
        }
    }

    fn snapshot(&mut self, (symbol, reply): Fetched) {
        let at = Nanos(self.environment.clock.now_ns());
        let i = symbol.index();
        self.followed[i].asked = false;
        let name = &self.order.instruments[i].symbol;
        match reply {
            Ok(body) => match self.decoder.decode_snapshot(symbol, &body) {
                Ok(snapshot) => {
                    self.followed[i].book.on_snapshot(&snapshot);
                    match self.parts.writer.write_snapshot(at, name, &body) {
                        Ok(()) => {
                            self.recorded.snapshots += 1;
                            self.count(body.len() + 40);
                        }
                        Err(error) => self.failed = Some(unwritten(&error)),
                    }
                }
                Err(error) => tracing::warn!("the depth snapshot of {name} cannot be read: {error}"),
            },
            Err(error) => tracing::warn!("the depth snapshot of {name}: {error}; asked for again"),
        }
        if self.followed[i].book.needs_snapshot() {
            self.ask(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_numbered_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("market.txt");
        let start = Nanos(1_795_392_000 * Nanos::SECOND);
        let mut parts = Parts::create(&out, 10, start).unwrap();
        parts.writer.write(start, b"{\"a\":1}").unwrap();
        assert!(!parts.is_over(start));
        parts.bytes = 10;
        assert!(parts.is_over(start));
        parts.next(start).unwrap();
        assert!(!parts.is_over(start));
        assert!(parts.is_over(Nanos(start.0 + 86_400 * Nanos::SECOND)), "a day a part");
        parts.writer.finish().unwrap();
        // Another run.
        let parts = Parts::create(&out, 0, start).unwrap();
        parts.writer.finish().unwrap();
        let text = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(text("market.0001.txt").ends_with(" {\"a\":1}\n"));
        assert_eq!((text("market.0002.txt").len(), text("market.txt").len()), (0, 0));
        assert_eq!(beside(Path::new("d/market"), "0003"), Path::new("d/market.0003"));
    }
}
