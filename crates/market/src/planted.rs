//! Faults put in on purpose, to prove that the tests and the simulation find them (feature `planted`, never default).
//!
//! Each names one line of the program that is wrong while it is planted. Without the feature [`planted`] is `false` at
//! compile time, so that nothing of it is left in the program.

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A fault that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug { $($(#[$doc])* $name,)* }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

bugs! {
    /// A fill told twice is booked twice.
    FillDedupeOff = "fill_dedupe_off",
    /// An order without an answer is taken for refused.
    UnknownTakenForRejected = "unknown_taken_for_rejected",
    /// An order without an answer is sent again under a new id, and its fate not asked for.
    ResendWithoutQuery = "resend_without_query",
    /// A refused cancel is taken for a cancelled order.
    CancelRejectTakenForSuccess = "cancel_reject_taken_for_success",
    /// A fill of an order that is done is dropped.
    LatePartialFillDropped = "late_partial_fill_dropped",
    /// Exits go out without the reduce-only flag.
    ReduceOnlyMissing = "reduce_only_missing",
    /// The commission of a fill whose quantity was counted before is dropped.
    LateCommissionDropped = "late_commission_dropped",
    /// A comparison with the venue changes nothing and calls itself clean.
    ReconcileSkipped = "reconcile_skipped",
    /// The dead-man switch is set once and never set again.
    DeadManNotRefreshed = "dead_man_not_refreshed",
    /// An entry may be placed on a book of any age.
    StaleQuoteDecidedUpon = "stale_quote_decided_upon",
    /// The venue's time is taken to be ours, whatever was measured.
    ClockOffsetIgnored = "clock_offset_ignored",
    /// Whatever is less urgent may use up the weight and the orders that are kept for exits and cancels.
    LimitReserveForCancelsGone = "limit_reserve_for_cancels_gone",
    /// A listen key is neither extended nor, once it is dead, created anew.
    ListenKeyNotRenewed = "listen_key_not_renewed",
    /// Data of a connection that is being replaced counts for its successor: what it delivers is not asked for.
    SubscriptionsLostOnRollover = "subscriptions_lost_on_rollover",
    /// A depth update that does not follow the one before it is applied all the same.
    GapNotSeen = "gap_not_seen",
    /// A crossed book counts as one in step.
    CrossedBookNotMasked = "crossed_book_not_masked",
    /// Requests leave after the lease has ended.
    FenceCheckedOnlyWhereDecided = "fence_checked_only_where_decided",
    /// A lease is taken after an eighth of its holder's time to live.
    LeaseTakenEarly = "lease_taken_early",
    /// A lease that cannot be confirmed goes on for ever.
    LeaseNeverEnds = "lease_never_ends",
    /// The kill switch is not looked at.
    KillNotSeen = "kill_not_seen",
    /// Where memory has not answered at a start, the state is written all the same.
    StateWrittenBeforeRead = "state_written_before_read",
    /// An open position is not adopted at a start.
    PositionNotAdopted = "position_not_adopted",
    /// Fills since the last state are not booked at a start.
    FillsOfTheDeadRunDropped = "fills_of_the_dead_run_dropped",
    /// Trades that closed unseen are booked and not written to memory.
    RecoveredTradesNotWritten = "recovered_trades_not_written",
    /// The fills that a start has booked are forgotten: the router counts them again.
    FillsSeenForgotten = "fills_seen_forgotten",
    /// A fill booked at a provisional price is never corrected.
    CorrectionNotTold = "correction_not_told",
    /// Run ids repeat: two starts within a minute share one.
    RunIdRepeats = "run_id_repeats",
}

impl std::str::FromStr for Bug {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|b| b.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|b| b.name()).collect();
            format!("`{name}` is no planted fault; there are {}", names.join(", "))
        })
    }
}

/// Is this fault planted? Never, without the feature.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use on::{plant, planted};

#[cfg(feature = "planted")]
mod on {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Bug;

    static PLANTED: AtomicU64 = AtomicU64::new(0);
    // One bit a fault.
    const _: () = assert!(Bug::ALL.len() <= 64);

    /// Is this fault planted?
    #[inline]
    pub fn planted(bug: Bug) -> bool {
        // Relaxed: a mask by itself, set before a run begins.
        PLANTED.load(Ordering::Relaxed) & (1 << bug as u64) != 0
    }

    /// Plants exactly these faults, for the whole process.
    pub fn plant(bugs: &[Bug]) {
        let mask = bugs.iter().fold(0, |mask, bug| mask | 1 << *bug as u64);
        PLANTED.store(mask, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_faults() {
        for bug in Bug::ALL {
            assert_eq!(bug.name().parse(), Ok(*bug));
        }
        assert!("none".parse::<Bug>().unwrap_err().contains("fill_dedupe_off"));
    }

    #[cfg(not(feature = "planted"))]
    const _: () = assert!(!planted(Bug::FillDedupeOff));

    #[cfg(feature = "planted")]
    #[test]
    fn a_fault_is_planted_for_as_long_as_it_is_named() {
        assert!(Bug::ALL.iter().all(|b| !planted(*b)));
        plant(&[Bug::ReduceOnlyMissing]);
        assert!(planted(Bug::ReduceOnlyMissing) && !planted(Bug::FillDedupeOff));
        plant(&[]);
        assert!(!planted(Bug::ReduceOnlyMissing));
    }
}
