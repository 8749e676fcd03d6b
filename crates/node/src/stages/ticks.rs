//! Ticks on their way to the next stage: the newest wins (SPEC §7). And their mids, told ahead of them.

use market::Nanos;
use runtime::conveyor::Loader;

use super::Tick;

/// Where a stage hands its ticks on. While none of the boxes is empty the newest tick waits here, and a newer one takes its
/// place; it leaves as soon as a box comes back.
pub struct TickOut {
    to: Loader<Tick>,
    newest: Box<Tick>,
    waits: bool,
}

impl TickOut {
    /// For ticks of so many symbols.
    pub fn new(to: Loader<Tick>, symbols: usize) -> Self {
        Self { to, newest: Box::new(Tick::new(symbols)), waits: false }
    }

    /// Hands a tick on; `false`: it took the place of one that waited, and that one is lost.
    pub fn put(&mut self, fill: impl FnOnce(&mut Tick)) -> bool {
        self.flush();
        let room = if self.waits { None } else { self.to.acquire() };
        if let Some(mut tick) = room {
            fill(&mut tick);
            self.to.send(tick);
            return true;
        }
        fill(&mut self.newest);
        !std::mem::replace(&mut self.waits, true)
    }

    /// Sends the tick that waits, if a box has come back.
    pub fn flush(&mut self) -> bool {
        if !self.waits {
            return false;
        }
        let Some(mut tick) = self.to.acquire() else { return false };
        std::mem::swap(&mut *tick, &mut *self.newest);
        self.to.send(tick);
        self.waits = false;
        true
    }
}

/// The mids that a tick will have unless something changes before its boundary: what the scan can be made for while
/// nothing else is to be done.
#[derive(Debug, Clone)]
pub struct MidsAhead {
    /// The boundary, event time.
    pub ts: Nanos,
    /// By column.
    pub mids: Vec<f64>,
    /// Said by the one who gets it: the tick came with these mids, and its scan was there.
    pub used: bool,
}

impl MidsAhead {
    /// Of so many symbols.
    pub fn new(symbols: usize) -> Self {
        Self { ts: Nanos(0), mids: vec![f64::NAN; symbols], used: false }
    }
}

/// Where mids are told ahead: not before most of the interval is over, because a scan costs more than the features of a
/// symbol and is of no use once any mid moves.
pub struct MidsOut {
    to: Option<Loader<MidsAhead>>,
    told: MidsAhead,
    /// They have been told since the last sample.
    is_told: bool,
    /// Something changed since.
    changed: bool,
    /// From when on they are told, monotonic.
    from_ns: u64,
    wait_ns: u64,
    used: u64,
}

impl MidsOut {
    /// For so many symbols; `to` `None`: nobody wants them.
    pub fn new(to: Option<Loader<MidsAhead>>, symbols: usize, interval: Nanos) -> Self {
        let (told, wait_ns) = (MidsAhead::new(symbols), interval.0 * 6 / 10);
        Self { to, told, is_told: false, changed: false, from_ns: 0, wait_ns, used: 0 }
    }

    /// A sample was taken, when a frame was received.
    pub const fn sampled(&mut self, recv_ns: u64) {
        (self.is_told, self.changed) = (false, true);
        self.from_ns = recv_ns + self.wait_ns;
    }

    /// What the next sample will say has changed.
    pub const fn changed(&mut self) {
        self.changed = true;
    }

    /// Tells them if it is time and they are others than those told; `fill` says whether they are.
    pub fn tell(&mut self, now_ns: u64, fill: impl FnOnce(&mut MidsAhead) -> bool) -> bool {
        if !self.changed || now_ns < self.from_ns || self.from_ns == 0 {
            return false;
        }
        let Some(to) = &mut self.to else { return false };
        self.changed = false;
        if !fill(&mut self.told) && self.is_told {
            return false;
        }
        // No empty box: the scanner is busy. It has older ones, or makes the scan when the tick comes.
        let Some(mut ahead) = to.acquire() else { return false };
        self.used += u64::from(std::mem::take(&mut ahead.used));
        ahead.ts = self.told.ts;
        ahead.mids.copy_from_slice(&self.told.mids);
        to.send(ahead);
        self.is_told = true;
        true
    }

    /// How many ticks came with the mids told last.
    pub const fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use runtime::conveyor::conveyor;

    use super::*;

    #[test]
    fn mids_are_told_late_in_the_interval_and_only_when_they_changed() {
        let (to, mut from) = conveyor("a_b", 1, || MidsAhead::new(1));
        let mut out = MidsOut::new(Some(to), 1, Nanos(100));
        let fill = |mid: f64| {
            move |told: &mut MidsAhead| std::mem::replace(&mut told.mids[0], mid).to_bits() != mid.to_bits()
        };
        out.changed();
        assert!(!out.tell(1_000, fill(1.0)), "before the first sample");
        out.sampled(1_000);
        assert!(!out.tell(1_059, fill(1.0)), "too early");
        assert!(out.tell(1_060, fill(1.0)) && !out.tell(1_061, fill(2.0)), "nothing has changed since");
        out.changed();
        assert!(!out.tell(1_062, fill(1.0)), "the same mids");
        out.changed();
        assert!(!out.tell(1_063, fill(2.0)), "no empty box");
        let mut ahead = from.recv().unwrap();
        ahead.used = true;
        from.give_back(ahead);
        out.sampled(1_100);
        assert!(out.tell(1_160, fill(2.0)), "the next tick's scan is another one, its mids may be the same");
        assert_eq!((out.used(), from.recv().unwrap().mids[0]), (1, 2.0));
    }

    /// Seen: while the engine was behind, the oldest ticks were kept and every newer one was dropped.
    #[test]
    fn while_the_next_stage_is_behind_the_newest_tick_is_kept() {
        let (to, mut from) = conveyor("a_b", 2, || Tick::new(1));
        let mut out = TickOut::new(to, 1);
        let put = |out: &mut TickOut, ts| out.put(|tick| tick.ts = Nanos(ts));
        assert_eq!([1, 2, 3, 4, 5].map(|ts| put(&mut out, ts)), [true, true, true, false, false]);
        assert!(!out.flush(), "nothing has come back");
        let mut take = |out: &mut TickOut| {
            let tick = from.recv()?;
            let ts = tick.ts.0;
            from.give_back(tick);
            out.flush();
            Some(ts)
        };
        assert_eq!(
            [take(&mut out), take(&mut out), take(&mut out), take(&mut out)],
            [Some(1), Some(2), Some(5), None]
        );
        assert!(put(&mut out, 6));
        assert_eq!(take(&mut out), Some(6));
    }
}
