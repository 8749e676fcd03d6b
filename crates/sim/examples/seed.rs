//! One seed, for a first look.
use std::time::Instant;

use sim::run::{Layout, Setup, run};

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (from, to, minutes) = (args[0], args[1], args[2]);
    let layout = if args.get(3) == Some(&4) { Layout::Four } else { Layout::One };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("SIM_LOG"))
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    for seed in from..=to {
        let begun = Instant::now();
        let script = std::env::var("CALM").is_ok().then(Vec::new);
        let setup = Setup { seed, length_ms: minutes * 60_000, symbols: 8, layout, script };
        let report = run(&setup).unwrap();
        let took = begun.elapsed().as_secs_f64();
        println!(
            "seed {seed}: {:.0} s simulated in {took:.2} s ({:.0} x), {} orders, {} fills, {} round trips, {} starts, {} faults, digest {}",
            report.simulated_s,
            report.simulated_s / took,
            report.orders,
            report.fills,
            report.round_trips,
            report.starts,
            report.struck.values().sum::<u64>(),
            &report.digest[..12],
        );
        for v in &report.violations {
            println!("   {v}");
        }
    }
}
