//! What a bench came to, as it is printed, written and compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use node::summary::time;
use serde::{Deserialize, Serialize};

use crate::floor::Jitter;
use crate::machine::Machine;
use crate::run::Raw;
use crate::threads::Counts;
use crate::ways::{Path, Step, Way, Ways, histogram_of};

/// A distribution, ns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figure {
    /// Samples.
    pub n: u64,
    /// Smallest.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest.
    pub max: u64,
    /// Mean.
    pub mean: f64,
    /// Percentiles that rest on fewer than 10/(1 − q) samples.
    pub few_samples: Vec<String>,
    /// Percentiles for the curve: quantile and value.
    pub curve: Vec<(f64, u64)>,
}

/// The percentiles of the tables.
pub const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Which of them rest on too few of `n` samples, fewer than 10/(1 − q): to be taken with care.
pub fn few_samples(n: u64) -> Vec<&'static str> {
    let few = |&(name, q): &(&'static str, f64)| ((n as f64) < (10.0 / (1.0 - q)).round()).then_some(name);
    QUANTILES.iter().filter_map(few).collect()
}

/// Those of the curve: halves of what is left.
const CURVE: usize = 14;

impl Figure {
    /// Of a histogram.
    pub fn of(h: &Histogram<u64>) -> Self {
        if h.is_empty() {
            return Self::default();
        }
        let n = h.len();
        let point = |i: usize| {
            let q = 1.0 - 0.5f64.powi(i as i32);
            (q, h.value_at_quantile(q))
        };
        Self {
            n,
            min: h.min(),
            p50: h.value_at_quantile(0.5),
            p90: h.value_at_quantile(0.9),
            p99: h.value_at_quantile(0.99),
            p999: h.value_at_quantile(0.999),
            max: h.max(),
            mean: h.mean(),
            few_samples: few_samples(n).into_iter().map(str::to_owned).collect(),
            curve: (0..CURVE).take_while(|i| n >> i > 0).map(point).collect(),
        }
    }

    /// A percentile by its name.
    pub fn quantile(&self, name: &str) -> Option<u64> {
        Some(match name {
            "p50" => self.p50,
            "p90" => self.p90,
            "p99" => self.p99,
            "p99.9" => self.p999,
            "max" => self.max,
            _ => return None,
        })
    }
}

/// A step of a way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hop {
    /// Its name.
    pub name: String,
    /// How long it took.
    #[serde(flatten)]
    pub figure: Figure,
    /// Share of the mean on the wire; 0 where it is no part of that.
    pub share: f64,
}

/// One path.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathReport {
    /// Its steps.
    pub hops: Vec<Hop>,
    /// Frame read by the node → signed order bytes.
    pub within: Figure,
    /// The venue began to write → its read of the order returned.
    pub wire: Figure,
    /// `within`, from when the venue should have written.
    pub within_response: Figure,
    /// `wire`, from when the venue should have written (coordinated omission is not possible).
    pub wire_response: Figure,
    /// The node's own work, without its waits and the wire's.
    pub service: Figure,
    /// Mean on the wire minus the sum of the means of its steps, ns.
    pub unattributed_ns: f64,
    /// The same as a share of the mean.
    pub unattributed: f64,
}

