//! What must hold before the first order, asked of the configuration, the machine and the venue. `dolphin check` tells
//! all of it; a start of the node refuses where something fails.

use std::fmt;

use binance::clock::ServerClock;
use binance::errors::Action;
use binance::hosts::HostError;
use binance::rest::{AccountSummary, ExchangeInfo, RestClient, RestError};
use market::{Instrument, InstrumentStatus, Nanos};
use serde::Serialize;

use crate::config::Config;
use crate::error::Failure;

/// The asset that positions, profit and fees are counted in.
pub const QUOTE: &str = "USDT";

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Trading is possible; somebody should look.
    Warn,
    /// A node would not start, or would not trade.
    Fail,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found; for a warning or failure also what to do.
    pub text: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, text: text.into() }
    }
    /// Somebody should look.
    pub fn warn(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, text: text.into() }
    }
    /// It must not stay so.
    pub fn fail(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, text: text.into() }
    }

    /// A failure ends a start: it is in the operator's hands, so exit 2.
    pub fn into_result(self) -> Result<(), Failure> {
        match self.verdict {
            Verdict::Fail => Err(Failure::usage(self.text)),
            Verdict::Warn => {
                tracing::warn!("{}", self.text);
                Ok(())
            }
            Verdict::Ok => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        write!(f, "{verdict:<5} {:<12} {}", self.check, self.text)
    }
}

