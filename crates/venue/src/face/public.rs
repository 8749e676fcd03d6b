//! Public REST endpoints: exchange information, books, trades, candles, tickers, marks.

use market::{Amount, Side, SymbolId};
use serde_json::{Value, json};

use super::candles::{Interval, Page};
use super::feed::FOREIGN_SYMBOL;
use super::trade::{Answer, Call};
use super::world::World;
use crate::core::{DELIVERY, Listing, ONBOARD, Reject, reject};
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
    let mut symbols: Vec<Value> = w.exchange.listings().iter().map(symbol_info).collect();
    if w.faults.stands(|f, _| (*f == Fault::ForeignSymbols).then_some(())).is_some() {
        let mut strange = symbols[0].clone();
        for (name, value) in [
            ("symbol", FOREIGN_SYMBOL),
            ("pair", FOREIGN_SYMBOL),
            ("baseAsset", FOREIGN_SYMBOL.trim_end_matches("USDT")),
        ] {
            strange[name] = json!(value);
        }
        symbols.push(strange);
    }
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
            {"filterType": "LOT_SIZE", "minQty": qty(i.min_qty.0), "maxQty": qty(i.max_qty.0), "stepSize": qty(l.order_lots)},
            {"filterType": "MARKET_LOT_SIZE", "minQty": qty(i.min_qty.0), "maxQty": qty(i.max_market_qty.0), "stepSize": qty(l.order_lots)},
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
    let (limit, from) = (c.params.limit(500, 1000)?, c.params.number("fromId")?);
    let l = w.exchange.listing(symbol);
    let f = &w.feed.symbols[symbol.index()];
    let skip = match from {
        Some(id) => f.prints.partition_point(|p| p.id < id),
        None => f.prints.len().saturating_sub(limit),
    };
    let rows = f.prints.iter().skip(skip).take(limit).map(|p| {
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

fn page(c: &Call) -> Result<Page, Reject> {
    let interval =
        Interval::parse(c.params.need("interval")?).ok_or(Reject::new(-1120, "Invalid interval."))?;
    let limit = c.params.limit(500, 1500)?;
    let (start, end) = (c.params.number("startTime")?, c.params.number("endTime")?);
    Ok(Page { interval, start, end, limit })
}

fn candles_of(w: &mut World, c: &Call, symbol: &str) -> Answer {
    let symbol = w.symbol(symbol)?;
    let page = page(c)?;
    let candles = &mut w.feed.symbols[symbol.index()].candles;
    candles.roll(c.at);
    Ok(candles.rows(&page))
}

/// `continuousKlines`: there are perpetuals only, so a pair's continuous contract is its perpetual.
pub(crate) fn continuous_klines(w: &mut World, c: &Call) -> Answer {
    if c.params.need("contractType")? != "PERPETUAL" {
        return Ok(json!([]));
    }
    candles_of(w, c, c.params.need("pair")?)
}

/// Candles of the `n`-th price of [`super::feed::SymbolFeed::marks`].
fn price_candles(w: &World, c: &Call, name: &str, n: usize, before: fn(f64) -> f64) -> Answer {
    let symbol = w.symbol(c.params.need(name)?)?;
    let page = page(c)?;
    let f = &w.feed.symbols[symbol.index()];
    Ok(f.candles.price_rows(&f.marks[n], &page, before))
}

/// `markPriceKlines`.
pub(crate) fn mark_klines(w: &mut World, c: &Call) -> Answer {
    price_candles(w, c, "symbol", 0, |px| px)
}

/// `indexPriceKlines`.
pub(crate) fn index_klines(w: &mut World, c: &Call) -> Answer {
    price_candles(w, c, "pair", 1, |px| px)
}

/// `premiumIndexKlines`; before the opening mark and index were one.
pub(crate) fn premium_klines(w: &mut World, c: &Call) -> Answer {
    price_candles(w, c, "symbol", 2, |_| 0.0)
}

/// `fundingRate`: of a symbol or of all, oldest first.
pub(crate) fn funding_rates(w: &mut World, c: &Call) -> Answer {
    let wanted = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let (start, end) = (c.params.number("startTime")?, c.params.number("endTime")?);
    let limit = c.params.limit(100, 1000)?;
    let mut rows: Vec<(u64, Value)> = Vec::new();
    for l in w.exchange.listings().iter().filter(|l| wanted.is_none_or(|s| s == l.instrument.id)) {
        for f in w.exchange.fundings(l.instrument.id) {
            let at = f.at.millis();
            if start.is_none_or(|s| at >= s) && end.is_none_or(|e| at <= e) {
                let row = json!({
                    "symbol": l.instrument.symbol, "fundingTime": at, "fundingRate": Amount(f.rate).to_string(),
                    "markPrice": f.mark.to_string(),
                });
                rows.push((at, row));
            }
        }
    }
    rows.sort_by_key(|(at, _)| *at);
    let skip = if start.is_some() { 0 } else { rows.len().saturating_sub(limit) };
    Ok(Value::Array(rows.into_iter().skip(skip).take(limit).map(|(_, row)| row).collect()))
}

/// `fundingInfo`.
pub(crate) fn funding_info(w: &mut World, _: &Call) -> Answer {
    let rows = w.exchange.listings().iter().map(|l| {
        json!({
            "symbol": l.instrument.symbol, "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000", "fundingIntervalHours": 8, "disclaimer": false,
        })
    });
    Ok(Value::Array(rows.collect()))
}

/// `constituents`: the index is this venue's own.
pub(crate) fn constituents(w: &mut World, c: &Call) -> Answer {
    let l = w.exchange.listing(w.symbol(c.params.need("symbol")?)?);
    let name = &l.instrument.symbol;
    Ok(json!({
        "symbol": name, "time": c.at.millis(), "constituents": [
            {"exchange": "binance", "symbol": name, "price": l.mark.index.to_string(), "weight": "1.00000000"},
        ],
    }))
}

/// `insuranceBalance`: one fund for all symbols.
pub(crate) fn insurance(w: &mut World, c: &Call) -> Answer {
    let wanted = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let symbols: Vec<&str> = w.exchange.listings().iter().map(|l| l.instrument.symbol.as_str()).collect();
    let fund = json!({
        "symbols": symbols, "assets": [
            {"asset": "USDT", "marginBalance": w.exchange.insurance().to_string(), "updateTime": c.at.millis()},
        ],
    });
    Ok(if wanted.is_some() { fund } else { json!([fund]) })
}

/// `symbolAdlRisk`: nobody is deleveraged here unless a fault wants it.
pub(crate) fn adl_risk(w: &mut World, c: &Call) -> Answer {
    per_symbol(w, c, |w, s| {
        json!({
            "symbol": w.exchange.listing(s).instrument.symbol, "adlRisk": "low", "updateTime": c.at.millis(),
        })
    })
}

/// `assetIndex`: of the one asset.
pub(crate) fn asset_index(_: &mut World, c: &Call) -> Answer {
    let one = "1.00000000";
    let row = json!({
        "symbol": "USDTUSD", "time": c.at.millis(), "index": one, "bidBuffer": "0.00000000", "askBuffer": "0.00000000",
        "bidRate": one, "askRate": one, "autoExchangeBidBuffer": "0.00000000", "autoExchangeAskBuffer": "0.00000000",
        "autoExchangeBidRate": one, "autoExchangeAskRate": one,
    });
    match c.params.get("symbol") {
        None => Ok(json!([row])),
        Some("USDTUSD") => Ok(row),
        Some(_) => Err(reject::BAD_SYMBOL),
    }
}

/// What this venue does not have.
pub(crate) fn unsupported(_: &mut World, _: &Call) -> Answer {
    Err(Reject::new(-1020, "This operation is not supported."))
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
        let f = &w.feed.symbols[s.index()];
        f.candles.day_row(&w.exchange.listing(s).instrument.symbol, &f.last_qty(), c.at)
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
    let f = &w.feed.symbols[symbol.index()];
    let name = &w.exchange.listing(symbol).instrument.symbol;
    Ok(
        json!({"symbol": name, "openInterest": f.qty(w.exchange.open_interest(symbol)), "time": c.at.millis()}),
    )
}
