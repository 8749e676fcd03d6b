//! JSON as Python writes it.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// A number that may be missing: `null` and empty text are NaN, text is read as a number (`json.dumps(…, default=str)`
/// turns NumPy's numbers into text).
#[derive(Debug, Clone, Copy)]
pub struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or null")
            }
            fn visit_unit<E>(self) -> Result<Number, E> {
                Ok(Number(f64::NAN))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Number, E> {
                Ok(Number(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Number, E> {
                let text = v.trim();
                if text.is_empty() {
                    return Ok(Number(f64::NAN));
                }
                let value: Result<f64, _> = text.parse();
                value.map(|v| Number(if v.is_finite() { v } else { f64::NAN })).map_err(|_| {
                    let shown: String = text.chars().take(40).collect();
                    E::invalid_value(de::Unexpected::Str(&shown), &self)
                })
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Overwrites `NaN`, `Infinity` and their negatives outside of strings, which JSON does not know, by empty text.
pub fn blank_python_numbers(text: &mut [u8]) {
    let mut in_string = false;
    let mut i = 0;
    while i < text.len() {
        match text[i] {
            b'\\' if in_string => i += 1,
            b'"' => in_string = !in_string,
            b'N' | b'I' | b'-' if !in_string => {
                let word = [&b"NaN"[..], b"Infinity", b"-Infinity", b"-NaN"]
                    .into_iter()
                    .find(|w| text[i..].starts_with(w));
                if let Some(word) = word {
                    let gap = &mut text[i..i + word.len()];
                    gap.fill(b' ');
                    // Every reader here takes empty text for a missing number; `null` would not fit over `NaN`.
                    gap[..2].copy_from_slice(b"\"\"");
                    i += word.len() - 1;
                }
            }
            _ => {}
        }
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_words_are_blanked() {
        let mut text =
            br#"{"a": NaN, "NaN \" NaN": [-Infinity, Infinity, -1, -NaN], "b": "Infinity"}"#.to_vec();
        blank_python_numbers(&mut text);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let want = serde_json::json!({"a": "", "NaN \" NaN": ["", "", -1, ""], "b": "Infinity"});
        assert_eq!(value, want);
    }
}
