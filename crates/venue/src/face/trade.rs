//! Order entry as the venue's parameters: place, modify, cancel, query. Used by REST and the WS-API alike.

use market::{Nanos, NumberError, OrderType, PositionSide, Px, Qty, Side, SymbolId, TimeInForce};
use serde_json::{Value, json};

use super::params::Params;
use super::user::order_json;
use super::world::World;
use crate::core::{AccountId, Listing, Order, OrderRef, PlaceOrder, PriceMatch, Reject, SelfTrade, reject};
use crate::faults::{Fault, matches};

/// A request by an account.
pub(crate) struct Call {
    /// Parameters.
    pub params: Params,
    /// Who (the first account where nobody proved to be anybody).
    pub account: AccountId,
    /// Venue time.
    pub at: Nanos,
}

/// A reply's JSON, or a refusal.
pub(crate) type Answer = Result<Value, Reject>;

/// Price text to ticks (−1111, −4014).
pub(super) fn px(l: &Listing, text: &str) -> Result<Px, Reject> {
    if text.starts_with('-') {
        return Err(reject::PRICE_BELOW_ZERO);
    }
    let precision = l.instrument.tick.scale().max(2);
    count(l.instrument.tick, precision, text, "price", reject::OFF_TICK).map(Px)
}

/// Quantity text to lots (−1111, −4023).
pub(super) fn qty(l: &Listing, text: &str) -> Result<Qty, Reject> {
    if text.starts_with('-') {
        return Err(reject::QTY_BELOW_ZERO);
    }
    count(l.instrument.lot, l.instrument.lot.scale(), text, "quantity", reject::OFF_STEP).map(Qty)
}

fn count(step: market::Increment, precision: u8, text: &str, name: &str, off: Reject) -> Result<i64, Reject> {
    step.parse_count(text.as_bytes()).map_err(|e| match e {
        NumberError::Malformed => Reject::mandatory(name),
        NumberError::OutOfRange => reject::QTY_TOO_LARGE,
        NumberError::OffGrid => {
            let decimals = text.split_once('.').map_or(0, |(_, f)| f.trim_end_matches('0').len());
            if decimals > usize::from(precision) { reject::PRECISION } else { off }
        }
    })
}

pub(super) fn side(p: &Params) -> Result<Side, Reject> {
    match p.need("side")? {
        "BUY" => Ok(Side::Buy),
        "SELL" => Ok(Side::Sell),
        _ => Err(reject::BAD_SIDE),
    }
}

pub(crate) fn position_side(text: Option<&str>) -> Result<PositionSide, Reject> {
    match text {
        None | Some("BOTH") => Ok(PositionSide::Both),
        Some("LONG") => Ok(PositionSide::Long),
        Some("SHORT") => Ok(PositionSide::Short),
        Some(_) => Err(Reject::new(
            -1102,
            "Mandatory parameter 'positionSide' was not sent, was empty/null, or malformed.",
        )),
    }
}

pub(super) fn self_trade(p: &Params) -> Result<SelfTrade, Reject> {
    match p.get("selfTradePreventionMode") {
        None | Some("EXPIRE_MAKER") => Ok(SelfTrade::ExpireMaker),
        Some("NONE") => Ok(SelfTrade::None),
        Some("EXPIRE_TAKER") => Ok(SelfTrade::ExpireTaker),
        Some("EXPIRE_BOTH") => Ok(SelfTrade::ExpireBoth),
        Some(_) => Err(Reject::new(-5039, "Invalid selfTradePreventionMode.")),
    }
}

/// Time in force and good-till date.
pub(super) fn tif(p: &Params, at: Nanos) -> Result<(TimeInForce, Option<Nanos>), Reject> {
    Ok(match p.need("timeInForce")? {
        "GTC" => (TimeInForce::Gtc, None),
        "IOC" => (TimeInForce::Ioc, None),
        "FOK" => (TimeInForce::Fok, None),
        "GTX" => (TimeInForce::Gtx, None),
        "GTD" => {
            let ms = p.number("goodTillDate")?.ok_or_else(|| Reject::mandatory("goodTillDate"))?;
            if ms <= at.millis() + 600_000 || ms >= 253_402_300_799_000 {
                return Err(Reject::new(
                    -5040,
                    "The goodTillDate timestamp must be greater than the current time plus 600 seconds and smaller than 253402300799000.",
                ));
            }
            (TimeInForce::Gtc, Some(Nanos::from_millis(ms / 1000 * 1000)))
        }
        _ => return Err(reject::BAD_TIF),
    })
}

/// `priceMatch` (−5037).
pub(super) fn price_match(p: &Params) -> Result<PriceMatch, Reject> {
    p.get("priceMatch").map_or(Ok(PriceMatch::None), |m| PriceMatch::parse(m).ok_or(reject::BAD_MATCH))
}

