//! A file, read and checked: every fault at once, with its place.

use std::path::Path;

use super::check;
use super::document::{Node, Unread};
use super::schema;
use super::sections::Config;
use crate::error::Failure;

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::usage(format!("cannot read the configuration {}: {e}", path.display())))?;
        let mut config = Self::parse(&text).map_err(|faults| {
            let lines = faults.lines().map(|fault| format!("{}{fault}", path.display()));
            Failure::usage(lines.collect::<Vec<_>>().join("\n"))
        })?;
        config.path = path.to_owned();
        Ok(config)
    }

    /// Parses and checks a text. The error is a line a fault, each beginning with `:line:column: ` where a place is
    /// known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document = match Node::read(text) {
            Ok(document) => Some(document),
            Err(Unread::Empty) => {
                return Err(": nothing stands in it; for the defaults write `direction: short`".to_owned());
            }
            Err(Unread::Broken(place)) => {
                return Err(format!(":{}:{}: this is not YAML", place.line, place.column));
            }
            Err(Unread::Unplaced) => None,
        };
        let faults = document.as_ref().map(check::faults).unwrap_or_default();
        if !faults.is_empty() {
            let lines = faults.iter().map(|f| format!(":{}:{}: {}", f.place.line, f.place.column, f.text));
            return Err(lines.collect::<Vec<_>>().join("\n"));
        }
        let config: Self = serde_saphyr::from_str(text).map_err(|e| explain(&e))?;
        config.validate().map_err(|(key, text)| {
            let place = document.as_ref().and_then(|d| d.find(&key));
            let place = place.map(|p| format!(":{}:{}", p.line, p.column)).unwrap_or_default();
            format!("{place}: `{key}` {text}")
        })?;
        Ok(config)
    }

    /// How values stand to each other; the key, and what is wrong with it. Ranges are the schema's.
    pub(super) fn validate(&self) -> Result<(), (String, String)> {
        let refuse = |key: &str, text: String| Err((key.to_owned(), text));
        match self.alpha.validate() {
            Err(alpha::params::ParamError::OutOfRange { key, value, range }) => {
                return Err((
                    format!("alpha.{key}"),
                    format!("is {}, it must be {range}", schema::short(value)),
                ));
            }
            Err(other) => return refuse("alpha", other.to_string()),
            Ok(()) => {}
        }
        self.router.validate().map_err(|e| {
            (format!("router.{}", e.key), format!("is {}, but {}", schema::short(e.value), e.rule))
        })?;
        let m = &self.market;
        if m.symbols.len() > 400 {
            return refuse(
                "market.symbols",
                format!("has {} entries, it takes 400 at most", m.symbols.len()),
            );
        }
        for (key, age) in [
            ("market.ob_stale_after_ms", m.ob_stale_after_ms),
            ("market.scan_stale_after_ms", m.scan_stale_after_ms),
        ] {
            if age < m.tick_ms {
                return refuse(key, format!("is {age} ms, less than market.tick_ms ({} ms)", m.tick_ms));
            }
        }
        if m.bar_ms < m.tick_ms || !m.bar_ms.is_multiple_of(m.tick_ms) {
            return refuse(
                "market.bar_ms",
                format!("is {} ms, which is no multiple of market.tick_ms ({} ms)", m.bar_ms, m.tick_ms),
            );
        }
        if (1..500).contains(&m.audit_interval_ms) {
            return refuse("market.audit_interval_ms", "is 0 (never), or 500 ms and more".to_owned());
        }
        match self.runtime.layout {
            None | Some(1 | 2 | 4 | 6) => Ok(()),
            Some(n) => refuse("runtime.layout", format!("is {n}, it is one of 1, 2, 4, 6")),
        }
    }
}

/// The library's error where the schema has none: the place, and in our words that the value does not fit.
fn explain(error: &serde_saphyr::Error) -> String {
    let place = error.location().map(|l| format!(":{}:{}", l.line(), l.column())).unwrap_or_default();
    format!("{place}: this value does not fit its key; `dolphin config schema` says what may stand there")
}
