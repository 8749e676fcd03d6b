//! Updates of single symbols to ticks of all symbols, boundary by boundary.
//!
//! Ingest nodes sample on event-time clocks of their own, so boundaries overlap: the next one may begin before this one
//! is whole. A boundary is told when every symbol that is *alive* has arrived, or a grace after its first update; what
//! is missing then is filled with the symbol's last update, as long as that is not stale. Ticks come out in order and
//! without a hole, because lookbacks count them. Time is an argument; nothing here allocates after the start.

use std::collections::VecDeque;

use market::{Nanos, ObFeatures};
use serde::Serialize;

use super::Update;
use crate::stages::Tick;

/// Boundaries gathered at one time: 1.6 s at 10 Hz. Beyond it the oldest is told as it is.
const WINDOW: usize = 16;
/// A boundary this far above our clock, or the venue's where that is ahead of ours, is not believed: it would end all ticks
/// before it.
const MAX_AHEAD: u64 = 5 * Nanos::SECOND;
/// After a longer silence of all symbols the ticks begin anew instead of filling the hole.
const MAX_HOLE: u64 = 3_600 * Nanos::SECOND;
/// Ages told apart, in ticks; the last stands for everything older.
const AGES: usize = 32;

/// What a tick takes from an update.
#[derive(Debug, Clone, Copy)]
struct Sampled {
    ts: u64,
    mid: f64,
    features: ObFeatures,
}

/// A boundary being gathered.
#[derive(Debug)]
struct Open {
    ts: u64,
    /// When its first update came (monotonic).
    since: u64,
    records: Vec<Option<Sampled>>,
}

/// How the ticks were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ShardCounters {
    /// Symbols followed.
    pub symbols: u32,
    /// Symbols whose boundary was the last tick's or the one before it.
    pub fresh: u32,
    /// Age of the oldest symbol that is not stale at the last tick, ms.
    pub oldest_ms: u64,
    /// Ticks told.
    pub ticks: u64,
    /// Ticks with all symbols fresh.
    pub whole: u64,
    /// Ticks told because the grace was over, not because every symbol that is alive had come.
    pub hurried: u64,
    /// Ticks since every symbol had come once.
    pub ticks_since_all: u64,
    /// Of those: ticks with all symbols fresh.
    pub whole_since_all: u64,
    /// Fewest fresh symbols at a tick of those.
    pub fewest_since_all: u32,
    /// Updates taken.
    pub updates: u64,
    /// Updates of a boundary already told: they count to the next tick.
    pub late: u64,
    /// Updates that make no sense: off the grid of boundaries, or too far ahead.
    pub refused: u64,
    /// Median age of a symbol at a tick, in ticks.
    pub age_p50: u32,
    /// 99th percentile of the same.
    pub age_p99: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Assembly {
    interval: u64,
    grace: u64,
    stale_after: u64,
    /// So much is the venue's clock ahead of ours, as far as is known.
    venue_ahead: u64,
    /// The newest update of each symbol that belongs to a told boundary.
    latest: Vec<Option<Sampled>>,
    open: VecDeque<Open>,
    spare: Vec<Open>,
    /// The next boundary to tell; zero before the first update.
    next: u64,
    /// Alive symbols that the next boundary waits for.
    waiting: usize,
    /// Has each symbol come once?
    all_seen: bool,
    ages: [u64; AGES],
    pub(crate) counters: ShardCounters,
}

impl Assembly {
    /// For `symbols` columns. `grace`: how long a boundary waits for symbols that are alive (monotonic time);
    /// `stale_after`: an older update counts as not there (event time).
    pub fn new(symbols: usize, interval: Nanos, grace: Nanos, stale_after: Nanos) -> Self {
        let open = || Open { ts: 0, since: 0, records: vec![None; symbols] };
        Self {
            interval: interval.0.max(1),
            grace: grace.0,
            stale_after: stale_after.0,
            venue_ahead: 0,
            latest: vec![None; symbols],
            open: VecDeque::with_capacity(WINDOW),
            spare: std::iter::repeat_with(open).take(WINDOW).collect(),
            next: 0,
            waiting: 0,
            all_seen: false,
            ages: [0; AGES],
            counters: ShardCounters {
                symbols: u32::try_from(symbols).unwrap_or(u32::MAX),
                fewest_since_all: u32::MAX,
                ..ShardCounters::default()
            },
        }
    }

