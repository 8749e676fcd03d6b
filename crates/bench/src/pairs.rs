//! Two programs against each other, run in turn: faster, slower, or within noise.
//!
//! A machine drifts (frequency, neighbours, temperature), so two runs of one program an hour apart differ more than a good
//! change of it. What lies side by side shares the drift: each run of B is set against the run of A beside it, and the
//! noise is that of those ratios. Percentiles of different runs are never averaged.

use serde::Serialize;

use crate::compare::Verdict;
use crate::report::{Figure, Report};
use crate::ways::Path;

/// Fewest pairs: of fewer, all on one side says little.
pub const FEWEST: usize = 3;

/// One figure of all pairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Path and what of it.
    pub what: String,
    /// Percentile.
    pub quantile: &'static str,
    /// Medians over the runs of A and of B, ns.
    pub medians: [u64; 2],
    /// B against A of the pair beside it: the median pair, and the interval that holds it.
    pub ratio: f64,
    /// See `ratio`.
    pub low: f64,
    /// See `ratio`.
    pub high: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interleaved {
    /// Pairs of runs.
    pub pairs: usize,
    /// How sure the intervals are.
    pub confidence: f64,
    /// Figures.
    pub rows: Vec<Row>,
    /// By the medians of the headline.
    pub verdict: Verdict,
}

/// How many of `n` ordered values to leave out at each end so that what is left holds the median with 95 %, and with how
/// much it does. With less than six pairs nothing can be left out, and the whole range holds it with 1 − 2^(1−n).
fn interval(n: usize) -> (usize, f64) {
    // Twice the chance that at most `k` of `n` fair coins show heads.
    let mut term = 0.5f64.powi(n as i32);
    let mut tail = term;
    let mut best = (0, 1.0 - 2.0 * tail);
    for k in 1..n / 2 {
        term *= (n + 1 - k) as f64 / k as f64;
        tail += term;
        if 1.0 - 2.0 * tail < 0.95 {
            break;
        }
        best = (k, 1.0 - 2.0 * tail);
    }
    best
}

fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    match n {
        0 => f64::NAN,
        _ if n.is_multiple_of(2) => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        _ => sorted[n / 2],
    }
}

/// Median, interval and verdict of the ratios. Medians less than 2 % apart are noise whatever the interval.
fn judge(mut ratios: Vec<f64>) -> (f64, f64, f64, Verdict) {
    ratios.sort_by(f64::total_cmp);
    let (cut, _) = interval(ratios.len());
    let (low, high, middle) = (ratios[cut], ratios[ratios.len() - 1 - cut], median(&ratios));
    let verdict = if (middle - 1.0).abs() < 0.02 {
        Verdict::WithinNoise
    } else if high < 1.0 {
        Verdict::Faster
    } else if low > 1.0 {
        Verdict::Slower
    } else {
        Verdict::WithinNoise
    };
    (middle, low, high, verdict)
}

fn row(what: &str, quantile: &'static str, pairs: &[(&Figure, &Figure)]) -> Row {
    let values = |f: &Figure| f.quantile(quantile).unwrap_or_default().max(1) as f64;
    let of = |side: fn(&(&Figure, &Figure)) -> f64| {
        let mut all: Vec<f64> = pairs.iter().map(side).collect();
        all.sort_by(f64::total_cmp);
        median(&all)
    };
    let medians: [u64; 2] = match quantile {
        "p50" => [of(|p| p.0.p50 as f64) as u64, of(|p| p.1.p50 as f64) as u64],
        _ => [of(|p| p.0.p99 as f64) as u64, of(|p| p.1.p99 as f64) as u64],
    };
    let (ratio, low, high, verdict) = judge(pairs.iter().map(|(a, b)| values(b) / values(a)).collect());
    Row { what: what.to_owned(), quantile, medians, ratio, low, high, verdict }
}

/// The first run of a report, one path of it.
fn figures(report: &Report, path: Path) -> Option<(&Figure, &Figure)> {
    let found = report.runs.first()?.paths.get(path.key())?;
    Some((&found.within, &found.wire))
}

