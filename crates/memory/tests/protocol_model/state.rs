//! What there is in the model: records, messages, nodes, and what a step changes of them by itself.

/// A lease lives so many ticks.
pub const TTL: i8 = 4;
/// Error of a clock over the life of a lease, ticks.
pub const DRIFT: i8 = 1;
/// By which the holder stops before the lease ends: the error of its clock and of its successor's.
pub const MARGIN: i8 = 2 * DRIFT;
/// Error of a node's estimate of the venue's time, ticks.
pub const ERROR: i8 = 1;
/// Longest window in which an order is valid, ticks.
pub const WINDOW: i8 = 2;
/// Wait of a new holder before it believes what the venue says is not there, after a lease that ran out.
pub const WAIT: i8 = ERROR + 1;
/// The same after a lease that was taken before it had run out: given up, or left by a process that surely is dead.
pub const EARLY_WAIT: i8 = WINDOW + ERROR + 1;
/// The latest time, from a confirmed kill on, at which an order may take effect.
pub const KILL_BOUND: i8 = TTL - MARGIN + DRIFT + ERROR;
pub const MAX_NODES: usize = 3;

/// Owner of a record that is not there.
pub const ABSENT: u8 = u8::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Record {
    /// 0: given up. [`ABSENT`]: there is no record. It has a fence all the same: the next is not only larger than that
    /// of the record before, but at least the wall clock, which is larger than what was taken a life of the lease ago.
    pub owner: u8,
    pub fence: u8,
    pub beat: u8,
}

/// What one side of the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Side {
    pub record: Record,
    pub kill: bool,
    /// Fence that the state carries.
    pub value: u8,
    /// Largest fence under which a new holder has read it.
    pub read_by: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Sent,
    /// The record was replaced. (Where it was not, whoever takes the lease goes on waiting, and the holder finds out by
    /// looking; until then an answer that says so is as good as one that is lost.)
    Swapped,
    /// And the kill was read.
    Answered {
        killed: bool,
    },
}

/// A beat, or the taking of the lease, under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Op {
    pub take: bool,
    /// It had not run out.
    pub early: bool,
    pub expected: Record,
    pub new: Record,
    /// Since it was begun.
    pub age: i8,
    pub stage: Stage,
}

/// A request that nobody waits for any more, and that may still arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Late {
    pub expected: Record,
    pub new: Record,
}

/// An order on its way. The venue takes it at any time, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Order {
    pub sender: u8,
    pub fence: u8,
    /// Ticks for which the venue still takes it, its clock's error included.
    pub valid: i8,
}

/// A write of state on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateWrite {
    pub fence: u8,
    /// The fence was compared already (without the rule that this is one step with writing).
    pub passed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Node {
    pub up: bool,
    /// Which process of this machine it is.
    pub life: u8,
    /// The side of the store it reaches.
    pub on: u8,
    /// Our record, as the store confirmed it.
    pub held: Option<Record>,
    /// Ticks until our clock surely says that the lease is over.
    pub left: i8,
    pub seen: Option<Record>,
    pub seen_age: i8,
    pub wait: i8,
    pub claimed: bool,
    /// It has compared itself with the venue, and acts.
    pub trusts: bool,
    /// It knows of the kill; kept in a file.
    pub killed: bool,
    pub op: Option<Op>,
    pub late: Option<Late>,
    pub order: Option<Order>,
    pub write: Option<StateWrite>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct State {
    pub nodes: [Node; MAX_NODES],
    pub split: bool,
    /// The first is the larger.
    pub sides: [Side; 2],
    /// Fence and process of the newest holder that has compared itself with the venue.
    pub trusted: (u8, u8),
    /// Since the kill was confirmed, up to the bound.
    pub since_kill: Option<i8>,
    pub losses: u8,
    pub crashes: u8,
    pub splits: u8,
    pub kills: u8,
    pub wipes: u8,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Tick,
    Look(usize),
    Take(usize),
    Beat(usize),
    StoreSwaps(usize),
    StoreReadsKill(usize),
    Answer(usize),
    AnswerLost(usize),
    LateArrives(usize),
    LookAgain(usize),
    Claim(usize),
    Trust(usize),
    SendOrder(usize),
    VenueTakesOrder(usize),
    SendWrite(usize),
    StoreComparesFence(usize),
    StoreWrites(usize),
    Release(usize),
    Crash(usize),
    Restart(usize),
    /// The nodes by bit: set, and it reaches the smaller side only.
    Split(u8),
    /// The side whose values stay.
    Heal(u8),
    /// On this side.
    Kill(u8),
    /// The store forgets everything.
    Wipe,
}

impl Action {
    /// Whose step it is.
    pub const fn node(self) -> Option<usize> {
        match self {
            Self::Tick | Self::Split(_) | Self::Heal(_) | Self::Kill(_) | Self::Wipe => None,
            Self::Look(at)
            | Self::Take(at)
            | Self::Beat(at)
            | Self::StoreSwaps(at)
            | Self::StoreReadsKill(at)
            | Self::Answer(at)
            | Self::AnswerLost(at)
            | Self::LateArrives(at)
            | Self::LookAgain(at)
            | Self::Claim(at)
            | Self::Trust(at)
            | Self::SendOrder(at)
            | Self::VenueTakesOrder(at)
            | Self::SendWrite(at)
            | Self::StoreComparesFence(at)
            | Self::StoreWrites(at)
            | Self::Release(at)
            | Self::Crash(at)
            | Self::Restart(at) => Some(at),
        }
    }
}

/// What must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// The venue took an order of a holder whose successor had compared itself with the venue already.
    OrderAfterSuccessor,
    /// An order took effect later than the bound after a kill was confirmed.
    OrderAfterKill,
    /// State that a new holder had read was changed by its predecessor.
    WriteAfterSuccessor,
    /// The faults are over, and nobody ever trades again.
    NobodyTrades,
}

