//! Account endpoints: balances, positions, settings, trade and income history, listen keys.

use market::{Amount, PositionSide, SymbolId};
use serde_json::{Value, json};

use super::trade::{Answer, Call, position_side};
use super::user::{entry, leg, trade_json};
use super::world::World;
use crate::core::{AccountId, Reject, legs, reject};

fn text(a: Amount) -> Value {
    Value::String(a.to_string())
}

/// `v2/balance`, `v3/balance`.
pub(crate) fn balance(w: &mut World, c: &Call) -> Answer {
    let m = w.exchange.margins(c.account);
    Ok(json!([{
        "accountAlias": "SgsR", "asset": "USDT", "balance": text(m.wallet), "crossWalletBalance": text(m.cross_wallet),
        "crossUnPnl": text(m.cross_unrealised), "availableBalance": text(m.available()),
        "maxWithdrawAmount": text(m.available()), "marginAvailable": true, "updateTime": c.at.millis(),
    }]))
}

fn account_totals(w: &World, c: &Call) -> Value {
    let m = w.exchange.margins(c.account);
    let initial = m.position + m.orders;
    json!({
        "totalInitialMargin": text(initial), "totalMaintMargin": text(m.maintenance),
        "totalWalletBalance": text(m.wallet), "totalUnrealizedProfit": text(m.unrealised),
        "totalMarginBalance": text(m.balance()), "totalPositionInitialMargin": text(m.position),
        "totalOpenOrderInitialMargin": text(m.orders), "totalCrossWalletBalance": text(m.cross_wallet),
        "totalCrossUnPnl": text(m.cross_unrealised), "availableBalance": text(m.available()),
        "maxWithdrawAmount": text(m.available()),
        "assets": [{
            "asset": "USDT", "walletBalance": text(m.wallet), "unrealizedProfit": text(m.unrealised),
            "marginBalance": text(m.balance()), "maintMargin": text(m.maintenance), "initialMargin": text(initial),
            "positionInitialMargin": text(m.position), "openOrderInitialMargin": text(m.orders),
            "crossWalletBalance": text(m.cross_wallet), "crossUnPnl": text(m.cross_unrealised),
            "availableBalance": text(m.available()), "maxWithdrawAmount": text(m.available()),
            "marginAvailable": true, "updateTime": c.at.millis(),
        }],
    })
}

/// A position with everything any endpoint says about it; the versions pick.
fn position_row(w: &World, account: AccountId, symbol: SymbolId, side: PositionSide) -> Value {
    let a = w.exchange.account(account);
    let l = w.exchange.listing(symbol);
    let i = &l.instrument;
    let row = a.row(l, side);
    let p = a.position(symbol, side);
    let setting = a.setting(symbol);
    let notional = l.at_mark(p.qty);
    let (position_margin, order_margin) = w.exchange.initial_margin(account, symbol, None, None);
    let (bids, asks) = w.exchange.open_notional(account, symbol);
    let maintenance = if p.qty.0 == 0 { Amount::ZERO } else { l.maintenance(notional) };
    let isolated_margin =
        if setting.isolated && p.qty.0 != 0 { p.isolated + row.unrealised } else { Amount::ZERO };
    let isolated_margin = text(isolated_margin);
    json!({
        "symbol": i.symbol, "positionSide": leg(side), "positionAmt": i.lot.format(p.qty.0).as_str(),
        "entryPrice": entry(row.entry, l), "breakEvenPrice": entry(row.break_even, l),
        "markPrice": text(l.mark.mark), "unRealizedProfit": text(row.unrealised), "unrealizedProfit": text(row.unrealised),
        "liquidationPrice": liquidation_price(w, account, symbol, side), "isolatedMargin": isolated_margin, "notional": text(notional),
        "marginAsset": l.quote, "isolatedWallet": text(p.isolated), "initialMargin": text(position_margin + order_margin),
        "maintMargin": text(maintenance), "positionInitialMargin": text(position_margin),
        "openOrderInitialMargin": text(order_margin), "adl": 0, "bidNotional": text(bids), "askNotional": text(asks),
        "updateTime": p.updated.millis(), "marginType": if setting.isolated { "isolated" } else { "cross" },
        "isAutoAddMargin": "false", "leverage": setting.leverage.to_string(), "isolated": setting.isolated,
        "maxNotionalValue": whole(l.max_notional(setting.leverage)), "maxNotional": whole(l.max_notional(setting.leverage)),
    })
}

