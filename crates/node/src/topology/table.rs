//! The topology as a table: one line a stage, one line a link, one line a layout. Rings, their counters and the printed
//! picture are made from it, for every role.
//!
//! Nothing flows back except execution reports and outcomes, and they are inputs like any other.

use std::fmt::Write as _;
use std::marker::PhantomData;

use alpha::{AcbPush, SafetyWord};
use market::{ClockOffset, ExecutionReport, Outcome};
use serde::Serialize;

use crate::published::{EngineView, RouterView};
use crate::role::Role::{self, All, Alpha, Ingest};
use crate::sensors::Health;
use crate::shards::Update;
use crate::shards::assembly::ShardCounters;
use crate::stages::alpha::{AlphaCommand, AlphaEntry, AlphaNews};
use crate::stages::book::record::BookEntry;
use crate::stages::book::{BookNews, SnapshotReply};
use crate::stages::feed::{FeedCommand, FeedNews, Frame};
use crate::stages::gateway::{GatewayCommand, GatewayNews};
use crate::stages::memory::{MemoryNews, MemoryScan, Step};
use crate::stages::router::{Quote, RouterCommand, RouterEntry, RouterNews};
use crate::stages::ticks::MidsAhead;
use crate::stages::{SharedTick, StampedIntent, StampedRequest, Tick, Timeline};

/// How a link carries its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// Small messages, copied (`runtime::ring`).
    Ring,
    /// Large messages in boxes that are allocated once and go round (`runtime::conveyor`).
    Boxes,
    /// The newest value alone (`runtime::pending`).
    Latest,
    /// A slot for each symbol, the newest value alone (`telemetry::slot`).
    Slots,
    /// Latency samples (`runtime::latency`).
    Samples,
}

/// A link as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LinkInfo {
    /// Of its ring: `from_to_to` where nothing else is said.
    pub name: &'static str,
    /// Stage or thread that writes.
    pub from: &'static str,
    /// Stage or thread that reads.
    pub to: &'static str,
    /// How.
    pub carrier: Carrier,
    /// Type of the message.
    pub message: &'static str,
    /// Messages under way at most.
    pub capacity: usize,
    /// What happens to the message that finds no room.
    pub when_full: &'static str,
    /// Roles that have it.
    #[serde(skip)]
    pub roles: &'static [Role],
}

/// A line of the table; `T` is its message.
#[derive(Debug)]
pub struct Link<T> {
    /// The line.
    pub info: LinkInfo,
    message: PhantomData<fn() -> T>,
}

/// The numbers of one book, for people.
#[derive(Debug)]
pub struct BookSlot;

/// A latency sample; its ring belongs to the probe.
#[derive(Debug)]
pub struct Sample;

macro_rules! link_name {
    (Samples, $from:ident, $to:ident) => {
        concat!(stringify!($from), "_latency")
    };
    ($carrier:ident, $from:ident, $to:ident) => {
        concat!(stringify!($from), "_to_", stringify!($to))
    };
    ($carrier:ident, $from:ident, $to:ident, $name:literal) => {
        $name
    };
}

macro_rules! links {
    ($($id:ident: [$($role:ident)+] $from:ident -> $to:ident $(as $name:literal)?, $carrier:ident $message:ty, $capacity:literal, $full:literal;)+) => {
        $(
            #[doc = concat!("`", stringify!($from), "` to `", stringify!($to), "`.")]
            pub const $id: Link<$message> = Link {
                info: LinkInfo {
                    name: link_name!($carrier, $from, $to $(, $name)?),
                    from: stringify!($from),
                    to: stringify!($to),
                    carrier: Carrier::$carrier,
                    message: stringify!($message),
                    capacity: $capacity,
                    when_full: $full,
                    roles: &[$($role),+],
                },
                message: PhantomData,
            };
        )+
        /// Every link, in the order of the data.
        pub const LINKS: &[LinkInfo] = &[$($id.info),+];
    };
}

