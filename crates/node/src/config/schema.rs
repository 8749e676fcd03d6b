//! The JSON schema of the configuration: kinds, ranges, defaults and texts of every key, made from the types. Help,
//! the file's check, `dolphin config` and the book's reference all read it, so that they cannot differ.

use alpha::Params;
use execution::RouterConfig;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use telemetry::config::TelemetrySection;

use super::breaker::BreakerConfig;
use super::sections::{self, Config};

/// The whole schema: every section inline, every default the one that a start uses.
pub fn schema() -> Value {
    let mut schema = generator().into_root_schema_for::<Config>().to_value();
    set_ranges(&mut schema["properties"]["alpha"]);
    set_defaults(&mut schema, &defaults());
    schema
}

/// What the check of a file needs of it: the sections that stand there, without defaults. The whole one takes a millisecond
/// of each start to make; it is made where a key is none of ours, so that the fault can name those that are.
pub fn of_sections<'a>(names: impl IntoIterator<Item = &'a str>) -> Value {
    let mut generator = generator();
    let mut properties = Map::new();
    for name in names {
        let Some(section) = section(name, &mut generator) else { return schema() };
        properties.insert(name.to_owned(), section.to_value());
    }
    if let Some(alpha) = properties.get_mut("alpha") {
        set_ranges(alpha);
    }
    Map::from_iter([("properties".to_owned(), Value::Object(properties))]).into()
}

/// A field of [`Config`].
fn section(name: &str, generator: &mut SchemaGenerator) -> Option<Schema> {
    Some(match name {
        "alpha" => generator.subschema_for::<Params>(),
        "direction" => generator.subschema_for::<sections::Direction>(),
        "signal" => generator.subschema_for::<sections::Signal>(),
        "hibernate_action" => generator.subschema_for::<sections::HibernateAction>(),
        "market" => generator.subschema_for::<sections::MarketConfig>(),
        "venue" => generator.subschema_for::<sections::VenueConfig>(),
        "router" => generator.subschema_for::<RouterConfig>(),
        "breaker" => generator.subschema_for::<BreakerConfig>(),
        "memory" => generator.subschema_for::<sections::MemorySection>(),
        "journal" => generator.subschema_for::<sections::JournalConfig>(),
        "roles" => generator.subschema_for::<sections::RolesConfig>(),
        "runtime" => generator.subschema_for::<sections::RuntimeConfig>(),
        "telemetry" => generator.subschema_for::<TelemetrySection>(),
        _ => return None,
    })
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator()
}

/// The ranges of the parameters, which are the engine's.
fn set_ranges(alpha: &mut Value) {
    let parameters = &mut alpha["properties"];
    for (key, least, most) in Params::key_ranges() {
        let property = &mut parameters[key];
        let (least_key, most_key) =
            if property["type"] == "array" { ("minItems", "maxItems") } else { ("minimum", "maximum") };
        property[least_key] = number(least);
        property[most_key] = number(most);
    }
}

/// The effective values of an empty configuration.
pub fn defaults() -> Value {
    serde_json::to_value(Config::default()).unwrap_or_default()
}

fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}

/// A section's default is that of its keys; a key's is the value that a start uses.
fn set_defaults(schema: &mut Value, value: &Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.remove("default");
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (key, property) in properties {
            set_defaults(property, &value[key.as_str()]);
        }
    } else {
        schema.insert("default".to_owned(), value.clone());
    }
}

/// One key, with the words for people.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyText {
    /// Sections and key, joined by dots.
    pub path: String,
    /// What may stand there.
    pub allowed: String,
    /// What a start uses without it.
    pub default: Value,
    /// What it is.
    pub text: String,
}

/// Every key in the order of the sections.
pub fn keys() -> Vec<KeyText> {
    let mut found = Vec::new();
    collect(&schema(), "", &mut found);
    found
}

fn collect(schema: &Value, path: &str, found: &mut Vec<KeyText>) {
    if let Some(properties) = properties(schema) {
        for (key, property) in properties {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(property, &path, found);
        }
        return;
    }
    let text = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
    let key = path.rsplit('.').next().unwrap_or(path);
    let default = schema.get("default").cloned().unwrap_or_default();
    found.push(KeyText { path: path.to_owned(), allowed: allowed(schema, key), default, text });
}

