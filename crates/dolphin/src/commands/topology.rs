//! `dolphin topology`: stages, links and layouts, from the table they are made from.

use node::error::Failure;
use node::role::Role;
use node::topology::table;

/// Stages, links and layouts of the node, from the table they are made from
#[derive(clap::Args)]
#[command(after_help = "Example: dolphin topology --role ingest")]
pub struct Args {
    /// One role alone [default: each]
    #[arg(long, value_parser = super::live::parse_role, value_name = "all|ingest|alpha")]
    role: Option<Role>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let roles = args.role.map_or(Role::EACH.to_vec(), |role| vec![role]);
    let text = if args.json {
        let tables: Vec<serde_json::Value> = roles.into_iter().map(table::json).collect();
        serde_json::Value::from(tables).to_string()
    } else {
        let pictures: Vec<String> = roles.into_iter().map(table::picture).collect();
        pictures.join("\n").trim_end().to_owned()
    };
    println!("{text}");
    Ok(())
}
