//! What goes wrong, and when: a script, drawn from a seed or written by hand.
//!
//! The draw is a swarm: each seed switches kinds of faults on and off and sets their rates, so that some runs are
//! full of one thing and free of another. A fault carries its own parameters, so that leaving one out of a script
//! changes none of the others: that is what makes a failing script shrinkable.

use serde::{Deserialize, Serialize};
use venue::faults::{Ending, Fault as VenueFault, Rule};

use crate::network::{Link, Machine};
use crate::random::Random;

/// A fault with its parameters: durations end in `_ms`, machines and links are the ones it happens to.
#[expect(missing_docs, reason = "the fields are explained by the variants they belong to")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// A slow network.
    Delay { machine: Machine, latency_ms: u64, jitter_ms: u64, for_ms: u64 },
    /// A connection is reset.
    Reset { machine: Machine, link: Link },
    /// A connection goes dead in both directions without a word.
    HalfOpen { machine: Machine, link: Link },
    /// A connection goes dead in one direction.
    OneWay { machine: Machine, link: Link, up: bool },
    /// Nothing passes between a machine and the venue.
    Partition { machine: Machine, up: bool, down: bool, for_ms: u64 },
    /// A bit is flipped.
    Flip { machine: Machine, link: Link, up: bool, bit: u64 },
    /// What is on its way is cut, then the connection is reset.
    Truncate { machine: Machine, link: Link },
    /// Bytes arrive one by one.
    Split { machine: Machine, for_ms: u64 },
    /// The machine reads slowly.
    SlowReader { machine: Machine, for_ms: u64 },
    /// Requests on their way lose their answers.
    BreakRequests { machine: Machine },
    /// SIGKILL after so many polls, or a loss of power, and a start after `back_ms`.
    Kill { machine: Machine, after_polls: u64, power: bool, back_ms: u64 },
    /// SIGSTOP, and SIGCONT after `for_ms`.
    Pause { machine: Machine, for_ms: u64 },
    /// The stages hang.
    Hang { machine: Machine },
    /// One worker stands still; the name is that of the layout.
    Stall { machine: Machine, worker: String, for_ms: u64 },
    /// A stage on a worker panics.
    Panic { machine: Machine, worker: String },
    /// SIGTERM, and a start after `back_ms`.
    Terminate { machine: Machine, back_ms: u64 },
    /// The wall clock steps.
    ClockStep { machine: Machine, ms: i64 },
    /// The clock runs fast or slow.
    ClockDrift { machine: Machine, ppm: i64, for_ms: u64 },
    /// Nothing can be written to the machine's disk.
    DiskFull { machine: Machine, for_ms: u64 },
    /// Nothing can be read from the machine's disk, and nothing written.
    DiskBroken { machine: Machine, for_ms: u64 },
    /// Each write to the machine's disk takes `ms`.
    DiskSlow { machine: Machine, ms: u64, for_ms: u64 },
    /// Memory does not answer a machine.
    MemoryAway { machine: Machine, for_ms: u64 },
    /// Memory is slow.
    MemorySlow { machine: Machine, ms: u64, for_ms: u64 },
    /// Memory carries requests out and loses the answers.
    MemoryAnswerLost { machine: Machine, times: u32 },
    /// The cluster splits; the machine is with the smaller half.
    MemorySplit { machine: Machine, for_ms: u64 },
    /// A fault of the venue.
    Venue { rule: Rule, for_ms: Option<u64> },
    /// Somebody pulls the kill switch, and rearms it at the next heal.
    KillSwitch { machine: Machine, flatten: bool },
    /// Somebody orders a kill of the deployment in memory, from a machine of his own, and takes it back at the next heal.
    KillOrder { flatten: bool },
    /// A person closes whatever position the account has; `unheard`: and no node hears of it by its user stream.
    ClosedByHand {
        #[serde(default)]
        unheard: bool,
    },
}

impl Fault {
    /// Its kind, as counted.
    pub fn kind(&self) -> String {
        let name = |value: serde_json::Value, key: &str| {
            value.get(key).and_then(|v| v.as_str()).unwrap_or("?").to_owned()
        };
        match self {
            Self::Venue { rule, .. } => {
                format!("venue_{}", name(serde_json::to_value(&rule.fault).unwrap_or_default(), "fault"))
            }
            other => name(serde_json::to_value(other).unwrap_or_default(), "kind"),
        }
    }
}

/// A fault at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Since the run's beginning, ms.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What a script is drawn for.
#[derive(Debug, Clone)]
pub struct Stage<'a> {
    /// Machines that carry nodes.
    pub machines: usize,
    /// The venue's symbols.
    pub symbols: &'a [String],
    /// Faults strike from here …
    pub from_ms: u64,
    /// … to here.
    pub to_ms: u64,
}

