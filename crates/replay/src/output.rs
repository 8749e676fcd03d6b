//! The results on disk (SPEC §11 `replay`): `trades.jsonl`, `trades.parquet`, `days.jsonl`, `report.html`,
//! `summary.json`: complete or not at all.
//!
//! Everything is first written into a staging folder beside the target. A new target appears by one rename. In an
//! existing one the files are put in place by one rename each, `summary.json` last; other files in it are left alone, and
//! results of an earlier run are refused before anything runs, unless they are to be replaced.
//! Whatever goes wrong before that leaves the target as it was and no staging folder.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use alpha::{DayResult, TradeRecord};
use archive::table::{Column, write_parquet};
use market::text::counted;
use serde::Serialize;

use crate::ReplayError;
use crate::days::Run;
use crate::report;
use crate::summary::Summary;

/// The files of a result, in the order in which they are put in place.
pub const FILES: [&str; 5] = ["trades.jsonl", "trades.parquet", "days.jsonl", "report.html", "summary.json"];

/// What becomes of the results of an earlier run in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// They are a reason not to begin.
    Refused,
    /// They are replaced, and named.
    Replaced,
}

impl Earlier {
    /// By whether somebody said `--force`.
    pub const fn forced(force: bool) -> Self {
        if force { Self::Replaced } else { Self::Refused }
    }
}

/// A place for results, tried before the run so that an unwritable target is known at once. Dropped without
/// [`Staging::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    folder: PathBuf,
}

impl Staging {
    /// Makes the staging folder for `target`.
    pub fn new(target: &Path, earlier: Earlier) -> Result<Self, ReplayError> {
        let target = std::path::absolute(target).map_err(ReplayError::output(target))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(ReplayError::output(&target)(std::io::ErrorKind::InvalidFilename.into()));
        };
        if target.exists() && !target.is_dir() {
            return Err(ReplayError::output(&target)(std::io::ErrorKind::NotADirectory.into()));
        }
        if let (Earlier::Refused, Some(found)) = (earlier, found(&target)) {
            return Err(ReplayError::Earlier { path: target, found });
        }
        fs::create_dir_all(parent).map_err(ReplayError::output(parent))?;
        let folder = parent.join(format!(".{}.part-{}", name.to_string_lossy(), std::process::id()));
        fs::create_dir(&folder).map_err(ReplayError::output(&folder))?;
        Ok(Self { target, folder })
    }

    /// Writes the results of `run` and puts them in place. `origin` goes into the report. Says which results they
    /// replaced.
    pub fn commit(self, run: &Run, origin: &report::Provenance) -> Result<Option<String>, ReplayError> {
        let mut summary = serde_json::to_vec_pretty(&Summary::of(run)).unwrap_or_default();
        summary.push(b'\n');
        self.commit_with(run, origin, &[("days.jsonl", json_lines(&run.days))], &summary)
    }

    /// The same with other files beside trades and report, and another summary: a live session's.
    pub fn commit_with(
        self,
        run: &Run,
        origin: &report::Provenance,
        more: &[(&'static str, Vec<u8>)],
        summary: &[u8],
    ) -> Result<Option<String>, ReplayError> {
        let put = |name: &str, bytes: &[u8]| {
            let path = self.folder.join(name);
            write_synced(&path, bytes).map_err(ReplayError::output(&path))
        };
        put("trades.jsonl", &json_lines(&run.trades))?;
        for (name, bytes) in more {
            put(name, bytes)?;
        }
        put("report.html", report::html(run, origin).as_bytes())?;
        put("summary.json", summary)?;
        write_parquet(&self.folder.join("trades.parquet"), &trade_columns(&run.trades))?;
        if !self.target.exists() {
            fs::rename(&self.folder, &self.target).map_err(ReplayError::output(&self.target))?;
            return Ok(None);
        }
        let replaced = found(&self.target).map(|found| {
            format!("{}: replaced the results of an earlier run ({found})", self.target.display())
        });
        let more = more.iter().map(|(name, _)| *name);
        for name in
            ["trades.jsonl", "trades.parquet"].into_iter().chain(more).chain(["report.html", "summary.json"])
        {
            let to = self.target.join(name);
            fs::rename(self.folder.join(name), &to).map_err(ReplayError::output(&to))?;
        }
        Ok(replaced)
    }
}

/// What results of an earlier run are in `target`, in words.
fn found(target: &Path) -> Option<String> {
    let there = FILES.into_iter().filter(|name| target.join(name).exists()).collect::<Vec<_>>();
    if there.is_empty() {
        return None;
    }
    let summary = fs::read(target.join("summary.json")).ok();
    let summary: Option<serde_json::Value> = summary.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let run = summary.map_or_else(String::new, |s| {
        let word = |key: &str| s[key].as_str().map_or_else(|| s[key].to_string(), str::to_owned);
        format!(
            ", of profile {}, {}, hash {:.12}",
            word("profile"),
            s["trades"].as_u64().map_or_else(String::new, |n| counted(n, "trade")),
            word("param_hash")
        )
    });
    Some(format!("{}{run}", there.join(", ")))
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a commit there is nothing left to remove.
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// One JSON object a line.
pub fn json_lines<T: Serialize>(rows: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut out, row).expect("records of plain fields always serialise");
        out.push(b'\n');
    }
    out
}

