//! The engine's state in memory: what is written under `latest_nautilus`, and how it is found again.

use std::time::Duration;

use alpha::{Image, Safety, TradeRecord};
use market::{ExitReason, Nanos};
use memory::schema::{EngineState, FromMemory, SAFETY, SAFETY_LATEST, SAFETY_REFERENCE};
use memory::{MemoryError, Restored, SystemMemory, restore_state};
use serde::{Deserialize, Serialize};

use super::history::{self, PriceRows};
use crate::config::Deployment;

/// Trades that travel with the state, so that none is missing where the program died between two writes.
pub(super) const RECENT: usize = 32;

/// A closed trade with its number in the engine's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered {
    /// 1 is the first.
    pub number: u64,
    /// The trade.
    #[serde(flatten)]
    pub trade: TradeRecord,
}

/// The engine's snapshot as it stands in the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Venue the position is at.
    pub venue: String,
    /// Event time of the newest tick.
    pub at: Nanos,
    /// The engine but for its histories.
    pub image: Image,
    /// Why the working exit was asked for.
    pub exit: Option<ExitReason>,
    /// Venue time up to which fills are booked in closed trades.
    pub booked: Nanos,
    /// The newest trades, oldest first.
    pub recent: Vec<Numbered>,
}

/// Everything that a start finds in memory.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The state and the key it stood under.
    pub state: Option<Restored>,
    /// Its snapshot, where it can be read and is of this venue.
    pub saved: Option<Saved>,
    /// Prices of the last bars.
    pub history: Option<PriceRows>,
    /// Ticks of the engine at the start.
    pub ticks: u64,
    /// Posture and Rm, if memory says.
    pub safety: Option<Safety>,
    /// Trades that the venue told of and the state did not know.
    pub recovered: Vec<Numbered>,
}

impl Loaded {
    /// The symbol that the state holds or enters.
    pub fn held(&self) -> Option<String> {
        self.saved.as_ref()?.image.held().map(|(_, position)| position.symbol)
    }

    /// For people: where the state came from.
    pub fn origin(&self) -> String {
        match (&self.state, &self.saved) {
            (None, _) => "none".to_owned(),
            (Some(state), None) => format!("{}: capital alone", state.key),
            (Some(state), Some(saved)) => {
                let rows = self.history.as_ref().map_or(0, |h| h.rows.len());
                format!(
                    "{}: {} trades, {} ticks, {rows} of them with prices",
                    state.key,
                    saved.image.trades_closed(),
                    saved.image.ticks()
                )
            }
        }
    }
}

/// Reads what there is, waiting `limit` at most. What cannot be had is not there: the node starts all the same.
pub async fn load(memory: &SystemMemory, deployment: Deployment, venue: &str, limit: Duration) -> Loaded {
    let deployment = deployment.into();
    let mut loaded = Loaded::default();
    let reading = async {
        memory.wait_ready(limit).await?;
        loaded.state = restore_state(memory, deployment).await?;
        let entries = memory.entries(deployment.state_map()).await?;
        let blocks = entries.iter().filter(|(key, _)| key.starts_with(history::PREFIX));
        loaded.history = history::join(blocks.map(|(_, value)| value.as_str()));
        loaded.safety = read_safety(memory).await?.and_then(|text| parse_safety(&text));
        Ok::<(), MemoryError>(())
    };
    match tokio::time::timeout(limit + Duration::from_secs(5), reading).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("starting without system memory: {error}"),
        Err(_) => tracing::warn!("starting without system memory: it does not answer"),
    }
    loaded.saved = loaded.state.as_ref().and_then(|restored| snapshot(&restored.state, restored.key, venue));
    loaded
}

/// The snapshot of a state. One of another venue, or that cannot be read, leaves the capital alone.
fn snapshot(state: &EngineState, key: &str, venue: &str) -> Option<Saved> {
    let value = state.snapshot.as_ref()?;
    match Saved::deserialize(value) {
        Ok(saved) if saved.venue == venue => Some(saved),
        Ok(saved) => {
            tracing::warn!(
                "the state under `{key}` is of the venue {}; only its capital is taken",
                saved.venue
            );
            None
        }
        Err(error) => {
            tracing::warn!("the snapshot under `{key}` cannot be read ({error}); only its capital is taken");
            None
        }
    }
}

/// What memory says about safety: the CP reference where there is one, else the map.
pub(super) async fn read_safety(memory: &SystemMemory) -> Result<Option<String>, MemoryError> {
    memory.get_reference(SAFETY_REFERENCE, SAFETY, SAFETY_LATEST).await
}

/// A safety value, or a warning.
pub(super) fn parse_safety(text: &str) -> Option<Safety> {
    match memory::schema::Safety::from_memory(text) {
        Ok(s) => Some(Safety { posture: s.posture, rm: s.rm }),
        Err(error) => {
            tracing::warn!(place = "DOLPHIN_SAFETY[latest]", %error, "rejected; the last good value stays in force");
            None
        }
    }
}
