//! The user stream's events (BINANCE.md §3.4) and the order objects of replies (§3.5), with the venue's field names.

use market::{Amount, ExecType, Increment, Nanos, OrderStatus, OrderType, PositionSide, Side, TimeInForce};
use serde_json::{Value, json};

use crate::core::{
    AlgoKind, AlgoOrder, ExpiryReason, Fill, Listing, Order, OrderReport, PositionRow, WorkingType,
};

/// `BUY` / `SELL`.
pub(crate) const fn side(s: Side) -> &'static str {
    match s {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

/// `BOTH` / `LONG` / `SHORT`.
pub(crate) const fn leg(s: PositionSide) -> &'static str {
    match s {
        PositionSide::Both => "BOTH",
        PositionSide::Long => "LONG",
        PositionSide::Short => "SHORT",
    }
}

const fn kind(t: OrderType) -> &'static str {
    match t {
        OrderType::Limit => "LIMIT",
        OrderType::Market => "MARKET",
    }
}

fn tif(o: &Order) -> &'static str {
    match o.tif {
        _ if o.good_till.is_some() => "GTD",
        TimeInForce::Gtc => "GTC",
        TimeInForce::Ioc => "IOC",
        TimeInForce::Fok => "FOK",
        TimeInForce::Gtx => "GTX",
    }
}

fn status(o: &Order) -> &'static str {
    match o.status {
        OrderStatus::PartiallyFilled => "PARTIALLY_FILLED",
        OrderStatus::Filled => "FILLED",
        OrderStatus::Canceled => "CANCELED",
        OrderStatus::Expired if o.expiry == ExpiryReason::SelfTrade => "EXPIRED_IN_MATCH",
        OrderStatus::Expired => "EXPIRED",
        _ => "NEW",
    }
}

const fn exec(e: ExecType) -> &'static str {
    match e {
        ExecType::Trade => "TRADE",
        ExecType::Canceled => "CANCELED",
        ExecType::Expired => "EXPIRED",
        ExecType::Amendment => "AMENDMENT",
        ExecType::Calculated => "CALCULATED",
        _ => "NEW",
    }
}

/// A float as the venue prints averages: trimmed, at most `decimals`.
pub(crate) fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Average fill price as text, `0` without a fill.
fn average(o: &Order, l: &Listing) -> String {
    if o.filled.0 == 0 {
        return "0".to_owned();
    }
    let decimals = usize::from(l.instrument.tick.scale()) + 4;
    format!("{:.decimals$}", o.quote.to_f64() / l.instrument.qty_f64(o.filled))
}

/// A count as text without zeros at its end.
fn plain(step: Increment, count: i64) -> String {
    let text = step.format(count);
    let text = text.as_str();
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

/// A callback rate in percent.
fn callback(share: i64) -> String {
    plain(Increment::decimals(2), share)
}

/// The type of an order before it triggered.
fn original(o: &Order) -> &'static str {
    o.origin.as_ref().map_or(kind(o.kind), |g| g.kind.name())
}

