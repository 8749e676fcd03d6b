//! Tolerant reading of JSON that Python wrote.

use market::Nanos;
use serde_json::{Map, Value};

/// A value in memory that does not fit the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} rejected: {reason}")]
pub struct SchemaError {
    /// Which value of the schema.
    pub kind: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl SchemaError {
    pub(crate) fn new(kind: &'static str, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

/// A value of the schema, read from the text in memory.
pub trait FromMemory: Sized {
    /// What it is called in messages.
    const KIND: &'static str;
    /// Reads it; the error says what is wrong with the value.
    fn from_memory(text: &str) -> Result<Self, SchemaError>;
}

/// What a reader finds under a key of the schema. That nothing is there is one thing, and that what is there
/// makes no sense another.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading<T> {
    /// The key is not there.
    Absent,
    /// A value that makes sense.
    Value(T),
    /// There is something, and it makes no sense.
    Unreadable(SchemaError),
}

impl<T: FromMemory> Reading<T> {
    /// Reads what stands under the key.
    pub fn of(text: Option<&str>) -> Self {
        match text.map(T::from_memory) {
            None => Self::Absent,
            Some(Ok(value)) => Self::Value(value),
            Some(Err(error)) => Self::Unreadable(error),
        }
    }
}

/// The text of a value, as it is put into memory. NaN becomes `null`.
pub fn to_text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("schema types have text keys and no failing serializer")
}

/// `NaN`, `Infinity` and `-Infinity` outside of strings become `null`: Python writes them, JSON has no such words.
pub(crate) fn without_python_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(at) = rest.find(if in_string { &['"', '\\'][..] } else { &['"', 'N', 'I', '-'][..] }) {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        if in_string {
            // An escape takes the next character with it, whatever it is.
            let step = if let Some(escaped) = tail.strip_prefix('\\') {
                1 + escaped.chars().next().map_or(0, char::len_utf8)
            } else {
                in_string = false;
                1
            };
            out.push_str(&tail[..step]);
            rest = &tail[step..];
        } else if let Some(word) =
            ["NaN", "Infinity", "-Infinity", "-NaN"].iter().find(|w| tail.starts_with(**w))
        {
            out.push_str("null");
            rest = &tail[word.len()..];
        } else {
            in_string = tail.starts_with('"');
            out.push_str(&tail[..1]);
            rest = &tail[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Parses text that may hold Python's numbers.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    kind: &'static str,
    text: &str,
) -> Result<T, SchemaError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('[') {
        // serde would fill the fields of a structure from an array, in order.
        return Err(SchemaError::new(
            kind,
            "not the expected JSON: a JSON object is expected, found an array",
        ));
    }
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&without_python_numbers(text)))
        .map_err(|e| SchemaError::new(kind, format!("not the expected JSON: {e}")))
}

/// A JSON object under its name in messages.
pub(crate) struct Object {
    kind: &'static str,
    map: Map<String, Value>,
}

impl Object {
    pub(crate) fn parse(kind: &'static str, text: &str) -> Result<Self, SchemaError> {
        match parse(kind, text)? {
            Value::Object(map) => Ok(Self { kind, map }),
            other => {
                Err(SchemaError::new(kind, format!("a JSON object is expected, found {}", name_of(&other))))
            }
        }
    }

    pub(crate) fn bad(&self, reason: impl Into<String>) -> SchemaError {
        SchemaError::new(self.kind, reason)
    }

    /// A number; missing, `null` and NaN are NaN.
    pub(crate) fn number(&self, key: &str) -> Result<f64, SchemaError> {
        self.map.get(key).map_or(Ok(f64::NAN), |value| {
            number(value).ok_or_else(|| self.bad(format!("`{key}` is {}, not a number", name_of(value))))
        })
    }

