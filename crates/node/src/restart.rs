//! How a run begins: the engine as it was, or new; warm; and in agreement with the venue.

use std::collections::BTreeMap;
use std::time::Duration;

use alpha::eigen::{Scanner, WINDOWS};
use alpha::{Booking, Engine, Prices, Safety, SafetyWord};
use binance::Symbols;
use binance::clock::ServerClock;
use binance::errors::Action;
use binance::rest::{RestClient, RestError};
use market::planted::{Bug, planted};
use market::text::{counted, rough};
use market::{Nanos, utc_date};

use crate::config::Signal;
use crate::day::KeptDay;
use crate::error::Failure;
use crate::memory_link::{Loaded, Numbered, PriceRows, Saved};
use crate::options::Options;
use crate::preflight::rest_error as unavailable;
use crate::recovery::settle::{settle, settle_entry};
use crate::recovery::{self, Before, Believed, Recovered, Sending, WITHOUT_STATE};

/// What a run begins with.
pub struct Begun {
    /// Warmed.
    pub scanner: Scanner,
    /// Restored or new, warmed, in agreement with the venue.
    pub engine: Engine,
    /// What the venue told.
    pub recovered: Recovered,
    /// The router's day as the run before left it.
    pub day: KeptDay,
    /// The bars that the scanner was warmed with, where the journal is to keep them.
    pub bars: Vec<Vec<f64>>,
    /// Up to when the engine is: venue time.
    pub at: Nanos,
}

/// A scanner and an engine without a past but the given history: what a standby keeps warm.
pub fn cold(options: &Options, assets: Vec<String>) -> Result<(Scanner, Engine), Failure> {
    let mut loaded = Loaded::default();
    let mut engine = engine(options, assets, &mut loaded, Nanos(0))?;
    let mut scanner = scanner(options, engine.assets().len())?;
    warm(options, &mut scanner, &mut engine, &mut loaded, 0);
    Ok((scanner, engine))
}

/// How far the scanner is, and what makes it warm sooner.
fn tell_warmth(options: &Options, scanner: &Scanner, seen: u64) {
    let whole = (scanner.warmup_ticks() as u64).div_ceil(u64::from(options.config.market.stride().max(1)));
    let needed = alpha::eigen::SIGNAL_BARS as u64;
    let bar = options.config.market.bar_ms;
    if options.config.signal != Signal::Scanner || seen >= whole {
        tracing::info!("the scanner is warm: {}", counted(seen, "bar"));
    } else if seen < needed {
        tracing::info!(
            "warm-up: {seen} of {needed} bars; no entry for about {}. --warm-start DIR takes the prices from day files \
             of the same symbols; a node that ran until a moment ago goes on from what it kept",
            rough((needed - seen) * bar)
        );
    } else {
        tracing::info!(
            "the signal is warm; the slowest window is full in about {}",
            rough((whole - seen) * bar)
        );
    }
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
    sending: &Sending,
) -> Result<Begun, Failure> {
    let now = server.server_time(Nanos(sending.clock.now_ns()));
    // Also where the engine's snapshot does not fit: a limit is a limit.
    let day = loaded.saved.as_ref().map_or_else(KeptDay::default, Saved::kept_day);
    let assets: Vec<String> = symbols.all().iter().map(|i| i.symbol.clone()).collect();
    let (scanner, engine, bars) = match kept {
        Some((scanner, engine)) => {
            loaded.bars = None;
            (scanner, take_over(options, engine, loaded, now), Vec::new())
        }
        None => {
            prefer_the_longer(options, loaded);
            let away = loaded.saved.as_ref().map_or(u64::MAX, |saved| away(options, saved, now));
            let mut engine = engine(options, assets, loaded, now)?;
            let mut scanner = scanner(options, engine.assets().len())?;
            let bars = warm(options, &mut scanner, &mut engine, loaded, away);
            tell_warmth(options, &scanner, bars.len() as u64);
            (scanner, engine, bars)
        }
    };
    let mut engine = engine.with_booking(Booking::Venue);
    ready(options, &mut engine, loaded, now)?;

    let before = Before {
        booked: loaded.saved.as_ref().map(|s| s.booked),
        exit: loaded.saved.as_ref().and_then(|s| s.exit),
    };
    let believed = Believed {
        position: engine
            .position()
            .map(|p| (p.symbol, p.direction, p.entry_price, p.notional / p.entry_price)),
        entering: engine.entering().map(|(symbol, _)| symbol),
        at: loaded.saved.as_ref().map_or(Nanos(0), |saved| saved.at),
    };
    let ask = || recovery::ask(rest, symbols, believed, before.booked, now, sending);
    let found = while_holding(believed.position.is_some(), "what happened meanwhile", ask).await?;
    if let Some(saved) = loaded.saved.as_mut().filter(|saved| !saved.unsettled.is_empty()) {
        let tick = (Nanos::from_millis(options.config.market.tick_ms).0, now);
        let settle = async || settle(rest, symbols, (&mut engine, &mut *saved), &found, tick).await;
        while_holding(believed.position.is_some(), "what trades came to", settle).await?;
    }
    if let Some(saved) = loaded.saved.as_ref().filter(|saved| saved.entry_unsettled) {
        let span = (saved.booked.max(Nanos(now.0.saturating_sub(WITHOUT_STATE))), now);
        let settle = async || settle_entry(rest, symbols, &mut engine, &found, span).await;
        while_holding(believed.position.is_some(), "what the entry came to", settle).await?;
    }
    let policy = options.config.router.unexpected_position;
    let recovered = recovery::book(&mut engine, symbols.all(), &found, before, policy, now);
    say(&recovered, symbols);
    let numbered = |(number, trade): &(u64, _)| Numbered { number: *number, trade: Clone::clone(trade) };
    if !planted(Bug::RecoveredTradesNotWritten) {
        loaded.recovered = recovered.trades.iter().map(numbered).collect();
    }
    loaded.ticks = engine.ticks();
    Ok(Begun { scanner, engine, recovered, day, bars, at: now })
}

