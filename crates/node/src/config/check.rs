//! A configuration text against the schema: every fault at once, each with its place, its key and what is allowed.

use serde_json::Value as Schema;

use super::document::{Node, Place, Value};
use super::schema;

/// One fault of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub text: String,
}

/// Every fault of a tree.
pub fn faults(root: &Node) -> Vec<Fault> {
    let schema = match &root.value {
        Value::Mapping(entries) => schema::of_sections(entries.iter().map(|(key, _)| key.name.as_str())),
        _ => schema::schema(),
    };
    let mut found = Vec::new();
    value(root, &schema, "", &mut found);
    found
}

fn value(node: &Node, schema: &Schema, path: &str, found: &mut Vec<Fault>) {
    if node.is_null() && (schema::is_kind(schema, "null") || schema::properties(schema).is_some()) {
        return;
    }
    let mut fault = |text: String| found.push(Fault { place: node.place, text });
    match (&node.value, schema::properties(schema)) {
        (Value::Mapping(entries), Some(known)) => section(entries, known, path, found),
        (_, Some(known)) => {
            let some: Vec<&str> = known.keys().map(String::as_str).take(4).collect();
            let name = if path.is_empty() { "a configuration".to_owned() } else { format!("`{path}`") };
            fault(format!("{name} is a section of keys ({}, …), not a value", some.join(", ")));
        }
        (Value::Sequence(items), None) if schema::is_kind(schema, "array") => {
            let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
            if items.len() as u64 > most {
                fault(format!("`{path}` has {} entries, it takes {most} at most", items.len()));
            }
            for item in items {
                value(item, &schema["items"], path, found);
            }
        }
        (Value::Scalar { text, plain }, None) => {
            if let Err(text) = scalar(text, *plain, schema, path) {
                fault(text);
            }
        }
        _ => {
            let key = path.rsplit('.').next().unwrap_or(path);
            fault(format!("`{path}` is {}", schema::allowed(schema, key)));
        }
    }
}

fn section(
    entries: &[(super::document::Key, Node)],
    known: &serde_json::Map<String, Schema>,
    path: &str,
    found: &mut Vec<Fault>,
) {
    for (i, (key, inner)) in entries.iter().enumerate() {
        let full = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
        if let Some((first, _)) = entries[..i].iter().find(|(other, _)| other.name == key.name) {
            let text = format!("`{full}` stands twice, first in line {}", first.place.line);
            found.push(Fault { place: key.place, text });
        } else if let Some(property) = known.get(&key.name) {
            value(inner, property, &full, found);
        } else {
            let near = alpha::params::nearest(&key.name, known.keys().map(String::as_str));
            let text = match near {
                Some(near) => format!("unknown key `{}`; did you mean `{near}`?", key.name),
                None => {
                    let all: Vec<&str> = known.keys().map(String::as_str).collect();
                    format!("unknown key `{}`; there are {}", key.name, all.join(", "))
                }
            };
            found.push(Fault { place: key.place, text });
        }
    }
}

fn scalar(text: &str, plain: bool, schema: &Schema, path: &str) -> Result<(), String> {
    let key = path.rsplit('.').next().unwrap_or(path);
    let shown: String = text.chars().take(40).collect();
    let wanted = || Err(format!("`{path}` is `{shown}`, it is {}", schema::allowed(schema, key)));
    let words = schema::words(schema);
    if !words.is_empty() {
        return match words.contains(&text) {
            true => Ok(()),
            false => match alpha::params::nearest(text, words.iter().copied()) {
                Some(near) => Err(format!("`{path}` is `{shown}`; did you mean `{near}`?")),
                None => Err(format!("`{path}` is `{shown}`, it is one of {}", words.join(", "))),
            },
        };
    }
    if schema::is_kind(schema, "boolean") {
        return if plain && matches!(text, "true" | "false") { Ok(()) } else { wanted() };
    }
    let whole = schema::is_kind(schema, "integer");
    if whole || schema::is_kind(schema, "number") {
        // Other spellings of a number (0x10) are left to the reader.
        if plain && (text.starts_with("0x") || text.starts_with("0o")) {
            return Ok(());
        }
        let Some(x) = text.parse::<f64>().ok().filter(|x| plain && x.is_finite()) else { return wanted() };
        if whole && text.parse::<i128>().is_err() {
            return wanted();
        }
        return in_range(x, schema, path, key);
    }
    if schema::is_kind(schema, "string") { Ok(()) } else { wanted() }
}

fn in_range(x: f64, schema: &Schema, path: &str, key: &str) -> Result<(), String> {
    let s = schema::variants(schema)
        .into_iter()
        .find(|s| s.get("maximum").is_some() || s.get("minimum").is_some());
    let Some(s) = s else { return Ok(()) };
    let bound = |name: &str| s.get(name).and_then(Schema::as_f64);
    let good = bound("minimum").is_none_or(|least| x >= least)
        && bound("exclusiveMinimum").is_none_or(|above| x > above)
        && bound("maximum").is_none_or(|most| x <= most);
    if good {
        return Ok(());
    }
    let unit = schema::unit(key);
    let range = schema::range(schema, key).unwrap_or_else(|| schema::allowed(schema, key));
    Err(format!("`{path}` is {}{unit}, it lies in {range}", schema::short(x)))
}
