//! What a live run did: one value, printed as text or as one JSON object.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use alpha::TradeRecord;
use market::text::{counted, signed};
use runtime::latency::HopSummary;
use serde::{Serialize, Serializer};

use crate::config::Rates;
use crate::control::status::LineSummary;
use crate::memory_link::MemoryStatus;
use crate::roles::status::AlphaStatus;
use crate::session::Session;
use crate::stages::Timeline;
use crate::stages::book::BookCounters;
use crate::stages::feed::FeedCounters;
use crate::stages::router::RouterState;

/// What could not be asked is unknown, not nothing.
pub const UNKNOWN: &str = "unknown";

/// The value, or the word [`UNKNOWN`].
pub fn or_unknown<T: Serialize, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str(UNKNOWN),
    }
}

/// A position left open.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenPosition {
    /// Symbol.
    pub symbol: String,
    /// Signed quantity, as the venue writes it.
    pub qty: String,
}

/// One ring at the end of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RingSummary {
    /// `from_to`.
    pub name: &'static str,
    /// Slots.
    pub capacity: usize,
    /// Messages.
    pub pushed: u64,
    /// Most slots in use at once.
    pub high_water: u64,
    /// Times it was full.
    pub full: u64,
}

/// One stage at the end of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageSummary {
    /// Name.
    pub name: &'static str,
    /// Worker it ran on.
    pub worker: String,
    /// Duty cycles that did something.
    pub worked: u64,
    /// Longest duty cycle, ns.
    pub longest_ns: u64,
}

/// Everything worth telling.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Summary {
    /// Lease and shards, in the role alpha; `None` in the role all.
    pub alpha: Option<AlphaStatus>,
    /// Venue it ran against.
    pub venue: String,
    /// Hash of the parameters, and the profile they belong to.
    pub param_hash: String,
    /// Profile.
    pub profile: String,
    /// Worker layout.
    pub layout: String,
    /// Symbols followed.
    pub symbols: usize,
    /// Length of the run, s.
    pub seconds: f64,
    /// Frames received.
    pub feed: FeedCounters,
    /// Market connections: opened, replaced, lost and why.
    pub connections: BTreeMap<String, LineSummary>,
    /// Books and features.
    pub book: BookCounters,
    /// Steps of the engine by the gate they came to.
    pub gates: BTreeMap<&'static str, u64>,
    /// Orders, fills, maker shares.
    pub router: RouterState,
    /// Positions opened and closed again.
    pub round_trips: usize,
    /// Maker share of all filled value, `None` without fills.
    pub maker_share: Option<f64>,
    /// Profit and loss of the closed trades, commissions included, quote asset.
    pub pnl: f64,
    /// Fees paid (negative: rebates).
    pub fees: f64,
    /// The account's commissions, as the venue told them.
    pub commission: Option<Rates>,
    /// The closed trades.
    pub trades: Vec<TradeRecord>,
    /// What the venue says is still open, in instruments that are not followed too; empty: flat; `None` (in JSON
    /// `"unknown"`): it could not be asked.
    #[serde(serialize_with = "or_unknown")]
    pub open_positions: Option<Vec<OpenPosition>>,
    /// Orders the venue says are still working; `None` (in JSON `"unknown"`): it could not be asked.
    #[serde(serialize_with = "or_unknown")]
    pub open_orders: Option<usize>,
    /// What changed the wallet besides orders, by the venue's reason: funding, transfers, commissions in other assets.
    pub ledger: BTreeMap<String, f64>,
    /// Alerts by kind.
    pub alerts: BTreeMap<String, u64>,
    /// Latency per hop.
    pub latency_ns: BTreeMap<&'static str, HopSummary>,
    /// Latency samples given up.
    pub latency_lost: u64,
    /// The ways of the last requests, oldest first.
    #[serde(skip)]
    pub timelines: Vec<Timeline>,
    /// Rings.
    pub rings: Vec<RingSummary>,
    /// Stages.
    pub stages: Vec<StageSummary>,
    /// System memory.
    pub memory: MemoryStatus,
    /// Why the run ended.
    pub ended_by: String,
    /// Fills, orders and gates, for the session's report.
    #[serde(skip)]
    pub session: Session,
}

