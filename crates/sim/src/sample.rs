//! The journal of a calm: what one node writes on a simulated market in some seconds of it, to be measured.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use node::config::{Backend, Config};
use node::roles::{Role, Share};
use runtime::environment::Files;
use tokio::task::LocalSet;
use tokio::time::sleep;
use venue::{AccountConfig, VenueConfig};

use crate::world::{KEY, Program, World};

/// How long a node may take to start, and to end, ms.
const PATIENCE_MS: u64 = 60_000;

/// Files of a machine whose node has ended.
#[derive(Debug)]
pub struct Sample {
    /// They.
    pub files: Box<dyn Files>,
    /// Directories of journals.
    pub journals: BTreeSet<PathBuf>,
}

/// Runs a node under `config` on so many symbols of the simulated market, until its journal reaches over `seconds`.
pub fn sample(config: &Config, symbols: usize, seconds: u64, seed: u64) -> Result<Sample, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|e| format!("no runtime: {e}"))?;
    LocalSet::new().block_on(&runtime, story(config.clone(), symbols, seconds, seed))
}

async fn story(mut config: Config, symbols: usize, seconds: u64, seed: u64) -> Result<Sample, String> {
    let accounts = vec![AccountConfig::hmac(KEY.0, KEY.1, 100_000)];
    let venue = VenueConfig { seed, symbols, accounts, ..VenueConfig::default() };
    config.market.symbols = venue.preroll(1, Duration::from_secs(1)).symbols;
    config.market.max_symbols = symbols;
    config.memory.backend = Backend::Hazelcast;
    config.memory.path = Some("/var/lib/dolphin/memory".into());
    config.runtime.layout = Some(1);
    let bars = alpha::eigen::WINDOWS[3] + 1;
    let program = Program { name: "all".to_owned(), config, role: Role::All, share: Share::Whole };
    let world = World::new(seed, venue, vec![program], bars)?;
    let driver = tokio::task::spawn_local(Rc::clone(&world).run());
    let result = live(&world, seconds).await;
    let sample = {
        let slots = world.slots.borrow();
        let files = slots[0].host.files.clone();
        Sample { journals: files.journals(), files: Box::new(files) }
    };
    world.finish();
    driver.await.map_err(|e| format!("the world's loop: {e}"))?;
    result.map(|()| sample)
}

async fn live(world: &World, seconds: u64) -> Result<(), String> {
    let begun = |world: &World| !world.slots.borrow()[0].host.files.journals().is_empty();
    let running = |world: &World| world.slots.borrow()[0].process.is_some();
    let until = |ms| world.now_ms() + ms;
    let limit = until(PATIENCE_MS);
    while !begun(world) {
        sleep(Duration::from_millis(100)).await;
        if world.now_ms() > limit {
            return Err(format!("the node has not begun: {:?}", world.timeline().last()));
        }
    }
    sleep(Duration::from_secs(seconds)).await;
    // It does not come back while anybody looks.
    world.terminate(0, 3_600_000);
    let limit = until(PATIENCE_MS);
    while running(world) {
        sleep(Duration::from_millis(100)).await;
        if world.now_ms() > limit {
            return Err("the node does not end".to_owned());
        }
    }
    Ok(())
}
