//! Large values that one stage makes and several threads read: each lies in a place that is allocated once, and is shared
//! instead of copied.
//!
//! The stage keeps a handle of every place; a place is free again once the readers have dropped theirs. Nothing is ever
//! freed by a reader, because the stage's handle is the last.

use std::sync::Arc;

/// The places, as their one writer holds them.
#[derive(Debug)]
pub struct Shared<T>(Vec<Arc<T>>);

impl<T> Shared<T> {
    /// So many places, each made by `make`.
    pub fn new(places: usize, make: impl FnMut(usize) -> T) -> Self {
        Self((0..places).map(make).map(Arc::new).collect())
    }

    /// Fills a free place and gives a handle of it; `None`: all of them are still read. The first free one is taken: it is
    /// still in the cache, and as many places as were never needed at once are never touched.
    #[inline]
    pub fn share(&mut self, fill: impl FnOnce(&mut T)) -> Option<Arc<T>> {
        for place in &mut self.0 {
            if let Some(value) = Arc::get_mut(place) {
                fill(value);
                return Some(Arc::clone(place));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_again_once_all_its_readers_are_gone() {
        let mut shared = Shared::new(2, |_| 0);
        let mut give = |n| shared.share(|value| *value = n);
        let (first, second) = (give(1).unwrap(), give(2).unwrap());
        assert!(give(3).is_none(), "both are read");
        let again = Arc::clone(&first);
        drop(first);
        assert!(give(3).is_none(), "the first has another reader");
        drop(again);
        assert_eq!((*give(4).unwrap(), *second), (4, 2));
        assert_eq!(*give(5).unwrap(), 5, "the same place: nobody kept it");
    }
}
