//! The account as the venue tells it, and what a comparison with it found.

use arrayvec::{ArrayString, ArrayVec};
use market::{Amount, ClientOrderId, ExecutionReport, Nanos, OrderOrigin, Qty, SymbolId};
use serde::{Deserialize, Serialize};

use crate::gates::Margin;
use crate::kill::Remains;
use crate::ledger::Transfer;

/// A position as the venue has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VenuePosition {
    /// Instrument.
    pub symbol: SymbolId,
    /// Signed lots.
    pub qty: Qty,
    /// Average price.
    pub entry_px: f64,
    /// Liquidation price (0 = none).
    pub liquidation_px: f64,
}

/// A position or an order in an instrument that is not followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unlisted<'a> {
    /// The instrument's venue name.
    pub name: &'a str,
    /// Signed quantity, units of the asset: a position's, or what is open of an order.
    pub qty: f64,
    /// Value at the mark price (an order's at its own, if it has one), quote asset, ≥ 0.
    pub notional: f64,
    /// `None`: a position. Else whose order.
    pub order: Option<OrderOrigin>,
}

/// What the venue says the account looks like. What was not asked for is `None`, never empty.
#[derive(Debug, Clone, Copy)]
pub struct VenueState<'a> {
    /// When it was asked for (our clock): reports taken later are newer.
    pub requested_at: Nanos,
    /// Open orders of the account, as reports of kind [`market::ExecType::Status`].
    pub orders: &'a [ExecutionReport],
    /// Positions that are not zero.
    pub positions: &'a [VenuePosition],
    /// The venue's list of fills since the last good comparison, read after the positions: those that no report
    /// told of are made good, those whose price was estimated are priced. Rows without a client order id are matched by
    /// the venue's order id.
    pub fills: &'a [ExecutionReport],
    /// Wallet balance, without unrealised profit, as it was at `requested_at` or later.
    pub wallet: Amount,
    /// The account's margin.
    pub margin: Option<Margin>,
    /// Transfers since the last comparison, or for longer; asked for by [`crate::Control::ListTransfers`].
    pub transfers: Option<&'a [Transfer]>,
    /// Positions and orders in instruments that are not followed.
    pub unlisted: Option<&'a [Unlisted<'a>]>,
}

/// One difference and what was done about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Difference {
    /// An order with our prefix that this run does not know: cancelled.
    StrayOrder(SymbolId, ClientOrderId),
    /// Somebody else's order: alert, and entries stop if so configured.
    ForeignOrder(SymbolId, u64),
    /// An order we hold for working that the venue does not list: asked for.
    MissingOrder(SymbolId, ClientOrderId),
    /// The position differs: ours, the venue's. The venue's is taken.
    Position(SymbolId, Qty, Qty),
    /// Orders of it are not settled: its position will be compared next time.
    Deferred(SymbolId),
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reconciliation {
    /// Every difference, in the order found (the first 64).
    pub differences: ArrayVec<Difference, 64>,
    /// Differences that found no room in the list; they were acted upon all the same.
    pub unlisted: u32,
}

impl Reconciliation {
    /// No difference at all: trading may go on.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.unlisted == 0
    }

    /// Only orders that are being asked for, and positions that wait for them?
    pub fn is_in_flight(&self) -> bool {
        let passing = |d: &Difference| matches!(d, Difference::Deferred(_) | Difference::MissingOrder(..));
        self.unlisted == 0 && self.differences.iter().all(passing)
    }

    /// Does it say what is left on the account: nothing was on its way?
    pub(crate) fn is_conclusive(&self) -> bool {
        let settled = |d: &Difference| matches!(d, Difference::ForeignOrder(..) | Difference::Position(..));
        self.unlisted == 0 && self.differences.iter().all(settled)
    }

    pub(crate) fn push(&mut self, d: Difference) {
        if self.differences.try_push(d).is_err() {
            self.unlisted += 1;
        }
    }
}

/// An instrument's name, kept without allocation.
pub type Name = ArrayString<48>;

/// A position or an order in an instrument that is not followed, as it was at the last comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UnlistedHolding {
    /// The instrument's venue name (cut where it is longer than any that exists).
    pub name: Name,
    /// Signed quantity, units of the asset.
    pub qty: f64,
    /// Value at the mark price, quote asset.
    pub notional: f64,
    /// `None`: a position. Else whose order.
    pub order: Option<OrderOrigin>,
}

/// Everything on the account in instruments that are not followed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnlistedHoldings {
    /// The first 32 of them.
    pub list: ArrayVec<UnlistedHolding, 32>,
    /// How many positions.
    pub positions: u32,
    /// How many orders.
    pub orders: u32,
    /// Σ value.
    pub gross: f64,
    /// Σ signed value: orders counted on their own side.
    pub net: f64,
    /// Was the venue asked?
    pub known: bool,
}

impl UnlistedHoldings {
    pub(crate) fn take(&mut self, all: Option<&[Unlisted<'_>]>) {
        let Some(all) = all else { return };
        *self = Self { known: true, ..Self::default() };
        for u in all {
            let count = if u.order.is_some() { &mut self.orders } else { &mut self.positions };
            *count += 1;
            // What has no value that could be counted counts without end: nothing is opened beside it.
            let notional = if u.notional.is_finite() { u.notional.abs() } else { f64::INFINITY };
            self.gross += notional;
            self.net += notional.copysign(u.qty);
            let mut name = Name::new();
            for c in u.name.chars() {
                if name.try_push(c).is_err() {
                    break;
                }
            }
            let _ = self.list.try_push(UnlistedHolding {
                name,
                qty: u.qty,
                notional: u.notional,
                order: u.order,
            });
        }
    }

    pub(crate) const fn count(&self) -> u32 {
        self.positions + self.orders
    }

    pub(crate) fn remains(&self, orders: u32, positions: u32) -> Remains {
        let known = |n: u32| self.known.then_some(n);
        Remains {
            orders,
            positions,
            unlisted_orders: known(self.orders),
            unlisted_positions: known(self.positions),
        }
    }
}
