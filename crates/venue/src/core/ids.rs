//! Which account, which of its positions.

use market::PositionSide;

/// An account's place in the exchange's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u16);

/// Which position of a symbol: `PositionSide` in an order that sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leg {
    /// One-way mode.
    Both,
    /// Hedge mode, long.
    Long,
    /// Hedge mode, short.
    Short,
}

impl From<PositionSide> for Leg {
    fn from(side: PositionSide) -> Self {
        match side {
            PositionSide::Both => Self::Both,
            PositionSide::Long => Self::Long,
            PositionSide::Short => Self::Short,
        }
    }
}

impl From<Leg> for PositionSide {
    fn from(leg: Leg) -> Self {
        match leg {
            Leg::Both => Self::Both,
            Leg::Long => Self::Long,
            Leg::Short => Self::Short,
        }
    }
}
