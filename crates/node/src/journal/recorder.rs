//! The journal's thread: from the rings of the stages to segments on disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use market::Nanos;
use runtime::clock::Clock;
use runtime::conveyor::Unloader;
use runtime::environment::{Ended, LocalTask};
use runtime::journal::frame::Record;
use runtime::journal::library::Limits;
use runtime::journal::tap::Drain;
use runtime::journal::writer::{Status, Writer};
use runtime::ring::Rx;
use tokio::sync::Notify;

use super::bundle::PostMortem;
use super::header::Header;
use super::records::{self, ALPHA, BOOK, ROUTER, TICK, alpha_kind, book_kind, router_kind};
use super::shadow::Shadow;
use super::states::States;
use crate::config::JournalConfig;
use crate::environment::Environment;
use crate::stages::SharedTick;
use crate::stages::alpha::AlphaRecord;
use crate::stages::book::record::BookRecord;
use crate::stages::feed::Frame;
use crate::stages::router::RouterRecord;

/// The rings' other ends.
pub struct JournalEnds {
    /// From the engine's stage.
    pub alpha: Drain<AlphaRecord>,
    /// Its ticks.
    pub ticks: Rx<SharedTick>,
    /// From the router's.
    pub router: Drain<RouterRecord>,
    /// From the book stage, where frames are kept.
    pub book: Option<BookEnds>,
}

/// The book stage's rings' other ends.
pub struct BookEnds {
    /// What it took.
    pub records: Drain<BookRecord>,
    /// Its frames.
    pub frames: Unloader<Frame>,
}

impl JournalEnds {
    /// Records that wait.
    fn waiting(&self) -> u64 {
        let book = self.book.as_ref().map_or(0, |ends| ends.records.waiting());
        (self.alpha.waiting() + self.router.waiting() + book) as u64
    }
}

/// Between two looks at the rings: they hold seconds.
const LOOK: Duration = Duration::from_millis(20);
/// Between two looks at how much room the disk has.
const ROOM_NS: u64 = 2 * Nanos::SECOND;
/// A segment holds at least so many times the states that it begins with.
const SEGMENT_STATES: u64 = 2;
/// How long the end of a run waits for the last segment.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// The limits of a journal.
pub fn limits(config: &JournalConfig, dir: PathBuf, states: usize) -> Limits {
    Limits {
        dir,
        segment_bytes: (u64::from(config.segment_mb) * 1_000_000).max(SEGMENT_STATES * states as u64),
        days: u64::from(config.days),
        max_bytes: (config.max_gb * 1e9) as u64,
        fsync_ns: config.fsync_ms * Nanos::MS,
    }
}

/// A journal that is being written.
pub struct Recorder {
    /// Counters for others.
    pub status: Arc<Status>,
    /// What a run that ends badly leaves.
    pub post_mortem: PostMortem,
    stop: Arc<Stop>,
    ended: Ended,
}

/// The wish to end, which is heard at once.
#[derive(Default)]
struct Stop {
    wanted: AtomicBool,
    said: Notify,
}

impl Recorder {
    /// Starts the thread, with the states that the run begins with and the stages in them.
    pub fn start(
        limits: Limits,
        header: &Header,
        (states, shadow): (States, Option<Shadow>),
        ends: JournalEnds,
        environment: &Environment,
    ) -> io::Result<Self> {
        let text = serde_json::to_vec(header)?;
        let post_mortem = PostMortem {
            files: Arc::clone(&environment.files),
            clock: environment.clock.clone(),
            journal: limits.dir.clone(),
            run: header.run,
            state: None,
        };
        let writer = Writer::new(Arc::clone(&environment.files), limits, header.run, text);
        let (status, stop, left) = (writer.status(), Arc::<Stop>::default(), writer.left());
        environment.spawner.block(Box::new(move || left.seal()));
        let mut thread = Thread {
            writer,
            ends,
            clock: environment.clock.clone(),
            buffer: Vec::with_capacity(1 << 16),
            failing: false,
            shadow,
        };
        let stopped = Arc::clone(&stop);
        let make: Box<dyn FnOnce() -> LocalTask + Send> =
            Box::new(move || Box::pin(async move { thread.run(&states, &stopped).await }));
        let ended = environment.spawner.spawn_thread("journal", make)?;
        Ok(Self { status, post_mortem, stop, ended })
    }

    /// Writes what the stages left and closes the last segment; what a bad end leaves is made then. To be called when they are gone.
    pub async fn finish(self) -> PostMortem {
        self.stop.wanted.store(true, Ordering::Release);
        self.stop.said.notify_one();
        match tokio::time::timeout(CLOSED_WITHIN, self.ended).await {
            Ok(Ok(Err(panic))) => tracing::error!("{panic}"),
            Ok(_) => {}
            Err(_) => tracing::warn!("the journal's last segment is not sealed yet: the disk is slow"),
        }
        self.post_mortem
    }
}

