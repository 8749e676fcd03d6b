//! A state as OpenMetrics text.

use std::fmt::Write as _;

use crate::latency::BOUNDS_NS;
use crate::registry::{self as r, Kind, Metric};
use crate::state::{Hop, Journal, State};

/// The media type of [`text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<'a> = &'a [(&'a str, &'a str)];

struct Out(String);

impl Out {
    /// Writes a family's head, once, before its samples.
    fn head(&mut self, m: &Metric) {
        let _ = writeln!(self.0, "# TYPE {} {}", m.family, m.kind.name());
        if !m.unit.is_empty() {
            let _ = writeln!(self.0, "# UNIT {} {}", m.family, m.unit);
        }
        let _ = writeln!(self.0, "# HELP {} {}", m.family, escaped(m.meaning));
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if i == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn many<'a, L: AsRef<[(&'a str, &'a str)]>>(
        &mut self,
        m: &Metric,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) {
        self.head(m);
        let name = m.name();
        for (labels, value) in samples {
            let labels = labels.as_ref();
            debug_assert!(labels.iter().map(|l| l.0).eq(m.labels.iter().copied()), "labels of {name}");
            if value.is_finite() {
                self.sample(&name, labels, value);
            }
        }
    }

    fn one(&mut self, m: &Metric, value: impl Into<Option<f64>>) {
        self.many(m, value.into().map(|v| ([], v)));
    }

    fn histogram<'a>(&mut self, m: &Metric, hops: impl IntoIterator<Item = (Option<&'a str>, &'a Hop)>) {
        debug_assert!(m.kind == Kind::Histogram);
        self.head(m);
        for (stage, hop) in hops {
            let own: Vec<(&str, &str)> = m.labels.iter().copied().zip(stage).collect();
            let n = hop.all.map_or(0, |a| a.n);
            let bucket = format!("{}_bucket", m.family);
            let counts = hop.buckets.iter().zip(BOUNDS_NS);
            let bounds = counts.map(|(count, ns)| (format!("{:?}", ns as f64 / 1e9), *count));
            for (bound, count) in bounds.chain([("+Inf".to_owned(), n)]) {
                let labels: Vec<_> = own.iter().copied().chain([("le", bound.as_str())]).collect();
                self.sample(&bucket, &labels, count as f64);
            }
            self.sample(&format!("{}_count", m.family), &own, n as f64);
            self.sample(&format!("{}_sum", m.family), &own, hop.sum);
        }
    }
}

/// Of texts in HELP and labels.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

fn ms(ms: u64) -> f64 {
    ms as f64 / 1e3
}

/// The whole text, as of `now_ms` (UTC).
pub fn text(s: &State, now_ms: u64) -> String {
    let mut out = Out(String::with_capacity(64 * 1024));
    status(&mut out, s, now_ms);
    money(&mut out, s);
    orders(&mut out, s);
    market(&mut out, s);
    engine(&mut out, s);
    machine(&mut out, s);
    out.0.push_str("# EOF\n");
    out.0
}

fn status(out: &mut Out, s: &State, now_ms: u64) {
    let n = &s.node;
    let build = [
        ("version", n.version.as_str()),
        ("commit", n.commit.as_str()),
        ("venue", n.venue.as_str()),
        ("role", n.role.as_str()),
        ("profile", n.profile.as_str()),
    ];
    out.many(&r::BUILD, [(build, 1.0)]);
    out.one(&r::STATE_AGE, ms(now_ms.saturating_sub(s.at_ms)));
    out.one(&r::START, ms(n.started_ms));
    out.one(&r::ARMED, flag(s.armed));
    let state = match s.trading_state.as_str() {
        "ACTIVE" => 2.0,
        "REDUCING" => 1.0,
        _ => 0.0,
    };
    out.one(&r::TRADING_STATE, state);
    let closed = |name: &str| s.gates.iter().any(|g| g.name == name);
    out.many(&r::GATE, r::GATES.iter().map(|(name, _)| ([("gate", *name)], flag(closed(name)))));
    let ages = s.gates.iter().map(|g| ([("gate", g.name.as_str())], ms(s.at_ms.saturating_sub(g.since_ms))));
    out.many(&r::GATE_AGE, ages);
    out.one(&r::KILL, flag(s.account.killed));
    let postures = r::POSTURES.iter().map(|p| ([("posture", *p)], flag(s.signal.posture == *p)));
    out.many(&r::POSTURE, postures);
    let rm = [("in_force", s.signal.rm), ("own_sensors", s.signal.own_rm)];
    out.many(&r::RM, rm.iter().filter_map(|(source, rm)| Some(([("source", *source)], (*rm)?))));
    out.one(&r::MAX_LEVERAGE, s.signal.max_leverage);
    out.many(&r::ALERTS, s.alerts.iter().map(|(kind, n)| ([("kind", kind.as_str())], *n as f64)));
}

