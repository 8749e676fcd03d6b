//! `dolphin config`: effective values with their origin, the schema, what differs.

use std::path::{Path, PathBuf};

use node::config::schema;
use node::config::{Effective, effective};
use node::error::Failure;
use serde::Serialize;
use serde_json::Value;

/// Effective values and their origin, the JSON schema, differences
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dolphin config show --config configs/blue.yml
  dolphin config diff configs/blue.yml configs/green.yml
  dolphin config schema > dolphin.schema.json      # for editors that check YAML")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every key with its value and where it comes from: the file's line, a profile, the default
    Show {
        /// Configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Only what is not the default
        #[arg(long)]
        changed: bool,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// The JSON schema: kinds, ranges, defaults, texts
    Schema {
        /// The same as the reference of the book
        #[arg(long)]
        markdown: bool,
    },
    /// What two files make different; exit 1 if anything
    Diff {
        /// The one
        #[arg(value_name = "A")]
        one: PathBuf,
        /// The other [default: an empty configuration]
        #[arg(value_name = "B")]
        other: Option<PathBuf>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Show { config, changed, json } => show(config, *changed, *json),
        Command::Schema { markdown: true } => {
            print!("{}", schema::reference());
            Ok(())
        }
        Command::Schema { markdown: false } => super::print_json(&schema::schema()),
        Command::Diff { one, other, json } => diff(one, other.as_deref(), *json),
    }
}

fn show(path: &Path, changed: bool, json: bool) -> Result<(), Failure> {
    let mut values = effective(path)?;
    values.retain(|v| !changed || v.origin != "default");
    if json {
        return super::print_json(&values);
    }
    let width = values.iter().map(|v| v.key.len()).max().unwrap_or(0);
    for Effective { key, value, origin } in &values {
        println!("{key:<width$}  {:<24}  {origin}", schema::plain(value));
    }
    Ok(())
}

#[derive(Serialize)]
struct Difference {
    key: String,
    one: Value,
    other: Value,
}

fn diff(one: &Path, other: Option<&Path>, json: bool) -> Result<(), Failure> {
    let left = effective(one)?;
    let right: Vec<Value> = match other {
        Some(other) => effective(other)?.into_iter().map(|v| v.value).collect(),
        None => schema::keys().into_iter().map(|k| k.default).collect(),
    };
    let found: Vec<Difference> = left
        .into_iter()
        .zip(right)
        .filter(|(left, right)| left.value != *right)
        .map(|(left, other)| Difference { key: left.key, one: left.value, other })
        .collect();
    if json {
        super::print_json(&found)?;
    } else {
        let width = found.iter().map(|d| d.key.len()).max().unwrap_or(0);
        for d in &found {
            println!("{:<width$}  {} → {}", d.key, schema::plain(&d.one), schema::plain(&d.other));
        }
    }
    match found.len() {
        0 => Ok(()),
        1 => Err(Failure::answer_no("1 key differs")),
        n => Err(Failure::answer_no(format!("{n} keys differ"))),
    }
}
