//! The kill switch as a ladder: stop entries → cancel everything → close (if so configured) → verify by asking the
//! venue → report. It latches; only a human with a reason lets trading begin again.

use market::Nanos;
use serde::{Deserialize, Serialize};

/// What pulled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillTrigger {
    /// Command line.
    Command,
    /// Kill file or socket.
    File,
    /// Dashboard button.
    Dashboard,
    /// The program itself.
    Automatic,
}

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

/// What is left, as the ladder needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KillView {
    /// Orders of ours that could still open something, or that rest.
    pub live_orders: u32,
    /// Instruments with a position.
    pub positions: u32,
    /// When the last clean reconciliation was asked for.
    pub reconciled_at: Nanos,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillAction {
    /// Cancel all orders of every instrument in use.
    CancelAll,
    /// Close every position with a reduce-only order.
    Flatten,
    /// Ask the venue for orders and positions.
    Verify,
    /// It is over.
    Report,
}

/// Why it cannot be re-armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RearmError {
    /// Nothing was pulled.
    #[error("the kill switch is not latched; there is nothing to re-enable")]
    NotLatched,
    /// The ladder is still at work.
    #[error("the kill switch is still at work ({0:?}); wait for its report, then re-enable")]
    AtWork(KillStep),
    /// No reason given.
    #[error("re-enabling needs a reason of at least eight characters, for the journal")]
    NoReason,
}

/// The latch and its ladder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KillSwitch {
    step: KillStep,
    trigger: Option<KillTrigger>,
    flatten: bool,
    tripped_at: Nanos,
    again_at: Nanos,
    verify_at: Nanos,
}

/// How often a step is repeated while it has no effect.
const AGAIN: u64 = 2 * Nanos::SECOND;

impl KillSwitch {
    /// Where it stands.
    pub fn step(&self) -> KillStep {
        self.step
    }

    /// Is it pulled?
    pub fn is_latched(&self) -> bool {
        self.step != KillStep::Armed
    }

    /// Does it close positions?
    pub fn flattens(&self) -> bool {
        self.is_latched() && self.flatten
    }

    /// What pulled it first, and when.
    pub fn trigger(&self) -> Option<(KillTrigger, Nanos)> {
        self.trigger.map(|t| (t, self.tripped_at))
    }

    /// Pulls it. Again: no effect, except that closing may be added.
    pub fn trip(&mut self, now: Nanos, trigger: KillTrigger, flatten: bool) -> bool {
        if self.is_latched() {
            if flatten && !self.flatten {
                self.flatten = true;
                self.step = KillStep::Cancelling;
                self.again_at = now;
            }
            return false;
        }
        *self = Self {
            step: KillStep::Cancelling,
            trigger: Some(trigger),
            flatten,
            tripped_at: now,
            again_at: now,
            verify_at: Nanos(0),
        };
        true
    }

    /// Next thing to do, if it is time.
    pub fn advance(&mut self, now: Nanos, view: KillView) -> Option<KillAction> {
        let due = now >= self.again_at;
        match self.step {
            KillStep::Armed | KillStep::Done => None,
            KillStep::Cancelling if view.live_orders == 0 && self.again_at > self.tripped_at => {
                self.step = if self.flatten { KillStep::Flattening } else { KillStep::Verifying };
                self.again_at = now;
                self.verify_at = Nanos(0);
                self.advance(now, view)
            }
            KillStep::Flattening if view.positions == 0 => {
                self.step = KillStep::Verifying;
                self.again_at = now;
                self.advance(now, view)
            }
            KillStep::Verifying if self.verify_at.0 > 0 && view.reconciled_at >= self.verify_at => {
                if view.live_orders > 0 || (self.flatten && view.positions > 0) {
                    self.step = KillStep::Cancelling;
                    self.again_at = now;
                    return self.advance(now, view);
                }
                self.step = KillStep::Done;
                Some(KillAction::Report)
            }
            _ if !due => None,
            step => {
                self.again_at = now.plus(AGAIN);
                Some(match step {
                    KillStep::Cancelling => KillAction::CancelAll,
                    KillStep::Flattening => KillAction::Flatten,
                    _ => {
                        self.verify_at = now;
                        KillAction::Verify
                    }
                })
            }
        }
    }

    /// When it wants to be advanced without news.
    pub fn deadline(&self) -> Option<Nanos> {
        match self.step {
            KillStep::Armed | KillStep::Done => None,
            _ => Some(self.again_at),
        }
    }

    /// Lets trading begin again. The reason belongs into the journal.
    pub fn rearm(&mut self, reason: &str) -> Result<(), RearmError> {
        match self.step {
            KillStep::Armed => Err(RearmError::NotLatched),
            KillStep::Done if reason.trim().chars().count() < 8 => Err(RearmError::NoReason),
            KillStep::Done => {
                *self = Self::default();
                Ok(())
            }
            step => Err(RearmError::AtWork(step)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(live_orders: u32, positions: u32, reconciled_at: u64) -> KillView {
        KillView { live_orders, positions, reconciled_at: Nanos(reconciled_at) }
    }

    #[test]
    fn the_ladder_goes_down_step_by_step_and_latches() {
        let mut k = KillSwitch::default();
        let t = |s: u64| Nanos(s * Nanos::SECOND);
        assert_eq!(k.advance(t(1), view(2, 1, 0)), None);
        assert!(k.trip(t(1), KillTrigger::Command, true));
        assert!(!k.trip(t(1), KillTrigger::File, true));
        assert_eq!(k.advance(t(1), view(2, 1, 0)), Some(KillAction::CancelAll));
        assert_eq!(k.advance(t(2), view(2, 1, 0)), None);
        assert_eq!(k.advance(t(3), view(1, 1, 0)), Some(KillAction::CancelAll));
        assert_eq!(k.advance(t(4), view(0, 1, 0)), Some(KillAction::Flatten));
        assert_eq!(k.rearm("because I say so"), Err(RearmError::AtWork(KillStep::Flattening)));
        assert_eq!(k.advance(t(5), view(0, 0, 0)), Some(KillAction::Verify));
        assert_eq!(k.advance(t(5), view(0, 0, 4 * Nanos::SECOND)), None);
        assert_eq!(k.advance(t(6), view(0, 0, 5 * Nanos::SECOND)), Some(KillAction::Report));
        assert_eq!(k.advance(t(60), view(0, 0, 5 * Nanos::SECOND)), None);
        assert!(k.is_latched());
        assert_eq!(k.rearm("ok"), Err(RearmError::NoReason));
        assert_eq!(k.rearm("book feed repaired"), Ok(()));
        assert!(!k.is_latched());
    }

    #[test]
    fn what_verification_finds_is_cancelled_again() {
        let mut k = KillSwitch::default();
        k.trip(Nanos(10), KillTrigger::Automatic, false);
        assert_eq!(k.advance(Nanos(10), view(0, 1, 0)), Some(KillAction::CancelAll));
        assert_eq!(k.advance(Nanos(11), view(0, 1, 0)), Some(KillAction::Verify));
        assert_eq!(k.advance(Nanos(12), view(1, 1, 11)), Some(KillAction::CancelAll));
        assert_eq!(k.advance(Nanos(13), view(0, 1, 11)), Some(KillAction::Verify));
        assert_eq!(k.advance(Nanos(14), view(0, 1, 13)), Some(KillAction::Report));
    }
}