/// First pause between two attempts, and the longest.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_MOST: Duration = Duration::from_secs(10);

/// Tries until it works, where a position waits to be looked after: whoever holds one never gives up.
pub async fn while_holding<T>(
    holds: bool,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, RestError>,
) -> Result<T, Failure> {
    let mut pause = AGAIN;
    loop {
        match attempt().await {
            // No patience mends a wrong key, and behind the fence somebody else looks after it.
            Err(error)
                if holds
                    && !matches!(error.action(), Action::HaltTrading)
                    && !matches!(error, RestError::TooLate) =>
            {
                tracing::error!("{what}: {error}; a position is open, so it is tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AGAIN_MOST);
            }
            other => return other.map_err(|e| unavailable(&e)),
        }
    }
}

/// Prices that memory has kept give way to a file that reaches further back, where the engine wants more than they have.
fn prefer_the_longer(options: &Options, loaded: &mut Loaded) {
    let stride = options.config.market.stride();
    let of_file = options.history.bars.len() as u64 * u64::from(stride);
    let needed = Engine::history_ticks(&options.config.alpha, stride);
    let Some(kept) = loaded.history.as_ref().map(|kept| kept.rows.len() as u64) else { return };
    if kept < needed && kept < of_file {
        tracing::info!(
            "memory has kept {kept} ticks of prices, the file to warm with has {of_file}: it is used"
        );
        loaded.history = None;
    }
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

/// Feeds the histories: each bar's prices held for a bar's ticks. First the file's, then what memory has kept for the
/// scanner, if that is fresh (`away`: ticks since). An engine that has its prices from memory needs none; its ranks are of what
/// the scanner says of these bars. Returns the bars that the scanner has seen.
fn warm(
    options: &Options,
    scanner: &mut Scanner,
    engine: &mut Engine,
    loaded: &mut Loaded,
    away: u64,
) -> Vec<Vec<f64>> {
    let stride = options.config.market.stride();
    let column: BTreeMap<&str, usize> =
        options.history.symbols.iter().enumerate().map(|(i, s)| (s.as_str(), i)).collect();
    let columns: Vec<Option<usize>> =
        engine.assets().iter().map(|a| column.get(a.as_str()).copied()).collect();
    let cold = loaded.history.is_none();
    let (mut rows, mut bars, mut prices) = (Vec::new(), Vec::new(), vec![f64::NAN; columns.len()]);
    for bar in &options.history.bars {
        for (price, column) in prices.iter_mut().zip(&columns) {
            *price = column.and_then(|c| bar.get(c).copied()).unwrap_or(f64::NAN);
        }
        for _ in (0..stride).filter(|_| cold) {
            engine.warm(&prices);
            rows.push(prices.clone());
        }
        bars.push(prices.clone());
    }
    let first = engine.ticks().checked_sub(rows.len() as u64);
    let assets = engine.assets().to_vec();
    if let Some(first) = first.filter(|_| cold && !rows.is_empty()) {
        // Memory keeps what the longest lookback needs.
        let needed = usize::try_from(Engine::history_ticks(engine.params(), stride)).unwrap_or(usize::MAX);
        let spare = rows.len().saturating_sub(needed);
        let rows = rows.split_off(spare);
        loaded.history =
            Some(PriceRows { assets: assets.clone(), stride, first: first + spare as u64, rows });
    }
    let gap = away.div_ceil(u64::from(stride.max(1)));
    let fits = |kept: &PriceRows| kept.assets == assets && kept.stride == stride && gap <= GAP_BARS;
    let kept = loaded.bars.take().filter(fits).map_or_else(Vec::new, |kept| kept.rows);
    let repeated = kept.last().into_iter().flat_map(|last| std::iter::repeat_n(last, gap as usize));
    bars.extend(kept.iter().chain(repeated).cloned());
    let own = options.config.signal == Signal::Scanner;
    scanner.warm_bars(bars.iter().map(Vec::as_slice), |scan| {
        (0..stride).filter(|_| own).for_each(|_| engine.warm_rank(scan.instability_50, scan.velocity[3]));
    });
    let seen = bars.len() as u64;
    let newest = engine.ticks() / u64::from(stride.max(1));
    if let Some(first) = newest.checked_sub(seen).filter(|_| !bars.is_empty()) {
        loaded.bars = Some(PriceRows { assets, stride, first, rows: bars.clone() });
    }
    bars
}

/// Kept prices that are older than this, bars, do not warm the scanner: the bars between would be flat, and the one after
/// them a jump. A tenth of the shortest window.
const GAP_BARS: u64 = WINDOWS[0] as u64 / 10;

/// Limits, forewarner, an open day, and the posture that memory says.
fn ready(options: &Options, engine: &mut Engine, loaded: &Loaded, now: Nanos) -> Result<(), Failure> {
    let config = &options.config;
    engine.breaker_mut().set_limits(config.breaker.limits());
    engine.set_forewarner(options.forewarner.clone());
    let word = loaded.safety.unwrap_or(SafetyWord::Says(Safety::FREE));
    if engine.date().is_none() {
        // What it says is read below.
        let safety = Safety::FREE;
        let begun = engine.begin_day(utc_date(now), safety.posture, safety.rm, config.direction.sign());
        begun.map_err(|e| Failure::usage(e.to_string()))?;
    }
    engine.read_safety(word);
    engine.measure_rm(1.0);
    Ok(())
}