/// A length of time as people say it.
fn length(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..10 => format!("{ms} ms"),
        10..120 => format!("{s} s"),
        120..7200 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

/// Our clock against the venue's.
pub fn clock(server: &ServerClock, limit_ms: u64) -> Finding {
    let (offset, bound) = (server.offset(), server.error_bound().unwrap_or(0));
    let ms = offset.unsigned_abs() / Nanos::MS;
    let side = if offset > 0 { "behind" } else { "ahead of" };
    let text = format!("this machine's clock is {} {side} the venue's", length(ms));
    if ms > limit_ms {
        let todo = "set it (timedatectl set-ntp true); nothing is opened before";
        return Finding::fail(
            "clock",
            format!("{text}, more than router.risk.max_clock_offset_ms ({limit_ms} ms): {todo}"),
        );
    }
    Finding::ok("clock", format!("{text} (± {:.1} ms)", bound as f64 / Nanos::MS as f64))
}

/// The account's position mode.
pub fn position_mode(dual_side: bool) -> Finding {
    if dual_side {
        return Finding::fail(
            "mode",
            "the account is in hedge mode, this program trades in one-way mode: close all positions and orders, switch \
             to one-way mode (venue's preferences, or POST /fapi/v1/positionSide/dual dualSidePosition=false), then \
             start again",
        );
    }
    Finding::ok("mode", "one-way")
}

/// Is there margin for at least the smallest order, and for the sizes that the configuration will choose?
pub fn margin(account: &AccountSummary, config: &Config, instruments: &[Instrument]) -> Finding {
    let (available, wallet) = (account.available.to_f64(), account.wallet.to_f64());
    let p = &config.alpha;
    let least = instruments.iter().map(|i| i.min_notional.to_f64()).fold(f64::INFINITY, f64::min);
    let least = if least.is_finite() { least / p.abs_max_leverage } else { 0.0 };
    if wallet <= 0.0 || wallet < least {
        return Finding::fail(
            "margin",
            format!(
                "insufficient margin: {wallet:.2} {QUOTE} in the wallet, the smallest order needs {least:.2}: transfer \
                 {QUOTE} to the futures wallet (testnet: demo.binance.com hands some out)"
            ),
        );
    }
    if available < least {
        // Not a failure: a restart with an open position must be able to close it.
        return Finding::warn(
            "margin",
            format!(
                "all margin is in use: {available:.2} {QUOTE} available of {wallet:.2}; entries will be refused"
            ),
        );
    }
    if wallet < p.initial_capital {
        return Finding::warn(
            "margin",
            format!(
                "{wallet:.2} {QUOTE} in the wallet, but sizes are reckoned from alpha.initial_capital {}: entries may be \
                 refused for lack of margin (-2019)",
                p.initial_capital
            ),
        );
    }
    Finding::ok("margin", format!("{available:.2} {QUOTE} available of {wallet:.2}"))
}

/// The symbols to follow: the configured ones, else the venue's first `max_symbols` perpetuals, reference first.
pub async fn symbols(config: &Config, rest: &RestClient) -> Result<Vec<String>, RestError> {
    let market = &config.market;
    let mut wanted = market.symbols.clone();
    if wanted.is_empty() {
        wanted = rest.perpetuals(QUOTE).await?;
        let reference = &config.alpha.reference_symbol;
        // The engine cannot do without the reference.
        wanted.sort_by_key(|s| s != reference);
        wanted.truncate(market.max_symbols);
    }
    if wanted.is_empty() {
        let why = format!("no {QUOTE} perpetual that trades is listed");
        return Err(RestError::Answer { endpoint: "GET /fapi/v1/exchangeInfo", why });
    }
    Ok(wanted)
}

/// The venue's word on these symbols.
pub async fn named(rest: &RestClient, symbols: &[String]) -> Result<ExchangeInfo, RestError> {
    let names: Vec<&str> = symbols.iter().map(String::as_str).collect();
    rest.exchange_info(&names).await
}

/// The instruments of [`symbols`], and of `held`, in which a position is held.
pub async fn instruments(
    config: &Config,
    rest: &RestClient,
    held: Option<&String>,
) -> Result<ExchangeInfo, RestError> {
    let mut wanted = symbols(config, rest).await?;
    if let Some(held) = held.filter(|h| !wanted.contains(h)) {
        tracing::warn!("{held} is not among the symbols, but a position in it is held: it is followed too");
        wanted.push(held.clone());
    }
    named(rest, &wanted).await
}

/// Those that do not trade now.
pub fn halted(instruments: &[Instrument]) -> Vec<&str> {
    let halted = instruments.iter().filter(|i| i.status != InstrumentStatus::Trading);
    halted.map(|i| i.symbol.as_str()).collect()
}

/// Exit 2 where configuration, key or account is at fault; exit 4 for what the venue or the way to it did not do.
pub fn rest_error(error: &RestError) -> Failure {
    let text = error.to_string();
    let ours = match error {
        RestError::Host(HostError::Unresolved { .. }) => false,
        RestError::NoKey(_) | RestError::Host(_) | RestError::Instruments(_) => true,
        RestError::Venue { rule, code, .. } => *code != 0 && rule.action == Action::HaltTrading,
        _ => false,
    };
    if ours { Failure::usage(text) } else { Failure::unavailable(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use market::Amount;

    #[test]
    fn a_clock_is_told_by_how_much_it_is_off() {
        let mut server = ServerClock::new();
        let now = Nanos(10 * 3600 * Nanos::SECOND);
        server.sample(now, now, now.millis() + 7_505_000);
        let finding = clock(&server, 1_250);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.text.contains("2 h 5 min behind") && finding.text.contains("set it"), "{finding}");
        let mut server = ServerClock::new();
        server.sample(now, now, now.millis() - 200);
        let finding = clock(&server, 1_250);
        assert_eq!(finding.verdict, Verdict::Ok);
        assert!(finding.text.contains("ahead"), "{finding}");
    }

    #[test]
    fn margin_is_asked_for_the_smallest_order_and_for_the_capital() {
        let tick = market::Increment::decimals(2);
        let mut i = Instrument::plain(market::SymbolId(0), "BTCUSDT", tick, tick);
        i.min_notional = Amount(100 * Amount::ONE);
        let config = Config::default();
        let account = |usdt: i64| AccountSummary {
            wallet: Amount(usdt * Amount::ONE),
            available: Amount(usdt * Amount::ONE),
            ..AccountSummary::default()
        };
        let verdict = |usdt| margin(&account(usdt), &config, std::slice::from_ref(&i)).verdict;
        assert_eq!(
            [verdict(0), verdict(10), verdict(1_000), verdict(100_000)],
            [Verdict::Fail, Verdict::Fail, Verdict::Warn, Verdict::Ok]
        );
    }
}
