//! An account's money: wallet, positions, settings, history. All amounts are integers; a position carries its exact
//! cost, so that what was paid in equals what comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use market::{Amount, Nanos, PositionSide, SymbolId};

use super::ids::Leg;
use super::listing::Listing;
use super::order::{Fill, Income, MarginChange, PositionRow};
use super::position::Position;

/// Fills kept for `userTrades`.
const FILLS_KEPT: usize = 50_000;
/// Income entries kept.
const INCOME_KEPT: usize = 50_000;

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
    /// Commissions are to be paid in BNB where there is some (there is none).
    pub fee_burn: bool,
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
    /// Conditional orders that wait.
    pub(super) open_algos: BTreeSet<u64>,
    /// Conditional orders that have ended, oldest first.
    pub(super) done_algos: VecDeque<u64>,
    /// Fills, oldest first.
    pub fills: VecDeque<Fill>,
    /// Income, oldest first.
    pub income: VecDeque<Income>,
    /// Changes of isolated margins, oldest first.
    pub margin_changes: VecDeque<MarginChange>,
    /// Dead man's switch: when all orders of a symbol are cancelled.
    pub(super) countdown: BTreeMap<SymbolId, Nanos>,
    /// How often one ran out while orders worked.
    pub countdowns: u64,
    /// A margin call was sent for the crossed positions (`None`) or an isolated one, which has not recovered since.
    pub(super) margin_called: BTreeSet<Option<(SymbolId, Leg)>>,
    pub(super) next_income: u64,
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

    /// What is not set aside for isolated positions.
    pub fn cross_wallet(&self) -> Amount {
        self.positions.values().fold(self.wallet, |sum, p| sum - p.isolated)
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
            isolated_wallet: p.isolated,
            unrealised: listing.unrealised(&p),
            isolated: self.setting(listing.instrument.id).isolated,
        }
    }
}