fn money(out: &mut Out, s: &State) {
    let a = &s.account;
    out.one(&r::EQUITY, a.equity);
    out.one(&r::WALLET, a.wallet);
    let pnl = [("day", a.day_pnl), ("realised", a.realised), ("unrealised", a.unrealised)];
    out.many(&r::PNL, pnl.iter().filter_map(|(kind, x)| Some(([("kind", *kind)], (*x)?))));
    out.one(&r::DRAWDOWN, a.drawdown);
    out.one(&r::FEES, a.fees);
    out.one(&r::TURNOVER, a.turnover);
    out.one(&r::MARGIN_FREE, a.margin_free);
    out.many(&r::EXPOSURE, [([("kind", "gross")], a.gross), ([("kind", "net")], a.net)]);
    out.many(&r::POSITION, s.positions.iter().map(|p| ([("symbol", p.symbol.as_str())], p.lots as f64)));
    out.one(&r::RECONCILED, flag(a.reconciled));
    out.one(&r::RECONCILED_AT, a.compared_ms.map(ms));
    let legs = [("entry", s.maker.entries), ("exit", s.maker.exits), ("all", s.maker.all)];
    out.many(&r::MAKER, legs.iter().filter_map(|(leg, x)| Some(([("leg", *leg)], (*x)?))));
    out.many(&r::LIMIT, s.limits.iter().map(|(limit, used)| ([("limit", limit.as_str())], *used)));
}

fn orders(out: &mut Out, s: &State) {
    let c = &s.counts;
    out.one(&r::MISMATCH, c.mismatches as f64);
    out.one(&r::DEAD_MAN, ms(c.dead_man_age_ms));
    let ops = [("new", c.orders), ("cancel", c.cancels), ("query", c.queries)];
    out.many(&r::ORDERS, ops.iter().map(|(op, n)| ([("op", *op)], *n as f64)));
    out.one(&r::OPEN, s.orders.len() as f64);
    out.one(&r::UNKNOWN, f64::from(c.unknown_now));
    out.one(&r::UNKNOWN_AGE, ms(c.unknown_oldest_ms));
    out.one(&r::REJECTS, c.rejects as f64);
    let of =
        |prefix: &'static str| s.alerts.iter().filter_map(move |(k, n)| Some((k.strip_prefix(prefix)?, *n)));
    out.many(&r::REJECT_CODES, of("Refused ").map(|(code, n)| ([("code", code)], n as f64)));
    out.many(&r::DENIALS, of("Denied ").map(|(check, n)| ([("check", check)], n as f64)));
    let counters = [
        (&r::FILLS, c.fills),
        (&r::TRIPS, c.round_trips),
        (&r::ABANDONED, c.abandoned),
        (&r::REPEGS, c.repegs),
        (&r::DUPLICATES, c.duplicate_reports),
        (&r::EXTERNAL, c.external_fills),
        (&r::LATE, c.late_fills),
    ];
    counters.into_iter().for_each(|(m, n)| out.one(m, n as f64));
}

fn market(out: &mut Out, s: &State) {
    let m = &s.market;
    out.one(&r::DATA_AGE, m.data_age_ms.map(ms));
    let counters = [
        (&r::FRAMES, m.frames),
        (&r::FRAMES_DROPPED, m.frames_dropped),
        (&r::DECODE, m.rejected),
        (&r::EVENTS, m.events),
        (&r::SAMPLES, m.samples),
        (&r::SAMPLES_LOST, m.samples_lost),
        (&r::SAMPLES_PREPARED, m.samples_prepared),
        (&r::FEATURES_LATE, m.features_late),
        (&r::SCANS_PREPARED, m.scans_prepared),
        (&r::GAPS, m.gaps),
        (&r::RESYNCS, m.resyncs),
        (&r::STREAMS_SILENT, m.silent_streams),
    ];
    counters.into_iter().for_each(|(m, n)| out.one(m, n as f64));
    out.one(&r::BOOKS, f64::from(m.books));
    out.one(&r::BOOKS_LIVE, f64::from(m.books_live));
    out.many(&r::BOOK, s.books.iter().map(|b| ([("symbol", b.symbol.as_str())], flag(b.mask.is_none()))));
    let by_symbol = |value: fn(&crate::state::Book) -> Option<f64>| {
        s.books.iter().filter_map(move |b| Some(([("symbol", b.symbol.as_str())], value(b)?)))
    };
    out.many(&r::BOOK_AGE, by_symbol(|b| b.age_ms.map(ms)));
    out.many(&r::SPREAD, by_symbol(|b| Some(b.spread_bps()? / 1e4)));
    out.one(&r::RESYNC_LONGEST, ms(m.longest_resync_ms));
    let audits = [("same", m.audits), ("different", m.audit_failures)];
    let touches = [("same", m.touches_same), ("different", m.touches_different)];
    out.many(&r::TOUCHES, touches.iter().map(|(result, n)| ([("result", *result)], *n as f64)));
    out.many(&r::AUDITS, audits.iter().map(|(result, n)| ([("result", *result)], *n as f64)));
    let lost = s.connections.iter().flat_map(|c| {
        let name = c.name.as_str();
        c.lost.iter().map(move |(reason, n)| ([("conn", name), ("reason", reason.as_str())], *n as f64))
    });
    out.many(&r::RECONNECTS, lost);
    let by_name = |value: fn(&crate::state::Connection) -> f64| {
        s.connections.iter().map(move |c| ([("conn", c.name.as_str())], value(c)))
    };
    out.many(&r::CONNECT_FAILED, by_name(|c| c.failed as f64));
    let ages = s.connections.iter().filter_map(|c| Some(([("conn", c.name.as_str())], ms(c.heard_ms?))));
    out.many(&r::CONN_AGE, ages);
    out.many(&r::CONN_UP, by_name(|c| flag(c.up)));
}

