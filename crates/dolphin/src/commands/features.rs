//! `dolphin features`: recordings to order-book features (SPEC §5), offline.

use std::path::{Path, PathBuf};

use market::Nanos;
use market::text::counted;
use memory::schema::{OB_CACHE, ObRecord, cache_text};
use replay::features::{FeaturesError, FeaturesReport, write_features};

use node::error::Failure;
use runtime::environment::{Files, SystemFiles};

/// Order-book features of recordings, offline
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: dolphin features --recording btc.gz --recording eth.gz --interval-ms 100 --out features.parquet"
)]
pub struct Args {
    /// Recording (.gz, .zst or plain text); several are merged by receive time
    #[arg(long = "recording", value_name = "FILE", required = true, num_args = 1..)]
    recordings: Vec<PathBuf>,
    /// Sampling interval of event time, milliseconds
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    interval_ms: u64,
    /// Parquet file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Print the report as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { recordings, interval_ms, out, force, json } = args;
    super::refuse_existing(&out, force)?;
    let report = write_features(&recordings, Nanos::from_millis(interval_ms), &out).map_err(|e| match e {
        FeaturesError::Recording(_) => Failure::input(e.to_string()),
        FeaturesError::Output { .. } | FeaturesError::Interval | FeaturesError::NoRecording => {
            Failure::because(&e, 2)
        }
    })?;
    cache(&report, &out)?;
    if json {
        println!("{}", as_json(&report));
    } else {
        eprintln!("{}", as_text(&report));
        println!("{}", out.display());
    }
    Ok(())
}

/// Writes the newest features of each symbol to `ob_cache/latest_ob_features.json` beside the output (SPEC 2.3), for whoever
/// reads features without system memory.
fn cache(report: &FeaturesReport, out: &Path) -> Result<(), Failure> {
    let records = report.latest.iter().map(|l| {
        let (symbol, timestamp, features, cross_asset) = (l.symbol.clone(), l.ts, l.features, l.cross);
        (symbol.clone(), ObRecord { symbol, timestamp, features, cross_asset })
    });
    let path = out.with_file_name(OB_CACHE);
    SystemFiles.write(&path, &cache_text(records)).map_err(|e| Failure::unwritten(&path, &e))
}

fn as_json(r: &FeaturesReport) -> serde_json::Value {
    let books: serde_json::Map<_, _> = r
        .symbols
        .iter()
        .map(|(symbol, b)| {
            let book = serde_json::json!({
                "applied": b.applied, "gaps": b.gaps, "crossed": b.crossed, "old": b.old, "snapshots": b.snapshots,
            });
            (symbol.clone(), book)
        })
        .collect();
    serde_json::json!({
        "rows": r.rows, "frames": r.frames, "samples": r.engine.samples, "late": r.engine.late,
        "accepted": r.decoded.accepted, "ignored": r.decoded.ignored, "rejected": r.decoded.rejected(), "books": books,
    })
}

fn as_text(r: &FeaturesReport) -> String {
    let mut text = format!(
        "{} at {} from {} ({} ignored, {} rejected)",
        counted(r.rows, "row"),
        counted(r.engine.samples, "sample"),
        counted(r.frames, "frame"),
        r.decoded.ignored,
        r.decoded.rejected()
    );
    for (symbol, b) in &r.symbols {
        if b.gaps + b.crossed > 0 || b.applied == 0 {
            let (updates, gaps) = (counted(b.applied, "update"), counted(b.gaps, "gap"));
            text += &format!("\n{symbol}: {updates}, {gaps}, {} crossed", counted(b.crossed, "time"));
        }
    }
    text
}
