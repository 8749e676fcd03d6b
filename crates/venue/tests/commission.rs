//! Commissions: a regular user pays both, and what is charged is what the venue says it charges.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "common/bench.rs"]
mod bench;
#[path = "common/pipe.rs"]
mod pipe;
#[path = "common/trader.rs"]
mod trader;

use bench::Bench;
use market::{Px, Qty, Side};
use serde_json::Value;
use trader::Trader;
use venue::core::Commission;
use venue::{Mirrored, VenueConfig};

fn num(v: &Value) -> f64 {
    v.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_regular_user_pays_as_maker_and_as_taker() {
    let mut t = Trader::new();
    let (_, rates) = t.b.call("GET", "/fapi/v1/commissionRate", "symbol=BTCUSDT");
    assert_eq!((num(&rates["makerCommissionRate"]), num(&rates["takerCommissionRate"])), (0.0002, 0.0005));
    t.buy("0.100");
    let rest = "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTX&quantity=0.100&price=80100";
    assert_eq!(t.b.call("POST", "/fapi/v1/order", rest).0, 200);
    let through = Mirrored::Trade { aggressor: Side::Buy, px: Px(801_010), qty: Qty(1000) };
    t.b.venue.mirror(t.symbol, through, t.b.now);
    let (_, trades) = t.b.call("GET", "/fapi/v1/userTrades", "symbol=BTCUSDT");
    let paid: Vec<(bool, f64)> = (trades.as_array().unwrap().iter())
        .map(|r| (r["maker"].as_bool().unwrap(), num(&r["commission"])))
        .collect();
    assert_eq!(paid, [(false, 4.000_005), (true, 1.602)], "8000.01 × 0.0005, 8010 × 0.0002");
    let (_, income) = t.b.call("GET", "/fapi/v1/income", "incomeType=COMMISSION");
    assert_eq!(income.as_array().unwrap().iter().map(|r| num(&r["income"])).sum::<f64>(), -5.602_005);
}

#[test]
fn the_rates_are_a_choice_and_name_their_tier() {
    for (text, tier) in [("0.0002,0.0005", 0), ("0.00016,0.0004", 1), ("0,0.00017", 9), ("-0.0002,0.0004", 0)]
    {
        let commission: Commission = text.parse().unwrap();
        let mut b = Bench::new(VenueConfig { symbols: 1, commission, ..VenueConfig::default() });
        b.run(1000);
        let (_, rates) = b.call("GET", "/fapi/v1/commissionRate", "symbol=BTCUSDT");
        let says = [&rates["makerCommissionRate"], &rates["takerCommissionRate"]].map(num);
        let wanted: Vec<f64> = text.split(',').map(|r| r.parse().unwrap()).collect();
        assert_eq!(says, wanted[..]);
        assert_eq!(b.call("GET", "/fapi/v1/accountConfig", "").1["feeTier"], tier, "{text}");
        assert_eq!(b.call("GET", "/fapi/v2/account", "").1["feeTier"], tier, "{text}");
    }
    assert_eq!(Commission::default(), Commission { maker: 20_000, taker: 50_000 });
    assert_eq!("-0.0001,0.0004".parse(), Ok(Commission { maker: -10_000, taker: 40_000 }));
    assert_eq!(Commission::default().to_string(), "maker 0.02 %, taker 0.05 %");
    for text in ["", "0.0002", "0.0002,0.0005,1", "a,b", "0.02,0.0005", "0.0002,-0.011", "0.0002,nan"] {
        let error = text.parse::<Commission>().unwrap_err();
        assert!(error.contains("0.0002,0.0005"), "{text}: {error}");
    }
}
