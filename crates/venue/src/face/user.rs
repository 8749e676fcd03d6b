//! The user stream's events (BINANCE.md §3.4) and the order objects of replies (§3.5), with the venue's field names.

use market::{Amount, ExecType, Nanos, OrderStatus, OrderType, PositionSide, Side, TimeInForce};
use serde_json::{Value, json};

use crate::core::{ExpiryReason, Fill, Listing, Order, OrderReport, PositionRow};

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

/// ORDER_TRADE_UPDATE.
pub(crate) fn order_event(r: &OrderReport, l: &Listing, now: Nanos) -> String {
    let (o, i) = (&r.order, &l.instrument);
    let px = |p: i64| if p == 0 { "0".to_owned() } else { i.tick.format(p).to_string() };
    let qty = |q: i64| if q == 0 { "0".to_owned() } else { i.lot.format(q).to_string() };
    let f = r.fill;
    let of = |g: fn(&Fill) -> Amount| f.as_ref().map_or(Amount::ZERO, g);
    format!(
        concat!(
            r#"{{"e":"ORDER_TRADE_UPDATE","T":{t},"E":{e},"o":{{"s":"{s}","c":"{c}","S":"{side}","o":"{kind}","f":"{tif}","#,
            r#""q":"{q}","p":"{p}","ap":"{ap}","sp":"0","x":"{x}","X":"{status}","i":{id},"l":"{l}","z":"{z}","L":"{last}","#,
            r#""n":"{n}","N":"{asset}","T":{t},"t":{trade},"b":"{b}","a":"{a}","m":{m},"R":{reduce},"wt":"CONTRACT_PRICE","#,
            r#""ot":"{kind}","ps":"{ps}","cp":false,"rp":"{rp}","pP":false,"si":0,"ss":0,"V":"{v}","pm":"NONE","gtd":{gtd},"er":"{er}"}}}}"#
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
        "mt": if row.isolated { "isolated" } else { "cross" }, "iw": "0", "ps": leg(row.side), "ma": l.quote,
        "bep": entry(row.break_even, l),
    })
}

/// A row of MARGIN_CALL.
pub(crate) fn margin_call_json(row: &PositionRow, maintenance: Amount, l: &Listing) -> Value {
    json!({
        "s": l.instrument.symbol, "ps": leg(row.side), "pa": l.instrument.lot.format(row.qty.0).as_str(),
        "mt": if row.isolated { "ISOLATED" } else { "CROSSED" }, "iw": "0", "mp": l.mark.mark.to_string(),
        "up": row.unrealised.to_string(), "mm": maintenance.to_string(),
    })
}

/// The order object of a reply. `query` replies have `time`, `avgPrice` and `cumQuote`; new, cancel and modify
/// replies have `cumQty` and, before 2026-07-15 (`legacy`), the other two as well.
pub(crate) fn order_json(o: &Order, l: &Listing, query: bool, legacy: bool) -> Value {
    let i = &l.instrument;
    let mut v = json!({
        "orderId": o.id, "symbol": i.symbol, "status": status(o), "clientOrderId": o.client_id,
        "price": i.tick.format(o.px.0).as_str(), "origQty": i.lot.format(o.qty.0).as_str(),
        "executedQty": i.lot.format(o.filled.0).as_str(), "timeInForce": tif(o), "type": kind(o.kind),
        "reduceOnly": o.reduce_only, "closePosition": false, "side": side(o.side),
        "positionSide": leg(o.position_side), "stopPrice": "0", "workingType": "CONTRACT_PRICE",
        "priceProtect": false, "origType": kind(o.kind), "priceMatch": "NONE",
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
