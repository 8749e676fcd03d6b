//! Pushes of system memory: parsed here, handed over by pending slots.

use std::time::Duration;

use alpha::{AcbPush, SafetyWord};
use futures_util::stream::{self, Stream};
use market::Nanos;
use memory::schema::{self, ACB_BOOST, AcbBoost, FEATURES, LATEST_EIGEN_SCAN};
use memory::{MemoryError, SystemMemory, WatchCounts, Watcher};
use runtime::clock::Clock;
use runtime::pending::Publisher;
use tokio::time::Instant;

use super::state::{parse_safety, read_safety};
use crate::stages::memory::MemoryScan;

/// How often safety is read where no push tells of it: a CP reference has no listeners.
const SAFETY_EVERY: Duration = Duration::from_secs(2);

/// Follows `acb_boost`.
pub(super) fn acb(memory: &SystemMemory, mut publish: Publisher<AcbPush>) -> Result<Watcher, MemoryError> {
    Watcher::start(memory, FEATURES, ACB_BOOST, move |push: AcbBoost| {
        publish.publish(AcbPush { boost: push.boost, beta: push.beta });
    })
}

/// Follows `latest_eigen_scan`.
pub(super) fn scans(
    memory: &SystemMemory,
    clock: Clock,
    mut publish: Publisher<MemoryScan>,
) -> Result<Watcher, MemoryError> {
    Watcher::start(memory, FEATURES, LATEST_EIGEN_SCAN, move |scan: schema::Scan| {
        publish.publish(MemoryScan {
            number: scan.scan_number,
            at: scan.timestamp.unwrap_or(Nanos(clock.now_ns())),
            vel_div: scan.vel_div,
            v50: scan.v50_lambda_max_velocity,
            v750: scan.v750_lambda_max_velocity,
            instability_50: scan.instability_50,
        });
    })
}

/// Follows safety: the CP reference first, the map else. What is emptied changes nothing (SPEC §4.2).
pub(super) struct SafetyWatch {
    publish: Publisher<SafetyWord>,
    /// The text published last; `None`: nothing has been read.
    told: Option<Option<String>>,
    pub counts: WatchCounts,
}

impl SafetyWatch {
    pub const fn new(publish: Publisher<SafetyWord>) -> Self {
        let counts = WatchCounts { accepted: 0, rejected: 0, removed: 0 };
        Self { publish, told: None, counts }
    }

    /// What is read, with each change of the map and every [`SAFETY_EVERY`]. A reading that memory lets wait holds up
    /// nobody who polls this beside others.
    pub fn reads(
        memory: &SystemMemory,
        watch: memory::Watch,
    ) -> impl Stream<Item = Result<Option<String>, MemoryError>> {
        stream::unfold((watch, Instant::now()), async |(mut watch, due)| {
            let _ = tokio::time::timeout_at(due, watch.next()).await;
            let read = read_safety(memory).await;
            Some((read, (watch, Instant::now() + SAFETY_EVERY)))
        })
    }

    /// Takes what was read.
    pub fn take(&mut self, read: Result<Option<String>, MemoryError>) {
        // Memory that is away changes nothing: the last word stays in force.
        let Ok(text) = read else { return };
        if self.told.as_ref() == Some(&text) {
            return;
        }
        match text.as_deref().map(parse_safety) {
            // Nothing there at the start is what the engine begins with; nothing there later keeps the last word.
            None => self.counts.removed += u64::from(self.told.is_some()),
            Some(word) => {
                let count = match word {
                    SafetyWord::Says(_) => &mut self.counts.accepted,
                    SafetyWord::Unreadable => &mut self.counts.rejected,
                };
                *count += 1;
                self.publish.publish(word);
            }
        }
        self.told = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use alpha::Safety;
    use market::Posture;
    use runtime::pending::pending;

    use super::*;

    #[test]
    fn safety_is_published_when_it_changes_and_what_is_emptied_changes_nothing() {
        let (publisher, mut taker) = pending();
        let mut watch = SafetyWatch::new(publisher);
        let says = |text: &str| Ok(Some(text.to_owned()));
        watch.take(Ok(None));
        assert_eq!(taker.take(), None, "nothing there is how a run begins");
        watch.take(says(r#"{"posture":"TURTLE","Rm":0.6}"#));
        let turtle = SafetyWord::Says(Safety { posture: Posture::Turtle, rm: 0.6 });
        assert_eq!(taker.take(), Some(turtle));
        watch.take(says(r#"{"posture":"TURTLE","Rm":0.6}"#));
        watch.take(Err(MemoryError::Away("gone".to_owned())));
        assert_eq!(taker.take(), None, "the same again");
        watch.take(Ok(None));
        assert_eq!(taker.take(), None, "the last word stays");
        watch.take(says("nonsense"));
        assert_eq!(taker.take(), Some(SafetyWord::Unreadable));
        watch.take(says("nonsense"));
        assert_eq!(taker.take(), None, "told once");
        let c = watch.counts;
        assert_eq!((c.accepted, c.rejected, c.removed), (1, 1, 1));
    }
}