// Ticks: 32 are 3.2 s at 10 Hz, and so are 32 steps. Quotes: the next one, 100 ms later at most, brings the state of then;
// the writer's ring holds more than a sample of all symbols brings. Updates: five ticks of 400 symbols. Samples: between
// two drains by the control thread (20 ms). Commands that find no room are kept by their sender.
links! {
    FRAMES:           [All]        feed -> book, Boxes Frame, 1024, "the frame is dropped and counted; the book's `pu` check finds the gap and syncs anew";
    INGEST_FRAMES:    [Ingest]     feed -> book, Boxes Frame, 4096, "the frame is dropped and counted; the book's `pu` check finds the gap and syncs anew";
    FEED_COMMANDS:    [All Ingest] book -> feed, Boxes FeedCommand, 16, "they wait, and are made anew at the next housekeeping";
    UPDATES:          [Alpha]      reader -> shards, Ring Update, 2048, "the update is given up and counted; the next picture brings the state of then";
    TICKS:            [All]        book -> scanner, Boxes Tick, 32, "the newest tick waits, and a newer one takes its place, counted";
    MIDS_AHEAD:       [All]        book -> scanner as "mids_ahead", Boxes MidsAhead, 4, "given up: the scan is made when its tick comes";
    SHARD_TICKS:      [Alpha]      shards -> scanner, Boxes Tick, 32, "the tick waits, and updates conflate behind it";
    INGEST_TICKS:     [Ingest]     book -> writer, Boxes Tick, 8, "the newest tick waits, and a newer one takes its place, counted";
    QUOTES:           [All]        book -> router, Ring Quote, 4096, "given up; the next one brings the state of then";
    SHARD_QUOTES:     [Alpha]      shards -> router, Ring Quote, 4096, "given up; the next one brings the state of then";
    INGEST_QUOTES:    [Ingest]     book -> writer as "book_quotes", Ring Quote, 8192, "given up; the next one brings the state of then";
    SCANNED:          [All Alpha]  scanner -> alpha, Boxes Tick, 32, "the scanner waits, and ticks conflate before it";
    INTENTS:          [All Alpha]  alpha -> router, Ring StampedIntent, 16, "the engine waits, and ticks conflate before it";
    OUTCOMES:         [All Alpha]  router -> alpha, Ring Outcome, 64, "the router waits";
    REQUESTS:         [All Alpha]  router -> gateway, Ring StampedRequest, 256, "the router waits with everything else it would take in";
    REPORTS:          [All Alpha]  gateway -> router, Ring ExecutionReport, 1024, "the gateway keeps them and sends nothing meanwhile";
    STEPS:            [All Alpha]  alpha -> memory, Boxes Step, 32, "the step is not recorded there";
    MEMORY_NEWS:      [All Alpha]  alpha -> memory as "news_to_memory", Ring MemoryNews, 1024, "memory's thread is dead; the venue still tells the trade to the next start";
    ACB:              [All Alpha]  memory -> alpha as "acb", Latest AcbPush, 1, "newest wins";
    SAFETY:           [All Alpha]  memory -> alpha as "safety", Latest SafetyWord, 1, "newest wins";
    RM:               [All Alpha]  memory -> alpha as "rm", Latest f64, 1, "newest wins";
    SCAN:             [All Alpha]  memory -> alpha as "scan", Latest MemoryScan, 1, "newest wins";
    FEED_NEWS:        [All Ingest] feed -> control, Ring FeedNews, 1024, "given up";
    BOOK_NEWS:        [All Ingest] book -> control, Ring BookNews, 1024, "given up; what is wanted is asked for again";
    SHARD_NEWS:       [Alpha]      shards -> control, Ring ShardCounters, 1024, "given up";
    ALPHA_NEWS:       [All Alpha]  alpha -> control, Ring AlphaNews, 1024, "given up";
    ROUTER_NEWS:      [All Alpha]  router -> control, Ring RouterNews, 1024, "news is given up; for requests over REST the router waits";
    GATEWAY_NEWS:     [All Alpha]  gateway -> control, Ring GatewayNews, 1024, "the gateway keeps them";
    SNAPSHOTS:        [All Ingest] control -> book, Ring Box<SnapshotReply>, 1024, "the stage is dead, and the run is ending";
    VENUE_CLOCK:      [All Ingest] control -> book as "venue_clock", Latest ClockOffset, 1, "newest wins";
    SHARD_CLOCK:      [Alpha] control -> shards as "shard_clock", Latest ClockOffset, 1, "newest wins";
    ALPHA_COMMANDS:   [All Alpha]  control -> alpha, Ring AlphaCommand, 1024, "the stage is dead, and the run is ending";
    ROUTER_COMMANDS:  [All Alpha]  control -> router, Ring RouterCommand, 1024, "kept by the control thread";
    GATEWAY_COMMANDS: [All Alpha]  control -> gateway, Ring GatewayCommand, 1024, "the stage is dead, and the run is ending";
    HEALTH:           [All Alpha]  control -> memory, Ring Health, 1024, "given up";
    KEPT_TICKS:       [All Alpha]  alpha -> journal as "alpha_to_journal_ticks", Ring SharedTick, 1024, "a hole in the journal: counted, told, and nothing is opened for a minute";
    ALPHA_JOURNAL:    [All Alpha]  alpha -> journal, Ring AlphaEntry, 4096, "a hole in the journal: counted, told, and nothing is opened for a minute";
    ROUTER_JOURNAL:   [All Alpha]  router -> journal, Ring RouterEntry, 16384, "a hole in the journal: counted, told, and nothing is opened for a minute";
    BOOK_FRAMES:      [All]        book -> journal as "book_to_journal_frames", Boxes Frame, 16384, "a hole in the journal: counted, told, and nothing is opened for a minute";
    BOOK_JOURNAL:     [All]        book -> journal, Ring BookEntry, 32768, "a hole in the journal: counted, told, and nothing is opened for a minute";
    BOOK_VIEW:        [All Ingest] book -> control as "book_view", Slots BookSlot, 1, "newest wins";
    ENGINE_VIEW:      [All Alpha]  alpha -> control as "engine_view", Latest EngineView, 1, "newest wins";
    ROUTER_VIEW:      [All Alpha]  router -> control as "router_view", Latest RouterView, 1, "newest wins";
    BOOK_SAMPLES:     [All]        book -> control, Samples Sample, 16384, "given up and counted";
    INGEST_SAMPLES:   [Ingest]     book -> control, Samples Sample, 65536, "given up and counted";
    SHARD_SAMPLES:    [Alpha]      shards -> control, Samples Sample, 16384, "given up and counted";
    SCANNER_SAMPLES:  [All Alpha]  scanner -> control, Samples Sample, 16384, "given up and counted";
    ALPHA_SAMPLES:    [All Alpha]  alpha -> control, Samples Sample, 16384, "given up and counted";
    ROUTER_SAMPLES:   [All Alpha]  router -> control, Samples Sample, 16384, "given up and counted";
    GATEWAY_SAMPLES:  [All Alpha]  gateway -> control, Samples Sample, 16384, "given up and counted";
    TIMELINES:        [All Alpha]  gateway -> control as "gateway_timelines", Samples Timeline, 1024, "given up and counted";
}

