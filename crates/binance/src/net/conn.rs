//! A WebSocket connection that is polled: it opens, answers pings, notices when the other side is gone, opens again
//! after a back-off, and before the venue's 24 hours are over it opens its successor first and lets go after.
//!
//! The wake-up of a sleeping thread costs more than everything else on the path, so nothing here sleeps or waits:
//! one call of [`WsConn::poll`] does what can be done now. Rules:
//!
//! 1. At most one attempt a second, back-off doubling to a limit with jitter from a given seed, forgotten only after
//!    a connection held for ten seconds.
//! 2. A half-open socket is found by our own pings: nothing heard for `silence_limit` → closed.
//! 3. Rollover: the successor opens while the old one still delivers; then both deliver for `drain` (duplicates are
//!    told apart by update and trade ids), then the old one is closed.
//! 4. A message above the size limit, or what is not WebSocket, closes the connection.

use std::io;
use std::sync::Arc;

use market::Nanos;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use super::close::CloseReason;
use super::outbox::{Full, Kind, Outbox};
use super::random::Random;
use super::stream::Dialer;
use super::upgrade::{Attempt, Stream};
use crate::hosts::Endpoint;

/// Settings of a connection. Times in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnConfig {
    /// Time for one attempt, from name to open.
    pub connect_timeout: u64,
    /// Between our pings.
    pub ping_interval: u64,
    /// Nothing heard for this long: the connection is dead.
    pub silence_limit: u64,
    /// First back-off (not below one second: the venue bans who connects more often).
    pub min_backoff: u64,
    /// Longest back-off.
    pub max_backoff: u64,
    /// A connection older than this is replaced (the venue closes after 24 h); up to 1/24 earlier by the seed.
    pub max_age: u64,
    /// How long a replaced connection is still read.
    pub drain: u64,
    /// Largest message, bytes.
    pub max_message: usize,
    /// Most frames taken in one poll.
    pub frames_per_poll: u32,
}

impl Default for ConnConfig {
    fn default() -> Self {
        Self {
            connect_timeout: 10 * Nanos::SECOND,
            ping_interval: Nanos::SECOND,
            silence_limit: 3 * Nanos::SECOND,
            min_backoff: Nanos::SECOND,
            max_backoff: 30 * Nanos::SECOND,
            max_age: 23 * 3600 * Nanos::SECOND,
            drain: 2 * Nanos::SECOND,
            max_message: 4 << 20,
            frames_per_poll: 64,
        }
    }
}

/// A connection shorter than this does not make earlier failures forgotten, ns.
const SETTLED: u64 = 10 * Nanos::SECOND;
/// Read buffer: tungstenite clears it on every read, so a large one costs on every empty poll.
const READ_BUFFER: usize = 8 * 1024;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnState {
    /// Not wanted, or waiting for its next attempt.
    Idle,
    /// Resolving or connecting.
    Connecting,
    /// TLS and upgrade.
    Handshake,
    /// Open.
    Open,
}

/// A change that a poll brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The connection is open.
    Opened,
    /// A successor is open and has taken over; the old one is still read for a while.
    Replaced,
    /// The open connection is lost; it is opened again by itself.
    Lost(CloseReason),
    /// An attempt failed; the next follows by itself.
    Failed(CloseReason),
}

/// What a poll did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// Data frames given to the sink.
    pub frames: u32,
    /// Bytes were read: there may be more.
    pub read: bool,
    /// A change of state.
    pub change: Option<Change>,
}

/// A frame could not be sent; nothing of it went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection is not open.
    #[error("the connection is not open")]
    NotOpen,
    /// The socket takes no more: the other side does not read.
    #[error("the other side does not read what is sent to it")]
    Full,
}

struct Live {
    /// For reading; whatever is written goes by the outbox.
    ws: WebSocket<Stream>,
    generation: u32,
    outbox: Outbox,
    opened: Nanos,
    heard: Nanos,
    pinged: Nanos,
    replace_at: Nanos,
    /// The last read brought nothing: no whole frame waits in the buffer.
    drained: bool,
}

/// A polled WebSocket connection; see the module's text.
pub struct WsConn {
    endpoint: Endpoint,
    dialer: Arc<dyn Dialer>,
    config: ConnConfig,
    random: Random,
    live: Option<Live>,
    draining: Option<(Live, Nanos)>,
    attempt: Option<Attempt>,
    /// Connections opened so far.
    generation: u32,
    wanted: bool,
    next_attempt: Nanos,
    failures: u32,
}