impl PathReport {
    /// Of these ways.
    pub fn of(ways: &[Way]) -> Self {
        let figure = |f: fn(&Way) -> u64| Figure::of(&histogram_of(ways, f));
        let mut hops: BTreeMap<Step, Histogram<u64>> = BTreeMap::new();
        let mut sums: BTreeMap<Step, u64> = BTreeMap::new();
        for (step, ns) in ways.iter().flat_map(|w| &w.steps) {
            let h = hops.entry(*step).or_insert_with(runtime::latency::histogram);
            h.saturating_record((*ns).max(1));
            *sums.entry(*step).or_default() += ns;
        }
        let n = ways.len().max(1) as f64;
        let total = ways.iter().map(|w| w.wire).sum::<u64>() as f64 / n;
        let is_part = |step: &Step| !matches!(step, Step::VenueLate | Step::Acknowledge);
        let attributed =
            sums.iter().filter(|(step, _)| is_part(step)).map(|(_, ns)| *ns as f64).sum::<f64>() / n;
        let hop = |(step, h): (&Step, &Histogram<u64>)| {
            let mean = sums[step] as f64 / n;
            let share = if is_part(step) && total > 0.0 { mean / total } else { 0.0 };
            let figure = Figure { curve: Vec::new(), ..Figure::of(h) };
            Hop { name: step.name().to_owned(), figure, share }
        };
        Self {
            hops: hops.iter().map(hop).collect(),
            within: figure(|w| w.within),
            wire: figure(|w| w.wire),
            within_response: figure(|w| w.within_response),
            wire_response: figure(|w| w.wire_response),
            service: figure(|w| w.service),
            unattributed_ns: total - attributed,
            unattributed: if total > 0.0 { (total - attributed) / total } else { 0.0 },
        }
    }
}

/// A run at one rate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunReport {
    /// So many times as fast as recorded.
    pub rate: f64,
    /// How long it was measured, s.
    pub seconds: f64,
    /// Frames a second that the node received.
    pub frames_per_s: f64,
    /// Ticks that there should have been.
    pub ticks_expected: u64,
    /// Ticks that the books made.
    pub ticks: u64,
    /// Ticks that found no room before the scanner.
    pub ticks_lost: u64,
    /// Share of the ticks whose features were computed before their boundary, over the whole run.
    pub prepared: f64,
    /// The same of the eigen scan.
    pub scans_prepared: f64,
    /// Frames given up, over the whole run.
    pub frames_dropped: u64,
    /// How late the venue itself was to play, against the schedule.
    pub venue_late: Figure,
    /// Rings that were ever full, and how often.
    pub rings_full: BTreeMap<String, u64>,
    /// Entries, exits, abandoned entries over the whole run.
    pub entries: u64,
    /// See `entries`.
    pub exits: u64,
    /// See `entries`.
    pub abandoned: u64,
    /// Steps of the engine by the gate they came to, over the whole run.
    pub gates: BTreeMap<String, u64>,
    /// Reads (empty ones too) and writes of the node's sockets in the measured time, as its streams counted them.
    pub socket_calls: u64,
    /// Orders whose frames were not found in the logs.
    pub unmatched: u64,
    /// What the streams' logs had no room for; ways of that time are missing.
    pub logs_lost: u64,
    /// The paths by their keys.
    pub paths: BTreeMap<String, PathReport>,
    /// Hops of every tick, order or not, as production shows them; over the whole run.
    pub every_tick: BTreeMap<String, runtime::latency::HopSummary>,
    /// Hot threads.
    pub threads: Vec<Counts>,
    /// Resident memory of the process when it was over, bytes (venue and logs are in it).
    pub resident: Option<u64>,
    /// It did not keep up, and how that shows.
    pub saturated: Option<String>,
}

/// More than so late is a venue that does not keep its schedule, ns at p99.
const VENUE_LATE: u64 = 2_000_000;

