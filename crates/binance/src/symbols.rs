//! The session's instruments, found by the venue's name.

use std::sync::Arc;

use market::{Instrument, SymbolId};

/// The instruments of a session, by id and by name. Cheap to clone: all stages share one table.
#[derive(Debug, Clone)]
pub struct Symbols {
    instruments: Arc<[Instrument]>,
    /// Ids in the order of the names.
    by_name: Arc<[SymbolId]>,
}

impl Symbols {
    /// A table of `instruments`, whose ids must be their places.
    ///
    /// # Panics
    /// If an id is not the instrument's place: the table is built by the program, never from input.
    pub fn new(instruments: Vec<Instrument>) -> Self {
        for (place, instrument) in instruments.iter().enumerate() {
            assert_eq!(instrument.id.index(), place, "{} is not at its place", instrument.symbol);
        }
        let mut by_name: Vec<SymbolId> = instruments.iter().map(|i| i.id).collect();
        by_name.sort_by_key(|id| &instruments[id.index()].symbol);
        Self { instruments: instruments.into(), by_name: by_name.into() }
    }

    /// The id of a venue name (upper case, as in the venue's events).
    pub fn id(&self, name: &str) -> Option<SymbolId> {
        let name_of = |id: &SymbolId| self.instruments[id.index()].symbol.as_str();
        let place = self.by_name.binary_search_by_key(&name, name_of).ok()?;
        Some(self.by_name[place])
    }

    /// The instrument of an id.
    pub fn get(&self, id: SymbolId) -> Option<&Instrument> {
        self.instruments.get(id.index())
    }

    /// The instrument of a venue name.
    pub fn by_name(&self, name: &str) -> Option<&Instrument> {
        self.id(name).and_then(|id| self.get(id))
    }

    /// All instruments, in the order of their ids.
    pub fn all(&self) -> &[Instrument] {
        &self.instruments
    }
}
