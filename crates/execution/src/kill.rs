//! The kill switch as a ladder: stop entries → cancel everything → close (if so configured) → verify by asking the
//! venue → report. It latches; only a person with a reason lets trading begin again.
//!
//! What the ladder says is left is what the venue answered, asked after the last step; before there is an answer it is
//! unknown, not zero. A report that has become wrong (an order or position came back) is taken back, and the ladder is
//! at work again.

use market::Nanos;
use serde::{Deserialize, Serialize};

use crate::rearm::{KillStep, RearmError};

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

/// What the venue said is left on the account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// Orders in instruments that are followed, ours or not.
    pub orders: u32,
    /// Positions in instruments that are followed.
    pub positions: u32,
    /// Orders in other instruments; `None`: not asked.
    pub unlisted_orders: Option<u32>,
    /// Positions in other instruments; `None`: not asked.
    pub unlisted_positions: Option<u32>,
}

impl Remains {
    /// Is there nothing left that the ladder must still bring down? Positions count if it flattens.
    fn is_clear(&self, flatten: bool) -> bool {
        let orders = self.orders == 0 && self.unlisted_orders.unwrap_or(0) == 0;
        orders && !(flatten && (self.positions > 0 || self.unlisted_positions.unwrap_or(0) > 0))
    }
}

/// What the ladder needs to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KillView {
    /// Orders of ours that could still open something, or that rest.
    pub live_orders: u32,
    /// Instruments with a position.
    pub positions: u32,
    /// The newest comparison with the venue in which no order was in doubt: asked for when, and what was left.
    pub compared: Option<(Nanos, Remains)>,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillAction {
    /// Cancel all orders of every instrument in use, and those in instruments that are not followed.
    CancelAll,
    /// Close every position with a reduce-only order.
    Flatten,
    /// Ask the venue for orders and positions.
    Verify,
    /// It is over.
    Report(Remains),
}

/// How the ladder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KillReport {
    /// Where.
    pub step: KillStep,
    /// What pulled it first, and when.
    pub pulled: Option<(KillTrigger, Nanos)>,
    /// Does it close positions?
    pub flattens: bool,
    /// What the venue said is left, and when it was asked; `None`: not known yet.
    pub left: Option<(Nanos, Remains)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Pull {
    trigger: KillTrigger,
    at: Nanos,
    flatten: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    #[default]
    Armed,
    Cancelling {
        pull: Pull,
        /// The first cancels are out.
        begun: bool,
        again_at: Nanos,
    },
    Flattening {
        pull: Pull,
        again_at: Nanos,
    },
    Verifying {
        pull: Pull,
        asked_at: Option<Nanos>,
        again_at: Nanos,
    },
    Done {
        pull: Pull,
        at: Nanos,
        left: Remains,
    },
}

/// A pulled kill switch as it is kept over a restart: the ladder begins anew, because the account may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KillLatch(Pull);

/// The latch and its ladder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillSwitch {
    state: State,
}

/// How often a step is repeated while it has no effect.
const AGAIN: u64 = 2 * Nanos::SECOND;

impl KillSwitch {
    /// Where it stands.
    pub fn step(&self) -> KillStep {
        match self.state {
            State::Armed => KillStep::Armed,
            State::Cancelling { .. } => KillStep::Cancelling,
            State::Flattening { .. } => KillStep::Flattening,
            State::Verifying { .. } => KillStep::Verifying,
            State::Done { .. } => KillStep::Done,
        }
    }

    fn pull(&self) -> Option<Pull> {
        match self.state {
            State::Armed => None,
            State::Cancelling { pull, .. }
            | State::Flattening { pull, .. }
            | State::Verifying { pull, .. }
            | State::Done { pull, .. } => Some(pull),
        }
    }

    /// Is it pulled?
    pub fn is_latched(&self) -> bool {
        self.state != State::Armed
    }

    /// Does it close positions?
    pub fn flattens(&self) -> bool {
        self.pull().is_some_and(|p| p.flatten)
    }

    /// What pulled it first, and when.
    pub fn trigger(&self) -> Option<(KillTrigger, Nanos)> {
        self.pull().map(|p| (p.trigger, p.at))
    }

    /// How it stands; `compared` as in [`KillView::compared`].
    pub fn report(&self, compared: Option<(Nanos, Remains)>) -> KillReport {
        let left = match self.state {
            State::Done { at, left, .. } => Some((at, left)),
            // A word from before the pull says nothing of what it left.
            _ => compared.filter(|(asked, _)| self.pull().is_some_and(|p| *asked >= p.at)),
        };
        KillReport { step: self.step(), pulled: self.trigger(), flattens: self.flattens(), left }
    }

