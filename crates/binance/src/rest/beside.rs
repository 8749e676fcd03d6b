//! What an account has in instruments that are not in the session's table: they are named, cancelled and closed by their
//! venue names, because nothing else is known of them.

use market::OrderOrigin;

use super::account::Row;
use super::client::{Auth, RestClient, call, placing};
use super::error::RestError;
use crate::encode::Sink;
use crate::json::Scalar;
use crate::limits::Urgency;

/// An open order in an instrument that is not in the session's table.
#[derive(Debug, Clone, PartialEq)]
pub struct UnlistedOrder {
    /// Venue name.
    pub symbol: String,
    /// What is open of it, units of the asset; negative: it sells.
    pub qty: f64,
    /// Its price (0: none).
    pub px: f64,
    /// Whose.
    pub origin: OrderOrigin,
}

/// The rows of a list of open orders whose symbols `known` does not know.
pub(super) fn orders(
    name: &'static str,
    body: &[u8],
    known: impl Fn(&str) -> bool,
) -> Result<Vec<UnlistedOrder>, RestError> {
    let names = &["symbol", "side", "origQty", "executedQty", "price", "clientOrderId"];
    let rows = Row::list(names, body).map_err(|e| RestError::answer(name, e.to_string()))?;
    let read = |row: &Row<'_, 6>| {
        let symbol = row.need(name, "symbol", Scalar::filled)?;
        let left = row.need(name, "origQty", Scalar::f64)? - row.get("executedQty").f64().unwrap_or(0.0);
        let sells = row.need(name, "side", Scalar::filled)? == "SELL";
        Ok(UnlistedOrder {
            symbol: symbol.to_owned(),
            qty: if sells { -left } else { left },
            px: row.get("price").f64().unwrap_or(0.0),
            origin: row.get("clientOrderId").text().map_or(OrderOrigin::External, OrderOrigin::from_text),
        })
    };
    let all: Result<Vec<UnlistedOrder>, _> = rows.iter().map(read).collect();
    let all = all.map_err(RestError::frame(name))?;
    Ok(all.into_iter().filter(|order| !known(&order.symbol)).collect())
}

impl RestClient {
    /// Cancels all orders of an instrument by its name (acknowledged at once, done one by one).
    pub async fn cancel_all_of(&self, symbol: &str) -> Result<(), RestError> {
        const NAME: &str = "DELETE /fapi/v1/allOpenOrders";
        let body = self.send(call("DELETE", NAME, Auth::Signed, 1, Urgency::Cancel), |q| {
            q.text("symbol", symbol);
        });
        body.await.map(|_| ())
    }

    /// Closes a position of an instrument by its name, at the market and reduce-only. `amount`: the position as the
    /// venue tells it, signed, units of the asset.
    pub async fn close_at_market(&self, symbol: &str, amount: f64) -> Result<(), RestError> {
        const NAME: &str = "POST /fapi/v1/order";
        // The shortest text that is this number is the one that the venue wrote.
        let quantity = amount.abs().to_string();
        let body = self.send(placing(NAME, Urgency::Exit), |q| {
            q.text("symbol", symbol);
            q.text("side", if amount > 0.0 { "SELL" } else { "BUY" });
            q.text("type", "MARKET");
            q.text("reduceOnly", "true");
            q.text("quantity", &quantity);
        });
        body.await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_in_other_instruments_is_told_signed() {
        let body = br#"[{"symbol":"BTCUSDT","side":"BUY","origQty":"1","price":"5","clientOrderId":"x"},
            {"symbol":"ATOMUSDT","side":"SELL","origQty":"10.5","executedQty":"0.5","price":"7.25","clientOrderId":"web_1"}]"#;
        let found = orders("test", body, |symbol| symbol == "BTCUSDT").unwrap();
        let (symbol, origin) = ("ATOMUSDT".to_owned(), OrderOrigin::External);
        assert_eq!(found, [UnlistedOrder { symbol, qty: -10.0, px: 7.25, origin }]);
        assert!(orders("test", br#"[{"symbol":"X"}]"#, |_| false).is_err());
    }
}
