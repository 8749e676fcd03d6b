//! The ways of orders, put together from three sources: what the node's stages stamped ([`Timeline`]), what its
//! streams stamped, and what the venue's streams stamped. A frame is found at the other end by its byte offset, an order by
//! its client order id, the frame that made a tick due by its event time.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use market::{Nanos, OrderRequest};
use node::stages::{Cause, Timeline};
use runtime::latency::histogram;

use crate::environment::Link;
use crate::run::{Both, Raw};
use crate::stamped::{FrameMark, symbol};

/// The steps of a way, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Should have been written → the venue began to write.
    VenueLate,
    /// The venue began to write → the node's read returned.
    KernelRead,
    /// Read by the node → taken by the book stage: WebSocket frame, copy, wait.
    Frame,
    /// Frame → event.
    Decode,
    /// Features of all symbols.
    Prepare,
    /// Masks, mids and features into the tick.
    Book,
    /// Wait before the scanner.
    WaitScan,
    /// Four eigen windows.
    Scan,
    /// Wait before the engine.
    WaitDecide,
    /// The engine.
    Decide,
    /// Wait before the router.
    WaitRoute,
    /// Router and pre-trade risk.
    Route,
    /// Wait before the gateway.
    WaitEncode,
    /// Encoding, signing, framing.
    Encode,
    /// The write to the socket.
    Write,
    /// On the wire, until the venue's read returned.
    WireOut,
    /// From the read of what it came of to the router's hand, where a report or a quote led to it.
    ToRouter,
    /// The venue's read returned → the node has its first word.
    Acknowledge,
}

impl Step {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VenueLate => "venue late",
            Self::KernelRead => "kernel→read",
            Self::Frame => "frame",
            Self::Decode => "decode",
            Self::Prepare => "prepare",
            Self::Book => "book",
            Self::WaitScan => "wait: book→scanner",
            Self::Scan => "decide: scan",
            Self::WaitDecide => "wait: scanner→engine",
            Self::Decide => "decide: engine",
            Self::WaitRoute => "wait: engine→router",
            Self::Route => "risk+route",
            Self::WaitEncode => "wait: router→gateway",
            Self::Encode => "encode+sign",
            Self::Write => "write",
            Self::WireOut => "wire→venue",
            Self::ToRouter => "read→router",
            Self::Acknowledge => "acknowledge",
        }
    }

    /// Is it a wait in a queue of the node's own?
    pub const fn is_wait(self) -> bool {
        matches!(self, Self::WaitScan | Self::WaitDecide | Self::WaitRoute | Self::WaitEncode)
    }

    /// Is it between the frame as the node has read it and the order's signed bytes?
    pub const fn is_within(self) -> bool {
        !matches!(self, Self::VenueLate | Self::KernelRead | Self::Write | Self::WireOut | Self::Acknowledge)
    }
}

/// One order's way.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Its steps, ns.
    pub steps: Vec<(Step, u64)>,
    /// Frame read by the node → signed bytes.
    pub within: u64,
    /// The venue began to write → its read of the order returned.
    pub wire: u64,
    /// From when the venue should have written, for both.
    pub within_response: u64,
    /// See `within_response`.
    pub wire_response: u64,
    /// Work of the node's own, waits left out.
    pub service: u64,
}

/// The three paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The frame that crosses a boundary → the entry's first order.
    Entry,
    /// The frame that crosses a boundary → the exit's first order.
    Exit,
    /// The frame that moves the touch → the order that follows it (its cancel first).
    Repeg,
    /// The report of the entry's fill → the take-profit order.
    TakeProfit,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Entry, Self::Repeg, Self::TakeProfit, Self::Exit];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entry => "boundary → entry",
            Self::Exit => "boundary → exit",
            Self::Repeg => "quote → re-peg",
            Self::TakeProfit => "fill → take-profit",
        }
    }

    /// Its name in JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Exit => "exit",
            Self::Repeg => "repeg",
            Self::TakeProfit => "take_profit",
        }
    }

    fn of(t: &Timeline) -> Option<Self> {
        match (t.trace.cause, &t.request) {
            (Cause::Tick, OrderRequest::New(o)) if !o.reduce_only => Some(Self::Entry),
            (Cause::Tick, OrderRequest::New(_) | OrderRequest::Cancel(_)) => Some(Self::Exit),
            (Cause::Quote, OrderRequest::Cancel(_) | OrderRequest::Replace(_)) => Some(Self::Repeg),
            (Cause::Report, OrderRequest::New(o)) if o.reduce_only => Some(Self::TakeProfit),
            _ => None,
        }
    }
}

