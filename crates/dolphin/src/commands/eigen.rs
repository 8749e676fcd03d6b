//! `dolphin eigen`: SPEC §6 offline, from the prices of day files to day files with recomputed meta columns.

use std::path::PathBuf;

use archive::day::AssetColumns;
use market::text::counted;
use replay::eigen::{EigenError, recompute};
use replay::output::Earlier;

use node::error::Failure;

/// Recompute the eigen columns (velocities, vel_div, instabilities) of day files from their prices
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example: dolphin eigen --data days/ --out days-recomputed/ --stride 1")]
pub struct Args {
    /// Directory of day files (YYYY-MM-DD.parquet or scan files), or one day file
    #[arg(long, value_name = "DIR|FILE")]
    pub data: PathBuf,
    /// Directory for the new day files; made if it is not there, never the input's own
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// These columns are the assets [default: those whose name is a symbol quoted in USDT]
    #[arg(long, value_name = "A,B", value_parser = AssetColumns::named)]
    pub assets: Option<AssetColumns>,
    /// Rows per bar: 1 for 5 s bars, 50 for files at 10 Hz
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub stride: usize,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let assets = args.assets.unwrap_or_default();
    let done = recompute(&args.data, &args.out, args.stride, assets, Earlier::forced(args.force));
    let done = done.map_err(|e| match e {
        EigenError::Day(_) | EigenError::Unsound { .. } => Failure::because(&e, 3),
        _ => Failure::because(&e, 2),
    })?;
    for note in &done.notes {
        tracing::warn!("{note}");
    }
    let (files, bars) = (counted(done.files.len(), "day file"), counted(done.bars, "bar"));
    println!("{files}, {bars}, in {}", args.out.display());
    Ok(())
}
