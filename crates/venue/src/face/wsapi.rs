//! The WebSocket API for orders (`/ws-fapi/v1`, BINANCE.md §3.3).

use std::net::IpAddr;

use market::Nanos;
use serde_json::{Value, json};

use super::auth::check_time;
use super::params::{Params, json_text};
use super::request::Frame;
use super::session::Session;
use super::text::text_of;
use super::trade::{Answer, Call};
use super::world::World;
use super::{account, algo, public, trade};
use crate::core::{AccountId, Reject};

type Handler = fn(&mut World, &Call) -> Answer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    None,
    Key,
    Signed,
}

fn method(name: &str, p: &Params) -> Option<(Handler, u32, Proof)> {
    use Proof::{Key, None as Open, Signed};
    Some(match name {
        "ping" => (public::ping, 1, Open),
        "time" => (public::time, 1, Open),
        "depth" => (public::depth, public::depth_weight(p.get("limit")), Open),
        "ticker.price" => (public::price, 1, Open),
        "algoOrder.place" => (algo::place, 0, Signed),
        "algoOrder.cancel" => (algo::cancel, 1, Signed),
        "ticker.book" => (public::book_ticker, 2, Open),
        "order.place" => (trade::place, 0, Signed),
        "order.test" => (trade::test, 0, Signed),
        "order.modify" => (trade::modify, 0, Signed),
        "order.cancel" => (trade::cancel, 1, Signed),
        "order.status" => (trade::query, 1, Signed),
        "account.balance" | "v2/account.balance" => (account::balance, 5, Signed),
        "account.position" => (account::risk_v2, 5, Signed),
        "v2/account.position" => (account::risk_v3, 5, Signed),
        "account.status" => (account::account_v2, 5, Signed),
        "v2/account.status" => (account::account_v3, 5, Signed),
        "userDataStream.start" => (account::start_stream, 5, Key),
        "userDataStream.ping" => (account::keep_stream, 1, Key),
        "userDataStream.stop" => (account::stop_stream, 1, Key),
        _ => return None,
    })
}

/// Answers a frame.
pub(crate) fn handle(w: &mut World, session: &mut Session, f: &Frame, ip: IpAddr, now: Nanos) -> String {
    let at = w.clock(now);
    w.counters.api_requests += 1;
    let params = Params::from_json(&f.params);
    let wants_limits = params.flag("returnRateLimits").ok().flatten().unwrap_or(session.rate_limits);
    let (answer, used) = answer(w, session, f, params, ip, (now, at));
    w.settle(at);
    let mut reply = match answer {
        Ok(result) => json!({"id": f.id, "status": 200, "result": result}),
        Err((e, status)) => {
            w.counters.rejects += 1;
            json!({"id": f.id, "status": status, "error": {"code": e.code, "msg": e.msg}})
        }
    };
    if wants_limits {
        let (weight, ten, minute) = w.limits.limits();
        let mut rows = Vec::new();
        if let Some(account) = used.1 {
            let (a, b) = w.limits.order_counts(account, at);
            rows.push(json!({"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ten, "count": a}));
            rows.push(json!({"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": minute, "count": b}));
        }
        rows.push(json!({"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight, "count": used.0}));
        reply["rateLimits"] = Value::Array(rows);
    }
    text_of(&reply)
}

type Outcome = (Result<Value, (Reject, u16)>, (u32, Option<AccountId>));

fn answer(
    w: &mut World,
    session: &mut Session,
    f: &Frame,
    params: Params,
    ip: IpAddr,
    (now, at): (Nanos, Nanos),
) -> Outcome {
    if f.method.starts_with("session.") {
        return (with_status(self::session(w, session, f, &params, at)), (0, None));
    }
    let Some((handler, weight, proof)) = method(&f.method, &params) else {
        let e = Reject::text(-1020, format!("Unknown method '{}'.", f.method));
        return (Err((e, 400)), (0, None));
    };
    let weight = match w.limits.request(ip, weight, now) {
        Ok(used) => used,
        Err((e, status, _)) => return (Err((e, status)), (0, None)),
    };
    let account = match prove(w, session, f, &params, proof, at) {
        Ok(account) => account,
        Err(e) => return (with_status(Err(e)), (weight, None)),
    };
    let call = Call { params, account, at };
    let counted =
        matches!(f.method.as_str(), "order.place" | "order.modify" | "algoOrder.place").then_some(account);
    (with_status(handler(w, &call)), (weight, counted))
}

fn with_status(a: Answer) -> Result<Value, (Reject, u16)> {
    a.map_err(|e| {
        let status = e.status();
        (e, status)
    })
}

/// Who is asking: an explicit key and signature, or the session.
fn prove(
    w: &World,
    session: &Session,
    f: &Frame,
    p: &Params,
    proof: Proof,
    at: Nanos,
) -> Result<AccountId, Reject> {
    if proof == Proof::None {
        return Ok(AccountId(0));
    }
    let key = p.get("apiKey").or(session.api_key.as_deref());
    let account = w.keys.account(key)?;
    if proof == Proof::Key {
        return Ok(account);
    }
    let timestamp = p.number("timestamp")?.ok_or_else(|| Reject::mandatory("timestamp"))?;
    check_time(timestamp, p.number("recvWindow")?.unwrap_or(5000), at.millis())?;
    match p.get("signature") {
        Some(signature) => w.keys.verify(key.unwrap_or_default(), &payload(&f.params), signature)?,
        None if session.api_key.is_some() && p.get("apiKey").is_none() => {}
        None => return Err(Reject::mandatory("signature")),
    }
    Ok(account)
}

/// The signed text: all parameters but the signature, sorted by name.
pub(crate) fn payload(params: &Value) -> String {
    let Some(map) = params.as_object() else { return String::new() };
    let mut names: Vec<&String> = map.keys().filter(|k| *k != "signature").collect();
    names.sort();
    let parts: Vec<String> = names.into_iter().map(|k| format!("{k}={}", json_text(&map[k]))).collect();
    parts.join("&")
}

/// `session.logon`, `.status`, `.logout`.
fn session(w: &mut World, session: &mut Session, f: &Frame, p: &Params, at: Nanos) -> Answer {
    match f.method.as_str() {
        "session.logon" => {
            let key = p.need("apiKey")?.to_owned();
            w.keys.account(Some(&key))?;
            if !w.keys.is_ed25519(&key) {
                return Err(Reject::new(-4056, "Only Ed25519 keys are supported for this feature."));
            }
            prove(w, session, f, p, Proof::Signed, at)?;
            session.api_key = Some(key);
            session.since = at.millis();
            w.hub.log_on(session);
        }
        "session.status" => {}
        "session.logout" => {
            session.api_key = None;
            w.hub.log_on(session);
        }
        _ => return Err(Reject::text(-1020, format!("Unknown method '{}'.", f.method))),
    }
    Ok(json!({
        "apiKey": session.api_key, "authorizedSince": session.api_key.as_ref().map(|_| session.since),
        "connectedSince": session.connected, "returnRateLimits": session.rate_limits, "serverTime": at.millis(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_signed_sorted_and_raw() {
        let p = json!({"symbol": "BTCUSDT", "apiKey": "K", "quantity": 0.01, "price": 60000, "flag": false, "signature": "x"});
        assert_eq!(payload(&p), "apiKey=K&flag=false&price=60000&quantity=0.01&symbol=BTCUSDT");
    }
}