    /// The venue's clock was measured. Where it is behind ours nothing changes: the error is the larger then.
    pub fn clock_measured(&mut self, offset_ns: i64) {
        self.venue_ahead = u64::try_from(offset_ns).unwrap_or(0);
    }

    /// Takes an update at `now`. `false`: it was refused.
    pub fn take(&mut self, update: &Update, now: u64) -> bool {
        let (ts, column) = (update.ts.0, update.symbol.index());
        if ts == 0
            || !ts.is_multiple_of(self.interval)
            || ts > now.saturating_add(self.venue_ahead).saturating_add(MAX_AHEAD)
            || column >= self.latest.len()
        {
            self.counters.refused += 1;
            return false;
        }
        if self.next == 0 || (self.open.is_empty() && ts > self.next + MAX_HOLE) {
            self.next = ts;
            self.waiting = self.alive(ts);
        }
        self.counters.updates += 1;
        let sampled = Sampled { ts, mid: update.mid, features: update.features };
        if ts < self.next {
            self.counters.late += 1;
            let latest = &mut self.latest[column];
            if latest.is_none_or(|l| l.ts < ts) {
                *latest = Some(sampled);
            }
            return true;
        }
        let Some(at) = self.gather(ts, now) else {
            // The ticks are not taken from us: the newest picture of the symbol comes with the next update.
            self.counters.late += 1;
            return true;
        };
        let is_new = self.open[at].records[column].replace(sampled).is_none();
        if ts == self.next && is_new && self.is_alive(column, ts) {
            self.waiting = self.waiting.saturating_sub(1);
        }
        true
    }

    /// Where the boundary is gathered; `None` if there is no room for one more.
    fn gather(&mut self, ts: u64, now: u64) -> Option<usize> {
        let at = self.open.partition_point(|o| o.ts < ts);
        if self.open.get(at).is_some_and(|o| o.ts == ts) {
            return Some(at);
        }
        let mut open = self.spare.pop()?;
        (open.ts, open.since) = (ts, now);
        open.records.fill(None);
        self.open.insert(at, open);
        Some(at)
    }

    fn is_alive(&self, column: usize, at: u64) -> bool {
        self.latest[column].is_some_and(|l| at - l.ts.min(at) <= self.stale_after)
    }

    fn alive(&self, at: u64) -> usize {
        (0..self.latest.len()).filter(|&i| self.is_alive(i, at)).count()
    }

    /// Can the next tick be told?
    pub fn is_due(&self, now: u64) -> bool {
        let Some(first) = self.open.front() else { return false };
        let whole = first.ts == self.next && self.waiting == 0 && self.counters.ticks > 0;
        whole || self.is_hurried(now)
    }

    fn is_hurried(&self, now: u64) -> bool {
        let waited = |o: &Open| now.saturating_sub(o.since) >= self.grace;
        self.open.front().is_some_and(waited) || self.spare.is_empty()
    }

    /// Fills `tick` with the boundary that [`Self::is_due`] said can be told.
    pub fn tell(&mut self, tick: &mut Tick, now: u64) {
        let ts = self.next;
        let first_is_it = self.open.front().is_some_and(|o| o.ts == ts);
        self.counters.hurried += u64::from(!first_is_it || self.waiting > 0);
        if let Some(open) = self.open.pop_front_if(|o| o.ts == ts) {
            for (latest, record) in self.latest.iter_mut().zip(&open.records) {
                *latest = record.or(*latest);
            }
            self.spare.push(open);
        }
        self.fill(tick, ts);
        tick.recv_ns = now;
        tick.handed_ns = now;
        self.next = ts + self.interval;
        self.expect_next();
    }

    /// Counts whom the next boundary waits for.
    fn expect_next(&mut self) {
        let next = self.next;
        let come = self.open.front().filter(|o| o.ts == next);
        let missing = |i: &usize| come.is_none_or(|o| o.records[*i].is_none());
        self.waiting = (0..self.latest.len()).filter(|&i| self.is_alive(i, next)).filter(missing).count();
    }

