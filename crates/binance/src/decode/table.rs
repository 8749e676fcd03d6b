//! Names to symbols.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use market::{Increment, Instrument, SymbolId};

/// What decoding needs of an instrument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) symbol: SymbolId,
    pub(super) tick: Increment,
    pub(super) lot: Increment,
}

/// FNV-1a: names are short and come from the venue's own list, so there is nobody to flood the table.
#[derive(Debug, Clone, Copy)]
struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
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
        let entry = |i: &Instrument| Entry { symbol: i.id, tick: i.tick, lot: i.lot };
        let named = |name: fn(&str) -> String| {
            instruments.iter().map(|i| (name(&i.symbol).into_bytes().into(), entry(i))).collect()
        };
        Self {
            names: named(str::to_owned),
            stream_names: named(str::to_lowercase),
            entries: instruments.iter().map(entry).collect(),
        }
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

    pub(super) fn by_id(&self, symbol: SymbolId) -> Option<&Entry> {
        self.entries.iter().find(|e| e.symbol == symbol)
    }
}
