//! The commands: thin wrappers that parse, call the crate that does the work, and print.

pub mod bench;
mod bench_journal;
pub mod check;
pub mod config;
pub mod demo;
pub mod eigen;
pub mod features;
pub mod journal;
pub mod kill;
pub mod live;
pub mod memory;
pub mod notify;
pub mod operator;
pub mod parity;
pub mod rearm;
pub mod record;
pub mod redecide;
pub mod replay;
pub mod report;
pub mod sim;
pub mod status;
pub mod supervise;
pub mod top;
pub mod topology;
pub mod venue;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ::replay::ReplayError;
use ::venue::VenueError;
use alpha::Forewarner;
use archive::day::{self, AssetColumns, Day, Wanted};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use node::config::{Config, TelemetrySection};
use node::error::Failure;
use node::live::History;
use telemetry::published::Published;
use telemetry::server::Server;

/// Serves what the node publishes, by the configuration. Says where.
fn serve(config: &Config) -> Result<(Arc<Published>, Server), Failure> {
    let published = Arc::new(Published::default());
    let section = &config.telemetry;
    let variable = |name: &str| std::env::var_os(name).map(std::path::PathBuf::from);
    let pages = node::memory_link::state_directory(variable).map(|directory| directory.join("pages"));
    let start = |section| telemetry::server::start(section, Arc::clone(&published), pages.as_deref());
    let server = match start(section) {
        Ok(server) => server,
        // Nobody asked for this port: that another node has it is no reason not to trade.
        Err(why) if section.listen == TelemetrySection::default().listen && why.contains("cannot listen") => {
            tracing::warn!("{why}; this node serves neither dashboard nor metrics");
            let off = TelemetrySection { listen: "off".to_owned(), ..section.clone() };
            start(&off).map_err(Failure::usage)?
        }
        Err(why) => return Err(Failure::usage(why)),
    };
    if let Some(address) = server.address() {
        let scheme = if section.tls_cert.is_some() { "https" } else { "http" };
        let what = if section.dashboard { "dashboard and metrics" } else { "metrics" };
        eprintln!("{what} on {scheme}://{address}");
    }
    Ok((published, server))
}

/// Prints a summary.
fn tell(json: bool, summary: &node::summary::Summary) -> Result<(), Failure> {
    if json {
        return print_json(summary);
    }
    print!("{}", summary.text());
    Ok(())
}

/// Writes the session's files, where they were asked for, and names them.
fn leave(
    out: Option<&Path>,
    staging: Option<::replay::output::Staging>,
    config: &Config,
    summary: &node::summary::Summary,
) -> Result<(), Failure> {
    let (Some(out), Some(staging)) = (out, staging) else { return Ok(()) };
    if let Some(replaced) = crate::session::write(staging, config, summary, summary.symbols)? {
        tracing::warn!("{replaced}");
    }
    eprintln!("session report: {}", out.join("report.html").display());
    Ok(())
}

/// A flag that SIGINT and SIGTERM set; a second signal ends the program at once.
fn on_signal() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let refused = |e: std::io::Error| Failure::usage(format!("cannot listen for signals: {e}"));
    for signal in [SIGINT, SIGTERM] {
        // Armed only once the flag is set, so the order of the two matters.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag)).map_err(refused)?;
        signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(refused)?;
    }
    Ok(flag)
}

/// A flag that SIGINT, SIGTERM and SIGHUP (the terminal has gone) set, again and again: whoever ends takes each as one more
/// word. None of them ends the program by itself, because something of ours may work at the venue.
fn on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // `nohup` has a meaning.
        if signal == SIGHUP && ignores_hangup() {
            continue;
        }
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .map_err(|e| Failure::usage(format!("cannot listen for signals: {e}")))?;
    }
    Ok(flag)
}

/// Was this program started so that it ignores SIGHUP?
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|e| Failure::input(format!("cannot write JSON: {e}")))?;
    println!("{text}");
    Ok(())
}

/// A file of results is not put in the place of another, unless `--force` says so.
fn refuse_existing(path: &Path, force: bool) -> Result<(), Failure> {
    if !force && path.exists() {
        return Err(Failure::usage(format!(
            "{}: is there already: name another file, or say --force to replace it",
            path.display()
        )));
    }
    Ok(())
}

/// Exit 3 for a recording that cannot be played, 2 for the rest.
fn venue_error(error: &VenueError) -> Failure {
    match error {
        VenueError::Recording { .. } => Failure::input(error.to_string()),
        VenueError::Listen { .. } | VenueError::Thread(_) => Failure::unavailable(error.to_string()),
        VenueError::Config(_) | VenueError::Certificate(_) => Failure::usage(error.to_string()),
    }
}

/// The forewarner that the configuration names: never a reason not to trade (SPEC §4.3).
fn forewarner(config: &Config) -> Option<Forewarner> {
    let dir = config.alpha.mc_models_dir.as_ref()?;
    ::replay::days::forewarner(Path::new(dir))
        .inspect_err(|why| tracing::warn!("forewarner DISABLED: {why}"))
        .ok()
}

/// Prices of day files, in date order: one row a bar, the symbols of the quote of `reference`.
fn read_history(path: &Path, reference: &str) -> Result<History, Failure> {
    let bad = |e: &dyn std::fmt::Display| Failure::input(e.to_string());
    let wanted = Wanted { assets: AssetColumns::of_reference(reference), ..Wanted::default() };
    let list = day::list(path, &wanted).map_err(|e| bad(&e))?;
    let mut history = History::default();
    for source in &list.days {
        let mut day = Day::default();
        source.load().and_then(|loaded| loaded.decode_into(&mut day)).map_err(|e| bad(&e))?;
        if history.symbols.is_empty() {
            history.symbols.clone_from(&day.assets);
        } else if history.symbols != day.assets {
            return Err(Failure::input(format!("{}: the days do not have the same assets", path.display())));
        }
        history.bars.extend((0..day.len()).map(|bar| day.row(bar).to_vec()));
    }
    Ok(history)
}

/// The exit code of a replay error: 2 for options and targets, 3 for data, 4 for a full disk, 1 for Ctrl-C.
pub fn replay_error(error: &ReplayError) -> Failure {
    match error {
        ReplayError::Interrupted => Failure::answer_no(error.to_string()),
        e => Failure::because(e, if e.is_usage() { 2 } else { 3 }),
    }
}
