//! `dolphin status`: a running node in a few lines.

use std::path::PathBuf;

use node::config::Config;
use node::error::Failure;
use telemetry::client::Client;
use telemetry::line;
use telemetry::state::State;

/// A running node: armed or why not, money, positions, data, latency
#[derive(clap::Args)]
#[command(
    after_help = "Example: dolphin status --at http://127.0.0.1:9464\n\nExit codes: 0 told, 1 with --check and not armed, \
4 nobody answers there."
)]
pub struct Args {
    #[command(flatten)]
    at: At,
    /// Print the whole state as one JSON object
    #[arg(long)]
    json: bool,
    /// Exit 1 unless the node is armed
    #[arg(long)]
    check: bool,
}

/// Which node is asked.
#[derive(clap::Args, Clone)]
pub struct At {
    /// Where the node listens [default: the configuration's telemetry.listen, else http://127.0.0.1:9464]
    #[arg(long, value_name = "URL")]
    at: Option<String>,
    /// Configuration of the node
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File with the token, where the node wants one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with the certificate that the node's TLS is checked by
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl At {
    /// A client for it.
    pub fn client(&self) -> Result<Client, Failure> {
        let section = match &self.config {
            Some(path) => Config::load(path)?.telemetry,
            None => node::config::TelemetrySection::default(),
        };
        let scheme = if section.tls_cert.is_some() { "https" } else { "http" };
        let base = self.at.clone().unwrap_or_else(|| format!("{scheme}://{}", section.listen));
        let token = self.token_file.as_ref().or(section.token_file.as_ref());
        let token = token.map(|path| telemetry::notify::secret(path)).transpose().map_err(Failure::usage)?;
        Client::new(&base, token, self.ca.as_deref()).map_err(Failure::usage)
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let client = args.at.client()?;
    let runtime = runtime()?;
    let state = runtime.block_on(client.state()).map_err(Failure::unavailable)?;
    if args.json {
        super::print_json(&state)?;
    } else {
        print!("{}", text(&state));
    }
    if args.check && !state.armed {
        return Err(Failure::answer_no(line::armed(&state)));
    }
    Ok(())
}

/// A small runtime for a client.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start a runtime: {e}")))
}

/// The status line, and a line for each closed gate.
fn text(s: &State) -> String {
    let mut out = format!("{}\n", line::line(s));
    for gate in &s.gates {
        let about = match gate.symbols.as_slice() {
            [] => String::new(),
            some => format!(" ({})", some.join(", ")),
        };
        out += &format!("  {}{about}\n", line::gate(gate, s.at_ms));
    }
    out
}
