//! Two nodes on one address against the venue's weight window: 400 books each in step within a minute, nothing refused,
//! and what reconciliation and exits need is there at any time. Scheduler and limits are the program's own; the venue is
//! a model of its window, on a clock of the test's.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
use binance::limits::{Cost, LimitKind, RateLimits, Ticket, Urgency};
use binance::snapshots::{
    FEATURE_DEPTH, Fetched, Purpose, SnapshotConfig, SnapshotRequest, Snapshots, depth_weight, levels_within,
};
use market::{Nanos, SymbolId};

const MS: u64 = Nanos::MS;
const S: u64 = Nanos::SECOND;
const MINUTE: u64 = 60 * S;
const BOOKS: usize = 400;
/// The beginning of a window of the venue's.
const T0: u64 = 1_800_000_000 * S;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// The venue's window of one address.
#[derive(Default)]
struct Venue {
    number: u64,
    used: u32,
    most: u32,
    refused: u32,
}

impl Venue {
    fn handle(&mut self, weight: u32, now: u64) -> u32 {
        if now / MINUTE != self.number {
            (self.number, self.used) = (now / MINUTE, 0);
        }
        self.used += weight;
        self.most = self.most.max(self.used);
        self.refused += u32::from(self.used > 2_400);
        self.used
    }
}

/// A request on its way: handled at one time, answered at another.
struct Flight {
    handled: u64,
    answered: u64,
    weight: u32,
    used: Option<u32>,
    ticket: Ticket,
    snapshot: Option<SnapshotRequest>,
}

struct Node {
    limits: RateLimits,
    snapshots: Snapshots,
    flights: Vec<Flight>,
    /// Its estimate of the venue's time, less the venue's time.
    clock_error: i64,
    round_trip: u64,
    begins: u64,
    started: bool,
    live: Vec<bool>,
    /// When all books were in step.
    done: Option<u64>,
    /// Local refusals of what must always go out.
    held_back: u32,
    needed: Vec<u32>,
    /// Levels that each book was taken with.
    taken: Vec<u32>,
    policy: Policy,
}

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    /// The scheduler's.
    Planned,
    /// The full depth for every book, as soon as there is any room.
    Deep,
}

impl Node {
    fn new(begins: u64, policy: Policy, random: &mut Random) -> Self {
        let mut snapshots = Snapshots::new(BOOKS, SnapshotConfig::default());
        let mut needed = Vec::new();
        for i in 0..BOOKS {
            // From 20 to 5,000 levels within 5 %.
            let levels = levels_within(1.0, FEATURE_DEPTH / (20 + random.below(4_980)) as f64, FEATURE_DEPTH);
            snapshots.set_levels(SymbolId(i as u16), levels);
            needed.push(levels);
        }
        Self {
            limits: RateLimits::new(),
            snapshots,
            flights: Vec::new(),
            clock_error: random.below(160) as i64 * MS as i64 - 80 * MS as i64,
            round_trip: 20 * MS + random.below(280) * MS,
            begins,
            started: false,
            live: vec![false; BOOKS],
            done: None,
            held_back: 0,
            needed,
            taken: vec![0; BOOKS],
            policy,
        }
    }

    fn server(&self, now: u64) -> Nanos {
        Nanos(now.saturating_add_signed(self.clock_error))
    }

    fn send(
        &mut self,
        weight: u32,
        urgency: Urgency,
        snapshot: Option<SnapshotRequest>,
        now: u64,
        random: &mut Random,
    ) {
        let server = self.server(now);
        let Ok(ticket) = self.limits.take(Cost { weight, orders: 0 }, urgency, server) else {
            self.held_back += 1;
            if let Some(request) = snapshot {
                self.snapshots.done(request, Fetched::NotSent, Nanos(now));
            }
            return;
        };
        let there = self.round_trip / 2 + random.below(self.round_trip / 4 + 1);
        let back = self.round_trip / 2 + random.below(self.round_trip / 4 + 1);
        let (handled, answered) = (now + there, now + there + back);
        self.flights.push(Flight { handled, answered, weight, used: None, ticket, snapshot });
    }

    /// What a start asks before it can trade (clock, rules, mode, account, listen key), and what its recovery reads.
    fn start(&mut self, now: u64, random: &mut Random) {
        for weight in [1, 1, 1, 1, 1, 1, 30, 5, 30] {
            self.send(weight, Urgency::Start, None, now, random);
        }
        for weight in [40, 5, 5, 5] {
            self.send(weight, Urgency::Reconcile, None, now, random);
        }
        for i in 0..BOOKS {
            self.snapshots.need(SymbolId(i as u16), Nanos(now));
        }
    }