    /// Pulls it. Again: no effect, except that closing may be added.
    pub fn trip(&mut self, now: Nanos, trigger: KillTrigger, flatten: bool) -> bool {
        let Some(pull) = self.pull() else {
            self.begin(now, Pull { trigger, at: now, flatten });
            return true;
        };
        if flatten && !pull.flatten {
            self.begin(now, Pull { flatten, ..pull });
        }
        false
    }

    fn begin(&mut self, now: Nanos, pull: Pull) {
        self.state = State::Cancelling { pull, begun: false, again_at: now };
    }

    /// Next thing to do, if it is time.
    pub fn advance(&mut self, now: Nanos, view: &KillView) -> Option<KillAction> {
        match self.state {
            State::Armed => None,
            State::Done { pull, .. } => {
                // Something came back after all: the report is true no longer.
                let back = view.live_orders > 0 || (pull.flatten && view.positions > 0);
                if !back {
                    return None;
                }
                self.begin(now, pull);
                self.advance(now, view)
            }
            State::Cancelling { pull, begun: true, .. } if view.live_orders == 0 => {
                self.state = if pull.flatten {
                    State::Flattening { pull, again_at: now }
                } else {
                    State::Verifying { pull, asked_at: None, again_at: now }
                };
                self.advance(now, view)
            }
            State::Cancelling { pull, again_at, .. } if now >= again_at => {
                self.state = State::Cancelling { pull, begun: true, again_at: now.plus(AGAIN) };
                Some(KillAction::CancelAll)
            }
            State::Flattening { pull, .. } if view.positions == 0 => {
                self.state = State::Verifying { pull, asked_at: None, again_at: now };
                self.advance(now, view)
            }
            State::Flattening { pull, again_at } if now >= again_at => {
                self.state = State::Flattening { pull, again_at: now.plus(AGAIN) };
                Some(KillAction::Flatten)
            }
            State::Verifying { pull, asked_at: Some(asked), again_at } => match view.compared {
                Some((at, left)) if at >= asked => self.verified(now, view, pull, (at, left)),
                _ if now >= again_at => Some(self.ask(now, pull)),
                _ => None,
            },
            State::Verifying { pull, asked_at: None, .. } => Some(self.ask(now, pull)),
            State::Cancelling { .. } | State::Flattening { .. } => None,
        }
    }

    fn ask(&mut self, now: Nanos, pull: Pull) -> KillAction {
        self.state = State::Verifying { pull, asked_at: Some(now), again_at: now.plus(AGAIN) };
        KillAction::Verify
    }

    fn verified(
        &mut self,
        now: Nanos,
        view: &KillView,
        pull: Pull,
        (at, left): (Nanos, Remains),
    ) -> Option<KillAction> {
        let ours = view.live_orders > 0 || (pull.flatten && view.positions > 0);
        if ours || !left.is_clear(pull.flatten) {
            // Not at once: the venue is not asked in a circle.
            self.state = State::Cancelling { pull, begun: false, again_at: now.max(at.plus(AGAIN)) };
            return self.advance(now, view);
        }
        self.state = State::Done { pull, at, left };
        Some(KillAction::Report(left))
    }

    /// When it wants to be advanced without news.
    pub fn deadline(&self) -> Option<Nanos> {
        match self.state {
            State::Armed | State::Done { .. } => None,
            State::Cancelling { again_at, .. }
            | State::Flattening { again_at, .. }
            | State::Verifying { again_at, .. } => Some(again_at),
        }
    }

    /// May it be re-armed now?
    pub fn may_rearm(&self) -> Result<(), RearmError> {
        match self.state {
            State::Armed => Err(RearmError::NotLatched),
            State::Done { .. } => Ok(()),
            _ => Err(RearmError::AtWork(self.step())),
        }
    }

    /// Lets trading begin again; nothing happens while it is at work.
    pub(crate) fn rearm(&mut self) {
        if self.may_rearm().is_ok() {
            *self = Self::default();
        }
    }

    /// To be kept over a restart.
    pub fn latch(&self) -> Option<KillLatch> {
        self.pull().map(KillLatch)
    }

