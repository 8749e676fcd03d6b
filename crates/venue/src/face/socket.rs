//! A WebSocket over a byte stream that never waits: upgrade request, frames, pings, slow readers, cuts.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;

use market::Nanos;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::call::HttpReply;
use super::connection::{Beat, Live, MAX_MESSAGE, Refusal, upgrade};
use super::hub::{Fetched, Outgoing};
use super::stream::ByteStream;
use super::world::World;
use crate::faults::Ending;

/// Longest upgrade request.
const MAX_HEAD: usize = 16 * 1024;
/// Read at a time.
const CHUNK: usize = 4096;

/// Is a socket still of use?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Over,
}

type Stream = Box<dyn ByteStream>;

/// A stream that is asked for bytes before anybody reads them: most of the time there are none.
struct Ahead {
    stream: Stream,
    buf: Box<[u8; CHUNK]>,
    /// What of the buffer was read ahead and not handed out.
    held: std::ops::Range<usize>,
}

impl Ahead {
    fn new(stream: Stream) -> Self {
        Self { stream, buf: Box::new([0; CHUNK]), held: 0..0 }
    }

    /// Is there anything to read, be it an end or an error?
    fn has_some(&mut self) -> bool {
        if self.held.is_empty() {
            match self.stream.read(&mut self.buf[..]) {
                Ok(n) if n > 0 => self.held = 0..n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
                // The reader meets it again.
                _ => {}
            }
        }
        true
    }
}

impl Read for Ahead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            return self.stream.read(out);
        }
        let n = out.len().min(self.held.len());
        out[..n].copy_from_slice(&self.buf[self.held.start..self.held.start + n]);
        self.held.start += n;
        Ok(n)
    }
}

