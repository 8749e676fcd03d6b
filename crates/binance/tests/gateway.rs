//! The gateway core with scripted bytes and time.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
use std::collections::BTreeMap;

use binance::Symbols;
use binance::clock::ServerClock;
use binance::errors::{Action, Class};
use binance::gateway::{Gateway, GatewayConfig, GatewayEvent, IN_FLIGHT, Outgoing, Refusal};
use binance::key::ApiKey;
use binance::limits::Wait;
use binance::sign::Signer;
use market::{
    Amount, CancelOrder, ClientOrderId, ExecType, ExecutionReport, Increment, Instrument, Nanos, NewOrder,
    OrderOrigin, OrderRequest, OrderStatus, OrderType, PositionSide, Px, Qty, ReplaceOrder, Side, SymbolId,
    TimeInForce,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const T0: Nanos = Nanos(1_800_000_000 * Nanos::SECOND);

fn symbols() -> Symbols {
    let mut btc = Instrument::plain(
        SymbolId(0),
        "BTCUSDT",
        Increment::parse("0.10").unwrap(),
        Increment::parse("0.001").unwrap(),
    );
    btc.max_qty = Qty(1_000_000);
    btc.max_market_qty = Qty(120_000);
    let cny = Instrument::plain(SymbolId(1), "币安USDT", Increment::decimals(5), Increment::decimals(0));
    Symbols::new(vec![btc, cny])
}

fn gateway_with(key: &ApiKey, config: GatewayConfig) -> Gateway {
    Gateway::new(Signer::new(key).unwrap(), symbols(), config).unwrap()
}

fn gateway() -> Gateway {
    gateway_with(&ApiKey::hmac("K", "S").unwrap(), GatewayConfig::default())
}

fn id(attempt: u16) -> ClientOrderId {
    ClientOrderId { run: 0x1f, intent: 7, attempt }
}

fn limit(attempt: u16, tif: TimeInForce) -> NewOrder {
    NewOrder {
        symbol: SymbolId(0),
        client_order_id: id(attempt),
        side: Side::Sell,
        order_type: OrderType::Limit,
        tif,
        px: Px(600_001),
        qty: Qty(10),
        reduce_only: false,
        position_side: PositionSide::Both,
        recv_window_ms: 5_000,
    }
}

fn new(attempt: u16) -> OrderRequest {
    OrderRequest::New(limit(attempt, TimeInForce::Gtx))
}

fn cancel(attempt: u16) -> OrderRequest {
    OrderRequest::Cancel(CancelOrder { symbol: SymbolId(0), client_order_id: id(attempt) })
}

fn query(attempt: u16) -> OrderRequest {
    OrderRequest::Query(CancelOrder { symbol: SymbolId(0), client_order_id: id(attempt) })
}

fn send(gateway: &mut Gateway, request: &OrderRequest, now: Nanos) -> Value {
    match gateway.request(request, 2_000, now).unwrap() {
        Outgoing::Frame(frame) => serde_json::from_slice(frame).unwrap(),
        Outgoing::Rest(r) => panic!("{r:?}"),
    }
}

fn receive(gateway: &mut Gateway, frame: &Value, now: Nanos) -> Vec<GatewayEvent> {
    let mut events = Vec::new();
    gateway.on_frame(frame.to_string().as_bytes(), now, &mut |e| events.push(e)).unwrap();
    events
}

fn reports(events: &[GatewayEvent]) -> Vec<ExecutionReport> {
    events.iter().filter_map(|e| if let GatewayEvent::Report(r) = e { Some(*r) } else { None }).collect()
}

fn accepted(id: &Value, client: ClientOrderId, status: &str) -> Value {
    json!({"id": id, "status": 200, "result": {"orderId": 325078477u64, "symbol": "BTCUSDT", "status": status,
        "clientOrderId": client.to_string(), "price": "60000.10", "origQty": "0.010", "executedQty": "0.004",
        "cumQty": "0.004", "timeInForce": "GTX", "type": "LIMIT", "reduceOnly": false, "side": "SELL",
        "positionSide": "BOTH", "updateTime": 1702555534435u64},
        "rateLimits": [{"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 239}]})
}

fn refused(id: &Value, status: u16, code: i32, msg: &str) -> Value {
    json!({"id": id, "status": status, "error": {"code": code, "msg": msg}})
}

/// The signature made again from the frame's own parameters, sorted by name.
fn check_signature(frame: &Value, signer: &Signer) {
    let params: BTreeMap<&str, String> = frame["params"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "signature")
        .map(|(name, v)| (name.as_str(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
        .collect();
    let payload: Vec<String> = params.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        signer.sign(payload.join("&").as_bytes()).as_str(),
        frame["params"]["signature"].as_str().unwrap()
    );
}

#[test]
fn frames_are_what_the_venue_documents() {
    let mut gw = gateway();
    let frame = send(&mut gw, &new(2), T0);
    assert_eq!(frame["method"], "order.place");
    let mut params = frame["params"].clone();
    params.as_object_mut().unwrap().remove("signature");
    assert_eq!(
        params,
        json!({"apiKey": "K", "newClientOrderId": "dlp-1f-7-2", "newOrderRespType": "ACK", "positionSide": "BOTH",
            "price": "60000.1", "quantity": "0.010", "recvWindow": 2000, "side": "SELL", "symbol": "BTCUSDT",
            "timeInForce": "GTX", "timestamp": T0.millis(), "type": "LIMIT"})
    );
    let market = NewOrder { order_type: OrderType::Market, reduce_only: true, ..limit(3, TimeInForce::Gtc) };
    let params = send(&mut gw, &OrderRequest::New(market), T0)["params"].clone();
    assert_eq!((&params["type"], &params["reduceOnly"]), (&json!("MARKET"), &json!("true")));
    assert!(params.get("price").is_none() && params.get("timeInForce").is_none());
    assert_eq!(params["newOrderRespType"], "RESULT");
    let replace = ReplaceOrder {
        symbol: SymbolId(0),
        client_order_id: id(2),
        side: Side::Sell,
        px: Px(5),
        qty: Qty(1),
    };
    let frame = send(&mut gw, &OrderRequest::Replace(replace), T0);
    assert_eq!((&frame["method"], &frame["params"]["price"]), (&json!("order.modify"), &json!("0.5")));
    assert_eq!(send(&mut gw, &query(2), T0)["method"], "order.status");
    assert_eq!(send(&mut gw, &cancel(2), T0)["params"]["origClientOrderId"], "dlp-1f-7-2");
    let all = OrderRequest::CancelAll(SymbolId(1));
    assert_eq!(gw.request(&all, 2_000, T0), Ok(Outgoing::Rest(all)));
}

proptest! {
    /// Every frame is JSON, its parameters come back exact, and its signature is of its own sorted parameters.
    #[test]
    fn signatures_match_their_frames(kind in 0..5u8, px in 1i64..9_000_000_000, qty in 1i64..100_000, tif in 0..4u8,
        buy: bool, reduce: bool, hedge in 0..3u8, run in 0..ClientOrderId::RUNS, intent: u32, attempt: u16, ms in 0u64..4_000_000_000_000, symbol in 0..2u16) {
        let key = ApiKey::hmac("K", "S").unwrap();
        let signer = Signer::new(&key).unwrap();
        let mut gw = gateway_with(&key, GatewayConfig::default());
        let client_order_id = ClientOrderId { run, intent, attempt };
        let (px, qty, symbol) = (Px(px), Qty(qty), SymbolId(symbol));
        let side = if buy { Side::Buy } else { Side::Sell };
        let order = NewOrder {
            symbol, client_order_id, side, px, qty,
            order_type: if kind == 0 { OrderType::Market } else { OrderType::Limit },
            tif: [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::Gtx][usize::from(tif)],
            reduce_only: reduce,
            position_side: [PositionSide::Both, PositionSide::Long, PositionSide::Short][usize::from(hedge)],
            recv_window_ms: 5_000,
        };
        let request = match kind {
            0 | 1 => OrderRequest::New(order),
            2 => OrderRequest::Replace(ReplaceOrder { symbol, client_order_id, side, px, qty }),
            3 => OrderRequest::Cancel(CancelOrder { symbol, client_order_id }),
            _ => OrderRequest::Query(CancelOrder { symbol, client_order_id }),
        };
        let frame = send(&mut gw, &request, Nanos::from_millis(ms));
        check_signature(&frame, &signer);
        let symbols = symbols();
        let instrument = symbols.get(symbol).unwrap();
        let params = &frame["params"];
        prop_assert_eq!(params["symbol"].as_str(), Some(instrument.symbol.as_str()));
        prop_assert_eq!(params["timestamp"].as_u64(), Some(ms));
        if kind <= 2 {
            prop_assert_eq!(instrument.lot.parse_count(params["quantity"].as_str().unwrap().as_bytes()), Ok(qty.0));
        }
        if kind == 1 || kind == 2 {
            prop_assert_eq!(instrument.tick.parse_count(params["price"].as_str().unwrap().as_bytes()), Ok(px.0));
        }
        let sent = params["newClientOrderId"].as_str().or(params["origClientOrderId"].as_str()).unwrap();
        prop_assert_eq!(ClientOrderId::parse(sent), Some(client_order_id));
        if hedge > 0 {
            prop_assert!(params.get("reduceOnly").is_none(), "refused in hedge mode");
        }
    }

    /// No reply panics, whatever it holds; a refused one changes nothing but counts.
    #[test]
    fn no_reply_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = gateway().on_frame(&bytes, T0, &mut |_| {});
    }

    #[test]
    fn no_damaged_reply_panics(at in any::<prop::sample::Index>(), byte: u8) {
        let mut gw = gateway();
        let frame = send(&mut gw, &new(1), T0);
        let mut reply = accepted(&frame["id"], id(1), "NEW").to_string().into_bytes();
        let i = at.index(reply.len());
        reply[i] = byte;
        let mut told = Vec::new();
        let result = gw.on_frame(&reply, T0, &mut |e| told.push(e));
        if serde_json::from_slice::<Value>(&reply).is_err() {
            prop_assert!(result.is_err() && told.is_empty() && gw.in_flight() == 1);
        }
    }
}

#[test]
fn an_accepted_order_is_reported() {
    let mut gw = gateway();
    let frame = send(&mut gw, &new(1), T0);
    let told = reports(&receive(&mut gw, &accepted(&frame["id"], id(1), "NEW"), T0.plus(1)));
    let [r] = told[..] else { panic!("{told:?}") };
    assert_eq!(
        (r.origin, r.exec_type, r.status),
        (OrderOrigin::Ours(id(1)), ExecType::New, OrderStatus::New)
    );
    assert_eq!(
        (r.px, r.qty, r.cum_qty, r.leaves_qty, r.order_id),
        (Px(600_001), Qty(10), Qty(4), Qty(6), 325_078_477)
    );
    assert_eq!(gw.in_flight(), 0);
}

#[test]
fn replies_out_of_order_find_their_requests() {
    let mut gw = gateway();
    let a = send(&mut gw, &new(1), T0);
    let b = send(&mut gw, &cancel(9), T0);
    let told = receive(&mut gw, &refused(&b["id"], 400, -2011, "Unknown order sent."), T0);
    let r = reports(&told)[0];
    assert_eq!((r.origin, r.exec_type, r.code), (OrderOrigin::Ours(id(9)), ExecType::CancelRejected, -2011));
    let told = receive(
        &mut gw,
        &refused(&a["id"], 400, -5022, "Due to the order could not be executed as maker"),
        T0,
    );
    let r = reports(&told)[0];
    assert_eq!(
        (r.origin, r.exec_type, r.status, r.code),
        (OrderOrigin::Ours(id(1)), ExecType::Rejected, OrderStatus::Rejected, -5022)
    );
}

#[test]
fn no_answer_is_unknown_and_a_late_one_still_counts() {
    let mut gw = gateway();
    let frame = send(&mut gw, &new(1), T0);
    let deadline = gw.deadline().unwrap();
    assert_eq!(deadline, T0.plus(2 * Nanos::SECOND));
    let mut told = Vec::new();
    gw.poll(Nanos(deadline.0 - 1), &mut |e| told.push(e));
    assert!(told.is_empty());
    gw.poll(deadline, &mut |e| told.push(e));
    let r = reports(&told)[0];
    assert_eq!(
        (r.exec_type, r.status, r.origin),
        (ExecType::Unknown, OrderStatus::Unknown, OrderOrigin::Ours(id(1)))
    );
    assert_eq!((gw.in_flight(), gw.deadline()), (0, None));
    // The error comes late: it is still matched by its id alone.
    let told =
        receive(&mut gw, &refused(&frame["id"], 400, -2019, "Margin is insufficient."), deadline.plus(1));
    assert_eq!(reports(&told)[0].exec_type, ExecType::Rejected);
    // And never twice.
    let told =
        receive(&mut gw, &refused(&frame["id"], 400, -2019, "Margin is insufficient."), deadline.plus(2));
    assert!(reports(&told).is_empty());
}

#[test]
fn codes_of_unknown_outcome_never_reject() {
    for (status, code, msg) in [
        (408, -1007, "Timeout waiting for response from backend server."),
        (500, -1006, "An unexpected response was received"),
        (503, 0, "Unknown error, please check your request or try again later."),
        (500, -1000, "An unknown error occurred"),
        (400, -4116, "ClientOrderId is duplicated."),
    ] {
        let mut gw = gateway();
        let frame = send(&mut gw, &new(1), T0);
        let told = receive(&mut gw, &refused(&frame["id"], status, code, msg), T0);
        let r = reports(&told)[0];
        assert_eq!(
            (r.exec_type, r.status, r.code),
            (ExecType::Unknown, OrderStatus::Unknown, code),
            "{code}"
        );
    }
    let mut gw = gateway();
    let frame = send(&mut gw, &new(1), T0);
    let told = receive(&mut gw, &refused(&frame["id"], 503, 0, "Service Unavailable."), T0);
    assert_eq!(reports(&told)[0].exec_type, ExecType::Rejected, "said to be a failure for sure");
}

#[test]
fn an_answer_that_cannot_be_read_leaves_the_order_unknown() {
    let mut gw = gateway();
    let frame = send(&mut gw, &new(1), T0);
    let mut reply = accepted(&frame["id"], id(1), "NEW");
    reply["result"]["executedQty"] = json!("0.0005");
    let mut told = Vec::new();
    assert!(gw.on_frame(reply.to_string().as_bytes(), T0, &mut |e| told.push(e)).is_err());
    assert_eq!(reports(&told)[0].exec_type, ExecType::Unknown);
}

#[test]
fn a_lost_connection_leaves_all_unknown() {
    let mut gw = gateway();
    send(&mut gw, &new(1), T0);
    send(&mut gw, &cancel(1), T0);
    let mut told = Vec::new();
    gw.on_close(&mut |e| told.push(e));
    assert_eq!(reports(&told).iter().map(|r| r.exec_type).collect::<Vec<_>>(), [ExecType::Unknown; 2]);
    assert_eq!(gw.in_flight(), 0);
}

#[test]
fn a_wrong_clock_costs_one_reject_and_one_retry_with_the_same_id() {
    let mut gw = gateway();
    let frame = send(&mut gw, &new(1), T0);
    let told =
        receive(&mut gw, &refused(&frame["id"], 400, -1021, "Timestamp for this request is outside"), T0);
    assert_eq!(told, [GatewayEvent::SyncClock]);
    assert!(gw.next_frame(T0, &mut |_| {}).is_none(), "not before the clock is known");
    let mut clock = ServerClock::new();
    clock.sample(T0, T0.plus(10 * Nanos::MS), T0.millis() + 2_000);
    gw.clock_synced(&clock);
    let now = T0.plus(20 * Nanos::MS);
    let again: Value = serde_json::from_slice(gw.next_frame(now, &mut |_| {}).unwrap()).unwrap();
    assert_eq!(again["params"]["newClientOrderId"], frame["params"]["newClientOrderId"]);
    assert_eq!(again["params"]["timestamp"].as_u64(), Some(T0.millis() + 2_015));
    assert!(gw.next_frame(now, &mut |_| {}).is_none());
    // A second refusal is final.
    let told = receive(&mut gw, &refused(&again["id"], 400, -1021, "Timestamp"), now);
    assert_eq!((reports(&told)[0].exec_type, reports(&told)[0].code), (ExecType::Rejected, -1021));
}

#[test]
fn each_order_has_its_own_receive_window() {
    let mut gw = gateway();
    let sent = |made: Result<Outgoing<'_>, Refusal>| match made {
        Ok(Outgoing::Frame(frame)) => serde_json::from_slice::<Value>(frame).unwrap(),
        other => panic!("{other:?}"),
    };
    let frame = sent(gw.request(&new(1), 375, T0));
    assert_eq!(frame["params"]["recvWindow"], 375);
    assert_eq!(
        sent(gw.request(&cancel(1), 60_000, T0))["params"]["recvWindow"],
        2_000,
        "at most the configured"
    );
    // The router reckons with the window that it gave the order: no other may be longer.
    let own = OrderRequest::New(NewOrder { recv_window_ms: 300, ..limit(5, TimeInForce::Gtx) });
    assert_eq!(sent(gw.request(&own, 2_000, T0))["params"]["recvWindow"], 300);
    let none = OrderRequest::New(NewOrder { recv_window_ms: 0, ..limit(6, TimeInForce::Gtx) });
    assert_eq!(gw.request(&none, 2_000, T0), Err(Refusal::TooLate));
    assert_eq!(gw.request(&new(2), 0, T0), Err(Refusal::TooLate));
    assert_eq!(Refusal::TooLate.report(&new(2)).exec_type, ExecType::Rejected);
    // Once more after the clock was taken: in what is left of the window, or not at all.
    let late = sent(gw.request(&new(3), 90, T0));
    receive(&mut gw, &refused(&frame["id"], 400, -1021, "Timestamp"), T0);
    receive(&mut gw, &refused(&late["id"], 400, -1021, "Timestamp"), T0);
    gw.clock_synced(&ServerClock::new());
    let now = T0.plus(100 * Nanos::MS);
    let mut told = Vec::new();
    let again: Value = serde_json::from_slice(gw.next_frame(now, &mut |e| told.push(e)).unwrap()).unwrap();
    assert_eq!(
        (&again["params"]["recvWindow"], &again["params"]["newClientOrderId"]),
        (&json!(275), &json!("dlp-1f-7-1"))
    );
    assert!(gw.next_frame(now, &mut |e| told.push(e)).is_none());
    assert_eq!(reports(&told)[0].origin, OrderOrigin::Ours(id(3)));
    assert_eq!(reports(&told)[0].exec_type, ExecType::Rejected);
}

#[test]
fn a_held_order_that_grew_old_is_rejected_not_sent() {
    let mut gw = gateway();
    let frame = send(&mut gw, &new(1), T0);
    receive(&mut gw, &refused(&frame["id"], 400, -1021, "Timestamp"), T0);
    gw.clock_synced(&ServerClock::new());
    let mut told = Vec::new();
    assert!(gw.next_frame(T0.plus(2 * Nanos::SECOND), &mut |e| told.push(e)).is_none());
    assert_eq!(reports(&told)[0].exec_type, ExecType::Rejected);
}

#[test]
fn a_revoked_key_is_not_tried_for_a_minute_and_opens_nothing_after_it() {
    let mut gw = gateway();
    let told = receive(
        &mut gw,
        &json!({"id": null, "status": 401, "error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions"}}),
        T0,
    );
    let [GatewayEvent::Refused { code: -2015, rule, .. }] = told[..] else { panic!("{told:?}") };
    assert_eq!((rule.class, rule.action), (Class::Fatal, Action::HaltTrading));
    assert_eq!(gw.request(&new(1), 2_000, T0), Err(Refusal::Halted(-2015)));
    let close = OrderRequest::New(NewOrder { reduce_only: true, ..limit(2, TimeInForce::Gtx) });
    let later = T0.plus(61 * Nanos::SECOND);
    for request in [close, cancel(1), query(1)] {
        assert_eq!(gw.request(&request, 2_000, T0), Err(Refusal::Halted(-2015)));
        assert!(gw.request(&request, 2_000, later).is_ok());
    }
    assert_eq!(gw.request(&new(1), 2_000, later), Err(Refusal::Halted(-2015)));
}

#[test]
fn an_account_that_may_not_open_may_close() {
    let mut gw = gateway();
    let frame = send(&mut gw, &new(1), T0);
    receive(&mut gw, &refused(&frame["id"], 400, -2023, "User in liquidation mode now."), T0);
    assert_eq!(gw.request(&new(2), 2_000, T0), Err(Refusal::Halted(-2023)));
    let close = NewOrder { reduce_only: true, ..limit(2, TimeInForce::Gtx) };
    assert!(gw.request(&OrderRequest::New(close), 2_000, T0).is_ok());
}

#[test]
fn while_the_connection_is_down_only_what_ends_risk_goes_over_rest() {
    let mut gw = gateway();
    let close = OrderRequest::New(NewOrder { reduce_only: true, ..limit(2, TimeInForce::Gtx) });
    for request in [close, cancel(1), query(1), OrderRequest::CancelAll(SymbolId(0))] {
        assert_eq!(gw.request_over_rest(&request, T0), Ok(Outgoing::Rest(request)));
    }
    assert_eq!(gw.request_over_rest(&new(1), T0), Err(Refusal::NotConnected));
    assert_eq!(Refusal::NotConnected.report(&new(1)).exec_type, ExecType::Rejected);
}

#[test]
fn limits_are_learned_from_replies_and_cancels_have_a_reserve() {
    let mut gw = gateway();
    let frame = send(&mut gw, &new(1), T0);
    receive(&mut gw, &accepted(&frame["id"], id(1), "NEW"), T0); // the venue counts 239 of 300
    send(&mut gw, &new(2), T0);
    assert!(matches!(gw.request(&new(3), 2_000, T0), Err(Refusal::Wait(Wait::Window { .. }))));
    assert!(gw.request(&cancel(1), 2_000, T0).is_ok());
    let until = T0.millis() + 120_000;
    let cancel_frame = send(&mut gw, &cancel(2), T0);
    let text = format!("Way too many requests; IP(1.2.3.4) banned until {until}. Please use the websocket.");
    receive(&mut gw, &refused(&cancel_frame["id"], 418, -1003, &text), T0);
    for request in [new(4), cancel(1), query(1)] {
        let now = T0.plus(119 * Nanos::SECOND);
        assert_eq!(
            gw.request(&request, 2_000, now),
            Err(Refusal::Wait(Wait::Ban { until: Nanos::from_millis(until) }))
        );
    }
    assert!(gw.request(&cancel(1), 2_000, Nanos::from_millis(until)).is_ok());
}

#[test]
fn the_table_of_requests_is_bounded() {
    let mut gw = gateway();
    for i in 0..IN_FLIGHT as u16 {
        send(&mut gw, &cancel(i), T0);
    }
    assert_eq!(gw.request(&cancel(0), 2_000, T0), Err(Refusal::InFlight));
    gw.poll(T0.plus(2 * Nanos::SECOND), &mut |_| {});
    assert!(gw.request(&cancel(0), 2_000, T0).is_ok(), "overdue requests give way");
}

#[test]
fn what_no_order_can_be_is_refused_here_too() {
    let config =
        GatewayConfig { max_order_notional: Amount(1_000 * Amount::ONE), ..GatewayConfig::default() };
    let mut gw = gateway_with(&ApiKey::hmac("K", "S").unwrap(), config);
    let mut ask = |change: &dyn Fn(&mut NewOrder)| {
        let mut order = limit(1, TimeInForce::Gtx);
        change(&mut order);
        gw.request(&OrderRequest::New(order), 2_000, T0).map(|_| ())
    };
    assert_eq!(ask(&|_| {}), Ok(()));
    assert_eq!(ask(&|o| o.qty = Qty(0)), Err(Refusal::Range));
    assert_eq!(ask(&|o| o.qty = Qty(-5)), Err(Refusal::Range));
    assert_eq!(ask(&|o| o.px = Px(0)), Err(Refusal::Range));
    assert_eq!(ask(&|o| o.qty = Qty(1_000_001)), Err(Refusal::Range));
    assert_eq!(ask(&|o| o.symbol = SymbolId(9)), Err(Refusal::Instrument(SymbolId(9))));
    assert_eq!(ask(&|o| o.qty = Qty(20)), Err(Refusal::Notional));
    let market = |o: &mut NewOrder| {
        o.order_type = OrderType::Market;
        o.qty = Qty(120_001);
    };
    assert_eq!(ask(&market), Err(Refusal::Range));
    let r = Refusal::Range.report(&new(3));
    assert_eq!(
        (r.exec_type, r.status, r.origin),
        (ExecType::Rejected, OrderStatus::Rejected, OrderOrigin::Ours(id(3)))
    );
}

#[test]
fn a_modify_that_cancels_is_told_as_a_cancel() {
    let mut gw = gateway();
    let replace = ReplaceOrder {
        symbol: SymbolId(0),
        client_order_id: id(1),
        side: Side::Sell,
        px: Px(5),
        qty: Qty(1),
    };
    let frame = send(&mut gw, &OrderRequest::Replace(replace), T0);
    let told = reports(&receive(&mut gw, &accepted(&frame["id"], id(1), "CANCELED"), T0));
    assert_eq!(
        (told[0].exec_type, told[0].status, told[0].cum_qty),
        (ExecType::Canceled, OrderStatus::Canceled, Qty(4))
    );
    let frame = send(&mut gw, &OrderRequest::Replace(replace), T0);
    let told =
        reports(&receive(&mut gw, &refused(&frame["id"], 400, -5027, "No need to modify the order."), T0));
    assert_eq!(
        told[0].exec_type,
        ExecType::ReplaceRejected,
        "the order stays as it was, which is as asked for"
    );
}

#[test]
fn a_query_tells_state_or_absence() {
    let mut gw = gateway();
    let frame = send(&mut gw, &query(1), T0);
    let told = reports(&receive(&mut gw, &accepted(&frame["id"], id(1), "PARTIALLY_FILLED"), T0));
    assert_eq!((told[0].exec_type, told[0].status), (ExecType::Status, OrderStatus::PartiallyFilled));
    let frame = send(&mut gw, &query(1), T0);
    let told = reports(&receive(&mut gw, &refused(&frame["id"], 400, -2013, "Order does not exist."), T0));
    assert_eq!(told[0].exec_type, ExecType::NotFound);
    let frame = send(&mut gw, &query(1), T0);
    let told = reports(&receive(&mut gw, &refused(&frame["id"], 400, -1008, "throttled"), T0));
    assert_eq!(told[0].exec_type, ExecType::Unknown, "a query that failed says nothing");
}

#[test]
fn an_ed25519_session_logs_on_once_and_then_sends_unsigned() {
    use ed25519_dalek::SigningKey;
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    let pem = SigningKey::from_bytes(&[7; 32]).to_pkcs8_pem(Default::default()).unwrap();
    let key = ApiKey::ed25519("K", &pem).unwrap();
    let signer = Signer::new(&key).unwrap();
    let mut gw = gateway_with(&key, GatewayConfig::default());
    gw.on_open();
    let frame: Value = serde_json::from_slice(gw.next_frame(T0, &mut |_| {}).unwrap()).unwrap();
    assert_eq!(frame["method"], "session.logon");
    check_signature(&frame, &signer);
    check_signature(&send(&mut gw, &new(1), T0), &signer);
    let reply = json!({"id": frame["id"], "status": 200, "result": {"apiKey": "K", "authorizedSince": 1}});
    assert_eq!(receive(&mut gw, &reply, T0), [GatewayEvent::LoggedOn]);
    let order = send(&mut gw, &new(2), T0);
    assert!(order["params"].get("signature").is_none() && order["params"].get("apiKey").is_none());
    assert_eq!(order["params"]["newClientOrderId"], "dlp-1f-7-2");
    gw.on_close(&mut |_| {});
    check_signature(&send(&mut gw, &new(3), T0), &signer);
}

#[test]
fn recorded_replies_decode() {
    let Some(dir) = testkit::shared_data("venue/user_data/jkorf/Socket/UsdFutures/Trading") else { return };
    for (file, request) in
        [("PlaceOrder.txt", new(1)), ("CancelOrder.txt", cancel(1)), ("GetOrder.txt", query(1))]
    {
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        let mut reply: Value = serde_json::from_str(text.split_once("\n= ").unwrap().1).unwrap();
        let mut gw = gateway();
        let frame = send(&mut gw, &request, T0);
        reply["id"] = frame["id"].clone();
        let told = reports(&receive(&mut gw, &reply, T0));
        assert_eq!(told.len(), 1, "{file}");
        assert_eq!(Some(told[0].order_id), reply["result"]["orderId"].as_u64(), "{file}");
    }
}

/// A rehearsal runs what a request runs, and nothing of it is left: not a number, a place, a limit, or a deadline.
#[test]
fn rehearsals_change_no_frame_no_limit_and_no_deadline() {
    let (mut plain, mut rehearsing) = (gateway(), gateway());
    let mut now = T0;
    for attempt in 0..2_000u16 {
        let before = rehearsing.in_flight();
        assert!(rehearsing.rehearse(now) > 300, "it went all the way");
        assert_eq!(rehearsing.in_flight(), before);
        let made = [&mut plain, &mut rehearsing].map(|g| match g.request(&new(attempt), 2_000, now) {
            Ok(Outgoing::Frame(frame)) => Ok(frame.to_vec()),
            Ok(Outgoing::Rest(_)) => panic!(),
            Err(refusal) => Err(refusal),
        });
        assert_eq!(made[0], made[1]);
        now = now.plus(70 * Nanos::MS);
        let told = [&mut plain, &mut rehearsing].map(|g| {
            let mut told = Vec::new();
            g.poll(now, &mut |event| told.push(event));
            told
        });
        assert_eq!(told[0], told[1]);
    }
    // Where the limit is reached a rehearsal is refused as well, and takes nothing.
    let sent = (0..400u16).filter(|&i| plain.request(&new(i), 2_000, now).is_ok()).count();
    (0..400).for_each(|_| assert!(rehearsing.rehearse(now) < 1_000));
    assert_eq!((0..400u16).filter(|&i| rehearsing.request(&new(i), 2_000, now).is_ok()).count(), sent);
}