/// Judges pairs of reports: A, and the B that was run beside it.
pub fn judged(pairs: &[(Report, Report)]) -> Result<Interleaved, String> {
    if pairs.len() < FEWEST {
        return Err(format!("{} pairs of runs: {FEWEST} or more", pairs.len()));
    }
    let mut rows = Vec::new();
    for path in Path::ALL {
        let both: Option<Vec<_>> =
            pairs.iter().map(|(a, b)| Some((figures(a, path)?, figures(b, path)?))).collect();
        let Some(both) = both else { continue };
        let within: Vec<_> = both.iter().map(|(a, b)| (a.0, b.0)).collect();
        let wire: Vec<_> = both.iter().map(|(a, b)| (a.1, b.1)).collect();
        for (what, pairs) in [("frame → bytes", within), ("wire", wire)] {
            if pairs.iter().all(|(a, b)| a.n > 0 && b.n > 0) {
                let what = format!("{}, {what}", path.name());
                rows.extend(["p50", "p99"].map(|quantile| row(&what, quantile, &pairs)));
            }
        }
    }
    let headline: Option<Vec<_>> = pairs.iter().map(|(a, b)| Some((a.headline()?, b.headline()?))).collect();
    let headline = headline.filter(|all| all.iter().all(|(a, b)| a.n > 0 && b.n > 0));
    let headline = headline.ok_or("a run measured no entry: nothing to compare; run it longer")?;
    let verdict = row("headline", "p50", &headline).verdict;
    Ok(Interleaved { pairs: pairs.len(), confidence: interval(pairs.len()).1, rows, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{PathReport, RunReport};

    fn report(p50: u64) -> Report {
        let figure = Figure { n: 100, p50, p99: 3 * p50, ..Figure::default() };
        let path = PathReport { within: figure.clone(), wire: figure, ..PathReport::default() };
        let mut run = RunReport { rate: 1.0, ..RunReport::default() };
        run.paths.insert(Path::Entry.key().to_owned(), path);
        Report { runs: vec![run], ..Report::default() }
    }

    fn verdict(pairs: &[(u64, u64)]) -> Verdict {
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| (report(*a), report(*b))).collect();
        judged(&pairs).unwrap().verdict
    }

    #[test]
    fn drift_that_both_share_hides_no_difference_and_makes_none() {
        // The machine becomes three times as slow while they run; B is 10 % faster each time.
        assert_eq!(verdict(&[(100, 90), (150, 135), (220, 198), (300, 270)]), Verdict::Faster);
        assert_eq!(verdict(&[(100, 110), (150, 165), (220, 242), (300, 330)]), Verdict::Slower);
        // By medians alone this were 7 % faster: the pairs say otherwise.
        assert_eq!(verdict(&[(100, 101), (300, 280), (120, 125), (290, 288)]), Verdict::WithinNoise);
    }

    #[test]
    fn one_pair_that_says_otherwise_makes_a_few_pairs_noise_and_many_not() {
        let mut pairs = vec![(100, 90); 4];
        pairs.push((100, 120));
        assert_eq!(verdict(&pairs), Verdict::WithinNoise);
        pairs.extend(vec![(100, 90); 7]);
        assert_eq!(verdict(&pairs), Verdict::Faster);
        assert_eq!(verdict(&[(1000, 990); 5]), Verdict::WithinNoise, "one percent is nothing");
    }

    #[test]
    fn intervals_are_those_of_the_sign_test() {
        let near = |n: usize, cut: usize, sure: f64| {
            let (c, s) = interval(n);
            assert!(c == cut && (s - sure).abs() < 1e-3, "{n}: {c}, {s}");
        };
        near(3, 0, 0.75);
        near(5, 0, 0.9375);
        near(6, 0, 0.969);
        near(9, 1, 0.961);
        near(12, 2, 0.961);
        near(20, 5, 0.959);
    }

    #[test]
    fn without_entries_there_is_no_verdict() {
        let none = (report(1), Report::default());
        assert!(judged(&[none.clone(), none.clone(), none]).is_err());
        assert!(judged(&[(report(1), report(1))]).is_err(), "one pair");
    }
}
