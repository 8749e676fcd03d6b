//! The fence that a value carries.
//!
//! Whoever holds a lease writes with its number, the *fence*: the larger it is, the later its holder. A value written so
//! begins with it, `{"fence":1732800000123,…`: an ordinary member of the JSON object for whoever reads it, and for a
//! store that can only compare and set whole values the means to refuse a writer that has been replaced
//! (docs/lease.md).

use serde::{Deserialize, Serialize};

/// The number with which the holder of a lease writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Key of the lease, for example `alpha_blue`.
    pub lease: String,
    /// Its number, larger than that of every holder before.
    pub number: u64,
}

/// The fence of a value; `None`: it was not written under a lease.
pub fn fence_of(text: &str) -> Option<u64> {
    split(text).map(|(number, _)| number)
}

/// The value with this fence in place of the one it has. `None`: it is no JSON object, and can carry none.
pub fn stamp(text: &str, number: u64) -> Option<String> {
    let rest = match split(text) {
        Some((_, rest)) => rest,
        None => text.trim_start().strip_prefix('{')?.trim_start(),
    };
    let comma = if rest.starts_with('}') { "" } else { "," };
    Some(format!("{{\"fence\":{number}{comma}{rest}"))
}

/// The fence, and what follows it and its comma.
fn split(text: &str) -> Option<(u64, &str)> {
    let name = text.trim_start().strip_prefix('{')?.trim_start().strip_prefix("\"fence\"")?;
    let value = name.trim_start().strip_prefix(':')?.trim_start();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number = value[..digits].parse().ok()?;
    let rest = value[digits..].trim_start();
    match rest.strip_prefix(',') {
        Some(rest) => Some((number, rest.trim_start())),
        None => rest.starts_with('}').then_some((number, rest)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_stamp_is_a_member_of_the_object() {
        assert_eq!(stamp(r#"{"capital": 1}"#, 7).as_deref(), Some(r#"{"fence":7,"capital": 1}"#));
        assert_eq!(stamp("{}", 7).as_deref(), Some(r#"{"fence":7}"#));
        assert_eq!(stamp(" { }", 7).as_deref(), Some(r#"{"fence":7}"#));
        for text in ["[1]", "1", "", "nonsense", "\"{}\""] {
            assert_eq!((stamp(text, 7), fence_of(text)), (None, None), "{text}");
        }
        // As Python writes it again.
        assert_eq!(fence_of(r#"{"fence": 12, "capital": 1.0}"#), Some(12));
        assert_eq!(
            stamp(r#"{"fence": 12, "capital": 1.0}"#, 13).as_deref(),
            Some(r#"{"fence":13,"capital": 1.0}"#)
        );
        // Not ours: another member, another kind of number, or somewhere else.
        for text in [
            r#"{"fences":1}"#,
            r#"{"fence":1.5}"#,
            r#"{"fence":-1}"#,
            r#"{"a":1,"fence":2}"#,
            r#"{"fence":1"#,
        ] {
            assert_eq!(fence_of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_object_survives_a_stamp(first: u64, second: u64, key in "[a-z\"\\\\,{}]{0,6}", value: i64) {
            let text = json!({ key: value, "z": [1, {"fence": 3}] }).to_string();
            let once = stamp(&text, first).unwrap();
            let twice = stamp(&once, second).unwrap();
            prop_assert_eq!(fence_of(&once), Some(first));
            prop_assert_eq!(fence_of(&twice), Some(second));
            let mut read: Value = serde_json::from_str(&twice).unwrap();
            prop_assert_eq!(read.as_object_mut().unwrap().remove("fence"), Some(json!(second)));
            prop_assert_eq!(read.to_string(), text);
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,40}", number: u64) {
            fence_of(&text);
            stamp(&text, number);
        }
    }
}