impl Write for Ahead {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// How far a connection has come.
enum Stage {
    /// The upgrade request is being read.
    Head(Stream, Vec<u8>),
    /// A reply is being written; then comes the upgrade, or the end.
    Reply(Stream, Vec<u8>, Option<Box<Live>>),
    /// Frames go both ways.
    Open(Box<WebSocket<Ahead>>, Box<Live>),
    /// Nothing is answered; it ends when the other end does.
    Ignored(Stream),
    /// The network is dead.
    Silent(Stream),
    /// It is over.
    Over,
}

/// A connection.
pub(crate) struct Socket {
    stage: Stage,
    ip: IpAddr,
    /// The stream may not have taken all that was written.
    blocked: bool,
}

/// Did the stream take what was written? An error where it is broken.
fn taken(written: tungstenite::Result<()>) -> Result<bool, Broken> {
    match written {
        Ok(()) => Ok(true),
        Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(_) => Err(Broken),
    }
}

/// The stream is broken.
struct Broken;

/// What reading a stream to its present end came to.
enum Got {
    Bytes,
    Nothing,
    End,
}

fn read_into(stream: &mut Stream, buf: &mut Vec<u8>) -> Got {
    let mut got = Got::Nothing;
    let mut chunk = [0; CHUNK];
    while buf.len() <= MAX_HEAD {
        match stream.read(&mut chunk) {
            Ok(0) => return Got::End,
            Ok(n) => {
                buf.extend_from_slice(&chunk[..n]);
                got = Got::Bytes;
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Got::End,
        }
    }
    got
}

impl Socket {
    pub(crate) fn new(stream: Stream, ip: IpAddr, ignored: bool) -> Self {
        let stage = if ignored { Stage::Ignored(stream) } else { Stage::Head(stream, Vec::new()) };
        Self { stage, ip, blocked: false }
    }

    /// Resets the connection.
    pub(crate) fn reset(&mut self) {
        match &mut self.stage {
            Stage::Head(s, _) | Stage::Reply(s, ..) | Stage::Ignored(s) | Stage::Silent(s) => s.reset(),
            Stage::Open(ws, _) => ws.get_mut().stream.reset(),
            Stage::Over => {}
        }
        self.stage = Stage::Over;
    }

    /// When something is due without bytes coming in.
    pub(crate) fn due(&self) -> Nanos {
        match &self.stage {
            Stage::Open(_, live) => live.due(),
            _ => Nanos(u64::MAX),
        }
    }

    /// Reads what is there and does it; was there anything?
    pub(crate) fn read(&mut self, w: &mut World, now: Nanos) -> bool {
        match &mut self.stage {
            Stage::Head(stream, head) => match read_into(stream, head) {
                Got::Nothing => false,
                Got::End => {
                    self.stage = Stage::Over;
                    true
                }
                Got::Bytes => {
                    self.judge_head(w, now);
                    true
                }
            },
            Stage::Open(ws, live) => {
                let mut any = false;
                if !ws.get_mut().has_some() {
                    return false;
                }
                // Reading may have made a reply.
                self.blocked = true;
                while w.hub.cut(live.id).is_none() {
                    match ws.read() {
                        Ok(Message::Text(text)) => live.text(w, &text, now),
                        Ok(Message::Pong(_)) => live.pong(now),
                        Ok(_) => {}
                        Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => return any,
                        Err(_) => {
                            w.hub.close(live.id);
                            self.stage = Stage::Over;
                            return true;
                        }
                    }
                    any = true;
                }
                true
            }
            Stage::Ignored(stream) => {
                if matches!(read_into(stream, &mut Vec::new()), Got::End) {
                    self.stage = Stage::Over;
                }
                false
            }
            Stage::Reply(..) | Stage::Silent(_) | Stage::Over => false,
        }
    }

    fn judge_head(&mut self, w: &mut World, now: Nanos) {
        let Stage::Head(stream, head) = std::mem::replace(&mut self.stage, Stage::Over) else { return };
        let (reply, live) = match Request::try_parse(&head) {
            Ok(None) if head.len() <= MAX_HEAD => {
                self.stage = Stage::Head(stream, head);
                return;
            }
            // A client sends nothing before the reply has come.
            Ok(Some((size, request))) if size == head.len() => self.answer(w, &request, now),
            _ => (HttpReply::empty(400).into_bytes(), None),
        };
        self.stage = Stage::Reply(stream, reply, live.map(Box::new));
    }

    fn answer(&self, w: &mut World, request: &Request, now: Nanos) -> (Vec<u8>, Option<Live>) {
        let Ok(response) = create_response(request) else {
            return (HttpReply::empty(400).into_bytes(), None);
        };
        let uri = request.uri();
        match upgrade(w, uri.path(), uri.query().unwrap_or_default(), self.ip, now) {
            Ok(purpose) => {
                let mut bytes = Vec::new();
                // A vector takes everything.
                write_response(&mut bytes, &response).ok();
                (bytes, Some(Live::open(w, purpose, self.ip, None, now)))
            }
            Err(Refusal::Page(status)) => (HttpReply::page(status).into_bytes(), None),
            Err(Refusal::Status(status)) => (HttpReply::empty(status).into_bytes(), None),
        }
    }

    /// Sends what waits.
    pub(crate) fn write(&mut self, w: &mut World, now: Nanos) -> State {
        if let Stage::Reply(..) = self.stage {
            self.write_reply(w);
        }
        if let Stage::Open(..) = self.stage {
            self.write_frames(w, now);
        }
        if matches!(self.stage, Stage::Over) { State::Over } else { State::Open }
    }

    fn write_reply(&mut self, w: &mut World) {
        let Stage::Reply(mut stream, mut bytes, live) = std::mem::replace(&mut self.stage, Stage::Over)
        else {
            return;
        };
        while !bytes.is_empty() {
            match stream.write(&bytes) {
                Ok(n) if n > 0 => drop(bytes.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.stage = Stage::Reply(stream, bytes, live);
                    return;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                _ => {
                    live.iter().for_each(|l| w.hub.close(l.id));
                    return;
                }
            }
        }
        stream.flush().ok();
        if let Some(live) = live {
            let config = WebSocketConfig::default()
                .read_buffer_size(CHUNK)
                .max_message_size(Some(MAX_MESSAGE))
                .max_frame_size(Some(MAX_MESSAGE));
            let ws = WebSocket::from_raw_socket(Ahead::new(stream), Role::Server, Some(config));
            self.stage = Stage::Open(Box::new(ws), live);
        }
    }

    /// Sends the frames that wait in the hub, as far as the stream takes them.
    fn write_frames(&mut self, w: &mut World, now: Nanos) {
        let Stage::Open(ws, live) = &mut self.stage else { return };
        let how = match push_frames(ws, live, &mut self.blocked, w, now) {
            Ok(None) => return,
            Ok(Some(how)) => how,
            Err(Broken) => Ending::Close,
        };
        w.hub.close(live.id);
        let Stage::Open(mut ws, _) = std::mem::replace(&mut self.stage, Stage::Over) else { return };
        match how {
            Ending::Close => {}
            Ending::Reset => ws.get_mut().stream.reset(),
            Ending::Silence => {
                ws.get_mut().stream.silence();
                self.stage = Stage::Silent(ws.into_inner().stream);
            }
        }
    }
}

/// Writes until nothing waits or the stream is full; how the connection ends, where it does.
fn push_frames(
    ws: &mut WebSocket<Ahead>,
    live: &mut Live,
    blocked: &mut bool,
    w: &mut World,
    now: Nanos,
) -> Result<Option<Ending>, Broken> {
    if let Some(how) = w.hub.cut(live.id) {
        return Ok(Some(how));
    }
    let mut unflushed = *blocked;
    match live.beat(now) {
        Beat::None => {}
        Beat::Over => return Ok(Some(Ending::Close)),
        Beat::Ping(payload) => {
            unflushed = true;
            *blocked |= !taken(ws.write(Message::Ping(payload.into())))?;
        }
    }
    loop {
        let mut over = None;
        while !*blocked && over.is_none() {
            let message = match w.hub.fetch(live.id) {
                Fetched::Frame(Outgoing::Text(text)) => Message::Text(text),
                Fetched::Frame(Outgoing::Close(code, reason)) => {
                    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
                }
                Fetched::Nothing => break,
                Fetched::Ended(how) => {
                    over = Some(how);
                    break;
                }
            };
            unflushed = true;
            *blocked = !taken(ws.write(message))?;
        }
        if !unflushed {
            return Ok(over);
        }
        *blocked = !taken(ws.flush())?;
        if *blocked {
            return Ok(None);
        }
        if over.is_some() {
            return Ok(over);
        }
        unflushed = false;
    }
}
