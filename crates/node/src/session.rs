//! What a session leaves for its report besides the summary: every fill and every done order, and when each gate was closed.

use std::collections::BTreeSet;

use serde::Serialize;

/// Most of each that is kept; what comes after is counted.
const KEPT: usize = 50_000;

/// A fill.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Fill {
    /// Venue time, ms since the epoch.
    pub ts_ms: u64,
    /// Our order.
    pub order: String,
    /// Symbol.
    pub symbol: String,
    /// `BUY` or `SELL`.
    pub side: &'static str,
    /// Reduces a position.
    pub reduce_only: bool,
    /// Price of the order.
    pub order_px: f64,
    /// Price of the fill.
    pub px: f64,
    /// Quantity.
    pub qty: f64,
    /// Commission, quote asset; negative: a rebate.
    pub commission: f64,
    /// Did it rest?
    pub maker: bool,
    /// Venue's id.
    pub trade_id: u64,
}

/// When a gate was closed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Closed {
    /// Which.
    pub gate: String,
    /// Why, as it was said at last.
    pub cause: String,
    /// From, ms since the epoch.
    pub from_ms: u64,
    /// Until; `None`: to the end.
    pub until_ms: Option<u64>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Session {
    /// Fills, oldest first.
    pub fills: Vec<Fill>,
    /// Done orders, oldest first.
    pub orders: Vec<telemetry::state::Order>,
    /// Closed gates, oldest first.
    pub gates: Vec<Closed>,
    /// What was not kept because there was too much.
    pub not_kept: u64,
    /// When the run began, ms since the epoch.
    #[serde(skip)]
    began_ms: u64,
    /// Fills that were told: symbol and trade id.
    #[serde(skip)]
    told: BTreeSet<(String, u64)>,
}

impl Session {
    /// Of a run that begins.
    pub fn new(began_ms: u64) -> Self {
        Self { began_ms, ..Self::default() }
    }

    /// Adds a fill, however often it is told: by the user stream, a reply, a comparison with the venue. One from before this run
    /// is of the run that it was booked by, be it told again.
    pub fn fill(&mut self, fill: Fill) {
        if fill.ts_ms >= self.began_ms && self.told.insert((fill.symbol.clone(), fill.trade_id)) {
            Self::keep(&mut self.fills, fill, &mut self.not_kept);
        }
    }

    /// Adds a done order.
    pub fn order(&mut self, order: telemetry::state::Order) {
        Self::keep(&mut self.orders, order, &mut self.not_kept);
    }

    fn keep<T>(list: &mut Vec<T>, one: T, not_kept: &mut u64) {
        if list.len() < KEPT {
            list.push(one);
        } else {
            *not_kept += 1;
        }
    }

    /// Takes the gates that are closed now.
    pub fn gates(&mut self, now: &[telemetry::state::ClosedGate], at_ms: u64) {
        for open in self.gates.iter_mut().filter(|g| g.until_ms.is_none()) {
            match now.iter().find(|g| g.name == open.gate) {
                Some(still) => open.cause.clone_from(&still.cause),
                None => open.until_ms = Some(at_ms),
            }
        }
        for gate in now {
            if !self.gates.iter().any(|g| g.until_ms.is_none() && g.gate == gate.name) {
                let (name, cause) = (gate.name.clone(), gate.cause.clone());
                let closed = Closed { gate: name, cause, from_ms: gate.since_ms, until_ms: None };
                Self::keep(&mut self.gates, closed, &mut self.not_kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::state::ClosedGate;

    #[test]
    fn a_fill_counts_once_however_often_it_is_told() {
        let mut session = Session::new(5);
        let fill = |symbol: &str, trade_id, ts_ms| Fill {
            symbol: symbol.into(),
            trade_id,
            ts_ms,
            ..Fill::default()
        };
        for one in [fill("A", 1, 5), fill("A", 2, 6), fill("A", 1, 5), fill("B", 1, 7), fill("B", 2, 4)] {
            session.fill(one);
        }
        assert_eq!(session.fills.len(), 3, "and none of an earlier run");
    }

    #[test]
    fn a_gate_is_one_period_from_closing_to_opening() {
        let mut session = Session::default();
        let gate = |cause: &str| ClosedGate {
            name: "books".into(),
            cause: cause.into(),
            since_ms: 5,
            ..ClosedGate::default()
        };
        session.gates(&[gate("2 of 8")], 10);
        session.gates(&[gate("1 of 8")], 20);
        session.gates(&[], 30);
        session.gates(&[gate("3 of 8")], 40);
        let periods: Vec<_> =
            session.gates.iter().map(|g| (g.cause.as_str(), g.from_ms, g.until_ms)).collect();
        assert_eq!(periods, [("1 of 8", 5, Some(30)), ("3 of 8", 5, None)]);
    }
}