    /// A finite number within a range.
    pub(crate) fn within(&self, key: &str, low: f64, high: f64) -> Result<f64, SchemaError> {
        let value = self.number(key)?;
        if value >= low && value <= high {
            return Ok(value);
        }
        let found = if self.map.contains_key(key) { format!("{value}") } else { "missing".to_owned() };
        Err(self.bad(format!("`{key}` is {found}, it must be within [{low}, {high}]")))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, SchemaError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.bad(format!("`{key}` is {}, not text", name_of(other)))),
        }
    }

    /// A boolean; missing and `null` are false.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, SchemaError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.bad(format!("`{key}` is {}, neither true nor false", name_of(other)))),
        }
    }

    pub(crate) fn time(&self, key: &str) -> Result<Option<Nanos>, SchemaError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => parse_time(value).map(Some).ok_or_else(|| {
                self.bad(format!("`{key}` is no time: seconds, ms, µs, ns since 1970, or ISO 8601"))
            }),
        }
    }

    pub(crate) fn numbers<const N: usize>(&self, key: &str) -> Result<[f64; N], SchemaError> {
        let mut out = [f64::NAN; N];
        match self.map.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::Array(values)) if values.len() == N => {
                for (cell, value) in out.iter_mut().zip(values) {
                    *cell = number(value)
                        .ok_or_else(|| self.bad(format!("`{key}` holds {}, not a number", name_of(value))))?;
                }
            }
            Some(other) => return Err(self.bad(format!("`{key}` is {}, not {N} numbers", name_of(other)))),
        }
        Ok(out)
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.map
    }
}

/// A number, or text that is one (`json.dumps(…, default=str)` makes text of NumPy's numbers). Not finite is NaN.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Null => f64::NAN,
        Value::Number(n) => n.as_f64()?,
        Value::String(text) if text.trim().is_empty() => f64::NAN,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    Some(if number.is_finite() { number } else { f64::NAN })
}

/// A time: seconds, ms, µs or ns since 1970 by magnitude, or ISO 8601 text (without a zone: UTC). `None` if it is none.
pub fn parse_time(value: &Value) -> Option<Nanos> {
    if let Some(ns) = value.as_u64().filter(|ns| *ns >= 100_000_000_000_000_000) {
        return Some(Nanos(ns)); // as an integer: a double would round the last hundred nanoseconds
    }
    match number(value) {
        Some(n) if n.is_finite() => {
            let scale = match n {
                n if n < 0.0 => return None,
                n if n < 1e11 => 1e9,
                n if n < 1e14 => 1e6,
                n if n < 1e17 => 1e3,
                _ => 1.0,
            };
            // Through whole microseconds: seconds as doubles carry no more.
            if scale > 1.0 {
                Some(Nanos(((n * (scale / 1e3)).round() as u64).saturating_mul(1000)))
            } else {
                Some(Nanos(n as u64))
            }
        }
        _ => iso_time(value.as_str()?.trim()),
    }
}

fn iso_time(text: &str) -> Option<Nanos> {
    let at = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })?;
    u64::try_from(at.as_nanosecond()).ok().map(Nanos)
}

fn name_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => {
            format!("the text `{}`", text.chars().take(40).collect::<String>().escape_debug())
        }
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn python_numbers_become_null_outside_of_strings_only() {
        let text = r#"{"a":NaN,"b":[-Infinity,Infinity,-1.5],"NaN":"NaN \" Infinity \\","c":-NaN}"#;
        let fixed = without_python_numbers(text);
        assert_eq!(fixed, r#"{"a":null,"b":[null,null,-1.5],"NaN":"NaN \" Infinity \\","c":null}"#);
    }

    #[test]
    fn times_by_magnitude_and_iso() {
        let expected = Some(Nanos(1_618_099_200_123_000_000));
        for value in [
            json!(1_618_099_200.123),
            json!(1_618_099_200_123u64),
            json!(1_618_099_200_123_000u64),
            json!(1_618_099_200_123_000_000u64),
            json!("1618099200.123"),
            json!("2021-04-11T00:00:00.123Z"),
            json!("2021-04-11 00:00:00.123"),
            json!("2021-04-11T02:00:00.123+02:00"),
        ] {
            assert_eq!(parse_time(&value), expected, "{value}");
        }
        assert_eq!(parse_time(&json!(1_618_099_200_123_456_789u64)), Some(Nanos(1_618_099_200_123_456_789)));
        for value in [json!(null), json!("soon"), json!(-1), json!([1]), json!("")] {
            assert_eq!(parse_time(&value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn valid_json_is_left_alone(text in "[ -~\u{e9}\u{1F42C}\\\\\"]{0,40}") {
            let document = json!({ text.clone(): [text, 1.5] }).to_string();
            prop_assert_eq!(without_python_numbers(&document), document);
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,80}") {
            without_python_numbers(&text);
            let _ = Object::parse("anything", &text);
        }
    }
}
