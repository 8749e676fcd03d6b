//! The kinds of faults.

use serde::{Deserialize, Serialize};

/// What goes wrong. Requests are named `METHOD /path` (`POST /fapi/v1/order`), by their WS-API method
/// (`order.place`) or, for WebSocket handshakes, `WS /path`; streams by name (`btcusdt@depth@100ms`), user events as `user@<event>` and, for
/// ORDER_TRADE_UPDATE, `user@ORDER_TRADE_UPDATE@<execution type>`. `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The connection is reset instead of a reply; the request was executed or not.
    ReplyLost {
        /// Request.
        on: String,
        /// Was it executed?
        executed: bool,
    },
    /// An error reply; the request was executed or not (−1006, −1007, 503 …).
    ReplyError {
        /// Request.
        on: String,
        /// Venue code.
        code: i32,
        /// Venue message.
        #[serde(default)]
        msg: String,
        /// HTTP status.
        status: u16,
        /// Was it executed?
        #[serde(default)]
        executed: bool,
    },
    /// Executed at once, answered late.
    ReplyDelay {
        /// Request.
        on: String,
        /// By this much.
        ms: u64,
    },
    /// Executed late.
    RequestDelay {
        /// Request.
        on: String,
        /// By this much.
        ms: u64,
    },
    /// Never answered; the connection stays open.
    ReplyNever {
        /// Request.
        on: String,
        /// Was it executed?
        executed: bool,
    },
    /// A page of HTML instead of a reply, and no WebSocket handshake: maintenance (502, 503, 504) or the firewall
    /// (403). The request is not executed.
    Page {
        /// Request.
        #[serde(default = "anything")]
        on: String,
        /// HTTP status.
        status: u16,
    },
    /// −1008 to orders that open; reduce-only orders and cancels pass.
    Overload,
    /// 429 with Retry-After.
    TooManyRequests {
        /// Seconds in Retry-After.
        retry_after_s: u64,
    },
    /// 418 to everything for a while.
    Ban {
        /// Length.
        ms: u64,
    },
    /// Orders younger than this are not found (−2013) and not listed.
    ReadLag {
        /// Lag.
        ms: u64,
    },
    /// An order is filled before its cancel or modify arrives: −2011 (−2013 for a modify), or a cancel of the rest.
    FillFirst {
        /// Symbol.
        #[serde(default = "anything")]
        symbol: String,
        /// Quantity; all that is left without.
        #[serde(default)]
        quantity: Option<String>,
    },
    /// Depth snapshots are the one of the moment the rule was made.
    SnapshotStale {
        /// Symbol.
        symbol: String,
    },
    /// The venue's clock is off.
    ClockOffset {
        /// By this much.
        ms: i64,
    },
    /// The venue's clock runs fast (or slow, below zero) from now on.
    ClockDrift {
        /// Microseconds per second.
        ppm: i64,
    },
    /// Frames of a stream never come; everything else goes on.
    Mute {
        /// Stream.
        stream: String,
    },
    /// Frames come late.
    Late {
        /// Stream.
        stream: String,
        /// By this much.
        ms: u64,
    },
    /// A frame is dropped (for depth: a `pu` gap).
    Drop {
        /// Stream.
        stream: String,
    },
    /// A frame is sent twice.
    Duplicate {
        /// Stream.
        stream: String,
    },
    /// A frame is sent after its successor.
    Reorder {
        /// Stream.
        stream: String,
    },
    /// A frame is followed by the one that came so many frames before it: a replay of the past.
    Replay {
        /// Stream.
        stream: String,
        /// So many (at most 64).
        back: usize,
    },
    /// A frame is replaced by this text.
    Replace {
        /// Stream.
        stream: String,
        /// What is sent instead.
        text: String,
    },
    /// A frame is cut in the middle.
    Truncate {
        /// Stream.
        stream: String,
    },
    /// A character in the middle of a frame is another one.
    Garble {
        /// Stream.
        stream: String,
    },
    /// A frame has this text behind it.
    Append {
        /// Stream.
        stream: String,
        /// What is behind it.
        text: String,
    },
    /// One value in a frame is another: `1e400`, `-1`, `NaN`, the wrong type.
    Alter {
        /// Stream.
        stream: String,
        /// Where, as a JSON pointer: `/p`, `/b/0/1`, `/o/L`.
        at: String,
        /// What stands there instead; without, the value is missing.
        #[serde(default)]
        value: Option<serde_json::Value>,
    },
    /// A name stands in a frame a second time, with another value.
    RepeatField {
        /// Stream.
        stream: String,
        /// Name, at the top of the frame.
        name: String,
        /// Its second value.
        value: serde_json::Value,
    },
    /// A frame nested this deep is sent before it.
    Nest {
        /// Stream.
        stream: String,
        /// Brackets.
        depth: usize,
    },
    /// A frame of this size is sent before it.
    Oversize {
        /// Stream.
        stream: String,
        /// Bytes.
        bytes: usize,
    },
    /// Frames carry a field nobody knows and `E` as a text.
    StrangeFields {
        /// Stream.
        stream: String,
    },
    /// Open connections end (now).
    Disconnect {
        /// `public`, `market`, `private`, `ws-fapi`, `legacy`, `rest` or `*`.
        route: String,
        /// How.
        how: Ending,
    },
    /// New connections are reset.
    RefuseConnections,
    /// New connections are accepted, and nothing is ever answered on them.
    IgnoreConnections,
    /// WebSocket connections end when they are this old (24 h at the venue), with a close frame.
    ConnectionLife {
        /// Age.
        ms: u64,
    },
    /// SUBSCRIBE is acknowledged, and nothing ever comes.
    SubscribeSilently,
    /// Whoever subscribes to user events gets the last ones again.
    ReplayEvents {
        /// At most this many (of the last 64).
        count: usize,
    },
    /// The book is crossed: a bid stands half a percent above the best ask, in streams and snapshots.
    CrossBook {
        /// Symbol.
        symbol: String,
    },
    /// The book is locked: a bid stands at the best ask, in streams and snapshots.
    LockBook {
        /// Symbol.
        symbol: String,
    },
    /// exchangeInfo and the streams of all symbols carry instruments that are strange here: one with a name beyond ASCII,
    /// one of coin-margined futures (`st` 2).
    ForeignSymbols,
    /// One side of the book is empty.
    EmptySide {
        /// Symbol.
        symbol: String,
        /// `BUY` or `SELL`.
        side: String,
    },
    /// The mark price is off the market by a factor.
    MarkOff {
        /// Symbol.
        symbol: String,
        /// Factor.
        factor: f64,
    },
    /// A simulated price jumps (now).
    Jump {
        /// Symbol.
        symbol: String,
        /// New price, as a multiple of the old one: between 0.01 and 100.
        factor: f64,
    },
    /// The listen keys of all accounts expire (now).
    ExpireListenKeys {
        /// With the `listenKeyExpired` event, or silently.
        event: bool,
    },
    /// A key is no longer valid (now).
    RevokeKey {
        /// API key.
        api_key: String,
    },
    /// Somebody else trades on the account (now).
    ExternalOrder {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Symbol.
        symbol: String,
        /// `BUY` or `SELL`.
        side: String,
        /// Quantity.
        quantity: String,
        /// Limit price; a market order without.
        #[serde(default)]
        price: Option<String>,
        /// Client order id.
        #[serde(default)]
        client_id: Option<String>,
    },
    /// A resting order is filled as maker, at its price (now).
    FillOrder {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Symbol.
        symbol: String,
        /// Client order id.
        client_id: String,
        /// Quantity; all that is left without.
        #[serde(default)]
        quantity: Option<String>,
    },
    /// Somebody else cancels (now).
    CancelOrder {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Symbol.
        symbol: String,
        /// Client order id; all orders of the symbol without.
        #[serde(default)]
        client_id: Option<String>,
    },
    /// The account is liquidated (now).
    Liquidate {
        /// Account number.
        #[serde(default)]
        account: u16,
    },
    /// A position is auto-deleveraged (now).
    Deleverage {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Symbol.
        symbol: String,
        /// `BOTH`, `LONG`, `SHORT`.
        #[serde(default = "both")]
        position_side: String,
        /// Quantity; all of it without.
        #[serde(default)]
        quantity: Option<String>,
    },
    /// Funding is charged (now).
    Funding {
        /// Symbol.
        symbol: String,
        /// Rate.
        rate: f64,
    },
    /// The instrument is settled (now): orders expire, positions are closed by the venue, the status is SETTLING.
    Settle {
        /// Symbol.
        symbol: String,
    },
    /// The wallet changes (now).
    Transfer {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Signed amount.
        amount: String,
    },
    /// Filters change (now).
    SetFilter {
        /// Symbol.
        symbol: String,
        /// Least notional.
        #[serde(default)]
        min_notional: Option<String>,
        /// Least quantity.
        #[serde(default)]
        min_qty: Option<String>,
        /// Most open orders.
        #[serde(default)]
        max_orders: Option<u32>,
        /// PERCENT_PRICE up.
        #[serde(default)]
        multiplier_up: Option<f64>,
        /// PERCENT_PRICE down.
        #[serde(default)]
        multiplier_down: Option<f64>,
        /// Coarser tick: a multiple of the tick, as text (`0.50`).
        #[serde(default)]
        tick: Option<String>,
    },
    /// Quantity filters change (now).
    SetStep {
        /// Symbol.
        symbol: String,
        /// Coarser step: a multiple of the step, as text (`0.010`).
        #[serde(default)]
        step: Option<String>,
        /// Largest quantity.
        #[serde(default)]
        max_qty: Option<String>,
    },
    /// Commission rates change (now).
    SetCommission {
        /// Maker's, as a share (`0.0002`).
        maker: String,
        /// Taker's.
        taker: String,
    },
    /// The symbol's status changes (now): `TRADING`, `BREAK`, `CANCEL_ONLY`, `SETTLING`, `PENDING_TRADING`, `CLOSE`.
    SetStatus {
        /// Symbol.
        symbol: String,
        /// Status.
        status: String,
    },
    /// The account's position mode is changed by somebody else (now).
    SetHedge {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Hedge mode?
        on: bool,
    },
    /// The multi-assets mode is changed by somebody else (now).
    SetMultiAssets {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Multi-assets mode?
        on: bool,
    },
    /// The leverage is changed by somebody else (now).
    SetLeverage {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Symbol.
        symbol: String,
        /// New leverage.
        leverage: u32,
    },
    /// The margin type is changed by somebody else (now).
    SetMarginType {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Symbol.
        symbol: String,
        /// Isolated margin?
        isolated: bool,
    },
}

fn both() -> String {
    "BOTH".to_owned()
}

fn anything() -> String {
    "*".to_owned()
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A close frame (REST connections: a reset).
    Close,
    /// A TCP reset.
    Reset,
    /// Half open: nothing is read or sent any more, not even a pong, and nothing is closed.
    Silence,
}
