//! What the driver's tasks share: the world behind one lock, the connections to cut, the clock.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use market::Nanos;

use super::cut::Cut;
use crate::face::World;
use crate::faults::Ending;

/// Wall time. The one place where the venue reads a clock.
#[expect(clippy::disallowed_methods, reason = "the production driver brings the time")]
pub(super) fn wall() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Sleeps until the wall clock shows `due`.
pub(super) async fn sleep_until(due: Nanos) {
    tokio::time::sleep(Duration::from_nanos(due.since(wall()).0)).await;
}

/// The world, and the TCP connections to be cut.
#[derive(Clone)]
pub(super) struct Shared {
    world: Arc<Mutex<World>>,
    cuts: Arc<Mutex<Vec<Weak<Cut>>>>,
}

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)), cuts: Arc::default() }
    }

    /// Locks the world for one act; nobody waits while holding it.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        // A panic while holding the lock is a bug of the venue; what it left is still the best there is.
        let mut w = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let out = act(&mut w);
        let endings = std::mem::take(&mut w.rest_endings);
        drop(w);
        endings.into_iter().for_each(|how| self.end_rest(how));
        out
    }

    /// A new TCP connection.
    pub(super) fn cut(&self) -> Arc<Cut> {
        let cut = Arc::<Cut>::default();
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        if cuts.len() == cuts.capacity() {
            cuts.retain(|c| c.strong_count() > 0);
        }
        cuts.push(Arc::downgrade(&cut));
        cut
    }

    /// Ends the REST connections.
    fn end_rest(&self, how: Ending) {
        let cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        for cut in cuts.iter().filter_map(Weak::upgrade).filter(|c| c.is_rest()) {
            match how {
                Ending::Close | Ending::Reset => cut.reset(),
                Ending::Silence => cut.silence(),
            }
        }
    }
}