/// A limit price: the one that was sent, or the one that the price match finds.
fn limit_px(w: &World, symbol: SymbolId, side: Side, p: &Params) -> Result<(Px, PriceMatch), Reject> {
    let how = price_match(p)?;
    match w.exchange.matched_px(symbol, side, how)? {
        Some(_) if p.get("price").is_some() => {
            Err(Reject::new(-1106, "Parameter 'price' sent when not required."))
        }
        Some(px) => Ok((px, how)),
        None => Ok((px(w.exchange.listing(symbol), p.need("price")?)?, how)),
    }
}

fn parse(w: &World, p: &Params, at: Nanos) -> Result<PlaceOrder, Reject> {
    let symbol = w.symbol(p.need("symbol")?)?;
    let listing = w.exchange.listing(symbol);
    let side = side(p)?;
    let kind = match p.need("type")? {
        "LIMIT" => OrderType::Limit,
        "MARKET" => OrderType::Market,
        "STOP" | "STOP_MARKET" | "TAKE_PROFIT" | "TAKE_PROFIT_MARKET" | "TRAILING_STOP_MARKET" => {
            return Err(reject::USE_ALGO);
        }
        _ => return Err(reject::BAD_TYPE),
    };
    let (mut tif_, mut good_till, mut px_) = (TimeInForce::Gtc, None, (Px::ZERO, PriceMatch::None));
    if kind == OrderType::Limit {
        (tif_, good_till) = tif(p, at)?;
        px_ = limit_px(w, symbol, side, p)?;
    } else if price_match(p)?.is_some() {
        return Err(reject::MATCH_TYPE);
    }
    let client_id = p.get("newClientOrderId").map(str::to_owned);
    if client_id.as_deref().is_some_and(|c| !crate::core::is_client_id(c)) {
        return Err(reject::BAD_CLIENT_ID);
    }
    Ok(PlaceOrder {
        symbol,
        client_id,
        side,
        kind,
        tif: tif_,
        px: px_.0,
        qty: qty(listing, p.need("quantity")?)?,
        reduce_only: p.flag("reduceOnly")?.unwrap_or(false),
        position_side: position_side(p.get("positionSide"))?,
        self_trade: self_trade(p)?,
        good_till,
        price_match: px_.1,
        origin: None,
    })
}

/// An order as a reply.
pub(crate) fn reply(w: &World, o: &Order, query: bool) -> Value {
    order_json(o, w.exchange.listing(o.symbol), query, w.rules.legacy_reply_fields)
}

/// New order.
pub(crate) fn place(w: &mut World, c: &Call) -> Answer {
    w.limits.orders(c.account, 1, 1, c.at)?;
    place_uncounted(w, c.account, &c.params, c.at)
}

fn place_uncounted(w: &mut World, account: AccountId, p: &Params, at: Nanos) -> Answer {
    let ask = parse(w, p, at)?;
    let result = match p.get("newOrderRespType") {
        None | Some("ACK") => false,
        Some("RESULT") => true,
        Some(_) => return Err(Reject::mandatory("newOrderRespType")),
    };
    let closes = ask.reduce_only || w.exchange.check_place(account, &ask)?;
    if !closes && w.faults.strike(|f| *f == Fault::Overload).is_some() {
        return Err(Reject::new(
            -1008,
            "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again.",
        ));
    }
    let qty = ask.qty;
    let mut order = w.exchange.place(account, ask, at)?;
    w.counters.orders += 1;
    if !result && order.filled.0 > 0 {
        // ACK: the state before matching.
        order.status = market::OrderStatus::New;
        order.filled = Qty::ZERO;
        order.quote = market::Amount::ZERO;
        order.qty = qty;
    }
    Ok(reply(w, &order, false))
}

/// Validates only.
pub(crate) fn test(w: &mut World, c: &Call) -> Answer {
    let ask = parse(w, &c.params, c.at)?;
    w.exchange.check_place(c.account, &ask)?;
    Ok(json!({}))
}

/// Which order the parameters name.
fn named(p: &Params) -> Result<OrderRef, Reject> {
    if let Some(id) = p.number("orderId")? {
        return Ok(OrderRef::Id(id));
    }
    match p.get("origClientOrderId") {
        Some(c) => Ok(OrderRef::Client(c.to_owned())),
        None => Err(Reject::new(
            -1102,
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
        )),
    }
}

