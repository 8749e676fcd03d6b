//! Where a backend puts changes: latest value per key if the reader is slow, and the rules of a resync.
//!
//! No backend replays what was missed while the connection was gone. So a registration is always followed by a read
//! of the current values (the *resync*), of which only the differences to what was last seen are reported. An event
//! that arrives between the registration and the answer of that read is newer than the answer, and wins.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::latest::LatestQueue;

/// Most keys one watch follows; changes of further keys are dropped with a warning.
pub const MAX_WATCHED_KEYS: usize = 65_536;

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Its value now; `None`: removed.
    pub value: Option<String>,
}

/// Where a backend puts the changes of one watch, and a [`crate::Watch`] takes them.
///
/// A backend calls [`Self::begin`] before it sends a registration, [`Self::event`] with each change that comes in, and
/// [`Self::resync`] with the values it read after the registration was confirmed; after an outage the same again. It
/// drops a sink that [`Self::is_closed`].
#[derive(Debug, Default)]
pub struct Sink {
    state: Mutex<State>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: LatestQueue<String, Option<String>>,
    /// Fingerprint of the last value reported, of the keys that exist.
    known: BTreeMap<String, u64>,
    /// Keys with an event since the registration began; `None` when no registration is under way.
    fresh: Option<BTreeSet<String>>,
    /// Told of every change, where one reader has several watches.
    bell: Option<Arc<Notify>>,
    overflowed: bool,
    closed: bool,
}

fn fingerprint(value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl State {
    fn report(&mut self, key: String, value: Option<String>) {
        match &value {
            Some(text) => {
                if !self.known.contains_key(&key) && self.known.len() >= MAX_WATCHED_KEYS {
                    if !self.overflowed {
                        tracing::warn!(limit = MAX_WATCHED_KEYS, %key, "a watched map has too many keys, the rest is not followed");
                    }
                    self.overflowed = true;
                    return;
                }
                self.known.insert(key.clone(), fingerprint(text));
            }
            None => {
                self.known.remove(&key);
            }
        }
        self.pending.push(key, value);
    }
}

impl Sink {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change, so a poisoned lock still guards a sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A registration is about to be sent.
    pub fn begin(&self) {
        self.state().fresh = Some(BTreeSet::new());
    }

    /// A change came in: the new value, `None` for a removal.
    pub fn event(&self, key: &str, value: Option<String>) {
        let mut state = self.state();
        if let Some(fresh) = &mut state.fresh
            && fresh.len() < MAX_WATCHED_KEYS
        {
            fresh.insert(key.to_owned());
        }
        state.report(key.to_owned(), value);
        self.tell(state);
    }

    fn tell(&self, state: MutexGuard<'_, State>) {
        let bell = state.bell.clone();
        drop(state);
        self.notify.notify_one();
        if let Some(bell) = bell {
            bell.notify_one();
        }
    }

    /// From now on this is told of every change, too.
    pub(crate) fn set_bell(&self, bell: Arc<Notify>) {
        self.state().bell = Some(bell);
    }

    /// The whole map was cleared.
    pub fn cleared(&self) {
        let keys: Vec<String> = self.state().known.keys().cloned().collect();
        for key in keys {
            self.event(&key, None);
        }
    }

    /// The current values, read after the registration that [`Self::begin`] announced.
    pub fn resync(&self, entries: Vec<(String, String)>) {
        let mut state = self.state();
        let fresh = state.fresh.take().unwrap_or_default();
        let present: BTreeSet<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
        let gone: Vec<String> = state
            .known
            .keys()
            .filter(|key| !present.contains(key.as_str()) && !fresh.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            state.report(key, None);
        }
        for (key, value) in entries {
            if !fresh.contains(&key) && state.known.get(&key) != Some(&fingerprint(&value)) {
                state.report(key, Some(value));
            }
        }
        self.tell(state);
    }

    /// Nobody reads any more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
    }

    /// Has the reader gone?
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    pub(crate) fn pop(&self) -> Option<Change> {
        self.state().pending.pop().map(|(_, key, value)| Change { key, value })
    }

    pub(crate) async fn next(&self) -> Change {
        loop {
            if let Some(change) = self.pop() {
                return change;
            }
            self.notify.notified().await;
        }
    }
}