/// Is it wrong that the venue takes this order now?
pub fn judge(order: Option<Order>, trusted: (u8, u8), since_kill: Option<i8>) -> Result<(), Violation> {
    let Some(order) = order else { return Ok(()) };
    // A process knows its own orders, whatever the fence they were sent under.
    if order.sender != trusted.1 && order.fence <= trusted.0 {
        return Err(Violation::OrderAfterSuccessor);
    }
    if since_kill.is_some_and(|since| since > KILL_BOUND) {
        return Err(Violation::OrderAfterKill);
    }
    Ok(())
}

impl Node {
    pub fn process(&self, at: usize) -> u8 {
        1 + at as u8 + self.life * MAX_NODES as u8
    }

    pub fn begin(&mut self, (take, early): (bool, bool), expected: Record, new: Record) {
        self.op = Some(Op { take, early, expected, new, age: 0, stage: Stage::Sent });
    }

    pub fn read_kill(&mut self, kill: bool) {
        if let Some(op) = &mut self.op {
            op.stage = Stage::Answered { killed: kill };
        }
    }

    /// It does not hold the lease any more. What is on its way stays on its way.
    pub fn lose(&mut self) {
        (self.held, self.left, self.wait, self.claimed, self.trusts) = (None, 0, 0, false, false);
        (self.seen, self.seen_age) = (None, 0);
    }

    /// Nobody waits for the answer any more; what was sent may still arrive.
    pub fn give_up(&mut self) {
        if let Some(Op { expected, new, stage: Stage::Sent, .. }) = self.op.take() {
            self.late = Some(Late { expected, new });
        }
    }

    pub fn crash(&mut self) {
        if self.late.is_none() {
            self.give_up();
        }
        let Self { life, on, killed, late, order, write, .. } = *self;
        *self = Self { life, on, killed, late, order, write, ..Self::default() };
    }
}

impl State {
    pub fn tick(&mut self) {
        for node in &mut self.nodes {
            node.left = (node.left - 1).max(0);
            node.wait = (node.wait - 1).max(0);
            if node.seen.is_some() {
                node.seen_age = (node.seen_age + 1).min(TTL);
            }
            if let Some(op) = &mut node.op {
                op.age = (op.age + 1).min(TTL + DRIFT);
            }
            if let Some(order) = &mut node.order {
                order.valid -= 1;
            }
            node.order = node.order.filter(|order| order.valid >= 0);
        }
        if let Some(since) = &mut self.since_kill {
            *since = (*since + 1).min(KILL_BOUND + 1);
        }
    }

    /// A record that a node saw and that has changed since is of no use to it: it begins to wait anew when it looks.
    pub fn forget_what_changed(&mut self) {
        for node in &mut self.nodes {
            if node.seen.is_some_and(|seen| seen != self.sides[usize::from(node.on)].record) {
                (node.seen, node.seen_age) = (None, 0);
            }
        }
    }

    /// Records only go on: a comparison with one that every side that serves has left behind fails whenever it arrives.
    pub fn forget_what_comes_to_nothing(&mut self, last_side: usize) {
        let sides = &self.sides[..=last_side];
        let gone = |expected: Record| {
            let left_behind = |side: &Side| {
                (side.record.fence, side.record.beat, side.record.owner == 0)
                    > (expected.fence, expected.beat, expected.owner == 0)
            };
            sides.iter().all(left_behind)
        };
        for node in &mut self.nodes {
            node.late = node.late.filter(|late| !gone(late.expected));
            node.op = node.op.filter(|op| op.stage != Stage::Sent || !gone(op.expected));
        }
    }

    /// Beats only have to differ, or follow one another: gaps between those of a fence that somebody still knows are
    /// shortened, so that there are finitely many states.
    pub fn shorten_beats(&mut self) {
        let mut known: Vec<(u8, u8)> = Vec::with_capacity(24);
        self.each_record(|record| known.push((record.fence, record.beat)));
        known.sort_unstable();
        known.dedup();
        let mut shortened: Vec<u8> = Vec::with_capacity(known.len());
        for (at, (fence, beat)) in known.iter().enumerate() {
            let before = at.checked_sub(1).filter(|before| known[*before].0 == *fence);
            shortened.push(match before {
                Some(before) => shortened[before] + (beat - known[before].1).min(2),
                None => 0,
            });
        }
        self.each_record(|record| {
            if let Ok(at) = known.binary_search(&(record.fence, record.beat)) {
                record.beat = shortened[at];
            }
        });
    }

    pub fn each_record(&mut self, mut visit: impl FnMut(&mut Record)) {
        for side in &mut self.sides {
            visit(&mut side.record);
        }
        for node in &mut self.nodes {
            node.held.iter_mut().for_each(&mut visit);
            node.seen.iter_mut().for_each(&mut visit);
            if let Some(op) = &mut node.op {
                visit(&mut op.expected);
                visit(&mut op.new);
            }
            if let Some(late) = &mut node.late {
                visit(&mut late.expected);
                visit(&mut late.new);
            }
        }
    }
}
