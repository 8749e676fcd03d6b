//! What the order path costs in this crate: encode and sign, read a reply, read a user event.

use std::hint::black_box;

use binance::Symbols;
use binance::gateway::{Gateway, GatewayConfig};
use binance::key::ApiKey;
use binance::sign::Signer;
use binance::user::UserDecoder;
use market::{
    ClientOrderId, Increment, Instrument, Nanos, NewOrder, OrderRequest, OrderType, PositionSide, Px, Qty,
    Side, SymbolId, TimeInForce,
};

fn main() {
    divan::main();
}

fn symbols() -> Symbols {
    let (tick, lot) = (Increment::decimals(1), Increment::decimals(3));
    Symbols::new(vec![Instrument::plain(SymbolId(0), "BTCUSDT", tick, lot)])
}

fn signer() -> Signer {
    let key = ApiKey::hmac(&"K".repeat(64), &"S".repeat(64)).expect("a well-formed key");
    Signer::new(&key).expect("an HMAC key")
}

const ORDER: OrderRequest = OrderRequest::New(NewOrder {
    symbol: SymbolId(0),
    client_order_id: ClientOrderId { run: 0x66f1, intent: 1234, attempt: 2 },
    side: Side::Sell,
    order_type: OrderType::Limit,
    tif: TimeInForce::Gtx,
    px: Px(600_001),
    qty: Qty(10),
    reduce_only: false,
    position_side: PositionSide::Both,
    recv_window_ms: 5_000,
});

/// One order: checks, limits, table, both texts, signature. The answer is settled too, or the table would fill.
#[divan::bench(sample_count = 500, sample_size = 200)]
fn encode_sign_and_settle_an_order(bencher: divan::Bencher<'_, '_>) {
    let mut gateway = Gateway::new(signer(), symbols(), GatewayConfig::default()).expect("plain symbols");
    let mut now = Nanos(1_800_000_000 * Nanos::SECOND);
    let mut id = 0u64;
    bencher.bench_local(move || {
        id += 1;
        now = now.plus(Nanos::SECOND);
        let sent = black_box(gateway.request(black_box(&ORDER), 2_000, now)).is_ok();
        assert!(sent, "limits and table have room");
        let mut reply = [0u8; 32];
        let text = {
            use std::io::Write;
            let mut cursor = &mut reply[..];
            write!(cursor, "{{\"id\":{id},\"status\":200}}").expect("32 bytes hold it");
            let left = cursor.len();
            32 - left
        };
        gateway
            .on_frame(&reply[..text], now, &mut |e| {
                black_box(e);
            })
            .expect("a reply");
    });
}

/// The same settle alone, to subtract.
#[divan::bench(sample_count = 500, sample_size = 200)]
fn settle_alone(bencher: divan::Bencher<'_, '_>) {
    let mut gateway = Gateway::new(signer(), symbols(), GatewayConfig::default()).expect("plain symbols");
    let mut id = 0u64;
    bencher.bench_local(move || {
        id += 1;
        let mut reply = [0u8; 32];
        let text = {
            use std::io::Write;
            let mut cursor = &mut reply[..];
            write!(cursor, "{{\"id\":{id},\"status\":200}}").expect("32 bytes hold it");
            let left = cursor.len();
            32 - left
        };
        gateway
            .on_frame(&reply[..text], Nanos(0), &mut |e| {
                black_box(e);
            })
            .expect("a reply");
    });
}

#[divan::bench(sample_count = 500, sample_size = 200)]
fn hmac_of_250_bytes(bencher: divan::Bencher<'_, '_>) {
    let (signer, payload) = (signer(), [b'x'; 250]);
    bencher.bench_local(move || signer.sign(black_box(&payload)));
}

#[divan::bench(sample_count = 500, sample_size = 200)]
fn read_an_order_trade_update(bencher: divan::Bencher<'_, '_>) {
    let frame = br#"{"e":"ORDER_TRADE_UPDATE","T":1742585119595,"E":1742585119596,"o":{"s":"BTCUSDT","c":"dlp-66f1-1234-2","S":"SELL","o":"LIMIT","f":"GTX","q":"0.010","p":"60000.1","ap":"60000.10000","sp":"0","x":"TRADE","X":"FILLED","i":4129479931,"l":"0.010","z":"0.010","L":"60000.1","n":"0.12000020","N":"USDT","T":1742585119595,"t":310194316,"b":"0","a":"0","m":true,"R":false,"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH","cp":false,"rp":"0","pP":false,"si":0,"ss":0,"V":"NONE","pm":"NONE","gtd":0,"er":"0"}}"#;
    let mut decoder = UserDecoder::new(symbols());
    bencher.bench_local(move || decoder.decode(black_box(frame)).map(<[_]>::len));
}
