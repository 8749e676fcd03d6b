//! The venue's thread: plays the schedule, answers requests, reads and writes the connections, and never sleeps.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use binance::rest::{HttpFailure, HttpResponse, TransportKind};
use market::Nanos;
use runtime::clock::Clock;
use runtime::latency::histogram;
use tokio::sync::oneshot;
use venue::{AccountConfig, Answer, ByteStream, HttpRequest, PolledVenue, RequestId, Rules, VenueConfig};

use crate::environment::{HERE, ToVenue};
use crate::market::Source;
use crate::pipe::End;
use crate::schedule::{Schedule, listings};
use crate::stamped::{Rooms, Shared, Stamped};

/// Key of the account at the bench's venue; it opens nothing else.
pub const KEY: (&str, &str) = ("bench", "bench-secret-of-the-local-venue");
/// Nothing due within this: the core is offered to others, ns.
const NOTHING_SOON: u64 = 20_000;
/// Most changes played before the connections get a turn.
const BURST: usize = 64;

/// What the venue's thread is to do.
pub struct Plan {
    /// The market.
    pub source: Arc<Source>,
    /// Symbols.
    pub symbols: usize,
    /// Thousandths of the recorded speed.
    pub rate: u64,
    /// How much is kept of its ends.
    pub rooms: Rooms,
    /// With `--wire`.
    pub listener: Option<TcpListener>,
    /// Core to run on.
    pub core: Option<usize>,
}

/// What the venue's thread has to say when it ends.
#[derive(Debug, Default)]
pub struct Played {
    /// The logs of the venue's ends.
    pub logs: Vec<Shared>,
    /// Changes played.
    pub changes: u64,
    /// How late changes were played: percentiles of ns. What the venue itself could not keep.
    pub late: Option<runtime::latency::HopSummary>,
    /// Changes a second at the patterns' own speed.
    pub per_second: f64,
    /// What the venue counted.
    pub counters: venue::Counters,
}

struct VenueEnd<S>(Stamped<S>);

impl<S: Read> Read for VenueEnd<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl<S: Write> Write for VenueEnd<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl ByteStream for VenueEnd<End> {
    fn reset(&mut self) {
        self.0.inner.close();
    }

    fn silence(&mut self) {
        self.0.inner.close();
    }
}

impl ByteStream for VenueEnd<TcpStream> {
    fn reset(&mut self) {
        // It may be gone already.
        let _ = self.0.inner.shutdown(Shutdown::Both);
    }

    fn silence(&mut self) {
        self.reset();
    }
}

type Answers = Vec<(RequestId, oneshot::Sender<Result<HttpResponse, HttpFailure>>)>;

struct Running<'a> {
    venue: PolledVenue,
    clock: Clock,
    plan: &'a Plan,
    inbox: Receiver<ToVenue>,
    waiting: Answers,
    logs: Vec<Shared>,
    intended: Arc<AtomicU64>,
}

impl Running<'_> {
    fn accept(&mut self, now: Nanos) -> bool {
        let Some(listener) = &self.plan.listener else { return false };
        let Ok((stream, _)) = listener.accept() else { return false };
        if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
            return false;
        }
        let (clock, intended) = (self.clock.clone(), Arc::clone(&self.intended));
        let (stamped, log) = Stamped::venue(stream, self.plan.rooms, clock, intended);
        self.logs.push(log);
        self.venue.accept(Box::new(VenueEnd(stamped)), HERE, now);
        true
    }

    fn inbox(&mut self, now: Nanos) -> bool {
        let mut did = false;
        while let Ok(message) = self.inbox.try_recv() {
            did = true;
            match message {
                ToVenue::Connect(end) => {
                    let (clock, intended) = (self.clock.clone(), Arc::clone(&self.intended));
                    let (stamped, log) = Stamped::venue(end, self.plan.rooms, clock, intended);
                    self.logs.push(log);
                    self.venue.accept(Box::new(VenueEnd(stamped)), HERE, now);
                }
                ToVenue::Request(r, answer) => {
                    let request = HttpRequest {
                        method: r.method.to_owned(),
                        path: r.path.to_owned(),
                        query: r.query,
                        body: String::new(),
                        api_key: r.api_key,
                        ip: HERE,
                    };
                    let id = self.venue.request(request, now);
                    self.waiting.push((id, answer));
                }
            }
        }
        did
    }

    fn answers(&mut self, now: Nanos) {
        if self.waiting.is_empty() {
            return;
        }
        for (id, answer) in self.venue.take_answers(now) {
            if let Some(at) = self.waiting.iter().position(|(waits, _)| *waits == id) {
                // Who asked may have given up.
                let _ = self.waiting.swap_remove(at).1.send(response(answer));
            }
        }
    }
}

fn response(answer: Answer) -> Result<HttpResponse, HttpFailure> {
    match answer {
        Answer::Lost => Err(HttpFailure::Transport(TransportKind::Broken, "connection reset".to_owned())),
        Answer::Reply(reply) => Ok(HttpResponse {
            status: reply.status,
            headers: reply.headers.into_iter().map(|(n, v)| (n.to_lowercase(), v)).collect(),
            body: reply.body.into_bytes(),
        }),
    }
}

/// Runs until `stop`.
pub fn run(
    plan: &Plan,
    clock: &Clock,
    inbox: Receiver<ToVenue>,
    stop: &AtomicBool,
) -> Result<Played, String> {
    // A core that is refused shows in how late the schedule is played.
    plan.core.map(runtime::worker::pin);
    let config = VenueConfig {
        mirrored: listings(&plan.source, plan.symbols),
        depth_at_once: true,
        accounts: vec![AccountConfig::hmac(KEY.0, KEY.1, 100_000)],
        // A bench asks for 400 snapshots at its start, and waits for none of the venue's minutes.
        rules: Rules { weight_per_minute: 1_000_000, ..Rules::default() },
        ..VenueConfig::default()
    };
    let venue = PolledVenue::new(config, Nanos(clock.now_ns())).map_err(|e| e.to_string())?;
    let (waiting, logs, intended) = (Vec::new(), Vec::new(), Arc::new(AtomicU64::new(0)));
    let mut running = Running { venue, clock: clock.clone(), plan, inbox, waiting, logs, intended };
    let mut schedule = Schedule::new(&plan.source, plan.symbols, plan.rate, clock.now_ns());
    schedule.open(&mut running.venue, clock.now_ns());
    let (mut late, mut changes) = (histogram(), 0);
    let mut pass = 0u32;
    while !stop.load(Ordering::Acquire) {
        for _ in 0..BURST {
            let (now, due) = (clock.now_ns(), schedule.next_due());
            if due > now {
                break;
            }
            running.intended.store(due, Ordering::Relaxed);
            schedule.play(&mut running.venue, now);
            running.venue.poll(Nanos(clock.now_ns()));
            running.intended.store(0, Ordering::Relaxed);
            late.saturating_record((now - due).max(1));
            changes += 1;
        }
        let now = clock.now_ns();
        // New connections and requests are rare: looked for now and then, a system call or a lock each.
        pass = pass.wrapping_add(1);
        if pass.is_multiple_of(64) {
            running.accept(Nanos(now));
        }
        running.inbox(Nanos(now));
        running.venue.poll(Nanos(now));
        running.answers(Nanos(now));
        if schedule.next_due() > clock.now_ns() + NOTHING_SOON {
            std::thread::yield_now();
        }
    }
    Ok(Played {
        logs: running.logs,
        changes,
        late: runtime::latency::summarise(&late),
        per_second: schedule.per_second(),
        counters: running.venue.counters(),
    })
}

/// A listener on any free port of the loopback, that never waits.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
