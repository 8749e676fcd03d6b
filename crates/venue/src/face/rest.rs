//! REST: which endpoint, at what weight, with which proof; then the call, then the faults.

use market::Nanos;
use serde_json::Value;

use super::auth::{check_time, rest_payload};
use super::limits::Used;
use super::params::{Params, percent_decode};
use super::request::{HttpRequest, Reply, Trouble, error_body};
use super::text::text_of;
use super::trade::{Answer, Call};
use super::world::World;
use super::{account, algo, public, trade};
use crate::core::{AccountId, Reject, reject};
use crate::faults::{Fault, matches};

/// What an endpoint wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Nothing.
    None,
    /// The API key alone (listen keys).
    Key,
    /// Key, timestamp and signature.
    Signed,
}

type Handler = fn(&mut World, &Call) -> Answer;

/// The request faults that strike this request (`name` as in [`Fault`]).
pub(crate) fn trouble(w: &mut World, name: &str) -> Trouble {
    let mut t = Trouble::default();
    if w.faults.is_empty() {
        return t;
    }
    let handshake = name.starts_with("WS ");
    let on_request = |f: &Fault| match f {
        Fault::ReplyLost { on, .. }
        | Fault::ReplyError { on, .. }
        | Fault::ReplyDelay { on, .. }
        | Fault::RequestDelay { on, .. }
        | Fault::ReplyNever { on, .. } => !handshake && matches(on, name),
        // The WS-API speaks no HTML.
        Fault::Page { on, .. } => name.contains(" /") && matches(on, name),
        Fault::TooManyRequests { .. } => !handshake,
        _ => false,
    };
    let Some(fault) = w.faults.strike(on_request) else { return t };
    w.counters.faults += 1;
    match fault {
        Fault::ReplyLost { executed, .. } => (t.lost, t.skip) = (true, !executed),
        Fault::ReplyNever { executed, .. } => (t.never, t.skip) = (true, !executed),
        Fault::Page { status, .. } => (t.page, t.skip) = (Some(status), true),
        Fault::ReplyDelay { ms, .. } => t.after = ms,
        Fault::RequestDelay { ms, .. } => t.before = ms,
        Fault::ReplyError { code, msg, status, executed, .. } => {
            t.skip = !executed;
            t.instead = Some(Reply { status, body: error_body(code, &msg), ..Reply::default() });
        }
        Fault::TooManyRequests { retry_after_s } => {
            t.skip = true;
            let body = error_body(-1003, "Too many requests; please use the websocket for live updates.");
            t.instead =
                Some(Reply { status: 429, body, retry_after: Some(retry_after_s), ..Reply::default() });
        }
        _ => {}
    }
    t
}

