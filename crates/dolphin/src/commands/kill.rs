//! `dolphin kill`: pulls the kill switch of a running node and waits for its report.
//!
//! The wish is a file that the node watches; the report is written beside it. The file stays: no node starts while it is
//! there, so trading goes on only after somebody has removed it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use node::config::Config;
use node::error::Failure;

/// Between two looks for the report.
const LOOK: Duration = Duration::from_millis(50);

/// Pull the kill switch of a running node and wait for its report
#[derive(clap::Args)]
#[command(
    after_help = "Example: dolphin kill --config configs/blue.yml --flatten\n\nThe node stops entries, cancels all working \
orders (with --flatten it closes the positions too), asks the venue what is left, writes it beside the kill file and \
ends. The kill file stays: no node starts while it is there. Exit 1: nobody answered, or something is left."
)]
pub struct Args {
    /// Configuration of the node: its runtime.kill_file, else a file beside it
    #[arg(long, value_name = "FILE", required_unless_present = "file")]
    config: Option<PathBuf>,
    /// The kill file itself
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Close the positions too
    #[arg(long)]
    flatten: bool,
    /// How long to wait for the report
    #[arg(long, default_value_t = 30.0, value_name = "S")]
    timeout: f64,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let wait = Duration::try_from_secs_f64(args.timeout)
        .map_err(|_| Failure::usage(format!("--timeout {} is no length of time", args.timeout)))?;
    let file = match (&args.file, &args.config) {
        (Some(file), _) => file.clone(),
        (None, Some(config)) => Config::load(config)?.kill_file(),
        (None, None) => return Err(Failure::usage("give --config or --file")),
    };
    let report = report_path(&file);
    // A report that is there already belongs to an earlier kill.
    remove(&report)?;
    wish(&file, args.flatten)?;
    let text = wait_for(&report, wait).ok_or_else(|| {
        Failure::answer_no(format!(
            "nobody answered within {} s: does a node run with this kill file? {} stays, so that none starts; look at the \
             venue for open orders, and remove the file to trade again",
            args.timeout,
            file.display()
        ))
    })?;
    tell(&text, &file, args.json)
}

/// Where the node answers: the kill file's name and `.report`.
pub fn report_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".report");
    path.into()
}

fn remove(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::usage(format!("cannot remove the old report {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Written beside and renamed, so that the node never sees half a wish.
fn wish(file: &Path, flatten: bool) -> Result<(), Failure> {
    let refused = |e: std::io::Error| {
        Failure::usage(format!(
            "cannot write the kill file {}: {e}; as the node's user, or root?",
            file.display()
        ))
    };
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let write = || {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
        out.write_all(if flatten { b"flatten\n" } else { b"stop\n" })?;
        out.sync_all()?;
        std::fs::rename(&new, file)
    };
    write().map_err(refused)
}

/// The report, once it is whole JSON.
fn wait_for(report: &Path, wait: Duration) -> Option<Value> {
    let until = Instant::now() + wait;
    loop {
        let read = std::fs::read_to_string(report).ok();
        if let Some(value) = read.and_then(|text| serde_json::from_str(&text).ok()) {
            return Some(value);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

fn tell(report: &Value, file: &Path, json: bool) -> Result<(), Failure> {
    if json {
        super::print_json(report)?;
    }
    let orders = report["open_orders"].as_u64().unwrap_or(0);
    let positions = report["open_positions"].as_array().map_or(0, Vec::len);
    let done = report["done"] == true;
    let left = format!("{orders} orders and {positions} positions are open at the venue");
    if !json {
        println!("killed: {left}; {} stays, remove it to trade again", file.display());
    }
    if done && orders == 0 {
        return Ok(());
    }
    Err(Failure::answer_no(format!("the kill switch did not finish its work: {left}; look at the venue")))
}
