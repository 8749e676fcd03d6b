//! Stream connections: URLs, SUBSCRIBE and its sisters (BINANCE.md §2).

use market::Nanos;
use serde_json::{Value, json};

use super::hub::{Hub, Route};
use super::world::World;
use crate::faults::Fault;

/// What a stream URL asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub route: Route,
    pub combined: bool,
    pub streams: Vec<String>,
}

/// Reads `/public/ws/a/b`, `/market/stream?streams=a/b`, `/private/ws?listenKey=K`, `/ws/a`, `/stream` …; `None`
/// for a path that is no stream URL.
pub(crate) fn target(path: &str, query: &str) -> Option<Target> {
    let mut parts = path.trim_matches('/').split('/');
    let mut first = parts.next()?;
    let route = match first {
        "public" => Route::Public,
        "market" => Route::Market,
        "private" => Route::Private,
        _ => Route::Legacy,
    };
    if route != Route::Legacy {
        first = parts.next()?;
    }
    let combined = match first {
        "ws" => false,
        "stream" => true,
        _ => return None,
    };
    // `/public/ws/0`: an arbitrary name, not a stream.
    let mut streams: Vec<String> =
        parts.filter(|p| is_stream(p) || is_listen_key(p)).map(str::to_owned).collect();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("streams", list)) => {
                let list = super::params::percent_decode(list);
                streams.extend(list.split('/').filter(|s| !s.is_empty()).map(str::to_owned));
            }
            Some(("listenKey", key)) if !key.is_empty() => streams.push(key.to_owned()),
            _ => {}
        }
    }
    Some(Target { route, combined, streams })
}

fn is_stream(name: &str) -> bool {
    name.contains('@') || name.starts_with('!')
}

fn is_listen_key(name: &str) -> bool {
    name.len() >= 32 && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Subscribes a connection to the streams of its URL.
pub(crate) fn subscribe_url(w: &mut World, id: u64, streams: &[String]) {
    let delivered = streams.is_empty() || w.faults.strike(|f| *f == Fault::SubscribeSilently).is_none();
    for s in streams.iter().take(w.rules.streams_per_connection) {
        w.hub.subscribe(id, s, delivered);
        if delivered && !w.faults.is_empty() {
            w.replay_events(id, s);
        }
    }
}

/// Answers a control frame.
pub(crate) fn control(w: &mut World, id: u64, text: &str) {
    let error =
        |id: &Value, code: i32, msg: &str| json!({"error": {"code": code, "msg": msg}, "id": id}).to_string();
    let Ok(v) = serde_json::from_str::<Value>(text) else {
        let text = json!({"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}});
        w.hub.tell(id, text.to_string());
        return;
    };
    let echo = v.get("id").cloned().unwrap_or(Value::Null);
    let done = json!({"result": null, "id": echo}).to_string();
    let Some(method) = v.get("method").and_then(Value::as_str) else {
        w.hub.tell(id, error(&echo, 2, "Invalid request: missing field `method`"));
        return;
    };
    let params: Vec<Value> = v.get("params").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<String> = params.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let reply = match method {
        "SUBSCRIBE" => {
            let held = w.hub.connection(id).map_or(0, |c| c.subscriptions.len());
            if held + names.len() > w.rules.streams_per_connection {
                error(&echo, 2, "Invalid request: too many parameters")
            } else {
                // The reply comes before the first frame.
                w.hub.tell(id, done);
                subscribe_url(w, id, &names);
                return;
            }
        }
        "UNSUBSCRIBE" => {
            names.iter().for_each(|s| w.hub.unsubscribe(id, s));
            done
        }
        "LIST_SUBSCRIPTIONS" => {
            let list = w.hub.connection(id).map(|c| c.subscriptions.clone()).unwrap_or_default();
            json!({"result": list, "id": echo}).to_string()
        }
        "SET_PROPERTY" => match (names.first().map(String::as_str), params.get(1)) {
            (Some("combined"), Some(Value::Bool(on))) => {
                if let Some(c) = w.hub.connection_mut(id) {
                    c.combined = *on;
                }
                done
            }
            (Some("combined"), _) => error(&echo, 1, "Invalid value type: expected Boolean"),
            _ => error(&echo, 0, "Unknown property"),
        },
        "GET_PROPERTY" => match names.first().map(String::as_str) {
            Some("combined") => {
                let on = w.hub.connection(id).is_some_and(|c| c.combined);
                json!({"result": on, "id": echo}).to_string()
            }
            _ => error(&echo, 0, "Unknown property"),
        },
        other => error(
            &echo,
            2,
            &format!(
                "Invalid request: unknown variant `{other}`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
            ),
        ),
    };
    w.hub.tell(id, reply);
}

/// Counts an incoming message; `true` when the connection has sent more in a second than it may.
pub(crate) fn too_chatty(hub: &mut Hub, id: u64, limit: u32, now: Nanos) -> bool {
    let Some(c) = hub.connection_mut(id) else { return false };
    while c.arrivals.front().is_some_and(|t| now.since(*t).0 >= Nanos::SECOND) {
        c.arrivals.pop_front();
    }
    c.arrivals.push_back(now);
    c.arrivals.len() > limit as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_urls() {
        let t = |p, q| target(p, q).map(|t| (t.route, t.combined, t.streams));
        assert_eq!(t("/public/ws/0", ""), Some((Route::Public, false, vec![])));
        assert_eq!(
            t("/public/ws/btcusdt@depth/ethusdt@depth", ""),
            Some((Route::Public, false, vec!["btcusdt@depth".into(), "ethusdt@depth".into()]))
        );
        assert_eq!(
            t("/market/stream", "streams=btcusdt@aggTrade/!markPrice@arr"),
            Some((Route::Market, true, vec!["btcusdt@aggTrade".into(), "!markPrice@arr".into()]))
        );
        assert_eq!(t("/market/stream", "streams="), Some((Route::Market, true, vec![])));
        assert_eq!(t("/private/ws", "listenKey=LK"), Some((Route::Private, false, vec!["LK".into()])));
        assert_eq!(t("/ws", ""), Some((Route::Legacy, false, vec![])));
        assert_eq!(t("/fapi/v1/ping", ""), None);
    }
}
