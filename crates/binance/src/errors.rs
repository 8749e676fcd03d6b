//! The venue's error codes in one table: what each says about the request, and what is done about it.
//!
//! Source: the venue's error-code page and general information, and what connectors learned (BINANCE.md §4). The
//! question that matters for an order is never "error or not" but "do I know its fate": only [`Class::Unknown`]
//! leaves it open, and only a query or a user event settles it.

/// What an error says about the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// It had the wished effect already ("no need to change").
    Success,
    /// It was not executed, and the same request will not be.
    Failed,
    /// It may or may not have been executed: query by client order id, never send again under a new id.
    Unknown,
    /// It was not executed for a passing reason: again, after a back-off.
    Retry,
    /// It was not executed because of a rate limit.
    Throttled,
    /// It was not executed, and no request of its kind will be: stop and call a human.
    Fatal,
    /// It was not executed because it was wrongly made: our bug, or filters that have changed.
    Bug,
}

/// What is done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Report it.
    Report,
    /// Ask the venue for the order by its client order id.
    Query,
    /// Send again after 200, 400, 800 ms; entries first give up.
    BackOff,
    /// Take the server's time, then send once more with the same client order id.
    SyncClockAndRetryOnce,
    /// No request that counts to the limit before its window ends; cancels by their reserve.
    WaitForWindow,
    /// No request at all before the ban ends.
    WaitForBan,
    /// Create a new listen key, connect to it, reconcile.
    NewListenKey,
    /// Read exchangeInfo again, quantise again.
    RefreshInstruments,
    /// Read balances again; deny locally what needs more margin.
    RefreshAccount,
    /// Read positions and open orders again.
    Reconcile,
    /// Stop the symbol and read its status again from time to time.
    HaltSymbol,
    /// Open no position on this account or symbol; closing stays allowed.
    ReduceOnly,
    /// Stop trading.
    HaltTrading,
}

/// One row of the table: the codes from `first` down to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRule {
    /// First code (the largest).
    pub first: i32,
    /// Last code (the smallest; equal to `first` for a single code).
    pub last: i32,
    /// What it says about the request.
    pub class: Class,
    /// What is done about it.
    pub action: Action,
    /// What it means and what helps, for people.
    pub meaning: &'static str,
}

const fn row(first: i32, last: i32, class: Class, action: Action, meaning: &'static str) -> ErrorRule {
    ErrorRule { first, last, class, action, meaning }
}

const fn one(code: i32, class: Class, action: Action, meaning: &'static str) -> ErrorRule {
    row(code, code, class, action, meaning)
}

/// What holds for a code that is not in the table: the request was answered with an error, so it was not executed.
pub const UNLISTED: ErrorRule = row(
    0,
    0,
    Class::Failed,
    Action::Report,
    "an error that this program does not know; read the venue's text",
);

/// What holds when a request got no answer that can be read.
pub const NO_ANSWER: ErrorRule =
    row(0, 0, Class::Unknown, Action::Query, "no answer: the request may or may not have been executed");

use Action as A;
use Class as C;

