//! The prices of one side of a book, best last: books change near the best price, so a change moves little memory.

use market::Side;

/// Prices of a side, each with something.
#[derive(Debug)]
pub(crate) struct Levels<T> {
    side: Side,
    /// Rising: the price of a bid, the negative price of an ask.
    keys: Vec<i64>,
    /// What is at each key.
    values: Vec<T>,
}

impl<T> Levels<T> {
    pub(crate) const fn new(side: Side) -> Self {
        Self { side, keys: Vec::new(), values: Vec::new() }
    }

    const fn key(&self, px: i64) -> i64 {
        match self.side {
            Side::Buy => px,
            Side::Sell => -px,
        }
    }

    /// The place of a price, or where it would be. Most are near the best: the search begins there.
    fn find(&self, px: i64) -> Result<usize, usize> {
        let (key, len) = (self.key(px), self.keys.len());
        let mut width = 8;
        while width < len && self.keys[len - width] > key {
            width *= 2;
        }
        let from = len.saturating_sub(width);
        match self.keys[from..].binary_search(&key) {
            Ok(i) => Ok(from + i),
            Err(i) => Err(from + i),
        }
    }

    pub(crate) fn get(&self, px: i64) -> Option<&T> {
        self.find(px).ok().map(|i| &self.values[i])
    }

    pub(crate) fn get_mut(&mut self, px: i64) -> Option<&mut T> {
        self.find(px).ok().map(|i| &mut self.values[i])
    }

    /// Puts something at a price; what was there before.
    pub(crate) fn insert(&mut self, px: i64, value: T) -> Option<T> {
        match self.find(px) {
            Ok(i) => Some(std::mem::replace(&mut self.values[i], value)),
            Err(i) => {
                self.keys.insert(i, self.key(px));
                self.values.insert(i, value);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, px: i64) -> Option<T> {
        let i = self.find(px).ok()?;
        self.keys.remove(i);
        Some(self.values.remove(i))
    }

    /// How many prices there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The `n`-th price from the best.
    pub(crate) fn nth(&self, n: usize) -> Option<(i64, &T)> {
        let at = self.keys.len().checked_sub(n + 1)?;
        // The key of a key is the price.
        Some((self.key(self.keys[at]), &self.values[at]))
    }

    /// The same, to be changed.
    pub(crate) fn nth_mut(&mut self, n: usize) -> Option<(i64, &mut T)> {
        let at = self.keys.len().checked_sub(n + 1)?;
        Some((self.key(self.keys[at]), &mut self.values[at]))
    }

    /// All prices, best first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &T)> {
        self.keys.iter().zip(&self.values).rev().map(|(key, value)| (self.key(*key), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn they_are_what_a_map_is() {
        for side in [Side::Buy, Side::Sell] {
            let (mut levels, mut map) = (Levels::new(side), BTreeMap::new());
            let mut x = 7u64;
            for n in 0..5000u64 {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let px = (x >> 33) as i64 % 60;
                if x >> 62 == 0 {
                    assert_eq!(levels.remove(px), map.remove(&px));
                } else {
                    assert_eq!(levels.insert(px, n), map.insert(px, n));
                }
                assert_eq!(levels.get(px), map.get(&px));
                assert_eq!(levels.get_mut(px), map.get_mut(&px));
                let (n, len) = (x as usize % 60, levels.len());
                assert_eq!(levels.nth(n).map(|(px, v)| (px, *v)), levels.nth_mut(n).map(|(px, v)| (px, *v)));
                assert_eq!(levels.nth(n).is_some(), n < len);
            }
            let mut all: Vec<(i64, &u64)> = map.iter().map(|(px, v)| (*px, v)).collect();
            if side == Side::Buy {
                all.reverse();
            }
            assert_eq!(levels.iter().collect::<Vec<_>>(), all);
        }
    }
}
