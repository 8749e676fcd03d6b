//! The circuit breaker's limits as the file says them (SPEC §4.4): on, unless a limit is set to 0.
//!
//! The engine's own type has no limits by default, because replay must equal the champion.

use alpha::breaker::BreakerLimits;
use serde::{Deserialize, Serialize};

/// What trips the circuit breaker of a live node until the date changes; an exit is never blocked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Realised loss of the day, as a fraction of the capital at its start; 0 = off.
    #[schemars(range(min = 0, max = 0.5))]
    pub max_daily_loss: f64,
    /// Losing trades in a row; 0 = off. The champion loses every second one: twelve in a row come by chance once in 4096.
    #[schemars(range(min = 0, max = 1000))]
    pub max_consecutive_losses: u32,
    /// Share of the day's orders that the venue refused; 0 = off.
    #[schemars(range(min = 0, max = 0.99))]
    pub max_reject_rate: f64,
    /// Orders of the day before the share of refusals counts.
    #[schemars(range(min = 1, max = 100000))]
    pub min_orders: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { max_daily_loss: 0.08, max_consecutive_losses: 12, max_reject_rate: 0.5, min_orders: 20 }
    }
}

impl BreakerConfig {
    /// For the engine.
    pub fn limits(&self) -> BreakerLimits {
        let on = |x: f64| (x > 0.0).then_some(x);
        BreakerLimits {
            max_daily_loss: on(self.max_daily_loss),
            max_consecutive_losses: Some(self.max_consecutive_losses).filter(|n| *n > 0),
            max_reject_rate: on(self.max_reject_rate),
            min_orders: self.min_orders,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn limits_are_on_unless_they_are_set_to_nothing() {
        let limits = |text: &str| Config::parse(text).unwrap().breaker.limits();
        let on = limits("direction: short");
        assert!(
            on.max_daily_loss.is_some()
                && on.max_consecutive_losses.is_some()
                && on.max_reject_rate.is_some()
        );
        let one = limits("breaker: {max_daily_loss: 0.02}");
        assert_eq!(one, alpha::breaker::BreakerLimits { max_daily_loss: Some(0.02), ..on });
        let off = limits("breaker: {max_daily_loss: 0, max_consecutive_losses: 0, max_reject_rate: 0}");
        assert_eq!((off.max_daily_loss, off.max_consecutive_losses, off.max_reject_rate), (None, None, None));
    }

    #[test]
    fn limits_that_cannot_be_meant_are_refused() {
        for bad in [
            "max_daily_loss: 0.6",
            "max_daily_loss: -0.1",
            "max_daily_loss: .nan",
            "max_reject_rate: 1",
            "max_reject_rate: .inf",
            "max_consecutive_losses: 1001",
            "min_orders: 0",
        ] {
            let error = Config::parse(&format!("breaker: {{{bad}}}")).unwrap_err();
            assert!(error.contains("`breaker."), "{bad}: {error}");
        }
    }

    #[test]
    fn the_deployed_configurations_trade_with_limits() {
        let configs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        for name in ["blue.yml", "green.yml"] {
            let config = Config::load(&configs.join(name)).unwrap();
            assert_eq!(config.breaker, super::BreakerConfig::default(), "{name}");
        }
    }
}
