//! How fast the venue runs without threads and sockets: `cargo run --release -p venue --example polled_speed --
//! [SYMBOLS] [SECONDS]`. Subscribes to depth@100ms, aggTrade and markPrice@1s of all symbols (default: 8) over streams in
//! memory, lets an hour of the venue's time pass and prints how many simulated seconds a second of CPU time buys.

#![allow(clippy::unwrap_used, reason = "the pipe is a helper of tests")]

#[path = "../tests/common/pipe.rs"]
mod pipe;

use std::net::{IpAddr, Ipv4Addr};

use market::Nanos;
use pipe::{ClientEnd, pipe};
use venue::{PolledVenue, Rules, VenueConfig};

/// CPU seconds of this process so far.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let ns: f64 = stat.split_whitespace().next().ok_or("no CPU time in /proc/self/schedstat")?.parse()?;
    Ok(ns / 1e9)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let symbols: usize = args.next().map_or(Ok(8), |a| a.parse())?;
    let seconds: u64 = args.next().map_or(Ok(3600), |a| a.parse())?;
    let start = Nanos::from_millis(1_795_392_000_000);
    // The clients read nothing, pings included.
    let rules = Rules { pong_within: std::time::Duration::MAX, ..Rules::default() };
    let mut venue = PolledVenue::new(VenueConfig { symbols, rules, ..VenueConfig::default() }, start)?;
    let names: Vec<String> =
        venue.inspect(|x| x.listings().iter().map(|l| l.instrument.symbol.to_lowercase()).collect());
    let streams = |kind: &str| names.iter().map(|n| format!("{n}@{kind}")).collect::<Vec<_>>().join("/");
    let public = format!("/public/stream?streams={}", streams("depth@100ms"));
    let market = format!("/market/stream?streams={}/{}", streams("aggTrade"), streams("markPrice@1s"));
    let mut clients: Vec<ClientEnd> = Vec::new();
    for path in [public, market] {
        let (ours, theirs) = pipe();
        theirs.open(&path);
        venue.accept(ours, IpAddr::V4(Ipv4Addr::LOCALHOST), start);
        clients.push(theirs);
    }
    let before = cpu_seconds()?;
    let (mut now, end) = (start, start.plus(seconds * Nanos::SECOND));
    let (mut polls, mut bytes) = (0u64, 0);
    while now < end {
        venue.poll(now);
        polls += 1;
        bytes += clients.iter_mut().map(ClientEnd::discard).sum::<usize>();
        now = venue.next_due(now);
    }
    let cpu = cpu_seconds()? - before;
    let counters = venue.counters();
    assert_eq!(counters.connections, 2, "both connections lived to the end");
    let frames = counters.frames;
    println!(
        "{symbols} symbols, {seconds} s: {cpu:.3} s of CPU, {:.0} simulated seconds per CPU second; {polls} polls, {frames} frames, {} MB, {:.0} ns a frame",
        seconds as f64 / cpu,
        bytes / 1_000_000,
        cpu * 1e9 / frames as f64
    );
    Ok(())
}