fn whole(a: Amount) -> String {
    (a.0 / Amount::ONE).to_string()
}

fn liquidation_price(w: &World, account: AccountId, symbol: SymbolId, side: PositionSide) -> String {
    let price = w.exchange.liquidation_price(account, symbol, side);
    price.map_or("0".to_owned(), |p| entry(p, w.exchange.listing(symbol)))
}

fn keep(mut row: Value, names: &[&str]) -> Value {
    if let Some(map) = row.as_object_mut() {
        map.retain(|k, _| names.contains(&k.as_str()));
    }
    row
}

const V3_RISK: [&str; 20] = [
    "symbol",
    "positionSide",
    "positionAmt",
    "entryPrice",
    "breakEvenPrice",
    "markPrice",
    "unRealizedProfit",
    "liquidationPrice",
    "isolatedMargin",
    "notional",
    "marginAsset",
    "isolatedWallet",
    "initialMargin",
    "maintMargin",
    "positionInitialMargin",
    "openOrderInitialMargin",
    "adl",
    "bidNotional",
    "askNotional",
    "updateTime",
];
const V2_RISK: [&str; 16] = [
    "symbol",
    "positionSide",
    "positionAmt",
    "entryPrice",
    "breakEvenPrice",
    "markPrice",
    "unRealizedProfit",
    "liquidationPrice",
    "isolatedMargin",
    "notional",
    "isolatedWallet",
    "updateTime",
    "marginType",
    "isAutoAddMargin",
    "leverage",
    "maxNotionalValue",
];
const V3_POSITION: [&str; 10] = [
    "symbol",
    "positionSide",
    "positionAmt",
    "unrealizedProfit",
    "isolatedMargin",
    "notional",
    "isolatedWallet",
    "initialMargin",
    "maintMargin",
    "updateTime",
];
const V2_POSITION: [&str; 15] = [
    "symbol",
    "initialMargin",
    "maintMargin",
    "unrealizedProfit",
    "positionInitialMargin",
    "openOrderInitialMargin",
    "leverage",
    "isolated",
    "entryPrice",
    "maxNotional",
    "bidNotional",
    "askNotional",
    "positionSide",
    "positionAmt",
    "updateTime",
];

/// Positions: v3 lists those with a position or orders, v2 all.
fn positions(w: &World, c: &Call, v3: bool, names: &[&str]) -> Result<Vec<Value>, Reject> {
    let wanted = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let hedge = w.exchange.account(c.account).hedge;
    let symbols: Vec<SymbolId> = match (wanted, v3) {
        (Some(s), false) => vec![s],
        (None, false) => w.exchange.listings().iter().map(|l| l.instrument.id).collect(),
        (wanted, true) => {
            w.exchange.symbols_of(c.account).into_iter().filter(|s| wanted.is_none_or(|x| x == *s)).collect()
        }
    };
    let rows = symbols.into_iter().flat_map(|s| legs(hedge).iter().map(move |side| (s, *side)));
    let shown = rows.filter(|(s, side)| {
        !v3 || !hedge
            || w.exchange.account(c.account).position(*s, *side).qty.0 != 0
            || w.exchange
                .account(c.account)
                .open
                .iter()
                .filter_map(|id| w.exchange.order(*id))
                .any(|o| o.symbol == *s && o.position_side == *side)
    });
    Ok(shown.map(|(s, side)| keep(position_row(w, c.account, s, side), names)).collect())
}

/// `v3/positionRisk`.
pub(crate) fn risk_v3(w: &mut World, c: &Call) -> Answer {
    Ok(Value::Array(positions(w, c, true, &V3_RISK)?))
}

/// `v2/positionRisk`.
pub(crate) fn risk_v2(w: &mut World, c: &Call) -> Answer {
    Ok(Value::Array(positions(w, c, false, &V2_RISK)?))
}