/// The table. The first row that holds a code is its rule.
pub const TABLE: &[ErrorRule] = &[
    one(-1000, C::Unknown, A::Query, "the venue failed while it handled the request"),
    one(-1001, C::Unknown, A::Query, "the venue lost its backend; the request may have been executed"),
    one(-1002, C::Fatal, A::HaltTrading, "not authorised: the key may not do this; check its permissions"),
    one(-1003, C::Throttled, A::WaitForWindow, "too many requests from this address"),
    one(-1004, C::Fatal, A::HaltTrading, "this address is already on the key's list or is barred"),
    row(-1006, -1007, C::Unknown, A::Query, "the venue's backend did not answer in time"),
    one(-1008, C::Retry, A::BackOff, "the venue is overloaded; closing orders are still taken"),
    one(-1010, C::Failed, A::Report, "the venue refused the message; read its text"),
    one(
        -1011,
        C::Fatal,
        A::HaltTrading,
        "this address may not use the service; check the key's address list",
    ),
    one(-1013, C::Bug, A::RefreshInstruments, "a filter of the symbol is violated"),
    one(-1014, C::Failed, A::Report, "an unsupported combination of order parameters"),
    one(-1015, C::Throttled, A::WaitForWindow, "too many orders from this account"),
    one(-1016, C::Fatal, A::HaltTrading, "this service is no longer there; check the host"),
    one(-1020, C::Fatal, A::HaltTrading, "this operation is not supported there; check the host"),
    one(
        -1021,
        C::Failed,
        A::SyncClockAndRetryOnce,
        "our clock is wrong: timestamp outside the receive window; set it (timedatectl set-ntp true)",
    ),
    one(
        -1022,
        C::Fatal,
        A::HaltTrading,
        "the signature is not valid: the secret does not belong to the key; check the key file",
    ),
    one(-1023, C::Failed, A::Report, "start time after end time"),
    one(-1099, C::Fatal, A::HaltTrading, "not found, or not authorised: wrong host, or a route that is gone"),
    row(-1100, -1106, C::Bug, A::RefreshInstruments, "a malformed, missing or superfluous parameter"),
    one(-1111, C::Bug, A::RefreshInstruments, "too many decimals: tick or lot of the symbol have changed"),
    one(-1112, C::Failed, A::Report, "no orders on the book of this symbol"),
    one(-1114, C::Bug, A::Report, "timeInForce sent where it is not wanted"),
    row(-1115, -1117, C::Bug, A::Report, "time in force, order type or side not known to the venue"),
    row(-1118, -1119, C::Bug, A::Report, "an empty or refused client order id"),
    row(-1120, -1120, C::Bug, A::Report, "an interval that the venue does not know"),
    one(-1121, C::Bug, A::RefreshInstruments, "no such symbol on this venue"),
    one(-1122, C::Failed, A::HaltSymbol, "the symbol's status does not allow this"),
    one(-1125, C::Failed, A::NewListenKey, "the listen key is not known: it has expired"),
    one(-1127, C::Bug, A::Report, "the time span is too long"),
    one(-1128, C::Bug, A::Report, "a combination of parameters that does not go together"),
    one(-1130, C::Bug, A::Report, "a parameter with a refused value"),
    one(-1136, C::Bug, A::Report, "the new order's response type is refused"),
    one(-2010, C::Failed, A::Report, "the order was refused; read the venue's text"),
    one(-2011, C::Failed, A::Query, "the cancel found no such open order: it is done, or not yet visible"),
    one(-2012, C::Failed, A::Report, "the cancel of all orders was refused"),
    one(-2013, C::Failed, A::Query, "the order is not there (or not yet: the venue reads with a lag)"),
    one(-2014, C::Fatal, A::HaltTrading, "the API key is malformed; check the key file"),
    one(
        -2015,
        C::Fatal,
        A::HaltTrading,
        "key, permission or address refused: is it a key of this venue \
         (testnet keys do not work on mainnet), with futures enabled, for this address?",
    ),
    one(-2016, C::Failed, A::HaltSymbol, "no trading window for the symbol"),
    one(-2017, C::Fatal, A::HaltTrading, "the API keys of this account are locked"),
    row(
        -2018,
        -2019,
        C::Failed,
        A::RefreshAccount,
        "not enough balance or margin: transfer more to the futures wallet, or lower alpha.fraction",
    ),
    one(-2020, C::Failed, A::Report, "the order could not be filled"),
    one(-2021, C::Failed, A::Report, "a conditional order would trigger at once"),
    one(-2022, C::Failed, A::Reconcile, "reduce-only refused: the position has changed"),
    one(-2023, C::Fatal, A::HaltTrading, "the account is in liquidation"),
    one(-2024, C::Failed, A::Reconcile, "the position is smaller than the order"),
    one(-2025, C::Failed, A::Reconcile, "too many open orders"),
    one(-2026, C::Failed, A::Report, "this order type does not support reduce-only"),
    row(-2027, -2028, C::Failed, A::RefreshAccount, "the position would exceed what the leverage allows"),
    row(-4001, -4005, C::Bug, A::RefreshInstruments, "price or quantity outside the symbol's range"),
    row(-4013, -4014, C::Bug, A::RefreshInstruments, "price below its range or not on a tick"),
    one(-4015, C::Bug, A::Report, "the client order id is too long or has a refused character"),
    one(-4016, C::Failed, A::Report, "price above what the mark price allows now"),
    one(-4023, C::Bug, A::RefreshInstruments, "quantity not on a lot"),
    one(-4024, C::Failed, A::Report, "price below what the mark price allows now"),
    one(-4028, C::Failed, A::RefreshAccount, "this leverage is not allowed"),
    one(-4045, C::Failed, A::Reconcile, "too many open conditional orders"),
    one(-4046, C::Success, A::Report, "the margin type is that already"),
    row(-4047, -4048, C::Failed, A::Report, "the margin type cannot change with open orders or a position"),
    row(-4050, -4051, C::Failed, A::RefreshAccount, "not enough cross or isolated balance"),
    one(-4055, C::Bug, A::Report, "an amount must be positive"),
    one(-4059, C::Success, A::Report, "the position mode is that already"),
    one(
        -4061,
        C::Fatal,
        A::HaltTrading,
        "the account is in another position mode (hedge or one-way) than the \
         config says: change one of them",
    ),
    one(
        -4062,
        C::Fatal,
        A::HaltTrading,
        "reduce-only in hedge mode: the account is in another mode than the config",
    ),
    row(-4067, -4068, C::Failed, A::Report, "the position mode cannot change with open orders or a position"),
    row(-4087, -4088, C::Failed, A::ReduceOnly, "the account may only reduce, or not place orders"),
    row(-4105, -4107, C::Failed, A::ReduceOnly, "the account or symbol may only reduce"),
    one(-4109, C::Fatal, A::HaltTrading, "the account is not active: transfer any amount to it"),
    one(-4116, C::Unknown, A::Query, "the client order id is in use: an earlier attempt was executed"),
    one(-4117, C::Unknown, A::Query, "the conditional order is triggering"),
    one(-4118, C::Failed, A::Reconcile, "reduce-only refused: position or open orders have changed"),
    one(-4120, C::Bug, A::Report, "conditional orders belong to the algo service"),
    one(
        -4131,
        C::Failed,
        A::Report,
        "market order refused: the best opposite price is too far; the book is thin",
    ),
    row(-4140, -4141, C::Failed, A::HaltSymbol, "the symbol's status does not allow this"),
    one(-4142, C::Failed, A::Report, "a conditional order would trigger at once"),
    one(-4161, C::Failed, A::RefreshAccount, "leverage cannot be reduced with an open position"),
    one(-4164, C::Failed, A::RefreshInstruments, "the order's value is below the symbol's minimum"),
    row(-4167, -4170, C::Failed, A::Report, "the margin mode cannot change now"),
    one(-4171, C::Success, A::Report, "the multi-assets mode is that already"),
    one(-4189, C::Failed, A::ReduceOnly, "the account may only reduce"),
    one(-4192, C::Failed, A::ReduceOnly, "trading is barred for a cooling-off period"),
    one(-4209, C::Failed, A::RefreshAccount, "leverage above what the account may use"),
    row(-4400, -4402, C::Failed, A::ReduceOnly, "a trading rule bars this account or symbol from opening"),
    one(-4531, C::Failed, A::Report, "the margin mode cannot change now"),
    row(-5021, -5022, C::Failed, A::Report, "would not fill at once, or would take: no order was made"),
    row(-5024, -5026, C::Failed, A::Report, "this order cannot be modified (any more)"),
    one(-5027, C::Success, A::Report, "the order has these values already"),
    one(
        -5028,
        C::Failed,
        A::SyncClockAndRetryOnce,
        "the timestamp was outside the receive window at the engine",
    ),
    one(-5029, C::Failed, A::Report, "the order's value is outside what may be modified"),
    row(-5037, -5040, C::Bug, A::Report, "price match, self-trade or expiry parameters do not go together"),
    one(-5041, C::Failed, A::Report, "no depth matches this order"),
    one(-5043, C::Failed, A::Query, "a modification of this order is still being worked on"),
    one(-5047, C::Failed, A::Report, "the modification does not go with reduce-only"),
];

