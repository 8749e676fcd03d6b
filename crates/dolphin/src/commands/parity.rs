//! `dolphin parity`: is a replay what it is expected to be?

use std::path::PathBuf;

use ::replay::parity::{Expected, check};

use super::replay::DayArgs;
use super::replay_error;
use node::error::Failure;

/// Compare a replay with expected trades or a summary; exit 1 on any difference
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dolphin parity --config configs/blue.yml --data days --expected trades.parquet
  dolphin parity --config configs/blue.yml --data days --expected champion
  dolphin parity --journal DIR")]
pub struct Args {
    #[command(flatten)]
    days: DayArgs,
    /// Expected trades (.parquet, .csv, .json, .jsonl), a summary (.json), or the word `champion`
    #[arg(long, value_name = "FILE", required_unless_present = "journal")]
    expected: Option<PathBuf>,
    /// Relative tolerance of floats
    #[arg(long, default_value_t = 1e-9, value_name = "R")]
    rtol: f64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { days, expected: file, rtol, json } = args;
    if !(0.0..1.0).contains(&rtol) {
        return Err(Failure::usage(format!("--rtol {rtol} is not in [0, 1)")));
    }
    if let Some(journal) = &days.journal {
        return super::redecide::parity(journal, json);
    }
    let Some(file) = file else { return Err(Failure::usage("--expected FILE is needed")) };
    let config = days.replay_config()?;
    let expected = Expected::read(&file).map_err(|e| replay_error(&e))?;
    let parity = check(&config, &expected, rtol).map_err(|e| replay_error(&e))?;
    if json {
        super::print_json(&parity)?;
    } else {
        println!("{parity}");
    }
    if parity.equal {
        return Ok(());
    }
    Err(Failure::answer_no(format!("not the same as {}: {}", file.display(), parity.why())))
}
