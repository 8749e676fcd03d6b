//! The protocol of docs/lease.md as a transition system: nodes, one store that can split, a venue, messages that are
//! lost or late, clocks with a bounded error.
//!
//! Time is whole ticks. An action that a node takes by its own clock is possible as soon as *some* error within the
//! bound allows it, so every behaviour of clocks that keep the bound is among those explored. Nothing is ever forced to
//! happen: a node that is frozen is one that takes no step while the ticks go by.

use super::state::{
    ABSENT, Action, DRIFT, EARLY_WAIT, ERROR, MARGIN, Node, Order, Record, Side, Stage, State, StateWrite,
    TTL, Violation, WAIT, WINDOW, judge,
};

/// The rules, each of which can be left out to see what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The holder stops so long before the lease ends.
    pub margin: i8,
    /// A new holder waits so long before it believes the venue.
    pub wait: i8,
    /// The life of the lease counts from before the beat was sent, not from its answer.
    pub from_the_request: bool,
    /// A successor waits a whole life of the lease in which the record did not change.
    pub whole_life: bool,
    /// Taking replaces exactly the record that was seen.
    pub compare: bool,
    /// Each taking raises the fence.
    pub raise: bool,
    /// The record names the process, not the machine.
    pub identity: bool,
    /// No order is valid for longer than the lease.
    pub window: bool,
    /// Who takes a lease that had not run out waits as long as any order of its last holder can be valid.
    pub early_wait: bool,
    /// The kill is read after the lease was taken or renewed, before that counts.
    pub read_kill: bool,
    /// The smaller side of a split store refuses.
    pub quorum: bool,
    /// The fence of a write is compared by the store in the step that writes.
    pub atomic_fence: bool,
    /// A new holder claims what it reads.
    pub claim: bool,
    /// A record that nobody renews is taken in the end.
    pub expire: bool,
    /// A record that is not there is waited for as if somebody held it: the store may have lost it.
    pub absent_waits: bool,
}

impl Rules {
    pub const ALL: Self = Self {
        margin: MARGIN,
        wait: WAIT,
        from_the_request: true,
        whole_life: true,
        compare: true,
        raise: true,
        identity: true,
        window: true,
        early_wait: true,
        read_kill: true,
        quorum: true,
        atomic_fence: true,
        claim: true,
        expire: true,
        absent_waits: true,
    };
}

/// What may go wrong, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub nodes: usize,
    /// Answers that do not come; the request may still be carried out, at any time.
    pub losses: u8,
    pub crashes: u8,
    pub splits: u8,
    pub kills: u8,
    /// Times the store loses all that it holds.
    pub wipes: u8,
    /// Are orders sent?
    pub orders: bool,
    /// Is state written?
    pub writes: bool,
    /// Is the lease given up?
    pub releases: bool,
    /// Do the nodes share a machine, which tells when the process that holds the lease is dead?
    pub one_machine: bool,
}

pub struct Model {
    pub rules: Rules,
    pub faults: Faults,
    /// Most times the lease is taken.
    pub takes: u8,
}

impl Model {
    pub fn initial(&self) -> State {
        let mut state = State {
            losses: self.faults.losses,
            crashes: self.faults.crashes,
            splits: self.faults.splits,
            kills: self.faults.kills,
            wipes: self.faults.wipes,
            ..State::default()
        };
        for node in &mut state.nodes[..self.faults.nodes] {
            node.up = true;
        }
        state
    }

    /// What the record calls this process.
    fn name(&self, at: usize, node: &Node) -> u8 {
        if self.rules.identity { node.process(at) } else { 1 }
    }

    /// Does this side carry out what belongs to the protocol?
    fn serves(&self, state: &State, side: u8) -> bool {
        !(self.rules.quorum && state.split && side == 1)
    }

    /// Every step from a state.
    pub fn actions(&self, state: &State) -> Vec<Action> {
        let mut actions = vec![Action::Tick];
        for at in 0..self.faults.nodes {
            self.messages(state, at, &mut actions);
            self.decisions(state, at, &mut actions);
        }
        if state.split {
            // Under the rule nothing was written on the smaller side; without it either side's values may stay.
            actions.push(Action::Heal(0));
            if !self.rules.quorum {
                actions.push(Action::Heal(1));
            }
        } else if state.splits > 0 {
            actions.extend((1..1 << self.faults.nodes).map(Action::Split));
        }
        if state.wipes > 0 && !state.split {
            actions.push(Action::Wipe);
        }
        if state.kills > 0 {
            let sides = 0..=u8::from(state.split);
            actions.extend(sides.filter(|side| self.serves(state, *side)).map(Action::Kill));
        }
        actions
    }

