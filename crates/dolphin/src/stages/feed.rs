//! Sockets to frames: the market connections, polled.
//!
//! A frame is copied once, into a box of the conveyor, and stamped. Decoding belongs to the book stage: a layout with
//! more cores reads the sockets on one and decodes on another.

use binance::net::{Change, WsConn};
use market::Nanos;
use runtime::conveyor::Loader;
use runtime::ring::Tx;
use runtime::stage::{Stage, Work};

/// What a box holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FrameKind {
    /// A market frame.
    #[default]
    Market,
    /// No bytes: a connection that carries books was lost, so updates were missed.
    PublicLost,
}

/// A frame as received.
#[derive(Debug, Default)]
pub struct Frame {
    /// Payload.
    pub bytes: Vec<u8>,
    /// When it was taken from the socket (monotonic).
    pub recv_ns: u64,
    /// What it is.
    pub kind: FrameKind,
}

/// A market connection.
pub struct Route {
    /// For people: `public`, `market`.
    pub name: &'static str,
    /// Does it carry books?
    pub carries_books: bool,
    /// The connection, its streams in its path.
    pub conn: WsConn,
}

/// What the feed tells the control thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedNews {
    /// Frames so far.
    Frames(u64),
    /// This connection is open and has been without data for [`SILENT`].
    Silent(&'static str),
}

/// An open connection without data for this long is worth a word.
const SILENT: u64 = 5 * Nanos::SECOND;

/// The stage.
pub struct FeedStage {
    routes: Vec<Watched>,
    feed_to_book: Loader<Frame>,
    feed_to_control: Tx<FeedNews>,
    frames: u64,
    told_at: u64,
    /// A loss that found no empty box, to be told as soon as there is one.
    lost_pending: bool,
}

struct Watched {
    route: Route,
    last_data: u64,
    silent: bool,
}

impl FeedStage {
    /// Over these connections.
    pub fn new(routes: Vec<Route>, feed_to_book: Loader<Frame>, feed_to_control: Tx<FeedNews>) -> Self {
        let routes = routes.into_iter().map(|route| Watched { route, last_data: 0, silent: false }).collect();
        Self { routes, feed_to_book, feed_to_control, frames: 0, told_at: 0, lost_pending: false }
    }

    fn tell_lost(&mut self, now_ns: u64) {
        if let Some(mut lost) = self.feed_to_book.acquire() {
            lost.bytes.clear();
            lost.recv_ns = now_ns;
            lost.kind = FrameKind::PublicLost;
            self.feed_to_book.send(lost);
            self.lost_pending = false;
        }
    }
}

impl Stage for FeedStage {
    fn name(&self) -> &'static str {
        "feed"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        let mut did = false;
        for w in &mut self.routes {
            let Self { feed_to_book, frames, .. } = self;
            let activity = w.route.conn.poll(Nanos(now_ns), &mut |bytes, at| {
                *frames += 1;
                // No empty box: the book is behind. The frame is given up; its `pu` check will find the gap.
                if let Some(mut frame) = feed_to_book.acquire() {
                    frame.bytes.clear();
                    frame.bytes.extend_from_slice(bytes);
                    frame.recv_ns = at.0;
                    frame.kind = FrameKind::Market;
                    feed_to_book.send(frame);
                }
            });
            match activity.change {
                Some(Change::Lost(reason)) => {
                    tracing::warn!(%reason, "{} streams lost", w.route.name);
                    self.lost_pending |= w.route.carries_books;
                }
                Some(Change::Failed(reason)) => tracing::warn!(%reason, "{} streams refused", w.route.name),
                Some(Change::Opened | Change::Replaced) => w.last_data = now_ns,
                None => {}
            }
            if activity.frames > 0 {
                w.last_data = now_ns;
                w.silent = false;
                did = true;
            } else if !w.silent && w.route.conn.is_open() && now_ns.saturating_sub(w.last_data) > SILENT {
                w.silent = true;
                w.route.conn.replace();
                let _ = self.feed_to_control.push(FeedNews::Silent(w.route.name));
            }
        }
        if self.lost_pending {
            self.tell_lost(now_ns);
        }
        if now_ns.saturating_sub(self.told_at) > 500 * Nanos::MS {
            self.told_at = now_ns;
            let _ = self.feed_to_control.push(FeedNews::Frames(self.frames));
        }
        Work::from(did)
    }
}