impl RunReport {
    /// Of what a run left.
    pub fn of(raw: &Raw, ways: &Ways, rate: f64) -> Self {
        let seconds = (raw.to - raw.from) as f64 / 1e9;
        let s = &raw.summary;
        let late = raw.played.late.map_or_else(Figure::default, |l| Figure {
            n: l.n,
            min: l.min,
            p50: l.p50,
            p90: l.p90,
            p99: l.p99,
            p999: l.p999,
            max: l.max,
            ..Figure::default()
        });
        let full = s.rings.iter().filter(|r| r.full > 0).map(|r| (r.name.to_owned(), r.full)).collect();
        let expected = (seconds * 10.0).floor() as u64;
        let (ticks, lost) = raw.ticks;
        let mut report = Self {
            rate,
            seconds,
            frames_per_s: raw.frames as f64 / seconds,
            ticks_expected: expected,
            ticks,
            ticks_lost: lost,
            prepared: s.book.prepared as f64 / s.book.samples.max(1) as f64,
            scans_prepared: s.book.scans_prepared as f64 / s.book.samples.max(1) as f64,
            frames_dropped: s.feed.dropped_frames,
            venue_late: late,
            rings_full: full,
            entries: s.router.entries,
            exits: s.router.exits,
            abandoned: s.router.abandoned,
            gates: s.gates.iter().filter(|(_, n)| **n > 0).map(|(k, n)| ((*k).to_owned(), *n)).collect(),
            socket_calls: raw.socket_calls,
            unmatched: ways.unmatched,
            logs_lost: raw.connections.iter().map(|c| c.node.lost + c.venue.lost).sum(),
            paths: ways.paths.iter().map(|(p, w)| (p.key().to_owned(), PathReport::of(w))).collect(),
            every_tick: s.latency_ns.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect(),
            threads: raw.threads.clone(),
            resident: resident(),
            saturated: None,
        };
        report.saturated = report.saturation();
        report
    }

    fn saturation(&self) -> Option<String> {
        if self.frames_dropped > 0 {
            return Some(format!("{} frames given up before the books", self.frames_dropped));
        }
        if self.ticks_lost > 0 {
            return Some(format!("{} ticks found no room before the scanner", self.ticks_lost));
        }
        if self.ticks + 2 < self.ticks_expected {
            return Some(format!("{} of {} ticks", self.ticks, self.ticks_expected));
        }
        (self.venue_late.p99 > VENUE_LATE).then(|| {
            format!("the venue itself does not keep the schedule (p99 {})", time(self.venue_late.p99))
        })
    }
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes: u64 =
        status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}

/// What the machine allows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Floor {
    /// Round trip over the loopback between two polling threads.
    pub round_trip: Figure,
    /// The hot core, before the node ran on it.
    pub jitter: Jitter,
}

/// `dolphin bench tick-to-order`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Whose report: `tick-to-order`, `pipeline`.
    pub bench: String,
    /// The machine.
    pub machine: Machine,
    /// Market played, and its digest.
    pub data: (String, String),
    /// Sockets of the loopback (`true`), or pipes within the process.
    pub wire: bool,
    /// Symbols.
    pub symbols: usize,
    /// Lookback stride, ticks a bar.
    pub stride: u32,
    /// Cores and threads.
    pub placed: String,
    /// Hash of the engine's parameters.
    pub param_hash: String,
    /// Floors of the same run.
    pub floor: Floor,
    /// A run a rate.
    pub runs: Vec<RunReport>,
}

impl Report {
    /// The first rate that was not kept, and why.
    pub fn saturation(&self) -> Option<(f64, &str)> {
        self.runs.iter().find_map(|r| Some((r.rate, r.saturated.as_deref()?)))
    }

    /// The figure that a budget and a comparison go by: the entry path at the first rate, on the wire with `--wire`,
    /// else within the process.
    pub fn headline(&self) -> Option<&Figure> {
        let entry = self.runs.first()?.paths.get(Path::Entry.key())?;
        Some(if self.wire { &entry.wire } else { &entry.within })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = write!(
            out,
            "{}{} symbols, S = {}, {}; market {} ({})\n{}\n",
            self.machine.text(),
            self.symbols,
            self.stride,
            if self.wire { "over loopback sockets" } else { "in memory (pipes within the process)" },
            self.data.0,
            self.data.1,
            self.placed,
        );
        self.floor_text(&mut out);
        for run in &self.runs {
            run.text(self, &mut out);
        }
        self.sweep_text(&mut out);
        out
    }

