//! `dolphin rearm`: lets trading go on after a kill, or after something latched.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::memory::schema::{CONTROL, Rearm, RearmOrder, to_text};
use node::config::Config;
use node::error::Failure;
use node::killed::{Wish, rearm_file, rearm_report_file};
use runtime::environment::{Files, SystemFiles};
use serde_json::{Value, json};

use super::operator::{self, Operator};

/// Between two looks for the answer.
const LOOK: Duration = Duration::from_millis(50);
/// Shortest reason.
const REASON: usize = 8;

/// Let trading go on after a kill, or after something latched
#[derive(clap::Args)]
#[command(
    after_help = "Example: dolphin rearm --config configs/blue.yml --reason 'the manual order was mine'\n\nThe kill of the \
deployment is taken back on every machine, the kill file of this one is removed, and a running node lifts what has latched \
(without a node: the next start does). The reason stays in system memory and in the node's log. A node that was killed has \
to be started again. Exit 1: the node says that there is nothing to lift; 4: memory does not answer."
)]
pub struct Args {
    /// Why, for the record; eight characters at least
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Configuration of the node
    #[arg(long, value_name = "FILE", required_unless_present = "file")]
    config: Option<PathBuf>,
    /// The venue of the node, where `live --venue` said another than the configuration
    #[arg(long, value_name = "VENUE", requires = "config")]
    venue: Option<String>,
    /// The kill file, where it is not the configuration's
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The day's loss, drawdown and counts begin anew too
    #[arg(long)]
    day: bool,
    /// How long to wait for a running node's answer
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    timeout: f64,
    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let wait = Duration::try_from_secs_f64(args.timeout)
        .map_err(|_| Failure::usage(format!("--timeout {} is no length of time", args.timeout)))?;
    let reason = args.reason.trim();
    if reason.chars().count() < REASON {
        return Err(Failure::usage(format!(
            "--reason `{reason}`: {REASON} characters at least, for the record"
        )));
    }
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let file = match (args.file, &config) {
        (Some(file), _) => file,
        (None, Some(config)) => config.kill_file(),
        (None, None) => return Err(Failure::usage("give --config or --file")),
    };
    let memory = match &config {
        Some(config) => Operator::of(config, args.venue.as_deref())?,
        None => None,
    };
    let order = RearmOrder {
        id: format!("{:016x}", operator::id()),
        at: operator::now(),
        reason: reason.to_owned(),
        by: operator::by(),
        day: args.day,
    };
    let kill = match &memory {
        Some(memory) => in_memory(memory, &order)?,
        None => None,
    };
    let removed = lift_file(&file, kill.is_some() || memory.is_some())?;
    let report = rearm_report_file(&file);
    let _ = std::fs::remove_file(&report);
    write(&rearm_file(&file), &to_text(&order))?;
    let answer = answer(&report, memory.as_ref(), &order.id, wait);
    if let Some(memory) = memory {
        memory.close();
    }
    tell(kill, removed.then_some(&*file), answer.as_ref(), args.json)
}

/// The kill is taken back, and the order left for whoever runs. Number of the kill.
fn in_memory(memory: &Operator, order: &RearmOrder) -> Result<Option<u64>, Failure> {
    let rearm = Rearm { at: order.at, reason: order.reason.clone(), by: order.by.clone() };
    let deployment = memory.deployment;
    memory.with(async |m| {
        let kill = ::memory::rearm(m, deployment, &rearm).await?;
        m.put(CONTROL, deployment.rearm_key(), &to_text(order)).await?;
        Ok(kill.map(|kill| kill.number))
    })
}

/// Removes the kill file. One of a kill of all machines stays where memory was not asked.
fn lift_file(file: &Path, asked: bool) -> Result<bool, Failure> {
    match Wish::read(file, &SystemFiles) {
        None => Ok(false),
        Some(wish) if wish.record.is_some() && !asked => Err(Failure::usage(format!(
            "{} is of a kill of the whole deployment: give --config (and --venue), so that it is taken back everywhere",
            file.display()
        ))),
        Some(_) => {
            let removed = SystemFiles.remove(file);
            removed.map_err(|e| {
                Failure::usage(format!("cannot remove the kill file {}: {e}", file.display()))
            })?;
            Ok(true)
        }
    }
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    SystemFiles.write(file, text).map_err(|e| {
        Failure::usage(format!("cannot write {}: {e}; as the node's user, or root?", file.display()))
    })
}

/// The word of a node that runs, here or elsewhere.
fn answer(report: &Path, memory: Option<&Operator>, id: &str, wait: Duration) -> Option<Value> {
    let until = Instant::now() + wait;
    loop {
        let here = std::fs::read_to_string(report).ok().and_then(|text| serde_json::from_str(&text).ok());
        let there = || memory.and_then(|m| m.told(m.deployment.rearm_report_key()));
        let said = here.or_else(there).filter(|value: &Value| value["id"] == id);
        if said.is_some() || Instant::now() >= until {
            return said;
        }
        std::thread::sleep(LOOK);
    }
}

fn tell(
    kill: Option<u64>,
    file: Option<&Path>,
    answer: Option<&Value>,
    as_json: bool,
) -> Result<(), Failure> {
    let lifted = answer.is_some_and(|a| a["done"] == true);
    let why = answer.and_then(|a| a["why"].as_str());
    if as_json {
        let node = match answer {
            None => json!(null),
            Some(_) => json!({ "lifted": lifted, "why": why }),
        };
        super::print_json(
            &json!({ "kill": kill, "removed": file.map(Path::display).map(|f| f.to_string()), "node": node }),
        )?;
    } else {
        if let Some(number) = kill {
            println!("kill {number} is taken back on every machine");
        }
        if let Some(file) = file {
            println!("{} is removed", file.display());
        }
        match (answer, lifted) {
            (None, _) => println!("no node answered: what has latched is lifted at the next start"),
            (Some(_), true) => println!("the node has lifted what had latched"),
            (Some(_), false) => println!("the node lifts nothing: {}", why.unwrap_or("it does not say why")),
        }
    }
    if answer.is_some() && !lifted && kill.is_none() && file.is_none() {
        return Err(Failure::answer_no(why.unwrap_or("the node lifts nothing").to_owned()));
    }
    Ok(())
}
