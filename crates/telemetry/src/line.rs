//! A state in one line, and the reasons in a few.

use market::text::{counted, fixed, signed};

use crate::state::{ClosedGate, State};

/// The status line.
pub fn line(s: &State) -> String {
    let mut parts = vec![format!("{} {}", time(s.at_ms), armed(s))];
    if let Some(equity) = s.account.equity {
        let day = s.account.day_pnl.map_or(String::new(), |x| format!(" ({} today)", signed(x, 2)));
        parts.push(format!("equity {equity:.2}{day}"));
    }
    parts.push(position(s));
    parts.push(match s.counts.unknown_now {
        0 => counted(s.orders.len(), "order"),
        n => format!("{}, {n} UNKNOWN", counted(s.orders.len(), "order")),
    });
    let m = &s.market;
    parts.push(match m.data_age_ms {
        Some(age) => format!("data {} old, {} of {} books", age_text(age), m.books_live, m.books),
        None => format!("no data yet, {} of {} books", m.books_live, m.books),
    });
    let g = &s.signal;
    let rm = g.rm.map_or(String::new(), |rm| format!(" Rm {rm:.2}"));
    parts.push(format!("{}{rm}", if g.posture.is_empty() { "posture unknown" } else { &g.posture }));
    if let Some(p) = s.hop("tick_to_order").and_then(|h| h.minute) {
        parts.push(format!("tick to order p50 {} p99 {}", seconds(p.p50), seconds(p.p99)));
    }
    parts.push(counted(s.counts.round_trips, "trade"));
    parts.join(" | ")
}

/// `ARMED`, or the first reason and how many more there are.
pub fn armed(s: &State) -> String {
    let mut gates = s.account_gates();
    match gates.next() {
        None if s.armed => "ARMED".to_owned(),
        None => "NOT ARMED: nothing is published yet".to_owned(),
        Some(first) => {
            let more = gates.count();
            let more = if more == 0 { String::new() } else { format!(" (+{more} more)") };
            format!("NOT ARMED: {}{more}", first.cause)
        }
    }
}

/// A gate in one line: which, why, since when, what reopens it.
pub fn gate(g: &ClosedGate, now_ms: u64) -> String {
    let since = age_text(now_ms.saturating_sub(g.since_ms));
    format!("{}: {}; closed for {since}; reopens: {}", g.name, g.cause, g.reopens)
}

fn position(s: &State) -> String {
    let of = |p: &crate::state::Position| {
        let side = if p.qty < 0.0 { "SHORT" } else { "LONG" };
        let pnl = p.unrealised.map_or("PnL unknown".to_owned(), |x| signed(x, 2));
        format!("{side} {} {} {pnl}", number(p.qty.abs()), p.symbol)
    };
    match s.positions.as_slice() {
        [] => "flat".to_owned(),
        all => all.iter().map(of).collect::<Vec<_>>().join(", "),
    }
}

/// A number without zeros at its end.
pub fn number(x: f64) -> String {
    let text = fixed(x, 8);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Seconds in the unit that reads best.
pub fn seconds(s: f64) -> String {
    match s {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.1} s"),
    }
}

/// An age in the unit that reads best.
pub fn age_text(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{:.1} s", ms as f64 / 1e3),
        10_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// Time of day, UTC.
pub fn time(ms: u64) -> String {
    let s = ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", s / 3_600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Account, Hop, Market, Percentiles, Position, Signal};

    #[test]
    fn one_line_says_what_matters() {
        let position =
            Position { symbol: "BTCUSDT".into(), qty: -0.12, unrealised: Some(-3.21), ..Position::default() };
        let minute = Some(Percentiles { n: 9, p50: 45e-6, p99: 1.2e-3, ..Percentiles::default() });
        let mut state = State {
            at_ms: 1_700_000_000_000,
            armed: true,
            account: Account { equity: Some(100_123.456), day_pnl: Some(123.0), ..Account::default() },
            positions: vec![position],
            market: Market { data_age_ms: Some(120), books: 48, books_live: 12, ..Market::default() },
            signal: Signal { posture: "APEX".into(), rm: Some(0.98), ..Signal::default() },
            latency: vec![Hop { name: "tick_to_order".into(), minute, ..Hop::default() }],
            ..State::default()
        };
        assert_eq!(
            line(&state),
            "22:13:20 UTC ARMED | equity 100123.46 (+123.00 today) | SHORT 0.12 BTCUSDT -3.21 | 0 orders | data 0.1 s old, \
             12 of 48 books | APEX Rm 0.98 | tick to order p50 45 µs p99 1.2 ms | 0 trades"
        );
        state.armed = false;
        let gate = |name: &str, cause: &str, symbols: &[&str]| ClosedGate {
            name: name.into(),
            cause: cause.into(),
            since_ms: state.at_ms - 3_000,
            reopens: "`dolphin rearm`".into(),
            symbols: symbols.iter().map(|s| (*s).to_owned()).collect(),
        };
        let gates = vec![gate("a", "first", &[]), gate("b", "x", &["BTCUSDT"]), gate("c", "third", &[])];
        state.gates = gates;
        assert!(line(&state).contains("NOT ARMED: first (+1 more) |"), "{}", line(&state));
        assert_eq!(
            super::gate(&state.gates[0], state.at_ms),
            "a: first; closed for 3.0 s; reopens: `dolphin rearm`"
        );
        assert!(line(&State::default()).contains("NOT ARMED: nothing is published yet"));
    }
}