    fn floor_text(&self, out: &mut String) {
        let (f, j) = (&self.floor.round_trip, &self.floor.jitter);
        let _ = writeln!(
            out,
            "floor: loopback round trip, both ends polling: p50 {}, p99 {} (n {}); idle core {}: longest gap {}, {} gaps of 10 µs and more in {:.1} s, {:.2} % away",
            time(f.p50),
            time(f.p99),
            f.n,
            j.core,
            time(j.max),
            j.longer[1].1,
            j.seconds,
            j.away * 100.0,
        );
    }

    fn sweep_text(&self, out: &mut String) {
        if self.runs.len() > 1 {
            let _ = writeln!(out, "\nload sweep, boundary → entry");
            let _ = writeln!(
                out,
                "{:>6}{:>11}{:>12}{:>7}{:>11}{:>11}{:>11}{:>11}  kept",
                "rate", "frames/s", "ticks", "n", "within p50", "p99", "wire p50", "p99"
            );
        }
        for r in self.runs.iter().filter(|_| self.runs.len() > 1) {
            let none = PathReport::default();
            let e = r.paths.get(Path::Entry.key()).unwrap_or(&none);
            let _ = writeln!(
                out,
                "{:>6}{:>11.0}{:>12}{:>7}{:>11}{:>11}{:>11}{:>11}  {}",
                format!("×{}", r.rate),
                r.frames_per_s,
                format!("{}/{}", r.ticks, r.ticks_expected),
                e.within.n,
                time(e.within_response.p50),
                time(e.within_response.p99),
                time(e.wire_response.p50),
                time(e.wire_response.p99),
                r.saturated.as_deref().unwrap_or("yes"),
            );
        }
        match self.saturation() {
            Some((rate, why)) => {
                let _ = writeln!(out, "saturated at ×{rate}: {why}");
            }
            None => {
                let _ = writeln!(out, "not saturated at any of these rates");
            }
        }
        let _ = writeln!(out, "* fewer than 10/(1 - q) samples; loopback is no network card");
    }
}

const NAME: usize = 24;

fn head(out: &mut String, title: &str) {
    let _ = writeln!(
        out,
        "{title:<NAME$}{:>7}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}{:>8}",
        "n", "min", "p50", "p90", "p99", "p99.9", "max", "share"
    );
}

fn row(out: &mut String, name: &str, f: &Figure, share: Option<f64>) {
    let star = |q: &str, ns: u64| time(ns) + if f.few_samples.iter().any(|few| few == q) { "*" } else { "" };
    let share = share.map_or(String::new(), |s| format!("{:.1} %", s * 100.0));
    let _ = writeln!(
        out,
        "{name:<NAME$}{:>7}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}{share:>8}",
        f.n,
        time(f.min),
        star("p50", f.p50),
        star("p90", f.p90),
        star("p99", f.p99),
        star("p99.9", f.p999),
        time(f.max),
    );
}

impl RunReport {
    fn text(&self, report: &Report, out: &mut String) {
        let _ = writeln!(
            out,
            "\n×{} of the recorded rate for {:.1} s: {:.0} frames/s, {} of {} ticks ({} lost; features of {:.1} %, scans of {:.1} % prepared), {} entries, {} exits, {} abandoned; schedule kept by the venue to p50 {}, p99 {}",
            self.rate,
            self.seconds,
            self.frames_per_s,
            self.ticks,
            self.ticks_expected,
            self.ticks_lost,
            self.prepared * 100.0,
            self.scans_prepared * 100.0,
            self.entries,
            self.exits,
            self.abandoned,
            time(self.venue_late.p50),
            time(self.venue_late.p99),
        );
        for path in Path::ALL {
            if let Some(p) = self.paths.get(path.key()) {
                p.text(path.name(), report, out);
            }
        }
        let _ = writeln!(out, "  every tick, order or not, as production shows it (whole run)");
        for (name, s) in &self.every_tick {
            let f = Figure {
                n: s.n,
                min: s.min,
                p50: s.p50,
                p90: s.p90,
                p99: s.p99,
                p999: s.p999,
                max: s.max,
                ..Figure::default()
            };
            row(out, &format!("    {name}"), &f, None);
        }
        for t in &self.threads {
            let _ = writeln!(out, "  {}", counts_text(t));
        }
        let calls = self.socket_calls as f64 / self.seconds.max(1e-9);
        let _ = writeln!(
            out,
            "  {calls:.0} reads and writes of the node's streams a second, empty reads among them"
        );
        let _ = writeln!(out, "  gates {:?}", self.gates);
        if !self.rings_full.is_empty() {
            let _ = writeln!(out, "  rings that were full: {:?}", self.rings_full);
        }
        if self.unmatched + self.logs_lost > 0 {
            let _ = writeln!(
                out,
                "  {} orders were not found in the logs of the streams, which had no room for {} reads and frames",
                self.unmatched, self.logs_lost
            );
        }
    }
}

