//! What a run begins with, and how it is set going: the run of a seed, a sample, and those that a test leads by hand.

use std::rc::Rc;

use tokio::task::LocalSet;
use venue::VenueConfig;

use crate::time::EPOCH_NS;
use crate::world::{Program, World};

/// What a run begins with.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Seed of network, memory and machines.
    pub seed: u64,
    /// The venue.
    pub venue: VenueConfig,
    /// What runs, each on a machine of its own.
    pub programs: Vec<Program>,
    /// Bars of prices that the nodes are given for their warm-up.
    pub bars: usize,
    /// Time at the beginning, ns since the Unix epoch.
    pub begins_ns: u64,
    /// Do the nodes publish their state, as they do where somebody looks at them? It changes nothing of the run.
    pub published: bool,
}

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
            .build()
            .map_err(|e| format!("no runtime: {e}"))?;
        LocalSet::new().block_on(&runtime, async {
            let world = World::new(self)?;
            let driver = tokio::task::spawn_local(Rc::clone(&world).run());
            let told = story(&world).await;
            world.finish();
            driver.await.map_err(|e| format!("the world's loop: {e}"))?;
            Ok(told)
        })
    }
}
