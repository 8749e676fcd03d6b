//! The scanner of frames as the venue writes them.
use super::{Decoded, Levels, SymbolTable};
pub(super) fn scan(_frame: &[u8], _table: &SymbolTable, _levels: &mut Levels) -> Option<Decoded> {
    None
}
