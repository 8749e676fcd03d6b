//! Names to symbols.
#![expect(
    clippy::disallowed_types,
    reason = "its hasher has no seed, and nothing goes through it in its order"
)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use market::{Increment, Instrument, SymbolId};

/// What decoding needs of an instrument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Place in the table.
    pub(super) place: usize,
    pub(super) symbol: SymbolId,
    pub(super) tick: Increment,
    pub(super) lot: Increment,
}

/// Eight bytes a step, after Firefox's hasher: names are short and come from the venue's own list, so there is nobody
/// to flood the table.
#[derive(Debug, Clone, Copy, Default)]
struct NameHasher(u64);

impl NameHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        self.add(rest.iter().fold(0, |word, &b| word << 8 | u64::from(b)));
    }

    fn write_usize(&mut self, n: usize) {
        self.add(n as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its tags from the top bits and its places from the low ones.
        self.0.rotate_left(26)
    }
}

type NameMap = HashMap<Box<[u8]>, Entry, BuildHasherDefault<NameHasher>>;

/// The instruments of a session by venue name, any script.
#[derive(Debug, Clone)]
pub struct SymbolTable {
    /// As in `s`: upper case.
    names: NameMap,
    /// As in stream names: lower case.
    stream_names: NameMap,
    entries: Vec<Entry>,
}

impl SymbolTable {
    /// `instruments` in column order: the place is the [`SymbolId`].
    pub fn new(instruments: &[Instrument]) -> Self {
        let entry =
            |(place, i): (usize, &Instrument)| Entry { place, symbol: i.id, tick: i.tick, lot: i.lot };
        let entries: Vec<Entry> = instruments.iter().enumerate().map(entry).collect();
        let named = |name: fn(&str) -> String| {
            let names = instruments.iter().map(|i| name(&i.symbol).into_bytes().into());
            names.zip(entries.iter().copied()).collect()
        };
        Self { names: named(str::to_owned), stream_names: named(str::to_lowercase), entries }
    }

    /// The symbol of a venue name.
    pub fn symbol(&self, name: &[u8]) -> Option<SymbolId> {
        self.get(name).map(|e| e.symbol)
    }

    #[inline]
    pub(super) fn get(&self, name: &[u8]) -> Option<&Entry> {
        self.names.get(name)
    }

    /// By the lower-case name that begins a stream name.
    pub(super) fn by_stream(&self, stream: &str) -> Option<&Entry> {
        self.stream_names.get(stream.split('@').next()?.as_bytes())
    }

    /// In column order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn by_id(&self, symbol: SymbolId) -> Option<&Entry> {
        self.entries.iter().find(|e| e.symbol == symbol)
    }
}
