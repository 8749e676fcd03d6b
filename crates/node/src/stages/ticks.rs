//! Ticks on their way to the next stage: the newest wins (SPEC §7).

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

#[cfg(test)]
mod tests {
    use market::Nanos;
    use runtime::conveyor::conveyor;

    use super::*;

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