/// The fault that lets a fill come before a cancel or modify.
fn fill_first(w: &mut World, c: &Call, symbol: SymbolId, which: &OrderRef) {
    let Some(l) = w
        .exchange
        .find(c.account, symbol, which)
        .filter(|o| o.is_open())
        .map(|o| w.exchange.listing(o.symbol))
    else {
        return;
    };
    let (name, lot) = (&l.instrument.symbol, l.instrument.lot);
    let strikes = |f: &Fault| matches!(f, Fault::FillFirst { symbol, .. } if matches(symbol, name));
    if let Some(Fault::FillFirst { quantity, .. }) = w.faults.strike(strikes) {
        w.counters.faults += 1;
        let qty = quantity.and_then(|q| lot.parse_count(q.as_bytes()).ok()).unwrap_or(i64::MAX);
        // The order is open: it was just found.
        w.exchange.fill_order(c.account, symbol, which, Qty(qty), c.at).ok();
    }
}

/// Cancel.
pub(crate) fn cancel(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let which = named(&c.params)?;
    fill_first(w, c, symbol, &which);
    let order = w.exchange.cancel(c.account, symbol, &which, c.at)?;
    Ok(reply(w, &order, false))
}

/// Modify.
pub(crate) fn modify(w: &mut World, c: &Call) -> Answer {
    w.limits.orders(c.account, 1, 1, c.at)?;
    let symbol = w.symbol(c.params.need("symbol")?)?;
    fill_first(w, c, symbol, &named(&c.params)?);
    modify_uncounted(w, c.account, &c.params, c.at)
}

fn modify_uncounted(w: &mut World, account: AccountId, p: &Params, at: Nanos) -> Answer {
    let symbol = w.symbol(p.need("symbol")?)?;
    let which = named(p)?;
    let wanted = side(p)?;
    let q = qty(w.exchange.listing(symbol), p.need("quantity")?)?;
    let (price, _) = limit_px(w, symbol, wanted, p)?;
    if w.exchange.find(account, symbol, &which).is_some_and(|o| o.side != wanted) {
        return Err(reject::BAD_SIDE);
    }
    let order = w.exchange.modify(account, symbol, &which, price, q, at)?;
    Ok(reply(w, &order, false))
}

/// Is the order hidden by a read lag?
fn lagging(w: &mut World, o: &Order, at: Nanos) -> bool {
    let young = |ms: u64| at.since(o.created).millis() < ms;
    w.faults.strike(|f| matches!(f, Fault::ReadLag { ms } if young(*ms))).is_some()
}

/// Query one order.
pub(crate) fn query(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let order =
        w.exchange.find(c.account, symbol, &named(&c.params)?).cloned().ok_or(reject::NO_SUCH_ORDER)?;
    if lagging(w, &order, c.at) {
        return Err(reject::NO_SUCH_ORDER);
    }
    Ok(reply(w, &order, true))
}

/// Query one open order.
pub(crate) fn open_order(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let found = w.exchange.find(c.account, symbol, &named(&c.params)?).filter(|o| o.is_open()).cloned();
    let order = found.ok_or(reject::NO_SUCH_ORDER)?;
    if lagging(w, &order, c.at) {
        return Err(reject::NO_SUCH_ORDER);
    }
    Ok(reply(w, &order, true))
}

/// All open orders, of a symbol or of all.
pub(crate) fn open_orders(w: &mut World, c: &Call) -> Answer {
    let symbol = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let a = w.exchange.account(c.account);
    let open: Vec<Order> = (a.open.iter().filter_map(|id| w.exchange.order(*id)))
        .filter(|o| symbol.is_none_or(|s| o.symbol == s))
        .cloned()
        .collect();
    let seen: Vec<Order> = open.into_iter().filter(|o| !lagging(w, o, c.at)).collect();
    Ok(Value::Array(seen.iter().map(|o| reply(w, o, true)).collect()))
}

/// Order history.
pub(crate) fn all_orders(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let from = c.params.number("orderId")?.unwrap_or(0);
    let (start, end) = (c.params.number("startTime")?, c.params.number("endTime")?);
    let limit = c.params.limit(500, 1000)?;
    let mut rows: Vec<&Order> = (w.exchange.orders_of(c.account))
        .filter(|o| o.symbol == symbol && o.id >= from)
        .filter(|o| {
            start.is_none_or(|s| o.created.millis() >= s) && end.is_none_or(|e| o.created.millis() <= e)
        })
        .collect();
    if from == 0 && rows.len() > limit {
        rows.drain(..rows.len() - limit);
    }
    rows.truncate(limit);
    Ok(Value::Array(rows.into_iter().map(|o| reply(w, o, true)).collect()))
}

/// Cancel all open orders of a symbol.
pub(crate) fn cancel_all(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    w.exchange.cancel_all(c.account, symbol, c.at);
    Ok(json!({"code": 200, "msg": "The operation of cancel all open order is done."}))
}

/// Dead man's switch.
pub(crate) fn countdown(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let ms = c.params.number("countdownTime")?.ok_or_else(|| Reject::mandatory("countdownTime"))?;
    w.exchange.set_countdown(c.account, symbol, ms, c.at);
    Ok(json!({"symbol": w.exchange.listing(symbol).instrument.symbol, "countdownTime": ms.to_string()}))
}

