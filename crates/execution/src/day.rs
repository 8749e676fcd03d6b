//! What must outlive the process: the day's figures, what has latched, and the counters behind limits. A restart is no
//! way past a limit.

use market::{Amount, Nanos, VenueTime, utc_date};
use serde::{Deserialize, Serialize};

use crate::check::Latch;
use crate::index::hash;
use crate::kill::KillLatch;
use crate::ledger::Day;
use crate::outbox::{Alert, AlertKind, Outbox};
use crate::rearm::{Rearm, RearmError, Rearmed, Reason};
use crate::risk::Risk;
use crate::router::Router;

/// The day in one instrument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolDay {
    /// Venue name: places in the table change from run to run.
    pub name: String,
    /// Profit realised today, commissions included.
    pub realised: Amount,
    /// Nothing is opened in it until a person lets it go on.
    pub halted: bool,
}

/// See the module's text. As JSON in memory or a file; [`Router::day_state`] makes it, [`Router::restore_day`] takes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DayState {
    /// When it was taken (our clock): the figures are those of this date.
    pub saved_at: Nanos,
    /// The day's figures.
    pub day: Day,
    /// Wallet at that time; `None`: not known then.
    pub wallet: Option<Amount>,
    /// The wallet holds everything up to here.
    pub wallet_as_of: VenueTime,
    /// What has latched.
    pub latches: Vec<Latch>,
    /// The kill switch, if it is pulled.
    pub kill: Option<KillLatch>,
    /// Entries sent within the window of `risk.max_repeated_entries`.
    pub entries: Vec<Nanos>,
    /// Refusals by the venue within the last minute.
    pub rejects: Vec<Nanos>,
    /// Instruments in which something happened today, or that are halted.
    pub symbols: Vec<SymbolDay>,
    /// The last time that a person let trading go on.
    pub rearmed: Option<RearmedText>,
}

/// [`Rearmed`] as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RearmedText {
    /// When.
    pub at: Nanos,
    /// Why.
    pub reason: String,
    /// With the day.
    pub day: bool,
}

impl Router {
    /// What must outlive the process: to be taken off the hot path, whenever [`Self::day_changes`] says that it has changed.
    pub fn day_state(&self, now: Nanos) -> DayState {
        let mut state = DayState::default();
        self.day_state_into(now, &mut state, &mut self.day_room());
        state
    }

    /// Room for every instrument of a day: [`Self::day_state_into`] takes it from here and puts it back.
    pub fn day_room(&self) -> Vec<SymbolDay> {
        let longest = self.instruments.iter().map(|i| i.symbol.len()).max().unwrap_or(0);
        let empty =
            || SymbolDay { name: String::with_capacity(longest), realised: Amount::ZERO, halted: false };
        self.instruments.iter().map(|_| empty()).collect()
    }

    /// The same into a state that is there: allocates the first time alone, where `room` is that of [`Self::day_room`].
    pub fn day_state_into(&self, now: Nanos, state: &mut DayState, room: &mut Vec<SymbolDay>) {
        fn copy<T: Copy>(to: &mut Vec<T>, from: &[T], most: usize) {
            to.clear();
            to.reserve(most);
            to.extend_from_slice(from);
        }
        state.saved_at = now;
        state.day = *self.ledger.day();
        (state.wallet, state.wallet_as_of) = (self.ledger.wallet(), self.ledger.as_of());
        copy(&mut state.latches, self.risk.latches(), Risk::MOST_LATCHES);
        state.kill = self.kill.latch();
        copy(&mut state.entries, self.risk.entry_times(), Risk::MOST_TIMES);
        copy(&mut state.rejects, self.risk.reject_times(), Risk::MOST_TIMES);
        room.append(&mut state.symbols);
        state.symbols.reserve(self.instruments.len());
        let symbols = self.symbols.iter().zip(&self.instruments);
        for (s, i) in symbols.filter(|(s, _)| s.halted || !s.day_realised.is_zero()) {
            let Some(mut told) = room.pop() else { break };
            i.symbol.clone_into(&mut told.name);
            (told.realised, told.halted) = (s.day_realised, s.halted);
            state.symbols.push(told);
        }
        let text = |r: Rearmed| RearmedText { at: r.at, reason: r.reason.as_str().to_owned(), day: r.day };
        // Seldom another one: its text is kept.
        if state.rearmed.as_ref().map(|r| r.at) != self.rearmed.map(|r| r.at) {
            state.rearmed = self.rearmed.map(text);
        }
    }

