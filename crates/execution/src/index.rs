//! A lookup from a key's hash to a place in a table, allocated once: open addressing with linear probing, at most half
//! full. It stores places, not keys: the table itself says whether a place holds what is looked for, so two keys with
//! one hash do no harm.

use serde::{Deserialize, Serialize, Serializer};

const EMPTY: u32 = u32::MAX;
/// Slots of the largest index that is read: far more than any table has, and nothing that a damaged number can make absurd.
const MOST_SLOTS: usize = 1 << 22;

/// The index of a table of fixed size.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "Kept")]
pub(crate) struct Index {
    #[serde(serialize_with = "entries")]
    slots: Box<[(u64, u32)]>,
    shift: u32,
}

/// An index as it is kept in a state: its entries, because nearly all of its slots are empty.
#[derive(Deserialize)]
struct Kept {
    slots: Vec<(u64, u32)>,
    shift: u32,
}

/// In an order of their own: where one lies depends on what came and went, and equal indices must have one text.
fn entries<S: Serializer>(slots: &[(u64, u32)], to: S) -> Result<S::Ok, S::Error> {
    let mut entries: Vec<_> = slots.iter().filter(|(_, place)| *place != EMPTY).collect();
    entries.sort_unstable();
    entries.serialize(to)
}

impl TryFrom<Kept> for Index {
    type Error = &'static str;

    fn try_from(Kept { mut slots, shift }: Kept) -> Result<Self, Self::Error> {
        // Older states hold the empty slots as well.
        slots.retain(|(_, place)| *place != EMPTY);
        let size = 1usize.checked_shl(64 - shift.min(64)).filter(|size| *size <= MOST_SLOTS);
        let size = size.filter(|size| slots.len() <= size / 2);
        let mut index = Self::sized(size.ok_or("an index of no possible size, or more than half full")?);
        slots.into_iter().for_each(|(hash, place)| index.insert(hash, place as usize));
        Ok(index)
    }
}

/// Hash of a key of two parts.
pub(crate) const fn hash(a: u64, b: u64) -> u64 {
    let mixed = (a ^ b.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

impl Index {
    /// For at most `entries` entries at a time.
    pub(crate) fn new(entries: usize) -> Self {
        Self::sized((entries.max(2) * 2).next_power_of_two())
    }

    fn sized(size: usize) -> Self {
        Self { slots: vec![(0, EMPTY); size].into_boxed_slice(), shift: 64 - size.trailing_zeros() }
    }

    fn home(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    fn next(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    /// The place under this hash of which `is_it` is true.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut slot = self.home(hash);
        while self.slots[slot].1 != EMPTY {
            let (h, place) = self.slots[slot];
            if h == hash && is_it(place as usize) {
                return Some(place as usize);
            }
            slot = self.next(slot);
        }
        None
    }

    /// Adds a place that is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, place: usize) {
        let mut slot = self.home(hash);
        while self.slots[slot].1 != EMPTY {
            slot = self.next(slot);
        }
        self.slots[slot] = (hash, place as u32);
    }

    /// Takes a place out, if it is there; those behind it move up, so that no probe is cut short.
    pub(crate) fn remove(&mut self, hash: u64, place: usize) {
        let mut slot = self.home(hash);
        while self.slots[slot] != (hash, place as u32) {
            if self.slots[slot].1 == EMPTY {
                return;
            }
            slot = self.next(slot);
        }
        let mask = self.slots.len() - 1;
        let mut hole = slot;
        let mut probe = self.next(slot);
        while self.slots[probe].1 != EMPTY {
            let home = self.home(self.slots[probe].0);
            // Does the way from its home to where it lies lead over the hole?
            if (probe.wrapping_sub(home) & mask) >= (probe.wrapping_sub(hole) & mask) {
                self.slots[hole] = self.slots[probe];
                hole = probe;
            }
            probe = self.next(probe);
        }
        self.slots[hole] = (0, EMPTY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Whatever comes and goes, it finds what a map finds; few hashes, so that probes are long.
        #[test]
        fn it_finds_what_a_map_finds(steps in prop::collection::vec((0u64..40, any::<bool>()), 1..400)) {
            let mut index = Index::new(40);
            let mut map = BTreeMap::new();
            let h = |key: u64| hash(key % 7, 0);
            for (key, add) in steps {
                if add && !map.contains_key(&key) {
                    index.insert(h(key), key as usize);
                    map.insert(key, ());
                } else if !add {
                    index.remove(h(key), key as usize);
                    map.remove(&key);
                }
                for k in 0..40 {
                    let found = index.find(h(k), |place| place == k as usize);
                    prop_assert_eq!(found, map.contains_key(&k).then_some(k as usize));
                }
            }
            // And what was kept finds the same, and is kept as the same.
            let text = serde_json::to_string(&index).unwrap();
            let again: Index = serde_json::from_str(&text).unwrap();
            for k in 0..40 {
                let found = again.find(h(k), |place| place == k as usize);
                prop_assert_eq!(found, map.contains_key(&k).then_some(k as usize));
            }
            prop_assert_eq!(serde_json::to_string(&again).unwrap(), text);
        }
    }

    #[test]
    fn older_states_hold_empty_slots_and_broken_ones_are_refused() {
        let read = |text: &str| serde_json::from_str::<Index>(text);
        let old = r#"{"slots":[[0,4294967295],[5,1],[0,4294967295],[0,4294967295]],"shift":62}"#;
        assert_eq!(read(old).unwrap().find(5, |place| place == 1), Some(1));
        assert!(read(r#"{"slots":[[1,1],[2,2],[3,3]],"shift":62}"#).is_err(), "too full");
        for shift in [0, 20, 64, 65] {
            assert!(read(&format!(r#"{{"slots":[[1,1]],"shift":{shift}}}"#)).is_err(), "{shift}");
        }
    }
}
