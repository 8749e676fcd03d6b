//! The venue alone, for trying clients against it: `cargo run -p venue --example venue -- [--listen ADDR]
//! [--symbols N] [--seed N] [--hedge] [--recording FILE]… [--speed X]`. One account: key `K`, secret `S`. Prints its
//! address and runs until its standard input ends.

use std::io::Read;

use venue::{Venue, VenueConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = VenueConfig::default();
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        if name == "--hedge" {
            config.hedge_mode = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
        match name.as_str() {
            "--listen" => config.listen = value.parse()?,
            "--symbols" => config.symbols = value.parse()?,
            "--seed" => config.seed = value.parse()?,
            "--speed" => config.speed = value.parse()?,
            "--recording" => config.recordings.push(value.into()),
            _ => return Err(format!("no option {name}").into()),
        }
    }
    let venue = Venue::start(config)?;
    println!("{}", venue.addr());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    venue.stop();
    Ok(())
}