    /// What goes on beside: a comparison with the venue now and then, the dead-man switch, cancels, audits.
    fn routine(&mut self, now: u64, random: &mut Random) {
        let age = now - self.begins;
        if age == 0 {
            return;
        }
        if age.is_multiple_of(30 * S) {
            for weight in [40, 5, 5] {
                self.send(weight, Urgency::Reconcile, None, now, random);
            }
        }
        if age.is_multiple_of(10 * S) {
            self.send(10, Urgency::Cancel, None, now, random);
        }
        if age.is_multiple_of(3 * S) {
            self.send(1, Urgency::Cancel, None, now, random);
            self.send(1, Urgency::Exit, None, now, random);
        }
        if age.is_multiple_of(S) {
            self.snapshots.audit(SymbolId(random.below(BOOKS as u64) as u16), Nanos(now));
        }
    }

    fn lose(&mut self, now: u64) {
        (self.done, self.begins) = (None, now);
        for i in 0..BOOKS / 2 {
            self.live[i] = false;
            self.snapshots.need(SymbolId(i as u16), Nanos(now));
        }
    }

    fn turn(&mut self, now: u64, random: &mut Random) {
        if now < self.begins {
            return;
        }
        if now == self.begins && !self.started {
            self.started = true;
            self.start(now, random);
        }
        self.routine(now, random);
        loop {
            let server = self.server(now);
            let Some(mut request) = self.snapshots.next(&self.limits, server, Nanos(now)) else { break };
            if self.policy == Policy::Deep {
                request.limit = 1_000;
            }
            self.send(depth_weight(request.limit), request.purpose.urgency(), Some(request), now, random);
        }
    }

    fn answers(&mut self, now: u64, random: &mut Random) {
        let (due, waiting) = std::mem::take(&mut self.flights).into_iter().partition(|f| f.answered <= now);
        self.flights = waiting;
        let mut due: Vec<Flight> = due;
        due.sort_by_key(|f| f.answered);
        for f in due {
            let server = self.server(now);
            self.limits.observe(LimitKind::Weight, MINUTE, f.used.unwrap(), f.ticket, server);
            let Some(request) = f.snapshot else { continue };
            self.snapshots.done(request, Fetched::Arrived, Nanos(now));
            let symbol = request.symbol;
            match request.purpose {
                // One in fifty is older than what was buffered for it.
                Purpose::Book | Purpose::Resync if random.below(50) == 0 => {
                    self.snapshots.need(symbol, Nanos(now));
                }
                Purpose::Book | Purpose::Resync => {
                    self.live[symbol.index()] = true;
                    self.taken[symbol.index()] = request.limit;
                    self.snapshots.synced(symbol, Nanos(now));
                    if self.done.is_none() && self.live.iter().all(|live| *live) {
                        self.done = Some(now);
                    }
                }
                Purpose::Deepen => {
                    self.taken[symbol.index()] = request.limit;
                    self.snapshots.deepened(symbol, Some(request.limit), Nanos(now));
                }
                Purpose::Audit => {}
            }
        }
    }
}

struct Run {
    venue: Venue,
    nodes: Vec<Node>,
}

impl Run {
    /// Longest time from a node's start to its last book, s; more than the run if one is missing.
    fn slowest(&self) -> f64 {
        let took = |n: &Node| n.done.map_or(f64::INFINITY, |at| (at - n.begins) as f64 / 1e9);
        self.nodes.iter().map(took).fold(0.0, f64::max)
    }
}

/// Nodes that start `starts` ms after the beginning of a window, for so many minutes. `lose`: when the first one loses
/// the connection of half its books, ms.
fn run(seed: u64, starts: &[u64], minutes: u64, policy: Policy, lose: Option<u64>) -> Run {
    const STEP: u64 = 10 * MS;
    let mut random = Random(seed);
    let node = |&start: &u64, random: &mut Random| Node::new(T0 + start * MS, policy, random);
    let mut nodes: Vec<Node> = starts.iter().map(|start| node(start, &mut random)).collect();
    let begins = nodes.iter().map(|n| n.begins).min().unwrap();
    let mut venue = Venue::default();
    let mut now = begins;
    while now < begins + minutes * MINUTE {
        // In the order in which they reach the venue.
        let mut arriving: Vec<&mut Flight> = nodes
            .iter_mut()
            .flat_map(|n| n.flights.iter_mut())
            .filter(|f| f.used.is_none() && f.handled <= now)
            .collect();
        arriving.sort_by_key(|f| f.handled);
        for f in arriving {
            f.used = Some(venue.handle(f.weight, f.handled));
        }
        if lose.is_some_and(|at| now == T0 + at * MS) {
            nodes[0].lose(now);
        }
        for node in &mut nodes {
            node.answers(now, &mut random);
            node.turn(now, &mut random);
        }
        now += STEP;
    }
    Run { venue, nodes }
}

