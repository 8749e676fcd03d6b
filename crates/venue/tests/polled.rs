//! The venue without threads, sockets or clocks: the same calls give the same bytes, and it keeps the rules that it keeps
//! over sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "common/bench.rs"]
mod bench;
#[path = "common/pipe.rs"]
mod pipe;

use std::time::Duration;

use bench::{Bench, IP, read};
use market::{Amount, Nanos, PositionSide, Qty, Side};
use pipe::{ClientEnd, pipe};
use serde_json::{Value, json};
use venue::core::PlaceOrder;
use venue::faults::{Ending, Fault, Rule};
use venue::{Answer, HttpReply, RequestId, Rules, VenueConfig};

fn order(side: &str, price: Option<&str>, id: &str) -> Value {
    let mut o = json!({"symbol": "BTCUSDT", "side": side, "quantity": "0.010", "newClientOrderId": id});
    match price {
        Some(p) => {
            o["type"] = json!("LIMIT");
            o["timeInForce"] = json!("GTC");
            o["price"] = json!(p);
        }
        None => o["type"] = json!("MARKET"),
    }
    o
}

#[test]
fn an_order_session_over_streams_in_memory() {
    let mut b = Bench::small();
    let mut api = b.connect("/ws-fapi/v1?returnRateLimits=false");
    let head = api.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the accept key of RFC 6455: {head}");
    let mut user = b.user_stream();

    b.ask(&api, "a", "order.place", order("BUY", Some("82000"), "far"));
    b.ask(&api, "b", "order.place", order("SELL", None, "now"));
    b.ask(&api, "c", "order.cancel", json!({"symbol": "BTCUSDT", "origClientOrderId": "far"}));
    b.ask(&api, "d", "order.cancel", json!({"symbol": "BTCUSDT", "origClientOrderId": "far"}));
    b.run(0);
    let replies = read(&api.texts());
    let seen: Vec<_> = replies.iter().map(|r| (r["id"].as_str().unwrap(), r["status"].as_u64())).collect();
    assert_eq!(seen, [("a", Some(200)), ("b", Some(200)), ("c", Some(200)), ("d", Some(400))]);
    assert_eq!(replies[3]["error"]["code"], -2011);
    let events = read(&user.texts());
    let reports: Vec<_> = (events.iter().filter(|e| e["e"] == "ORDER_TRADE_UPDATE"))
        .map(|e| (e["o"]["c"].as_str().unwrap(), e["o"]["x"].as_str().unwrap()))
        .collect();
    assert_eq!(reports, [("far", "NEW"), ("now", "NEW"), ("now", "TRADE"), ("far", "CANCELED")]);
    let (account, symbol) = (b.venue.account(0), b.venue.symbol("BTCUSDT").unwrap());
    assert_eq!(b.venue.inspect(|x| x.account(account).position(symbol, PositionSide::Both).qty), Qty(-10));
}

/// A day at the venue: every kind of connection and request, with faults; everything that came out of it.
fn script(seed: u64) -> (Vec<Vec<u8>>, Vec<(Nanos, RequestId, Answer)>) {
    let mut b = Bench::new(VenueConfig { symbols: 5, seed, ..VenueConfig::default() });
    let mut ends = [
        b.connect("/public/stream?streams=btcusdt@depth@100ms/ethusdt@depth5@500ms/!bookTicker/bnbusdt@trade"),
        b.connect("/market/stream?streams=btcusdt@aggTrade/!markPrice@arr@1s/btcusdt@kline_1m/ethusdt@kline_5m/!ticker@arr"),
        b.user_stream(),
        b.connect("/ws-fapi/v1"),
    ];
    b.run(700);
    for n in 0..6 {
        let (side, px) = if n % 2 == 0 { ("BUY", "83000") } else { ("SELL", "86000") };
        b.ask(
            &ends[3],
            &format!("p{n}"),
            "order.place",
            order(side, (n % 3 > 0).then_some(px), &format!("o{n}")),
        );
        b.run(130);
    }
    let late = Fault::Late { stream: "*@depth*".into(), ms: 40 };
    b.venue.inject(Rule::times(late, 5), None, b.now).unwrap();
    b.venue.inject(Fault::ClockOffset { ms: 900 }, Some(3000), b.now).unwrap();
    b.venue.inject(Rule::times(Fault::Reorder { stream: "btcusdt@*".into() }, 3), None, b.now).unwrap();
    b.venue.inject(Rule::once(Fault::RequestDelay { on: "*".into(), ms: 77 }), None, b.now).unwrap();
    b.request("POST", "/fapi/v1/order", "symbol=ETHUSDT&side=BUY&type=MARKET&quantity=0.100");
    b.run(2500);
    b.venue.inject(Fault::Disconnect { route: "market".into(), how: Ending::Reset }, None, b.now).unwrap();
    b.request("GET", "/fapi/v3/account", "");
    b.request("DELETE", "/fapi/v1/allOpenOrders", "symbol=BTCUSDT");
    b.run(4000);
    (ends.iter_mut().map(ClientEnd::bytes).collect(), b.answers)
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let (one, two, other) = (script(7), script(7), script(8));
    assert_eq!(one, two);
    assert_ne!(one.0[0], other.0[0]);
    assert!(one.0.iter().all(|bytes| bytes.len() > 2000), "each connection said something");
}