    /// What becomes of messages, whether or not their sender lives.
    fn messages(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let node = &state.nodes[at];
        let served = self.serves(state, node.on);
        match node.op.map(|op| op.stage) {
            Some(Stage::Sent) if served => actions.push(Action::StoreSwaps(at)),
            Some(Stage::Swapped) => actions.push(Action::StoreReadsKill(at)),
            Some(Stage::Answered { .. }) => actions.push(Action::Answer(at)),
            _ => {}
        }
        if node.op.is_some() && node.late.is_none() && state.losses > 0 {
            actions.push(Action::AnswerLost(at));
        }
        if node.late.is_some() && served {
            actions.push(Action::LateArrives(at));
        }
        if node.order.is_some() {
            actions.push(Action::VenueTakesOrder(at));
        }
        match node.write {
            Some(write) if served && (write.passed || self.rules.atomic_fence) => {
                actions.push(Action::StoreWrites(at));
            }
            Some(_) if served => actions.push(Action::StoreComparesFence(at)),
            _ => {}
        }
    }

    /// What a node may do.
    fn decisions(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let node = &state.nodes[at];
        if !node.up {
            if node.life == 0 && node.late.is_none() {
                actions.push(Action::Restart(at));
            }
            return;
        }
        if state.crashes > 0 {
            actions.push(Action::Crash(at));
        }
        let record = state.sides[usize::from(node.on)].record;
        let Some(held) = node.held else {
            if node.seen != Some(record) || (state.sides[usize::from(node.on)].kill && !node.killed) {
                actions.push(Action::Look(at));
            }
            if self.may_take(state, at) {
                actions.push(Action::Take(at));
            }
            return;
        };
        if node.op.is_none() {
            if record != held {
                actions.push(Action::LookAgain(at));
            }
            // One beat a tick is enough.
            if node.left > 0 && node.left < self.life(0) {
                actions.push(Action::Beat(at));
            }
            if self.faults.releases && record == held && self.serves(state, node.on) {
                actions.push(Action::Release(at));
            }
        }
        if self.faults.writes && node.write.is_none() && node.trusts {
            // What waits to be written is sent whatever the clock says: only the store refuses.
            actions.push(Action::SendWrite(at));
        }
        if node.left == 0 {
            return;
        }
        if self.faults.writes && !node.claimed && self.serves(state, node.on) {
            actions.push(Action::Claim(at));
        }
        if (node.claimed || !self.faults.writes) && !node.trusts && node.wait == 0 {
            actions.push(Action::Trust(at));
        }
        if self.faults.orders && node.trusts && !node.killed && node.order.is_none() {
            actions.push(Action::SendOrder(at));
        }
    }

    fn may_take(&self, state: &State, at: usize) -> bool {
        let node = &state.nodes[at];
        let Some(seen) = node.seen else { return false };
        let free = self.is_free(state, at);
        let life = if self.rules.whole_life { TTL } else { TTL - MARGIN - DRIFT };
        let over = self.rules.expire && node.seen_age + DRIFT >= life;
        node.op.is_none() && !node.killed && seen.fence < self.takes && (free || over)
    }

    /// May it be taken without a wait?
    fn is_free(&self, state: &State, at: usize) -> bool {
        let node = &state.nodes[at];
        let owner = node.seen.unwrap_or_default().owner;
        let lives = |at: usize, node: &Node| node.up && self.name(at, node) == owner;
        owner == 0
            || owner == self.name(at, node)
            || (owner == ABSENT && !self.rules.absent_waits)
            || (owner != ABSENT
                && self.faults.one_machine
                && !(0..).zip(&state.nodes).any(|(at, n)| lives(at, n)))
    }

