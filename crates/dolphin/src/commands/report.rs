//! `dolphin report`: runs side by side.

use std::path::PathBuf;

use ::replay::compare::Compared;

use super::replay_error;
use node::error::Failure;

/// Runs side by side: the figures of each, and with --out their equity in one page
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: dolphin report out-a out-b --out compared.html\n\nWhat it reads is what replay, demo and live \
leave by --out. The first run is the one whose entries the others are compared with."
)]
pub struct Args {
    /// Directories of runs
    #[arg(value_name = "DIR", required = true)]
    runs: Vec<PathBuf>,
    /// A page to write: one file, for any browser
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the page if it is there
    #[arg(long, requires = "out")]
    force: bool,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(out) = &args.out {
        super::refuse_existing(out, args.force)?;
    }
    let compared = Compared::read(&args.runs).map_err(|e| replay_error(&e))?;
    if let Some(out) = &args.out {
        std::fs::write(out, compared.html()).map_err(|e| Failure::unwritten(out, &e))?;
    }
    if args.json {
        return super::print_json(&compared.figures());
    }
    print!("{}", compared.table());
    if let Some(out) = &args.out {
        println!("page: {}", out.display());
    }
    Ok(())
}
