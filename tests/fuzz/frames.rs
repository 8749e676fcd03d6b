//! Frames of market data and of the user stream, and replies to orders. What is taken must be JSON for serde_json too, and a
//! depth update must have the numbers that serde_json reads.

use binance::Symbols;
use binance::decode::{Decoder, Frame};
use binance::gateway::{Gateway, GatewayConfig};
use binance::key::ApiKey;
use binance::sign::Signer;
use binance::user::UserDecoder;
use market::{Increment, Instrument, Level, MarketEvent, Nanos, SymbolId};
use serde_json::Value;

use crate::runner::{Answer, answer, message};

pub const MARKET: &[&str] = &[
    r#"{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1790526538985,"T":1790526538981,"s":"BTCUSDT","ps":"BTCUSDT","U":11671659683245,"u":11671659687966,"pu":11671659683147,"b":[["1000.00","139.491"],["84551.00","0.000"]],"a":[["84551.10","0.000"],["84552.30","1.5"]],"st":1}}"#,
    r#"{"e":"depthUpdate","E":1790526538985,"T":1790526538981,"s":"ETHUSDT","U":1,"u":2,"pu":0,"b":[],"a":[["1.00","2.000"]]}"#,
    r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":11671659685961,"s":"BTCUSDT","ps":"BTCUSDT","b":"84551.00","B":"2.646","a":"84551.10","A":"5.302","T":1790526538939,"E":1790526538940,"st":1}}"#,
    r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1790526539033,"a":3466782974,"s":"BTCUSDT","p":"84551.10","q":"0.030","nq":"0.030","f":8123344783,"l":8123344783,"T":1790526538883,"m":false,"st":1}}"#,
    r#"{"e":"trade","E":1790526539033,"T":1790526539031,"s":"BTCUSDT","t":8123344783,"p":"84551.10","q":"0.030","X":"MARKET","m":true}"#,
    r#"{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":1790526539000,"s":"BTCUSDT","p":"84551.12345678","i":"84550.0","P":"84551.0","r":"0.00010000","T":1790553600000}}"#,
    r#"{"stream":"btcusdt@depthSnapshot","data":{"lastUpdateId":7,"E":1790526539000,"T":1790526538999,"bids":[["84551.00","2.646"]],"asks":[["84551.10","5.302"]]}}"#,
    r#"{"result":null,"id":3}"#,
    r#"{"stream":"btcusdt@depth5","data":{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","U":1,"u":1,"pu":1,"b":[["1","1"]],"a":[]}}"#,
];

pub const USER: &[&str] = &[
    r#"{"e":"ORDER_TRADE_UPDATE","T":1568879465651,"E":1568879465651,"o":{"s":"BTCUSDT","c":"d1-a-1","S":"SELL","o":"LIMIT","f":"GTX","q":"0.003","p":"7100.1","ap":"7100.1","sp":"0","x":"TRADE","X":"PARTIALLY_FILLED","i":8886774,"l":"0.001","z":"0.001","L":"7100.1","N":"USDT","n":"0.0142","T":1568879465650,"t":17,"b":"0","a":"9.91","m":true,"R":false,"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH","cp":false,"rp":"0","pP":false,"si":0,"ss":0,"V":"NONE","pm":"NONE","gtd":0}}"#,
    r#"{"e":"ACCOUNT_UPDATE","E":1564745798939,"T":1564745798938,"a":{"m":"ORDER","B":[{"a":"USDT","wb":"122624.12345678","cw":"100.12345678","bc":"50.12345678"}],"P":[{"s":"BTCUSDT","pa":"-0.005","ep":"7100.1","cr":"200","up":"-0.1","mt":"isolated","iw":"0.5","ps":"BOTH","bep":"7100"}]}}"#,
    r#"{"e":"TRADE_LITE","E":1721895408092,"T":1721895408214,"s":"BTCUSDT","q":"0.001","p":"0","m":false,"c":"d1-a-1","S":"BUY","L":"64089.20","l":"0.040","t":109100866,"i":8886774}"#,
    r#"{"e":"ACCOUNT_CONFIG_UPDATE","E":1611646737479,"T":1611646737476,"ac":{"s":"BTCUSDT","l":25}}"#,
    r#"{"e":"MARGIN_CALL","E":1587727187525,"cw":"3.16812045","p":[{"s":"ETHUSDT","ps":"LONG","pa":"1.327","mt":"CROSSED","iw":"0","mp":"187.17127","up":"-1.166074","mm":"1.614445"}]}"#,
    r#"{"e":"listenKeyExpired","E":1736996475556,"listenKey":"x"}"#,
    r#"{"e":"ALGO_UPDATE","T":1750515742297,"E":1750515742303,"o":{"caid":"Q5","aid":2148719,"at":"CONDITIONAL","o":"STOP_MARKET","s":"BTCUSDT","S":"SELL","ps":"BOTH","f":"GTC","q":"0.01","X":"NEW","ai":"","ap":"0","aq":"0","act":"0","tp":"750","p":"0","V":"NONE","wt":"MARK_PRICE","pm":"NONE","cp":true,"pP":false,"R":true,"tt":0,"gtd":0}}"#,
    r#"{"id":"1","status":200,"result":{"orderId":325078477,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"d1-a-1","price":"43187.00","avgPrice":"0.00","origQty":"0.100","executedQty":"0.000","cumQty":"0.000","cumQuote":"0.0","timeInForce":"GTX","type":"LIMIT","reduceOnly":false,"side":"BUY","positionSide":"BOTH","updateTime":1702555534435},"rateLimits":[{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":300,"count":1},{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":2400,"count":1}]}"#,
    r#"{"id":"2","status":400,"error":{"code":-2011,"msg":"Unknown order sent."},"rateLimits":[]}"#,
    r#"{"id":null,"status":400,"error":{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}}"#,
];

