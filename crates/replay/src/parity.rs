//! Is a replay the same as an expected one (SPEC §11 `parity`)? The expectation is a table of trades, a summary, or the
//! headline numbers of the champion. Where trades differ, the first divergence is shown with what led to it: the bar,
//! its inputs, every gate's value on our side, the trade before.
//!
//! A yes is only given where something was compared: what is expected and has no value differs, and what is not compared
//! is named.

mod align;
mod context;
mod expected;
mod fields;
mod summary;
mod trades;
mod types;

pub use expected::{Expected, ExpectedTrades};
pub use fields::{FIELD_NAMES, column_names};
pub use types::{BarContext, Divergence, Line, Parity};

use crate::ReplayError;
use crate::days::{Observer, ReplayConfig, Run, Unwatched, run};
use fields::{FIELDS, floors};

/// Replays and compares. Floats a, b are equal if |a − b| ≤ rtol · max(|a|, |b|); columns that are differences of larger
/// numbers have a floor besides, which the answer names. With rtol 0 floats are equal to the bit.
pub fn check(config: &ReplayConfig, expected: &Expected, rtol: f64) -> Result<Parity, ReplayError> {
    check_watched(config, expected, rtol, &mut Unwatched)
}

/// The same under somebody's eyes, who may end it.
pub fn check_watched(
    config: &ReplayConfig,
    expected: &Expected,
    rtol: f64,
    observer: &mut impl Observer,
) -> Result<Parity, ReplayError> {
    let replayed = run(config, observer)?;
    let mut parity = compare(&replayed, expected, rtol)?;
    if let Some(divergence) = &mut parity.first_divergence {
        context::add_context(config, &replayed, divergence)?;
    }
    Ok(parity)
}

/// Compares a run with what was expected of it.
pub fn compare(run: &Run, expected: &Expected, rtol: f64) -> Result<Parity, ReplayError> {
    let mut parity = Parity {
        equal: true,
        expected: expected.origin(),
        rtol,
        tolerances: Vec::new(),
        lines: Vec::new(),
        columns: Vec::new(),
        not_compared: Vec::new(),
        no_common_dates: None,
        trades_differing: 0,
        missing: Vec::new(),
        extra: Vec::new(),
        following: 0,
        first_divergence: None,
        notes: run.notes.clone(),
    };
    match expected {
        Expected::Champion => parity.lines = summary::champion_lines(run),
        Expected::Summary { path, value } => {
            (parity.lines, parity.not_compared) = summary::lines(path, value, run, rtol)?;
            parity.tolerances.extend(summary::FLOOR.filter(|_| rtol > 0.0).map(str::to_owned));
        }
        Expected::Trades(trades) => {
            parity.columns = trades.columns.iter().map(|&f| FIELDS[f].name).collect();
            parity.not_compared.clone_from(&trades.not_compared);
            parity.lines = summary::trade_lines(run, trades, rtol);
            if rtol > 0.0 {
                parity.tolerances.extend(floors(&trades.columns));
                parity.tolerances.extend(summary::sums(&parity.lines));
            }
            trades::compare(run, trades, rtol, &mut parity);
        }
    }
    let trades = parity.trades_differing + parity.following;
    parity.equal =
        trades == 0 && parity.no_common_dates.is_none() && parity.lines.iter().all(|line| line.equal);
    Ok(parity)
}