/// The rule of a code.
pub fn rule(code: i32) -> &'static ErrorRule {
    TABLE.iter().find(|r| code <= r.first && code >= r.last).unwrap_or(&UNLISTED)
}

/// The rule of an answer over HTTP or the WebSocket API, where the status may say more than the code: the same
/// code comes with 429 (slow down) and 418 (banned), and a 5xx without a code says only by its text whether the
/// request was executed.
pub fn classify(status: u16, code: i32, text: &str) -> &'static ErrorRule {
    const BANNED: ErrorRule = row(
        -1003,
        -1003,
        C::Throttled,
        A::WaitForBan,
        "this address is banned for a time; every request lengthens it",
    );
    const FIREWALL: ErrorRule = row(
        0,
        0,
        C::Fatal,
        A::HaltTrading,
        "refused by the venue's firewall: too many or malformed requests",
    );
    const UNAVAILABLE: ErrorRule =
        row(0, 0, C::Retry, A::BackOff, "the venue is not available; the request was not executed");
    const NO_VENUE: ErrorRule = row(
        0,
        0,
        C::Fatal,
        A::HaltTrading,
        "there is no such endpoint: this host is no Binance futures venue; check --venue and venue.rest_url",
    );
    match (status, code) {
        (404, 0) => &NO_VENUE,
        (418, _) => &BANNED,
        (_, -1003) if ban_ends(text).is_some() => &BANNED,
        (429, 0) => rule(-1003),
        (403, 0) => &FIREWALL,
        (503, 0) if text.contains("Service Unavailable") => &UNAVAILABLE,
        (408 | 500..=599, 0) => &NO_ANSWER,
        (_, 0) => &UNLISTED,
        (_, code) => rule(code),
    }
}

