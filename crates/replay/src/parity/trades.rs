//! Two lists of trades, trade by trade.

use std::collections::BTreeSet;

use alpha::TradeRecord;
use archive::table::Cell;
use market::Date;

use super::align::{Pairing, align};
use super::expected::{At, ExpectedTrades};
use super::fields::{FIELDS, Field, HangsOn, Tolerance, differs, number, show};
use super::types::{Divergence, Line, Parity};
use crate::days::Run;

/// Fills in what `parity` says of the trades.
pub(super) fn compare(run: &Run, expected: &ExpectedTrades, rtol: f64, parity: &mut Parity) {
    let days: BTreeSet<Date> = run.days.iter().map(|day| day.date).collect();
    note_dates(expected, &days, parity);
    if parity.no_common_dates.is_some() {
        parity.trades_differing = expected.len().max(run.trades.len());
        return;
    }
    // The replayed trade before, for the context.
    let mut before = None;
    for pairing in align(expected, &run.trades, rtol) {
        let lines = match pairing {
            Pairing::Both { want, got } => {
                let pair = Pair { expected, run, want, got, rtol };
                let lines = pair.differences();
                if !lines.is_empty() && parity.first_divergence.is_some() && pair.only_follows() {
                    parity.following += 1;
                    before = Some(got);
                    continue;
                }
                lines
            }
            Pairing::Missing { want } => {
                parity.missing.push(want + 1);
                Vec::new()
            }
            Pairing::Extra { got } => {
                parity.extra.push(got + 1);
                Vec::new()
            }
        };
        if !matches!(pairing, Pairing::Both { .. }) || !lines.is_empty() {
            parity.trades_differing += 1;
            if parity.first_divergence.is_none() {
                parity.first_divergence = Some(divergence(run, expected, pairing, lines, before));
            }
        }
        if let Pairing::Both { got, .. } | Pairing::Extra { got } = pairing {
            before = Some(got);
        }
    }
}

/// Says so where the expected trades are of other dates than the replay.
fn note_dates(expected: &ExpectedTrades, days: &BTreeSet<Date>, parity: &mut Parity) {
    let dates: Vec<Date> = expected.rows.iter().filter_map(|row| expected.date(row, "entry_date")).collect();
    let outside = dates.iter().filter(|date| !days.contains(date)).count();
    let (Some(first), Some(last)) = (dates.iter().min(), dates.iter().max()) else { return };
    if outside == 0 {
        return;
    }
    let replayed = match (days.first(), days.last()) {
        (Some(first), Some(last)) => format!("the replay of {first} to {last}"),
        _ => "the replay of none".to_owned(),
    };
    if outside == dates.len() {
        parity.no_common_dates =
            Some(format!("no common dates: the expected trades are of {first} to {last}, {replayed}"));
    } else {
        parity.notes.push(format!("{outside} of the expected trades are of dates that were not replayed"));
    }
}

/// An expected trade and ours, by index.
struct Pair<'a> {
    expected: &'a ExpectedTrades,
    run: &'a Run,
    want: usize,
    got: usize,
    rtol: f64,
}

