//! An account at a venue whose market stands where the test puts it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use market::{Amount, Level, Nanos, PositionSide, Px, Qty, Side, SymbolId};
use serde_json::Value;
use venue::{Mirrored, VenueConfig};

use crate::bench::{Bench, read};
use crate::pipe::ClientEnd;

/// A BTCUSDT (tick 0.1, lot 0.001) whose market stands where the test puts it.
pub struct Trader {
    pub b: Bench,
    pub user: ClientEnd,
    pub symbol: SymbolId,
}

impl Trader {
    pub fn new() -> Self {
        let mut b = Bench::new(VenueConfig { mirrored: venue::sim::listings(2), ..VenueConfig::default() });
        let symbol = b.venue.symbol("BTCUSDT").unwrap();
        let (_, key) = b.call("POST", "/fapi/v1/listenKey", "");
        let user = b.connect(&format!("/private/ws?listenKey={}", key["listenKey"].as_str().unwrap()));
        let mut d = Self { b, user, symbol };
        d.market(80_000);
        d
    }

    /// The market moves to a price: book, trade and mark.
    pub fn market(&mut self, px: i64) {
        self.trade(px);
        self.mark(px);
    }

    pub fn trade(&mut self, px: i64) {
        let level = |ticks: i64| [Level { px: Px(px * 10 + ticks), qty: Qty(100_000) }];
        let book = Mirrored::Book { bids: &level(-1), asks: &level(1) };
        self.b.venue.mirror(self.symbol, book, self.b.now);
        let trade = Mirrored::Trade { aggressor: Side::Buy, px: Px(px * 10), qty: Qty(1) };
        self.b.venue.mirror(self.symbol, trade, self.b.now);
        self.b.run(10);
    }

    pub fn mark(&mut self, px: i64) {
        let price = Amount(px * Amount::ONE);
        let mark = Mirrored::Mark { mark: price, index: price, funding_rate: 0, next_funding: Nanos(0) };
        self.b.venue.mirror(self.symbol, mark, self.b.now);
        self.b.run(10);
    }

    pub fn buy(&mut self, quantity: &str) {
        let query = format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity={quantity}");
        assert_eq!(self.b.call("POST", "/fapi/v1/order", &query).0, 200);
    }

    pub fn held(&self) -> i64 {
        let account = self.b.venue.account(0);
        self.b.venue.inspect(|x| x.account(account).position(self.symbol, PositionSide::Both).qty.0)
    }

    /// The user events since the last call.
    pub fn events(&mut self) -> Vec<Value> {
        self.b.run(0);
        read(&self.user.texts())
    }
}