/// Endpoint: handler, weight, proof.
fn endpoint(method: &str, path: &str, p: &Params) -> Option<(Handler, u32, Proof)> {
    use Proof::{Key, None as Open, Signed};
    let all = |with: u32, without: u32| if p.get("symbol").is_some() { with } else { without };
    Some(match (method, path) {
        ("GET", "/fapi/v1/ping" | "/api/v3/ping") => (public::ping, 1, Open),
        ("GET", "/fapi/v1/time" | "/api/v3/time") => (public::time, 1, Open),
        ("GET", "/fapi/v1/exchangeInfo") => (public::exchange_info, 1, Open),
        ("GET", "/fapi/v1/depth") => (public::depth, public::depth_weight(p.get("limit")), Open),
        ("GET", "/fapi/v1/trades") => (public::trades, 5, Open),
        ("GET", "/fapi/v1/historicalTrades") => (public::trades, 20, Key),
        ("GET", "/fapi/v1/aggTrades") => (public::agg_trades, 20, Open),
        ("GET", "/fapi/v1/klines") => (public::klines, 5, Open),
        ("GET", "/fapi/v1/ticker/price" | "/fapi/v2/ticker/price") => (public::price, all(1, 2), Open),
        ("GET", "/fapi/v1/ticker/bookTicker") => (public::book_ticker, all(2, 5), Open),
        ("GET", "/fapi/v1/ticker/24hr") => (public::day, all(1, 40), Open),
        ("GET", "/fapi/v1/premiumIndex") => (public::premium_index, all(1, 10), Open),
        ("GET", "/fapi/v1/openInterest") => (public::open_interest, 1, Open),
        ("GET", "/fapi/v1/fundingRate") => (public::funding_rates, 0, Open),
        ("GET", "/fapi/v1/fundingInfo") => (public::funding_info, 0, Open),
        ("GET", "/fapi/v1/rpiDepth") => (public::depth, 20, Open),
        ("GET", "/fapi/v1/continuousKlines") => (public::continuous_klines, 5, Open),
        ("GET", "/fapi/v1/markPriceKlines") => (public::mark_klines, 5, Open),
        ("GET", "/fapi/v1/indexPriceKlines") => (public::index_klines, 5, Open),
        ("GET", "/fapi/v1/premiumIndexKlines") => (public::premium_klines, 5, Open),
        ("GET", "/fapi/v1/constituents") => (public::constituents, 2, Open),
        ("GET", "/fapi/v1/insuranceBalance") => (public::insurance, 1, Open),
        ("GET", "/fapi/v1/symbolAdlRisk") => (public::adl_risk, 1, Open),
        ("GET", "/fapi/v1/assetIndex") => (public::asset_index, all(1, 10), Open),
        // Composite symbols: none is listed.
        ("GET", "/fapi/v1/indexInfo") => (public::empty_list, 1, Open),
        ("GET", "/fapi/v1/tradingSchedule") => (public::unsupported, 5, Open),
        ("GET", statistics) if statistics.starts_with("/futures/data/") => (public::unsupported, 0, Open),
        ("POST", "/fapi/v1/listenKey") => (account::start_stream, 1, Key),
        ("PUT", "/fapi/v1/listenKey") => (account::keep_stream, 1, Key),
        ("DELETE", "/fapi/v1/listenKey") => (account::stop_stream, 1, Key),
        _ => return signed_endpoint(method, path, p).map(|(h, weight)| (h, weight, Signed)),
    })
}

fn signed_endpoint(method: &str, path: &str, p: &Params) -> Option<(Handler, u32)> {
    let all = |with: u32, without: u32| if p.get("symbol").is_some() { with } else { without };
    Some(match (method, path) {
        ("POST", "/fapi/v1/order") => (trade::place, 0),
        ("PUT", "/fapi/v1/order") => (trade::modify, 0),
        ("GET", "/fapi/v1/order") => (trade::query, 1),
        ("DELETE", "/fapi/v1/order") => (trade::cancel, 1),
        ("POST", "/fapi/v1/order/test") => (trade::test, 0),
        ("POST", "/fapi/v1/batchOrders") => (trade::place_batch, 5),
        ("PUT", "/fapi/v1/batchOrders") => (trade::modify_batch, 5),
        ("DELETE", "/fapi/v1/batchOrders") => (trade::cancel_batch, 1),
        ("GET", "/fapi/v1/openOrder") => (trade::open_order, 1),
        ("GET", "/fapi/v1/openOrders") => (trade::open_orders, all(1, 40)),
        ("GET", "/fapi/v1/allOrders") => (trade::all_orders, 5),
        ("DELETE", "/fapi/v1/allOpenOrders") => (trade::cancel_all, 1),
        ("POST", "/fapi/v1/countdownCancelAll") => (trade::countdown, 10),
        ("POST", "/fapi/v1/algoOrder") => (algo::place, 0),
        ("GET", "/fapi/v1/algoOrder") => (algo::query, 1),
        ("DELETE", "/fapi/v1/algoOrder") => (algo::cancel, 1),
        ("DELETE", "/fapi/v1/algoOpenOrders") => (algo::cancel_all, 1),
        ("GET", "/fapi/v1/openAlgoOrders") => (algo::open, all(1, 40)),
        ("GET", "/fapi/v1/allAlgoOrders") => (algo::all, 5),
        ("GET", "/fapi/v1/orderAmendment") => (trade::amendments, 1),
        ("GET", "/fapi/v1/forceOrders") => (trade::force_orders, 20),
        ("GET", "/fapi/v1/adlQuantile") => (account::adl_quantile, 5),
        ("POST", "/fapi/v1/positionMargin") => (account::adjust_margin, 1),
        ("GET", "/fapi/v1/positionMargin/history") => (account::margin_changes, 1),
        ("GET", "/fapi/v1/feeBurn") => (account::fee_burn, 1),
        ("POST", "/fapi/v1/feeBurn") => (account::set_fee_burn, 1),
        (
            "GET",
            "/fapi/v1/order/asyn"
            | "/fapi/v1/order/asyn/id"
            | "/fapi/v1/trade/asyn"
            | "/fapi/v1/trade/asyn/id"
            | "/fapi/v1/income/asyn"
            | "/fapi/v1/income/asyn/id",
        ) => (public::unsupported, 10),
        ("GET", "/fapi/v1/apiTradingStatus") => (account::trading_status, 1),
        ("GET", "/fapi/v1/userTrades") => (account::user_trades, 5),
        ("GET", "/fapi/v1/income") => (account::income, 30),
        ("GET", "/fapi/v2/account") => (account::account_v2, 5),
        ("GET", "/fapi/v3/account") => (account::account_v3, 5),
        ("GET", "/fapi/v2/balance" | "/fapi/v3/balance") => (account::balance, 5),
        ("GET", "/fapi/v1/positionRisk" | "/fapi/v2/positionRisk") => (account::risk_v2, 5),
        ("GET", "/fapi/v3/positionRisk") => (account::risk_v3, 5),
        ("POST", "/fapi/v1/leverage") => (account::set_leverage, 1),
        ("POST", "/fapi/v1/marginType") => (account::set_margin_type, 1),
        ("GET", "/fapi/v1/positionSide/dual") => (account::dual, 30),
        ("POST", "/fapi/v1/positionSide/dual") => (account::set_dual, 1),
        ("GET", "/fapi/v1/multiAssetsMargin") => (account::multi_assets, 30),
        ("POST", "/fapi/v1/multiAssetsMargin") => (account::set_multi_assets, 1),
        ("GET", "/fapi/v1/leverageBracket") => (account::brackets, 1),
        ("GET", "/fapi/v1/commissionRate") => (account::commission_rate, 20),
        ("GET", "/fapi/v1/symbolConfig") => (account::symbol_config, 5),
        ("GET", "/fapi/v1/accountConfig") => (account::config, 5),
        ("GET", "/fapi/v1/rateLimit/order") => (account::order_limits, 1),
        _ => return None,
    })
}