/// The end of a ban in venue milliseconds, from a text such as `…IP(1.2.3.4) banned until 1573640021001. …`.
pub fn ban_ends(text: &str) -> Option<u64> {
    let after = text.split_once("banned until ")?.1;
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    after[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_ordered_and_do_not_overlap() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].last > pair[1].first, "{} and {}", pair[0].last, pair[1].first);
            assert!(pair[0].last <= pair[0].first);
        }
    }

    #[test]
    fn codes_that_decide_an_orders_fate() {
        for code in [-1000, -1001, -1006, -1007, -4116] {
            assert_eq!((code, rule(code).class), (code, Class::Unknown));
        }
        for code in [-2010, -2019, -2021, -5022, -1021, -4164, -9999] {
            assert_eq!((code, rule(code).class), (code, Class::Failed));
        }
        assert_eq!(rule(-1008).class, Class::Retry);
        assert_eq!(rule(-2015).class, Class::Fatal);
        assert_eq!(rule(-4059).class, Class::Success);
        assert_eq!(rule(-1111).class, Class::Bug);
    }

    #[test]
    fn the_texts_of_503_are_told_apart() {
        let unknown = "Unknown error, please check your request or try again later.";
        assert_eq!(classify(503, 0, unknown).class, Class::Unknown);
        let internal = "Internal error; unable to process your request. Please try again.";
        assert_eq!(classify(503, 0, internal).class, Class::Unknown);
        assert_eq!(classify(503, 0, "Service Unavailable.").class, Class::Retry);
        assert_eq!(classify(503, -1008, "Request throttled by system-level protection").class, Class::Retry);
        assert_eq!(classify(408, 0, "").class, Class::Unknown);
        assert_eq!(classify(502, 0, "<html>").class, Class::Unknown);
        assert_eq!(classify(403, 0, "").class, Class::Fatal);
    }

    #[test]
    fn a_ban_says_when_it_ends() {
        let text = "Way too many requests; IP(1.2.3.4) banned until 1573640021001. Please use the websocket.";
        assert_eq!(ban_ends(text), Some(1_573_640_021_001));
        assert_eq!(classify(418, -1003, text).action, Action::WaitForBan);
        assert_eq!(classify(429, -1003, "Too many requests").action, Action::WaitForWindow);
        assert_eq!(ban_ends("banned until soon"), None);
    }
}