/// What stands at the ends of the links: stages, which a worker polls, and threads, which may wait.
pub const ENDS: [(&str, &str); 11] = [
    ("feed", "stage: market connections to frames"),
    ("book", "stage: frames to books; at each boundary of event time a tick of all symbols"),
    ("reader", "task of memory's thread: shards to updates"),
    ("shards", "stage: updates to ticks, in the place of feed and book"),
    ("scanner", "stage: mid prices to the eigen scan"),
    ("alpha", "stage: the engine"),
    ("router", "stage: intents to orders, pre-trade risk, positions"),
    ("gateway", "stage: orders to signed bytes; replies and the user stream to reports"),
    ("control", "thread: REST, listen key, clock, reconciliation, dead-man switch, signals, summary"),
    ("memory", "thread: state, results, features out; pushes in"),
    (
        "journal",
        "thread: what alpha and router took and decided, and on request the frames that book took, to segments on disk",
    ),
];

/// The writer of an ingest node stands in the place of memory's thread.
const WRITER: (&str, &str) = ("writer", "task: ticks and quotes to the shards in memory");

/// Which stages share a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// Role.
    pub role: Role,
    /// Chosen from so many cores on.
    pub from_cores: usize,
    /// May its workers spin, where there are cores for it?
    pub may_spin: bool,
    /// Workers, each with its stages in polling order.
    pub workers: &'static [(&'static str, &'static [&'static str])],
}

const fn layout(
    role: Role,
    from_cores: usize,
    workers: &'static [(&'static str, &'static [&'static str])],
) -> Layout {
    Layout { role, from_cores, may_spin: !matches!(role, Ingest), workers }
}

/// Every layout, the cores of each role ascending. One worker per free core, and one core left for the slow threads: on a
/// machine of two cores everything hot runs fused on one (a hop within a core costs nanoseconds, one across costs more, and
/// more spinning workers than cores cost milliseconds).
#[rustfmt::skip]
pub const LAYOUTS: [Layout; 7] = [
    layout(All,    1, &[("hot", &["feed", "book", "scanner", "alpha", "router", "gateway"])]),
    layout(All,    4, &[("market", &["feed", "book"]), ("signal", &["scanner", "alpha"]), ("orders", &["router", "gateway"])]),
    layout(All,    6, &[("feed", &["feed"]), ("book", &["book"]), ("signal", &["scanner", "alpha"]), ("router", &["router"]), ("gateway", &["gateway"])]),
    layout(Alpha,  1, &[("hot", &["shards", "scanner", "alpha", "router", "gateway"])]),
    layout(Alpha,  4, &[("market", &["shards"]), ("signal", &["scanner", "alpha"]), ("orders", &["router", "gateway"])]),
    layout(Alpha,  6, &[("shards", &["shards"]), ("signal", &["scanner", "alpha"]), ("router", &["router"]), ("gateway", &["gateway"])]),
    layout(Ingest, 1, &[("market", &["feed", "book"])]),
];

impl Layout {
    /// Of a role, for so many cores.
    pub fn of(role: Role, cores: usize) -> &'static Self {
        let mut fits = LAYOUTS.iter().filter(|l| l.role == role && l.from_cores <= cores.max(1));
        fits.next_back().expect("every role has a layout from one core on")
    }
}