/// What a run's orders came to.
pub struct Ways {
    /// By path.
    pub paths: Vec<(Path, Vec<Way>)>,
    /// Orders of these paths whose frames were not found in the logs.
    pub unmatched: u64,
}

/// The frame a way begins with, and when the node had read it.
struct Trigger<'a> {
    frame: &'a FrameMark,
    read: u64,
}

/// The ends of a request on the wire.
struct Sent {
    began: u64,
    ended: u64,
    arrived: u64,
    acknowledged: Option<u64>,
}

/// Puts them together.
pub fn ways(raw: &Raw) -> Ways {
    let sent = sent(&raw.connections);
    let names = venue::sim::listings(raw.summary.symbols);
    let mut out = Ways { paths: Path::ALL.map(|p| (p, Vec::new())).into(), unmatched: 0 };
    for t in &raw.summary.timelines {
        let Some(path) = Path::of(t).filter(|_| (raw.from..raw.to).contains(&t.sent_ns)) else { continue };
        let trigger = match path {
            Path::Entry | Path::Exit => boundary(&raw.connections, t),
            Path::Repeg => {
                let name = request(t).map(|(symbol, _)| symbol.index()).and_then(|i| names.get(i));
                name.and_then(|l| quote(&raw.connections, t, symbol(&l.instrument.symbol)))
            }
            Path::TakeProfit => match newest_word(&raw.connections, t) {
                // The cancel of an order that gives way to an exit is such a word too: that is no take-profit order.
                Some((trigger, true)) => Some(trigger),
                Some((_, false)) => continue,
                None => None,
            },
        };
        let found = trigger.zip(request(t).and_then(|(_, key)| sent.get(&key)));
        match found {
            Some((trigger, sent)) => {
                let of = out.paths.iter_mut().find(|(p, _)| *p == path);
                of.into_iter().for_each(|(_, ways)| ways.push(way(t, &trigger, sent)));
            }
            None => out.unmatched += 1,
        }
    }
    out
}

/// Symbol of a request, and what finds it on the wire: its method and the order's id.
fn request(t: &Timeline) -> Option<(market::SymbolId, (&'static str, String))> {
    let (symbol, method, id) = match &t.request {
        OrderRequest::New(o) => (o.symbol, "order.place", o.client_order_id),
        OrderRequest::Cancel(c) => (c.symbol, "order.cancel", c.client_order_id),
        OrderRequest::Replace(r) => (r.symbol, "order.modify", r.client_order_id),
        OrderRequest::CancelAll(_) | OrderRequest::Query(_) => return None,
    };
    Some((symbol, (method, id.to_string())))
}

/// The value of a string member.
fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let word = format!("\"{name}\":\"");
    let from = text.find(&word)? + word.len();
    text[from..].split('"').next()
}

/// All requests on the order connections, by method and client order id; the first of each.
fn sent(connections: &[Both]) -> BTreeMap<(&'static str, String), Sent> {
    let mut words: BTreeMap<String, u64> = BTreeMap::new();
    for c in connections.iter().filter(|c| c.link != Link::Market) {
        for frame in &c.venue.frames {
            let text = c.venue.text(frame);
            let id = member(text, "clientOrderId").or_else(|| member(text, "c"));
            if let (Some(id), Some(read)) = (id, c.node.read_at(frame.upto)) {
                let first = words.entry(id.to_owned()).or_insert(read);
                *first = read.min(*first);
            }
        }
    }
    let mut all = BTreeMap::new();
    for c in connections.iter().filter(|c| c.link == Link::Orders) {
        for frame in &c.node.frames {
            let text = c.node.text(frame);
            let method = match member(text, "method") {
                Some("order.place") => "order.place",
                Some("order.cancel") => "order.cancel",
                Some("order.modify") => "order.modify",
                _ => continue,
            };
            let id = member(text, "newClientOrderId").or_else(|| member(text, "origClientOrderId"));
            let (Some(id), Some(arrived)) = (id, c.venue.read_at(frame.upto)) else { continue };
            let acknowledged = (method == "order.place").then(|| words.get(id).copied()).flatten();
            let (began, ended) = (frame.began, frame.ended);
            let sent = Sent { began, ended, arrived, acknowledged };
            all.entry((method, id.to_owned())).or_insert(sent);
        }
    }
    all
}

