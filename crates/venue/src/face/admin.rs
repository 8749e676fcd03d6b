//! The operator's hand: `/dolphin/faults`, `/dolphin/counters`, and what [`crate::VenueHandle::inject`] does.

use market::{Amount, Increment, Nanos, OrderType, Px, Qty, Side, SymbolId, TimeInForce};
use serde_json::{Value, json};

use super::trade::position_side;
use super::world::World;
use crate::core::{AccountId, PlaceOrder, SelfTrade, SymbolStatus};
use crate::faults::{Fault, MAX_RULES, Rule};

/// Answers `/dolphin/…`; `None` for other paths.
pub(crate) fn handle(
    w: &mut World,
    method: &str,
    path: &str,
    body: &str,
    now: Nanos,
) -> Option<(u16, Value)> {
    Some(match (method, path) {
        ("GET", "/dolphin/faults") => (200, json!(w.faults.active())),
        ("DELETE", "/dolphin/faults") => {
            w.faults.clear();
            w.stale_snapshots.clear();
            (200, json!({}))
        }
        ("POST", "/dolphin/faults") => match serde_json::from_str::<Rule>(body) {
            Err(e) => (400, json!({"error": format!("not a fault: {e}")})),
            Ok(rule) => match inject(w, rule, now) {
                Ok(id) => (200, json!({"id": id})),
                Err(e) => (400, json!({"error": e})),
            },
        },
        ("GET", "/dolphin/counters") => {
            let c = w.counters;
            (
                200,
                json!({
                    "requests": c.requests, "api_requests": c.api_requests, "frames": c.frames, "connections": c.connections,
                    "slow_connections": c.slow_connections, "rejects": c.rejects, "orders": c.orders, "fills": c.fills,
                    "faults": c.faults,
                }),
            )
        }
        _ => return None,
    })
}

/// Puts a rule in force, or does at once what happens at once (id 0).
pub(crate) fn inject(w: &mut World, rule: Rule, now: Nanos) -> Result<u64, String> {
    let at = w.clock(now);
    let done = match &rule.fault {
        Fault::Disconnect { route, how } => {
            w.hub.disconnect(route, *how);
            true
        }
        Fault::Ban { ms } => {
            let until = now.millis() + ms;
            w.limits.ban(std::net::IpAddr::from([127, 0, 0, 1]), until);
            true
        }
        Fault::ExpireListenKeys { event } => {
            let keys: Vec<String> = w.listen_keys.keys().cloned().collect();
            keys.iter().for_each(|k| w.end_listen_key(k, *event, at));
            true
        }
        Fault::RevokeKey { api_key } => {
            if !w.keys.revoke(api_key) {
                return Err("no such key".into());
            }
            true
        }
        Fault::SnapshotStale { symbol } => {
            let id = symbol_of(w, symbol)?;
            let depth = w.depth(id, 1000, at);
            w.stale_snapshots.insert(id, depth);
            true
        }
        other => on_account(w, other, at)? || on_symbol(w, other, at)?,
    };
    w.settle(at);
    if done {
        w.counters.faults += 1;
        return Ok(0);
    }
    w.faults.add(rule).ok_or_else(|| format!("more than {MAX_RULES} rules"))
}

fn symbol_of(w: &World, name: &str) -> Result<SymbolId, String> {
    w.symbol(name).map_err(|_| format!("no symbol {name}"))
}

fn account_of(w: &World, n: u16) -> Result<AccountId, String> {
    w.exchange.account_ids().nth(n.into()).ok_or_else(|| format!("no account {n}"))
}

/// Faults that happen to an account; `false` for others.
fn on_account(w: &mut World, fault: &Fault, at: Nanos) -> Result<bool, String> {
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
            let side = if side == "SELL" { Side::Sell } else { Side::Buy };
            let leg = match (hedge, side) {
                (false, _) => None,
                (true, Side::Buy) => Some("LONG"),
                (true, Side::Sell) => Some("SHORT"),
            };
            let ask = PlaceOrder {
                symbol,
                client_id: Some(client_id.clone().unwrap_or_else(|| format!("web_{}", at.millis()))),
                side,
                kind: if price.is_some() { OrderType::Limit } else { OrderType::Market },
                tif: TimeInForce::Gtc,
                px: Px(px),
                qty: Qty(qty),
                reduce_only: false,
                position_side: position_side(leg).map_err(|e| e.to_string())?,
                self_trade: SelfTrade::None,
                good_till: None,
            };
            w.exchange.place(account, ask, at).map_err(|e| e.to_string())?;
        }
        Fault::Liquidate { account } => {
            let account = account_of(w, *account)?;
            w.exchange.liquidate(account, at);
        }
        Fault::Deleverage { account, symbol, position_side: leg, quantity } => {
            let (account, symbol) = (account_of(w, *account)?, symbol_of(w, symbol)?);
            let lot = w.exchange.listing(symbol).instrument.lot;
            let qty = match quantity {
                None => i64::MAX,
                Some(q) => lot.parse_count(q.as_bytes()).map_err(|e| format!("quantity: {e}"))?,
            };
            let leg = position_side(Some(leg)).map_err(|e| e.to_string())?;
            w.exchange
                .deleverage(account, symbol, leg, Qty(qty), at)
                .map_err(|_| "no position to deleverage")?;
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
        Fault::SetLeverage { account, symbol, leverage } => {
            let (account, symbol) = (account_of(w, *account)?, symbol_of(w, symbol)?);
            w.exchange.set_leverage(account, symbol, *leverage, at).map_err(|e| e.to_string())?;
        }
        _ => return Ok(false),
    }
    Ok(true)
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
            let all =
                [SymbolStatus::Trading, SymbolStatus::Pending, SymbolStatus::Settling, SymbolStatus::Closed];
            let status = all.into_iter().find(|s| s.name() == status).ok_or("status: unknown")?;
            w.exchange.listing_mut(symbol).status = status;
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