    /// The state after a step; the violation that the step was.
    pub fn step(&self, mut state: State, action: Action) -> Result<State, Violation> {
        match action {
            Action::Tick => {
                state.tick();
                state.nodes.iter_mut().for_each(|node| self.lease_over(node));
            }
            Action::Look(at) => {
                let side = state.sides[usize::from(state.nodes[at].on)];
                let node = &mut state.nodes[at];
                if node.seen != Some(side.record) {
                    (node.seen, node.seen_age) = (Some(side.record), 0);
                }
                node.killed |= side.kill;
            }
            Action::Take(at) => {
                let (name, early) = (self.name(at, &state.nodes[at]), self.is_free(&state, at));
                let node = &mut state.nodes[at];
                let expected = node.seen.unwrap_or_default();
                let fence = expected.fence + u8::from(self.rules.raise || expected.fence == 0);
                node.begin((true, early), expected, Record { owner: name, fence, beat: 0 });
            }
            Action::Beat(at) => {
                let node = &mut state.nodes[at];
                let held = node.held.unwrap_or_default();
                node.begin((false, false), held, Record { beat: held.beat + 1, ..held });
            }
            Action::Crash(at) => {
                state.crashes -= 1;
                state.nodes[at].crash();
            }
            Action::Restart(at) => {
                let node = &mut state.nodes[at];
                (node.up, node.life) = (true, node.life + 1);
            }
            Action::Split(minority) => {
                state.splits -= 1;
                state.split = true;
                state.sides[1] = state.sides[0];
                for (at, node) in state.nodes[..self.faults.nodes].iter_mut().enumerate() {
                    node.on = minority >> at & 1;
                }
            }
            Action::Heal(stays) => {
                state.split = false;
                state.sides = [state.sides[usize::from(stays)], Side::default()];
                state.nodes.iter_mut().for_each(|node| node.on = 0);
            }
            Action::Wipe => {
                state.wipes -= 1;
                let fence = state.sides[0].record.fence;
                state.sides[0] = Side { record: Record { owner: ABSENT, fence, beat: 0 }, ..Side::default() };
            }
            Action::Kill(side) => {
                state.kills -= 1;
                state.sides[usize::from(side)].kill = true;
                state.since_kill = state.since_kill.or(Some(0));
            }
            _ => {
                if let Some(at) = action.node() {
                    self.message(&mut state, at, action)?;
                }
            }
        }
        state.forget_what_changed();
        if self.rules.compare && self.rules.raise {
            let serving = usize::from(state.split && !self.rules.quorum);
            state.forget_what_comes_to_nothing(serving);
        }
        state.shorten_beats();
        Ok(state)
    }

    /// Messages arrive, or do not.
    fn message(&self, state: &mut State, at: usize, action: Action) -> Result<(), Violation> {
        let State { nodes, sides, trusted, since_kill, losses, .. } = state;
        let node = &mut nodes[at];
        let side = &mut sides[usize::from(node.on)];
        match action {
            Action::StoreSwaps(_) => self.swap(node, side),
            Action::StoreReadsKill(_) => node.read_kill(side.kill && self.rules.read_kill),
            Action::Answer(_) => self.answer(node),
            Action::AnswerLost(_) => {
                *losses -= 1;
                node.give_up();
            }
            Action::LateArrives(_) => {
                if let Some(late) = node.late.take()
                    && side.record == late.expected
                {
                    side.record = late.new;
                }
            }
            Action::VenueTakesOrder(_) => {
                let order = node.order.take();
                judge(order, *trusted, *since_kill)?;
            }
            Action::StoreComparesFence(_) => {
                node.write = node.write.filter(|write| write.fence >= side.value);
                node.write.iter_mut().for_each(|write| write.passed = true);
            }
            Action::StoreWrites(_) => {
                let write = node.write.take();
                if let Some(write) = write.filter(|write| write.passed || write.fence >= side.value) {
                    if write.fence < side.read_by {
                        return Err(Violation::WriteAfterSuccessor);
                    }
                    side.value = write.fence;
                }
            }
            _ => self.decide(state, at, action),
        }
        Ok(())
    }

    /// What a node does by itself.
    fn decide(&self, state: &mut State, at: usize, action: Action) {
        let State { nodes, sides, trusted, .. } = state;
        let node = &mut nodes[at];
        let side = &mut sides[usize::from(node.on)];
        let held = node.held.unwrap_or_default();
        match action {
            Action::LookAgain(_) => {
                // Nobody knows when a beat of ours was carried out: its life counts from the last confirmed one.
                if (held.owner, held.fence) == (side.record.owner, side.record.fence) {
                    node.held = Some(side.record);
                } else {
                    node.lose();
                }
            }
            Action::Claim(_) if side.value > held.fence => node.lose(),
            Action::Claim(_) => {
                node.claimed = true;
                side.read_by = side.read_by.max(held.fence);
                if self.rules.claim {
                    side.value = held.fence;
                }
            }
            Action::Trust(_) => {
                node.trusts = true;
                *trusted = (*trusted).max((held.fence, node.process(at)));
            }
            Action::SendOrder(_) => {
                let window = if self.rules.window { WINDOW.min(node.left) } else { WINDOW };
                let sender = node.process(at);
                node.order = Some(Order { sender, fence: held.fence, valid: window + ERROR });
            }
            Action::SendWrite(_) => node.write = Some(StateWrite { fence: held.fence, passed: false }),
            Action::Release(_) => {
                side.record.owner = 0;
                node.lose();
                node.seen = None;
            }
            _ => {}
        }
    }

