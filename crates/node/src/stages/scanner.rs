//! Mid prices to the eigen scan (SPEC §6): one step of the scanner a tick.

use alpha::eigen::Scanner;
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader};
use runtime::latency::Probe;
use runtime::stage::{Stage, Work};

use super::{Hop, Tick};

/// The stage.
pub struct ScannerStage {
    scanner: Scanner,
    /// Without a scan.
    ticks: Unloader<Tick>,
    /// With one.
    scanned: Loader<Tick>,
    /// An empty box of it.
    room: Option<Box<Tick>>,
    clock: Clock,
    probe: Probe,
}

impl ScannerStage {
    /// Around a scanner that was warmed before the start.
    pub fn new(
        scanner: Scanner,
        ticks: Unloader<Tick>,
        scanned: Loader<Tick>,
        clock: Clock,
        probe: Probe,
    ) -> Self {
        Self { scanner, ticks, scanned, room: None, clock, probe }
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
        tick.scan = self.scanner.step(&tick.mids);
        let now = self.clock.now_ns();
        tick.stamps.scanned_ns = now;
        self.probe.record(Hop::Scanner as u8, now - tick.handed_ns);
        if let Some(mut out) = self.room.take() {
            std::mem::swap(&mut *out, &mut *tick);
            out.handed_ns = now;
            self.scanned.send(out);
        }
        self.ticks.give_back(tick);
        Work::Done
    }
}