/// ORDER_TRADE_UPDATE.
pub(crate) fn order_event(r: &OrderReport, l: &Listing, now: Nanos) -> String {
    let (o, i) = (&r.order, &l.instrument);
    let px = |p: i64| if p == 0 { "0".to_owned() } else { i.tick.format(p).to_string() };
    let qty = |q: i64| if q == 0 { "0".to_owned() } else { i.lot.format(q).to_string() };
    let (f, origin) = (r.fill, o.origin.as_ref());
    let trail = origin.filter(|g| g.kind == AlgoKind::TrailingStopMarket).map_or(String::new(), |g| {
        format!(r#""AP":"{}","cr":"{}","#, plain(i.tick, g.trigger.0), callback(g.callback))
    });
    let of = |g: fn(&Fill) -> Amount| f.as_ref().map_or(Amount::ZERO, g);
    format!(
        concat!(
            r#"{{"e":"ORDER_TRADE_UPDATE","T":{t},"E":{e},"o":{{"s":"{s}","c":"{c}","S":"{side}","o":"{kind}","f":"{tif}","#,
            r#""q":"{q}","p":"{p}","ap":"{ap}","sp":"{sp}","x":"{x}","X":"{status}","i":{id},"l":"{l}","z":"{z}","L":"{last}","#,
            r#""n":"{n}","N":"{asset}","T":{t},"t":{trade},"b":"{b}","a":"{a}","m":{m},"R":{reduce},"wt":"{wt}","#,
            r#""ot":"{ot}","ps":"{ps}","cp":{cp},{trail}"rp":"{rp}","pP":{protect},"si":0,"ss":0,"V":"{v}","pm":"{pm}","gtd":{gtd},"er":"{er}"}}}}"#
        ),
        t = r.at.millis(),
        e = now.millis(),
        s = i.symbol,
        c = o.client_id,
        side = side(o.side),
        kind = kind(o.kind),
        tif = tif(o),
        q = qty(o.qty.0),
        p = px(o.px.0),
        ap = average(o, l),
        sp = plain(i.tick, origin.map_or(0, |g| g.trigger.0)),
        wt = origin.map_or(WorkingType::Contract, |g| g.working).name(),
        ot = original(o),
        cp = origin.is_some_and(|g| g.close_position),
        trail = trail,
        protect = origin.is_some_and(|g| g.price_protect),
        pm = o.price_match.name(),
        x = exec(r.exec),
        status = status(o),
        id = o.id,
        l = qty(f.map_or(0, |f| f.qty.0)),
        z = qty(o.filled.0),
        last = px(f.map_or(0, |f| f.px.0)),
        n = zero_or(of(|f| f.commission)),
        asset = l.quote,
        trade = f.map_or(0, |f| f.id),
        b = zero_or(r.bid_notional),
        a = zero_or(r.ask_notional),
        m = f.is_some_and(|f| f.maker),
        reduce = o.reduce_only,
        ps = leg(o.position_side),
        rp = zero_or(of(|f| f.realised)),
        v = o.self_trade.name(),
        gtd = o.good_till.map_or(0, Nanos::millis),
        er = o.expiry as u8,
    )
}

fn zero_or(a: Amount) -> String {
    if a.0 == 0 { "0".to_owned() } else { a.to_string() }
}

/// TRADE_LITE.
pub(crate) fn trade_lite(r: &OrderReport, fill: &Fill, l: &Listing, now: Nanos) -> String {
    let (o, i) = (&r.order, &l.instrument);
    format!(
        r#"{{"e":"TRADE_LITE","E":{},"T":{},"s":"{}","q":"{}","p":"{}","m":{},"c":"{}","S":"{}","L":"{}","l":"{}","t":{},"i":{}}}"#,
        now.millis(),
        r.at.millis(),
        i.symbol,
        i.lot.format(o.qty.0),
        i.tick.format(o.px.0),
        fill.maker,
        o.client_id,
        side(o.side),
        i.tick.format(fill.px.0),
        i.lot.format(fill.qty.0),
        fill.id,
        o.id
    )
}

/// Entry price text with a little more than the tick's precision.
pub(crate) fn entry(value: f64, l: &Listing) -> String {
    trimmed(value, usize::from(l.instrument.tick.scale()) + 5)
}

/// A row of ACCOUNT_UPDATE's `P`.
pub(crate) fn position_json(row: &PositionRow, l: &Listing) -> Value {
    json!({
        "s": l.instrument.symbol, "pa": l.instrument.lot.format(row.qty.0).as_str(), "ep": entry(row.entry, l),
        "cr": row.realised.to_string(), "up": zero_or(row.unrealised),
        "mt": if row.isolated { "isolated" } else { "cross" }, "iw": zero_or(row.isolated_wallet), "ps": leg(row.side), "ma": l.quote,
        "bep": entry(row.break_even, l),
    })
}

/// A row of MARGIN_CALL.
pub(crate) fn margin_call_json(row: &PositionRow, maintenance: Amount, l: &Listing) -> Value {
    json!({
        "s": l.instrument.symbol, "ps": leg(row.side), "pa": l.instrument.lot.format(row.qty.0).as_str(),
        "mt": if row.isolated { "ISOLATED" } else { "CROSSED" }, "iw": zero_or(row.isolated_wallet), "mp": l.mark.mark.to_string(),
        "up": row.unrealised.to_string(), "mm": maintenance.to_string(),
    })
}

/// The order object of a reply. `query` replies have `time`, `avgPrice` and `cumQuote`; new, cancel and modify
/// replies have `cumQty` and, before 2026-07-15 (`legacy`), the other two as well.
pub(crate) fn order_json(o: &Order, l: &Listing, query: bool, legacy: bool) -> Value {
    let (i, origin) = (&l.instrument, o.origin.as_ref());
    let trigger = origin.map_or("0".to_owned(), |g| i.tick.format(g.trigger.0).to_string());
    let mut v = json!({
        "orderId": o.id, "symbol": i.symbol, "status": status(o), "clientOrderId": o.client_id,
        "price": i.tick.format(o.px.0).as_str(), "origQty": i.lot.format(o.qty.0).as_str(),
        "executedQty": i.lot.format(o.filled.0).as_str(), "timeInForce": tif(o), "type": kind(o.kind),
        "reduceOnly": o.reduce_only, "closePosition": origin.is_some_and(|g| g.close_position), "side": side(o.side),
        "positionSide": leg(o.position_side), "stopPrice": trigger,
        "workingType": origin.map_or(WorkingType::Contract, |g| g.working).name(),
        "priceProtect": origin.is_some_and(|g| g.price_protect), "origType": original(o),
        "priceMatch": o.price_match.name(),
        "selfTradePreventionMode": o.self_trade.name(), "goodTillDate": o.good_till.map_or(0, Nanos::millis),
        "updateTime": o.updated.millis(),
    });
    let map = v.as_object_mut().expect("an object was made");
    if query {
        map.insert("time".into(), json!(o.created.millis()));
    } else {
        map.insert("cumQty".into(), json!(i.lot.format(o.filled.0).as_str()));
    }
    if query || legacy {
        map.insert("avgPrice".into(), json!(average(o, l)));
        map.insert("cumQuote".into(), json!(trimmed(o.quote.to_f64(), 8)));
    }
    v
}

/// A row of `userTrades`.
pub(crate) fn trade_json(f: &Fill, l: &Listing) -> Value {
    let i = &l.instrument;
    json!({
        "symbol": i.symbol, "id": f.id, "orderId": f.order, "side": side(f.side), "price": i.tick.format(f.px.0).as_str(),
        "qty": i.lot.format(f.qty.0).as_str(), "realizedPnl": f.realised.to_string(),
        "quoteQty": trimmed(f.quote.to_f64(), 8), "commission": f.commission.to_string(), "commissionAsset": l.quote,
        "time": f.at.millis(), "positionSide": leg(f.position_side), "buyer": f.side == Side::Buy, "maker": f.maker,
    })
}

/// The time in force of a conditional order.
fn algo_tif(o: &AlgoOrder) -> &'static str {
    match o.ask.tif {
        // It ends with the position.
        _ if o.ask.close_position => "GTE_GTC",
        _ if o.ask.good_till.is_some() => "GTD",
        TimeInForce::Gtc => "GTC",
        TimeInForce::Ioc => "IOC",
        TimeInForce::Fok => "FOK",
        TimeInForce::Gtx => "GTX",
    }
}

