//! The operator's hand: `/dolphin/faults`, `/dolphin/counters`, and what [`crate::VenueHandle::inject`] does.

use market::{Amount, Increment, Nanos, OrderType, Px, Qty, Side, SymbolId};
use serde_json::{Value, json};

use super::call::HttpReply;
use super::hub::MOST_BACK;
use super::request::HttpRequest;
use super::trade::position_side;
use super::world::World;
use crate::core::{AccountId, OrderRef, PlaceOrder, SelfTrade, SymbolStatus, reject};
use crate::faults::{Fault, MAX_RULES, Rule, matches};

/// Answers `/dolphin/…`; `None` for other paths.
pub(crate) fn handle(w: &mut World, r: &HttpRequest, now: Nanos) -> Option<HttpReply> {
    if !r.path.starts_with("/dolphin/") {
        return None;
    }
    Some(match answer(w, &r.method, &r.path, &r.body, now) {
        Some((status, v)) => HttpReply::json(status, v.to_string()),
        None => HttpReply::empty(404),
    })
}

fn answer(w: &mut World, method: &str, path: &str, body: &str, now: Nanos) -> Option<(u16, Value)> {
    let bad = |e: String| (400, json!({"error": e}));
    let one = path.strip_prefix("/dolphin/faults/").and_then(|id| id.parse().ok());
    Some(match (method, path, one) {
        ("GET", "/dolphin/faults", _) => (200, json!(w.faults.active())),
        ("DELETE", "/dolphin/faults", _) => {
            w.faults.clear();
            (200, json!({}))
        }
        ("DELETE", _, Some(id)) if w.faults.remove(id) => (200, json!({})),
        ("DELETE", _, Some(id)) => (404, json!({"error": format!("no rule {id}")})),
        ("POST", "/dolphin/faults", _) => match read(body) {
            Err(e) => bad(e),
            Ok((rule, for_ms)) => {
                inject(w, rule, for_ms, now).map_or_else(bad, |id| (200, json!({"id": id})))
            }
        },
        ("GET", "/dolphin/counters", _) => (200, json!(w.counted())),
        _ => return None,
    })
}

/// Reads a rule and how long it stands; a key that means nothing is an error.
fn read(body: &str) -> Result<(Rule, Option<u64>), String> {
    let text: Value = serde_json::from_str(body).map_err(|e| format!("not JSON: {e}"))?;
    let rule: Rule = serde_json::from_value(text.clone()).map_err(|e| format!("not a fault: {e}"))?;
    let for_ms = match text.get("for_ms") {
        None => None,
        Some(v) => Some(v.as_u64().ok_or("for_ms: not a number of milliseconds")?),
    };
    let known = serde_json::to_value(&rule).map_err(|e| e.to_string())?;
    match text.as_object().into_iter().flatten().find(|(k, _)| *k != "for_ms" && known.get(k).is_none()) {
        Some((key, _)) => Err(format!("no such key: {key}")),
        None => Ok((rule, for_ms)),
    }
}

/// Puts a rule in force (until it is cleared, or for a time), or does at once what happens at once (id 0).
pub(crate) fn inject(w: &mut World, rule: Rule, for_ms: Option<u64>, now: Nanos) -> Result<u64, String> {
    let at = w.clock(now);
    let fault = &rule.fault;
    let done = on_connections(w, fault, now, at)?
        || on_orders(w, fault, at)?
        || on_account(w, fault, at)?
        || on_symbol(w, fault, at)?;
    w.settle(at);
    if done {
        w.counters.faults += 1;
        return Ok(0);
    }
    check(w, fault)?;
    if let Fault::SnapshotStale { symbol } = fault {
        let id = symbol_of(w, symbol)?;
        w.stale_snapshots.insert(id, w.depth(id, 1000, at));
    }
    let until = for_ms.map(|ms| now.plus(ms.saturating_mul(Nanos::MS)));
    w.faults.add(rule, now, until).ok_or_else(|| format!("more than {MAX_RULES} rules"))
}

/// What a standing rule names must exist.
fn check(w: &World, fault: &Fault) -> Result<(), String> {
    match fault {
        Fault::CrossBook { symbol } | Fault::LockBook { symbol } | Fault::MarkOff { symbol, .. } => {
            symbol_of(w, symbol).map(drop)
        }
        Fault::Replay { back, .. } if !(1..=MOST_BACK).contains(back) => {
            Err(format!("back: choose a number from 1 to {MOST_BACK}"))
        }
        Fault::EmptySide { symbol, side } => {
            symbol_of(w, symbol)?;
            side_of(side).map(drop)
        }
        _ => Ok(()),
    }
}

fn side_of(text: &str) -> Result<Side, String> {
    match text {
        "BUY" => Ok(Side::Buy),
        "SELL" => Ok(Side::Sell),
        _ => Err("side: BUY or SELL".into()),
    }
}

