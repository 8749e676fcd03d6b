//! `dolphin bench compare`.

use std::path::Path;

use bench::compare::{Verdict, compare};
use bench::report::Report;
use node::error::Failure;
use node::summary::time;

fn read(path: &Path) -> Result<Report, Failure> {
    let says = |e: &dyn std::fmt::Display| Failure::input(format!("{}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| says(&e))?;
    serde_json::from_str(&text)
        .map_err(|e| says(&format!("no report of `dolphin bench tick-to-order --json`: {e}")))
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Faster => "faster",
        Verdict::Slower => "slower",
        Verdict::WithinNoise => "within noise",
    }
}

/// Runs it; slower is the answer no.
pub fn run(a: &Path, b: &Path, json: bool) -> Result<(), Failure> {
    let (first, second) = (read(a)?, read(b)?);
    let both = compare(&first, &second).map_err(Failure::input)?;
    if json {
        crate::commands::print_json(&both)?;
    } else {
        println!(
            "{} (commit {}) → {} (commit {})",
            a.display(),
            first.machine.commit,
            b.display(),
            second.machine.commit
        );
        for difference in &both.differences {
            println!("NOT ALIKE  {difference}");
        }
        println!("{:<44}{:>5}{:>12}{:>12}{:>8}", "", "", "a", "b", "ratio");
        for r in &both.rows {
            println!(
                "{:<44}{:>5}{:>12}{:>12}{:>8.3}  {}",
                r.what,
                r.quantile,
                time(r.a),
                time(r.b),
                r.ratio,
                word(r.verdict)
            );
        }
        println!("verdict, by the median of boundary → entry: {}", word(both.verdict));
    }
    match both.verdict {
        Verdict::Slower => Err(Failure::answer_no("b is slower than a")),
        Verdict::Faster | Verdict::WithinNoise => Ok(()),
    }
}
