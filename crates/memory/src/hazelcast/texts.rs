//! The answers of members as text.

use super::codec;
use super::data::to_text;
use super::frame::{Message, ProtocolError};

/// The text of a value, or a warning that it is none.
pub(super) fn text_or_warning(map: &str, key: Option<&str>, data: &[u8]) -> Option<String> {
    to_text(data).unwrap_or_else(|found| {
        let what = key.map_or("a key", |_| "the value");
        tracing::warn!(map, key, "{what} is {found}, not text: left out");
        None
    })
}

/// The entries that are text.
pub(super) fn entry_texts(map: &str, answer: &Message) -> Result<Vec<(String, String)>, ProtocolError> {
    let entries = codec::read_entries(answer)?;
    let texts = entries.into_iter().filter_map(|(key, value)| {
        let key = text_or_warning(map, None, key)?;
        let value = text_or_warning(map, Some(&key), value)?;
        Some((key, value))
    });
    Ok(texts.collect())
}
