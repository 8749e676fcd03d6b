//! What faults do to the text of a frame.

use serde_json::{Value, json};

/// The frame with an unknown field and `E` as a text.
pub(super) fn strange(data: &str) -> String {
    let Ok(Value::Object(mut map)) = serde_json::from_str(data) else { return data.to_owned() };
    if let Some(e) = map.get_mut("E") {
        *e = Value::String(e.to_string());
    }
    map.insert("zz".to_owned(), json!({"new": [1, null, "x"]}));
    Value::Object(map).to_string()
}

/// The frame with another value (or none) at a JSON pointer; as it was where the pointer leads nowhere.
pub(super) fn altered(data: &str, at: &str, value: Option<&Value>) -> String {
    let Ok(mut frame) = serde_json::from_str::<Value>(data) else { return data.to_owned() };
    match value {
        Some(v) => {
            if let Some(place) = frame.pointer_mut(at) {
                *place = v.clone();
            }
        }
        None => {
            if let Some((parent, name)) = at.rsplit_once('/') {
                match frame.pointer_mut(parent) {
                    Some(Value::Object(map)) => drop(map.remove(name)),
                    Some(Value::Array(list)) => {
                        if let Some(n) = name.parse().ok().filter(|n| *n < list.len()) {
                            list.remove(n);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    frame.to_string()
}

/// The frame with a name a second time at its end.
pub(super) fn repeated(data: &str, name: &str, value: &Value) -> String {
    match data.strip_suffix('}') {
        Some(body) => format!("{body},{}:{value}}}", Value::from(name)),
        None => data.to_owned(),
    }
}

/// The place of a character in the middle.
fn middle(data: &str) -> usize {
    let mut half = data.len() / 2;
    while !data.is_char_boundary(half) {
        half -= 1;
    }
    half
}

/// The first half.
pub(super) fn truncated(data: &str) -> &str {
    &data[..middle(data)]
}

/// The frame with another character in its middle: in a number or a name, and then it may still be JSON.
pub(super) fn garbled(data: &str) -> String {
    let at = middle(data);
    let width = data[at..].chars().next().map_or(0, char::len_utf8);
    format!("{}#{}", &data[..at], &data[at + width..])
}

/// Brackets in brackets.
pub(super) fn nested(depth: usize) -> String {
    format!("{{\"junk\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
}

/// A frame of about this size.
pub(super) fn oversize(bytes: usize) -> String {
    format!("{{\"junk\":\"{}\"}}", "x".repeat(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_change_and_vanish() {
        let frame = r#"{"b":[["1.0","2"]],"p":"3"}"#;
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!(read(altered(frame, "/b/0/0", Some(&json!("1e400"))))["b"][0][0], "1e400");
        assert_eq!(read(altered(frame, "/p", None)), json!({"b": [["1.0", "2"]]}));
        assert_eq!(read(altered(frame, "/b/0", None))["b"], json!([]));
        assert_eq!(read(altered(frame, "/no/where", Some(&json!(1)))), read(frame.into()));
    }

    #[test]
    fn texts_break() {
        assert_eq!(truncated("abcd"), "ab");
        assert_eq!(garbled("aébc"), "a#bc");
        assert_eq!(repeated(r#"{"u":5}"#, "u", &json!("x")), r#"{"u":5,"u":"x"}"#);
        assert!(serde_json::from_str::<Value>(&nested(3)).is_ok());
        assert_eq!(nested(10_000).len(), 20_009);
    }
}
