//! Connections to the venue by the configuration; none is opened here.

use std::sync::Arc;

use binance::Symbols;
use binance::feed::{Feed, FeedConfig, Patience, Route as StreamRoute, StreamKind};
use binance::hosts::{Endpoint, Hosts};
use binance::net::{ConnConfig, WsConn};
use market::Nanos;

use crate::config::Config;
use crate::environment::Environment;
use crate::error::Failure;
use crate::stages::feed::Route;

/// A URL of a WebSocket, read.
pub fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    Endpoint::parse(url).map_err(|e| Failure::usage(e.to_string()))
}

/// A connection to a host, `/` where the URL has no path; not opened yet.
pub fn connection(config: &Config, url: &str, environment: &Environment) -> Result<WsConn, Failure> {
    let mut endpoint = endpoint(url)?;
    if endpoint.path.is_empty() {
        "/".clone_into(&mut endpoint.path);
    }
    let config = conn_config(config);
    Ok(WsConn::new(endpoint, Arc::clone(&environment.dialer), config, environment.entropy.next_u64()))
}

fn conn_config(config: &Config) -> ConnConfig {
    ConnConfig { max_age: config.market.max_connection_age_s * Nanos::SECOND, ..ConnConfig::default() }
}

/// Market frames taken before the books get their turn. The venue sends the frames of all symbols in one burst, and its first
/// is the one that makes a tick due: it must not wait for the rest to be unpacked.
const FRAMES_AT_ONCE: u32 = 8;

/// The connection of a feed. One that is replaced is read until its successor has asked for all its streams, and a little
/// longer.
fn feed_connection(config: &Config, feed: &Feed, environment: &Environment) -> Result<WsConn, Failure> {
    let usual = conn_config(config);
    let drain = usual.drain + feed.asking_time();
    let config = ConnConfig { drain, frames_per_poll: FRAMES_AT_ONCE, ..usual };
    let (dialer, seed) = (Arc::clone(&environment.dialer), environment.entropy.next_u64());
    Ok(WsConn::new(endpoint(feed.url())?, dialer, config, seed))
}

/// A connection to a whole URL, not opened yet.
pub fn dial(url: &str, environment: &Environment) -> Result<WsConn, Failure> {
    let (dialer, seed) = (Arc::clone(&environment.dialer), environment.entropy.next_u64());
    Ok(WsConn::new(endpoint(url)?, dialer, ConnConfig::default(), seed))
}

/// Routes and what they carry, one for one.
type Routes = (Vec<Route>, Vec<Feed>);

/// Books on `/public`, trades and mark prices on `/market`, each over as many connections as it takes. Orders peg to
/// `bookTicker`, which tells of a move up to 100 ms before depth does.
pub fn routes(
    config: &Config,
    hosts: &Hosts,
    symbols: &Symbols,
    environment: &Environment,
) -> Result<Routes, Failure> {
    of_kinds(config, hosts, (symbols, &StreamKind::ALL), environment)
}

/// For a node without orders: what books and features are made of.
pub fn ingest_routes(
    config: &Config,
    hosts: &Hosts,
    symbols: &Symbols,
    environment: &Environment,
) -> Result<Routes, Failure> {
    let kinds = [StreamKind::Depth, StreamKind::AggTrade, StreamKind::MarkPrice];
    of_kinds(config, hosts, (symbols, &kinds), environment)
}

/// What each connection carries, in the order of the connections.
pub fn feeds(
    config: &Config,
    (symbols, kinds): (&Symbols, &[StreamKind]),
    urls: (&str, &str),
) -> Result<Vec<Feed>, Failure> {
    Feed::plan(symbols, kinds, feed_config(config), urls).map_err(|e| Failure::usage(e.to_string()))
}

fn of_kinds(
    config: &Config,
    hosts: &Hosts,
    (symbols, kinds): (&Symbols, &[StreamKind]),
    environment: &Environment,
) -> Result<Routes, Failure> {
    let feeds = feeds(config, (symbols, kinds), (&hosts.public, &hosts.market))?;
    let mut counts = [0usize; 2];
    let mut routes = Vec::new();
    for feed in &feeds {
        let (name, place) = match feed.route() {
            StreamRoute::Public => ("public", 0),
            StreamRoute::Market => ("market", 1),
        };
        counts[place] += 1;
        let name = if counts[place] == 1 { name.to_owned() } else { format!("{name}-{}", counts[place]) };
        let conn = feed_connection(config, feed, environment)?;
        routes.push(Route { name, url: feed.url().to_owned(), conn, heard_at: 0 });
    }
    Ok((routes, feeds))
}

fn feed_config(config: &Config) -> FeedConfig {
    let m = &config.market;
    let mut feed = FeedConfig { data_age: Nanos::from_millis(m.max_data_age_ms).0, ..FeedConfig::default() };
    // Told only when the touch moves: a quiet symbol may be silent as long as its trades.
    feed.patience[StreamKind::BookTicker as usize] = feed.patience[StreamKind::AggTrade as usize];
    for kind in [StreamKind::Depth, StreamKind::MarkPrice] {
        feed.patience[kind as usize] = Patience {
            first_data: Nanos::from_millis(m.first_data_ms).0,
            stale_after: Nanos::from_millis(m.stream_silent_ms).0,
        };
    }
    feed
}
