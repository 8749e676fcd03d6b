//! Values that took the place of others under their key, and that nothing writes anew by itself: a trade that was corrected,
//! a day's result. When a split cluster heals, the value of its larger half counts wherever both have one, and that may be the
//! old one. So they are written again for a while.

use std::collections::BTreeMap;

use market::Nanos;

/// Between two writes of the same value, ns.
const EVERY: u64 = 60 * Nanos::SECOND;
/// So long after the first one, ns: no split is to last longer.
const FOR: u64 = 3_600 * Nanos::SECOND;
/// So many at a time; corrections are rare.
const MOST: usize = 256;

/// What is written again.
#[derive(Debug, Default)]
pub struct Replaced {
    values: BTreeMap<(&'static str, String), (String, u64)>,
    due: u64,
}

impl Replaced {
    /// This value has just taken the place of another.
    pub fn keep(&mut self, map: &'static str, key: String, value: String, now: u64) {
        if self.values.is_empty() {
            self.due = now + EVERY;
        }
        if self.values.len() < MOST || self.values.contains_key(&(map, key.clone())) {
            self.values.insert((map, key), (value, now + FOR));
        }
    }

    /// All of them, when it is time.
    pub fn due(&mut self, now: u64) -> Vec<(&'static str, String, String)> {
        if self.values.is_empty() || now < self.due {
            return Vec::new();
        }
        self.due = now + EVERY;
        let all = self.all();
        self.values.retain(|_, (_, until)| now < *until);
        all
    }

    /// All of them.
    pub fn all(&self) -> Vec<(&'static str, String, String)> {
        let copies = self.values.iter().map(|((map, key), (value, _))| (*map, key.clone(), value.clone()));
        copies.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_of_a_key_is_written_every_minute_for_an_hour() {
        let (mut replaced, s) = (Replaced::default(), Nanos::SECOND);
        replaced.keep("m", "k".into(), "1".into(), 0);
        replaced.keep("m", "k".into(), "2".into(), s);
        assert_eq!(replaced.due(59 * s), []);
        let writes = (60..=4_000).filter(|t| {
            let due = replaced.due(t * s);
            assert!(due.iter().all(|d| *d == ("m", "k".to_owned(), "2".to_owned())));
            !due.is_empty()
        });
        assert_eq!(writes.count(), 61);
    }
}