    fn swap(&self, node: &mut Node, side: &mut Side) {
        let Some(op) = &mut node.op else { return };
        if side.record != op.expected && (!op.take || self.rules.compare) {
            node.op = None;
            return;
        }
        side.record = op.new;
        op.stage = if self.faults.kills > 0 { Stage::Swapped } else { Stage::Answered { killed: false } };
    }

    /// How long the lease surely is ours, so long after the beat that was confirmed was begun.
    fn life(&self, age: i8) -> i8 {
        let age = if self.rules.from_the_request { age } else { 0 };
        (TTL - self.rules.margin + DRIFT - age).max(0)
    }

    /// A holder whose lease is over, and who waits for no answer that could say otherwise, holds it no more.
    fn lease_over(&self, node: &mut Node) {
        if node.late.is_none() && node.op.is_some_and(|op| self.life(op.age) == 0) {
            node.give_up();
        }
        if node.held.is_some() && node.left == 0 && node.op.is_none() {
            node.lose();
        }
    }

    fn answer(&self, node: &mut Node) {
        let Some(op) = node.op.take() else { return };
        let Stage::Answered { killed } = op.stage else { return };
        node.killed |= killed;
        node.held = Some(op.new);
        node.left = self.life(op.age);
        if op.take {
            node.wait = if op.early && self.rules.early_wait { EARLY_WAIT } else { self.rules.wait };
            (node.claimed, node.trusts, node.seen, node.seen_age) = (false, false, None, 0);
        }
        self.lease_over(node);
    }
}

impl Model {
    /// The faults are over: does somebody trade again? Messages arrive, nodes do what they should when they surely may,
    /// a kill is taken back, and of machines that are all down one is started.
    pub fn heals(&self, mut state: State) -> bool {
        let quiet = Self { takes: u8::MAX, ..*self };
        if state.split {
            state = quiet.step(state, Action::Heal(0)).unwrap_or(state);
        }
        state.sides[0].kill = false;
        state.since_kill = None;
        for op in state.nodes.iter_mut().filter_map(|node| node.op.as_mut()) {
            if let Stage::Answered { killed } = &mut op.stage {
                *killed = false;
            }
        }
        (state.losses, state.crashes, state.splits, state.kills) = (0, 0, 0, 0);
        for node in &mut state.nodes[..self.faults.nodes] {
            node.killed = false;
        }
        if state.nodes.iter().all(|node| !node.up) {
            state.nodes[0].up = true;
            state.nodes[0].life += 1;
        }
        for _ in 0..6 * TTL {
            for at in 0..self.faults.nodes {
                state = quiet.go_on(state, at);
            }
            if state.nodes.iter().any(|node| node.trusts && node.left > 0) {
                return true;
            }
            state = quiet.step(state, Action::Tick).unwrap_or(state);
        }
        false
    }

    /// A node does all that it can at once.
    fn go_on(&self, mut state: State, at: usize) -> State {
        for _ in 0..12 {
            let possible = self.actions(&state);
            let wanted = [
                Action::LateArrives(at),
                Action::StoreSwaps(at),
                Action::StoreReadsKill(at),
                Action::Answer(at),
                Action::StoreComparesFence(at),
                Action::StoreWrites(at),
                Action::LookAgain(at),
                Action::Look(at),
                Action::Claim(at),
                Action::Trust(at),
                Action::Beat(at),
                Action::Take(at),
            ];
            let surely = |action: &Action| match action {
                // By the slowest clock.
                Action::Take(at) => self.is_free(&state, *at) || state.nodes[*at].seen_age >= TTL,
                _ => true,
            };
            let next = wanted.into_iter().find(|action| possible.contains(action) && surely(action));
            let Some(next) = next else { return state };
            state = self.step(state, next).unwrap_or(state);
        }
        state
    }
}
