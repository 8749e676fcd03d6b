//! Sockets to frames: the market connections, polled.
//!
//! A frame is copied once, into a box of the conveyor, and stamped. Decoding belongs to the book stage: a layout with
//! more cores reads the sockets on one and decodes on another. What a connection carries is known there too
//! ([`super::streams`]); from there come the subscriptions to send and the word that a connection wants a successor.

use std::collections::VecDeque;

use binance::net::{Change, WsConn};
use market::Nanos;
use runtime::conveyor::{Loader, Unloader};
use runtime::ring::Tx;
use runtime::stage::{Stage, Work};
use serde::{Deserialize, Serialize};

/// What a box holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FrameKind {
    /// A market frame.
    #[default]
    Market,
    /// No bytes: the connection is open, nothing is subscribed on it.
    Opened,
    /// No bytes: a successor has taken over, nothing is subscribed on it; the old one is still read for a while.
    Replaced,
    /// No bytes: the connection was lost, so updates were missed.
    Lost,
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
    /// On which connection, by its place in the plan.
    pub route: u8,
    /// Which of that connection's lives: what a replaced one still delivers has a smaller number.
    pub generation: u32,
}

/// A market connection.
pub struct Route {
    /// For people: `public`, `market`, `market-2`.
    pub name: String,
    /// Where it connects, for people.
    pub url: String,
    /// The connection; its streams are subscribed once it is open.
    pub conn: WsConn,
    /// When its newest frame came, 0: none has.
    pub heard_at: u64,
}

/// What is wanted of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeedAction {
    /// Send this text.
    #[default]
    Send,
    /// Open a successor, then let go.
    Replace,
}

/// A command to a connection.
#[derive(Debug, Default)]
pub struct FeedCommand {
    /// Which one.
    pub route: u8,
    /// Which of that connection's lives is meant.
    pub generation: u32,
    /// What.
    pub action: FeedAction,
    /// The text to send.
    pub bytes: Vec<u8>,
}

/// What the feed tells the control thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedNews {
    /// Counters, twice a second.
    Counters(FeedCounters),
    /// The newest frame of a connection came at this time (monotonic); as often.
    Heard {
        /// Which one.
        route: u8,
        /// When.
        at: u64,
    },
    /// A connection changed.
    Changed {
        /// Which one.
        route: u8,
        /// How.
        change: Change,
    },
}

/// What passed through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct FeedCounters {
    /// Frames taken from the sockets.
    pub frames: u64,
    /// Frames given up because the book stage was behind: its `pu` check finds the gap.
    pub dropped_frames: u64,
}

/// What a box has room for after its first frame, bytes.
const LEAST_ROOM: usize = 8 * 1024;

/// The stage.
pub struct FeedStage {
    routes: Vec<Route>,
    feed_to_book: Loader<Frame>,
    book_to_feed: Unloader<FeedCommand>,
    feed_to_control: Tx<FeedNews>,
    counters: FeedCounters,
    told_at: u64,
    /// Changes that found no empty box; they are told before anything else.
    untold: VecDeque<(u8, u32, FrameKind)>,
}

impl FeedStage {
    /// Over these connections.
    pub fn new(
        routes: Vec<Route>,
        feed_to_book: Loader<Frame>,
        book_to_feed: Unloader<FeedCommand>,
        feed_to_control: Tx<FeedNews>,
    ) -> Self {
        let untold = VecDeque::with_capacity(4 * routes.len());
        Self {
            routes,
            feed_to_book,
            book_to_feed,
            feed_to_control,
            counters: FeedCounters::default(),
            told_at: 0,
            untold,
        }
    }

    fn obey(&mut self) -> bool {
        let mut did = false;
        while let Some(command) = self.book_to_feed.recv() {
            // Meant for a connection that a successor has replaced: its streams are asked for anew there.
            let route = self.routes.get_mut(usize::from(command.route));
            if let Some(route) = route.filter(|r| r.conn.generation() == command.generation) {
                match command.action {
                    // One that cannot be sent is missed as data, and asked for again.
                    FeedAction::Send => drop(route.conn.send(&command.bytes)),
                    FeedAction::Replace => route.conn.replace(),
                }
            }
            self.book_to_feed.give_back(command);
            did = true;
        }
        did
    }

    fn read(&mut self, route: u8, now_ns: u64) -> bool {
        let Self { routes, feed_to_book, counters, .. } = self;
        let Route { conn, heard_at, .. } = &mut routes[usize::from(route)];
        let activity = conn.poll(Nanos(now_ns), &mut |bytes, at, generation| {
            counters.frames += 1;
            *heard_at = at.0;
            // No empty box: the book is behind. The frame is given up; its `pu` check will find the gap.
            let Some(mut frame) = feed_to_book.acquire() else {
                counters.dropped_frames += 1;
                return;
            };
            frame.bytes.clear();
            // In large steps: a box that grew with every frame that is a little longer would be allocated anew for hours.
            if frame.bytes.capacity() < bytes.len() {
                frame.bytes.reserve(bytes.len().next_power_of_two().max(LEAST_ROOM));
            }
            frame.bytes.extend_from_slice(bytes);
            (frame.recv_ns, frame.kind) = (at.0, FrameKind::Market);
            (frame.route, frame.generation) = (route, generation);
            feed_to_book.send(frame);
        });
        let did = activity.read || activity.frames > 0 || activity.change.is_some();
        if let Some(change) = activity.change {
            let kind = match &change {
                Change::Opened => Some(FrameKind::Opened),
                Change::Replaced => Some(FrameKind::Replaced),
                Change::Lost(_) => Some(FrameKind::Lost),
                Change::Failed(_) => None,
            };
            let generation = self.routes[usize::from(route)].conn.generation();
            self.untold.extend(kind.map(|kind| (route, generation, kind)));
            let _ = self.feed_to_control.push(FeedNews::Changed { route, change });
        }
        did
    }

    fn tell_changes(&mut self, now_ns: u64) {
        while let Some(&(route, generation, kind)) = self.untold.front() {
            let Some(mut frame) = self.feed_to_book.acquire() else { break };
            frame.bytes.clear();
            (frame.recv_ns, frame.kind) = (now_ns, kind);
            (frame.route, frame.generation) = (route, generation);
            self.feed_to_book.send(frame);
            self.untold.pop_front();
        }
    }
}

impl Stage for FeedStage {
    fn name(&self) -> &'static str {
        "feed"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        let mut did = self.obey();
        for route in 0..self.routes.len() {
            did |= self.read(route as u8, now_ns);
            self.tell_changes(now_ns);
        }
        Work::from(did)
    }

    fn housekeep(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.told_at) > 500 * Nanos::MS {
            self.told_at = now_ns;
            let _ = self.feed_to_control.push(FeedNews::Counters(self.counters));
            for (route, r) in self.routes.iter().enumerate().filter(|(_, r)| r.heard_at > 0) {
                let _ = self.feed_to_control.push(FeedNews::Heard { route: route as u8, at: r.heard_at });
            }
        }
    }
}
