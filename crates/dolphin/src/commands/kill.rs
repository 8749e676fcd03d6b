//! `dolphin kill`: pulls the kill switch of a deployment and waits for the report of whoever trades.
//!
//! The wish is a file that the node of this machine watches, and a record in memory that every node of the deployment sees,
//! on any machine. Both stay: nothing starts and nobody takes over until `dolphin rearm`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::memory::schema::Kill;
use ::memory::{KillOrder, order_kill};
use serde_json::Value;

use node::config::Config;
use node::error::Failure;
use node::killed::Wish;
use node::summary::UNKNOWN;

use super::operator::{self, Operator};

/// Between two looks for the report.
const LOOK: Duration = Duration::from_millis(50);

/// Pull the kill switch of a deployment and wait for the report
#[derive(clap::Args)]
#[command(
    after_help = "Example: dolphin kill --config configs/blue.yml --flatten\n\nThe node stops entries, cancels all working \
orders (with --flatten it closes the positions too), asks the venue what is left, writes it beside the kill file and \
ends. With --config the kill is also a record in system memory, seen on every machine of the deployment. It stays until \
`dolphin rearm`: no node starts and no standby takes over. Exit 1: nobody answered, or something is left."
)]
pub struct Args {
    /// Configuration of the node: its runtime.kill_file, else a file beside it
    #[arg(long, value_name = "FILE", required_unless_present = "file")]
    config: Option<PathBuf>,
    /// The kill file itself
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The venue of the node, where `live --venue` said another than the configuration
    #[arg(long, value_name = "VENUE", requires = "config")]
    venue: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
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
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let file = match (&args.file, &config) {
        (Some(file), _) => file.clone(),
        (None, Some(config)) => config.kill_file(),
        (None, None) => return Err(Failure::usage("give --config or --file")),
    };
    let report = report_path(&file);
    // A report that is there already belongs to an earlier kill.
    remove(&report)?;
    // This machine first: it waits for nobody.
    wish(&file, &Wish { flatten: args.flatten, record: None })?;
    let everywhere = config.as_ref().map(|config| order(config, &args)).transpose();
    let (memory, kill) = match everywhere {
        Ok(ordered) => ordered.flatten().unzip(),
        Err(failure) => {
            eprintln!("dolphin: {failure}: the kill holds on this machine alone");
            (None, None)
        }
    };
    if kill.is_some() && file.exists() {
        wish(&file, &Wish { flatten: args.flatten, record: kill.clone() })?;
    }
    let told = wait_for(&report, (memory.as_ref(), kill.as_ref()), wait);
    if let Some(memory) = memory {
        memory.close();
    }
    let text = told.ok_or_else(|| {
        Failure::answer_no(format!(
            "nobody answered within {} s: does a node run with this kill file? {} stays, so that none starts; look at the \
             venue for open orders, and remove the file to trade again (`dolphin rearm`)",
            args.timeout,
            file.display()
        ))
    })?;
    tell(&text, &file, args.json)
}

/// The kill as a record in memory; `None`: this configuration's memory ends with each run.
fn order(config: &Config, args: &Args) -> Result<Option<(Operator, Kill)>, Failure> {
    let Some(memory) = Operator::of(config, args.venue.as_deref())? else { return Ok(None) };
    let order = KillOrder {
        id: operator::id(),
        at: operator::now(),
        reason: args.reason.clone(),
        flatten: args.flatten,
        by: operator::by(),
    };
    let deployment = memory.deployment;
    let kill = memory.with(async |m| order_kill(m, deployment, &order).await)?;
    Ok(Some((memory, kill)))
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
fn wish(file: &Path, wish: &Wish) -> Result<(), Failure> {
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
        out.write_all(wish.text().as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&new, file)
    };
    write().map_err(refused)
}

/// The report, once it is whole JSON: of the node of this machine, or through memory of one elsewhere.
fn wait_for(
    report: &Path,
    (memory, kill): (Option<&Operator>, Option<&Kill>),
    wait: Duration,
) -> Option<Value> {
    let until = Instant::now() + wait;
    loop {
        let read = std::fs::read_to_string(report).ok();
        if let Some(value) = read.and_then(|text| serde_json::from_str(&text).ok()) {
            return Some(value);
        }
        let elsewhere = memory.zip(kill).and_then(|(memory, kill)| {
            let told = memory.told(memory.deployment.kill_report_key())?;
            (told["kill"] == kill.id.as_str()).then_some(told)
        });
        if elsewhere.is_some() {
            return elsewhere;
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or("?")
}

fn tell(report: &Value, file: &Path, json: bool) -> Result<(), Failure> {
    if json {
        super::print_json(report)?;
    }
    let orders = report["open_orders"].as_u64();
    let positions = report["open_positions"].as_array();
    let done = report["done"] == true;
    let number = |n: Option<u64>| n.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string());
    let named: Vec<String> = positions
        .into_iter()
        .flatten()
        .map(|p| format!("{} {}", text(p, "qty"), text(p, "symbol")))
        .collect();
    let names = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
    let left = format!(
        "orders open at the venue: {}, positions: {}{names}",
        number(orders),
        number(positions.map(|p| p.len() as u64))
    );
    if !json {
        println!("killed: {left}; {} stays: `dolphin rearm` lets trading go on", file.display());
    }
    if done && orders == Some(0) {
        return Ok(());
    }
    Err(Failure::answer_no(format!("the kill switch did not finish its work: {left}; look at the venue")))
}