/// Faults that happen to connections and keys; `false` for others.
fn on_connections(w: &mut World, fault: &Fault, now: Nanos, at: Nanos) -> Result<bool, String> {
    match fault {
        Fault::Disconnect { route, how } => {
            w.hub.disconnect(route, *how);
            if matches(route, "rest") {
                w.rest_endings.push(*how);
            }
        }
        Fault::Ban { ms } => {
            let until = now.millis().saturating_add(*ms);
            w.limits.ban(until);
        }
        Fault::ExpireListenKeys { event } => {
            let keys: Vec<String> = w.listen_keys.keys().cloned().collect();
            keys.iter().for_each(|k| w.end_listen_key(k, *event, at));
        }
        Fault::RevokeKey { api_key } => {
            if !w.keys.revoke(api_key) {
                return Err("no such key".into());
            }
            let error = json!({"code": reject::BAD_KEY.code, "msg": reject::BAD_KEY.msg});
            w.hub.log_out(api_key, &json!({"id": null, "status": 401, "error": error}).to_string());
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn symbol_of(w: &World, name: &str) -> Result<SymbolId, String> {
    w.symbol(name).map_err(|_| format!("no symbol {name}"))
}

fn account_of(w: &World, n: u16) -> Result<AccountId, String> {
    w.exchange.account_ids().nth(n.into()).ok_or_else(|| format!("no account {n}"))
}

/// A quantity in lots; without one, as much as there is.
fn quantity_of(w: &World, symbol: SymbolId, text: Option<&str>) -> Result<Qty, String> {
    let lot = w.exchange.listing(symbol).instrument.lot;
    match text {
        None => Ok(Qty(i64::MAX)),
        Some(q) => lot.parse_count(q.as_bytes()).map(Qty).map_err(|e| format!("quantity: {e}")),
    }
}

/// Faults that happen to orders of an account; `false` for others.
fn on_orders(w: &mut World, fault: &Fault, at: Nanos) -> Result<bool, String> {
    match fault {
        Fault::ExternalOrder { account, symbol, side, quantity, price, client_id } => {
            let (account, symbol) = (account_of(w, *account)?, symbol_of(w, symbol)?);
            let i = &w.exchange.listing(symbol).instrument;
            let qty = i.lot.parse_count(quantity.as_bytes()).map_err(|e| format!("quantity: {e}"))?;
            let px = match price {
                None => 0,
                Some(p) => i.tick.parse_count(p.as_bytes()).map_err(|e| format!("price: {e}"))?,
            };
            let hedge = w.exchange.account(account).hedge;
            let side = side_of(side)?;
            let leg = match (hedge, side) {
                (false, _) => None,
                (true, Side::Buy) => Some("LONG"),
                (true, Side::Sell) => Some("SHORT"),
            };
            let ask = PlaceOrder {
                client_id: Some(client_id.clone().unwrap_or_else(|| format!("web_{}", at.millis()))),
                kind: if price.is_some() { OrderType::Limit } else { OrderType::Market },
                position_side: position_side(leg).map_err(|e| e.to_string())?,
                self_trade: SelfTrade::None,
                ..PlaceOrder::limit(symbol, side, Px(px), Qty(qty))
            };
            w.exchange.place(account, ask, at).map_err(|e| e.to_string())?;
        }
        Fault::FillOrder { account, symbol, client_id, quantity } => {
            let (account, symbol) = (account_of(w, *account)?, symbol_of(w, symbol)?);
            let qty = quantity_of(w, symbol, quantity.as_deref())?;
            let which = OrderRef::Client(client_id.clone());
            w.exchange.fill_order(account, symbol, &which, qty, at).map_err(|e| e.to_string())?;
        }
        Fault::CancelOrder { account, symbol, client_id } => {
            let (account, symbol) = (account_of(w, *account)?, symbol_of(w, symbol)?);
            match client_id {
                None => drop(w.exchange.cancel_all(account, symbol, at)),
                Some(c) => {
                    let which = OrderRef::Client(c.clone());
                    w.exchange.cancel(account, symbol, &which, at).map_err(|e| e.to_string())?;
                }
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Faults that happen to an account; `false` for others.
fn on_account(w: &mut World, fault: &Fault, at: Nanos) -> Result<bool, String> {
    match fault {
        Fault::Liquidate { account } => {
            let account = account_of(w, *account)?;
            w.exchange.liquidate(account, at);
        }
        Fault::Deleverage { account, symbol, position_side: leg, quantity } => {
            let (account, symbol) = (account_of(w, *account)?, symbol_of(w, symbol)?);
            let qty = quantity_of(w, symbol, quantity.as_deref())?;
            let leg = position_side(Some(leg)).map_err(|e| e.to_string())?;
            w.exchange.deleverage(account, symbol, leg, qty, at).map_err(|_| "no position to deleverage")?;
        }
        Fault::Transfer { account, amount } => {
            let account = account_of(w, *account)?;
            let amount = Amount::parse(amount.as_bytes()).map_err(|e| format!("amount: {e}"))?;
            w.exchange.transfer(account, amount, at);
        }
        Fault::SetHedge { account, on } => {
            let account = account_of(w, *account)?;
            w.exchange.set_hedge(account, *on).map_err(|e| e.to_string())?;
        }
        Fault::SetMultiAssets { account, on } => {
            let account = account_of(w, *account)?;
            w.exchange.set_multi_assets(account, *on, at).map_err(|e| e.to_string())?;
        }
        Fault::SetCommission { maker, taker } => {
            w.exchange.set_commission(format!("{maker},{taker}").parse()?);
        }
        Fault::SetLeverage { account, symbol, leverage } => {
            let (account, symbol) = (account_of(w, *account)?, symbol_of(w, symbol)?);
            w.exchange.set_leverage(account, symbol, *leverage, at).map_err(|e| e.to_string())?;
        }
        Fault::SetMarginType { account, symbol, isolated } => {
            let (account, symbol) = (account_of(w, *account)?, symbol_of(w, symbol)?);
            w.exchange.set_isolated(account, symbol, *isolated, at).map_err(|e| e.to_string())?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn jump(w: &mut World, (name, symbol): (&str, SymbolId), factor: f64) -> Result<(), String> {
    if !(0.01..=100.0).contains(&factor) {
        return Err("factor: choose one from 0.01 to 100".into());
    }
    if !w.jump(symbol, factor) {
        return Err(format!("{name} is played from a recording: its price cannot jump"));
    }
    Ok(())
}

/// Faults that happen to an instrument; `false` for others.
fn on_symbol(w: &mut World, fault: &Fault, at: Nanos) -> Result<bool, String> {
    match fault {
        Fault::Funding { symbol, rate } => {
            let symbol = symbol_of(w, symbol)?;
            let rate =
                Amount::from_f64(*rate).filter(|r| r.0.abs() < Amount::ONE).ok_or("rate: not below 1")?;
            w.exchange.listing_mut(symbol).mark.funding_rate = rate.0;
            w.exchange.fund(symbol, at);
        }
        Fault::SetStatus { symbol, status } => {
            let symbol = symbol_of(w, symbol)?;
            let status =
                SymbolStatus::ALL.into_iter().find(|s| s.name() == status).ok_or("status: unknown")?;
            w.exchange.listing_mut(symbol).status = status;
            w.tell_status(symbol, at);
        }
        Fault::SetStep { symbol, step, max_qty } => {
            let symbol = symbol_of(w, symbol)?;
            let lot = w.exchange.listing(symbol).instrument.lot;
            let most = max_qty.as_ref().map(|t| lot.parse_count(t.as_bytes())).transpose();
            let most = most.map_err(|e| format!("max_qty: {e}"))?;
            let step = step.as_ref().map(|t| lot.parse_count(t.as_bytes())).transpose();
            let step = step.ok().filter(|s| s.is_none_or(|n| n > 0));
            let step = step.ok_or("step: not a multiple of the instrument's step")?;
            let l = w.exchange.listing_mut(symbol);
            l.order_lots = step.unwrap_or(l.order_lots);
            l.instrument.max_qty = most.map_or(l.instrument.max_qty, Qty);
        }
        Fault::Settle { symbol } => {
            let symbol = symbol_of(w, symbol)?;
            w.exchange.settle_symbol(symbol, at);
            w.tell_status(symbol, at);
        }
        Fault::Jump { symbol, factor } => {
            let id = symbol_of(w, symbol)?;
            jump(w, (symbol, id), *factor)?;
        }
        Fault::SetFilter {
            symbol,
            min_notional,
            min_qty,
            max_orders,
            multiplier_up,
            multiplier_down,
            tick,
        } => {
            let symbol = symbol_of(w, symbol)?;
            let lot = w.exchange.listing(symbol).instrument.lot;
            let notional = min_notional.as_ref().map(|t| Amount::parse(t.as_bytes())).transpose();
            let notional = notional.map_err(|e| format!("min_notional: {e}"))?;
            let qty = min_qty.as_ref().map(|t| lot.parse_count(t.as_bytes())).transpose();
            let qty = qty.map_err(|e| format!("min_qty: {e}"))?;
            let step =
                tick.as_ref().map(|t| Increment::parse(t)).transpose().map_err(|e| format!("tick: {e}"))?;
            if let Some(step) = step {
                w.exchange.listing_mut(symbol).set_order_tick(step).map_err(str::to_owned)?;
            }
            let i = &mut w.exchange.listing_mut(symbol).instrument;
            i.min_notional = notional.unwrap_or(i.min_notional);
            i.min_qty = qty.map_or(i.min_qty, Qty);
            i.max_orders = max_orders.unwrap_or(i.max_orders);
            i.multiplier_up = multiplier_up.unwrap_or(i.multiplier_up);
            i.multiplier_down = multiplier_down.unwrap_or(i.multiplier_down);
        }
        _ => return Ok(false),
    }
    Ok(true)
}
