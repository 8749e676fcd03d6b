//! Mid prices to the eigen scan (SPEC §6): one step of the scanner a tick, made before the tick comes where its mids are
//! told ahead.

use alpha::eigen::Scanner;
use market::Nanos;
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader};
use runtime::latency::Probe;
use runtime::stage::{Stage, Work};

use super::ticks::MidsAhead;
use super::{Hop, Tick};

/// The ends of the stage's links.
pub struct ScannerLinks {
    /// Without a scan.
    pub ticks: Unloader<Tick>,
    /// The mids of the next one, probably.
    pub ahead: Option<Unloader<MidsAhead>>,
    /// With a scan.
    pub scanned: Loader<Tick>,
}

/// The stage.
pub struct ScannerStage {
    scanner: Scanner,
    ticks: Unloader<Tick>,
    ahead: Option<Unloader<MidsAhead>>,
    /// What was told last.
    told: Option<Box<MidsAhead>>,
    /// Time of the last tick.
    stepped: Nanos,
    /// Nothing is prepared before, monotonic.
    prepare_from: u64,
    scanned: Loader<Tick>,
    /// An empty box of it.
    room: Option<Box<Tick>>,
    clock: Clock,
    probe: Probe,
}

/// After a scan was prepared the next one waits for so many times as long: where many symbols make scans expensive, frames
/// must not wait for guesses.
const PAUSE: u64 = 4;

impl ScannerStage {
    /// Around a scanner that was warmed before the start.
    pub fn new(scanner: Scanner, links: ScannerLinks, clock: Clock, probe: Probe) -> Self {
        let ScannerLinks { ticks, ahead, scanned } = links;
        let (told, stepped, prepare_from, room) = (None, Nanos(0), 0, None);
        Self { scanner, ticks, ahead, told, stepped, prepare_from, scanned, room, clock, probe }
    }

    /// What was told ahead of this tick has served.
    fn served(&mut self, tick: &Tick, used: bool) {
        let Some(ahead) = &mut self.ahead else { return };
        if let Some(mut told) = self.told.take_if(|told| told.ts <= tick.ts) {
            told.used = used;
            ahead.give_back(told);
        }
    }
}

impl Stage for ScannerStage {
    fn name(&self) -> &'static str {
        "scanner"
    }

    fn poll(&mut self, _now_ns: u64) -> Work {
        // While the engine has no room nothing is taken: ticks conflate in one place, before the scanner.
        self.room = self.room.take().or_else(|| self.scanned.acquire());
        if self.room.is_none() {
            return Work::Idle;
        }
        let Some(mut tick) = self.ticks.recv() else { return Work::Idle };
        tick.stamps.scan_began_ns = self.clock.now_ns();
        let prepared = self.scanner.prepared();
        tick.scan = self.scanner.step(&tick.mids);
        let now = self.clock.now_ns();
        tick.stamps.scanned_ns = now;
        self.probe.record(Hop::Scanner as u8, now - tick.handed_ns);
        self.stepped = tick.ts;
        self.served(&tick, self.scanner.prepared() > prepared);
        if let Some(mut out) = self.room.take() {
            std::mem::swap(&mut *out, &mut *tick);
            out.handed_ns = now;
            self.scanned.send(out);
        }
        self.ticks.give_back(tick);
        Work::Done
    }

    fn prepare(&mut self, now_ns: u64) -> Work {
        let Some(ahead) = &mut self.ahead else { return Work::Idle };
        if now_ns < self.prepare_from {
            return Work::Idle;
        }
        let mut came = false;
        while let Some(newer) = ahead.recv() {
            came = true;
            if let Some(older) = self.told.replace(newer) {
                ahead.give_back(older);
            }
        }
        let Some(told) = self.told.as_ref().filter(|told| came && told.ts > self.stepped) else {
            return Work::from(came);
        };
        self.scanner.prepare(&told.mids);
        let now = self.clock.now_ns();
        self.prepare_from = now + PAUSE * now.saturating_sub(now_ns);
        Work::Done
    }
}