/// The first frame whose event time reached the boundary of the tick: of each connection, and of those the one written
/// first that the node had when the book stage took it.
fn boundary<'a>(connections: &'a [Both], t: &Timeline) -> Option<Trigger<'a>> {
    let boundary_ms = t.trace.boundary.0.div_ceil(Nanos::MS);
    let of = |c: &'a Both| {
        let place = c.venue.frames.partition_point(|f| f.event_ms < boundary_ms);
        let frame = c.venue.frames.get(place)?;
        let read = c.node.read_at(frame.upto)?;
        (read <= t.trace.stamps.taken_ns).then_some(Trigger { frame, read })
    };
    connections.iter().filter(|c| c.link == Link::Market).filter_map(of).min_by_key(|t| t.frame.began)
}

/// The newest depth frame of the symbol that the node had when the router took the quote.
fn quote<'a>(connections: &'a [Both], t: &Timeline, symbol: [u8; 15]) -> Option<Trigger<'a>> {
    let taken = t.trace.stamps.route_began_ns;
    let of = |c: &'a Both| {
        let before = c.venue.frames.partition_point(|f| f.began < taken);
        let mut frames = c.venue.frames[..before].iter().rev();
        frames.find_map(|frame| {
            let is_its = matches!(frame.kind, b'd' | b'b') && frame.symbol == symbol;
            let read = is_its.then(|| c.node.read_at(frame.upto)).flatten()?;
            (read <= taken).then_some(Trigger { frame, read })
        })
    };
    connections.iter().filter(|c| c.link == Link::Market).filter_map(of).max_by_key(|t| t.read)
}

/// Does the venue tell of an order here, and is it a fill?
fn word(text: &str) -> Option<bool> {
    if text.contains(r#""e":"ORDER_TRADE_UPDATE""#) {
        return Some(member(text, "x") == Some("TRADE"));
    }
    let status = text.contains(r#""result""#).then(|| member(text, "status")).flatten()?;
    Some(matches!(status, "FILLED" | "PARTIALLY_FILLED"))
}

/// The newest word of an order that the node had when the router took a report, and whether it is one of a fill.
fn newest_word<'a>(connections: &'a [Both], t: &Timeline) -> Option<(Trigger<'a>, bool)> {
    let taken = t.trace.stamps.route_began_ns;
    let of = |c: &'a Both| {
        let before = c.venue.frames.partition_point(|f| f.began < taken);
        c.venue.frames[..before].iter().rev().find_map(|frame| {
            let is_fill = word(c.venue.text(frame))?;
            let read = c.node.read_at(frame.upto)?;
            (read <= taken).then_some((Trigger { frame, read }, is_fill))
        })
    };
    connections.iter().filter(|c| c.link != Link::Market).filter_map(of).max_by_key(|(t, _)| t.read)
}

fn way(t: &Timeline, trigger: &Trigger<'_>, sent: &Sent) -> Way {
    let s = &t.trace.stamps;
    let bytes_at = sent.ended.min(sent.arrived).max(sent.began);
    let intended = if trigger.frame.intended == 0 { trigger.frame.began } else { trigger.frame.intended };
    let head = [(Step::VenueLate, trigger.frame.began), (Step::KernelRead, trigger.read)];
    let by_tick = [
        (Step::Frame, s.taken_ns),
        (Step::Decode, s.decoded_ns),
        (Step::Prepare, s.sampled_ns),
        (Step::Book, s.handed_ns),
        (Step::WaitScan, s.scan_began_ns),
        (Step::Scan, s.scanned_ns),
        (Step::WaitDecide, s.step_began_ns),
        (Step::Decide, s.decided_ns),
        (Step::WaitRoute, s.route_began_ns),
    ];
    let by_word = [(Step::ToRouter, s.route_began_ns.max(trigger.read))];
    let middle: &[(Step, u64)] = if t.trace.cause == Cause::Tick { &by_tick } else { &by_word };
    let tail = [
        (Step::Route, t.routed_ns),
        (Step::WaitEncode, t.sent_ns),
        (Step::Encode, sent.began),
        (Step::Write, bytes_at),
        (Step::WireOut, sent.arrived.max(bytes_at)),
    ];
    let mut at = intended;
    let mut steps = Vec::with_capacity(20);
    for (step, until) in head.into_iter().chain(middle.iter().copied()).chain(tail) {
        // A stage that was not on the way has no stamp: its time shows in the next step.
        if until > 0 {
            steps.push((step, until.saturating_sub(at)));
            at = until;
        }
    }
    if let Some(word) = sent.acknowledged {
        steps.push((Step::Acknowledge, word.saturating_sub(sent.arrived)));
    }
    let own = |(step, _): &&(Step, u64)| step.is_within() && !step.is_wait();
    Way {
        within: sent.began.saturating_sub(trigger.read),
        wire: sent.arrived.saturating_sub(trigger.frame.began),
        within_response: sent.began.saturating_sub(intended),
        wire_response: sent.arrived.saturating_sub(intended),
        service: steps.iter().filter(own).map(|(_, ns)| ns).sum(),
        steps,
    }
}

