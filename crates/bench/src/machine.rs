//! What the figures belong to: machine, clock, build, data.

use std::fs;

use runtime::clock::Clock;
use serde::{Deserialize, Serialize};

/// The header of every report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Commit of the program.
    pub commit: String,
    /// Its compiler.
    pub rustc: String,
    /// Was it built with optimisation? Figures of a debug build are worth nothing.
    pub optimised: bool,
    /// Processor.
    pub cpu: String,
    /// Its microcode; empty: not told.
    pub microcode: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Threads of the machine share a core (`on`, `off`, …); empty: not told.
    pub smt: String,
    /// Frequency governor; empty: not told (virtual machines).
    pub governor: String,
    /// Isolated cores; empty: none.
    pub isolated: String,
    /// Kernel.
    pub kernel: String,
    /// Is it a virtual machine?
    pub virtual_machine: bool,
    /// The system's clock source, and whether the processor's counter is constant.
    pub clock_source: String,
    /// The program reads the processor's counter, and that is constant.
    pub constant_tsc: bool,
    /// Cost of reading the clock, ns.
    pub clock_ns: f64,
    /// Load of the last minute when it began.
    pub load: String,
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Machine {
    /// Of this machine. `build`: commit and compiler of the program.
    pub fn read(build: (&str, &str), clock: &Clock) -> Self {
        let info = line("/proc/cpuinfo");
        let of = |name: &str| {
            let found =
                info.lines().find_map(|l| l.strip_prefix(name)?.split_once(':').map(|(_, v)| v.trim()));
            found.unwrap_or_default().to_owned()
        };
        let flags = of("flags");
        let has = |flag: &str| flags.split(' ').any(|f| f == flag);
        Self {
            commit: build.0.to_owned(),
            rustc: build.1.to_owned(),
            optimised: !cfg!(debug_assertions),
            cpu: of("model name"),
            microcode: of("microcode"),
            cores: runtime::worker::available_cores(),
            smt: line("/sys/devices/system/cpu/smt/control"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            isolated: line("/sys/devices/system/cpu/isolated"),
            kernel: line("/proc/sys/kernel/osrelease"),
            virtual_machine: has("hypervisor"),
            clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            constant_tsc: has("constant_tsc") && has("nonstop_tsc"),
            clock_ns: clock_cost(clock),
            load: line("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// For people, a line or two.
    pub fn text(&self) -> String {
        let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
        let debug = if self.optimised { "" } else { " — a DEBUG build: its figures are worth nothing" };
        format!(
            "commit {}, {}{debug}\n{} cores of {}{}, microcode {}, SMT {}, governor {}, isolated cores {}, kernel {}, load {}\n\
             clock: processor's counter ({}), {:.1} ns a read; system's source {}\n",
            self.commit,
            self.rustc,
            self.cores,
            or(&self.cpu, "an unknown processor"),
            if self.virtual_machine { " (virtual)" } else { "" },
            or(&self.microcode, "not told"),
            or(&self.smt, "not told"),
            or(&self.governor, "not told"),
            or(&self.isolated, "none"),
            self.kernel,
            self.load,
            if self.constant_tsc { "constant" } else { "not said to be constant" },
            self.clock_ns,
            or(&self.clock_source, "not told"),
        )
    }
}

/// Nanoseconds a read, over many.
fn clock_cost(clock: &Clock) -> f64 {
    const READS: u64 = 200_000;
    let began = clock.now_ns();
    for _ in 1..READS {
        std::hint::black_box(clock.now_ns());
    }
    (clock.now_ns() - began) as f64 / READS as f64
}
