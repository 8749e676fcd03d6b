//! What a step of a simulated symbol brings.

use market::{Level, Px, Qty, Side};

/// What a step of one symbol brought: played levels and trades.
#[derive(Debug, Default)]
pub struct Step {
    /// Changed bid levels (absolute; 0 removes).
    pub bids: Vec<Level>,
    /// Changed ask levels.
    pub asks: Vec<Level>,
    /// Trades, in order: aggressor, price, quantity.
    pub trades: Vec<(Side, Px, Qty)>,
}
