//! Task `log_pnl`: one JSON object a line, one line a date and flow.

use std::io::Write;
use std::path::{Path, PathBuf};

use market::Date;
use node::config::Config;
use node::error::Failure;
use node::memory_link::state_directory;
use serde_json::{Value, json};

use crate::Flow;
use crate::day::DayRun;

/// Where the log is kept by default: `pnl_<deployment>.jsonl` beside `memory: path:` where that is named, else in the state
/// directory.
pub fn default_path(config: &Config) -> Result<PathBuf, Failure> {
    let name = format!("pnl_{}.jsonl", config.memory.deployment.name());
    if let Some(path) = &config.memory.path {
        return Ok(path.with_file_name(name));
    }
    let found = state_directory(|name| std::env::var_os(name).map(PathBuf::from));
    found.map(|directory| directory.join(name)).ok_or_else(|| {
        Failure::usage(
            "neither $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME says where the PnL log lies: --pnl-log FILE",
        )
    })
}

/// The line of a run.
pub fn line(flow: Flow, run: &DayRun) -> String {
    let r = &run.result;
    json!({
        "date": r.date.to_string(), "flow": flow.name(), "pnl": r.pnl, "trades": r.trades, "capital": r.capital,
        "start_capital": run.start_capital, "posture": r.posture, "mc_status": r.mc_status, "bars": r.bars,
        "stale_state": r.stale_state, "param_hash": r.param_hash,
    })
    .to_string()
}

/// Puts the run's line into the log, in place of the line of the same date and flow. The file is replaced as a whole, so
/// that a reader, or a kill, never finds half a line.
pub fn put(path: &Path, flow: Flow, run: &DayRun) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::unwritten(path, &e);
    let old = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(failed(e)),
    };
    let mut lines: Vec<&str> = old.lines().filter(|l| !is_of(l, flow, run.result.date)).collect();
    let line = line(flow, run);
    lines.push(&line);
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let part = path.with_extension(format!("part-{}", std::process::id()));
    let written = std::fs::File::create(&part).and_then(|mut file| {
        file.write_all(lines.join("\n").as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    let written = written.and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        std::fs::remove_file(&part).ok();
    }
    written.map_err(failed)
}

/// A line that cannot be read is nobody's, and stays.
fn is_of(line: &str, flow: Flow, date: Date) -> bool {
    serde_json::from_str::<Value>(line)
        .is_ok_and(|v| v["flow"] == flow.name() && v["date"] == date.to_string().as_str())
}
