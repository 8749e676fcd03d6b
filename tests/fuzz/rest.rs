//! Replies of the venue's REST endpoints, to the client that asked for them, by a transport that answers with the input.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use binance::Symbols;
use binance::hosts::Venue;
use binance::key::ApiKey;
use binance::limits::Urgency;
use binance::rest::{
    Exchange, HttpRequest, HttpResponse, IncomeKind, RestClient, RestConfig, TimeWindow, Transport,
};
use binance::sign::Signer;
use market::Nanos;

use crate::frames::symbols;
use crate::runner::{Answer, answer, message};

/// The status (a character: 2 is 200, 4 is 400, …), then the body.
pub const CORPUS: &[&str] = &[
    r#"2{"serverTime":1790526538985}"#,
    r#"2{"symbols":[{"symbol":"BTCUSDT","pair":"BTCUSDT","contractType":"PERPETUAL","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","pricePrecision":2,"quantityPrecision":3,"filters":[{"filterType":"PRICE_FILTER","minPrice":"556.80","maxPrice":"4529764","tickSize":"0.10"},{"filterType":"LOT_SIZE","minQty":"0.001","maxQty":"1000","stepSize":"0.001"},{"filterType":"MARKET_LOT_SIZE","minQty":"0.001","maxQty":"120","stepSize":"0.001"},{"filterType":"MIN_NOTIONAL","notional":"100"},{"filterType":"MAX_NUM_ORDERS","limit":200},{"filterType":"PERCENT_PRICE","multiplierUp":"1.0500","multiplierDown":"0.9500","multiplierDecimal":"4"}],"orderTypes":["LIMIT","MARKET"],"timeInForce":["GTC","IOC","FOK","GTX"]}],"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":2400},{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":300}]}"#,
    r#"2{"listenKey":"pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"}"#,
    r#"2[{"accountAlias":"SgsR","asset":"USDT","balance":"122607.35137903","crossWalletBalance":"23.72469206","crossUnPnl":"0.00000000","availableBalance":"23.72469206","maxWithdrawAmount":"23.72469206","marginAvailable":true,"updateTime":1617939110373}]"#,
    r#"2{"totalInitialMargin":"0.1","totalMaintMargin":"0.0","totalWalletBalance":"103.12345678","totalUnrealizedProfit":"0.0","totalMarginBalance":"103.12345678","availableBalance":"103.1","assets":[],"positions":[]}"#,
    r#"2[{"symbol":"BTCUSDT","positionSide":"BOTH","positionAmt":"-0.005","entryPrice":"84551.1","breakEvenPrice":"84551.1","markPrice":"84551.1","unRealizedProfit":"0.1","liquidationPrice":"0","isolatedMargin":"0","notional":"-422.7","marginAsset":"USDT","isolatedWallet":"0","initialMargin":"4","maintMargin":"0.4","adl":2,"updateTime":1720736417660}]"#,
    r#"2[{"avgPrice":"0.00000","clientOrderId":"d1-a-1","cumQuote":"0","executedQty":"0","orderId":1917641,"origQty":"0.40","origType":"LIMIT","price":"84551.1","reduceOnly":false,"side":"BUY","positionSide":"BOTH","status":"NEW","stopPrice":"0","closePosition":false,"symbol":"BTCUSDT","time":1579276756075,"timeInForce":"GTC","type":"LIMIT","updateTime":1579276756075}]"#,
    r#"2{"avgPrice":"0.00000","clientOrderId":"d1-a-1","cumQuote":"0","executedQty":"0","orderId":1917641,"origQty":"0.40","price":"84551.1","reduceOnly":false,"side":"BUY","positionSide":"BOTH","status":"NEW","symbol":"BTCUSDT","timeInForce":"GTC","type":"LIMIT","updateTime":1579276756075}"#,
    r#"2[{"a":26129,"p":"84551.10","q":"4.705","f":27781,"l":27781,"T":1498793709153,"m":true}]"#,
    r#"2[{"buyer":false,"commission":"-0.07819010","commissionAsset":"USDT","id":698759,"maker":false,"orderId":25851813,"price":"7819.01","qty":"0.002","quoteQty":"15.63802","realizedPnl":"-0.91539999","side":"SELL","positionSide":"BOTH","symbol":"BTCUSDT","time":1569514978020}]"#,
    r#"2[{"symbol":"BTCUSDT","incomeType":"COMMISSION","income":"-0.01000000","asset":"USDT","info":"COMMISSION","time":1570636800000,"tranId":"9689322392","tradeId":"2059192"}]"#,
    r#"2{"leverage":21,"maxNotionalValue":"1000000","symbol":"BTCUSDT"}"#,
    r#"2{"dualSidePosition":true}"#,
    r#"2{"feeTier":0,"canTrade":true,"canDeposit":true,"canWithdraw":true,"dualSidePosition":false,"multiAssetsMargin":false,"tradeGroupId":-1}"#,
    r#"2[{"symbol":"BTCUSDT","marginType":"CROSSED","isAutoAddMargin":false,"leverage":21,"maxNotionalValue":"1000000"}]"#,
    r#"2{"symbol":"BTCUSDT","makerCommissionRate":"0.0002","takerCommissionRate":"0.0004"}"#,
    r#"2[{"symbol":"BTCUSDT","side":"SELL","clientAlgoId":"d1-stop","closePosition":true,"algoStatus":"NEW"}]"#,
    r#"2{"lastUpdateId":1027024,"E":1589436922972,"T":1589436922959,"bids":[["84551.00","431.000"]],"asks":[["84551.10","12.000"]]}"#,
    r#"4{"code":-2011,"msg":"Unknown order sent."}"#,
    r#"4{"code":-1003,"msg":"Way too many requests; IP(1.2.3.4) banned until 1790526638985."}"#,
    r"5<html><body>503 Service Temporarily Unavailable</body></html>",
];

