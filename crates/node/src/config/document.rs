//! A YAML text as a tree that remembers where each key and value stands.

use granit_parser::{Event, Parser, ScalarStyle};

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Value {
    /// A text; `plain` if it stands without quotes, so that it may be a number.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug, Clone)]
pub struct Key {
    pub name: String,
    pub place: Place,
}

/// Why a text gives no tree.
pub enum Unread {
    /// Nothing but comments and white space.
    Empty,
    /// It is no YAML; the place, and what was met.
    Broken(Place),
    /// Aliases, tags, several documents: YAML that is read, but not with places.
    Unplaced,
}

impl Node {
    /// The tree of a text of one document.
    pub fn read(text: &str) -> Result<Self, Unread> {
        let mut events = Vec::new();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|e| Unread::Broken(place(e.marker())))?;
            events.push((event, place(&span.start)));
        }
        let mut rest = events.into_iter().filter(|(e, _)| {
            !matches!(
                e,
                Event::StreamStart
                    | Event::StreamEnd
                    | Event::DocumentStart(..)
                    | Event::DocumentEnd
                    | Event::Comment(..)
            )
        });
        let root = node(&mut rest)?;
        match (root, rest.next()) {
            (None, _) => Err(Unread::Empty),
            (Some(root), None) if !root.is_null() => Ok(root),
            (Some(_), None) => Err(Unread::Empty),
            (Some(_), Some(_)) => Err(Unread::Unplaced),
        }
    }

    /// Nothing stands there.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// The place of the key at a path of keys, or of the nearest above it that is there.
    pub fn find(&self, path: &str) -> Option<Place> {
        let (mut at, mut found) = (self, None);
        for name in path.split('.') {
            let Value::Mapping(entries) = &at.value else { break };
            let Some((key, value)) = entries.iter().find(|(key, _)| key.name == name) else { break };
            found = Some(key.place);
            at = value;
        }
        found
    }

    /// Does a key stand at exactly this path?
    pub fn has(&self, path: &str) -> Option<Place> {
        let mut at = self;
        let mut found = None;
        for name in path.split('.') {
            let Value::Mapping(entries) = &at.value else { return None };
            let (key, value) = entries.iter().find(|(key, _)| key.name == name)?;
            (at, found) = (value, Some(key.place));
        }
        found
    }
}

fn place(marker: &granit_parser::Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

/// The next node; none where a collection or the text ends.
fn node<'a>(events: &mut impl Iterator<Item = (Event<'a>, Place)>) -> Result<Option<Node>, Unread> {
    let Some((event, place)) = events.next() else { return Ok(None) };
    let value = match event {
        Event::Scalar(text, style, _, None) => {
            Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
        }
        Event::SequenceStart(_, _, None) => {
            let mut items = Vec::new();
            while let Some(item) = node(events)? {
                items.push(item);
            }
            Value::Sequence(items)
        }
        Event::MappingStart(_, _, None) => Value::Mapping(mapping(events)?),
        Event::SequenceEnd | Event::MappingEnd => return Ok(None),
        _ => return Err(Unread::Unplaced),
    };
    Ok(Some(Node { place, value }))
}

fn mapping<'a>(events: &mut impl Iterator<Item = (Event<'a>, Place)>) -> Result<Vec<(Key, Node)>, Unread> {
    let mut entries = Vec::new();
    while let Some(key) = node(events)? {
        let Value::Scalar { text: name, .. } = key.value else { return Err(Unread::Unplaced) };
        // `<<` merges an alias: read, but not with places.
        let Some(value) = node(events)?.filter(|_| name != "<<") else { return Err(Unread::Unplaced) };
        entries.push((Key { name, place: key.place }, value));
    }
    Ok(entries)
}
