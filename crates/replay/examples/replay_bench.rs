//! Prints the figures of `replay::bench` as JSON: `cargo run --release -p replay --example replay_bench [days] [rounds]`.

fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse().expect("a number"));
    let (days, rounds) = (args.next().unwrap_or(20), args.next().unwrap_or(15));
    let figures = replay::bench::bench(days, rounds).expect("generated days are sound");
    println!("{}", serde_json::to_string_pretty(&figures).expect("plain numbers"));
}
