//! `dolphin bench`: throughput and latency, of the parts and of the whole node.

mod compare;
mod html;
mod parts;
mod tick_to_order;

use std::time::Duration;

use bench::floor;
use node::error::Failure;
use node::summary::time;
use runtime::clock::Clock;

use self::parts::Part;

/// Throughput and latency: of the parts, against a named peer in the same run; of the whole node, from the frame to the
/// order
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  dolphin bench decode\n  dolphin bench eigen --json\n  dolphin bench tick-to-order --seconds 20\n  \
                  dolphin bench tick-to-order --wire --rates 1,10 --json > a.json\n  dolphin bench compare a.json b.json\n  \
                  dolphin bench compare --runs 5 ./before ./after -- --wire --seconds 20"
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Depth frames, bytes to book, beside serde_json (borrowed) + BTreeMap
    Decode,
    /// Four eigen windows, beside a full decomposition (faer) of the same matrices
    Eigen,
    /// Order-book features of 48 and 400 symbols, per 100 ms tick
    Features,
    /// The alpha engine, per tick at 10 Hz: without a signal, with a full selection
    Tick,
    /// Bars per second: engine alone, decoding alone, both one after the other and side by side
    Replay,
    /// The journal: ns a record on the hot thread, MB an hour, deciding again × real time
    Journal,
    /// The production node beside a venue on another core: the frame that crosses a boundary → signed order bytes, hop by
    /// hop
    TickToOrder(tick_to_order::Args),
    /// Throughput of the whole path: the highest rate that the node keeps
    Pipeline(tick_to_order::PipelineArgs),
    /// How long a core that only looks at the clock is kept from it
    Jitter {
        /// How long each core is watched
        #[arg(long, default_value_t = 2.0, value_name = "S")]
        seconds: f64,
    },
    /// Two reports of tick-to-order against each other, or two programs run in turn: faster, slower or within noise (exit 1:
    /// slower)
    Compare(compare::Args),
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let json = args.json;
    match args.what {
        What::Decode => parts::run(Part::Decode, json),
        What::Eigen => parts::run(Part::Eigen, json),
        What::Features => parts::run(Part::Features, json),
        What::Tick => parts::run(Part::Tick, json),
        What::Replay => parts::run(Part::Replay, json),
        What::Journal => parts::run(Part::Journal, json),
        What::TickToOrder(args) => tick_to_order::run(&args, json),
        What::Pipeline(args) => tick_to_order::pipeline(&args, json),
        What::Jitter { seconds } => jitter(seconds, json),
        What::Compare(args) => compare::run(&args, json),
    }
}

/// Longest that a core is watched.
const LONGEST: f64 = 3600.0;

fn jitter(seconds: f64, json: bool) -> Result<(), Failure> {
    if !(seconds > 0.0 && seconds <= LONGEST) {
        return Err(Failure::usage(format!("--seconds {seconds}: more than 0, at most {LONGEST}")));
    }
    let clock = Clock::new();
    let machine = tick_to_order::machine(&clock);
    let length = Duration::from_secs_f64(seconds);
    let mut cores = runtime::worker::cores_in_order(None);
    cores.sort_unstable();
    let all: Vec<floor::Jitter> = cores.into_iter().map(|core| floor::jitter(core, length, &clock)).collect();
    if json {
        return super::print_json(&serde_json::json!({ "machine": machine, "cores": all }));
    }
    print!("{}", machine.text());
    println!("two looks at the clock lay so far apart, on a core that did nothing else");
    println!(
        "{:>5}{:>9}{:>9}{:>9}{:>11}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "core", "p50", "p99", "p99.9", "max", "≥ 1 µs", "≥ 10 µs", "≥ 100 µs", "≥ 1 ms", "away"
    );
    for j in &all {
        let [a, b, c, d] = j.longer.map(|(_, n)| n);
        println!(
            "{:>5}{:>9}{:>9}{:>9}{:>11}{a:>9}{b:>9}{c:>9}{d:>9}{:>9}",
            j.core,
            time(j.p50),
            time(j.p99),
            time(j.p999),
            time(j.max),
            format!("{:.2} %", j.away * 100.0)
        );
    }
    Ok(())
}
