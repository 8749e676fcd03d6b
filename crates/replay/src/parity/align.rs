//! Which expected trade is which of ours. A trade too few or too many must not make every later one differ, so the two
//! lists are laid beside each other by what identifies a trade, as `diff` lays lines.

use alpha::TradeRecord;
use archive::table::Cell;

use super::expected::ExpectedTrades;
use super::fields::{FIELDS, Tolerance, differs};

/// Most cells of the table that the longest common subsequence needs.
const MAX_TABLE: usize = 25_000_000;

/// What identifies a trade where its entry is known, and what does otherwise.
const BY_ENTRY: [&str; 4] = ["symbol", "direction", "entry_date", "entry_bar"];
const BY_ALL: [&str; 10] = [
    "symbol",
    "direction",
    "entry_date",
    "entry_price",
    "vel_div",
    "bucket",
    "exit_date",
    "exit_bar",
    "exit_price",
    "reason",
];

/// An expected trade and one of ours, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairing {
    Both { want: usize, got: usize },
    Missing { want: usize },
    Extra { got: usize },
}

/// Lays the lists beside each other, both in order.
pub(super) fn align(expected: &ExpectedTrades, got: &[TradeRecord], rtol: f64) -> Vec<Pairing> {
    let has = |name: &&str| expected.columns.iter().any(|&f| FIELDS[f].name == *name);
    let keys: &[&str] = if has(&"entry_bar") { &BY_ENTRY } else { &BY_ALL };
    let columns: Vec<(usize, usize)> = expected
        .columns
        .iter()
        .enumerate()
        .filter(|(_, f)| keys.contains(&FIELDS[**f].name))
        .map(|(at, f)| (at, *f))
        .collect();
    let ours: Vec<Vec<Cell>> =
        got.iter().map(|trade| columns.iter().map(|&(_, f)| (FIELDS[f].get)(trade)).collect()).collect();
    let same = |want: usize, got: usize| {
        let pairs = columns.iter().zip(&ours[got]);
        !columns.is_empty()
            && pairs
                .into_iter()
                .all(|(&(at, _), ours)| !differs(&expected.rows[want][at], ours, Tolerance::relative(rtol)))
    };
    let entry = |want: usize| expected.at(&expected.rows[want], "entry_date", "entry_bar");
    let same_entry =
        |want: usize, i: usize| entry(want).is_some_and(|at| at == (got[i].entry_date, got[i].entry_bar));
    let known = |want: usize| entry(want).is_some();
    let matches = common(expected.len(), got.len(), same);
    fill(expected.len(), got.len(), &matches, known, same_entry)
}

/// The longest common subsequence, as pairs of indices; by position where the table for it would be too large.
fn common(n: usize, m: usize, same: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let head = (0..n.min(m)).take_while(|&i| same(i, i)).count();
    let tail = (0..n.min(m) - head).take_while(|&k| same(n - 1 - k, m - 1 - k)).count();
    let (rows, columns) = (n - head - tail, m - head - tail);
    let mut pairs: Vec<(usize, usize)> = (0..head).map(|i| (i, i)).collect();
    if (rows + 1).saturating_mul(columns + 1) > MAX_TABLE {
        pairs.extend((0..rows.min(columns)).map(|i| (head + i, head + i)).filter(|&(i, j)| same(i, j)));
    } else {
        // Lengths of the longest common subsequences of what follows.
        let width = columns + 1;
        let mut longest = vec![0u32; (rows + 1) * width];
        for i in (0..rows).rev() {
            for j in (0..columns).rev() {
                longest[i * width + j] = if same(head + i, head + j) {
                    longest[(i + 1) * width + j + 1] + 1
                } else {
                    longest[(i + 1) * width + j].max(longest[i * width + j + 1])
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < rows && j < columns {
            if same(head + i, head + j) {
                pairs.push((head + i, head + j));
                (i, j) = (i + 1, j + 1);
            } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
                i += 1;
            } else {
                j += 1;
            }
        }
    }
    pairs.extend((0..tail).rev().map(|k| (n - 1 - k, m - 1 - k)));
    pairs
}

/// Between the trades that are the same on both sides lie some that are not. Two with one entry are one trade that
/// differs; where the entry is not known and the counts are the same, so are those at one place.
fn fill(
    n: usize,
    m: usize,
    matches: &[(usize, usize)],
    known: impl Fn(usize) -> bool,
    same_entry: impl Fn(usize, usize) -> bool,
) -> Vec<Pairing> {
    let mut all = Vec::with_capacity(n.max(m));
    let (mut want, mut got) = (0, 0);
    for &(next_want, next_got) in matches.iter().chain([&(n, m)]) {
        let by_place = next_want - want == next_got - got && !(want..next_want).all(&known);
        while want < next_want || got < next_got {
            if want < next_want && got < next_got && (by_place || same_entry(want, got)) {
                all.push(Pairing::Both { want, got });
                (want, got) = (want + 1, got + 1);
            } else if want < next_want && !(got..next_got).any(|g| same_entry(want, g)) {
                all.push(Pairing::Missing { want });
                want += 1;
            } else if got < next_got {
                all.push(Pairing::Extra { got });
                got += 1;
            } else {
                all.push(Pairing::Missing { want });
                want += 1;
            }
        }
        if (next_want, next_got) != (n, m) {
            all.push(Pairing::Both { want, got });
            (want, got) = (want + 1, got + 1);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letters(want: &str, got: &str) -> String {
        let (want, got): (Vec<char>, Vec<char>) = (want.chars().collect(), got.chars().collect());
        let matches = common(want.len(), got.len(), |i, j| want[i] == got[j]);
        let pairings = fill(want.len(), got.len(), &matches, |_| true, |_, _| false);
        let show = |p: &Pairing| match *p {
            Pairing::Both { want: w, .. } => want[w].to_string(),
            Pairing::Missing { want: w } => format!("-{}", want[w]),
            Pairing::Extra { got: g } => format!("+{}", got[g]),
        };
        pairings.iter().map(show).collect()
    }

    #[test]
    fn lists_are_laid_side_by_side() {
        assert_eq!(letters("abcde", "abcde"), "abcde");
        assert_eq!(letters("abcde", "abde"), "ab-cde");
        assert_eq!(letters("abde", "abcde"), "ab+cde");
        assert_eq!(letters("abxde", "abyde"), "ab-x+yde");
        assert_eq!(letters("", "ab"), "+a+b");
        assert_eq!(letters("ab", ""), "-a-b");
        assert_eq!(letters("abc", "xbz"), "-a+xb-c+z");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_order_is_kept(want in "[abc]{0,12}", got in "[abc]{0,12}") {
            let shown = letters(&want, &got);
            let (mut w, mut g) = (String::new(), String::new());
            let mut chars = shown.chars();
            while let Some(c) = chars.next() {
                match c {
                    '-' => w.extend(chars.next()),
                    '+' => g.extend(chars.next()),
                    c => { w.push(c); g.push(c); }
                }
            }
            prop_assert_eq!((w, g), (want, got));
        }
    }
}
