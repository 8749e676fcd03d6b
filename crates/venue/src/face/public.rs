//! Public REST endpoints: exchange information, books, trades, candles, tickers, marks.

use market::{Amount, Side, SymbolId};
use serde_json::{Value, json};

use super::candles::Interval;
use super::trade::{Answer, Call};
use super::world::World;
use crate::core::{DELIVERY, Listing, ONBOARD, Reject};
use crate::faults::Fault;

/// `ping`.
pub(crate) fn ping(_: &mut World, _: &Call) -> Answer {
    Ok(json!({}))
}

/// `time`.
pub(crate) fn time(_: &mut World, c: &Call) -> Answer {
    Ok(json!({"serverTime": c.at.millis()}))
}

/// `exchangeInfo`.
pub(crate) fn exchange_info(w: &mut World, c: &Call) -> Answer {
    let (weight, ten, minute) = w.limits.limits();
    let symbols: Vec<Value> = w.exchange.listings().iter().map(symbol_info).collect();
    Ok(json!({
        "timezone": "UTC", "serverTime": c.at.millis(), "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": minute},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ten},
        ],
        "exchangeFilters": [], "assets": [{"asset": "USDT", "marginAvailable": true, "autoAssetExchange": "-10000"}],
        "symbols": symbols,
    }))
}

fn symbol_info(l: &Listing) -> Value {
    let i = &l.instrument;
    let px = |p: i64| i.tick.format(p).to_string();
    let qty = |q: i64| i.lot.format(q).to_string();
    let percent = |v: f64| if v.is_finite() { format!("{v:.4}") } else { "1000.0000".to_owned() };
    let maintenance = l.brackets.first().map_or(250, |b| b.maint_bp);
    json!({
        "symbol": i.symbol, "pair": i.symbol, "contractType": "PERPETUAL", "deliveryDate": DELIVERY,
        "onboardDate": ONBOARD, "status": l.status.name(),
        "maintMarginPercent": format!("{:.4}", maintenance as f64 / 100.0),
        "requiredMarginPercent": format!("{:.4}", maintenance as f64 / 50.0), "baseAsset": l.base,
        "quoteAsset": l.quote, "marginAsset": l.quote, "pricePrecision": i.tick.scale().max(2),
        "quantityPrecision": i.lot.scale(), "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN",
        "underlyingSubType": [], "triggerProtect": "0.0500", "liquidationFee": "0.012500",
        "marketTakeBound": format!("{:.2}", l.take_bound), "maxMoveOrderLimit": 10000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": px(i.min_px.0), "maxPrice": px(i.max_px.0), "tickSize": px(l.order_ticks)},
            {"filterType": "LOT_SIZE", "minQty": qty(i.min_qty.0), "maxQty": qty(i.max_qty.0), "stepSize": qty(1)},
            {"filterType": "MARKET_LOT_SIZE", "minQty": qty(i.min_qty.0), "maxQty": qty(i.max_market_qty.0), "stepSize": qty(1)},
            {"filterType": "MAX_NUM_ORDERS", "limit": i.max_orders},
            {"filterType": "MIN_NOTIONAL", "notional": super::user::trimmed(i.min_notional.to_f64(), 8)},
            {"filterType": "PERCENT_PRICE", "multiplierUp": percent(i.multiplier_up),
             "multiplierDown": percent(i.multiplier_down), "multiplierDecimal": "4"},
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"], "permissionSets": ["GRID", "COPY"],
    })
}

/// `depth`.
pub(crate) fn depth(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let limit = c.params.number("limit")?.unwrap_or(500);
    if ![5, 10, 20, 50, 100, 500, 1000].contains(&limit) {
        return Err(Reject::text(-4021, format!("{limit} is not valid depth limit.")));
    }
    w.counters.snapshots += 1;
    if let Some(stale) = w.stale_snapshots.get(&symbol) {
        let name = &w.exchange.listing(symbol).instrument.symbol;
        let is_stale = |f: &Fault| matches!(f, Fault::SnapshotStale { symbol } if symbol == name);
        if w.faults.strike(is_stale).is_some() {
            return Ok(stale.clone());
        }
    }
    Ok(w.depth(symbol, limit as usize, c.at))
}

/// Weight of a depth request.
pub(crate) fn depth_weight(limit: Option<&str>) -> u32 {
    match limit.and_then(|l| l.parse::<u32>().ok()).unwrap_or(500) {
        0..=50 => 2,
        51..=100 => 5,
        101..=500 => 10,
        _ => 20,
    }
}

/// `trades`, `historicalTrades`.
pub(crate) fn trades(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let limit = c.params.limit(500, 1000)?;
    let l = w.exchange.listing(symbol);
    let f = &w.feed.symbols[symbol.index()];
    let rows = f.prints.iter().skip(f.prints.len().saturating_sub(limit)).map(|p| {
        json!({
            "id": p.id, "price": f.px(p.px), "qty": f.qty(p.qty),
            "quoteQty": super::user::trimmed(l.notional(p.px, p.qty).to_f64(), 8), "time": p.at.millis(),
            "isBuyerMaker": p.aggressor == Side::Sell,
        })
    });
    Ok(Value::Array(rows.collect()))
}

