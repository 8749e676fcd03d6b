//! What the router hands out on a call: requests to the gateway, requests to the control thread (REST), outcomes to the
//! engine, denials and alerts for people.
//!
//! Every list is bounded. **When one is full:** requests, controls and outcomes are never lost — the router leaves the
//! step undone and takes it up on the next call ([`crate::Router::next_deadline`] is then due at once); denials and
//! alerts are telemetry — the newest are dropped and counted in [`Outbox::dropped`]. The caller drains all of it after
//! each call.

use serde::{Deserialize, Serialize};
use std::fmt;

use arrayvec::ArrayVec;
use market::{ClientOrderId, Nanos, OrderRequest, Outcome, Qty, SymbolId};

use crate::check::{Check, Denial, Reopens};

/// Capacity of [`Outbox::requests`].
pub const MAX_REQUESTS: usize = 64;

/// Something that the control thread does over REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Start (or, with 0, stop) the venue's countdown that cancels all orders of an instrument, and tell what came of it
    /// by [`crate::Router::on_dead_man`].
    DeadMan {
        /// Instrument.
        symbol: SymbolId,
        /// Milliseconds; 0 = off.
        countdown_ms: u64,
    },
    /// Fetch open orders, positions, balance and fills and hand them to [`crate::Router::reconcile`].
    Reconcile,
    /// The balance differs and nothing explains it: fetch the list of transfers too at the next comparison.
    ListTransfers,
    /// Fetch the instrument's filters and hand them to [`crate::Router::set_instrument`].
    RefreshFilters(SymbolId),
    /// Compare the clock with the venue's.
    SyncClock,
    /// The kill switch: cancel all orders in instruments that are not followed ([`crate::Router::unlisted`] names them),
    /// and close their positions if `flatten`.
    ClearUnlisted {
        /// Close positions too.
        flatten: bool,
    },
}

/// What people should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertKind {
    /// An order's fate is unknown; it is being asked for.
    OrderUnknown,
    /// It has been unknown for longer than `risk.max_unknown_age_ms`.
    UnknownTooLong,
    /// The venue does not know an order it had acknowledged.
    OrderVanished,
    /// A fill of an order that was done already. It counts.
    LateFill,
    /// A fill of an order of ours that this run does not know (an earlier run). It counts.
    OrphanFill,
    /// A fill of an order of this run that had to be forgotten: the comparison with the venue tells whether it counts.
    ForgottenFill,
    /// A fill that is not ours: by hand, another program. It counts.
    ExternalFill,
    /// Liquidation, ADL or settlement: the venue closed for us. The instrument is halted.
    VenueClosed,
    /// An order that is not ours appeared on the account.
    ForeignOrder,
    /// The venue refused an order.
    Rejected,
    /// The venue refused our key, permission or account mode: entries stopped.
    AuthRefused,
    /// Instrument halted until its filters are refreshed.
    SymbolBlocked,
    /// Three cancels without effect.
    StuckCancel,
    /// An exit has been refused again and again.
    ExitStuck,
    /// The take-profit order could not be kept resting; the exit intent will close.
    TakeProfitGivenUp,
    /// An exit intent without a position.
    NothingToClose,
    /// A position that no intent explains.
    UnexpectedPosition,
    /// A limit has latched: entries stop until a person lets them go on ([`crate::Router::rearm`]).
    Tripped,
    /// An order was larger than a limit and was cut to it (`qty` = the lots cut off).
    SizeCut,
    /// The balance differs from what was booked, and nothing explains it yet.
    WalletUnexplained,
    /// Positions or orders in instruments that are not followed (`qty` = how many): nothing is opened beside them.
    Unlisted,
    /// Latches were lifted by a person.
    Rearmed,
    /// Our position or orders differed from the venue's.
    ReconcileMismatch,
    /// Only the quantity of a fill is known: it was told at an estimated price, and is corrected when the venue lists it.
    FillPriceEstimated,
    /// The kill switch went off.
    KillTripped,
    /// The kill switch is done (`qty` = what it could not close, in lots over all instruments).
    KillDone,
    /// The order table is full of working orders.
    TableFull,
    /// A report made no sense and was not used.
    BadReport,
}

impl AlertKind {
    /// Should somebody be woken?
    pub const fn pages(self) -> bool {
        !matches!(
            self,
            Self::OrderUnknown
                | Self::Rejected
                | Self::TakeProfitGivenUp
                | Self::FillPriceEstimated
                | Self::SizeCut
                | Self::Rearmed
        )
    }
}

/// An alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alert {
    /// When.
    pub at: Nanos,
    /// What.
    pub kind: AlertKind,
    /// Where (none: the account).
    pub symbol: Option<SymbolId>,
    /// Which order.
    pub id: Option<ClientOrderId>,
    /// Venue's error code, 0 = none.
    pub code: i32,
    /// Quantity concerned, signed, in lots.
    pub qty: Qty,
    /// The check concerned, the number found and its limit.
    pub check: Option<(Check, f64, f64)>,
}

impl Alert {
    /// About the account.
    pub const fn new(at: Nanos, kind: AlertKind) -> Self {
        Self { at, kind, symbol: None, id: None, code: 0, qty: Qty::ZERO, check: None }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)?;
        if let Some(s) = self.symbol {
            write!(f, " symbol #{}", s.0)?;
        }
        if let Some(id) = self.id {
            write!(f, " order {id}")?;
        }
        if self.code != 0 {
            write!(f, " code {}", self.code)?;
        }
        if !self.qty.is_zero() {
            write!(f, " qty {} lots", self.qty.0)?;
        }
        if let Some((check, value, limit)) = self.check {
            write!(f, ", {}: {value} against {limit} ({})", check.text(), check.key())?;
            if self.kind == AlertKind::Tripped {
                write!(f, "; latched, lifted by {}", Reopens::Rearm.text())?;
            }
        }
        Ok(())
    }
}

/// Everything that came out of a call.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To the order gateway, in this order.
    pub requests: ArrayVec<OrderRequest, MAX_REQUESTS>,
    /// To the control thread.
    pub controls: ArrayVec<Control, 64>,
    /// To the engine.
    pub outcomes: ArrayVec<Outcome, 32>,
    /// Refused by our own checks.
    pub denials: ArrayVec<Denial, 32>,
    /// For people.
    pub alerts: ArrayVec<Alert, 64>,
    /// Denials and alerts that found no room.
    pub dropped: u64,
}

impl Outbox {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties every list (the count of the dropped stays).
    pub fn clear(&mut self) {
        self.requests.clear();
        self.controls.clear();
        self.outcomes.clear();
        self.denials.clear();
        self.alerts.clear();
    }

    pub(crate) fn alert(&mut self, alert: Alert) {
        if self.alerts.try_push(alert).is_err() {
            self.dropped += 1;
        }
    }

    pub(crate) fn deny(&mut self, denial: Denial) {
        if self.denials.try_push(denial).is_err() {
            self.dropped += 1;
        }
    }
}
