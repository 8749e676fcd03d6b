//! Closed gates in words: why, and what reopens them. The checks are the router's; here they get the names and texts that
//! people read everywhere ([`telemetry::registry::GATES`]).

use execution::{Check, ClosedGate, Reopens};
use market::Nanos;
use market::text::counted;

/// A gate as people see it, with its time still on our monotonic clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Shut {
    /// One of [`telemetry::registry::GATES`].
    pub name: &'static str,
    /// In words.
    pub cause: String,
    /// Since when; `None`: since it is first looked at.
    pub since: Option<Nanos>,
    /// In words.
    pub reopens: String,
    /// Symbols it is about; empty: the account.
    pub symbols: Vec<String>,
}

impl Shut {
    /// A gate of the account.
    pub fn new(name: &'static str, cause: impl Into<String>, reopens: impl Into<String>) -> Self {
        Self { name, cause: cause.into(), since: None, reopens: reopens.into(), symbols: Vec::new() }
    }
}

/// The router's gate in words; `None`: the control thread knows it better (connections), or a latch tells it already.
pub fn of_router(gate: &ClosedGate) -> Option<Shut> {
    let latched = gate.reopens == Reopens::Rearm && gate.which != Check::Kill;
    if matches!(gate.which, Check::Connected | Check::Tripped) {
        return None;
    }
    let name = name(gate.which);
    let cause = if latched { format!("tripped by {}", measured(gate)) } else { cause(gate) };
    Some(Shut { since: Some(gate.since), ..Shut::new(name, cause, reopens(gate)) })
}

/// The name that people read.
fn name(check: Check) -> &'static str {
    match check {
        Check::State => "state",
        Check::Kill => "kill",
        Check::Lease => "lease",
        Check::Reconciled => "reconciled",
        Check::Predecessor => "predecessor",
        Check::Posture => "hibernate",
        Check::Breaker => "breaker",
        Check::Clock => "clock",
        Check::ClockError => "clock_error",
        Check::UnknownOrders => "unknown_orders",
        Check::Unlisted => "unlisted",
        Check::Margin => "margin",
        Check::Backoff => "backoff",
        Check::OrderRate => "order_rate",
        Check::EquityUnknown => "equity_unknown",
        Check::DayLoss => "day_loss",
        Check::Drawdown => "drawdown",
        Check::FreeMargin => "free_margin",
        Check::LiquidationDistance => "liquidation_distance",
        Check::DeadMan => "dead_man",
        Check::OrderToTrade => "order_to_trade",
        Check::Turnover => "turnover",
        Check::Fees => "fees",
        Check::Repeated => "repeated",
        Check::RejectRate => "reject_rate",
        Check::Foreign => "foreign",
        Check::AccountMode => "account_mode",
        Check::Slippage => "slippage",
        Check::Unexpected => "unexpected",
        Check::Refused => "refused",
        _ => "tripped",
    }
}

fn cause(g: &ClosedGate) -> String {
    let n = number(g.value);
    match g.which {
        Check::Kill => "the kill switch is latched".to_owned(),
        Check::Posture => "posture HIBERNATE".to_owned(),
        Check::Breaker => "the circuit breaker is open".to_owned(),
        Check::Reconciled => "not reconciled with the venue".to_owned(),
        Check::Predecessor => "an order of the run before may still arrive".to_owned(),
        Check::Clock if g.value.is_nan() => "the venue's clock was never measured".to_owned(),
        Check::Clock => format!("our clock is {n} ms off the venue's, {} ms are allowed", number(g.limit)),
        Check::ClockError => {
            format!("the venue's clock is known to {n} ms, {} ms are needed", number(g.limit))
        }
        Check::UnknownOrders => format!("the fate of {} is unknown", counted(g.value as u64, "order")),
        Check::Unlisted => "positions or orders in instruments that are not followed".to_owned(),
        Check::Backoff => format!("the venue takes no orders for {:.1} s", g.value / 1e3),
        Check::OrderRate => "our budget of orders is used up".to_owned(),
        Check::EquityUnknown => "equity is not known: no balance, or a position without a price".to_owned(),
        Check::Lease if g.value <= 0.0 => "the lease is not confirmed".to_owned(),
        Check::Lease => format!("the lease ends in {n} ms, too soon for an order"),
        Check::Margin => format!("the venue found the margin insufficient {} s ago", number(g.value / 1e3)),
        _ => measured(g),
    }
}

fn measured(g: &ClosedGate) -> String {
    // A yes-or-no check has no numbers to tell.
    if (g.value, g.limit) == (1.0, 0.0) {
        return g.which.text().to_owned();
    }
    // A limit of nothing is no number to tell either.
    if g.limit == 0.0 {
        return format!("{}: {}", g.which.text(), number(g.value));
    }
    format!("{}: {}, the limit is {}", g.which.text(), number(g.value), number(g.limit))
}

/// What ends HIBERNATE (SPEC §4.2): a posture that memory told is loosened at the date change alone.
pub const HIBERNATE_ENDS: &str =
    "our own sensors' Rm as it recovers; a posture told by memory at the next date change";

fn reopens(g: &ClosedGate) -> String {
    let own = match g.which {
        Check::Reconciled | Check::Predecessor => "the next clean comparison with the venue",
        Check::Posture => HIBERNATE_ENDS,
        Check::Unlisted => "when they are closed at the venue, and the next comparison has seen it",
        Check::Lease => "when system memory confirms the lease",
        Check::Clock | Check::ClockError => "the next good measurement, every 30 s",
        Check::UnknownOrders => "when the venue has said what became of them",
        Check::OrderRate => "the budget fills up again within a minute",
        _ => g.reopens.text(),
    };
    own.to_owned()
}

/// A number with at most four digits that matter.
fn number(x: f64) -> String {
    if !x.is_finite() {
        return "unknown".to_owned();
    }
    let decimals = (3 - x.abs().max(1e-9).log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_that_can_close_a_gate_has_a_name_in_the_list() {
        let listed = |name: &str| telemetry::registry::GATES.iter().any(|(n, _)| *n == name);
        for check in Check::ALL {
            assert!(listed(name(*check)), "{check:?}");
            let gate = ClosedGate {
                which: *check,
                symbol: None,
                since: Nanos(7),
                reopens: check.reopens(),
                value: 12.345_678,
                limit: 5.0,
            };
            let Some(shut) = of_router(&gate) else { continue };
            assert!(!shut.cause.is_empty() && !shut.reopens.is_empty());
            assert_eq!(shut.since, Some(Nanos(7)));
        }
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.123_456, 12.345_678, 1_234.5, 123_456.0, 5.0, 0.0].map(number);
        assert_eq!(texts, ["0.1235", "12.35", "1234", "123456", "5", "0"]);
        assert_eq!(number(f64::NAN), "unknown");
    }
}
