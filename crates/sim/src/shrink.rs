//! The shortest list of faults that still fails: by leaving out, as long as the same invariant is violated.

use crate::faults::Planned;
use crate::run::{Report, Setup, run};

/// Leaves out what it can of a failing run's script, in at most `runs` runs. Gives the last failing report; `each` is
/// told how many faults are left after each run.
pub fn shrink(setup: &Setup, failed: Report, runs: u32, mut each: impl FnMut(usize)) -> Report {
    let Some(invariant) = failed.violations.first().map(|v| v.invariant) else { return failed };
    let last = failed.violations.iter().map(|v| v.at_ms).max().unwrap_or(0);
    let mut best = failed;
    // What came after the failure had no part in it.
    best.script.retain(|p| p.at_ms <= last);
    let mut part = best.script.len().div_ceil(2).max(1);
    let mut left = runs;
    let mut from = 0;
    while left > 0 && !best.script.is_empty() {
        if from >= best.script.len() {
            if part == 1 {
                break;
            }
            (from, part) = (0, part.div_ceil(2));
            continue;
        }
        left -= 1;
        let to = (from + part).min(best.script.len());
        let script: Vec<Planned> = [&best.script[..from], &best.script[to..]].concat();
        let tried = run(&Setup { script: Some(script), ..setup.clone() });
        match tried {
            Ok(report) if report.violations.iter().any(|v| v.invariant == invariant) => best = report,
            _ => from = to,
        }
        each(best.script.len());
    }
    best
}
