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
    pub keys: Vec<UserStream>,
}

/// A listen key in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct UserStream {
    pub key: String,
    /// The kinds of events that are named; none: all.
    pub events: Vec<String>,
    /// `listenKey=…`; else it stands in the path, or among the streams.
    pub in_query: bool,
}

impl UserStream {
    fn bare(key: &str) -> Self {
        Self { key: key.to_owned(), ..Self::default() }
    }

    /// The form that delivers in production.
    fn is_strict(&self) -> bool {
        self.in_query && !self.events.is_empty()
    }
}

/// Reads `/public/ws/a/b`, `/market/stream?streams=a/b`, `/private/ws?listenKey=K&events=A/B`, `/ws/a`, `/stream` …;
/// `None` for a path that is no stream URL.
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
    let mut t = Target { route, combined, streams: Vec::new(), keys: Vec::new() };
    let add = |name: &str, t: &mut Target| match name {
        key if is_listen_key(key) => t.keys.push(UserStream::bare(key)),
        stream => t.streams.push(stream.to_owned()),
    };
    // `/public/ws/0`: an arbitrary name, not a stream.
    parts.filter(|p| is_stream(p) || is_listen_key(p)).for_each(|p| add(p, &mut t));
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let value = super::params::percent_decode(value);
        let mut items = value.split('/').filter(|s| !s.is_empty());
        match name {
            "streams" => items.for_each(|s| add(s, &mut t)),
            "listenKey" if !value.is_empty() => {
                t.keys.push(UserStream { key: value, in_query: true, ..UserStream::default() });
            }
            // Of the key before it.
            "events" => {
                if let Some(key) = t.keys.last_mut() {
                    key.events.extend(items.by_ref().map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    Some(t)
}

fn is_stream(name: &str) -> bool {
    name.contains('@') || name.starts_with('!')
}

fn is_listen_key(name: &str) -> bool {
    name.len() >= 32 && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Subscribes a connection to what its URL asks for.
pub(crate) fn subscribe_url(w: &mut World, id: u64, target: &Target) {
    subscribe(w, id, &target.streams);
    let room = w.rules.streams_per_connection.saturating_sub(target.streams.len());
    for user in target.keys.iter().take(room) {
        let silenced = w.faults.strike(|f| *f == Fault::SubscribeSilently).is_some();
        let delivered = !silenced && (!w.rules.strict_user_streams || user.is_strict());
        w.hub.subscribe_user(id, &user.key, &user.events, delivered);
        if delivered && !w.faults.is_empty() {
            w.replay_events(id, &user.key);
        }
    }
}

fn subscribe(w: &mut World, id: u64, streams: &[String]) {
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
                subscribe(w, id, &names);
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
        let keys = |p, q| -> Vec<(String, String, bool)> {
            let keys = target(p, q).unwrap().keys.into_iter();
            keys.map(|k| (k.key.clone(), k.events.join(" "), k.in_query)).collect()
        };
        let long = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1";
        assert_eq!(keys("/private/ws", "listenKey=LK"), [("LK".into(), String::new(), true)]);
        let in_path = format!("/private/ws/{long}");
        assert_eq!(keys(&in_path, ""), [(long.into(), String::new(), false)]);
        assert_eq!(
            keys("/private/stream", "listenKey=A&events=X/Y&listenKey=B&events=Z"),
            [("A".into(), "X Y".into(), true), ("B".into(), "Z".into(), true)]
        );
        assert_eq!(t("/ws", ""), Some((Route::Legacy, false, vec![])));
        assert_eq!(t("/fapi/v1/ping", ""), None);
    }
}
