//! Streams, kinds and the encoding of records: postcard, exact to the bit of every float.

use binance::snapshots::SnapshotRequest;
use market::ClockOffset;
use runtime::journal::frame::Record;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::stages::Tick;
use crate::stages::alpha::AlphaRecord;
use crate::stages::book::SnapshotReply;
use crate::stages::book::record::BookRecord;
use crate::stages::feed::{Frame, FrameKind};
use crate::stages::router::{Quote, RouterRecord};

/// The engine's stage.
pub const ALPHA: u8 = 1;
/// The router's stage.
pub const ROUTER: u8 = 2;
/// The book stage, where frames are kept.
pub const BOOK: u8 = 3;
/// Names of the states that a segment begins with: the engine's snapshot.
pub const ENGINE_STATE: &str = "engine";
/// What the engine's stage keeps beside it.
pub const ALPHA_STAGE_STATE: &str = "alpha_stage";
/// The router.
pub const ROUTER_STATE: &str = "router";
/// What the router's stage keeps beside it.
pub const ROUTER_STAGE_STATE: &str = "router_stage";
/// Newest records of both stages that are in the states.
pub const NUMBERS_STATE: &str = "numbers";
/// What book stage and scanner began with: in the first segment of a run that keeps frames.
pub const MARKET_STATE: &str = "market";

/// Kinds of the engine's records.
pub const ALPHA_KINDS: [&str; 9] =
    ["acb", "safety", "rm", "scan", "outcome", "command", "tick", "step", "intent"];
/// Kind of a scan of system memory.
pub const SCAN: u8 = 3;
/// Kind of a command.
pub const COMMAND: u8 = 5;
/// Kind of a tick, whose payload is the [`Tick`] itself.
pub const TICK: u8 = 6;
/// Kinds of the router's records.
pub const ROUTER_KINDS: [&str; 10] = [
    "quote",
    "command",
    "report",
    "intent_taken",
    "timer",
    "waits",
    "request",
    "outcome_told",
    "control_request",
    "state",
];

/// Kinds of the book stage's records.
pub const BOOK_KINDS: [&str; 5] = ["frame", "book_snapshot", "venue_clock", "sample_told", "tended"];
/// Kind of a frame.
pub const FRAME: u8 = 0;
/// Kind of a snapshot.
pub const SNAPSHOT: u8 = 1;

/// Kind of a record of the book stage.
pub const fn book_kind(record: &BookRecord) -> u8 {
    match record {
        BookRecord::Frame => FRAME,
        BookRecord::Snapshot(_) => SNAPSHOT,
        BookRecord::Clock(_) => 2,
        BookRecord::Told => 3,
        BookRecord::Tended => 4,
    }
}

/// Kind of a record of the engine.
pub const fn alpha_kind(record: &AlphaRecord) -> u8 {
    match record {
        AlphaRecord::Acb(_) => 0,
        AlphaRecord::Safety(_) => 1,
        AlphaRecord::Rm(_) => 2,
        AlphaRecord::Scan(_) => SCAN,
        AlphaRecord::Outcome(_) => 4,
        AlphaRecord::Command(_) => COMMAND,
        AlphaRecord::Tick => TICK,
        AlphaRecord::Step { .. } => 7,
        AlphaRecord::Intent(_) => 8,
    }
}

/// Kind of a record of the router.
pub const fn router_kind(record: &RouterRecord) -> u8 {
    match record {
        RouterRecord::Quote(_) => 0,
        RouterRecord::Command(_) => 1,
        RouterRecord::Report(_) => 2,
        RouterRecord::Intent(_) => 3,
        RouterRecord::Timer => 4,
        RouterRecord::Waits(_) => 5,
        RouterRecord::Request(_) => 6,
        RouterRecord::Outcome(_) => 7,
        RouterRecord::ControlRequest(_) => 8,
        RouterRecord::State(_) => 9,
    }
}

/// The name of a stream, for people.
pub const fn stream_name(stream: u8) -> &'static str {
    match stream {
        0 => "journal",
        ALPHA => "alpha",
        ROUTER => "router",
        BOOK => "book",
        _ => "unknown",
    }
}

/// The name of a kind, for people.
pub fn kind_name(stream: u8, kind: u8) -> &'static str {
    let names: &[&'static str] = match stream {
        0 => &["header", "start_state", "hole", "end"],
        ALPHA => &ALPHA_KINDS,
        ROUTER => &ROUTER_KINDS,
        BOOK => &BOOK_KINDS,
        _ => &[],
    };
    names.get(usize::from(kind)).copied().unwrap_or("unknown")
}

/// Encodes into a buffer that is used again and again.
pub fn encode(value: &impl Serialize, buffer: &mut Vec<u8>) {
    buffer.clear();
    match postcard::to_extend(value, std::mem::take(buffer)) {
        Ok(bytes) => *buffer = bytes,
        // A type of ours that cannot be encoded is a defect that the first test of it shows.
        Err(e) => unreachable!("a record cannot be encoded: {e}"),
    }
}

