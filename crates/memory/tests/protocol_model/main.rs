//! The protocol of docs/lease.md, checked exhaustively.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod explore;
mod model;
mod state;

use explore::explore;
use model::{Faults, Model, Rules};
use state::{MARGIN, Violation, WAIT};

const NONE: Faults = Faults {
    nodes: 2,
    losses: 0,
    crashes: 0,
    splits: 0,
    kills: 0,
    wipes: 0,
    orders: false,
    writes: false,
    releases: false,
    one_machine: false,
};

const ORDERS: Faults = Faults { orders: true, ..NONE };

/// Searches, and fails with the steps that lead to a violation.
fn holds(name: &str, faults: Faults, takes: u8) {
    let begun = std::time::Instant::now();
    let found = explore(&Model { rules: Rules::ALL, faults, takes }, 4_000_000);
    println!("{name}: {} states in {:.1?}", found.states, begun.elapsed());
    assert_eq!(found.violation, None, "{name}");
    assert!(found.states > 1_000, "{name}: there was nothing to search");
}

#[test]
fn two_nodes_that_crash_answers_that_are_lost() {
    holds("crash, loss, release", Faults { losses: 1, crashes: 1, releases: true, ..ORDERS }, 3);
    holds("one machine", Faults { one_machine: true, losses: 1, crashes: 1, releases: true, ..ORDERS }, 3);
    holds("the store forgets", Faults { wipes: 1, losses: 1, crashes: 1, ..ORDERS }, 2);
}

#[test]
fn a_store_that_splits() {
    holds("split, loss", Faults { splits: 1, losses: 1, ..ORDERS }, 2);
    holds("split, crash", Faults { splits: 1, crashes: 1, ..ORDERS }, 2);
}

#[test]
fn a_kill() {
    holds("kill, split", Faults { kills: 1, splits: 1, ..ORDERS }, 2);
    holds("kill, crash", Faults { kills: 1, crashes: 1, ..ORDERS }, 2);
    holds("kill, loss, one machine", Faults { kills: 1, losses: 1, one_machine: true, ..ORDERS }, 2);
}

#[test]
fn writes_of_state() {
    holds("writes, split", Faults { writes: true, splits: 1, ..NONE }, 2);
    holds("writes, crash, loss", Faults { writes: true, losses: 1, crashes: 1, releases: true, ..NONE }, 2);
}

#[test]
fn three_nodes() {
    holds("three nodes, loss", Faults { nodes: 3, losses: 1, ..ORDERS }, 2);
}

/// Without a rule the model finds what the rule is for: so the search is able to find something, and no rule is idle.
#[test]
fn each_rule_is_needed() {
    use Violation::{NobodyTrades, OrderAfterKill, OrderAfterSuccessor, WriteAfterSuccessor};
    let all = Rules::ALL;
    let releases = Faults { releases: true, ..ORDERS };
    let machine = Faults { one_machine: true, crashes: 1, ..ORDERS };
    let splits = Faults { splits: 1, ..ORDERS };
    let kills = Faults { kills: 1, ..ORDERS };
    let writes = Faults { writes: true, ..NONE };
    let planted = [
        ("the margin is smaller", Rules { margin: MARGIN - 1, ..all }, ORDERS, OrderAfterSuccessor),
        ("the wait is shorter", Rules { wait: WAIT - 1, ..all }, ORDERS, OrderAfterSuccessor),
        (
            "life counts from the answer",
            Rules { from_the_request: false, ..all },
            ORDERS,
            OrderAfterSuccessor,
        ),
        ("the lease is taken early", Rules { whole_life: false, ..all }, ORDERS, OrderAfterSuccessor),
        ("taking does not compare", Rules { compare: false, ..all }, ORDERS, OrderAfterSuccessor),
        ("the fence is not raised", Rules { raise: false, ..all }, ORDERS, OrderAfterSuccessor),
        ("the machine is the name", Rules { identity: false, ..all }, ORDERS, NobodyTrades),
        ("orders outlive the lease", Rules { window: false, ..all }, ORDERS, OrderAfterSuccessor),
        ("no wait after it was given up", Rules { early_wait: false, ..all }, releases, OrderAfterSuccessor),
        ("no wait after a death", Rules { early_wait: false, ..all }, machine, OrderAfterSuccessor),
        ("the smaller side serves", Rules { quorum: false, ..all }, splits, OrderAfterSuccessor),
        (
            "absent is free",
            Rules { absent_waits: false, ..all },
            Faults { wipes: 1, ..ORDERS },
            OrderAfterSuccessor,
        ),
        ("the kill is not read", Rules { read_kill: false, ..all }, kills, OrderAfterKill),
        (
            "a kill on the smaller side",
            Rules { quorum: false, ..all },
            Faults { nodes: 1, splits: 1, ..kills },
            OrderAfterKill,
        ),
        ("compared, then written", Rules { atomic_fence: false, ..all }, writes, WriteAfterSuccessor),
        ("read without a claim", Rules { claim: false, ..all }, writes, WriteAfterSuccessor),
        (
            "nothing ever expires",
            Rules { expire: false, ..all },
            Faults { crashes: 1, ..ORDERS },
            NobodyTrades,
        ),
    ];
    for (name, rules, faults, expected) in planted {
        let begun = std::time::Instant::now();
        let found = explore(&Model { rules, faults, takes: 3 }, 3_000_000);
        let (violation, steps) = found.violation.unwrap_or_else(|| panic!("{name}: nothing was found"));
        println!("{name}: {violation:?} after {} steps, {:.1?}: {steps:?}", steps.len(), begun.elapsed());
        assert_eq!(violation, expected, "{name}: {steps:?}");
    }
}