impl WsConn {
    /// A connection to `endpoint`, not yet opened. `seed` sets the jitter: give each connection its own.
    pub fn new(endpoint: Endpoint, dialer: Arc<dyn Dialer>, config: ConnConfig, seed: u64) -> Self {
        Self {
            endpoint,
            dialer,
            config,
            random: Random::new(seed),
            live: None,
            draining: None,
            attempt: None,
            generation: 0,
            wanted: true,
            next_attempt: Nanos(0),
            failures: 0,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> ConnState {
        match (&self.live, &self.attempt) {
            (Some(_), _) => ConnState::Open,
            (None, Some(attempt)) if attempt.is_upgrading() => ConnState::Handshake,
            (None, Some(_)) => ConnState::Connecting,
            (None, None) => ConnState::Idle,
        }
    }

    /// Is it open?
    pub fn is_open(&self) -> bool {
        self.live.is_some()
    }

    /// The endpoint, without its path.
    pub fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// When anything was last heard from the other side, pongs included; `None` unless open.
    pub fn last_heard(&self) -> Option<Nanos> {
        self.live.as_ref().map(|l| l.heard)
    }

    /// Uses another path from the next attempt on (a new listen key).
    pub fn set_path(&mut self, path: &str) {
        path.clone_into(&mut self.endpoint.path);
    }

    /// Opens a successor now, by the rules of a rollover.
    pub fn replace(&mut self) {
        if let Some(live) = &mut self.live {
            live.replace_at = Nanos(0);
        }
    }

    /// Closes for good; [`Self::open`] undoes it.
    pub fn close(&mut self) {
        self.wanted = false;
        self.attempt = None;
        for mut live in self.live.take().into_iter().chain(self.draining.take().map(|(l, _)| l)) {
            live.say(Kind::Close, &[]);
        }
    }

    /// Wants the connection (again).
    pub fn open(&mut self) {
        self.wanted = true;
    }

    /// How many connections have been opened so far: the number of the open one, while one is open. What a replaced
    /// connection still delivers carries a smaller number.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Does what can be done now. Each data frame goes to `sink` with `now`, the time it was taken from the socket, and
    /// the [generation](Self::generation) of the connection it came from.
    pub fn poll(&mut self, now: Nanos, sink: &mut impl FnMut(&[u8], Nanos, u32)) -> Activity {
        let mut activity = Activity::default();
        if let Some((old, until)) = &mut self.draining {
            let read = read(old, now, self.config.frames_per_poll, sink, &mut activity);
            if read.is_err() || now >= *until {
                old.say(Kind::Close, &[]);
                self.draining = None;
            }
        }
        if let Some(live) = &mut self.live {
            let alive = read(live, now, self.config.frames_per_poll, sink, &mut activity)
                .and_then(|()| watch(live, now, &self.config));
            if let Err(reason) = alive {
                self.drop_live(now);
                activity.change = Some(Change::Lost(reason));
                return activity;
            }
        }
        if let Some(change) = self.connect(now) {
            activity.change = Some(change);
        }
        activity
    }

    /// Sends a text frame (UTF-8) now. What the socket does not take at once goes out with the next polls.
    #[inline]
    pub fn send(&mut self, frame: &[u8]) -> Result<(), SendError> {
        let live = self.live.as_mut().ok_or(SendError::NotOpen)?;
        live.outbox.push(Kind::Text, frame).map_err(|Full| SendError::Full)?;
        // A broken socket is told by the next poll; whether the frame arrived is not known then.
        let _ = live.flush();
        Ok(())
    }

    /// Drops the open connection without a farewell and sets the next attempt.
    fn drop_live(&mut self, now: Nanos) {
        if let Some(mut live) = self.live.take() {
            live.ws.get_mut().abort();
            if now.since(live.opened).0 >= SETTLED {
                self.failures = 0;
            }
        }
        if self.attempt.is_none() {
            self.back_off(now);
        }
    }

    fn back_off(&mut self, now: Nanos) {
        let base = self.config.min_backoff.max(Nanos::SECOND);
        let full = base.saturating_mul(1 << self.failures.min(20)).min(self.config.max_backoff.max(base));
        self.failures = self.failures.saturating_add(1);
        // Between half and the whole, but never two attempts within a second.
        let wait = full / 2 + self.random.next() % (full / 2 + 1);
        self.next_attempt = now.plus(wait.max(Nanos::SECOND));
    }

    fn connect(&mut self, now: Nanos) -> Option<Change> {
        let due = match &self.live {
            Some(live) => now >= live.replace_at && self.draining.is_none(),
            None => self.wanted,
        };
        if self.attempt.is_none() {
            if !due || now < self.next_attempt {
                return None;
            }
            // Whatever becomes of this attempt, the next is at least a second away.
            self.next_attempt = now.plus(Nanos::SECOND);
            let deadline = now.plus(self.config.connect_timeout);
            let key = u128::from(self.random.next()) << 64 | u128::from(self.random.next());
            let (dialer, key) = (Arc::clone(&self.dialer), key.to_be_bytes());
            match Attempt::start(&self.endpoint, &*dialer, self.ws_config(), key, deadline) {
                Ok(attempt) => self.attempt = Some(attempt),
                Err(reason) => return Some(self.attempt_failed(reason, now)),
            }
        }
        match self.attempt.as_mut()?.poll(now) {
            Ok(None) => None,
            Ok(Some(ws)) => Some(self.opened(ws, now)),
            Err(reason) => Some(self.attempt_failed(reason, now)),
        }
    }

    fn attempt_failed(&mut self, reason: CloseReason, now: Nanos) -> Change {
        self.attempt = None;
        self.back_off(now);
        Change::Failed(reason)
    }

    fn opened(&mut self, mut ws: WebSocket<Stream>, now: Nanos) -> Change {
        ws.get_mut().upgraded();
        self.attempt = None;
        let early = self.random.next() % (self.config.max_age / 24 + 1);
        let replace_at = now.plus(self.config.max_age - early);
        self.generation += 1;
        let generation = self.generation;
        let (outbox, drained) = (Outbox::new(self.random.next()), false);
        let fresh =
            Live { ws, generation, outbox, opened: now, heard: now, pinged: now, replace_at, drained };
        match self.live.replace(fresh) {
            Some(old) => {
                self.draining = Some((old, now.plus(self.config.drain)));
                Change::Replaced
            }
            None => Change::Opened,
        }
    }

    fn ws_config(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(256 * 1024)
            .max_message_size(Some(self.config.max_message))
            .max_frame_size(Some(self.config.max_message))
    }
}

impl Live {
    /// Writes what waits, as far as the socket takes it.
    #[inline]
    fn flush(&mut self) -> Result<(), Error> {
        self.outbox.flush(self.ws.get_mut().inner())
    }

    /// Sends a control frame now or with the next polls; where too much waits already it is left out.
    fn say(&mut self, kind: Kind, payload: &[u8]) {
        let _ = self.outbox.push(kind, payload);
        // A broken socket is told by the next read.
        let _ = self.flush();
    }
}

/// Takes the frames that one read of the socket brings, and those left over from the last.
fn read(
    live: &mut Live,
    now: Nanos,
    limit: u32,
    sink: &mut impl FnMut(&[u8], Nanos, u32),
    activity: &mut Activity,
) -> Result<(), CloseReason> {
    live.ws.get_mut().allow(1);
    let result = frames(live, now, limit, sink, &mut activity.frames);
    if live.ws.get_ref().reads_left() == 0 {
        // A part of a message is a sign of life, too.
        live.heard = now;
        activity.read = true;
    }
    result
}

fn frames(
    live: &mut Live,
    now: Nanos,
    limit: u32,
    sink: &mut impl FnMut(&[u8], Nanos, u32),
    frames: &mut u32,
) -> Result<(), CloseReason> {
    live.flush().map_err(reason)?;
    if std::mem::take(&mut live.drained) && !live.ws.get_mut().may_bring() {
        live.drained = true;
        return Ok(());
    }
    for _ in 0..limit {
        match live.ws.read() {
            Ok(Message::Text(text)) => {
                live.heard = now;
                *frames += 1;
                sink(text.as_bytes(), now, live.generation);
            }
            Ok(Message::Binary(bytes)) => {
                live.heard = now;
                *frames += 1;
                sink(&bytes, now, live.generation);
            }
            Ok(Message::Close(frame)) => {
                // Answered by its own code, or without one.
                let code = frame.as_ref().map(|f| u16::from(f.code).to_be_bytes());
                live.say(Kind::Close, code.as_ref().map_or(&[], |code| code.as_slice()));
                let (code, text) =
                    frame.map_or((1006, String::new()), |f| (f.code.into(), f.reason.to_string()));
                return Err(CloseReason::Closed { code, text });
            }
            Ok(Message::Ping(payload)) => {
                live.heard = now;
                live.say(Kind::Pong, &payload);
            }
            Ok(_) => live.heard = now,
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                live.drained = true;
                break;
            }
            Err(e) => return Err(reason(e)),
        }
    }
    Ok(())
}

/// Pings, and notices silence. Called after reading, so that what waited in the socket counts as heard even after
/// the program itself stood still.
fn watch(live: &mut Live, now: Nanos, config: &ConnConfig) -> Result<(), CloseReason> {
    let silent = now.since(live.heard);
    if silent.0 >= config.silence_limit {
        return Err(CloseReason::Silent { silent });
    }
    if now.since(live.pinged).0 >= config.ping_interval && live.outbox.is_empty() {
        live.pinged = now;
        live.say(Kind::Ping, b"dlp");
    }
    Ok(())
}

fn reason(error: Error) -> CloseReason {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => {
            CloseReason::Closed { code: 1006, text: String::new() }
        }
        Error::Io(e) => CloseReason::Io(e.kind()),
        other => CloseReason::Protocol(other.to_string()),
    }
}