type Draw = fn(&mut Random, &Stage<'_>) -> Fault;

/// Every kind that a seed may switch on, with the shortest and longest mean time between two of it, s.
const KINDS: &[(Draw, u64, u64)] = &[
    (delay, 30, 300),
    (reset, 20, 300),
    (half_open, 40, 300),
    (one_way, 40, 300),
    (partition, 40, 300),
    (flip, 30, 300),
    (truncate, 30, 300),
    (split, 60, 400),
    (slow_reader, 60, 400),
    (break_requests, 30, 300),
    (kill, 40, 300),
    (pause, 60, 400),
    (terminate, 100, 500),
    (clock_step, 60, 400),
    (clock_drift, 60, 400),
    (memory_away, 40, 300),
    (memory_slow, 40, 300),
    (memory_answer_lost, 30, 300),
    (memory_split, 90, 500),
    (venue_reply, 15, 200),
    (venue_frames, 15, 200),
    (venue_reports, 15, 200),
    (venue_connections, 40, 300),
    (venue_limits, 90, 500),
    (venue_books, 40, 300),
    (venue_account, 60, 400),
    (venue_clock, 90, 500),
    (kill_switch, 200, 900),
    (hang, 200, 900),
    (disk, 60, 400),
    (kill_order, 200, 900),
    (closed_by_hand, 100, 900),
];

/// How many kinds there are.
pub const fn kinds() -> usize {
    KINDS.len()
}

/// The script of a seed.
pub fn draw(seed: u64, stage: &Stage<'_>) -> Vec<Planned> {
    let mut script = Vec::new();
    for (i, (kind, shortest, longest)) in KINDS.iter().enumerate() {
        let mut random = Random::new(seed, 0x6661 + i as u64);
        // The switch of this kind for this seed.
        if !random.one_in(2) {
            continue;
        }
        let mean_ms = random.spread(shortest * 1000, longest * 1000);
        let mut at_ms = stage.from_ms;
        loop {
            // Exponential gaps: a fault does not wait for the one before it.
            at_ms += (-(1.0 - random.unit()).ln() * mean_ms as f64) as u64 + 1;
            if at_ms >= stage.to_ms {
                break;
            }
            script.push(Planned { at_ms, fault: kind(&mut random, stage) });
        }
    }
    script.sort_by_key(|p| p.at_ms);
    script
}

fn machine(r: &mut Random, s: &Stage<'_>) -> Machine {
    r.below(s.machines as u64) as usize
}

fn link(r: &mut Random) -> Link {
    *r.pick(&Link::ALL).unwrap_or(&Link::Orders)
}

fn delay(r: &mut Random, s: &Stage<'_>) -> Fault {
    let (latency_ms, jitter_ms) = (r.spread(5, 2_000), r.spread(1, 2_000));
    Fault::Delay { machine: machine(r, s), latency_ms, jitter_ms, for_ms: r.spread(200, 30_000) }
}

fn reset(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::Reset { machine: machine(r, s), link: link(r) }
}

fn half_open(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::HalfOpen { machine: machine(r, s), link: link(r) }
}

fn one_way(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::OneWay { machine: machine(r, s), link: link(r), up: r.one_in(2) }
}

fn partition(r: &mut Random, s: &Stage<'_>) -> Fault {
    let (up, down) =
        *r.pick(&[(true, true), (true, true), (true, false), (false, true)]).unwrap_or(&(true, true));
    Fault::Partition { machine: machine(r, s), up, down, for_ms: r.spread(100, 40_000) }
}

fn flip(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::Flip { machine: machine(r, s), link: link(r), up: r.one_in(3), bit: r.next() }
}

fn truncate(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::Truncate { machine: machine(r, s), link: link(r) }
}

fn split(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::Split { machine: machine(r, s), for_ms: r.spread(50, 2_000) }
}

fn slow_reader(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::SlowReader { machine: machine(r, s), for_ms: r.spread(200, 5_000) }
}

fn break_requests(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::BreakRequests { machine: machine(r, s) }
}

fn kill(r: &mut Random, s: &Stage<'_>) -> Fault {
    let after_polls = if r.one_in(4) { 0 } else { r.spread(1, 5_000) };
    Fault::Kill { machine: machine(r, s), after_polls, power: r.one_in(3), back_ms: r.spread(10, 60_000) }
}

fn pause(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::Pause { machine: machine(r, s), for_ms: r.spread(50, 60_000) }
}

fn terminate(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::Terminate { machine: machine(r, s), back_ms: r.spread(500, 30_000) }
}

fn clock_step(r: &mut Random, s: &Stage<'_>) -> Fault {
    let ms = i64::try_from(r.spread(1, 20_000)).unwrap_or(0);
    Fault::ClockStep { machine: machine(r, s), ms: if r.one_in(2) { ms } else { -ms } }
}

fn clock_drift(r: &mut Random, s: &Stage<'_>) -> Fault {
    let ppm = i64::try_from(r.spread(10, 20_000)).unwrap_or(0);
    let ppm = if r.one_in(2) { ppm } else { -ppm };
    Fault::ClockDrift { machine: machine(r, s), ppm, for_ms: r.spread(1_000, 60_000) }
}

fn memory_away(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::MemoryAway { machine: machine(r, s), for_ms: r.spread(50, 60_000) }
}

fn memory_slow(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::MemorySlow { machine: machine(r, s), ms: r.spread(5, 4_000), for_ms: r.spread(500, 60_000) }
}

fn memory_answer_lost(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::MemoryAnswerLost { machine: machine(r, s), times: r.between(1, 5) as u32 }
}

fn memory_split(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::MemorySplit { machine: machine(r, s), for_ms: r.spread(500, 60_000) }
}

fn symbol(r: &mut Random, s: &Stage<'_>) -> String {
    r.pick(s.symbols).cloned().unwrap_or_default()
}

fn venue(rule: Rule, for_ms: Option<u64>) -> Fault {
    Fault::Venue { rule, for_ms }
}

/// Replies to requests: lost, late, wrong, never.
fn venue_reply(r: &mut Random, _: &Stage<'_>) -> Fault {
    const REQUESTS: &[&str] = &[
        "order.place",
        "order.place",
        "order.cancel",
        "order.status",
        "POST /fapi/v1/order",
        "GET /fapi/v1/order",
        "DELETE /fapi/v1/allOpenOrders",
        "GET /fapi/v1/openOrders",
        "GET /fapi/v3/positionRisk",
        "GET /fapi/v3/account",
        "GET /fapi/v1/userTrades",
        "GET /fapi/v1/depth",
        "POST /fapi/v1/listenKey",
        "POST /fapi/v1/countdownCancelAll",
        "*",
    ];
    let on = (*r.pick(REQUESTS).unwrap_or(&"*")).to_owned();
    let executed = r.one_in(2);
    let fault = match r.below(7) {
        0 => VenueFault::ReplyLost { on, executed },
        1 => VenueFault::ReplyNever { on, executed },
        2 => VenueFault::ReplyDelay { on, ms: r.spread(10, 20_000) },
        3 => VenueFault::RequestDelay { on, ms: r.spread(10, 10_000) },
        4 => VenueFault::ReplyError { on, code: -1007, msg: "Timeout".into(), status: 408, executed },
        5 => VenueFault::ReplyError { on, code: -1006, msg: "Unexpected".into(), status: 500, executed },
        _ => VenueFault::Page { on, status: 503 },
    };
    venue(Rule::times(fault, r.between(1, 6) as u32), Some(r.spread(1_000, 30_000)))
}

/// Market frames: lost, twice, late, broken.
fn venue_frames(r: &mut Random, s: &Stage<'_>) -> Fault {
    let name = symbol(r, s).to_lowercase();
    let kind = *r.pick(&["depth@100ms", "depth@100ms", "aggTrade", "markPrice@1s"]).unwrap_or(&"depth@100ms");
    let stream = format!("{name}@{kind}");
    let fault = match r.below(9) {
        0 => VenueFault::Drop { stream },
        1 => VenueFault::Duplicate { stream },
        2 => VenueFault::Reorder { stream },
        3 => VenueFault::Truncate { stream },
        4 => VenueFault::Garble { stream },
        5 => VenueFault::Mute { stream },
        6 => VenueFault::Late { stream, ms: r.spread(10, 10_000) },
        7 => VenueFault::Append { stream, text: "}".into() },
        _ => VenueFault::StrangeFields { stream },
    };
    venue(Rule::times(fault, r.between(1, 20) as u32), Some(r.spread(500, 20_000)))
}

/// Reports of the user stream: lost, twice, late, out of order.
fn venue_reports(r: &mut Random, _: &Stage<'_>) -> Fault {
    let kinds =
        ["user@ORDER_TRADE_UPDATE@TRADE", "user@ORDER_TRADE_UPDATE*", "user@*", "user@ACCOUNT_UPDATE"];
    let stream = (*r.pick(&kinds).unwrap_or(&"user@*")).to_owned();
    let fault = match r.below(7) {
        0 | 1 => VenueFault::Drop { stream },
        2 => VenueFault::Duplicate { stream },
        3 => VenueFault::Reorder { stream },
        4 => VenueFault::Late { stream, ms: r.spread(10, 20_000) },
        5 => VenueFault::Garble { stream },
        _ => VenueFault::ReplayEvents { count: 20 },
    };
    venue(Rule::times(fault, r.between(1, 6) as u32), Some(r.spread(1_000, 30_000)))
}

fn venue_connections(r: &mut Random, _: &Stage<'_>) -> Fault {
    let how = *r.pick(&[Ending::Close, Ending::Reset, Ending::Silence]).unwrap_or(&Ending::Reset);
    let route =
        (*r.pick(&["public", "market", "private", "ws-fapi", "rest", "*"]).unwrap_or(&"*")).to_owned();
    match r.below(6) {
        0 => venue(Rule::times(VenueFault::RefuseConnections, 0), Some(r.spread(500, 10_000))),
        1 => venue(Rule::times(VenueFault::IgnoreConnections, 0), Some(r.spread(500, 10_000))),
        2 => venue(VenueFault::ExpireListenKeys { event: r.one_in(2) }.into(), None),
        3 => venue(Rule::times(VenueFault::SubscribeSilently, 1), Some(20_000)),
        _ => venue(VenueFault::Disconnect { route, how }.into(), None),
    }
}

fn venue_limits(r: &mut Random, _: &Stage<'_>) -> Fault {
    let for_ms = Some(r.spread(500, 20_000));
    match r.below(3) {
        0 => venue(Rule::times(VenueFault::TooManyRequests { retry_after_s: r.between(1, 10) }, 3), for_ms),
        1 => venue(Rule::times(VenueFault::Overload, 10), for_ms),
        _ => venue(VenueFault::Ban { ms: r.spread(1_000, 20_000) }.into(), for_ms),
    }
}

fn venue_books(r: &mut Random, s: &Stage<'_>) -> Fault {
    let symbol = symbol(r, s);
    let for_ms = Some(r.spread(200, 15_000));
    match r.below(5) {
        0 => venue(VenueFault::CrossBook { symbol }.into(), for_ms),
        1 => {
            let side = if r.one_in(2) { "BUY" } else { "SELL" }.to_owned();
            venue(VenueFault::EmptySide { symbol, side }.into(), for_ms)
        }
        2 => venue(VenueFault::MarkOff { symbol, factor: 0.8 + 0.4 * r.unit() }.into(), for_ms),
        3 => venue(VenueFault::SnapshotStale { symbol }.into(), for_ms),
        _ => venue(VenueFault::Jump { symbol, factor: 0.97 + 0.06 * r.unit() }.into(), None),
    }
}

fn venue_account(r: &mut Random, s: &Stage<'_>) -> Fault {
    let symbol = symbol(r, s);
    let account = 0;
    match r.below(6) {
        0 => {
            let amount = r.spread(10, 2_000);
            venue(VenueFault::Transfer { account, amount: amount.to_string() }.into(), None)
        }
        1 => venue(VenueFault::Funding { symbol, rate: (r.unit() - 0.5) * 0.001 }.into(), None),
        2 => venue(VenueFault::ReadLag { ms: r.spread(100, 3_000) }.into(), Some(r.spread(1_000, 20_000))),
        3 => {
            venue(Rule::times(VenueFault::FillFirst { symbol: "*".into(), quantity: None }, 2), Some(20_000))
        }
        4 => venue(VenueFault::CancelOrder { account, symbol, client_id: None }.into(), None),
        _ => venue(VenueFault::SetStatus { symbol, status: "BREAK".into() }.into(), None),
    }
}

fn venue_clock(r: &mut Random, _: &Stage<'_>) -> Fault {
    let ms = i64::try_from(r.spread(1, 5_000)).unwrap_or(0);
    let ms = if r.one_in(2) { ms } else { -ms };
    venue(VenueFault::ClockOffset { ms }.into(), Some(r.spread(1_000, 30_000)))
}

fn kill_switch(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::KillSwitch { machine: machine(r, s), flatten: r.one_in(2) }
}

fn hang(r: &mut Random, s: &Stage<'_>) -> Fault {
    Fault::Hang { machine: machine(r, s) }
}

fn disk(r: &mut Random, s: &Stage<'_>) -> Fault {
    let (machine, for_ms) = (machine(r, s), r.spread(100, 60_000));
    match r.below(3) {
        0 => Fault::DiskFull { machine, for_ms },
        1 => Fault::DiskBroken { machine, for_ms },
        _ => Fault::DiskSlow { machine, ms: r.spread(1, 500), for_ms },
    }
}

fn kill_order(r: &mut Random, _: &Stage<'_>) -> Fault {
    Fault::KillOrder { flatten: r.one_in(2) }
}

fn closed_by_hand(r: &mut Random, _: &Stage<'_>) -> Fault {
    Fault::ClosedByHand { unheard: r.one_in(2) }
}

/// A time for people: `mm:ss.mmm` since the beginning.
pub fn clock(ms: u64) -> String {
    format!("{:02}:{:02}.{:03}", ms / 60_000, ms / 1000 % 60, ms % 1000)
}
