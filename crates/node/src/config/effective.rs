//! The values that a start uses, each with where it comes from.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::document::Node;
use super::schema;
use super::sections::Config;
use crate::error::Failure;

/// One key as a start uses it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effective {
    /// Sections and key, joined by dots.
    pub key: String,
    /// The value.
    pub value: Value,
    /// `default`, `profile NAME`, or `FILE:LINE`.
    pub origin: String,
}

/// Every key of a configuration file, in the order of the sections.
pub fn effective(path: &Path) -> Result<Vec<Effective>, Failure> {
    let config = Config::load(path)?;
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::usage(format!("cannot read the configuration {}: {e}", path.display())))?;
    let document = Node::read(&text).ok();
    let values = serde_json::to_value(&config).unwrap_or_default();
    let keys = schema::keys().into_iter().map(|key| {
        let value = at(&values, &key.path).cloned().unwrap_or_else(|| key.default.clone());
        let origin = match document.as_ref().and_then(|d| d.has(&key.path)) {
            Some(place) => format!("{}:{}", path.display(), place.line),
            None if value == key.default => "default".to_owned(),
            None if key.path.starts_with("alpha.") => format!("profile {}", config.alpha.profile),
            None => path.display().to_string(),
        };
        Effective { key: key.path, value, origin }
    });
    Ok(keys.collect())
}

fn at<'a>(values: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(values, |value, name| value.get(name))
}
