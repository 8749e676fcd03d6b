//! The engine's state in memory: what is written under `latest_nautilus`, and how it is found again.

use std::time::Duration;

use alpha::{Image, OpenPosition, Safety, SafetyWord, TradeRecord};
use execution::DayState;
use market::planted::{Bug, planted};
use market::{ExitReason, Nanos, Posture};
use memory::schema::{
    EngineState, FromMemory, SAFETY, SAFETY_LATEST, SAFETY_REFERENCE, STATE_LATEST, STATE_LATEST_NAUTILUS,
};
use memory::{Fence, MemoryError, Restored, SystemMemory, restore_state};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::history::{self, PriceRows};
use crate::config::Deployment;
use crate::day::KeptDay;
use crate::stages::memory::Unsettled;

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
    /// Account it is of, by its key's fingerprint; empty in states older than this field.
    #[serde(default)]
    pub account: String,
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
    /// Those of them that were booked at a provisional price.
    #[serde(default)]
    pub unsettled: Vec<Unsettled>,
    /// So was the entry of the open position.
    #[serde(default)]
    pub entry_unsettled: bool,
    /// The router's day: figures, counts, and what has latched.
    #[serde(default)]
    pub day: Option<DayState>,
    /// Id of the newest order to rearm that was carried out.
    #[serde(default)]
    pub rearm: String,
}

/// The state as it is written: what [`EngineState`] reads, of borrowed parts, because it is written after every event.
#[derive(Debug, Serialize)]
pub(super) struct StateText<'a> {
    pub capital: f64,
    pub date: String,
    pub pnl: f64,
    pub param_hash: &'a str,
    pub snapshot: SavedText<'a>,
    /// Event time of the newest tick, s.
    pub ts: f64,
    pub trades: u64,
    pub posture: Posture,
    #[serde(rename = "Rm")]
    pub rm: f64,
    pub position: Option<OpenPosition>,
}

/// [`Saved`] as it is written.
#[derive(Debug, Serialize)]
pub(super) struct SavedText<'a> {
    pub venue: &'a str,
    pub account: &'a str,
    pub at: Nanos,
    pub image: &'a Image,
    pub exit: Option<ExitReason>,
    pub booked: Nanos,
    /// As they were written when they were closed.
    pub recent: Vec<&'a RawValue>,
    pub unsettled: &'a [Unsettled],
    pub entry_unsettled: bool,
    pub day: Option<&'a DayState>,
    pub rearm: &'a str,
}

impl Saved {
    /// The router's day.
    pub fn kept_day(&self) -> KeptDay {
        KeptDay::of(self.day.clone(), self.rearm.clone())
    }
}

/// Whose state is wanted.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Whose maps.
    pub deployment: Deployment,
    /// Venue it trades at.
    pub venue: String,
    /// Account, by its key's fingerprint.
    pub account: String,
    /// Of the lease that is held, where one is.
    pub lease: Option<Fence>,
}

/// Everything that a start finds in memory.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Memory has answered: what it holds is known, and may be written. Else the run goes on with local state, writes
    /// nothing to memory, and opens nothing where there was no local state either (SPEC §9).
    pub read: bool,
    /// The state, and where it stood.
    pub state: Option<Restored>,
    /// Its snapshot, where it can be read.
    pub saved: Option<Saved>,
    /// The state that lost against another one of this account, as text: kept under a key of its own.
    pub set_aside: Option<String>,
    /// Prices of the last bars.
    pub history: Option<PriceRows>,
    /// Prices of the scanner's bars: the rows are bars, one for each `stride` ticks.
    pub bars: Option<PriceRows>,
    /// Ticks of the engine at the start.
    pub ticks: u64,
    /// Posture and Rm, if memory says.
    pub safety: Option<SafetyWord>,
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

/// What a local state is called where one is restored.
const LOCAL: &str = "the local state";

