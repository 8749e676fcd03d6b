//! Commission rates.

use std::fmt;
use std::str::FromStr;

use market::{Amount, Increment};

/// Commission rates, in 10⁻⁸ of the notional (negative = rebate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commission {
    /// Of an order that rested.
    pub maker: i64,
    /// Of an order that took.
    pub taker: i64,
}

/// The venue's tiers for USDT pairs, from regular user to VIP 9: maker and taker in 10⁻⁶.
const TIERS: [(i64, i64); 10] = [
    (200, 500),
    (160, 400),
    (140, 350),
    (120, 320),
    (100, 300),
    (80, 270),
    (60, 250),
    (40, 220),
    (20, 200),
    (0, 170),
];
/// Largest rate, as a share and in 10⁻⁸.
const MOST: i64 = Amount::ONE / 100;

impl Commission {
    /// `feeTier` of an account with these rates: the venue's own where they are one's, else 0.
    pub fn tier(self) -> usize {
        let rates = (self.maker, self.taker);
        TIERS.iter().position(|(maker, taker)| (maker * 100, taker * 100) == rates).unwrap_or(0)
    }
}

impl Default for Commission {
    /// A regular user's: 0.02 % and 0.05 %, both paid (SPEC 8).
    fn default() -> Self {
        Self { maker: 20_000, taker: 50_000 }
    }
}

impl FromStr for Commission {
    type Err = String;

    /// Maker and taker rate as shares: `0.0002,0.0005`.
    fn from_str(text: &str) -> Result<Self, String> {
        let rate =
            |t: &str| Amount::parse(t.trim().as_bytes()).ok().filter(|r| r.0.abs() <= MOST).map(|r| r.0);
        let mut rates = text.split(',').map(rate);
        match (rates.next(), rates.next(), rates.next()) {
            (Some(Some(maker)), Some(Some(taker)), None) => Ok(Self { maker, taker }),
            _ => Err(format!(
                "`{text}` is no pair of rates: give maker and taker as shares between -0.01 and 0.01, as in 0.0002,0.0005"
            )),
        }
    }
}

impl fmt::Display for Commission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A percent is a hundredth: two digits fewer than an amount has.
        let percent = |r: i64| {
            let text = Increment::decimals(6).format(r).to_string();
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        write!(f, "maker {} %, taker {} %", percent(self.maker), percent(self.taker))
    }
}