/// What a conditional order became: `MARKET` or `LIMIT`.
const fn actual_kind(o: &AlgoOrder) -> &'static str {
    if o.ask.kind.is_limit() { "LIMIT" } else { "MARKET" }
}

/// Average price of what a conditional order's order filled, `0` without a fill.
fn algo_average(o: &AlgoOrder, l: &Listing) -> String {
    if o.filled.0 == 0 {
        return "0".to_owned();
    }
    let decimals = usize::from(l.instrument.tick.scale()) + 4;
    format!("{:.decimals$}", o.quote.to_f64() / l.instrument.qty_f64(o.filled))
}

/// ALGO_UPDATE.
pub(crate) fn algo_event(o: &AlgoOrder, l: &Listing, now: Nanos) -> String {
    let (i, ask) = (&l.instrument, &o.ask);
    let qty = |q: i64| if q == 0 { "0".to_owned() } else { i.lot.format(q).to_string() };
    let trigger = if ask.kind == AlgoKind::TrailingStopMarket { 0 } else { ask.trigger.0 };
    let mut order = json!({
        "caid": o.client_id, "aid": o.id, "at": "CONDITIONAL", "o": ask.kind.name(), "s": i.symbol, "S": side(ask.side),
        "ps": leg(ask.position_side), "f": algo_tif(o), "q": qty(ask.qty.0), "X": o.status.name(),
        "ai": o.order.map_or(String::new(), |id| id.to_string()), "tp": plain(i.tick, trigger),
        "p": plain(i.tick, ask.px.0), "V": ask.self_trade.name(), "wt": ask.working.name(), "pm": ask.price_match.name(),
        "cp": ask.close_position, "pP": ask.price_protect, "R": ask.reduce_only || ask.close_position,
        "tt": o.triggered.millis(), "gtd": ask.good_till.map_or(0, Nanos::millis), "ia": false,
    });
    if o.order.is_some() {
        order["ap"] = json!(algo_average(o, l));
        order["aq"] = json!(qty(o.filled.0));
        order["act"] = json!(actual_kind(o));
    }
    if ask.kind == AlgoKind::TrailingStopMarket {
        order["AP"] = json!(plain(i.tick, ask.trigger.0));
        order["cr"] = json!(callback(ask.callback));
    }
    if !o.reason.is_empty() {
        order["rm"] = json!(o.reason);
    }
    json!({"e": "ALGO_UPDATE", "T": o.updated.millis(), "E": now.millis(), "o": order}).to_string()
}