#[test]
fn four_hundred_books_on_each_of_two_nodes_are_in_step_within_a_minute_and_nothing_is_refused() {
    let (mut slowest, mut most) = (0.0f64, 0);
    // Every phase of the window, its beginning above all: then the two have this one window.
    for phase in [0, 10, 300, 1_000, 5_000, 15_000, 30_000, 45_000, 55_000, 59_900] {
        for apart in [0, 300, 1_000, 2_000, 4_000, 6_000, 9_000, 12_000, 40_000] {
            for seed in 0..3 {
                let r = run(seed, &[phase, phase + apart], 3, Policy::Planned, None);
                let told = format!("seed {seed}, phase {phase} ms, {apart} ms apart");
                assert_eq!(r.venue.refused, 0, "{told}: used {}", r.venue.most);
                let held: Vec<u32> = r.nodes.iter().map(|n| n.held_back).collect();
                assert_eq!(held, [0, 0], "{told}: nothing was kept from going out");
                assert!(r.slowest() <= 60.0, "{told}: {} s", r.slowest());
                (slowest, most) = (slowest.max(r.slowest()), most.max(r.venue.most));
            }
        }
    }
    println!("slowest {slowest:.1} s, most weight in a window {most} of 2400");
}

#[test]
fn half_the_books_of_a_node_that_loses_a_connection_are_back_within_a_minute() {
    for lose in [200_000, 239_900, 240_000, 255_000] {
        let r = run(lose, &[0, 700], 6, Policy::Planned, Some(lose));
        assert_eq!(r.venue.refused, 0);
        assert_eq!(r.nodes.iter().map(|n| n.held_back).collect::<Vec<_>>(), [0, 0]);
        assert!(r.slowest() <= 60.0, "{} s", r.slowest());
    }
}

#[test]
fn books_that_were_taken_shallow_become_as_deep_as_they_should() {
    let r = run(1, &[0], 12, Policy::Planned, None);
    let node = &r.nodes[0];
    assert!(r.slowest() <= 30.0 && r.venue.refused == 0, "{} s", r.slowest());
    assert_eq!(node.snapshots.waiting(Purpose::Deepen), 0);
    for (needed, taken) in node.needed.iter().zip(&node.taken) {
        assert!(*taken >= (*needed).min(1_000), "{taken} levels where {needed} are needed");
        assert!(*taken == 50 || *taken < 10 * needed, "no deeper than it helps: {taken} for {needed}");
    }
}

/// What the program did before: the full depth for every book takes minutes.
#[test]
fn the_full_depth_for_every_book_takes_too_long() {
    let r = run(1, &[0, 0], 3, Policy::Deep, None);
    assert!(r.slowest() > 60.0, "{} s", r.slowest());
}

#[test]
fn depth_is_chosen_by_what_the_features_read() {
    assert_eq!([5, 50, 51, 100, 101, 500, 501, 1_000].map(depth_weight), [2, 2, 5, 5, 10, 10, 20, 20]);
    assert_eq!(levels_within(0.1, 0.000_01, FEATURE_DEPTH), 501);
    assert_eq!(levels_within(60_000.0, 0.1, FEATURE_DEPTH), 30_001);
    assert_eq!(levels_within(f64::NAN, 0.1, FEATURE_DEPTH), u32::MAX);
    assert_eq!(levels_within(1.0, 0.0, FEATURE_DEPTH), u32::MAX);
    // One book alone, with all the weight there is: as deep as it needs, no deeper.
    for (levels, limit) in [(3, 50), (51, 100), (400, 500), (501, 1_000), (u32::MAX, 1_000)] {
        let mut snapshots = Snapshots::new(1, SnapshotConfig::default());
        snapshots.set_levels(SymbolId(0), levels);
        snapshots.need(SymbolId(0), Nanos(T0));
        let request = snapshots.next(&RateLimits::new(), Nanos(T0 + S), Nanos(T0)).unwrap();
        assert_eq!((request.limit, request.purpose), (limit, Purpose::Book), "{levels}");
    }
}

