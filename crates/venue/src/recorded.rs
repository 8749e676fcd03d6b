//! Recorded markets: see [`Player`].

use std::path::PathBuf;

use market::{Nanos, SymbolId};

use crate::config::{VenueConfig, VenueError};
use crate::core::{Exchange, Listing};

/// Plays recordings.
pub(crate) struct Player;

impl Player {
    pub(crate) fn open(config: &VenueConfig, _: &mut Vec<Listing>) -> Result<Option<Self>, VenueError> {
        match config.recordings.first() {
            None => Ok(None),
            Some(path) => {
                Err(VenueError::Recording { path: PathBuf::from(path), reason: "not yet".into() })
            }
        }
    }
    pub(crate) fn symbols(&self) -> impl Iterator<Item = SymbolId> {
        std::iter::empty()
    }
    pub(crate) fn play(
        &mut self,
        _: Nanos,
        _: &mut Exchange,
        _: Nanos,
        _: impl FnMut(&mut Exchange, SymbolId, (u64, u64), Nanos),
    ) {
    }
    pub(crate) fn bump(&mut self, _: SymbolId) {}
}