/// Up to five orders at once.
pub(crate) fn place_batch(w: &mut World, c: &Call) -> Answer {
    batch(w, c, place_uncounted)
}

/// Up to five edits at once.
pub(crate) fn modify_batch(w: &mut World, c: &Call) -> Answer {
    batch(w, c, modify_uncounted)
}

fn batch(w: &mut World, c: &Call, each: fn(&mut World, AccountId, &Params, Nanos) -> Answer) -> Answer {
    let list: Vec<Value> =
        serde_json::from_str(c.params.need("batchOrders")?).map_err(|_| Reject::mandatory("batchOrders"))?;
    if list.is_empty() || list.len() > 5 {
        return Err(Reject::new(-4082, "Invalid number of batch place orders."));
    }
    w.limits.orders(c.account, 5, 1, c.at)?;
    let answers = list.iter().map(|item| {
        each(w, c.account, &Params::from_json(item), c.at)
            .unwrap_or_else(|r| json!({"code": r.code, "msg": r.msg}))
    });
    Ok(Value::Array(answers.collect()))
}

/// The items of `[1,2]`, `["a","b"]` or `[a,b]`.
fn items(list: &str) -> impl Iterator<Item = &str> {
    let inner = list.trim().trim_start_matches('[').trim_end_matches(']');
    inner.split(',').map(|s| s.trim().trim_matches('"')).filter(|s| !s.is_empty())
}

/// `orderAmendment`: the edits of an order, newest first.
pub(crate) fn amendments(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let limit = c.params.limit(50, 100)?;
    let order = w.exchange.find(c.account, symbol, &named(&c.params)?).ok_or(reject::NO_SUCH_ORDER)?;
    let i = &w.exchange.listing(symbol).instrument;
    let px = |p: Px| i.tick.format(p.0).to_string();
    let qty = |q: Qty| i.lot.format(q.0).to_string();
    let rows = w.exchange.amendments(order.id).enumerate().take(limit).map(|(n, a)| {
        json!({
            "amendmentId": a.id, "symbol": i.symbol, "pair": i.symbol, "orderId": order.id,
            "clientOrderId": order.client_id, "time": a.at.millis(), "amendment": {
                "price": {"before": px(a.px.0), "after": px(a.px.1)},
                "origQty": {"before": qty(a.qty.0), "after": qty(a.qty.1)},
                "count": order.edits as usize - n,
            }, "priceMatch": "NONE",
        })
    });
    Ok(Value::Array(rows.collect()))
}

/// `forceOrders`: what the venue closed by itself.
pub(crate) fn force_orders(w: &mut World, c: &Call) -> Answer {
    let symbol = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let limit = c.params.limit(50, 100)?;
    let prefix = match c.params.get("autoCloseType") {
        Some("LIQUIDATION") => "autoclose-",
        Some("ADL") => "adl_autoclose",
        _ => "",
    };
    let forced = |o: &&Order| {
        let id = &o.client_id;
        (id.starts_with("autoclose-") || id.starts_with("adl_autoclose")) && id.starts_with(prefix)
    };
    let rows: Vec<Value> = (w.exchange.orders_of(c.account).filter(forced))
        .filter(|o| symbol.is_none_or(|s| o.symbol == s))
        .map(|o| reply(w, o, true))
        .collect();
    let skip = rows.len().saturating_sub(limit);
    Ok(Value::Array(rows.into_iter().skip(skip).rev().collect()))
}

/// Up to ten cancels at once.
pub(crate) fn cancel_batch(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    // Some clients write the names in lower case.
    let either = |a: &str| c.params.get(a).or_else(|| c.params.get(&a.to_lowercase()));
    let ids: Vec<OrderRef> = match (either("orderIdList"), either("origClientOrderIdList")) {
        (Some(list), _) => {
            let id = |s: &str| s.parse().map(OrderRef::Id).map_err(|_| Reject::mandatory("orderIdList"));
            items(list).map(id).collect::<Result<_, _>>()?
        }
        (None, Some(list)) => items(list).map(|s| OrderRef::Client(s.to_owned())).collect(),
        (None, None) => return Err(Reject::mandatory("orderIdList")),
    };
    if ids.len() > 10 {
        return Err(Reject::new(-1130, "Data sent for parameter 'orderIdList' is not valid."));
    }
    let answers = ids.iter().map(|id| match w.exchange.cancel(c.account, symbol, id, c.at) {
        Ok(o) => reply(w, &o, false),
        Err(r) => json!({"code": r.code, "msg": r.msg}),
    });
    Ok(Value::Array(answers.collect()))
}