    fn fill(&mut self, tick: &mut Tick, ts: u64) {
        tick.ts = Nanos(ts);
        let (mut fresh, mut seen, mut oldest) = (0, 0, 0);
        let outputs = tick.mids.iter_mut().zip(&mut tick.features);
        for (latest, (mid, features)) in self.latest.iter().zip(outputs) {
            (*mid, *features) = (f64::NAN, None);
            let Some(l) = latest else { continue };
            seen += 1;
            // A late update can be no newer than the boundary before this one.
            let age = ts - l.ts.min(ts);
            let ticks = usize::try_from(age / self.interval).unwrap_or(AGES);
            self.ages[ticks.min(AGES - 1)] += 1;
            fresh += u32::from(age <= self.interval);
            if age <= self.stale_after {
                (*mid, *features) = (l.mid, Some(l.features));
                oldest = oldest.max(age);
            }
        }
        tick.cross = book::cross_asset(&tick.features);
        self.all_seen |= seen == self.latest.len();
        let c = &mut self.counters;
        (c.fresh, c.oldest_ms) = (fresh, oldest / Nanos::MS);
        c.ticks += 1;
        let whole = u64::from(fresh == c.symbols);
        c.whole += whole;
        if self.all_seen {
            c.ticks_since_all += 1;
            c.whole_since_all += whole;
            c.fewest_since_all = c.fewest_since_all.min(fresh);
        }
    }

    /// How the ticks were made so far.
    pub fn counters(&self) -> ShardCounters {
        let all: u64 = self.ages.iter().sum();
        let quantile = |q: f64| {
            let mut sum = 0;
            let reached = |n: &u64| {
                sum += n;
                sum as f64 >= q * all as f64
            };
            self.ages.iter().position(reached).unwrap_or(0) as u32
        };
        ShardCounters { age_p50: quantile(0.50), age_p99: quantile(0.99), ..self.counters }
    }
}

#[cfg(test)]
mod tests {
    use market::{Level, SymbolId};

    use super::*;

    const MS: u64 = Nanos::MS;
    /// A boundary of event time.
    const T: u64 = 1_700_000_000_000 * MS;

    fn features(asymmetry: f64) -> ObFeatures {
        ObFeatures {
            fill_probability_bid: 0.5,
            fill_probability_ask: 0.5,
            fill_probability: 0.5,
            depth_asymmetry: asymmetry,
            ..ObFeatures::plain()
        }
    }

    fn update(symbol: u16, ts: u64, mid: f64) -> Update {
        let features = features(1.0);
        let (bid, ask) = (Level::default(), Level::default());
        Update { symbol: SymbolId(symbol), ts: Nanos(ts), mid, features, bid, ask, mark: f64::NAN }
    }

    fn assembly(symbols: usize) -> Assembly {
        Assembly::new(symbols, Nanos(100 * MS), Nanos(80 * MS), Nanos(1_000 * MS))
    }

    /// Everything that can be told at `now`: boundary (in ticks after `T`) and mids.
    fn told(a: &mut Assembly, now: u64) -> Vec<(u64, Vec<f64>)> {
        let mut out = Vec::new();
        let mut tick = Tick::new(a.latest.len());
        while a.is_due(now) {
            a.tell(&mut tick, now);
            out.push(((tick.ts.0 - T) / (100 * MS), tick.mids.clone()));
        }
        out
    }

    #[test]
    fn a_boundary_is_told_when_all_that_are_alive_have_come() {
        let mut a = assembly(2);
        a.take(&update(0, T, 1.0), T);
        a.take(&update(1, T, 2.0), T + MS);
        assert!(told(&mut a, T + 79 * MS).is_empty(), "the first waits its grace: nobody is known yet");
        assert_eq!(told(&mut a, T + 80 * MS), [(0, vec![1.0, 2.0])]);
        // The second node is one boundary ahead of the first.
        a.take(&update(1, T + 100 * MS, 2.1), T + 100 * MS);
        a.take(&update(1, T + 200 * MS, 2.2), T + 130 * MS);
        assert!(told(&mut a, T + 140 * MS).is_empty());
        a.take(&update(0, T + 100 * MS, 1.1), T + 150 * MS);
        assert_eq!(told(&mut a, T + 150 * MS), [(1, vec![1.1, 2.1])]);
        a.take(&update(0, T + 200 * MS, 1.2), T + 201 * MS);
        assert_eq!(told(&mut a, T + 201 * MS), [(2, vec![1.2, 2.2])]);
        let c = a.counters();
        assert_eq!((c.ticks, c.whole, c.hurried, c.fresh, c.age_p99), (3, 3, 0, 2, 0));
    }

