//! An account's money: wallet, positions, settings, history. All amounts are integers; a position carries its exact
//! cost, so that what was paid in equals what comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use market::{Amount, Nanos, PositionSide, Qty, SymbolId};

use super::listing::Listing;
use super::order::{Fill, Income, PositionRow};

/// Fills kept for `userTrades`.
const FILLS_KEPT: usize = 50_000;
/// Income entries kept.
const INCOME_KEPT: usize = 50_000;

/// An account's place in the exchange's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u16);

/// A position in one instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Signed quantity.
    pub qty: Qty,
    /// Σ signed price·quantity of what is open.
    pub cost: Amount,
    /// Commission paid on what is open (for the break-even price).
    pub fees: Amount,
    /// Realised profit so far, before fees.
    pub realised: Amount,
    /// Last changed.
    pub updated: Nanos,
}

impl Position {
    /// Books a fill of signed quantity; returns the realised profit. `value(q)` is the exact value of `q` lots.
    pub(super) fn book(&mut self, signed: i64, value: impl Fn(i64) -> Amount) -> Amount {
        let open = self.qty.0;
        let mut realised = 0;
        let closing = if open.signum() * signed.signum() < 0 { open.abs().min(signed.abs()) } else { 0 };
        if closing > 0 {
            let part = i128::from(self.cost.0) * i128::from(closing) / i128::from(open.abs());
            let part = i64::try_from(part).expect("a part of a cost that fits");
            let fees = i128::from(self.fees.0) * i128::from(closing) / i128::from(open.abs());
            realised = open.signum() * value(closing).0 - part;
            self.cost.0 -= part;
            self.fees.0 -= i64::try_from(fees).expect("a part of fees that fit");
            self.qty.0 += signed.signum() * closing;
        }
        let opening = signed.abs() - closing;
        if opening > 0 {
            self.qty.0 += signed.signum() * opening;
            self.cost.0 += signed.signum() * (value(signed.abs()).0 - value(closing).0);
        }
        self.realised.0 += realised;
        Amount(realised)
    }
}

/// Per-symbol settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Initial leverage.
    pub leverage: u32,
    /// Isolated margin type.
    pub isolated: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self { leverage: 20, isolated: false }
    }
}

/// An account.
#[derive(Debug, Default)]
pub struct Account {
    /// Wallet balance in the quote asset.
    pub wallet: Amount,
    /// Hedge mode (`dualSidePosition`).
    pub hedge: bool,
    /// Multi-assets mode (stored and reported; there is one asset).
    pub multi_assets: bool,
    /// Positions ever held.
    pub positions: BTreeMap<(SymbolId, Leg), Position>,
    /// Settings that differ from the default.
    pub settings: BTreeMap<SymbolId, Setting>,
    /// Open orders.
    pub open: BTreeSet<u64>,
    /// Open orders by client id.
    pub(super) by_client: BTreeMap<String, u64>,
    /// Finished orders, oldest first.
    pub(super) done: VecDeque<u64>,
    /// Fills, oldest first.
    pub fills: VecDeque<Fill>,
    /// Income, oldest first.
    pub income: VecDeque<Income>,
    /// Dead man's switch: when all orders of a symbol are cancelled.
    pub(super) countdown: BTreeMap<SymbolId, Nanos>,
    /// A margin call was sent and the account has not recovered since.
    pub(super) margin_called: bool,
    pub(super) next_income: u64,
}

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

impl Account {
    /// An account with an opening balance.
    pub fn open(wallet: Amount, hedge: bool) -> Self {
        Self { wallet, hedge, ..Self::default() }
    }

    /// The position, flat if there never was one.
    pub fn position(&self, symbol: SymbolId, side: PositionSide) -> Position {
        self.positions.get(&(symbol, side.into())).copied().unwrap_or_default()
    }

    /// The settings of a symbol.
    pub fn setting(&self, symbol: SymbolId) -> Setting {
        self.settings.get(&symbol).copied().unwrap_or_default()
    }

    pub(super) fn add_fill(&mut self, fill: Fill) {
        if self.fills.len() == FILLS_KEPT {
            self.fills.pop_front();
        }
        self.fills.push_back(fill);
    }

    pub(super) fn add_income(
        &mut self,
        kind: &'static str,
        symbol: Option<SymbolId>,
        amount: Amount,
        trade: u64,
        at: Nanos,
    ) {
        if amount.0 == 0 {
            return;
        }
        if self.income.len() == INCOME_KEPT {
            self.income.pop_front();
        }
        self.next_income += 1;
        self.income.push_back(Income { symbol, kind, amount, trade, id: self.next_income, at });
    }

    /// A position as a row of an event or a reply.
    pub fn row(&self, listing: &Listing, side: PositionSide) -> PositionRow {
        let p = self.position(listing.instrument.id, side);
        let qty = listing.instrument.qty_f64(p.qty);
        let (entry, break_even) = if p.qty.0 == 0 {
            (0.0, 0.0)
        } else {
            (p.cost.to_f64() / qty, (p.cost.to_f64() + p.fees.to_f64()) / qty)
        };
        PositionRow {
            symbol: listing.instrument.id,
            side,
            qty: p.qty,
            entry,
            break_even,
            realised: p.realised,
            unrealised: listing.unrealised(&p),
            isolated: self.setting(listing.instrument.id).isolated,
        }
    }
}
