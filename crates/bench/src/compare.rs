//! Two reports against each other: faster, slower, or within noise. The noise is that of the medians themselves: by order
//! statistics, the interval that holds a quantile with 95 % (Conover), taken from each report's own curve.

use serde::Serialize;

use crate::report::{Figure, Report};
use crate::ways::Path;

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// B is faster.
    Faster,
    /// B is slower.
    Slower,
    /// The difference may be chance.
    WithinNoise,
}

/// One figure of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Path, rate, and what of it.
    pub what: String,
    /// Percentile.
    pub quantile: &'static str,
    /// Of A, ns.
    pub a: u64,
    /// Of B, ns.
    pub b: u64,
    /// B against A.
    pub ratio: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What differs between the set-ups, so that the figures may not be set beside each other.
    pub differences: Vec<String>,
    /// Figures.
    pub rows: Vec<Row>,
    /// By the medians of the headline.
    pub verdict: Verdict,
}

/// The value at a quantile, between the points of the curve.
fn at(figure: &Figure, q: f64) -> f64 {
    let mut before = (0.0, figure.min as f64);
    for &(place, value) in &figure.curve {
        if place >= q {
            let span: f64 = place - before.0;
            let part = if span > 0.0 { (q - before.0) / span } else { 1.0 };
            return before.1 + (value as f64 - before.1) * part;
        }
        before = (place, value as f64);
    }
    figure.max as f64
}

/// Where a quantile lies with 95 %.
fn interval(figure: &Figure, q: f64) -> (f64, f64) {
    let n = figure.n.max(1) as f64;
    let half = 1.96 * (q * (1.0 - q) / n).sqrt();
    (at(figure, (q - half).max(0.0)), at(figure, (q + half).min(1.0)))
}

/// B against A: intervals that overlap, or medians less than 2 % apart, are noise.
fn verdict(a: &Figure, b: &Figure, q: f64) -> Verdict {
    let ((a_low, a_high), (b_low, b_high)) = (interval(a, q), interval(b, q));
    let (x, y) = (at(a, q), at(b, q));
    if x <= 0.0 || (y / x - 1.0).abs() < 0.02 {
        return Verdict::WithinNoise;
    }
    if b_high < a_low {
        Verdict::Faster
    } else if b_low > a_high {
        Verdict::Slower
    } else {
        Verdict::WithinNoise
    }
}

/// Compares.
pub fn compare(a: &Report, b: &Report) -> Result<Comparison, String> {
    let (Some(x), Some(y)) = (a.headline(), b.headline()) else {
        return Err("one of the reports holds no run".to_owned());
    };
    if x.n == 0 || y.n == 0 {
        return Err("one of the reports holds no entry: nothing to compare".to_owned());
    }
    let mut differences = Vec::new();
    let mut differ = |what: &str, x: String, y: String| {
        if x != y {
            differences.push(format!("{what}: {x} against {y}"));
        }
    };
    differ("transport", a.wire.to_string(), b.wire.to_string());
    differ("symbols", a.symbols.to_string(), b.symbols.to_string());
    differ("stride", a.stride.to_string(), b.stride.to_string());
    differ("processor", a.machine.cpu.clone(), b.machine.cpu.clone());
    differ("kernel", a.machine.kernel.clone(), b.machine.kernel.clone());
    differ("market", a.data.1.clone(), b.data.1.clone());
    differ("parameters", a.param_hash.clone(), b.param_hash.clone());
    differ("optimised", a.machine.optimised.to_string(), b.machine.optimised.to_string());
    let mut rows = Vec::new();
    for run in &a.runs {
        let Some(other) = b.runs.iter().find(|r| r.rate == run.rate) else { continue };
        for path in Path::ALL {
            let (Some(p), Some(o)) = (run.paths.get(path.key()), other.paths.get(path.key())) else {
                continue;
            };
            for (what, f, g) in [("frame → bytes", &p.within, &o.within), ("wire", &p.wire, &o.wire)] {
                if f.n > 0 && g.n > 0 {
                    rows.extend(rows_of(&format!("×{} {}, {what}", run.rate, path.name()), f, g));
                }
            }
        }
    }
    Ok(Comparison { differences, rows, verdict: verdict(x, y, 0.5) })
}

fn rows_of(what: &str, a: &Figure, b: &Figure) -> Vec<Row> {
    let row = |(quantile, q): (&'static str, f64)| Row {
        what: what.to_owned(),
        quantile,
        a: a.quantile(quantile).unwrap_or_default(),
        b: b.quantile(quantile).unwrap_or_default(),
        ratio: at(b, q) / at(a, q).max(1.0),
        verdict: verdict(a, b, q),
    };
    [("p50", 0.5), ("p99", 0.99)].into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(scale: u64, n: u64) -> Figure {
        let mut h = runtime::latency::histogram();
        (1..=n).for_each(|i| h.saturating_record(scale * (1000 + i * 500 / n)));
        Figure::of(&h)
    }

    #[test]
    fn a_difference_must_be_larger_than_the_noise_of_both() {
        assert_eq!(verdict(&figure(10, 1000), &figure(5, 1000), 0.5), Verdict::Faster);
        assert_eq!(verdict(&figure(5, 1000), &figure(10, 1000), 0.5), Verdict::Slower);
        assert_eq!(verdict(&figure(10, 1000), &figure(10, 990), 0.5), Verdict::WithinNoise);
        // Twelve samples say little: 10 % may be chance.
        let (few, more) = (figure(10, 12), figure(11, 12));
        assert_eq!(verdict(&few, &more, 0.5), Verdict::WithinNoise);
    }
}