/// `v3/account`.
pub(crate) fn account_v3(w: &mut World, c: &Call) -> Answer {
    let mut v = account_totals(w, c);
    v["positions"] = Value::Array(positions(w, c, true, &V3_POSITION)?);
    Ok(v)
}

/// `v2/account`.
pub(crate) fn account_v2(w: &mut World, c: &Call) -> Answer {
    let mut v = account_totals(w, c);
    v["positions"] = Value::Array(positions(w, c, false, &V2_POSITION)?);
    for (name, value) in [
        ("feeTier", json!(0)),
        ("canTrade", json!(true)),
        ("canDeposit", json!(true)),
        ("canWithdraw", json!(true)),
        ("updateTime", json!(0)),
        ("multiAssetsMargin", json!(w.exchange.account(c.account).multi_assets)),
        ("tradeGroupId", json!(-1)),
    ] {
        v[name] = value;
    }
    Ok(v)
}

/// `accountConfig`.
pub(crate) fn config(w: &mut World, c: &Call) -> Answer {
    let a = w.exchange.account(c.account);
    Ok(json!({
        "feeTier": 0, "canTrade": true, "canDeposit": true, "canWithdraw": true, "dualSidePosition": a.hedge,
        "updateTime": 0, "multiAssetsMargin": a.multi_assets, "tradeGroupId": -1,
    }))
}

/// `symbolConfig`.
pub(crate) fn symbol_config(w: &mut World, c: &Call) -> Answer {
    let wanted = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let a = w.exchange.account(c.account);
    let rows = (w.exchange.listings().iter()).filter(|l| wanted.is_none_or(|s| s == l.instrument.id)).map(|l| {
        let s = a.setting(l.instrument.id);
        json!({
            "symbol": l.instrument.symbol, "marginType": if s.isolated { "ISOLATED" } else { "CROSSED" },
            "isAutoAddMargin": false, "leverage": s.leverage, "maxNotionalValue": whole(l.max_notional(s.leverage)),
        })
    });
    Ok(Value::Array(rows.collect()))
}

/// `leverageBracket`.
pub(crate) fn brackets(w: &mut World, c: &Call) -> Answer {
    let wanted = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let rows = (w.exchange.listings().iter()).filter(|l| wanted.is_none_or(|s| s == l.instrument.id)).map(|l| {
        let brackets: Vec<Value> = (l.brackets.iter().enumerate())
            .map(|(n, b)| {
                json!({
                    "bracket": n + 1, "initialLeverage": b.leverage, "notionalCap": b.cap.0 / Amount::ONE,
                    "notionalFloor": b.floor.0 / Amount::ONE, "maintMarginRatio": b.maint_bp as f64 / 10_000.0,
                    "cum": b.cum.to_f64(),
                })
            })
            .collect();
        json!({"symbol": l.instrument.symbol, "brackets": brackets})
    });
    Ok(Value::Array(rows.collect()))
}

/// `commissionRate`.
pub(crate) fn commission_rate(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let rate = |r: i64| format!("{:.6}", Amount(r).to_f64());
    let fees = w.exchange.fees();
    Ok(json!({
        "symbol": w.exchange.listing(symbol).instrument.symbol, "makerCommissionRate": rate(fees.maker),
        "takerCommissionRate": rate(fees.taker), "rpiCommissionRate": "0.000000",
    }))
}

/// POST leverage.
pub(crate) fn set_leverage(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let leverage = c.params.number("leverage")?.ok_or_else(|| Reject::mandatory("leverage"))?;
    let leverage = u32::try_from(leverage).map_err(|_| reject::BAD_LEVERAGE)?;
    let most = w.exchange.set_leverage(c.account, symbol, leverage, c.at)?;
    let name = &w.exchange.listing(symbol).instrument.symbol;
    Ok(json!({"leverage": leverage, "maxNotionalValue": whole(most), "symbol": name}))
}

fn success() -> Answer {
    Ok(json!({"code": 200, "msg": "success"}))
}

