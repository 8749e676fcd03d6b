//! Mid prices to the eigen scan (SPEC §6): one step of the scanner a tick.

use alpha::eigen::Scanner;
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader};
use runtime::latency::Probe;
use runtime::stage::{Stage, Work};

use super::{Hop, Tick};

/// The stage.
pub struct ScannerStage {
    /// Warmed before the start.
    pub scanner: Scanner,
    /// Ticks without a scan.
    pub book_to_scanner: Unloader<Tick>,
    /// Ticks with one.
    pub scanner_to_alpha: Loader<Tick>,
    /// For latencies.
    pub clock: Clock,
    /// Latencies.
    pub probe: Probe,
}

impl Stage for ScannerStage {
    fn name(&self) -> &'static str {
        "scanner"
    }

    fn poll(&mut self, _now_ns: u64) -> Work {
        let Some(mut tick) = self.book_to_scanner.recv() else { return Work::Idle };
        // The scanner's history must not skip a tick, even where the engine has no room for it.
        tick.scan = self.scanner.step(&tick.mids);
        let now = self.clock.now_ns();
        self.probe.record(Hop::Scanner as u8, now - tick.handed_ns);
        if let Some(mut out) = self.scanner_to_alpha.acquire() {
            std::mem::swap(&mut *out, &mut *tick);
            out.handed_ns = now;
            self.scanner_to_alpha.send(out);
        }
        self.book_to_scanner.give_back(tick);
        Work::Done
    }
}
