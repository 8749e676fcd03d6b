//! Streams, kinds and the encoding of records: postcard, exact to the bit of every float.

use runtime::journal::frame::Record;
use serde::{Serialize, de::DeserializeOwned};

use crate::stages::Tick;
use crate::stages::alpha::AlphaRecord;
use crate::stages::router::{Quote, RouterRecord};

/// The engine's stage.
pub const ALPHA: u8 = 1;
/// The router's stage.
pub const ROUTER: u8 = 2;
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
    "errand",
    "state",
];

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
        RouterRecord::Errand(_) => 8,
        RouterRecord::State(_) => 9,
    }
}

/// The name of a kind, for people.
pub fn kind_name(stream: u8, kind: u8) -> &'static str {
    let names: &[&'static str] = match stream {
        0 => &["header", "start_state", "hole", "end"],
        ALPHA => &ALPHA_KINDS,
        ROUTER => &ROUTER_KINDS,
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