/// POST marginType.
pub(crate) fn set_margin_type(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let isolated = match c.params.need("marginType")? {
        "ISOLATED" => true,
        "CROSSED" => false,
        _ => return Err(Reject::mandatory("marginType")),
    };
    w.exchange.set_isolated(c.account, symbol, isolated, c.at)?;
    success()
}

/// POST positionMargin.
pub(crate) fn adjust_margin(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let amount =
        Amount::parse(c.params.need("amount")?.as_bytes()).map_err(|_| Reject::mandatory("amount"))?;
    let kind = c.params.number("type")?.filter(|k| [1, 2].contains(k));
    let kind = kind.ok_or_else(|| Reject::mandatory("type"))?;
    if amount.0 <= 0 {
        return Err(reject::AMOUNT_POSITIVE);
    }
    let leg = position_side(c.params.get("positionSide"))?;
    let signed = if kind == 1 { amount } else { -amount };
    w.exchange.adjust_margin(c.account, symbol, leg, signed, c.at)?;
    Ok(json!({
        "amount": amount.to_f64(), "code": 200, "msg": "Successfully modify position margin.", "type": kind,
    }))
}

/// `positionMargin/history`.
pub(crate) fn margin_changes(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let (kind, limit) = (c.params.number("type")?, c.params.limit(500, 500)?);
    let (start, end) = (c.params.number("startTime")?, c.params.number("endTime")?);
    let kind_of = |amount: Amount| if amount.0 > 0 { 1 } else { 2 };
    let rows: Vec<Value> = (w.exchange.account(c.account).margin_changes.iter())
        .filter(|m| m.symbol == symbol && kind.is_none_or(|k| k == kind_of(m.amount)))
        .filter(|m| start.is_none_or(|s| m.at.millis() >= s) && end.is_none_or(|e| m.at.millis() <= e))
        .map(|m| {
            json!({
                "symbol": w.exchange.listing(symbol).instrument.symbol, "type": kind_of(m.amount),
                "deltaType": "USER_ADJUST", "amount": text(m.amount.abs()), "asset": "USDT", "time": m.at.millis(),
                "positionSide": leg(m.position_side),
            })
        })
        .collect();
    let skip = rows.len().saturating_sub(limit);
    Ok(Value::Array(rows.into_iter().skip(skip).collect()))
}

/// GET positionSide/dual.
pub(crate) fn dual(w: &mut World, c: &Call) -> Answer {
    Ok(json!({"dualSidePosition": w.exchange.account(c.account).hedge}))
}

/// POST positionSide/dual.
pub(crate) fn set_dual(w: &mut World, c: &Call) -> Answer {
    let on = c.params.flag("dualSidePosition")?.ok_or_else(|| Reject::mandatory("dualSidePosition"))?;
    w.exchange.set_hedge(c.account, on)?;
    success()
}

/// GET multiAssetsMargin.
pub(crate) fn multi_assets(w: &mut World, c: &Call) -> Answer {
    Ok(json!({"multiAssetsMargin": w.exchange.account(c.account).multi_assets}))
}

/// POST multiAssetsMargin.
pub(crate) fn set_multi_assets(w: &mut World, c: &Call) -> Answer {
    let on = c.params.flag("multiAssetsMargin")?.ok_or_else(|| Reject::mandatory("multiAssetsMargin"))?;
    w.exchange.set_multi_assets(c.account, on, c.at)?;
    success()
}

/// `userTrades`.
pub(crate) fn user_trades(w: &mut World, c: &Call) -> Answer {
    let symbol = w.symbol(c.params.need("symbol")?)?;
    let limit = c.params.limit(500, 1000)?;
    let (start, end) = (c.params.number("startTime")?, c.params.number("endTime")?);
    let (from, order) = (c.params.number("fromId")?, c.params.number("orderId")?);
    if from.is_some() && (start.is_some() || end.is_some()) {
        return Err(Reject::new(-1128, "Combination of optional parameters invalid."));
    }
    let l = w.exchange.listing(symbol);
    let rows: Vec<&crate::core::Fill> = (w.exchange.account(c.account).fills.iter())
        .filter(|f| {
            f.symbol == symbol && from.is_none_or(|id| f.id >= id) && order.is_none_or(|o| f.order == o)
        })
        .filter(|f| start.is_none_or(|s| f.at.millis() >= s) && end.is_none_or(|e| f.at.millis() <= e))
        .collect();
    let picked = if from.is_some() || start.is_some() {
        &rows[..limit.min(rows.len())]
    } else {
        &rows[rows.len().saturating_sub(limit)..]
    };
    Ok(Value::Array(picked.iter().map(|f| trade_json(f, l)).collect()))
}