fn counts_text(t: &Counts) -> String {
    let told = |n: Option<u64>| n.map_or_else(|| "not told".to_owned(), |n| n.to_string());
    format!(
        "hot thread {}: {} allocations, {} reads and writes of files, {} switches given, {} taken, {} page faults, {} ready and waiting",
        t.worker,
        t.allocations,
        told(t.file_calls),
        told(t.voluntary_switches),
        told(t.involuntary_switches),
        told(t.page_faults),
        t.waited_ns.map_or_else(|| "not told".to_owned(), time),
    )
}

impl PathReport {
    fn text(&self, name: &str, report: &Report, out: &mut String) {
        if self.wire.n == 0 {
            let _ = writeln!(out, "  {name}: none");
            return;
        }
        head(out, &format!("  {name}"));
        for hop in &self.hops {
            row(out, &format!("    {}", hop.name), &hop.figure, (hop.share > 0.0).then_some(hop.share));
        }
        let _ = writeln!(
            out,
            "    {:<20}{:>7}{:>11} of {} mean, {:.2} %",
            "unattributed",
            "",
            format!("{:.0} ns", self.unattributed_ns),
            time(self.wire.mean as u64),
            self.unattributed * 100.0
        );
        row(out, "  frame → order bytes", &self.within, None);
        row(out, "    service (no waits)", &self.service, None);
        row(out, "    response (schedule)", &self.within_response, None);
        row(out, "  wire → wire", &self.wire, None);
        row(out, "    response (schedule)", &self.wire_response, None);
        let floor = report.floor.round_trip.p50.max(1) as f64;
        if report.wire {
            let _ = writeln!(
                out,
                "    against the floor's median: p50 {:.2} ×, p99 {:.2} ×",
                self.wire.p50 as f64 / floor,
                self.wire.p99 as f64 / floor
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(steps: &[(Step, u64)], wire: u64) -> Way {
        Way { steps: steps.to_vec(), wire, ..Way::default() }
    }

    #[test]
    fn what_no_step_explains_is_shown() {
        let steps =
            [(Step::VenueLate, 500), (Step::KernelRead, 10), (Step::Decide, 70), (Step::Acknowledge, 900)];
        let p = PathReport::of(&[way(&steps, 100), way(&steps, 100)]);
        assert_eq!((p.unattributed_ns, p.unattributed), (20.0, 0.2));
        let share = |name: &str| p.hops.iter().find(|h| h.name == name).map(|h| h.share);
        assert_eq!((share("decide: engine"), share("venue late")), (Some(0.7), Some(0.0)));
    }

    #[test]
    fn few_samples_are_marked_by_quantile() {
        let mut h = runtime::latency::histogram();
        (1..=150).for_each(|v| h.saturating_record(v));
        assert_eq!(Figure::of(&h).few_samples, ["p99", "p99.9"]);
        assert_eq!(Figure::of(&runtime::latency::histogram()), Figure::default());
    }
}
