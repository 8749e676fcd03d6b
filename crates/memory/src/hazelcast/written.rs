//! The values written last under a lease, as the members have them: what the next comparison expects.

use std::collections::BTreeMap;

/// Longest value kept; a longer one is read again before it is replaced.
const MAX_BYTES: usize = 64 << 10;
/// Most values kept.
const MAX_VALUES: usize = 1024;

/// By map and key. It only saves reads: a comparison that fails reads anew.
#[derive(Debug, Default)]
pub(super) struct Written(BTreeMap<(String, String), Vec<u8>>);

impl Written {
    pub(super) fn get(&self, map: &str, key: &str) -> Option<Vec<u8>> {
        self.0.get(&(map.to_owned(), key.to_owned())).cloned()
    }

    pub(super) fn keep(&mut self, map: &str, key: &str, value: Vec<u8>) {
        let cell = (map.to_owned(), key.to_owned());
        if value.len() > MAX_BYTES {
            self.0.remove(&cell);
            return;
        }
        if self.0.len() >= MAX_VALUES && !self.0.contains_key(&cell) {
            self.0.clear();
        }
        self.0.insert(cell, value);
    }
}
