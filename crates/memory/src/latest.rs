//! A queue that keeps only the latest value per key, in the order of the writes.
//!
//! What comes out is a subsequence of what went in: an overwritten value is gone, the newer one stands where it was
//! written. So whoever reads a value has already been given everything written before it.

use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct LatestQueue<K, V> {
    next: u64,
    order: BTreeMap<u64, K>,
    values: BTreeMap<K, (u64, V)>,
}

impl<K, V> Default for LatestQueue<K, V> {
    fn default() -> Self {
        Self { next: 0, order: BTreeMap::new(), values: BTreeMap::new() }
    }
}

impl<K: Clone + Ord, V> LatestQueue<K, V> {
    /// Appends; the value it displaces comes back.
    pub(crate) fn push(&mut self, key: K, value: V) -> Option<V> {
        let ticket = self.next;
        self.next += 1;
        let old = self.values.insert(key.clone(), (ticket, value));
        self.order.insert(ticket, key);
        old.map(|(ticket, value)| {
            self.order.remove(&ticket);
            value
        })
    }

    /// The oldest, with its ticket for [`Self::restore`].
    pub(crate) fn pop(&mut self) -> Option<(u64, K, V)> {
        let (ticket, key) = self.order.pop_first()?;
        let (_, value) = self.values.remove(&key).expect("every ordered key has its value");
        Some((ticket, key, value))
    }

    /// Puts back what was popped, at its old place, unless there is a newer value by now.
    pub(crate) fn restore(&mut self, ticket: u64, key: K, value: V) -> bool {
        if self.values.contains_key(&key) {
            return false;
        }
        self.order.insert(ticket, key.clone());
        self.values.insert(key, (ticket, value));
        true
    }

    /// The oldest, left where it is.
    pub(crate) fn first(&self) -> Option<&V> {
        let key = self.order.values().next()?;
        self.get(key)
    }

    /// Takes out what `which` picks, in order.
    pub(crate) fn drain_where(&mut self, which: impl Fn(&V) -> bool) -> Vec<(K, V)> {
        let picked = self.order.iter().filter(|(_, key)| self.get(key).is_some_and(&which));
        let tickets: Vec<u64> = picked.map(|(ticket, _)| *ticket).collect();
        let keys = tickets.iter().filter_map(|ticket| self.order.remove(ticket));
        let taken = keys.filter_map(|key| self.values.remove(&key).map(|(_, value)| (key, value)));
        taken.collect()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(queue: &mut LatestQueue<u8, u32>) -> Vec<(u8, u32)> {
        std::iter::from_fn(|| queue.pop().map(|(_, k, v)| (k, v))).collect()
    }

    #[test]
    fn a_restored_value_keeps_its_place_and_loses_to_a_newer_one() {
        let mut queue = LatestQueue::default();
        queue.push(1, 10);
        queue.push(2, 20);
        let (ticket, key, value) = queue.pop().unwrap();
        queue.push(3, 30);
        assert!(queue.restore(ticket, key, value));
        assert_eq!(drain(&mut queue), [(1, 10), (2, 20), (3, 30)]);

        queue.push(1, 11);
        let (ticket, key, value) = queue.pop().unwrap();
        queue.push(1, 12);
        assert!(!queue.restore(ticket, key, value));
        assert_eq!(drain(&mut queue), [(1, 12)]);
    }

    proptest! {
        #[test]
        fn drains_the_last_write_of_each_key_in_order(keys in prop::collection::vec(0u8..8, 0..60)) {
            let mut queue = LatestQueue::default();
            for (at, key) in keys.iter().enumerate() {
                queue.push(*key, at as u32);
            }
            let expected: Vec<_> = keys.iter().enumerate()
                .filter(|(at, key)| !keys[at + 1..].contains(key))
                .map(|(at, key)| (*key, at as u32))
                .collect();
            prop_assert_eq!(queue.len(), expected.len());
            prop_assert_eq!(drain(&mut queue), expected);
        }
    }
}