pub fn symbols() -> Symbols {
    let named = ["BTCUSDT", "ETHUSDT"].into_iter().enumerate();
    let (tick, lot) = (Increment::decimals(2), Increment::decimals(3));
    Symbols::new(named.map(|(i, name)| Instrument::plain(SymbolId(i as u16), name, tick, lot)).collect())
}

pub struct Market(Decoder);

impl Market {
    pub fn new() -> Self {
        Self(Decoder::new(symbols().all()))
    }

    pub fn take(&mut self, bytes: &[u8]) -> Answer {
        match self.0.decode(bytes) {
            Ok(frame) => {
                let value: Value = serde_json::from_slice(bytes).expect("what is taken is JSON");
                if let Frame::Market(MarketEvent::Depth(u)) = &frame {
                    same(&value, "b", u.bids, bytes);
                    same(&value, "a", u.asks, bytes);
                    let data = if value["data"].is_object() { &value["data"] } else { &value };
                    if once(bytes, "\"u\"") {
                        // For serde_json `-0` is a float; a number it is all the same.
                        let zero = data["u"].as_f64() == Some(0.0);
                        assert_eq!(data["u"].as_u64().or(zero.then_some(0)), Some(u.last_update_id));
                    }
                }
                match frame {
                    Frame::Ignored(why) => message(&format!("{why:?}")),
                    Frame::Snapshot(_) => 2,
                    Frame::Market(event) => answer(std::mem::discriminant(&event)),
                }
            }
            Err(why) => message(&why.to_string()),
        }
    }
}

/// Is a key there once? Of those that are there twice serde_json keeps the last.
fn once(bytes: &[u8], key: &str) -> bool {
    bytes.windows(key.len()).filter(|w| *w == key.as_bytes()).count() == 1 && !bytes.contains(&b'\\')
}

fn same(value: &Value, side: &str, levels: &[Level], bytes: &[u8]) {
    if !once(bytes, &format!("\"{side}\"")) {
        return;
    }
    let data = if value["data"].is_object() { &value["data"] } else { value };
    let rows = data[side].as_array().expect("levels that were taken are a list");
    assert_eq!(rows.len(), levels.len());
    for (row, level) in rows.iter().zip(levels) {
        let count = |i: usize, decimals: u8| {
            Increment::decimals(decimals).parse_count(row[i].as_str().unwrap().as_bytes()).unwrap()
        };
        assert_eq!((level.px.0, level.qty.0), (count(0, 2), count(1, 3)));
    }
}

pub struct User {
    decoder: UserDecoder,
    gateway: Gateway,
}

impl User {
    pub fn new() -> Self {
        let signer = Signer::new(&ApiKey::hmac("K", "S").unwrap()).unwrap();
        Self {
            decoder: UserDecoder::new(symbols()),
            gateway: Gateway::new(signer, symbols(), GatewayConfig::default()).unwrap(),
        }
    }

    pub fn take(&mut self, bytes: &[u8]) -> Answer {
        let user = match self.decoder.decode(bytes) {
            Ok(events) => {
                serde_json::from_slice::<Value>(bytes).expect("what is taken is JSON");
                answer(events.iter().map(std::mem::discriminant).collect::<Vec<_>>())
            }
            Err(why) => message(&why.to_string()),
        };
        let mut events = 0_u64;
        let reply = match self.gateway.on_frame(bytes, Nanos(1_800_000_000_000_000_000), &mut |_| events += 1)
        {
            Ok(()) => {
                serde_json::from_slice::<Value>(bytes).expect("what is taken is JSON");
                events
            }
            Err(why) => message(&why.to_string()),
        };
        answer((user, reply))
    }
}