/// A histogram of one figure of the ways.
pub fn histogram_of(ways: &[Way], figure: impl Fn(&Way) -> u64) -> Histogram<u64> {
    let mut h = histogram();
    ways.iter().for_each(|w| h.saturating_record(figure(w).max(1)));
    h
}

#[cfg(test)]
mod tests {
    use market::{CancelOrder, ClientOrderId, SymbolId};
    use node::stages::{Stamps, Trace};

    use super::*;
    use crate::stamped::{Log, ReadMark};

    fn frame(began: u64, upto: u64, event_ms: u64) -> FrameMark {
        let symbol = symbol("BTCUSDT");
        FrameMark { began, ended: began + 1, intended: 0, upto, event_ms, kind: b'd', symbol, text: (0, 0) }
    }

    fn both(frames: Vec<FrameMark>, reads: &[(u64, u64)]) -> Both {
        let reads = reads.iter().map(|&(at, upto)| ReadMark { at, upto }).collect();
        let (mut node, mut venue) = (Log::default(), Log::default());
        (node.reads, venue.frames) = (reads, frames);
        Both { link: Link::Market, node, venue }
    }

    fn timeline(boundary_ms: u64, taken_ns: u64) -> Timeline {
        let client_order_id = ClientOrderId { run: 1, intent: 1, attempt: 1 };
        let stamps = Stamps { taken_ns, route_began_ns: taken_ns, ..Stamps::default() };
        Timeline {
            request: OrderRequest::Cancel(CancelOrder { symbol: SymbolId(0), client_order_id }),
            trace: Trace { cause: Cause::Tick, boundary: Nanos::from_millis(boundary_ms), stamps },
            routed_ns: 0,
            sent_ns: 0,
            written_ns: 0,
        }
    }

    /// Two connections: the frame that made the tick due is the first at or past the boundary that the node had.
    #[test]
    fn the_frame_that_made_a_tick_due_is_found() {
        let books = both(vec![frame(10, 100, 99), frame(30, 200, 100)], &[(15, 100), (60, 200)]);
        let trades = both(vec![frame(20, 50, 100)], &[(40, 50)]);
        let all = [books, trades];
        let found = |taken| boundary(&all, &timeline(100, taken)).map(|t| (t.frame.began, t.read));
        assert_eq!(found(70), Some((20, 40)), "of two that the node had, the one written first");
        assert_eq!(found(45), Some((20, 40)));
        assert_eq!(found(39), None, "it had none of them");
        assert!(quote(&all, &timeline(0, 45), symbol("BTCUSDT")).is_some_and(|t| t.read == 40));
        assert!(quote(&all, &timeline(0, 45), symbol("ETHUSDT")).is_none());
    }

    #[test]
    fn a_fill_is_told_from_other_words() {
        assert_eq!(word(r#"{"e":"ORDER_TRADE_UPDATE","o":{"x":"TRADE","X":"FILLED"}}"#), Some(true));
        assert_eq!(word(r#"{"e":"ORDER_TRADE_UPDATE","o":{"x":"CANCELED"}}"#), Some(false));
        assert_eq!(word(r#"{"id":1,"result":{"status":"FILLED"}}"#), Some(true));
        assert_eq!(word(r#"{"e":"ACCOUNT_UPDATE"}"#), None);
    }
}
