//! After warm-up, an order request, its reply, its user event and its way into the socket allocate nothing.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
use std::net::TcpListener;
use std::sync::Arc;

use binance::Symbols;
use binance::gateway::{Gateway, GatewayConfig, Outgoing};
use binance::hosts::Endpoint;
use binance::key::ApiKey;
use binance::net::{ConnConfig, SystemDialer, WsConn};
use binance::sign::Signer;
use binance::user::UserDecoder;
use market::{
    CancelOrder, ClientOrderId, Increment, Instrument, Nanos, NewOrder, OrderRequest, OrderType,
    PositionSide, Px, Qty, Side, SymbolId, TimeInForce,
};
use runtime::counting_alloc::{CountingAllocator, count};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn symbols() -> Symbols {
    let (tick, lot) = (Increment::parse("0.10").unwrap(), Increment::parse("0.001").unwrap());
    Symbols::new(vec![Instrument::plain(SymbolId(0), "BTCUSDT", tick, lot)])
}

fn request(attempt: u16) -> OrderRequest {
    OrderRequest::New(NewOrder {
        symbol: SymbolId(0),
        client_order_id: ClientOrderId { run: 0x1234_5678, intent: u32::MAX, attempt },
        side: Side::Sell,
        order_type: OrderType::Limit,
        tif: TimeInForce::Ioc,
        px: Px(9_999_999_999),
        qty: Qty(10_000),
        reduce_only: true,
        position_side: PositionSide::Both,
        recv_window_ms: 5_000,
    })
}

#[test]
fn the_counter_counts() {
    assert_eq!(count(|| vec![0u8; 10]), 1);
}

#[test]
fn encoding_and_settling_orders_allocates_nothing() {
    let signer = Signer::new(&ApiKey::hmac(&"K".repeat(64), &"S".repeat(64)).unwrap()).unwrap();
    let mut gateway = Gateway::new(signer, symbols(), GatewayConfig::default()).unwrap();
    let mut now = Nanos(1_800_000_000 * Nanos::SECOND);
    let mut reply = String::with_capacity(1024);
    for attempt in 0..200 {
        let mut told = 0;
        let allocations = count(|| {
            let Ok(Outgoing::Frame(frame)) = gateway.request(&request(attempt), 2_000, now) else { panic!() };
            assert!(frame.len() > 400);
            let cancel = CancelOrder {
                symbol: SymbolId(0),
                client_order_id: ClientOrderId { run: 1, intent: 2, attempt },
            };
            gateway.request(&OrderRequest::Cancel(cancel), 2_000, now).unwrap();
            use std::fmt::Write;
            reply.clear();
            let (good, bad) = (2 * u64::from(attempt) + 1, 2 * u64::from(attempt) + 2);
            write!(reply, r#"{{"id":{good},"status":200,"result":{{"orderId":1,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"dlp-1-2-3","price":"1.0","origQty":"0.01","executedQty":"0","side":"SELL"}},"rateLimits":[]}}"#).unwrap();
            gateway.on_frame(reply.as_bytes(), now, &mut |_| told += 1).unwrap();
            reply.clear();
            write!(
                reply,
                r#"{{"id":{bad},"status":400,"error":{{"code":-2011,"msg":"Unknown order sent."}}}}"#
            )
            .unwrap();
            gateway.on_frame(reply.as_bytes(), now, &mut |_| told += 1).unwrap();
            gateway.poll(now, &mut |_| told += 1);
        });
        assert_eq!((allocations, told, gateway.in_flight()), (0, 3, 0));
        now = now.plus(Nanos::SECOND);
    }
}

#[test]
fn reading_user_events_allocates_nothing() {
    let mut decoder = UserDecoder::new(symbols());
    let fill = br#"{"e":"ORDER_TRADE_UPDATE","T":1,"E":1,"o":{"s":"BTCUSDT","c":"dlp-1-2-3","S":"SELL","o":"LIMIT","f":"GTX",
        "q":"0.300","p":"84146.50","x":"TRADE","X":"FILLED","i":4129479931,"l":"0.300","z":"0.300","L":"84146.50",
        "n":"1.68","N":"USDT","t":310194316,"m":true,"R":true,"rp":"-0.5"}}"#;
    let account = br#"{"e":"ACCOUNT_UPDATE","T":1,"E":1,"a":{"B":[{"a":"USDT","wb":"1","cw":"1","bc":"0"}],
        "P":[{"s":"BTCUSDT","pa":"-0.1","ep":"80.19","up":"0","mt":"cross","ps":"BOTH"}],"m":"ORDER"}}"#;
    for frame in [&fill[..], account] {
        decoder.decode(frame).unwrap();
    }
    for frame in [&fill[..], account] {
        assert_eq!(count(|| assert!(!decoder.decode(frame).unwrap().is_empty())), 0);
    }
}

#[test]
fn sending_and_polling_allocate_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let mut ws = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        while let Ok(message) = ws.read() {
            if message.is_text() && ws.send(message).is_err() {
                break;
            }
        }
    });
    let endpoint = Endpoint::parse(&format!("ws://127.0.0.1:{port}/")).unwrap();
    let mut conn = WsConn::new(endpoint, Arc::new(SystemDialer::new()), ConnConfig::default(), 1);
    let now = Nanos(1_800_000_000 * Nanos::SECOND);
    let frame = vec![b'x'; 600];
    let mut echoed = 0;
    while !conn.is_open() {
        conn.poll(now, &mut |_, _, _| {});
    }
    let mut round = |conn: &mut WsConn| {
        let (before, mut got) = (echoed, 0);
        let allocations = count(|| {
            conn.send(&frame).unwrap();
            while got == 0 {
                got += conn.poll(now, &mut |f, _, _| assert_eq!(f.len(), 600)).frames;
            }
        });
        echoed = before + got;
        allocations
    };
    for _ in 0..64 {
        round(&mut conn);
    }
    let allocations: u64 = (0..64).map(|_| round(&mut conn)).sum();
    assert_eq!(allocations, 0);
    conn.close();
    server.join().unwrap();
}