    #[test]
    fn after_the_grace_the_last_picture_stands_in_until_it_is_stale() {
        let mut a = assembly(2);
        for s in 0..2 {
            a.take(&update(s, T, 1.0), T);
        }
        told(&mut a, T + 80 * MS);
        for tick in 1..=11u64 {
            let at = T + tick * 100 * MS;
            a.take(&update(0, at, 1.5), at);
            let out = told(&mut a, at + 80 * MS);
            let other = if tick <= 10 { 1.0 } else { f64::NAN };
            assert_eq!(format!("{out:?}"), format!("{:?}", [(tick, vec![1.5, other])]));
            assert_eq!(a.counters().fresh, if tick == 1 { 2 } else { 1 });
        }
        // It is dead by now, so nobody waits for it; when it comes back it is taken in at once.
        let at = T + 1_200 * MS;
        a.take(&update(0, at, 1.5), at);
        assert_eq!(told(&mut a, at).len(), 1);
        a.take(&update(1, at + 100 * MS, 3.0), at + 100 * MS);
        a.take(&update(0, at + 100 * MS, 2.0), at + 101 * MS);
        assert_eq!(told(&mut a, at + 101 * MS), [(13, vec![2.0, 3.0])]);
        let c = a.counters();
        assert_eq!((c.hurried, c.fewest_since_all), (10, 1));
    }

    #[test]
    fn ticks_have_no_holes_and_what_is_late_counts_to_the_next() {
        let mut a = assembly(1);
        a.take(&update(0, T, 1.0), T);
        told(&mut a, T + 80 * MS);
        let at = T + 400 * MS;
        a.take(&update(0, at, 4.0), at);
        assert!(told(&mut a, at).is_empty(), "what lies between may still come");
        let out = told(&mut a, at + 80 * MS);
        assert_eq!(out, [(1, vec![1.0]), (2, vec![1.0]), (3, vec![1.0]), (4, vec![4.0])]);
        a.take(&update(0, T + 300 * MS, 3.0), at + 90 * MS);
        assert_eq!(a.counters().late, 1);
        assert_eq!(a.latest[0].unwrap().mid, 4.0, "older than what is known");
        // A whole day of silence is not filled tick by tick.
        let day = T + 86_400_000 * MS;
        a.take(&update(0, day, 9.0), day);
        assert_eq!(told(&mut a, day + 80 * MS), [(864_000, vec![9.0])]);
    }

    #[test]
    fn nonsense_is_refused_and_a_reader_that_stops_loses_the_newest_alone() {
        let mut a = assembly(1);
        for bad in
            [update(0, T + 1, 1.0), update(0, 0, 1.0), update(0, T + 5_100 * MS, 1.0), update(7, T, 1.0)]
        {
            assert!(!a.take(&bad, T));
        }
        assert_eq!((a.counters().refused, a.counters().updates), (4, 0));
        // Ours may be the clock that is wrong.
        for (ahead, believed) in [(-7_000, false), (7_000, true), (0, false)] {
            let mut a = assembly(1);
            a.clock_measured(ahead * MS as i64);
            assert_eq!(a.take(&update(0, T + 12_000 * MS, 1.0), T), believed, "{ahead} ms");
        }
        for tick in 0..40 {
            a.take(&update(0, T + tick * 100 * MS, tick as f64), T + tick * 100 * MS);
        }
        let out = told(&mut a, T + 4_000 * MS);
        assert_eq!(out.len(), WINDOW);
        assert_eq!(out[WINDOW - 1], (15, vec![15.0]));
    }
}