/// What is known of a frame beside its bytes, which follow as they were read.
#[derive(Debug, Serialize, Deserialize)]
struct FrameHead {
    recv_ns: u64,
    kind: FrameKind,
    route: u8,
    generation: u32,
}

/// Encodes a frame.
pub fn encode_frame(frame: &Frame, buffer: &mut Vec<u8>) {
    let Frame { ref bytes, recv_ns, kind, route, generation } = *frame;
    encode(&FrameHead { recv_ns, kind, route, generation }, buffer);
    buffer.extend_from_slice(bytes);
}

/// The frame of a payload.
pub fn decode_frame(payload: &[u8]) -> Result<Frame, String> {
    let (head, bytes) = postcard::take_from_bytes::<FrameHead>(payload).map_err(|e| e.to_string())?;
    let FrameHead { recv_ns, kind, route, generation } = head;
    Ok(Frame { bytes: bytes.to_vec(), recv_ns, kind, route, generation })
}

/// Encodes a snapshot: what was asked for, whether there is a body, and the body.
pub fn encode_snapshot(reply: &SnapshotReply, buffer: &mut Vec<u8>) {
    encode(&(reply.request, reply.body.is_some()), buffer);
    buffer.extend_from_slice(reply.body.as_deref().unwrap_or_default());
}

/// The snapshot of a payload.
pub fn decode_snapshot(payload: &[u8]) -> Result<SnapshotReply, String> {
    let ((request, has_body), body) =
        postcard::take_from_bytes::<(SnapshotRequest, bool)>(payload).map_err(|e| e.to_string())?;
    Ok(SnapshotReply { request, body: has_body.then(|| body.to_vec()) })
}

/// Bytes of one value.
pub fn encoded(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    bytes
}

/// The value of a payload, which must hold nothing else.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(e) => Err(e.to_string()),
    }
}

/// A record as one value, for people and machines: what it holds, symbols by number.
pub fn value(record: &Record<'_>) -> serde_json::Value {
    let shown = match record.stream {
        ALPHA if record.kind == TICK => decode::<Tick>(record.payload).map(serde_json::to_value),
        ALPHA => decode::<AlphaRecord>(record.payload).map(serde_json::to_value),
        ROUTER => decode::<RouterRecord>(record.payload).map(serde_json::to_value),
        BOOK => return book_value(record),
        _ => return serde_json::Value::Null,
    };
    match shown {
        // The outer layer names the kind, which stands beside it.
        Ok(Ok(serde_json::Value::Object(map))) if map.len() == 1 && record.kind != TICK => {
            map.into_iter().next().map_or(serde_json::Value::Null, |(_, inner)| inner)
        }
        Ok(Ok(value)) => value,
        Ok(Err(e)) => format!("cannot be shown: {e}").into(),
        Err(e) => format!("cannot be read: {e}").into(),
    }
}

fn book_value(record: &Record<'_>) -> serde_json::Value {
    let shown = match record.kind {
        FRAME => decode_frame(record.payload).map(|f| {
            serde_json::json!({
                "kind": f.kind, "connection": f.route, "life": f.generation, "recv_ns": f.recv_ns,
                "text": String::from_utf8_lossy(&f.bytes),
            })
        }),
        SNAPSHOT => decode_snapshot(record.payload).map(|s| {
            let SnapshotRequest { symbol, purpose, limit } = s.request;
            serde_json::json!({
                "symbol": symbol, "purpose": purpose, "limit": limit,
                "text": s.body.as_deref().map(String::from_utf8_lossy),
            })
        }),
        2 => decode::<ClockOffset>(record.payload).map(|offset| serde_json::json!(offset)),
        _ => return serde_json::Value::Null,
    };
    shown.unwrap_or_else(|e| format!("cannot be read: {e}").into())
}

/// The symbol that a record is about, by column; `None`: it is about none or all of them.
pub fn symbol(record: &Record<'_>) -> Option<u16> {
    if record.stream == ROUTER
        && let Ok(RouterRecord::Quote(quote)) = decode(record.payload)
    {
        return Some(match quote {
            Quote::Bbo(b) => b.symbol.0,
            Quote::Mark(m) => m.symbol.0,
            Quote::Lost(symbol) => symbol.0,
        });
    }
    if record.kind == TICK && record.stream == ALPHA {
        return None;
    }
    find_symbol(&value(record))
}

fn find_symbol(value: &serde_json::Value) -> Option<u16> {
    let map = value.as_object()?;
    let own = map.get("symbol").and_then(serde_json::Value::as_u64).and_then(|s| u16::try_from(s).ok());
    own.or_else(|| map.values().find_map(find_symbol))
}