#[test]
fn bytes_in_crumbs_mean_the_same() {
    let mut b = Bench::small();
    let mut c = b.connect("/public/ws/0");
    c.line.borrow_mut().crumbs = 1;
    c.text(r#"{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms"],"id":1}"#);
    b.run(300);
    let texts = c.texts();
    assert_eq!(texts[0], r#"{"id":1,"result":null}"#);
    assert!(texts[1].starts_with(r#"{"e":"depthUpdate""#), "{}", texts[1]);
    // A handshake in crumbs, too.
    let (ours, mut theirs) = pipe();
    theirs.line.borrow_mut().crumbs = 1;
    theirs.open("/public/ws/btcusdt@bookTicker");
    b.venue.accept(ours, IP, b.now);
    b.run(300);
    assert!(!theirs.texts().is_empty());
}

#[test]
fn nothing_is_due_that_poll_does_not_do() {
    // Polling from event to event is the same as polling every millisecond: the times of frames are those of events.
    let run = |each_ms: bool| {
        let mut b = Bench::small();
        let mut c = b.connect("/public/stream?streams=btcusdt@depth@100ms/ethusdt@depth@100ms");
        for _ in 0..2000 {
            if each_ms {
                b.venue.poll(b.now);
            }
            b.run(1);
        }
        c.texts()
    };
    let (events, all) = (run(false), run(true));
    assert!(events.len() > 30);
    assert_eq!(events, all);
}

#[test]
fn a_slow_reader_is_dropped_and_others_are_not() {
    let mut b = Bench::new(VenueConfig { symbols: 8, ..VenueConfig::default() });
    let mut good = b.connect("/public/ws/!bookTicker");
    let slow = b.connect("/public/ws/!bookTicker");
    slow.line.borrow_mut().capacity = 2000;
    for _ in 0..1200 {
        b.run(100);
        good.texts();
        if slow.line.borrow().reset {
            break;
        }
    }
    assert!(slow.line.borrow().reset, "a reader that takes nothing is cut");
    assert_eq!(b.venue.counters().slow_connections, 1);
    b.run(1000);
    assert!(!good.texts().is_empty());
    assert_eq!(b.venue.counters().connections, 1);
}

#[test]
fn a_reader_that_was_full_for_a_while_misses_nothing() {
    let mut b = Bench::small();
    let mut free = b.connect("/public/ws/btcusdt@depth@100ms");
    let mut full = b.connect("/public/ws/btcusdt@depth@100ms");
    full.line.borrow_mut().capacity = 700;
    b.run(5000);
    full.line.borrow_mut().capacity = 0;
    b.run(1000);
    assert_eq!(full.texts(), free.texts());
}

#[test]
fn pings_chatter_limits_and_the_life_of_a_connection() {
    let rules = Rules {
        ping_every: Duration::from_secs(10),
        pong_within: Duration::from_secs(25),
        connection_life: Duration::from_secs(60),
        connections_per_5min: 4,
        ..Rules::default()
    };
    let mut b = Bench::new(VenueConfig { symbols: 1, rules, ..VenueConfig::default() });
    let mut mute = b.connect("/public/ws/btcusdt@depth");
    let mut good = b.connect("/public/ws/btcusdt@depth");
    let mut chatty = b.connect("/public/ws/0");
    for n in 0..11 {
        chatty.text(&format!(r#"{{"method":"LIST_SUBSCRIPTIONS","id":{n}}}"#));
    }
    b.run(10);
    let frames = chatty.frames();
    assert_eq!(frames.len(), 11);
    assert_eq!(frames[10], (8, [&1008u16.to_be_bytes()[..], b"Too many requests"].concat()));
    for _ in 0..59 {
        b.run(1000);
        good.texts();
    }
    assert!(mute.line.borrow().closed, "no pong for 25 s");
    assert_eq!(mute.frames().iter().filter(|f| f.0 == 9).count(), 2, "two pings, then the end");
    assert!(!good.line.borrow().closed);
    b.run(2000);
    assert_eq!(good.frames().last().unwrap().0, 8, "the end of its life comes with a close frame");
    assert!(good.line.borrow().closed);
    b.connect("/public/ws/btcusdt@depth");
    let mut refused = b.connect("/public/ws/btcusdt@depth");
    assert!(refused.head().unwrap().starts_with("HTTP/1.1 429"));
    assert!(refused.line.borrow().closed);
    let mut lost = b.connect("/nowhere");
    assert!(lost.head().unwrap().starts_with("HTTP/1.1 404"));
}

#[test]
fn connections_are_cut_refused_ignored_and_turned_away() {
    let mut b = Bench::small();
    let mut reset = b.connect("/public/ws/btcusdt@depth@100ms");
    let mut silent = b.connect("/market/ws/btcusdt@markPrice@1s");
    b.run(2000);
    assert!(!reset.texts().is_empty() && !silent.texts().is_empty());
    b.venue.inject(Fault::Disconnect { route: "public".into(), how: Ending::Reset }, None, b.now).unwrap();
    b.venue.inject(Fault::Disconnect { route: "market".into(), how: Ending::Silence }, None, b.now).unwrap();
    b.run(2000);
    assert!(reset.line.borrow().reset && reset.line.borrow().closed);
    assert!(silent.line.borrow().silent && !silent.line.borrow().closed);
    assert!(reset.texts().is_empty() && silent.texts().is_empty());

    b.venue.inject(Rule::once(Fault::RefuseConnections), None, b.now).unwrap();
    assert!(b.connect("/public/ws/0").line.borrow().reset);
    b.venue.inject(Rule::once(Fault::IgnoreConnections), None, b.now).unwrap();
    let mut ignored = b.connect("/public/ws/0");
    b.run(5000);
    assert!(ignored.head().is_none() && !ignored.line.borrow().closed);
    b.venue.inject(Rule::once(Fault::Page { on: "WS *".into(), status: 503 }), None, b.now).unwrap();
    let mut page = b.connect("/public/ws/0");
    assert!(page.head().unwrap().starts_with("HTTP/1.1 503"));
}

#[test]
fn connections_of_requests_are_kept_open_refused_and_die() {
    let mut b = Bench::small();
    let ask = |b: &mut Bench| {
        let id = b.request("GET", "/fapi/v1/time", "");
        b.run(100);
        match b.answer(id) {
            Some(Answer::Reply(_)) => "answered",
            Some(Answer::Lost) => "lost",
            None => "never",
        }
    };
    let end = |b: &mut Bench, how| {
        b.venue.inject(Fault::Disconnect { route: "rest".into(), how }, None, b.now).unwrap()
    };
    let refused = b.venue.inject(Fault::RefuseConnections, None, b.now).unwrap();
    assert_eq!([ask(&mut b), ask(&mut b)], ["lost"; 2]);
    assert_eq!(b.venue.hits(refused), 2);
    b.venue.clear_faults();
    assert_eq!(ask(&mut b), "answered");
    // The connection is open, and nobody needs a new one.
    let refused = b.venue.inject(Fault::RefuseConnections, None, b.now).unwrap();
    assert_eq!([ask(&mut b), ask(&mut b)], ["answered"; 2]);
    end(&mut b, Ending::Reset);
    assert_eq!(ask(&mut b), "lost");
    assert_eq!(b.venue.hits(refused), 1);
    b.venue.clear_faults();
    assert_eq!(ask(&mut b), "answered");
    // A dead one swallows a request, and is given up with it.
    end(&mut b, Ending::Silence);
    assert_eq!([ask(&mut b), ask(&mut b)], ["never", "answered"]);
    b.venue.client_gone(IP);
    b.venue.inject(Rule::once(Fault::IgnoreConnections), None, b.now).unwrap();
    assert_eq!([ask(&mut b), ask(&mut b)], ["never", "answered"]);
}

#[test]
fn requests_are_late_lost_and_never_answered() {
    let mut b = Bench::small();
    let query =
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=82000&newClientOrderId=";
    let orders = |b: &Bench| b.venue.inspect(|x| x.account(b.venue.account(0)).open.len());
    let on = || "POST /fapi/v1/order".to_owned();
    let place = |b: &mut Bench, fault: Fault, id: &str| {
        b.venue.inject(Rule::once(fault), None, b.now).unwrap();
        b.request("POST", "/fapi/v1/order", &format!("{query}{id}"))
    };
    let start = b.now;
    let id = place(&mut b, Fault::RequestDelay { on: on(), ms: 300 }, "a");
    b.run(299);
    assert_eq!((orders(&b), b.answer(id)), (0, None));
    b.run(1);
    assert_eq!(orders(&b), 1);
    assert_eq!(b.answers.last().unwrap().0, start.plus(300 * Nanos::MS));
    let id = place(&mut b, Fault::ReplyDelay { on: on(), ms: 300 }, "b");
    b.run(299);
    assert_eq!((orders(&b), b.answer(id)), (2, None));
    b.run(1);
    assert!(matches!(b.answer(id), Some(Answer::Reply(HttpReply { status: 200, .. }))));
    let id = place(&mut b, Fault::ReplyLost { on: on(), executed: true }, "c");
    b.run(0);
    assert_eq!((orders(&b), b.answer(id)), (3, Some(&Answer::Lost)));
    let id = place(&mut b, Fault::ReplyNever { on: on(), executed: false }, "d");
    b.run(60_000);
    assert_eq!((orders(&b), b.answer(id)), (3, None));
    b.venue.inject(Fault::Disconnect { route: "rest".into(), how: Ending::Reset }, None, b.now).unwrap();
    b.run(0);
    assert_eq!(b.answer(id), Some(&Answer::Lost), "its connection was reset");
    let (status, error) = b.call("POST", "/fapi/v1/order", &format!("{query}c"));
    assert_eq!((status, error["code"].as_i64()), (400, Some(-4116)));
    let id = b.request("GET", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=c");
    b.run(0);
    let Some(Answer::Reply(r)) = b.answer(id) else { panic!("no reply") };
    assert!(r.headers.iter().any(|(k, v)| *k == "x-mbx-used-weight-1m" && v.parse::<u32>().is_ok()));
}

#[test]
fn others_act_on_the_account_and_its_streams_tell() {
    let mut b = Bench::small();
    let mut user = b.user_stream();
    b.run(500);
    let (account, symbol) = (b.venue.account(0), b.venue.symbol("BTCUSDT").unwrap());
    let now = b.now;
    b.venue.act(now, |x, at| {
        let ask =
            PlaceOrder { client_id: Some("web_1".into()), ..PlaceOrder::market(symbol, Side::Buy, Qty(5)) };
        x.place(account, ask, at).unwrap();
        x.transfer(account, Amount(-1000 * Amount::ONE), at);
        x.set_leverage(account, symbol, 3, at).unwrap();
    });
    b.run(0);
    let kinds: Vec<String> =
        read(&user.texts()).iter().map(|e| e["e"].as_str().unwrap().to_owned()).collect();
    for kind in ["ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ACCOUNT_CONFIG_UPDATE"] {
        assert!(kinds.iter().any(|k| k == kind), "{kind} in {kinds:?}");
    }
}

#[test]
fn a_client_library_meets_no_surprise() {
    let mut b = Bench::small();
    let (ours, theirs) = pipe();
    struct End(ClientEnd);
    impl std::io::Read for End {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.0.take(buf)
        }
    }
    impl std::io::Write for End {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.send(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    b.venue.accept(ours, IP, b.now);
    let mut shake = match tungstenite::client("ws://venue/public/ws/btcusdt@depth@100ms", End(theirs)) {
        Err(tungstenite::HandshakeError::Interrupted(mid)) => mid,
        other => panic!("{:?}", other.map(|_| ()).map_err(|e| e.to_string())),
    };
    let mut ws = loop {
        b.run(1);
        match shake.handshake() {
            Ok((ws, _)) => break ws,
            Err(tungstenite::HandshakeError::Interrupted(mid)) => shake = mid,
            Err(e) => panic!("{e}"),
        }
    };
    b.run(500);
    assert!(ws.read().unwrap().to_text().unwrap().starts_with(r#"{"e":"depthUpdate""#));
    ws.close(None).unwrap();
    b.run(0);
    assert_eq!(b.venue.counters().connections, 0);
    while let Ok(m) = ws.read() {
        if m.is_close() {
            return;
        }
    }
    panic!("the close was not answered");
}
