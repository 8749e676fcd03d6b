//! The venue's refusals: its codes and its words.

use std::borrow::Cow;

/// A refusal with the venue's error code (BINANCE.md §4) and message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {msg}")]
pub struct Reject {
    /// Venue code, negative.
    pub code: i32,
    /// Venue message.
    pub msg: Cow<'static, str>,
}

impl Reject {
    /// A refusal with a fixed text.
    pub const fn new(code: i32, msg: &'static str) -> Self {
        Self { code, msg: Cow::Borrowed(msg) }
    }

    /// A refusal whose text names a value.
    pub fn text(code: i32, msg: String) -> Self {
        Self { code, msg: Cow::Owned(msg) }
    }

    /// −1102 for a parameter that is missing or unreadable.
    pub fn mandatory(name: &str) -> Self {
        Self::text(-1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
    }

    /// The HTTP status that goes with the code.
    pub fn status(&self) -> u16 {
        match self.code {
            -1003 | -1015 => 429,
            -1002 | -2014 | -2015 => 401,
            -1006..=-1005 | -1008 | -1001 => 503,
            -1007 => 408,
            _ => 400,
        }
    }
}

/// −1130 for a page size of zero.
pub const fn mandatory_limit() -> Reject {
    Reject::new(-1130, "Data sent for parameter 'limit' is not valid.")
}

macro_rules! rejects {
    ($($name:ident = ($code:literal, $msg:literal);)*) => {
        $(#[doc = $msg] pub const $name: Reject = Reject::new($code, $msg);)*
    };
}

rejects! {
    TIMESTAMP = (-1021, "Timestamp for this request is outside of the recvWindow.");
    TIMESTAMP_AHEAD = (-1021, "Timestamp for this request was 1000ms ahead of the server's time.");
    BAD_SIGNATURE = (-1022, "Signature for this request is not valid.");
    BAD_KEY_FORMAT = (-2014, "API-key format invalid.");
    BAD_KEY = (-2015, "Invalid API-key, IP, or permissions for action.");
    NO_ROUTE = (-1099, "Not found, authenticated, or authorized.");
    BAD_SYMBOL = (-1121, "Invalid symbol.");
    BAD_TYPE = (-1116, "Invalid orderType.");
    BAD_SIDE = (-1117, "Invalid side.");
    BAD_TIF = (-1115, "Invalid timeInForce.");
    BAD_SYMBOL_STATUS = (-1122, "Invalid symbol status.");
    BAD_LISTEN_KEY = (-1125, "This listenKey does not exist.");
    TOO_MANY_ORDERS = (-1015, "Too many new orders.");
    PRECISION = (-1111, "Precision is over the maximum defined for this asset.");
    UNKNOWN_ORDER = (-2011, "Unknown order sent.");
    NO_SUCH_ORDER = (-2013, "Order does not exist.");
    WOULD_TRIGGER = (-2021, "Order would immediately trigger.");
    CLOSING_EXISTS = (-4130, "An open stop or take profit order with GTE and closePosition in the direction is existing.");
    GTE_WITHOUT_POSITION = (-4509, "Time in Force (TIF) GTE can only be used with open positions. Please ensure that positions are available.");
    QTY_WITH_CLOSE_POSITION = (-4137, "Quantity must be zero with closePosition equals true.");
    NO_MATCH = (-5041, "No depth matches this BBO order.");
    BAD_MATCH = (-5037, "Invalid price match.");
    MATCH_TYPE = (-5038, "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT.");
    MARGIN = (-2019, "Margin is insufficient.");
    NO_DEPTH = (-2020, "Unable to fill.");
    REDUCE_ONLY = (-2022, "ReduceOnly Order is rejected.");
    LIQUIDATING = (-2023, "User in liquidation mode now.");
    MAX_ORDERS = (-2025, "Reach max open order limit.");
    MAX_POSITION = (-2027, "Exceeded the maximum allowable position at current leverage.");
    LEVERAGE_TOO_SMALL = (-2028, "Leverage is smaller than permitted: insufficient margin balance.");
    PRICE_BELOW_ZERO = (-4001, "Price less than 0.");
    PRICE_TOO_HIGH = (-4002, "Price greater than max price.");
    QTY_BELOW_ZERO = (-4003, "Quantity less than or equal to zero.");
    QTY_TOO_SMALL = (-4004, "Quantity less than min quantity.");
    QTY_TOO_LARGE = (-4005, "Quantity greater than max quantity.");
    PRICE_TOO_LOW = (-4013, "Price less than min price.");
    STOP_PRICE_BELOW_ZERO = (-4006, "Stop price less than zero.");
    STOP_PRICE_TOO_HIGH = (-4007, "Stop price greater than max price.");
    OFF_TICK = (-4014, "Price not increased by tick size.");
    BAD_CLIENT_ID = (-4015, "Client order id is not valid.");
    OFF_STEP = (-4023, "Qty not increased by step size.");
    MAX_STOP_ORDERS = (-4045, "Reach max stop order limit.");
    BAD_LEVERAGE = (-4028, "Leverage is not valid.");
    SAME_MARGIN_TYPE = (-4046, "No need to change margin type.");
    MARGIN_TYPE_ORDERS = (-4047, "Margin type cannot be changed if there exists open orders.");
    MARGIN_TYPE_POSITION = (-4048, "Margin type cannot be changed if there exists position.");
    SAME_POSITION_SIDE = (-4059, "No need to change position side.");
    POSITION_SIDE = (-4061, "Order's position side does not match user's setting.");
    REDUCE_ONLY_CONFLICT = (-4062, "Invalid or improper reduceOnly value.");
    MARGIN_OF_CROSSED = (-4049, "Add margin only support for isolated position.");
    CROSS_BALANCE = (-4050, "Cross balance insufficient.");
    ISOLATED_BALANCE = (-4051, "Isolated balance insufficient.");
    MARGIN_OF_NOTHING = (-4054, "Cannot add position margin: position is 0.");
    AMOUNT_POSITIVE = (-4055, "Amount must be positive.");
    MODE_ORDERS = (-4067, "Position side cannot be changed if there exists open orders.");
    MODE_POSITION = (-4068, "Position side cannot be changed if there exists position.");
    DUPLICATE_ID = (-4116, "ClientOrderId is duplicated.");
    USE_ALGO = (-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.");
    COUNTERPARTY = (-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.");
    SYMBOL_STATUS = (-4140, "Invalid symbol status for opening position.");
    ISOLATED_LEVERAGE = (-4161, "Leverage reduction is not supported in Isolated Margin Mode with open positions.");
    MULTI_ASSETS_WITH_ISOLATED = (-4167, "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode.");
    ISOLATED_IN_MULTI_ASSETS = (-4168, "Unable to adjust to isolated-margin mode under the Multi-Assets mode.");
    MULTI_ASSETS_WITH_ORDERS = (-4170, "Unable to adjust Multi-Assets Mode with open orders in USDⓈ-M Futures.");
    SAME_MULTI_ASSETS = (-4171, "Adjusted asset mode is currently set and does not need to be adjusted repeatedly.");
    FOK = (-5021, "Due to the order could not be filled immediately, the FOK order has been rejected. The order will not be recorded in the order history.");
    POST_ONLY = (-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected. The order will not be recorded in the order history.");
    MODIFY_LIMIT_ONLY = (-5025, "Only limit order is supported.");
    MODIFY_LIMIT = (-5026, "Exceed maximum modify order limit.");
    MODIFY_SAME = (-5027, "No need to modify the order.");
}
