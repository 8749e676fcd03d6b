//! What the gateway exchanges with the control thread.

use binance::limits::Holds;
use binance::user::Name;
use market::{ExecutionReport, OrderRequest, SymbolId};

/// What the control thread tells the gateway.
#[derive(Debug)]
pub enum GatewayCommand {
    /// The venue's clock, taken anew.
    Clock(Box<binance::clock::ServerClock>),
    /// The user stream's path with a fresh listen key; reconnects if it is another one.
    UserPath(String),
    /// A report that came over REST.
    Report(Box<ExecutionReport>),
    /// Filters have changed: the same instruments, another table.
    Symbols(binance::Symbols),
    /// What REST was told to wait for.
    Hold(Holds),
}

/// What the gateway tells the control thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GatewayNews {
    /// Can requests be sent?
    OrderPath(bool),
    /// Do reports arrive?
    UserStream(bool),
    /// A successor of the open user stream has taken over.
    UserStreamReplaced,
    /// The venue acknowledged an order, and the user stream is silent about it.
    UserStreamMute {
        /// It has told of an order before.
        heard: bool,
    },
    /// An order was sent in this instrument: its fills belong to the next comparison.
    Traded(SymbolId),
    /// What the venue told us to wait for, whenever it grew.
    Hold(Holds),
    /// Facts may have been missed: compare with the venue.
    Reconcile,
    /// The listen key has expired: a new one is needed.
    ListenKeyExpired,
    /// A request was not sent: the lease is not ours any more.
    Fenced,
    /// The clock is off: take the venue's time.
    SyncClock,
    /// The WebSocket API does not have this request: send it over REST.
    Rest(OrderRequest),
    /// The venue refused something.
    Refused {
        /// Venue's code.
        code: i32,
    },
    /// A balance changed by something else than an order: funding, transfers.
    Income {
        /// Why, in the venue's words (`FUNDING_FEE`, `DEPOSIT`, …).
        reason: Name,
        /// Asset.
        asset: Name,
        /// By this much.
        change: market::Amount,
    },
    /// A commission was paid in another asset than the quote asset.
    OtherCommission {
        /// Asset.
        asset: Name,
        /// Amount of it.
        amount: f64,
    },
    /// Leverage or margin mode were changed from outside.
    AccountChanged,
    /// Somebody trades a symbol we do not follow.
    Unlisted,
    /// The venue warns of liquidation.
    MarginCall,
}