    /// Changes whenever [`Self::day_state`] would say something that must not be lost: an order, a cancel or a fill was
    /// counted, something latched, a person let trading go on, a day began, the peak rose.
    pub fn day_changes(&self) -> u64 {
        let day = self.ledger.day();
        let latches = self.risk.latches().len() as u64 + u64::from(self.kill.is_latched());
        let rearmed = self.rearmed.map_or(0, |r| r.at.0);
        let halted = self.symbols.iter().filter(|s| s.halted).count() as u64;
        let numbers = [
            day.messages,
            day.filled_orders,
            day.realised.0 as u64,
            day.start.map_or(1, |a| a.0 as u64),
            day.peak.map_or(1, |a| a.0 as u64),
            latches,
            rearmed,
            halted,
        ];
        numbers.iter().fold(0, |sum, n| hash(sum, *n))
    }

    /// Goes on from what an earlier run left. To be called before the first [`Self::reconcile`]. The figures of another
    /// date are not taken; what has latched is, whatever its date.
    pub fn restore_day(&mut self, state: &DayState, now: Nanos) {
        let same_day = utc_date(state.saved_at) == utc_date(now);
        // Changes of the wallet while nobody watched count to the day: they are found by the first comparison.
        self.ledger.restore(
            same_day.then_some(state.day),
            state.wallet.filter(|_| same_day),
            state.wallet_as_of,
        );
        for latch in &state.latches {
            self.risk.latch(*latch);
        }
        if let Some(kill) = state.kill {
            self.kill.restore(now, kill);
        }
        self.risk.restore(&state.entries, &state.rejects);
        for day in &state.symbols {
            let place = self.instruments.iter().position(|i| i.symbol == day.name);
            let Some(s) = place.map(|k| &mut self.symbols[k]) else { continue };
            s.halted |= day.halted;
            if same_day {
                s.day_realised = day.realised;
            }
        }
        self.rearmed =
            state.rearmed.as_ref().map(|r| Rearmed { at: r.at, reason: Reason::of(&r.reason), day: r.day });
        self.observe_equity();
    }

    /// A person lets trading go on after something latched: trips, the kill switch once it has reported, halted
    /// instruments. Needs a reason of at least eight characters, which is kept with the time. A kill switch that is still
    /// at work refuses, and then nothing is lifted.
    pub fn rearm(
        &mut self,
        now: Nanos,
        what: Rearm,
        reason: &str,
        out: &mut Outbox,
    ) -> Result<(), RearmError> {
        let killed = self.kill.is_latched();
        let latched = killed || self.tripped().is_some() || self.symbols.iter().any(|s| s.halted);
        if !latched && what == Rearm::Latches {
            return Err(RearmError::NotLatched);
        }
        if killed {
            self.kill.may_rearm()?;
        }
        if reason.trim().chars().count() < 8 {
            return Err(RearmError::NoReason);
        }
        self.kill.rearm();
        self.risk.rearm();
        self.symbols.iter_mut().for_each(|s| s.halted = false);
        let day = what == Rearm::LatchesAndDay;
        if day {
            self.begin_day();
        }
        self.rearmed = Some(Rearmed { at: now, reason: Reason::of(reason.trim()), day });
        out.alert(Alert::new(now, AlertKind::Rearmed));
        // What made it latch may still be so.
        self.reconcile_due = Some(now);
        Ok(())
    }

    /// The last time that a person let trading go on, and why.
    pub fn rearmed(&self) -> Option<Rearmed> {
        self.rearmed
    }
}
