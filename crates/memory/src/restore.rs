//! Capital continuity (SPEC §9, §12 invariant 6): where a new node finds the state of the last one.

use crate::error::MemoryError;
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
    let map = deployment.state_map();
    for key in [STATE_LATEST_NAUTILUS, STATE_LATEST] {
        let text = match memory.get(map, key).await {
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
