//! Letting trading go on after something latched: who may, why, and when it was.

use arrayvec::ArrayString;
use market::Nanos;
use serde::{Deserialize, Serialize};

/// Where on the ladder it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillStep {
    /// Not pulled.
    #[default]
    Armed,
    /// Entries are stopped; cancels are out until nothing works any more.
    Cancelling,
    /// Positions are being closed.
    Flattening,
    /// The venue is asked what is left.
    Verifying,
    /// Reported; latched.
    Done,
}

/// Why nothing was lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RearmError {
    /// Nothing is latched.
    #[error("nothing is latched: there is nothing to re-enable")]
    NotLatched,
    /// The kill ladder is still at work.
    #[error("the kill switch is still at work ({0:?}); wait for its report, then re-enable")]
    AtWork(KillStep),
    /// No reason given.
    #[error("re-enabling needs a reason of at least eight characters, for the record")]
    NoReason,
}

/// What a person gave as the reason, cut to what fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason(ArrayString<160>);

impl Reason {
    pub(crate) fn of(text: &str) -> Self {
        let mut reason = ArrayString::new();
        for c in text.chars() {
            if reason.try_push(c).is_err() {
                break;
            }
        }
        Self(reason)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How much a person lets begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rearm {
    /// What has latched: trips, the kill switch, halted instruments, the counters behind them.
    Latches,
    /// These, and the day: loss, drawdown, fees, turnover are measured from now on.
    LatchesAndDay,
}

/// Latches were lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rearmed {
    /// When.
    pub at: Nanos,
    /// Why.
    pub reason: Reason,
    /// The day's loss and drawdown began anew too.
    pub day: bool,
}
