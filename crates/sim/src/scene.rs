//! How a run is set going: the run of a seed, a sample, and those that a test leads by hand.

use std::rc::Rc;

use tokio::task::LocalSet;
use venue::VenueConfig;

use crate::time::{self, EPOCH_NS};
pub use crate::world::Scene;
use crate::world::{Program, World};

impl Scene {
    /// A venue and the nodes before it, with prices enough for the widest window of the scanner.
    pub const fn of(seed: u64, venue: VenueConfig, programs: Vec<Program>) -> Self {
        let bars = alpha::eigen::WINDOWS[3] + 150;
        Self { seed, venue, programs, bars, begins_ns: EPOCH_NS, published: false }
    }

    /// Lets it run on this thread for as long as the story goes.
    pub fn play<T>(self, story: impl AsyncFnOnce(&Rc<World>) -> T) -> Result<T, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_unpark(time::moved)
            .build()
            .map_err(|e| format!("no runtime: {e}"))?;
        time::told(true);
        let played = LocalSet::new().block_on(&runtime, async {
            let world = World::new(self)?;
            let driver = tokio::task::spawn_local(Rc::clone(&world).run());
            let told = story(&world).await;
            world.finish();
            driver.await.map_err(|e| format!("the world's loop: {e}"))?;
            Ok(told)
        });
        time::told(false);
        played
    }
}