/// CONDITIONAL_ORDER_TRIGGER_REJECT.
pub(crate) fn trigger_reject_event(o: &AlgoOrder, l: &Listing, now: Nanos) -> String {
    json!({
        "e": "CONDITIONAL_ORDER_TRIGGER_REJECT", "E": now.millis(), "T": o.updated.millis(),
        "or": {"s": l.instrument.symbol, "i": o.id, "r": o.reason},
    })
    .to_string()
}

/// The conditional order of a reply; `query` replies say what became of it.
pub(crate) fn algo_json(o: &AlgoOrder, l: &Listing, query: bool) -> Value {
    let (i, ask) = (&l.instrument, &o.ask);
    let px = |p: i64| i.tick.format(p).to_string();
    let trailing = ask.kind == AlgoKind::TrailingStopMarket;
    let mut v = json!({
        "algoId": o.id, "clientAlgoId": o.client_id, "algoType": "CONDITIONAL", "orderType": ask.kind.name(),
        "symbol": i.symbol, "side": side(ask.side), "positionSide": leg(ask.position_side), "timeInForce": algo_tif(o),
        "quantity": i.lot.format(ask.qty.0).as_str(), "algoStatus": o.status.name(),
        "triggerPrice": px(if trailing { 0 } else { ask.trigger.0 }), "price": px(ask.px.0), "icebergQuantity": null,
        "selfTradePreventionMode": ask.self_trade.name(), "workingType": ask.working.name(),
        "priceMatch": ask.price_match.name(), "closePosition": ask.close_position, "priceProtect": ask.price_protect,
        "reduceOnly": ask.reduce_only || ask.close_position,
        "activatePrice": if trailing { px(ask.trigger.0) } else { String::new() },
        "callbackRate": if trailing { callback(ask.callback) } else { String::new() },
        "createTime": o.created.millis(), "updateTime": o.updated.millis(), "triggerTime": o.triggered.millis(),
        "goodTillDate": ask.good_till.map_or(0, Nanos::millis),
    });
    if query {
        let map = v.as_object_mut().expect("an object was made");
        map.insert("actualOrderId".into(), json!(o.order.map_or(String::new(), |id| id.to_string())));
        map.insert("actualPrice".into(), json!(algo_average(o, l)));
        if o.order.is_some() {
            map.insert("actualQty".into(), json!(i.lot.format(o.filled.0).as_str()));
            map.insert("actualType".into(), json!(actual_kind(o)));
        }
        for name in ["tpTriggerPrice", "tpPrice", "slTriggerPrice", "slPrice"] {
            map.insert(name.into(), json!(px(0)));
        }
        map.insert("tpOrderType".into(), json!(""));
    }
    v
}