/// Reads what there is, waiting `limit` at most; `local`: the text of the local state. The state that has booked more
/// trades counts. What cannot be had is not there: the node starts all the same.
/// `memory`: `None` where it was found silent before.
pub async fn load(
    memory: Option<&SystemMemory>,
    owner: &Owner,
    local: Option<&str>,
    limit: Duration,
) -> Loaded {
    let deployment = owner.deployment.into();
    let mut loaded = Loaded::default();
    let reading = async {
        let Some(memory) = memory else {
            return Err(MemoryError::Away("it was silent when the lease was asked for".to_owned()));
        };
        memory.wait_ready(limit).await?;
        if let Some(fence) = &owner.lease {
            // From now on the holder before us cannot change what we read.
            for key in [STATE_LATEST_NAUTILUS, STATE_LATEST] {
                memory.claim(owner.map(), key, fence).await?;
            }
        }
        let state = restore_state(memory, deployment).await?;
        let entries = memory.entries(owner.map()).await?;
        let blocks = entries.iter().filter(|(key, _)| key.starts_with(history::PREFIX));
        loaded.history = history::join(blocks.map(|(_, value)| value.as_str()));
        let bars = entries.iter().filter(|(key, _)| key.starts_with(history::BARS));
        loaded.bars = history::join(bars.map(|(_, value)| value.as_str()));
        loaded.safety = read_safety(memory).await?.map(|text| parse_safety(&text));
        Ok::<_, MemoryError>(state)
    };
    let in_memory = match tokio::time::timeout(limit + Duration::from_secs(5), reading).await {
        Ok(Ok(state)) => {
            loaded.read = true;
            state.and_then(|restored| owner.own(restored))
        }
        Ok(Err(error)) => {
            tracing::warn!(
                "starting without system memory: {error}; nothing is written there before it was read"
            );
            None
        }
        Err(_) => {
            tracing::warn!(
                "starting without system memory: it does not answer; nothing is opened until it does"
            );
            None
        }
    };
    let here = local.and_then(|text| match EngineState::from_memory(text) {
        Ok(state) => owner.own(Restored { state, key: LOCAL }),
        Err(error) => {
            tracing::warn!(%error, "the local state cannot be read and is passed over");
            None
        }
    });
    loaded.read |= planted(Bug::StateWrittenBeforeRead);
    loaded.choose(in_memory, here);
    if !loaded.read && loaded.state.is_none() {
        tracing::warn!("there is no local state either: nothing is opened until system memory answers");
    }
    loaded
}

type Found = (Restored, Option<Saved>);

impl Loaded {
    /// Takes the state that has booked more trades; memory's where both have as many.
    fn choose(&mut self, in_memory: Option<Found>, here: Option<Found>) {
        let booked = |found: &Option<Found>| {
            found.as_ref().and_then(|(_, saved)| Some(saved.as_ref()?.image.trades_closed()))
        };
        let local_wins = in_memory.is_none() || (booked(&here) > booked(&in_memory));
        let (winner, loser) =
            if local_wins && here.is_some() { (here, in_memory) } else { (in_memory, here) };
        let differ = booked(&winner) != booked(&loser);
        if let Some((restored, _)) = loser.filter(|_| differ && winner.is_some()) {
            tracing::warn!("the state of `{}` has booked fewer trades and is set aside", restored.key);
            self.set_aside = Some(memory::schema::to_text(&restored.state));
        }
        if let Some((restored, saved)) = winner {
            (self.state, self.saved) = (Some(restored), saved);
        }
    }
}

impl Owner {
    fn map(&self) -> &'static str {
        memory::schema::Deployment::from(self.deployment).state_map()
    }

    /// The key under which a state that lost is kept.
    pub fn set_aside_key(&self, now_ns: u64) -> String {
        format!("set_aside.{now_ns}")
    }

    /// A state and its snapshot. One of another venue or account gives neither position nor capital; a snapshot that
    /// cannot be read leaves the capital.
    fn own(&self, restored: Restored) -> Option<Found> {
        let Some(value) = &restored.state.snapshot else { return Some((restored, None)) };
        let saved = match Saved::deserialize(value) {
            Ok(saved) => saved,
            Err(error) => {
                let key = restored.key;
                tracing::warn!("the snapshot of `{key}` cannot be read ({error}); only its capital is taken");
                return Some((restored, None));
            }
        };
        let other_account = !saved.account.is_empty() && saved.account != self.account;
        if saved.venue != self.venue || other_account {
            tracing::error!(
                "the state of `{}` is of the venue {}, account {}; this is {}, account {}: nothing of it is taken",
                restored.key,
                saved.venue,
                saved.account,
                self.venue,
                self.account
            );
            return None;
        }
        Some((restored, Some(saved)))
    }
}

/// What memory says about safety: the CP reference where there is one, else the map.
pub(super) async fn read_safety(memory: &SystemMemory) -> Result<Option<String>, MemoryError> {
    memory.get_reference(SAFETY_REFERENCE, SAFETY, SAFETY_LATEST).await
}

/// A word about safety, with an error in the log where it cannot be read.
pub(super) fn parse_safety(text: &str) -> SafetyWord {
    match memory::schema::Safety::from_memory(text) {
        Ok(s) => SafetyWord::Says(Safety { posture: s.posture, rm: s.rm }),
        Err(error) => {
            let (place, limit) = ("DOLPHIN_SAFETY[latest]", Safety::UNREADABLE);
            tracing::error!(
                place,
                %error,
                "what memory says about safety cannot be read: at most {} with Rm {} until it can",
                limit.posture,
                limit.rm
            );
            SafetyWord::Unreadable
        }
    }
}