struct Thread {
    writer: Writer,
    ends: JournalEnds,
    clock: Clock,
    buffer: Vec<u8>,
    /// The last word was that the disk fails.
    failing: bool,
    /// The stages, as far as the journal is; `None` once they cannot follow.
    shadow: Option<Shadow>,
}

impl Thread {
    async fn run(&mut self, states: &States, stop: &Stop) {
        let begun = self.writer.begin(&states.named(), self.wall_s(), self.clock.now_ns());
        self.tell(begun);
        let (status, mut room_due) = (self.writer.status(), 0);
        loop {
            // Read before the rings: what was pushed before the stop is then taken.
            let last = stop.wanted.load(Ordering::Acquire);
            status.waits(self.ends.waiting());
            self.drain();
            let at = self.clock.now_ns();
            let flushed = self.writer.flush(at);
            if matches!(flushed, Ok(true)) {
                status.synced(self.clock.now_ns() - at);
            }
            self.tell(flushed.map(drop));
            self.next_segment();
            if at >= room_due {
                status.has_room(self.writer.room());
                room_due = at + ROOM_NS;
            }
            if last {
                let closed = self.writer.close(self.clock.now_ns());
                self.tell(closed);
                return;
            }
            let _ = tokio::time::timeout(LOOK, stop.said.notified()).await;
        }
    }

    /// Begins the next segment where it is time, at a moment at which the stages have a state to begin it with.
    fn next_segment(&mut self) {
        let at = self.clock.now_ns();
        if !self.writer.needs_segment(at) {
            return;
        }
        let states = self.shadow.as_mut().and_then(Shadow::states);
        if states.is_none() && self.shadow.is_some() && !self.writer.is_overfull() {
            return;
        }
        let wall_s = self.wall_s();
        let begun = match &states {
            Some(states) => self.writer.next_segment(&states.named(), wall_s, at),
            None => self.writer.next_segment(&[], wall_s, at),
        };
        self.tell(begun);
    }

    fn wall_s(&self) -> u64 {
        self.clock.wall_ns() / Nanos::SECOND
    }

    /// Once when the disk begins to fail, once when it takes again.
    fn tell(&mut self, result: io::Result<()>) {
        match result {
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(
                    "the journal cannot be written: {error}; what is decided meanwhile cannot be decided again, and \
                     nothing is opened until it can; exits go on"
                );
            }
            Ok(()) if self.failing && !self.writer.status().is_failing() => {
                self.failing = false;
                tracing::info!("the journal is written again");
            }
            _ => {}
        }
    }

    fn drain(&mut self) {
        while let Some(entry) = self.ends.alpha.pop() {
            let kind = alpha_kind(&entry.item);
            if kind == TICK {
                // It was sent before its record.
                let Some(tick) = self.ends.ticks.pop() else { continue };
                records::encode(&*tick, &mut self.buffer);
            } else {
                records::encode(&entry.item, &mut self.buffer);
            }
            self.record(ALPHA, kind, entry.seq, entry.at);
        }
        while let Some(entry) = self.ends.router.pop() {
            records::encode(&entry.item, &mut self.buffer);
            self.record(ROUTER, router_kind(&entry.item), entry.seq, entry.at);
        }
        self.drain_book();
    }

    fn drain_book(&mut self) {
        while let Some(ends) = &mut self.ends.book
            && let Some(entry) = ends.records.pop()
        {
            match &entry.item {
                BookRecord::Frame => {
                    // It was sent before its record.
                    let Some(frame) = ends.frames.recv() else { continue };
                    records::encode_frame(&frame, &mut self.buffer);
                    ends.frames.give_back(frame);
                }
                BookRecord::Snapshot(reply) => records::encode_snapshot(reply, &mut self.buffer),
                BookRecord::Clock(offset) => records::encode(offset, &mut self.buffer),
                BookRecord::Told | BookRecord::Tended => self.buffer.clear(),
            }
            self.record(BOOK, book_kind(&entry.item), entry.seq, entry.at);
        }
    }

    fn record(&mut self, stream: u8, kind: u8, seq: u64, at: u64) {
        self.writer.record(Record { stream, kind, seq, at, payload: &self.buffer });
        if let Some(shadow) = &mut self.shadow
            && let Err(why) = shadow.take(stream, kind, seq, at, &self.buffer)
        {
            tracing::error!("the journal cannot be followed any further in this run: {why}");
            self.shadow = None;
        }
    }
}
