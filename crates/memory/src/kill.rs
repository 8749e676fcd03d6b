//! The kill of a deployment: ordered and taken back in memory, for every machine (docs/lease.md).

use std::time::Duration;

use market::Nanos;
use tokio::time::{Instant, sleep};

use crate::error::MemoryError;
use crate::memory::SystemMemory;
use crate::schema::{CONTROL, Deployment, FromMemory, Kill, LEASES, LeaseRecord, Reading, Rearm, to_text};

/// What memory says about the kill of a deployment: nothing was ever killed (or memory has lost it), the newest kill, in
/// force or taken back, or a record that makes no sense, which counts as a kill in force.
pub type KillState = Reading<Kill>;

impl Reading<Kill> {
    /// May nothing be opened?
    pub const fn in_force(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Value(kill) => kill.in_force(),
            Self::Unreadable(_) => true,
        }
    }

    /// The kill that is in force, if one is: one that makes no sense says why it was not understood.
    pub fn force(&self) -> Option<Kill> {
        match self {
            Self::Absent => None,
            Self::Value(kill) => kill.in_force().then(|| kill.clone()),
            Self::Unreadable(error) => Some(Kill {
                number: 0,
                id: String::new(),
                killed_at: Nanos(0),
                reason: format!("its record cannot be read: {error}"),
                flatten: false,
                by: String::new(),
                rearmed: None,
            }),
        }
    }

    /// Number of the kill; 0 if there is none.
    pub const fn number(&self) -> u64 {
        match self {
            Self::Value(kill) => kill.number,
            Self::Absent | Self::Unreadable(_) => 0,
        }
    }
}

/// A kill to be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillOrder {
    /// A random number, which tells this kill from others.
    pub id: u64,
    /// When, UTC.
    pub at: Nanos,
    /// Why.
    pub reason: String,
    /// Are open positions to be closed?
    pub flatten: bool,
    /// Who orders it.
    pub by: String,
}

/// Reads the kill of a deployment.
pub async fn read_kill(memory: &SystemMemory, deployment: Deployment) -> Result<KillState, MemoryError> {
    memory.read(CONTROL, deployment.kill_key()).await
}

/// Orders a kill. When it returns, memory has it, and every node that renews or takes the lease from then on sees
/// it. A kill that is in force already is followed by this one, which closes positions if either does.
pub async fn order_kill(
    memory: &SystemMemory,
    deployment: Deployment,
    order: &KillOrder,
) -> Result<Kill, MemoryError> {
    let id = format!("{:016x}", order.id);
    change(memory, deployment, |state| {
        if let KillState::Value(kill) = state
            && kill.id == id
        {
            return Change::Is(kill.clone()); // an answer was lost, the order was not
        }
        let before = match state {
            KillState::Value(kill) => kill.in_force() && kill.flatten,
            KillState::Absent | KillState::Unreadable(_) => false,
        };
        Change::To(Kill {
            number: state.number() + 1,
            id: id.clone(),
            killed_at: order.at,
            reason: order.reason.clone(),
            flatten: order.flatten || before,
            by: order.by.clone(),
            rearmed: None,
        })
    })
    .await
    .map(|kill| kill.expect("an order is always written"))
}

/// Takes the kill that is in force back; `None` if there is none.
pub async fn rearm(
    memory: &SystemMemory,
    deployment: Deployment,
    rearm: &Rearm,
) -> Result<Option<Kill>, MemoryError> {
    change(memory, deployment, |state| match state {
        KillState::Value(kill) if kill.rearmed.as_ref() == Some(rearm) => Change::Is(kill.clone()),
        KillState::Value(kill) if kill.in_force() => {
            Change::To(Kill { rearmed: Some(rearm.clone()), ..kill.clone() })
        }
        KillState::Absent | KillState::Value(_) => Change::Nothing,
        // What makes no sense is replaced by a kill that is taken back: so there is a record of it.
        KillState::Unreadable(error) => Change::To(Kill {
            number: 1,
            id: String::new(),
            killed_at: rearm.at,
            reason: error.to_string(),
            flatten: false,
            by: String::new(),
            rearmed: Some(rearm.clone()),
        }),
    })
    .await
}