    /// Pulled since an earlier run: the ladder begins anew at `now`.
    pub fn restore(&mut self, now: Nanos, latch: KillLatch) {
        self.begin(now, latch.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(live_orders: u32, positions: u32, compared: Option<(u64, Remains)>) -> KillView {
        KillView { live_orders, positions, compared: compared.map(|(at, left)| (Nanos(at), left)) }
    }

    fn t(s: u64) -> Nanos {
        Nanos(s * Nanos::SECOND)
    }

    const NOTHING: Remains =
        Remains { orders: 0, positions: 0, unlisted_orders: Some(0), unlisted_positions: Some(0) };

    #[test]
    fn the_ladder_goes_down_step_by_step_and_latches() {
        let mut k = KillSwitch::default();
        assert_eq!(k.advance(t(1), &view(2, 1, None)), None);
        assert!(k.trip(t(1), KillTrigger::Command, true));
        assert!(!k.trip(t(1), KillTrigger::File, true));
        assert_eq!(k.advance(t(1), &view(2, 1, None)), Some(KillAction::CancelAll));
        assert_eq!(k.advance(t(2), &view(2, 1, None)), None);
        assert_eq!(k.advance(t(3), &view(1, 1, None)), Some(KillAction::CancelAll));
        assert_eq!(k.advance(t(4), &view(0, 1, None)), Some(KillAction::Flatten));
        assert_eq!(k.may_rearm(), Err(RearmError::AtWork(KillStep::Flattening)));
        assert_eq!(k.advance(t(5), &view(0, 0, None)), Some(KillAction::Verify));
        // What was known before it was asked is no answer, and until there is one what is left is unknown.
        let before = Some((t(4).0, NOTHING));
        assert_eq!(k.advance(t(5), &view(0, 0, before)), None);
        assert_eq!(k.report(Some((t(0), NOTHING))).left, None);
        let after = Some((t(5).0, NOTHING));
        assert_eq!(k.advance(t(6), &view(0, 0, after)), Some(KillAction::Report(NOTHING)));
        assert_eq!(k.report(None).left, Some((t(5), NOTHING)));
        assert_eq!(k.advance(t(60), &view(0, 0, after)), None);
        assert!(k.is_latched() && k.may_rearm().is_ok());
        k.rearm();
        assert!(!k.is_latched());
        assert_eq!(k.may_rearm(), Err(RearmError::NotLatched));
    }

    #[test]
    fn what_verification_finds_is_cancelled_again() {
        for found in [
            Remains { orders: 1, ..NOTHING },
            Remains { unlisted_orders: Some(1), ..NOTHING },
            Remains { positions: 1, ..NOTHING },
            Remains { unlisted_positions: Some(2), ..NOTHING },
        ] {
            let mut k = KillSwitch::default();
            k.trip(t(10), KillTrigger::Automatic, true);
            assert_eq!(k.advance(t(10), &view(0, 0, None)), Some(KillAction::CancelAll));
            assert_eq!(k.advance(t(11), &view(0, 0, None)), Some(KillAction::Verify));
            let seen = Some((t(11).0, found));
            assert_eq!(k.advance(t(12), &view(0, 0, seen)), None, "not in a circle");
            assert_eq!(k.report(seen.map(|(at, l)| (Nanos(at), l))).left, Some((t(11), found)));
            assert_eq!(k.advance(t(13), &view(0, 0, seen)), Some(KillAction::CancelAll));
            assert_eq!(k.advance(t(13), &view(0, 0, seen)), Some(KillAction::Verify));
            let seen = Some((t(13).0, NOTHING));
            assert_eq!(k.advance(t(14), &view(0, 0, seen)), Some(KillAction::Report(NOTHING)));
        }
    }

    #[test]
    fn a_report_that_is_true_no_longer_is_taken_back() {
        let mut k = KillSwitch::default();
        k.trip(t(1), KillTrigger::File, true);
        k.advance(t(1), &view(0, 0, None));
        k.advance(t(1), &view(0, 0, None));
        let seen = Some((t(1).0, NOTHING));
        assert_eq!(k.advance(t(2), &view(0, 0, seen)), Some(KillAction::Report(NOTHING)));
        assert_eq!(k.advance(t(3), &view(0, 1, seen)), Some(KillAction::CancelAll));
        assert_eq!(k.step(), KillStep::Cancelling);
        // It is kept over a restart, and begins anew there.
        let text = serde_json::to_string(&k.latch()).unwrap();
        let mut again = KillSwitch::default();
        again.restore(t(9), serde_json::from_str::<Option<KillLatch>>(&text).unwrap().unwrap());
        assert_eq!((again.step(), again.trigger()), (KillStep::Cancelling, Some((KillTrigger::File, t(1)))));
        assert!(again.flattens());
    }
}
