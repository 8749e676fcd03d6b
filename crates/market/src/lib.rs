//! The vocabulary. Every crate speaks these words and no other: instruments, prices in ticks and
//! quantities in lots, nanosecond times, book events, order requests, execution reports, features, posture.
//!
//! The crate depends on nothing of ours, reads no clock and does no I/O.

pub mod decimal;
pub mod event;
pub mod features;
pub mod instrument;
pub mod intent;
pub mod json;
pub mod order;
pub mod planted;
pub mod posture;
pub mod scan;
pub mod stamp;
pub mod text;
pub mod time;

pub use decimal::{Amount, Increment, NumberError, Px, Qty};
pub use event::{Bbo, DepthSnapshot, DepthUpdate, Level, MarkPrice, MarketEvent, Trade, TradeKind};
pub use features::{CrossAsset, DEPTH_BANDS, ObAverages, ObFeatures};
pub use instrument::{Instrument, InstrumentStatus, SymbolId};
pub use intent::{
    AbandonReason, Correction, EnterIntent, EntryFilled, ExitFilled, ExitIntent, ExitReason, Filled, Intent,
    Outcome, TripId,
};
pub use order::{
    CancelOrder, ClientOrderId, ExecType, ExecutionReport, NewOrder, OrderOrigin, OrderRequest, OrderStatus,
    OrderType, PositionSide, ReplaceOrder, Side, TimeInForce,
};
pub use posture::Posture;
pub use time::{ClockOffset, Date, Nanos, VenueTime, utc_date};