impl Pair<'_> {
    fn ours(&self) -> &TradeRecord {
        &self.run.trades[self.got]
    }

    fn differences(&self) -> Vec<Line> {
        let ours = self.ours();
        let pairs = self.expected.columns.iter().zip(&self.expected.rows[self.want]);
        let differing = pairs.filter_map(|(&f, want)| {
            let (field, got) = (&FIELDS[f], (FIELDS[f].get)(ours));
            let tolerance = Tolerance::of(field, self.rtol, ours.notional);
            differs(want, &got, tolerance).then(|| line(field.name, want, &got, false))
        });
        differing.collect()
    }

    /// Is it the same trade but for the capital and the fee draws that the trades before it left? Money is then
    /// compared per unit: the notional by the capital before, results by the notional.
    fn only_follows(&self) -> bool {
        let (ours, row) = (self.ours(), &self.expected.rows[self.want]);
        let want = |name: &str| self.expected.number(row, name);
        // Quotients of two rounded numbers.
        let close = |a: f64, b: f64| Tolerance { relative: 8.0 * self.rtol, floor: 1e-12 }.close(a, b);
        let per_unit = |value: Option<f64>, unit: Option<f64>, got: f64| match (value, unit) {
            (Some(value), Some(unit)) => close(value / unit, got),
            _ => true,
        };
        let same_draws = ["maker_entry", "maker_exit"].into_iter().all(|name| {
            let ours = FIELDS.iter().find(|f| f.name == name).map(|f| (f.get)(ours));
            self.expected.cell(row, name).is_none_or(|want| Some(want) == ours.as_ref())
        });
        let plain = self.expected.columns.iter().zip(row).all(|(&f, want)| {
            let field: &Field = &FIELDS[f];
            field.hangs_on != HangsOn::Nothing
                || !differs(want, &(field.get)(ours), Tolerance::of(field, self.rtol, ours.notional))
        });
        let before = |after: Option<f64>| after.unwrap_or(self.run.params.initial_capital);
        let theirs_before = match self.want.checked_sub(1).map(|i| &self.expected.rows[i]) {
            None => Some(before(None)),
            Some(row) => self.expected.number(row, "capital_after"),
        };
        let ours_before = before(self.got.checked_sub(1).map(|i| self.run.trades[i].capital_after));
        let notional = want("notional");
        plain
            && per_unit(notional, theirs_before, ours.notional / ours_before)
            && per_unit(want("gross_pnl"), notional, ours.gross_pnl / ours.notional)
            && (!same_draws
                || per_unit(want("fees"), notional, ours.fees / ours.notional)
                    && per_unit(want("pnl"), notional, ours.pnl / ours.notional))
            // What is not there at all follows from nothing.
            && self.expected.columns.iter().zip(row).all(|(&f, cell)| {
                FIELDS[f].hangs_on == HangsOn::Nothing
                    || *cell != Cell::Null
                    || (FIELDS[f].get)(ours) == Cell::Null
            })
    }
}

fn line(name: &str, expected: &Cell, got: &Cell, equal: bool) -> Line {
    let difference = number(expected).zip(number(got)).map(|(e, g)| g - e);
    Line { name: name.to_owned(), expected: show(expected), got: show(got), difference, equal }
}

fn divergence(
    run: &Run,
    expected: &ExpectedTrades,
    pairing: Pairing,
    lines: Vec<Line>,
    before: Option<usize>,
) -> Divergence {
    let (want, got) = match pairing {
        Pairing::Both { want, got } => (Some(want), Some(got)),
        Pairing::Missing { want } => (Some(want), None),
        Pairing::Extra { got } => (None, Some(got)),
    };
    let (row, ours) = (want.map(|i| &expected.rows[i]), got.map(|i| &run.trades[i]));
    let trade = want.or(got).unwrap_or_default() + 1;
    let what = match pairing {
        Pairing::Both { .. } => {
            let names: Vec<&str> = lines.iter().map(|l| l.name.as_str()).collect();
            format!("trade {trade} differs in {}", names.join(", "))
        }
        Pairing::Missing { .. } => format!("trade {trade} is missing"),
        Pairing::Extra { .. } => format!("trade {trade} of the replay is one too many"),
    };
    let named = |row: &Vec<Cell>| -> Vec<(String, String)> {
        let cells = expected.columns.iter().zip(row);
        cells.map(|(&f, cell)| (FIELDS[f].name.to_owned(), show(cell))).collect()
    };
    let at = where_ways_part(ours, row.map(|row| (expected, row.as_slice())), &lines);
    Divergence {
        trade,
        what,
        lines,
        expected: row.map(named).unwrap_or_default(),
        got: ours.cloned(),
        before: before.and_then(|i| run.trades.get(i)).cloned(),
        date: at.map(|(date, _)| date.to_string()),
        bar: at.map(|(_, bar)| bar),
        bars: Vec::new(),
    }
}

/// The earlier of the two sides' entries if those differ (or something known at entry does), else of their exits.
fn where_ways_part(
    got: Option<&TradeRecord>,
    want: Option<(&ExpectedTrades, &[Cell])>,
    lines: &[Line],
) -> Option<At> {
    let at_exit =
        !lines.is_empty() && lines.iter().all(|l| FIELDS.iter().any(|f| f.name == l.name && f.known_at_exit));
    let (ours, theirs) = if at_exit {
        (
            got.map(|t| (t.exit_date, t.exit_bar)),
            want.and_then(|(trades, row)| trades.at(row, "exit_date", "exit_bar")),
        )
    } else {
        (
            got.map(|t| (t.entry_date, t.entry_bar)),
            want.and_then(|(trades, row)| trades.at(row, "entry_date", "entry_bar")),
        )
    };
    ours.into_iter().chain(theirs).min()
}