#[test]
fn a_book_that_does_not_come_into_step_is_asked_for_less_and_less_often() {
    let (limits, symbol) = (RateLimits::new(), SymbolId(0));
    let mut s = Snapshots::new(1, SnapshotConfig::default());
    let (mut now, mut times) = (T0 + S, Vec::new());
    s.need(symbol, Nanos(now));
    while times.len() < 8 {
        if let Some(request) = s.next(&limits, Nanos(now), Nanos(now)) {
            times.push(now / MS);
            s.done(request, Fetched::Failed, Nanos(now));
        }
        now += 50 * MS;
    }
    let pauses: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000]);
    // In step for a while: its failures are forgotten. Lost right after it came into step: they are not.
    s.synced(symbol, Nanos(now));
    assert_eq!(s.need(symbol, Nanos(now + S)), 9);
    s.synced(symbol, Nanos(now + 2 * S));
    assert_eq!(s.need(symbol, Nanos(now + 20 * S)), 0);
    let request = s.next(&limits, Nanos(now + 20 * S), Nanos(now + 20 * S)).unwrap();
    assert_eq!(request.purpose, Purpose::Resync);
    // What the limit kept back is no failure, and a comparison that failed is given up.
    s.done(request, Fetched::NotSent, Nanos(now + 20 * S));
    assert_eq!((s.waiting(Purpose::Resync), s.running()), (1, 0));
    s.audit(symbol, Nanos(now + 20 * S));
    assert_eq!(s.waiting(Purpose::Audit), 0, "it waits for a snapshot anyway");
    let request = s.next(&limits, Nanos(now + 21 * S), Nanos(now + 21 * S)).unwrap();
    s.done(request, Fetched::Arrived, Nanos(now + 21 * S));
    s.synced(symbol, Nanos(now + 21 * S));
    s.audit(symbol, Nanos(now + 22 * S));
    let request = s.next(&limits, Nanos(now + 22 * S), Nanos(now + 22 * S)).unwrap();
    assert_eq!(request.purpose, Purpose::Audit);
    s.done(request, Fetched::Failed, Nanos(now + 22 * S));
    assert!(
        Purpose::Audit.urgency() < Purpose::Book.urgency()
            && s.next(&limits, Nanos(now + 90 * S), Nanos(now + 90 * S)).is_none()
    );
}

/// A book of which a snapshot of 50 levels has come, and which needs so many.
fn shallow(s: &mut Snapshots, symbol: SymbolId, needed: u32) {
    s.set_levels(symbol, needed);
    s.done(SnapshotRequest { symbol, purpose: Purpose::Book, limit: 50 }, Fetched::Arrived, Nanos(T0));
    s.synced(symbol, Nanos(T0));
}

#[test]
fn a_comparison_is_as_deep_as_its_book_and_waits_for_no_deepening_without_room() {
    let (mut limits, now) = (RateLimits::new(), Nanos(T0 + S));
    let mut s = Snapshots::new(1, SnapshotConfig { deepen: false, ..SnapshotConfig::default() });
    shallow(&mut s, SymbolId(0), 1_000);
    s.audit(SymbolId(0), now);
    assert_eq!(s.next(&limits, now, now).map(|r| (r.purpose, r.limit)), Some((Purpose::Audit, 50)));

    let mut s = Snapshots::new(2, SnapshotConfig::default());
    shallow(&mut s, SymbolId(0), 1_000);
    shallow(&mut s, SymbolId(1), 50);
    s.audit(SymbolId(1), now);
    let weight = limits.room(Urgency::Audit, now) - 5;
    limits.take(Cost { weight, orders: 0 }, Urgency::Audit, now).unwrap();
    let request = s.next(&limits, now, now).unwrap();
    assert_eq!((request.symbol, request.purpose, request.limit), (SymbolId(1), Purpose::Audit, 50));
    assert_eq!(s.waiting(Purpose::Deepen), 1);
}

#[test]
fn few_are_fetched_at_a_time() {
    let mut s = Snapshots::new(20, SnapshotConfig::default());
    for i in 0..20 {
        s.need(SymbolId(i), Nanos(T0));
    }
    let limits = RateLimits::new();
    let at = Nanos(T0 + S);
    let first: Vec<_> = std::iter::from_fn(|| s.next(&limits, at, at)).collect();
    assert_eq!(first.len(), SnapshotConfig::default().at_once);
    s.done(first[0], Fetched::Arrived, at);
    assert!(s.next(&limits, at, at).is_some() && s.next(&limits, at, at).is_none());
}
