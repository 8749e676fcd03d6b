//! A step that leaves nothing behind: what the next one will run and read is in the cache when its tick comes.
//!
//! It is the step itself that is run, on the newest prices, because another copy of its code would warm that copy alone.
//! What a step writes is few: the newest row of the histories, the counters of one phase, a handful of numbers. They are kept
//! before and put back after, to the bit.

use market::Posture;

use super::{Booking, Day, Engine, Hold};
use crate::acb::Mark;
use crate::history::{PriceMark, RingMark};
use crate::report::{Gate, StepReport, TickInput};

/// Room for what a step writes, made once.
#[derive(Debug, Clone, Default)]
pub struct Rehearsal {
    prices: PriceMark,
    rings: [RingMark; 3],
}

/// What a step writes beside the histories.
struct Kept {
    ticks: u64,
    day: Option<Day>,
    hold: Hold,
    regime_size_mult: f64,
    acb: Mark,
    gates: [u64; Gate::ALL.len()],
}

impl Engine {
    /// Steps `input` and takes the step back; the report is of no meaning but that the work was done. `room` is the caller's,
    /// always the same. `None`: nothing was done, because no step would be taken, or because one that books by the model has
    /// effects that cannot be taken back.
    pub fn rehearse(&mut self, room: &mut Rehearsal, input: &TickInput<'_>) -> Option<StepReport> {
        let day = self.state.book.day?;
        if self.booking != Booking::Venue || self.safety().posture == Posture::Hibernate {
            return None;
        }
        let kept = self.keep(room);
        // All gates are passed once: which of them will be open is not known yet.
        let threshold = self.params.vel_div_threshold;
        let firing = if day.direction > 0 { -threshold } else { threshold };
        self.rehearsing = true;
        let report = self.step_bar(&TickInput { vel_div: firing, may_enter: true, ..*input });
        self.rehearsing = false;
        self.put_back(room, kept);
        Some(report)
    }

    fn keep(&self, room: &mut Rehearsal) -> Kept {
        let (book, rings) = (&self.state.book, &self.state.rings);
        self.state.prices.mark(&mut room.prices);
        room.rings = [rings.reference.mark(), rings.returns.mark(), rings.proxy.mark()];
        Kept {
            ticks: book.ticks,
            day: book.day,
            hold: book.hold,
            regime_size_mult: book.regime_size_mult,
            acb: book.acb.mark(),
            gates: self.gates,
        }
    }

    fn put_back(&mut self, room: &Rehearsal, kept: Kept) {
        let (book, rings) = (&mut self.state.book, &mut self.state.rings);
        self.state.prices.go_back(&room.prices);
        let [reference, returns, proxy] = room.rings;
        rings.reference.go_back(reference);
        rings.returns.go_back(returns);
        rings.proxy.go_back(proxy);
        let Kept { ticks, day, hold, regime_size_mult, acb, gates } = kept;
        (book.ticks, book.day, book.hold, book.regime_size_mult) = (ticks, day, hold, regime_size_mult);
        book.acb.go_back(acb);
        self.gates = gates;
    }
}