/// The days as columns, by the names of SPEC §3.3.
pub fn day_columns(days: &[DayResult]) -> Vec<(&'static str, Column)> {
    let text = |f: fn(&DayResult) -> String| Column::Text(days.iter().map(f).collect());
    let float = |f: fn(&DayResult) -> f64| Column::Float(days.iter().map(f).collect());
    let int = |f: fn(&DayResult) -> i64| Column::Int(days.iter().map(f).collect());
    vec![
        ("date", text(|d| d.date.to_string())),
        ("pnl", float(|d| d.pnl)),
        ("trades", int(|d| d.trades.into())),
        ("capital", float(|d| d.capital)),
        ("boost", float(|d| d.boost)),
        ("beta", float(|d| d.beta)),
        ("mc_scale", float(|d| d.mc_scale)),
        ("mc_status", text(|d| d.mc_status.name().to_owned())),
        ("posture", text(|d| d.posture.to_string())),
        ("bars", int(|d| d.bars.into())),
        ("stale_state", Column::Bool(days.iter().map(|d| Some(d.stale_state)).collect())),
        ("param_hash", text(|d| d.param_hash.clone())),
    ]
}

/// The trades as columns, by the names of SPEC §3.11.
pub fn trade_columns(trades: &[TradeRecord]) -> Vec<(&'static str, Column)> {
    let text = |f: fn(&TradeRecord) -> String| Column::Text(trades.iter().map(f).collect());
    let float = |f: fn(&TradeRecord) -> f64| Column::Float(trades.iter().map(f).collect());
    let int = |f: fn(&TradeRecord) -> i64| Column::Int(trades.iter().map(f).collect());
    let flag = |f: fn(&TradeRecord) -> Option<bool>| Column::Bool(trades.iter().map(f).collect());
    vec![
        ("symbol", text(|t| t.symbol.clone())),
        ("direction", int(|t| t.direction.into())),
        ("entry_date", text(|t| t.entry_date.to_string())),
        ("entry_bar", int(|t| t.entry_bar.into())),
        ("exit_date", text(|t| t.exit_date.to_string())),
        ("exit_bar", int(|t| t.exit_bar.into())),
        ("bars_held", int(|t| t.bars_held as i64)),
        ("entry_price", float(|t| t.entry_price)),
        ("exit_price", float(|t| t.exit_price)),
        ("notional", float(|t| t.notional)),
        ("leverage", float(|t| t.leverage)),
        ("vel_div", float(|t| t.vel_div)),
        ("bucket", int(|t| t.bucket.into())),
        ("boost", float(|t| t.boost)),
        ("beta", float(|t| t.beta)),
        ("mc_scale", float(|t| t.mc_scale)),
        ("maker_entry", flag(|t| t.maker_entry)),
        ("maker_exit", flag(|t| t.maker_exit)),
        ("fees", float(|t| t.fees)),
        ("gross_pnl", float(|t| t.gross_pnl)),
        ("pnl", float(|t| t.pnl)),
        ("capital_after", float(|t| t.capital_after)),
        ("reason", text(|t| t.reason.name().to_owned())),
    ]
}
