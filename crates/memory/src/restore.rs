//! Capital continuity (SPEC §9, §12 invariant 6): where a new node finds the state of the last one.

use crate::error::MemoryError;
use crate::fence::Fence;
use crate::memory::SystemMemory;
use crate::schema::{Deployment, EngineState, FromMemory, STATE_LATEST, STATE_LATEST_NAUTILUS};

/// The state of the last node.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// The state.
    pub state: EngineState,
    /// The key it stood under.
    pub key: &'static str,
}

/// `latest_nautilus`, else `latest`, else nothing: the caller starts with its initial capital. A state that makes no
/// sense is passed over with a warning.
pub async fn restore_state(
    memory: &SystemMemory,
    deployment: Deployment,
) -> Result<Option<Restored>, MemoryError> {
    find(deployment, async |map, key| memory.get(map, key).await).await
}

/// The same by the new holder of a lease: what it reads carries its fence from now on, so that no earlier holder can
/// change it any more (docs/lease.md).
pub async fn claim_state(
    memory: &SystemMemory,
    deployment: Deployment,
    fence: &Fence,
) -> Result<Option<Restored>, MemoryError> {
    // Both are claimed, whichever is taken: the other is not to change behind it either.
    memory.claim(deployment.state_map(), STATE_LATEST, fence).await.or_else(unless_away)?;
    find(deployment, async |map, key| memory.claim(map, key, fence).await).await
}

fn unless_away(error: MemoryError) -> Result<Option<String>, MemoryError> {
    if matches!(error, MemoryError::NotText { .. }) { Ok(None) } else { Err(error) }
}

async fn find(
    deployment: Deployment,
    read: impl AsyncFn(&'static str, &'static str) -> Result<Option<String>, MemoryError>,
) -> Result<Option<Restored>, MemoryError> {
    let map = deployment.state_map();
    for key in [STATE_LATEST_NAUTILUS, STATE_LATEST] {
        let text = match read(map, key).await {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(error @ MemoryError::NotText { .. }) => {
                tracing::warn!(%error, "a state is passed over");
                continue;
            }
            Err(error) => return Err(error),
        };
        match EngineState::from_memory(&text) {
            Ok(state) => return Ok(Some(Restored { state, key })),
            Err(error) => tracing::warn!(map, key, %error, "a state is passed over"),
        }
    }
    Ok(None)
}