/// Which watches a backend has to keep registered. A registration belongs to one connection; its number (the
/// generation) tells whether a watch is already registered on the present one.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    watches: Mutex<Vec<Registration>>,
    /// Signalled when there is something new to register.
    pub(crate) wake: Notify,
}

#[derive(Debug)]
struct Registration {
    target: Target,
    sink: Weak<Sink>,
    generation: Option<u64>,
}

/// What is watched: a map, or one key of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Target {
    pub(crate) map: String,
    pub(crate) key: Option<String>,
}

impl Registry {
    fn watches(&self) -> MutexGuard<'_, Vec<Registration>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, map: &str, key: Option<&str>) -> Arc<Sink> {
        let sink = Arc::<Sink>::default();
        let target = Target { map: map.to_owned(), key: key.map(str::to_owned) };
        self.watches().push(Registration { target, sink: Arc::downgrade(&sink), generation: None });
        self.wake.notify_one();
        sink
    }

    /// What is still to be registered on the connection of this generation.
    pub(crate) fn missing(&self, generation: u64) -> Vec<(Target, Arc<Sink>)> {
        let mut watches = self.watches();
        watches.retain(|w| w.sink.upgrade().is_some_and(|sink| !sink.is_closed()));
        watches
            .iter()
            .filter(|w| w.generation != Some(generation))
            .filter_map(|w| Some((w.target.clone(), w.sink.upgrade()?)))
            .collect()
    }

    pub(crate) fn registered(&self, sink: &Arc<Sink>, generation: u64) {
        for watch in self.watches().iter_mut().filter(|w| w.sink.as_ptr() == Arc::as_ptr(sink)) {
            watch.generation = Some(generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(sink: &Sink) -> Vec<(String, Option<String>)> {
        std::iter::from_fn(|| sink.pop().map(|c| (c.key, c.value))).collect()
    }

    fn entries(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn change(key: &str, value: Option<&str>) -> (String, Option<String>) {
        (key.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn a_resync_reports_differences_only() {
        let sink = Sink::default();
        sink.begin();
        sink.resync(entries(&[("a", "1"), ("b", "2"), ("c", "3")]));
        assert_eq!(drain(&sink).len(), 3);
        sink.begin();
        sink.resync(entries(&[("a", "1"), ("b", "20")]));
        assert_eq!(drain(&sink), [change("c", None), change("b", Some("20"))]);
    }

    #[test]
    fn an_event_during_registration_beats_the_older_read() {
        let sink = Sink::default();
        sink.begin();
        sink.event("a", Some("new".into()));
        sink.event("b", None);
        sink.resync(entries(&[("a", "old"), ("b", "old"), ("c", "x")]));
        assert_eq!(drain(&sink), [change("a", Some("new")), change("b", None), change("c", Some("x"))]);
    }

    #[test]
    fn a_slow_reader_sees_the_latest_value_and_repeats_are_events() {
        let sink = Sink::default();
        for value in ["1", "2", "3"] {
            sink.event("a", Some(value.into()));
        }
        assert_eq!(drain(&sink), [change("a", Some("3"))]);
        sink.event("a", Some("3".into()));
        assert_eq!(drain(&sink), [change("a", Some("3"))]);
        sink.cleared();
        assert_eq!(drain(&sink), [change("a", None)]);
    }

    #[test]
    fn keys_beyond_the_limit_are_dropped_known_ones_still_followed() {
        let sink = Sink::default();
        for at in 0..MAX_WATCHED_KEYS {
            sink.event(&at.to_string(), Some(String::new()));
        }
        drain(&sink);
        sink.event("one too many", Some("x".into()));
        sink.event("7", Some("x".into()));
        assert_eq!(drain(&sink), [change("7", Some("x"))]);
    }
}
