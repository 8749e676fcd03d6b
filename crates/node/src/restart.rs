//! How a run begins: the engine as it was, or new; warm; and in agreement with the venue.

use std::collections::BTreeMap;

use alpha::eigen::Scanner;
use alpha::{Booking, Engine, Prices, Safety};
use binance::Symbols;
use binance::clock::ServerClock;
use binance::rest::RestClient;
use market::planted::{Bug, planted};
use market::{Nanos, utc_date};
use runtime::clock::Clock;

use crate::error::Failure;
use crate::memory_link::{Loaded, Numbered, PriceRows, Saved};
use crate::options::Options;
use crate::preflight::rest_error as unavailable;
use crate::recovery::{self, Before, Recovered};

/// What a run begins with.
pub struct Begun {
    /// Warmed.
    pub scanner: Scanner,
    /// Restored or new, warmed, in agreement with the venue.
    pub engine: Engine,
    /// What the venue told.
    pub recovered: Recovered,
}

/// A scanner and an engine without a past but the given history: what a standby keeps warm.
pub fn cold(options: &Options, assets: Vec<String>) -> Result<(Scanner, Engine), Failure> {
    let mut loaded = Loaded::default();
    let mut engine = engine(options, assets, &mut loaded, Nanos(0))?;
    let mut scanner = scanner(options, engine.assets().len())?;
    warm(options, &mut scanner, &mut engine, &mut loaded);
    Ok((scanner, engine))
}

fn scanner(options: &Options, assets: usize) -> Result<Scanner, Failure> {
    let stride = options.config.market.stride() as usize;
    Scanner::new(assets, stride).map_err(|e| Failure::usage(e.to_string()))
}

/// Makes engine and scanner, or goes on with those that were kept warm. What the venue told goes into `loaded` too, for
/// memory.
pub async fn begin(
    options: &Options,
    kept: Option<(Scanner, Engine)>,
    rest: &RestClient,
    symbols: &Symbols,
    server: &ServerClock,
    loaded: &mut Loaded,
    clock: &Clock,
) -> Result<Begun, Failure> {
    let now = server.server_time(Nanos(clock.now_ns()));
    let assets: Vec<String> = symbols.all().iter().map(|i| i.symbol.clone()).collect();
    let (scanner, engine) = match kept {
        Some((scanner, engine)) => (scanner, take_over(options, engine, loaded, now)),
        None => {
            let mut engine = engine(options, assets, loaded, now)?;
            let mut scanner = scanner(options, engine.assets().len())?;
            warm(options, &mut scanner, &mut engine, loaded);
            (scanner, engine)
        }
    };
    let mut engine = engine.with_booking(Booking::Venue);
    ready(options, &mut engine, loaded, now)?;

    let before = Before {
        booked: loaded.saved.as_ref().map(|s| s.booked),
        exit: loaded.saved.as_ref().and_then(|s| s.exit),
    };
    let held = engine.position().map(|p| p.symbol).or(engine.entering().map(|(symbol, _)| symbol));
    let found = recovery::ask(rest, symbols, held, before.booked, now).await.map_err(|e| unavailable(&e))?;
    let policy = options.config.router.unexpected_position;
    let recovered = recovery::book(&mut engine, symbols.all(), &found, before, policy, now);
    say(&recovered, symbols);
    let numbered = |(number, trade): &(u64, _)| Numbered { number: *number, trade: Clone::clone(trade) };
    if !planted(Bug::RecoveredTradesNotWritten) {
        loaded.recovered = recovered.trades.iter().map(numbered).collect();
    }
    loaded.ticks = engine.ticks();
    Ok(Begun { scanner, engine, recovered })
}

/// The standby's engine, with the state of the node before it.
fn take_over(options: &Options, mut engine: Engine, loaded: &mut Loaded, now: Nanos) -> Engine {
    if let Some(saved) = &loaded.saved {
        let away = away(options, saved, now);
        match engine.adopt(&saved.image, away) {
            Ok(lost) => {
                tracing::info!(
                    capital = engine.capital(),
                    trades = engine.trades_closed(),
                    away_ticks = away,
                    "the engine goes on with histories that were kept warm"
                );
                say_lost(lost.as_deref());
                return engine;
            }
            Err(error) => tracing::warn!("the snapshot does not fit, only the capital is taken: {error}"),
        }
    }
    loaded.saved = None;
    if let Some(restored) = &loaded.state {
        engine.set_capital(restored.state.capital);
    }
    engine
}

fn away(options: &Options, saved: &Saved, now: Nanos) -> u64 {
    now.since(saved.at).0 / (options.config.market.tick_ms * Nanos::MS)
}

fn say_lost(symbol: Option<&str>) {
    if let Some(symbol) = symbol {
        tracing::error!(
            "the position of the state is in {symbol}, which is followed no more; close it by hand"
        );
    }
}