/// Writes a kill that is known to be in force again, where memory has lost it (a cluster that lost all its members, or
/// the smaller side of a split). What memory says afterwards.
pub async fn restate_kill(
    memory: &SystemMemory,
    deployment: Deployment,
    known: &Kill,
) -> Result<KillState, MemoryError> {
    let restated = change(memory, deployment, |state| match state {
        KillState::Value(kill) if kill.settles(known) => Change::Is(kill.clone()),
        KillState::Value(kill) if kill.in_force() => Change::Is(kill.clone()),
        KillState::Unreadable(_) => Change::Nothing,
        _ => Change::To(Kill { number: known.number.max(state.number() + 1), ..known.clone() }),
    });
    match restated.await? {
        Some(kill) => Ok(KillState::Value(kill)),
        None => read_kill(memory, deployment).await,
    }
}

/// What is to become of the record.
enum Change {
    /// It is what it should be.
    Is(Kill),
    To(Kill),
    Nothing,
}

/// Changes the record by compare-and-set, anew when somebody else was faster or an answer was lost.
async fn change(
    memory: &SystemMemory,
    deployment: Deployment,
    decide: impl Fn(&KillState) -> Change,
) -> Result<Option<Kill>, MemoryError> {
    const TRIES: usize = 8;
    let key = deployment.kill_key();
    let mut last = MemoryError::Ambiguous("kill");
    for _ in 0..TRIES {
        let text = match memory.get(CONTROL, key).await {
            Err(MemoryError::NotText { .. }) => None,
            text => text?,
        };
        let state = match &text {
            Some(text) => KillState::of(Some(text)),
            None => memory.read(CONTROL, key).await?,
        };
        let new = match decide(&state) {
            Change::Nothing => return Ok(None),
            Change::Is(kill) => return Ok(Some(kill)),
            Change::To(new) => new,
        };
        let unreadable = text.is_none() && matches!(state, KillState::Unreadable(_));
        let swapped = if unreadable {
            // It is no text that could be compared with.
            memory.put(CONTROL, key, &to_text(&new)).await.map(|()| true)
        } else {
            memory.compare_and_set(CONTROL, key, text.as_deref(), &to_text(&new)).await
        };
        match swapped {
            Ok(true) => return Ok(Some(new)),
            Ok(false) => {}
            Err(error @ MemoryError::Ambiguous(_)) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// What is known of the holder of a lease after a kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillSeen {
    /// The holder has seen it.
    By(String),
    /// Nobody holds the lease: it was given up, was never taken, or has run out.
    NobodyHolds,
    /// The holder goes on and does not say that it has seen it: what it should have done by now.
    NotYet(String),
}

/// Waits until the holder of a lease says that it has seen a kill, or its lease has run out; `ttl` is that of the lease.
pub async fn wait_for_kill_seen(
    memory: &SystemMemory,
    lease: &str,
    number: u64,
    ttl: Duration,
) -> Result<KillSeen, MemoryError> {
    let begun = Instant::now();
    let mut unchanged: Option<(Option<String>, Instant)> = None;
    loop {
        let text = memory.get(LEASES, lease).await?;
        let record = text.as_deref().and_then(|text| LeaseRecord::from_memory(text).ok());
        if let Some(record) = &record {
            if record.owner.is_empty() {
                return Ok(KillSeen::NobodyHolds);
            }
            if record.kill >= number {
                return Ok(KillSeen::By(record.owner.clone()));
            }
        }
        match &unchanged {
            Some((seen, since)) if *seen == text => {
                if since.elapsed() >= ttl {
                    return Ok(KillSeen::NobodyHolds);
                }
            }
            _ => unchanged = Some((text, Instant::now())),
        }
        if begun.elapsed() >= ttl * 2 {
            return Ok(KillSeen::NotYet(record.map_or_else(String::new, |record| record.owner)));
        }
        sleep(ttl / 10).await;
    }
}