/// Answers with what it was given.
#[derive(Debug, Default)]
struct Echo(Mutex<(u16, Vec<u8>)>);

impl Transport for Echo {
    fn exchange(&self, _: HttpRequest) -> Exchange<'_> {
        let (status, body) = self.0.lock().unwrap().clone();
        let headers = vec![("x-mbx-used-weight-1m".to_owned(), "1".to_owned())];
        Box::pin(async move { Ok(HttpResponse { status, headers, body }) })
    }
}

pub struct Target {
    echo: Arc<Echo>,
    symbols: Symbols,
    runtime: tokio::runtime::Runtime,
    now: Arc<AtomicU64>,
}

impl Target {
    pub fn new() -> Self {
        Self {
            echo: Arc::default(),
            symbols: symbols(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            now: Arc::new(AtomicU64::new(1_790_526_538_000_000_000)),
        }
    }

    /// A client that has met nothing yet: a ban would keep it from asking.
    fn client(&self) -> RestClient {
        let signer = Signer::new(&ApiKey::hmac("K", "S").unwrap()).unwrap();
        let now = Arc::clone(&self.now);
        // Every look takes a minute, so no window is ever full.
        let clock = move || Nanos(now.fetch_add(60 * Nanos::SECOND, Ordering::Relaxed));
        let hosts = Venue::Local("127.0.0.1:9".to_owned()).hosts();
        RestClient::new(
            &hosts,
            Some(signer),
            RestConfig::default(),
            Arc::clone(&self.echo) as _,
            Arc::new(clock),
        )
        .unwrap()
    }

    pub fn take(&mut self, bytes: &[u8]) -> Answer {
        let Some((status, body)) = bytes.split_first() else { return 0 };
        let status = match status {
            b'2' => 200,
            other => 100 * u16::from(other % 8),
        };
        *self.echo.0.lock().unwrap() = (status, body.to_vec());
        let rest = self.client();
        let s = &self.symbols;
        let mut answers: Vec<Answer> = Vec::new();
        macro_rules! ask {
            ($what:expr) => {{
                let answered = self.runtime.block_on($what);
                answers.push(answered.map_or_else(|why| message(&why.to_string()), |_| 1));
            }};
        }
        ask!(rest.sync_clock(1));
        ask!(rest.exchange_info(&["BTCUSDT"]));
        ask!(rest.perpetuals("USDT"));
        ask!(rest.depth("BTCUSDT", 5, Urgency::Start));
        ask!(rest.create_listen_key());
        ask!(rest.balances());
        ask!(rest.account(Urgency::Start));
        ask!(rest.positions(s, None, Urgency::Start));
        ask!(rest.open_orders(s, None, Urgency::Start));
        ask!(rest.order_by_id(s, "BTCUSDT", 1_917_641, Urgency::Start));
        ask!(rest.agg_trades(&s.all()[0], 1));
        let window = TimeWindow { start_ms: 1, end_ms: 2 };
        ask!(rest.all_orders(s, "BTCUSDT", window, Urgency::Start));
        ask!(rest.user_trades(s, "BTCUSDT", window, Urgency::Start));
        ask!(rest.income(IncomeKind::Commission, window, Urgency::Start));
        ask!(rest.set_leverage("BTCUSDT", 2));
        ask!(rest.dual_side());
        ask!(rest.account_config());
        ask!(rest.symbol_configs(None));
        ask!(rest.commission_rate("BTCUSDT"));
        ask!(rest.close_stops(None));
        answer(answers)
    }
}
