//! Values as members and the Python client write them, and the partition of a key.
//!
//! ```text
//! data = i32 partition hash (0) | i32 type id | payload          all big endian
//! text = i32 length in bytes | UTF-8                              types String and HazelcastJsonValue
//! ```

/// `str` of Python.
const STRING: i32 = -11;
/// `HazelcastJsonValue` of Python.
const JSON: i32 = -130;
const NULL: i32 = 0;
const BOOLEAN: i32 = -4;
const INTEGER: i32 = -7;
const LONG: i32 = -8;
const DOUBLE: i32 = -10;

/// Bytes before the payload.
const DATA_HEADER: usize = 8;
/// Seed of the partition hash (one digit is missing in the published document).
const SEED: u32 = 0x0100_0193;

/// Text as a String.
pub(crate) fn to_data(text: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(DATA_HEADER + 4 + text.len());
    data.extend_from_slice(&0i32.to_be_bytes());
    data.extend_from_slice(&STRING.to_be_bytes());
    // Lengths are checked against `MAX_VALUE_BYTES` at the interface, far below `i32::MAX`.
    data.extend_from_slice(&(text.len() as i32).to_be_bytes());
    data.extend_from_slice(text.as_bytes());
    data
}

/// Another text in the form of a value that is text already: what was written as JSON stays JSON.
pub(crate) fn same_kind(data: &[u8], text: &str) -> Vec<u8> {
    let mut new = to_data(text);
    if let Some(header) = data.get(..DATA_HEADER).filter(|header| header[4..] == JSON.to_be_bytes()) {
        new[..DATA_HEADER].copy_from_slice(header);
    }
    new
}

/// The text of a value: strings and JSON as they are, plain numbers and booleans as their JSON. The error says what
/// was found instead.
pub(crate) fn to_text(data: &[u8]) -> Result<Option<String>, String> {
    let be =
        |at: usize| data.get(at..).and_then(|tail| tail.first_chunk::<4>()).map(|b| i32::from_be_bytes(*b));
    let Some(type_id) = be(4) else { return Err(format!("{} bytes that are no value", data.len())) };
    let payload = &data[DATA_HEADER..];
    let long = || payload.first_chunk::<8>().copied();
    match type_id {
        NULL => Ok(None),
        STRING | JSON => {
            let length = be(DATA_HEADER).and_then(|n| usize::try_from(n).ok());
            match length.and_then(|n| payload.get(4..)?.get(..n)) {
                Some(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) => Ok(Some(text.to_owned())),
                    Err(_) => Err("text that is not UTF-8".to_owned()),
                },
                None => Err("a string that is cut off".to_owned()),
            }
        }
        BOOLEAN if !payload.is_empty() => Ok(Some((payload[0] != 0).to_string())),
        INTEGER if be(DATA_HEADER).is_some() => Ok(be(DATA_HEADER).map(|n| n.to_string())),
        LONG if long().is_some() => Ok(long().map(|b| i64::from_be_bytes(b).to_string())),
        DOUBLE if long().is_some() => {
            let number = long().map(f64::from_be_bytes).unwrap_or(f64::NAN);
            Ok(Some(if number.is_finite() { format!("{number:?}") } else { "NaN".to_owned() }))
        }
        other => Err(type_name(other)),
    }
}

fn type_name(type_id: i32) -> String {
    match type_id {
        -120 => "a Python pickle".to_owned(),
        -12 => "a byte array".to_owned(),
        -29 | -30 => "a list".to_owned(),
        -55 => "a compact object".to_owned(),
        -1 => "a portable object".to_owned(),
        -100 | -101 => "a serialized Java object".to_owned(),
        other => format!("a value of type id {other}"),
    }
}

/// The partition of a key, of `count` partitions.
pub(crate) fn partition(data: &[u8], count: i32) -> i32 {
    let hash = match data.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes)) {
        Some(stored) if stored != 0 => stored,
        _ => murmur3(data.get(DATA_HEADER..).unwrap_or_default()),
    };
    // The magnitude of the smallest integer does not exist: 0 by definition.
    hash.checked_abs().unwrap_or(0) % count.max(1)
}

/// MurmurHash3 x86_32.
fn murmur3(bytes: &[u8]) -> i32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let scramble = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = SEED;
    for block in blocks {
        hash ^= scramble(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = tail.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
    if !tail.is_empty() {
        hash ^= scramble(rest);
    }
    hash ^= bytes.len() as u32;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    (hash ^ hash >> 16) as i32
}

#[cfg(test)]
#[path = "data_tests.rs"]
#[allow(clippy::disallowed_methods, reason = "tests read files")]
mod tests;
