//! Request parameters: query and form body, or the `params` object of the WS-API.

use serde_json::Value;

use crate::core::{Reject, reject};

/// Named texts.
#[derive(Debug, Default, Clone)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// From a query and a form body; a name in both: the query wins.
    pub(crate) fn parse(query: &str, body: &str) -> Self {
        let mut out: Vec<(String, String)> = Vec::new();
        for part in query.split('&').chain(body.split('&')).filter(|p| !p.is_empty()) {
            let (k, v) = part.split_once('=').unwrap_or((part, ""));
            let (k, v) = (percent_decode(k), percent_decode(v));
            if !out.iter().any(|(name, _)| *name == k) {
                out.push((k, v));
            }
        }
        Self(out)
    }

    /// From a JSON object; nested values stay JSON text.
    pub(crate) fn from_json(value: &Value) -> Self {
        let Some(map) = value.as_object() else { return Self::default() };
        Self(map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), json_text(v))).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    pub(crate) fn need(&self, name: &str) -> Result<&str, Reject> {
        self.get(name).ok_or_else(|| Reject::mandatory(name))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Reject> {
        match self.get(name) {
            None => Ok(None),
            // Some clients send whole numbers as floats.
            Some(v) => v.strip_suffix(".0").unwrap_or(v).parse().map(Some).map_err(|_| {
                Reject::text(
                    -1102,
                    format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."),
                )
            }),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Reject> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Reject::mandatory(name)),
        }
    }

    /// A page size: default and most.
    pub(crate) fn limit(&self, default: usize, most: usize) -> Result<usize, Reject> {
        match self.number("limit")? {
            None => Ok(default),
            Some(0) => Err(reject::mandatory_limit()),
            Some(n) => Ok(usize::try_from(n).unwrap_or(most).min(most)),
        }
    }
}

/// A JSON value as the text that is signed: strings bare, booleans lower-case, numbers as sent.
pub(crate) fn json_text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// Percent decoding, `+` as a blank; broken escapes stay as they are.
pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        match bytes[i] {
            b'+' => out.push(b' '),
            b'%' => match (hex(i + 1), hex(i + 2)) {
                (Some(a), Some(b)) => {
                    out.push((a * 16 + b) as u8);
                    i += 2;
                }
                _ => out.push(b'%'),
            },
            b => out.push(b),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_wins_and_escapes_are_undone() {
        let p = Params::parse("a=1&c=x%3A1", "a=2&b=%E4%B8%AD&d=");
        assert_eq!(p.get("a"), Some("1"));
        assert_eq!(p.get("b"), Some("中"));
        assert_eq!(p.get("c"), Some("x:1"));
        assert_eq!(p.get("d"), None);
        assert_eq!(percent_decode("100%"), "100%");
    }
}
