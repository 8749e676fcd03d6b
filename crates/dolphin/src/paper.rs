//! Paper trading: the real market, fills of our own. A venue in this process is fed from the market streams of the real
//! one and keeps the account; the node trades on it as on any venue, over loopback, gateway and all.
//!
//! No order can leave: the connection to the real venue knows no key, only public streams and public REST; a key that is
//! given asks for the account's commissions once and is forgotten. How fills come about stands with `venue::Mirrored`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use binance::decode::{Decoder, Frame};
use binance::hosts::{Hosts, Venue as VenueName};
use binance::key::ApiKey;
use binance::limits::Urgency;
use binance::net::{Change, WsConn};
use binance::rest::{RestClient, RestConfig, RestError};
use binance::sign::Signer;
use book::{BookOutcome, LocalBook};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use market::{Amount, Instrument, Level, MarketEvent, Nanos, SymbolId, TradeKind};
use venue::core::{Commission, Listing};
use venue::{AccountConfig, Mirrored, Venue, VenueConfig, VenueHandle};

use node::config::{Config, Rates};
use node::environment::Environment;
use node::error::Failure;
use node::roles::public_rest;
use node::{connections, preflight};

/// Key of the paper account: it opens nothing but the venue in this process.
const KEY: (&str, &str) = ("paper", "paper-account-of-this-process");
/// Streams of one connection.
const STREAMS: usize = 200;
/// Snapshots fetched at one time.
const SNAPSHOTS_AT_ONCE: usize = 4;
/// A refused snapshot is asked for again after this.
const RETRY: Duration = Duration::from_millis(500);
/// An open connection without data for this long is replaced.
const SILENT_NS: u64 = 5 * Nanos::SECOND;
/// How long the start waits for books and mark prices.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Largest leverage of the paper account.
const MAX_LEVERAGE: u32 = 20;