/// The keys of a section, also of one that may be left out.
pub fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    let section = variants(schema).into_iter().find(|s| s.get("properties").is_some())?;
    section["properties"].as_object()
}

/// The alternatives that a schema names; itself, if there is one only.
pub fn variants(schema: &Value) -> Vec<&Value> {
    let list = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    list.map_or_else(|| vec![schema], |list| list.iter().flat_map(variants).collect())
}

/// The words that a key may take; empty if it is no choice of words.
pub fn words(schema: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    for variant in variants(schema) {
        found.extend(variant.get("const").and_then(Value::as_str));
        found.extend(
            variant.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str),
        );
    }
    found
}

/// Is a kind (`integer`, `number`, `boolean`, `string`, `array`, `object`, `null`) allowed?
pub fn is_kind(schema: &Value, kind: &str) -> bool {
    variants(schema).into_iter().any(|s| match &s["type"] {
        Value::String(one) => one == kind,
        Value::Array(several) => several.iter().any(|t| t == kind),
        _ => false,
    })
}

/// What may stand at a key, in words: kind, range and unit.
pub fn allowed(schema: &Value, key: &str) -> String {
    let words = words(schema);
    if !words.is_empty() {
        return words.join(", ");
    }
    let kind = match () {
        () if is_kind(schema, "integer") => "a whole number",
        () if is_kind(schema, "number") => "a number",
        () if is_kind(schema, "boolean") => return "true or false".to_owned(),
        () if is_kind(schema, "array") => return "a list".to_owned(),
        () => return "a text".to_owned(),
    };
    range(schema, key).unwrap_or_else(|| kind.to_owned())
}

/// The range of a number, with its unit; none if it has none.
pub fn range(schema: &Value, key: &str) -> Option<String> {
    let s = variants(schema).into_iter().find(|s| s.get("maximum").is_some())?;
    let most = short(s["maximum"].as_f64()?);
    let unit = unit(key);
    Some(match (s.get("exclusiveMinimum"), s.get("minimum")) {
        (Some(above), _) => format!("above {}, to {most}{unit}", short(above.as_f64()?)),
        (None, Some(least)) => format!("{} … {most}{unit}", short(least.as_f64()?)),
        (None, None) => format!("to {most}{unit}"),
    })
}

/// The unit that stands in a key's name.
pub fn unit(key: &str) -> &'static str {
    let known = [
        ("_ms", " ms"),
        ("_s", " s"),
        ("_bps", " bps"),
        ("_bars", " bars"),
        ("_usd", " USDT"),
        ("_x_capital", " × capital"),
        ("_of_equity", " of equity"),
        ("_per_min", " a minute"),
        ("_per_10s", " in 10 s"),
    ];
    known.iter().find(|(ending, _)| key.ends_with(ending)).map_or("", |(_, unit)| unit)
}

/// A number as people write it: no long rows of digits.
pub fn short(x: f64) -> String {
    if x != 0.0 && !(1e-4..1e12).contains(&x.abs()) { format!("{x:e}") } else { format!("{x}") }
}

/// The reference of the book: a table for each section.
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration\n\n<!-- Made by `dolphin config schema --markdown`; a test holds it to the program. -->\n\n\
         A file is YAML. A key that is left out takes its default; an unknown key is an error that names the nearest\n\
         known one. `dolphin config show` prints the effective values with where each comes from, `dolphin config \
         schema`\nthe JSON schema for editors.\n",
    );
    let mut section = None;
    for key in keys() {
        let (parent, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
        if section.as_deref() != Some(parent) {
            let title = if parent.is_empty() { "At the top".to_owned() } else { format!("`{parent}`") };
            out += &format!("\n## {title}\n\n| key | default | may be | meaning |\n|---|---|---|---|\n");
            section = Some(parent.to_owned());
        }
        let default = match &key.default {
            Value::Null => "–".to_owned(),
            value => format!("`{}`", plain(value)),
        };
        out += &format!("| `{name}` | {default} | {} | {} |\n", key.allowed, key.text.replace('|', "\\|"));
    }
    out
}

/// A value on one line.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Number(n) if n.is_f64() => n.as_f64().map_or_else(|| n.to_string(), short),
        other => other.to_string(),
    }
}