impl Summary {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.head(&mut out);
        self.orders(&mut out);
        self.latency(&mut out);
        self.machine(&mut out);
        out
    }

    fn head(&self, out: &mut String) {
        let b = &self.book;
        line(
            out,
            format_args!(
                "run       {:.1} s against {}, ended by {}",
                self.seconds, self.venue, self.ended_by
            ),
        );
        let (profile, hash) = (&self.profile, self.param_hash.get(..12).unwrap_or(&self.param_hash));
        line(
            out,
            format_args!(
                "engine    profile {profile}, parameters {hash}, {}, {}",
                counted(self.symbols, "symbol"),
                self.layout
            ),
        );
        line(
            out,
            format_args!(
                "market    {}, {}, {}, {} of {} books in sync, {}, {} rejected",
                counted(self.feed.frames, "frame"),
                counted(b.events, "event"),
                counted(b.samples, "sample"),
                b.live_books,
                self.symbols,
                counted(b.gaps, "gap"),
                b.rejected
            ),
        );
        self.faults(out);
        if let Some(a) = &self.alpha {
            let c = &a.shards;
            line(
                out,
                format_args!(
                    "alpha     {}, lease {} {}; {} of {} symbols fresh, oldest {} ms",
                    a.state, a.lease.state, a.lease.holder, c.fresh, c.symbols, c.oldest_ms
                ),
            );
            line(
                out,
                format_args!(
                    "shards    {}, {} with all symbols fresh, {} hurried; {}, {} late, {} garbage, {} lost",
                    counted(c.ticks, "tick"),
                    c.whole,
                    c.hurried,
                    counted(c.updates, "update"),
                    c.late,
                    a.reader.garbage + c.refused,
                    a.reader.lost
                ),
            );
        }
        let gates: Vec<String> =
            self.gates.iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name} {n}")).collect();
        line(out, format_args!("gates     {}", gates.join(", ")));
    }

    /// What went wrong with the market data, if anything did.
    fn faults(&self, out: &mut String) {
        let (b, s) = (&self.book, &self.book.streams);
        let counts = [
            ("resyncs", b.resyncs),
            ("crossed books", b.crossed),
            ("late or repeated updates", b.old_updates),
            ("old snapshots", b.old_snapshots),
            ("frames dropped", self.feed.dropped_frames),
            ("silent streams", s.silent),
            ("dead streams", s.dead),
            ("stalled connections", s.stalled),
            ("trades missed", s.trades_missed),
            ("books unlike the venue's", b.audit_failures),
            ("best prices unlike bookTicker's", b.touches_different),
        ];
        let counts: Vec<String> =
            counts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")).collect();
        if !counts.is_empty() {
            line(
                out,
                format_args!("          {}; longest resync {} ms", counts.join(", "), b.longest_resync_ms),
            );
        }
        for (name, c) in &self.connections {
            let lost: Vec<String> = c.lost.iter().map(|(why, n)| format!("{why} {n}")).collect();
            if c.opened > 1 || c.replaced + c.failed > 0 || !lost.is_empty() {
                line(
                    out,
                    format_args!(
                        "          {name}: opened {}, replaced {}, lost {}, attempts failed {}",
                        c.opened,
                        c.replaced,
                        if lost.is_empty() { "0".to_owned() } else { lost.join(", ") },
                        c.failed
                    ),
                );
            }
        }
    }

    fn orders(&self, out: &mut String) {
        let r = &self.router;
        line(
            out,
            format_args!(
                "orders    {} sent, {} refused by the venue, {} refused here, {}, {}, {} given up, {}",
                r.orders,
                r.rejects,
                r.denials,
                counted(r.fills, "fill"),
                counted(r.entries, "entry"),
                r.abandoned,
                counted(r.exits, "exit")
            ),
        );
        let share = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{:.0} %", x * 100.0));
        line(
            out,
            format_args!(
                "maker     {} of all value; entries {} (model 62 %), exits {} (model 50 %)",
                share(self.maker_share),
                share(r.maker_entries),
                share(r.maker_exits)
            ),
        );
        line(
            out,
            format_args!(
                "trades    {}, PnL {}, fees {} ({})",
                counted(self.round_trips, "round trip"),
                signed(self.pnl, 2),
                signed(self.fees, 2),
                self.commission.map_or("rates unknown".to_owned(), |r| format!(
                    "maker {}, taker {}",
                    percent(r.maker),
                    percent(r.taker)
                ))
            ),
        );
        self.trades.iter().for_each(|t| trade(out, t));
        let position = match &self.open_positions {
            None => UNKNOWN.to_owned(),
            Some(left) if left.is_empty() => "flat".to_owned(),
            Some(left) => {
                left.iter().map(|p| format!("{} {}", p.qty, p.symbol)).collect::<Vec<_>>().join(", ")
            }
        };
        let orders = self.open_orders.map_or_else(|| format!("{UNKNOWN} orders"), |n| counted(n, "order"));
        line(out, format_args!("position  {position}; {orders} working"));
        if !self.ledger.is_empty() {
            let ledger: Vec<String> =
                self.ledger.iter().map(|(k, x)| format!("{k} {}", signed(*x, 4))).collect();
            line(out, format_args!("ledger    {}", ledger.join(", ")));
        }
        if !self.alerts.is_empty() {
            let alerts: Vec<String> = self.alerts.iter().map(|(k, n)| format!("{k} {n}")).collect();
            line(out, format_args!("alerts    {}", alerts.join(", ")));
        }
    }

    fn latency(&self, out: &mut String) {
        line(
            out,
            format_args!(
                "latency   {:<14} {:>9} {:>10} {:>10} {:>10} {:>10}",
                "hop", "n", "p50", "p99", "p99.9", "max"
            ),
        );
        for hop in crate::stages::Hop::ALL {
            let Some(h) = self.latency_ns.get(hop.name()) else { continue };
            // A percentile wants 10/(1−q) samples; with fewer it is marked.
            let mark = |ns: u64, need: u64| format!("{}{}", time(ns), if h.n < need { "~" } else { "" });
            line(
                out,
                format_args!(
                    "          {:<14} {:>9} {:>10} {:>10} {:>10} {:>10}",
                    hop.name(),
                    h.n,
                    mark(h.p50, 20),
                    mark(h.p99, 1_000),
                    mark(h.p999, 10_000),
                    time(h.max)
                ),
            );
        }
        line(
            out,
            format_args!(
                "          (~ too few samples for this percentile; {} given up)",
                counted(self.latency_lost, "sample")
            ),
        );
    }

    fn machine(&self, out: &mut String) {
        let m = &self.memory;
        let answers = if m.connected { "answers" } else { "is away" };
        line(
            out,
            format_args!(
                "memory    {} {answers} ({}); restored from {}; {} recovered; {} written, {} waiting, {} lost, {}",
                m.backend,
                m.detail,
                m.restored,
                counted(m.recovered_trades, "trade"),
                m.written,
                m.pending,
                m.lost,
                counted(m.outages, "outage")
            ),
        );
        line(
            out,
            format_args!(
                "pushes    boost {} taken, {} rejected; safety {}, {}; scans {}, {}; own Rm {}",
                m.acb_taken,
                m.acb_rejected,
                m.safety_taken,
                m.safety_rejected,
                m.scans_taken,
                m.scans_rejected,
                m.rm.map_or("-".to_owned(), |rm| format!("{rm:.3}"))
            ),
        );
        for s in &self.stages {
            line(
                out,
                format_args!(
                    "stage     {:<14} on {:<8} {:>9} cycles, longest {}",
                    s.name,
                    s.worker,
                    s.worked,
                    time(s.longest_ns)
                ),
            );
        }
        for r in self.rings.iter().filter(|r| r.full > 0) {
            line(
                out,
                format_args!(
                    "ring      {} was full {} ({} slots)",
                    r.name,
                    counted(r.full, "time"),
                    r.capacity
                ),
            );
        }
    }
}

/// A closed trade in a line.
fn trade(out: &mut String, t: &TradeRecord) {
    let side = if t.direction < 0 { "SHORT" } else { "LONG" };
    line(
        out,
        format_args!(
            "          {:<14} {side:<5} {:>12.2} at {:<12} -> {:<12} {:>9}  {}",
            t.symbol,
            t.notional,
            short(t.entry_price),
            short(t.exit_price),
            signed(t.pnl, 2),
            t.reason.name()
        ),
    );
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a String does not fail");
}

/// A share as percent, with at most four decimals.
fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A price with at most nine significant digits.
fn short(px: f64) -> String {
    let decimals = (8 - px.abs().log10().floor() as i32).clamp(0, 10) as usize;
    let text = format!("{px:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Nanoseconds in the unit that reads best.
pub fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.2} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_prices_read_well() {
        assert_eq!([time(999), time(1_500), time(2_000_000)], ["999 ns", "1.50 µs", "2.00 ms"]);
        assert_eq!([percent(0.0002), percent(0.0005), percent(0.0)], ["0.02 %", "0.05 %", "0 %"]);
        assert_eq!([short(61800.25), short(0.00162579), short(2.5)], ["61800.25", "0.00162579", "2.5"]);
    }
}
