//! Conditional orders as the venue's parameters: place, cancel, query. Used by REST and the WS-API alike.

use market::{Increment, Nanos, Px, Qty, TimeInForce};
use serde_json::{Value, json};

use super::params::Params;
use super::trade::{self, Answer, Call, position_side, price_match};
use super::user::algo_json;
use super::world::World;
use crate::core::{AlgoKind, AlgoOrder, AlgoRef, PlaceAlgo, Reject, WorkingType, is_client_id, reject};

/// Callback rates: percent, in steps of a hundredth.
const CALLBACK: std::ops::RangeInclusive<i64> = 10..=2000;

fn json_of(w: &World, o: &AlgoOrder, query: bool) -> Value {
    algo_json(o, w.exchange.listing(o.ask.symbol), query)
}

/// A parameter that has no place in this request.
fn unwanted(name: &str) -> Reject {
    Reject::text(-1106, format!("Parameter '{name}' sent when not required."))
}

fn working(p: &Params) -> Result<WorkingType, Reject> {
    match p.get("workingType") {
        None | Some("CONTRACT_PRICE") => Ok(WorkingType::Contract),
        Some("MARK_PRICE") => Ok(WorkingType::Mark),
        Some(other) => Err(Reject::text(-4031, format!("Invalid parameter working type: {other}."))),
    }
}

fn callback(p: &Params) -> Result<i64, Reject> {
    let rate = Increment::decimals(2).parse_count(p.need("callbackRate")?.as_bytes()).ok();
    rate.filter(|r| CALLBACK.contains(r))
        .ok_or(Reject::new(-1130, "Data sent for parameter 'callbackRate' is not valid."))
}

fn parse(w: &World, p: &Params, at: Nanos) -> Result<PlaceAlgo, Reject> {
    if p.need("algoType")? != "CONDITIONAL" {
        return Err(Reject::mandatory("algoType"));
    }
    let symbol = w.symbol(p.need("symbol")?)?;
    let listing = w.exchange.listing(symbol);
    let side = trade::side(p)?;
    let kind = AlgoKind::parse(p.need("type")?).ok_or(reject::BAD_TYPE)?;
    let trailing = kind == AlgoKind::TrailingStopMarket;
    let close_position = p.flag("closePosition")?.unwrap_or(false);
    let reduce_only = p.flag("reduceOnly")?.unwrap_or(false);
    let (tif, good_till) = match p.get("timeInForce") {
        None | Some("GTE_GTC") => (TimeInForce::Gtc, None),
        Some(_) => trade::tif(p, at)?,
    };
    if close_position {
        if kind.is_limit() || trailing {
            let text = format!("Target strategy invalid for orderType {},closePosition true.", kind.name());
            return Err(Reject::text(-4136, text));
        }
        if p.get("quantity").is_some() {
            return Err(reject::QTY_WITH_CLOSE_POSITION);
        }
        if reduce_only {
            return Err(unwanted("reduceonly"));
        }
    }
    let price_match = price_match(p)?;
    let px = match (kind.is_limit(), price_match.is_some()) {
        (false, true) => return Err(reject::MATCH_TYPE),
        (true, true) if p.get("price").is_some() => return Err(unwanted("price")),
        (true, false) => trade::px(listing, p.need("price")?)?,
        _ => Px::ZERO,
    };
    let trigger = match (trailing, p.get("activatePrice")) {
        (true, None) => Px::ZERO,
        (true, Some(text)) => trade::px(listing, text)?,
        (false, _) => trade::px(listing, p.need("triggerPrice")?)?,
    };
    let client_id = p.get("clientAlgoId").map(str::to_owned);
    if client_id.as_deref().is_some_and(|c| !is_client_id(c)) {
        return Err(reject::BAD_CLIENT_ID);
    }
    Ok(PlaceAlgo {
        symbol,
        client_id,
        kind,
        side,
        tif,
        px,
        price_match,
        qty: if close_position { Qty::ZERO } else { trade::qty(listing, p.need("quantity")?)? },
        trigger,
        working: working(p)?,
        close_position,
        price_protect: p.flag("priceProtect")?.unwrap_or(false),
        reduce_only,
        position_side: position_side(p.get("positionSide"))?,
        self_trade: trade::self_trade(p)?,
        good_till,
        callback: if trailing { callback(p)? } else { 0 },
    })
}

/// POST `algoOrder`, `algoOrder.place`.
pub(crate) fn place(w: &mut World, c: &Call) -> Answer {
    w.limits.orders(c.account, 1, 1, c.at)?;
    let ask = parse(w, &c.params, c.at)?;
    let algo = w.exchange.place_algo(c.account, ask, c.at)?;
    w.counters.orders += 1;
    Ok(json_of(w, &algo, false))
}

/// Which conditional order the parameters name.
fn named(p: &Params) -> Result<AlgoRef, Reject> {
    match (p.number("algoId")?, p.get("clientAlgoId")) {
        (Some(id), _) => Ok(AlgoRef::Id(id)),
        (None, Some(c)) => Ok(AlgoRef::Client(c.to_owned())),
        (None, None) => Err(Reject::new(
            -1102,
            "Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!",
        )),
    }
}

/// DELETE `algoOrder`, `algoOrder.cancel`.
pub(crate) fn cancel(w: &mut World, c: &Call) -> Answer {
    let algo = w.exchange.cancel_algo(c.account, &named(&c.params)?, c.at)?;
    let mut v = json_of(w, &algo, false);
    v["code"] = json!("200");
    v["msg"] = json!("success");
    Ok(v)
}

/// DELETE `algoOpenOrders`.
pub(crate) fn cancel_all(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    w.exchange.cancel_all_algos(c.account, symbol, c.at);
    Ok(json!({"code": 200, "msg": "The operation of cancel all open order is done."}))
}

/// GET `algoOrder`.
pub(crate) fn query(w: &mut World, c: &Call) -> Answer {
    let algo = w.exchange.find_algo(c.account, &named(&c.params)?).ok_or(reject::NO_SUCH_ORDER)?;
    Ok(json_of(w, algo, true))
}

/// `openAlgoOrders`.
pub(crate) fn open(w: &mut World, c: &Call) -> Answer {
    let symbol = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let id = c.params.number("algoId")?;
    let rows = (w.exchange.algos_of(c.account).filter(|o| o.is_open()))
        .filter(|o| symbol.is_none_or(|s| o.ask.symbol == s) && id.is_none_or(|id| o.id == id));
    Ok(Value::Array(rows.map(|o| json_of(w, o, true)).collect()))
}

/// `allAlgoOrders`.
pub(crate) fn all(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let from = c.params.number("algoId")?;
    let (start, end) = (c.params.number("startTime")?, c.params.number("endTime")?);
    let limit = c.params.limit(500, 1000)?;
    let mut rows: Vec<&AlgoOrder> = (w.exchange.algos_of(c.account))
        .filter(|o| o.ask.symbol == symbol && from.is_none_or(|id| o.id >= id))
        .filter(|o| {
            start.is_none_or(|s| o.created.millis() >= s) && end.is_none_or(|e| o.created.millis() <= e)
        })
        .collect();
    if from.is_none() && rows.len() > limit {
        rows.drain(..rows.len() - limit);
    }
    rows.truncate(limit);
    Ok(Value::Array(rows.into_iter().map(|o| json_of(w, o, true)).collect()))
}