/// Answers a request.
pub(crate) fn handle(w: &mut World, r: &HttpRequest, now: Nanos) -> Reply {
    let at = w.clock(now);
    w.counters.requests += 1;
    let params = Params::parse(&r.query, &r.body);
    let Some((handler, weight, proof)) = endpoint(&r.method, &r.path, &params) else {
        return Reply {
            status: 404,
            body: error_body(reject::NO_ROUTE.code, &reject::NO_ROUTE.msg),
            ..Reply::default()
        };
    };
    let mut used = Used::default();
    match w.limits.request(r.ip, weight, now) {
        Ok(weight) => used.weight = weight,
        Err((e, status, retry)) => {
            w.counters.rejects += 1;
            return Reply { status, body: error_body(e.code, &e.msg), used, retry_after: Some(retry) };
        }
    }
    let answer = authorise(w, r, &params, proof, at).and_then(|account| {
        let call = Call { params, account, at };
        let answer = handler(w, &call);
        if proof == Proof::Signed {
            used.orders = Some(w.limits.order_counts(account, at));
        }
        answer
    });
    w.settle(at);
    finish(w, answer, used)
}

fn finish(w: &mut World, answer: Result<Value, Reject>, used: Used) -> Reply {
    match answer {
        Ok(v) => Reply { status: 200, body: text_of(&v), used, retry_after: None },
        Err(e) => {
            w.counters.rejects += 1;
            Reply { status: e.status(), body: error_body(e.code, &e.msg), used, retry_after: None }
        }
    }
}

fn authorise(w: &World, r: &HttpRequest, p: &Params, proof: Proof, at: Nanos) -> Result<AccountId, Reject> {
    if proof == Proof::None {
        return Ok(AccountId(0));
    }
    let account = w.keys.account(r.api_key.as_deref())?;
    if proof == Proof::Key {
        return Ok(account);
    }
    let timestamp = p.number("timestamp")?.ok_or_else(|| Reject::mandatory("timestamp"))?;
    let window = p.number("recvWindow")?.unwrap_or(5000);
    let (payload, signature) = rest_payload(&r.query, &r.body);
    let signature = signature.ok_or_else(|| Reject::mandatory("signature"))?;
    check_time(timestamp, window, at.millis())?;
    w.keys.verify(
        r.api_key.as_deref().unwrap_or_default(),
        &payload,
        &percent_decode(&signature.replace('+', "%2B")),
    )?;
    Ok(account)
}
