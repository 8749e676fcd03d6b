//! `dolphin bench compare`: reports that are there, or programs that are run in turn.

use std::path::Path;
use std::process::{Command, Stdio};

use bench::compare::{Verdict, compare};
use bench::pairs::{FEWEST, Interleaved, judged};
use bench::report::Report;
use node::error::Failure;
use node::summary::time;

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is compared with: a report (JSON); with --runs a program, arguments of its own behind it in the same word:
    /// `./dolphin --symbols 400`
    a: String,
    /// What is judged
    b: String,
    /// Run both in turn, so many times (3 or more), and judge the pairs
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// For both, behind `bench tick-to-order --json --rates 1`
    #[arg(last = true, requires = "runs", value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

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
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    match args.runs {
        Some(runs) => programs(args, runs, json),
        None => reports(Path::new(&args.a), Path::new(&args.b), json),
    }
}

/// One run of a program: its report.
fn measured(words: &str, arguments: &[String]) -> Result<Report, Failure> {
    let mut words = words.split_whitespace();
    let program = words.next().ok_or_else(|| Failure::usage("an empty word is no program".to_owned()))?;
    let mut command = Command::new(program);
    command.args(["bench", "tick-to-order", "--json", "--rates", "1"]).args(words).args(arguments);
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| Failure::usage(format!("{program} cannot be started: {e}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::unavailable(format!("{program}: {}: {}", output.status, said.trim())));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|e| Failure::input(format!("{program} printed no report of tick-to-order: {e}")))
}

/// A, B, A, B … and the verdict over the pairs.
fn programs(args: &Args, runs: usize, json: bool) -> Result<(), Failure> {
    if runs < FEWEST {
        return Err(Failure::usage(format!("--runs {runs}: {FEWEST} or more")));
    }
    let mut pairs = Vec::with_capacity(runs);
    for i in 1..=runs {
        let a = measured(&args.a, &args.arguments)?;
        let b = measured(&args.b, &args.arguments)?;
        let p50 = |r: &Report| r.headline().map_or_else(|| "no entry".to_owned(), |f| time(f.p50));
        eprintln!("pair {i} of {runs}: a p50 {}, b p50 {}", p50(&a), p50(&b));
        pairs.push((a, b));
    }
    let both = judged(&pairs).map_err(Failure::input)?;
    if json {
        crate::commands::print_json(&both)?;
    } else {
        println!("a: {} (commit {})", args.a, pairs[0].0.machine.commit);
        println!("b: {} (commit {})", args.b, pairs[0].1.machine.commit);
        print_pairs(&both);
    }
    told(both.verdict)
}

fn print_pairs(both: &Interleaved) {
    println!(
        "{} pairs; the median pair lies in the interval with {:.0} %",
        both.pairs,
        both.confidence * 100.0
    );
    println!("{:<44}{:>5}{:>12}{:>12}{:>8}{:>18}", "", "", "a", "b", "ratio", "interval");
    for r in &both.rows {
        println!(
            "{:<44}{:>5}{:>12}{:>12}{:>8.3}{:>18}  {}",
            r.what,
            r.quantile,
            time(r.medians[0]),
            time(r.medians[1]),
            r.ratio,
            format!("{:.3} … {:.3}", r.low, r.high),
            word(r.verdict)
        );
    }
    println!("verdict, by the median of boundary → entry: {}", word(both.verdict));
}

fn told(verdict: Verdict) -> Result<(), Failure> {
    match verdict {
        Verdict::Slower => Err(Failure::answer_no("b is slower than a")),
        Verdict::Faster | Verdict::WithinNoise => Ok(()),
    }
}

fn reports(a: &Path, b: &Path, json: bool) -> Result<(), Failure> {
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
    told(both.verdict)
}