/// `income`.
pub(crate) fn income(w: &mut World, c: &Call) -> Answer {
    let symbol = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let kind = c.params.get("incomeType");
    let (start, end) = (c.params.number("startTime")?, c.params.number("endTime")?);
    let limit = c.params.limit(100, 1000)?;
    let rows: Vec<Value> = (w.exchange.account(c.account).income.iter())
        .filter(|i| symbol.is_none_or(|s| i.symbol == Some(s)) && kind.is_none_or(|k| i.kind == k))
        .filter(|i| start.is_none_or(|s| i.at.millis() >= s) && end.is_none_or(|e| i.at.millis() <= e))
        .map(|i| {
            let name = i.symbol.map_or("", |s| w.exchange.listing(s).instrument.symbol.as_str());
            let trade = if i.trade == 0 { String::new() } else { i.trade.to_string() };
            json!({
                "symbol": name, "incomeType": i.kind, "income": text(i.amount), "asset": "USDT", "info": i.kind,
                "time": i.at.millis(), "tranId": i.id, "tradeId": trade,
            })
        })
        .collect();
    let skip = rows.len().saturating_sub(limit);
    Ok(Value::Array(rows.into_iter().skip(skip).collect()))
}

/// `adlQuantile`: nobody stands before anybody in the queue.
pub(crate) fn adl_quantile(w: &mut World, c: &Call) -> Answer {
    let wanted = c.params.get("symbol").map(|s| w.symbol(s)).transpose()?;
    let a = w.exchange.account(c.account);
    let held = |s: SymbolId| a.positions.iter().any(|((of, _), p)| *of == s && p.qty.0 != 0);
    let rows = w.exchange.listings().iter().filter(|l| {
        let id = l.instrument.id;
        held(id) && wanted.is_none_or(|s| s == id)
    });
    let quantile = if a.hedge {
        json!({"LONG": 0, "SHORT": 0, "HEDGE": 0})
    } else {
        json!({"LONG": 0, "SHORT": 0, "BOTH": 0})
    };
    Ok(Value::Array(rows.map(|l| json!({"symbol": l.instrument.symbol, "adlQuantile": quantile})).collect()))
}

/// `feeBurn`: commissions are paid in the margin asset.
pub(crate) fn fee_burn(_: &mut World, _: &Call) -> Answer {
    Ok(json!({"feeBurn": false}))
}

/// `apiTradingStatus`: no indicator ever triggers.
pub(crate) fn trading_status(_: &mut World, c: &Call) -> Answer {
    Ok(json!({"indicators": {}, "updateTime": c.at.millis()}))
}

/// `rateLimit/order`.
pub(crate) fn order_limits(w: &mut World, _: &Call) -> Answer {
    let (_, ten, minute) = w.limits.limits();
    Ok(json!([
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ten},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": minute},
    ]))
}

/// POST listenKey.
pub(crate) fn start_stream(w: &mut World, c: &Call) -> Answer {
    Ok(json!({"listenKey": w.listen_key(c.account, c.at)}))
}

/// PUT listenKey.
pub(crate) fn keep_stream(w: &mut World, c: &Call) -> Answer {
    if !w.listen_keys.values().any(|k| k.account == c.account) {
        return Err(reject::BAD_LISTEN_KEY);
    }
    start_stream(w, c)
}

/// DELETE listenKey.
pub(crate) fn stop_stream(w: &mut World, c: &Call) -> Answer {
    w.listen_keys.retain(|_, k| k.account != c.account);
    Ok(json!({}))
}