/// A running paper venue; dropping it stops it.
pub struct Paper {
    venue: Arc<VenueHandle>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Paper {
    /// Starts it on the market of `hosts`; ready (every book in step, every mark known) when this returns.
    pub fn start(
        config: &Config,
        hosts: &Hosts,
        rates: Rates,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let instruments = listed(config, hosts, environment)?;
        let listings = instruments.iter().map(|i| {
            let base = i.symbol.strip_suffix("USDT").unwrap_or(&i.symbol);
            Listing::new(i.clone(), base, "USDT", MAX_LEVERAGE)
        });
        let balance = config.alpha.initial_capital.max(1.0) as i64;
        let venue = Venue::start(VenueConfig {
            mirrored: listings.collect(),
            accounts: vec![AccountConfig::hmac(KEY.0, KEY.1, balance)],
            commission: commission(rates),
            ..VenueConfig::default()
        });
        let venue = Arc::new(venue.map_err(|e| Failure::unavailable(e.to_string()))?);
        let (stop, ready) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let n = instruments.len();
        let mirror = Mirror::new(
            hosts.clone(),
            instruments,
            Arc::clone(&venue),
            Arc::clone(&ready),
            environment.clone(),
        )?;
        let flag = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("mirror".into())
            .spawn(move || mirror.run(&flag))
            .map_err(|e| Failure::unavailable(format!("cannot start the mirror's thread: {e}")))?;
        let paper = Self { venue, stop, thread: Some(thread) };
        let until = Instant::now() + READY_WITHIN;
        while ready.load(Ordering::Acquire) < n {
            if Instant::now() > until {
                return Err(Failure::unavailable(format!(
                    "only {} of {n} symbols have a book and a mark price after {} s: is {} the right host?",
                    ready.load(Ordering::Acquire),
                    READY_WITHIN.as_secs(),
                    hosts.public
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(paper)
    }

    /// Where the node trades.
    pub fn name(&self) -> VenueName {
        VenueName::Local(self.venue.addr().to_string())
    }

    /// The paper account's key.
    pub fn key() -> Result<ApiKey, Failure> {
        ApiKey::hmac(KEY.0, KEY.1).map_err(|e| Failure::usage(e.to_string()))
    }
}

impl Drop for Paper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; the venue ends with the last handle.
            thread.join().ok();
        }
    }
}

/// Rates as a venue takes them.
pub fn commission(rates: Rates) -> Commission {
    let parts = |share: f64| (share * Amount::ONE as f64).round() as i64;
    Commission { maker: parts(rates.maker), taker: parts(rates.taker) }
}

fn signed_rest(key: &ApiKey, hosts: &Hosts, environment: &Environment) -> Result<RestClient, Failure> {
    let signer = Signer::new(key).map_err(|e| Failure::usage(e.to_string()))?;
    let unavailable = |e| preflight::rest_error(&e);
    let transport = environment.surroundings.transport(hosts).map_err(unavailable)?;
    let clock = environment.clock.clone();
    let now = Arc::new(move || Nanos(clock.now_ns()));
    RestClient::new(hosts, Some(signer), RestConfig::default(), transport, now).map_err(unavailable)
}

/// What the account of a key pays on the real venue: the one thing that paper trading asks with a key, before it begins.
pub fn account_rates(
    key: &ApiKey,
    config: &Config,
    hosts: &Hosts,
    environment: &Environment,
) -> Result<Rates, Failure> {
    let rest = signed_rest(key, hosts, environment)?;
    current_thread()?.block_on(async {
        rest.sync_clock(3).await.map_err(|e| preflight::rest_error(&e))?;
        let rate = rest.commission_rate(&config.alpha.reference_symbol).await;
        rate.map(|r| Rates { maker: r.maker, taker: r.taker }).map_err(|e| preflight::rest_error(&e))
    })
}

fn listed(config: &Config, hosts: &Hosts, environment: &Environment) -> Result<Vec<Instrument>, Failure> {
    let runtime = current_thread()?;
    let rest = public_rest(hosts, environment)?;
    runtime.block_on(async {
        rest.sync_clock(1).await.map_err(|e| preflight::rest_error(&e))?;
        Ok(preflight::instruments(config, &rest, None)
            .await
            .map_err(|e| preflight::rest_error(&e))?
            .instruments)
    })
}

/// A runtime on this thread.
pub fn current_thread() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start a runtime: {e}")))
}

struct Line {
    conn: WsConn,
    carries_books: bool,
    heard: u64,
}

/// Follows one symbol.
#[derive(Default)]
struct Followed {
    book: LocalBook,
    asked: bool,
    mirrored: bool,
    marked: bool,
}

/// Public streams in, changes of the paper venue out.
struct Mirror {
    hosts: Hosts,
    environment: Environment,
    instruments: Vec<Instrument>,
    decoder: Decoder,
    lines: Vec<Line>,
    followed: Vec<Followed>,
    wanted: VecDeque<SymbolId>,
    venue: Arc<VenueHandle>,
    ready: Arc<AtomicUsize>,
}

type Fetched = (SymbolId, Result<Vec<u8>, RestError>);

impl Mirror {
    fn new(
        hosts: Hosts,
        instruments: Vec<Instrument>,
        venue: Arc<VenueHandle>,
        ready: Arc<AtomicUsize>,
        environment: Environment,
    ) -> Result<Self, Failure> {
        let mut lines = Vec::new();
        let plans: [(&String, bool, &[&str]); 2] = [
            (&hosts.public, true, &["@depth@100ms"]),
            (&hosts.market, false, &["@aggTrade", "@markPrice@1s"]),
        ];
        for (base, carries_books, kinds) in plans {
            let names = instruments.iter().map(|i| i.symbol.to_lowercase());
            let streams: Vec<String> =
                names.flat_map(|name| kinds.iter().map(move |kind| format!("{name}{kind}"))).collect();
            for chunk in streams.chunks(STREAMS) {
                let url = format!("{}/stream?streams={}", base.trim_end_matches('/'), chunk.join("/"));
                let mut conn = connections::dial(&url, &environment)?;
                conn.open();
                lines.push(Line { conn, carries_books, heard: 0 });
            }
        }
        Ok(Self {
            decoder: Decoder::new(&instruments),
            followed: instruments.iter().map(|_| Followed::default()).collect(),
            environment,
            wanted: VecDeque::new(),
            hosts,
            instruments,
            lines,
            venue,
            ready,
        })
    }

    fn run(mut self, stop: &AtomicBool) {
        let started =
            current_thread().and_then(|rt| Ok((rt, Arc::new(public_rest(&self.hosts, &self.environment)?))));
        match started {
            Ok((runtime, rest)) => runtime.block_on(self.follow(&rest, stop)),
            Err(error) => tracing::error!("mirror: {error}"),
        }
    }

    async fn follow(&mut self, rest: &Arc<RestClient>, stop: &AtomicBool) {
        let mut jobs = FuturesUnordered::new();
        while !stop.load(Ordering::Acquire) {
            self.sockets();
            while jobs.len() < SNAPSHOTS_AT_ONCE
                && let Some(symbol) = self.wanted.pop_front()
            {
                let (rest, name) = (Arc::clone(rest), self.instruments[symbol.index()].symbol.clone());
                jobs.push(async move {
                    let reply = rest.depth(&name, 1000, Urgency::Snapshot).await;
                    if reply.is_err() {
                        tokio::time::sleep(RETRY).await;
                    }
                    (symbol, reply)
                });
            }
            tokio::select! {
                Some(fetched) = jobs.next() => self.snapshot(fetched),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    }

    fn sockets(&mut self) {
        let now = self.environment.clock.now_ns();
        let mut lines = std::mem::take(&mut self.lines);
        for line in &mut lines {
            let activity = line.conn.poll(Nanos(now), &mut |bytes, _, _| self.frame(bytes));
            match activity.change {
                Some(Change::Lost(reason)) => {
                    tracing::warn!(%reason, "mirror: streams lost");
                    if line.carries_books {
                        self.lost();
                    }
                }
                Some(Change::Failed(reason)) => tracing::warn!(%reason, "mirror: streams refused"),
                Some(Change::Opened | Change::Replaced) => line.heard = now,
                None => {}
            }
            if activity.frames > 0 {
                line.heard = now;
            } else if line.conn.is_open() && now.saturating_sub(line.heard) > SILENT_NS {
                line.heard = now;
                line.conn.replace();
            }
        }
        self.lines = lines;
    }

    /// Updates were missed: every book waits for a snapshot; the paper venue keeps what it shows until then.
    fn lost(&mut self) {
        for i in 0..self.followed.len() {
            self.followed[i].book.invalidate();
        }
    }

    fn frame(&mut self, bytes: &[u8]) {
        let Self { decoder, followed, venue, wanted, ready, .. } = self;
        // What cannot be read is left out; for a book its `pu` check finds the hole.
        let Ok(Frame::Market(event)) = decoder.decode(bytes) else { return };
        let symbol = event.symbol();
        let f = &mut followed[symbol.index()];
        match event {
            MarketEvent::Depth(u) => match f.book.on_update(&u) {
                BookOutcome::Applied => venue.mirror(symbol, Mirrored::Levels { bids: u.bids, asks: u.asks }),
                BookOutcome::Old | BookOutcome::OutOfRange => {}
                _ if f.book.needs_snapshot() && !f.asked => {
                    f.asked = true;
                    wanted.push_back(symbol);
                }
                _ => {}
            },
            MarketEvent::Trade(t) if t.kind == TradeKind::Aggregate => {
                venue.mirror(symbol, Mirrored::Trade { aggressor: t.aggressor, px: t.px, qty: t.qty });
            }
            MarketEvent::Mark(m) => {
                let amount = |value: f64| Amount::from_f64(value).unwrap_or_default();
                venue.mirror(
                    symbol,
                    Mirrored::Mark {
                        mark: amount(m.mark),
                        index: amount(m.index),
                        funding_rate: amount(m.funding_rate).0,
                        next_funding: m.next_funding,
                    },
                );
                f.marked = true;
            }
            _ => return,
        }
        ready.store(followed.iter().filter(|f| f.mirrored && f.marked).count(), Ordering::Release);
    }

    fn snapshot(&mut self, (symbol, reply): Fetched) {
        let f = &mut self.followed[symbol.index()];
        f.asked = false;
        let outcome = match reply {
            Ok(body) => match self.decoder.decode_snapshot(symbol, &body) {
                Ok(snapshot) => f.book.on_snapshot(&snapshot),
                Err(error) => {
                    tracing::warn!("mirror: snapshot: {error}");
                    BookOutcome::SnapshotTooOld
                }
            },
            Err(error) => {
                tracing::warn!("mirror: snapshot: {error}");
                BookOutcome::SnapshotTooOld
            }
        };
        if outcome == BookOutcome::Applied {
            let (bids, asks): (Vec<Level>, Vec<Level>) =
                (f.book.book().bids().collect(), f.book.book().asks().collect());
            self.venue.mirror(symbol, Mirrored::Book { bids: &bids, asks: &asks });
            f.mirrored = true;
        } else if f.book.needs_snapshot() {
            f.asked = true;
            self.wanted.push_back(symbol);
        }
    }
}