fn say(recovered: &Recovered, symbols: &Symbols) {
    for (number, trade) in &recovered.trades {
        tracing::info!("trade {number} was closed unseen: {} {:+.4}", trade.symbol, trade.pnl);
    }
    if let Some(a) = recovered.adopted
        && let Some(i) = symbols.get(a.symbol)
    {
        tracing::info!("{} {} at {} goes on", i.lot.format(a.qty.0), i.symbol, a.avg_px);
    }
}

/// The engine of the state, or a new one with its capital, or a new one.
fn engine(
    options: &Options,
    assets: Vec<String>,
    loaded: &mut Loaded,
    now: Nanos,
) -> Result<Engine, Failure> {
    let (params, stride) = (&options.config.alpha, options.config.market.stride());
    if let Some(saved) = &loaded.saved {
        match resume(options, assets.clone(), saved, loaded.history.as_ref(), now) {
            Ok((engine, with_prices)) => {
                if with_prices == 0 {
                    loaded.history = None;
                }
                return Ok(engine);
            }
            Err(error) => tracing::warn!("the snapshot does not fit, only the capital is taken: {error}"),
        }
    }
    (loaded.saved, loaded.history) = (None, None);
    let mut engine =
        Engine::new(params.clone(), assets, stride).map_err(|e| Failure::usage(e.to_string()))?;
    if let Some(restored) = &loaded.state {
        engine.set_capital(restored.state.capital);
    }
    Ok(engine)
}

fn resume(
    options: &Options,
    assets: Vec<String>,
    saved: &Saved,
    history: Option<&PriceRows>,
    now: Nanos,
) -> Result<(Engine, u64), alpha::SnapshotError> {
    let (params, market) = (&options.config.alpha, &options.config.market);
    let away = away(options, saved, now);
    let prices =
        history.map(|h| Prices { assets: &h.assets, stride: h.stride, first: h.first, rows: &h.rows });
    let resumed = Engine::resume(params.clone(), assets, market.stride(), &saved.image, prices, away)?;
    let other = match (resumed.other_params, resumed.other_assets) {
        (true, true) => "under other parameters, with other assets",
        (true, false) => "under other parameters",
        (false, true) => "with other assets",
        (false, false) => "as it was",
    };
    tracing::info!(
        capital = resumed.engine.capital(),
        trades = resumed.engine.trades_closed(),
        with_prices = resumed.with_prices,
        away_ticks = away,
        "the engine goes on {other}"
    );
    say_lost(resumed.lost.as_deref());
    Ok((resumed.engine, resumed.with_prices))
}

/// Feeds the histories: each bar's prices held for a bar's ticks. An engine that has its prices from memory needs none.
fn warm(options: &Options, scanner: &mut Scanner, engine: &mut Engine, loaded: &mut Loaded) {
    let stride = options.config.market.stride();
    let column: BTreeMap<&str, usize> =
        options.history.symbols.iter().enumerate().map(|(i, s)| (s.as_str(), i)).collect();
    let columns: Vec<Option<usize>> =
        engine.assets().iter().map(|a| column.get(a.as_str()).copied()).collect();
    let cold = loaded.history.is_none();
    let (mut rows, mut prices) = (Vec::new(), vec![f64::NAN; columns.len()]);
    for bar in &options.history.bars {
        for (price, column) in prices.iter_mut().zip(&columns) {
            *price = column.and_then(|c| bar.get(c).copied()).unwrap_or(f64::NAN);
        }
        for _ in 0..stride {
            scanner.step(&prices);
            if cold {
                engine.warm(&prices);
                rows.push(prices.clone());
            }
        }
    }
    let first = engine.ticks().checked_sub(rows.len() as u64);
    if let Some(first) = first.filter(|_| cold && !rows.is_empty()) {
        // Memory keeps what the longest lookback needs.
        let needed = usize::try_from(Engine::history_ticks(engine.params(), stride)).unwrap_or(usize::MAX);
        let spare = rows.len().saturating_sub(needed);
        let rows = rows.split_off(spare);
        let assets = engine.assets().to_vec();
        loaded.history = Some(PriceRows { assets, stride, first: first + spare as u64, rows });
    }
}

/// Limits, forewarner, an open day, and the posture that memory says.
fn ready(options: &Options, engine: &mut Engine, loaded: &Loaded, now: Nanos) -> Result<(), Failure> {
    let config = &options.config;
    engine.breaker_mut().set_limits(config.breaker.limits());
    engine.set_forewarner(options.forewarner.clone());
    let safety = loaded.safety.unwrap_or(Safety::FREE);
    if engine.date().is_none() {
        let begun = engine.begin_day(utc_date(now), safety.posture, safety.rm, config.direction.sign());
        begun.map_err(|e| Failure::usage(e.to_string()))?;
    }
    engine.read_safety(safety);
    engine.measure_rm(1.0);
    Ok(())
}