/// The links of a role, in the order of the data.
pub fn links(role: Role) -> impl Iterator<Item = &'static LinkInfo> {
    LINKS.iter().filter(move |l| l.roles.contains(&role))
}

/// Stages and threads of a role, in the order of the data.
fn ends(role: Role) -> Vec<(&'static str, &'static str)> {
    let linked = |end: &str| links(role).any(|l| l.from == end || l.to == end);
    ENDS.into_iter().chain([WRITER]).filter(|(name, _)| linked(name)).collect()
}

/// The way of the data through a role: from each stage on to the first link that does not lead back or aside.
fn path(role: Role) -> String {
    let ends = ends(role);
    let place = |name: &str| ends.iter().position(|(end, _)| *end == name).unwrap_or(0);
    let aside = |name: &str| matches!(name, "control" | "memory" | "journal");
    let mut at = ends[0].0;
    let mut text = at.to_owned();
    while let Some(link) = links(role).find(|l| l.from == at && place(l.to) > place(at) && !aside(l.to)) {
        write!(text, " {} {}", link.carrier.arrow(), link.to).expect("writing to a String does not fail");
        at = link.to;
    }
    let before = if ends[0].0 == "reader" { "memory" } else { "socket" };
    let after = if at == "writer" { "memory" } else { "socket" };
    format!("{before} ─► {text} ─► {after}")
}

impl Carrier {
    const fn arrow(self) -> &'static str {
        match self {
            Self::Ring => "─►",
            Self::Boxes => "═►",
            Self::Latest | Self::Slots => "~►",
            Self::Samples => "·►",
        }
    }
}

/// The picture of a role, for people.
pub fn picture(role: Role) -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        out.push_str(text.to_string().trim_end());
        out.push('\n');
    };
    line(format_args!("role {}: {}", role.name(), path(role)));
    line(format_args!("  ends"));
    for (name, what) in ends(role) {
        line(format_args!("    {name:<8} {what}"));
    }
    line(format_args!("  links (─► ring, ═► boxes that go round, ~► newest value alone)"));
    for l in links(role).filter(|l| l.carrier != Carrier::Samples) {
        let arrow = l.carrier.arrow();
        line(format_args!(
            "    {:<8}{arrow} {:<8} {:<18} {:>5}  full: {}",
            l.from, l.to, l.message, l.capacity, l.when_full
        ));
    }
    line(format_args!("  layouts"));
    for l in LAYOUTS.iter().filter(|l| l.role == role) {
        let worker = |(name, stages): &(&str, &[&str])| format!("{name}: {}", stages.join(" "));
        let workers: Vec<String> = l.workers.iter().map(worker).collect();
        line(format_args!("    from {} cores   {}", l.from_cores, workers.join(" | ")));
    }
    out
}

/// The table of a role as JSON.
pub fn json(role: Role) -> serde_json::Value {
    let links: Vec<&LinkInfo> = links(role).collect();
    let layouts: Vec<&Layout> = LAYOUTS.iter().filter(|l| l.role == role).collect();
    serde_json::json!({ "role": role, "ends": ends(role), "links": links, "layouts": layouts })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_layout_places_every_stage_of_its_role_once() {
        for l in &LAYOUTS {
            let mut placed: Vec<&str> = l.workers.iter().flat_map(|(_, stages)| *stages).copied().collect();
            placed.sort_unstable();
            let stages = ends(l.role).into_iter().filter(|(_, what)| what.starts_with("stage"));
            let stages: BTreeSet<&str> = stages.map(|(name, _)| name).collect();
            assert_eq!(placed, stages.into_iter().collect::<Vec<_>>(), "{l:?}");
        }
        let workers = |cores| Layout::of(All, cores).workers.len();
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 64].map(workers), [1, 1, 1, 1, 3, 3, 5, 5]);
    }

    #[test]
    fn the_links_of_a_role_have_names_of_their_own_and_known_ends() {
        for role in Role::EACH {
            let mut names = BTreeSet::new();
            for l in links(role) {
                assert!(names.insert(l.name), "two links {} in the role {role:?}", l.name);
                for end in [l.from, l.to] {
                    assert!(ends(role).iter().any(|(name, _)| *name == end), "{end} is in no table");
                }
            }
        }
    }

    #[test]
    fn the_path_of_each_role_is_the_way_of_the_data() {
        assert_eq!(path(All), "socket ─► feed ═► book ═► scanner ═► alpha ─► router ─► gateway ─► socket");
        assert_eq!(
            path(Alpha),
            "memory ─► reader ─► shards ═► scanner ═► alpha ─► router ─► gateway ─► socket"
        );
        assert_eq!(path(Ingest), "socket ─► feed ═► book ═► writer ─► memory");
    }
}