/// `aggTrades`.
pub(crate) fn agg_trades(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let limit = c.params.limit(500, 1000)?;
    let from = c.params.number("fromId")?;
    let (start, end) = (c.params.number("startTime")?, c.params.number("endTime")?);
    let f = &w.feed.symbols[symbol.index()];
    let rows: Vec<Value> = (f.aggregates.iter())
        .filter(|a| from.is_none_or(|id| a.id >= id))
        .filter(|a| start.is_none_or(|s| a.at.millis() >= s) && end.is_none_or(|e| a.at.millis() <= e))
        .map(|a| {
            json!({
                "a": a.id, "p": f.px(a.px), "q": f.qty(a.qty), "nq": f.qty(a.qty), "f": a.trades.0, "l": a.trades.1,
                "T": a.at.millis(), "m": a.aggressor == Side::Sell,
            })
        })
        .collect();
    let skip = if from.is_some() || start.is_some() { 0 } else { rows.len().saturating_sub(limit) };
    Ok(Value::Array(rows.into_iter().skip(skip).take(limit).collect()))
}

/// `klines`.
pub(crate) fn klines(w: &mut World, c: &Call) -> Answer {
    candles_of(w, c, c.params.need("symbol")?)
}

fn candles_of(w: &mut World, c: &Call, symbol: &str) -> Answer {
    let symbol = w.symbol(symbol)?;
    let interval =
        Interval::parse(c.params.need("interval")?).ok_or(Reject::new(-1120, "Invalid interval."))?;
    let limit = c.params.limit(500, 1500)?;
    let (start, end) = (c.params.number("startTime")?, c.params.number("endTime")?);
    let candles = &mut w.feed.symbols[symbol.index()].candles;
    candles.roll(c.at);
    Ok(candles.rows(interval, start, end, limit))
}

/// `continuousKlines`: there are perpetuals only, so a pair's continuous contract is its perpetual.
pub(crate) fn continuous_klines(w: &mut World, c: &Call) -> Answer {
    if c.params.need("contractType")? != "PERPETUAL" {
        return Ok(json!([]));
    }
    candles_of(w, c, c.params.need("pair")?)
}

/// `markPriceKlines`, `indexPriceKlines`: the last price stands in, without volumes.
pub(crate) fn price_klines(w: &mut World, c: &Call) -> Answer {
    let name = match c.params.get("pair") {
        Some(pair) => pair,
        None => c.params.need("symbol")?,
    };
    let mut rows = candles_of(w, c, name)?;
    for row in rows.as_array_mut().into_iter().flatten() {
        for volume in [5, 7, 9, 10] {
            row[volume] = json!("0");
        }
    }
    Ok(rows)
}

/// One row for a named symbol, an array for all.
fn per_symbol(w: &World, c: &Call, row: impl Fn(&World, SymbolId) -> Value) -> Answer {
    match c.params.get("symbol") {
        Some(name) => Ok(row(w, w.symbol(name)?)),
        None => Ok(Value::Array(w.exchange.listings().iter().map(|l| row(w, l.instrument.id)).collect())),
    }
}

/// `ticker/price`.
pub(crate) fn price(w: &mut World, c: &Call) -> Answer {
    per_symbol(w, c, |w, s| {
        let f = &w.feed.symbols[s.index()];
        json!({"symbol": w.exchange.listing(s).instrument.symbol, "price": f.px(w.last_px(s)), "time": c.at.millis()})
    })
}

/// `ticker/bookTicker`.
pub(crate) fn book_ticker(w: &mut World, c: &Call) -> Answer {
    per_symbol(w, c, |w, s| {
        let f = &w.feed.symbols[s.index()];
        let best = |side| w.exchange.ladder(s).best(side).unwrap_or_default();
        let (b, a) = (best(Side::Buy), best(Side::Sell));
        json!({
            "symbol": w.exchange.listing(s).instrument.symbol, "bidPrice": f.px(b.px), "bidQty": f.qty(b.qty),
            "askPrice": f.px(a.px), "askQty": f.qty(a.qty), "time": c.at.millis(), "lastUpdateId": f.book_id,
        })
    })
}

/// `ticker/24hr`.
pub(crate) fn day(w: &mut World, c: &Call) -> Answer {
    per_symbol(w, c, |w, s| {
        w.feed.symbols[s.index()].candles.day_row(&w.exchange.listing(s).instrument.symbol, c.at)
    })
}

/// `premiumIndex`.
pub(crate) fn premium_index(w: &mut World, c: &Call) -> Answer {
    per_symbol(w, c, |w, s| {
        let l = w.exchange.listing(s);
        json!({
            "symbol": l.instrument.symbol, "markPrice": l.mark.mark.to_string(), "indexPrice": l.mark.index.to_string(),
            "estimatedSettlePrice": l.mark.mark.to_string(), "lastFundingRate": Amount(l.mark.funding_rate).to_string(),
            "interestRate": "0.00010000", "nextFundingTime": l.mark.next_funding.millis(), "time": c.at.millis(),
        })
    })
}

/// A list with nothing in it.
pub(crate) fn empty_list(_: &mut World, _: &Call) -> Answer {
    Ok(json!([]))
}

/// `openInterest`.
pub(crate) fn open_interest(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let held: i64 = (w.exchange.account_ids())
        .flat_map(|a| w.exchange.account(a).positions.iter())
        .filter(|((s, _), _)| *s == symbol)
        .map(|(_, p)| p.qty.0.abs())
        .sum();
    let f = &w.feed.symbols[symbol.index()];
    let name = &w.exchange.listing(symbol).instrument.symbol;
    Ok(json!({"symbol": name, "openInterest": f.qty(market::Qty(held)), "time": c.at.millis()}))
}