fn engine(out: &mut Out, s: &State) {
    let g = &s.signal;
    out.one(&r::VEL_DIV, g.vel_div);
    let kinds = [("fires", g.threshold), ("extreme", g.extreme)];
    out.many(&r::THRESHOLD, kinds.iter().map(|(kind, x)| ([("kind", *kind)], *x)));
    out.many(&r::STEPS, g.funnel.iter().map(|(gate, n)| ([("gate", gate.as_str())], *n as f64)));
    out.one(&r::WARM, f64::from(g.warm_bars) / f64::from(g.warm_needed.max(1)));
    out.one(&r::BOOST, g.boost);
    out.one(&r::BETA, g.beta);
}

fn machine(out: &mut Out, s: &State) {
    let stages = s.latency.iter().filter(|h| h.name != "tick_to_order" && h.name != "acknowledged");
    out.histogram(&r::STAGE_LATENCY, stages.map(|h| (Some(h.name.as_str()), h)));
    out.histogram(&r::TICK_TO_SEND, s.hop("tick_to_order").map(|h| (None, h)));
    out.histogram(&r::ACK, s.hop("acknowledged").map(|h| (None, h)));
    let minutes = s.latency.iter().filter_map(|h| Some((h.name.as_str(), h.minute?)));
    let quantiles = minutes.flat_map(|(hop, m)| {
        [("0.5", m.p50), ("0.99", m.p99)].map(|(q, x)| ([("hop", hop), ("quantile", q)], x))
    });
    out.many(&r::HOP_MINUTE, quantiles);
    out.one(&r::LATENCY_LOST, s.latency_lost as f64);
    let by_stage = |value: fn(&crate::state::Stage) -> f64| {
        s.stages.iter().map(move |g| ([("stage", g.name.as_str())], value(g)))
    };
    out.many(&r::HEARTBEAT, by_stage(|g| ms(g.heartbeat_age_ms)));
    let cycles = s.stages.iter().flat_map(|g| {
        [("worked", g.worked), ("idle", g.polls.saturating_sub(g.worked))]
            .map(|(result, n)| ([("stage", g.name.as_str()), ("result", result)], n as f64))
    });
    out.many(&r::CYCLES, cycles);
    out.many(&r::CYCLE_LONGEST, by_stage(|g| g.longest_ns as f64 / 1e9));
    let by_ring = |value: fn(&crate::state::Ring) -> f64| {
        s.rings.iter().map(move |g| ([("ring", g.name.as_str())], value(g)))
    };
    out.many(&r::RING_CAPACITY, by_ring(|g| g.capacity as f64));
    out.many(&r::RING_HIGH, by_ring(|g| g.high_water as f64));
    let full = s.rings.iter().map(|g| {
        ([("ring", g.name.as_str()), ("lossless", if g.lossless { "yes" } else { "no" })], g.full as f64)
    });
    out.many(&r::RING_FULL, full);
    out.many(&r::RING_MESSAGES, by_ring(|g| g.pushed as f64));
    out.one(&r::CLOCK_OFFSET, s.clock.offset_ms.map(|ms| ms / 1e3));
    out.one(&r::CLOCK_ERROR, s.clock.error_ms.map(|ms| ms / 1e3));
    let m = &s.memory;
    out.many(&r::MEMORY_UP, [([("backend", m.backend.as_str())], flag(m.connected))]);
    out.one(&r::MEMORY_PENDING, m.pending as f64);
    out.one(&r::MEMORY_WRITTEN, m.written as f64);
    out.one(&r::MEMORY_LOST, m.lost as f64);
    out.one(&r::MEMORY_OUTAGES, m.outages as f64);
    journal(out, s.journal.as_ref());
}

fn journal(out: &mut Out, journal: Option<&Journal>) {
    let mut one = |m, value: fn(&Journal) -> Option<f64>| out.one(m, journal.and_then(value));
    one(&r::JOURNAL_RECORDS, |j| Some(j.records as f64));
    one(&r::JOURNAL_LOST, |j| Some(j.lost as f64));
    one(&r::JOURNAL_BYTES, |j| Some(j.bytes as f64));
    one(&r::JOURNAL_LAG, |j| Some(j.waiting as f64));
    one(&r::JOURNAL_SYNCS, |j| Some(j.syncs as f64));
    one(&r::JOURNAL_SYNC, |j| Some(j.sync_s));
    one(&r::JOURNAL_SYNC_LONGEST, |j| Some(j.sync_longest_s));
    one(&r::DISK_FREE, |j| j.disk_free.map(|b| b as f64));
    one(&r::DISK_SIZE, |j| j.disk_size.map(|b| b as f64));
}
