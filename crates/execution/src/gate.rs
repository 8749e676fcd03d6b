//! What the surroundings allow, as the router is told.

use market::{ClockOffset, Nanos, Posture};
use serde::{Deserialize, Serialize};

/// What trading is allowed at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradingState {
    /// Everything.
    #[default]
    Active,
    /// Reduce-only orders and cancels.
    Reducing,
    /// Cancels only (and what the kill switch closes).
    Halted,
}

/// What the surroundings allow; set whole by [`crate::Router::set_gate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The operator's word.
    pub state: TradingState,
    /// Requests can be sent.
    pub order_path: bool,
    /// Reports arrive (user stream alive).
    pub user_stream: bool,
    /// Requests go over REST because the WebSocket API is down: cancels, queries and exits go on, nothing is opened.
    pub fallback: bool,
    /// The venue's clock against ours; `None`: never measured, so that no decision's age is known and nothing is opened.
    pub clock: Option<ClockOffset>,
    /// Posture.
    pub posture: Posture,
    /// `abs_max_eff` of SPEC §3.8: already scaled by Rm and capped by the posture.
    pub abs_max_leverage: f64,
    /// The circuit breaker lets positions be opened.
    pub breaker_can_open: bool,
    /// Our time at which the lease ends: no order may arrive at the venue later. `None`: there is no lease to keep.
    pub lease_until: Option<Nanos>,
}

impl Default for Gate {
    /// Shut: nothing is known yet.
    fn default() -> Self {
        Self {
            state: TradingState::Active,
            order_path: false,
            user_stream: false,
            fallback: false,
            clock: None,
            posture: Posture::Apex,
            abs_max_leverage: 6.0,
            breaker_can_open: true,
            lease_until: None,
        }
    }
}

impl Gate {
    /// Everything in order: connected, APEX, one clock.
    pub fn open() -> Self {
        Self { order_path: true, user_stream: true, clock: Some(ClockOffset::EXACT), ..Self::default() }
    }
}
