//! Conditional orders (the venue's algo service): a stop that closes a whole position at the market, for the case that
//! the node dies. Placing costs no weight and counts as an order; a cancel costs 1, a listing 1 or, of all symbols, 40.

use super::account::Row;
use super::client::{Auth, RestClient, call, placing};
use super::error::RestError;
use crate::encode::Sink;
use crate::json::Scalar;
use crate::limits::Urgency;

/// A stop order that closes the whole position of its symbol at the market when the mark price crosses its trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseStop {
    /// Venue name.
    pub symbol: String,
    /// Does it sell, that is, close a long position?
    pub sells: bool,
    /// Our id of it.
    pub client_id: String,
}

impl RestClient {
    /// Places a [`CloseStop`] with its trigger, as the venue writes prices. Its id in use already (-4116): an earlier
    /// attempt was executed.
    pub async fn place_close_stop(&self, stop: &CloseStop, trigger: &str) -> Result<(), RestError> {
        const NAME: &str = "POST /fapi/v1/algoOrder";
        let body = self.send(placing(NAME, Urgency::Exit), |q| {
            q.text("algoType", "CONDITIONAL");
            q.text("symbol", &stop.symbol);
            q.text("side", if stop.sells { "SELL" } else { "BUY" });
            q.text("type", "STOP_MARKET");
            q.text("triggerPrice", trigger);
            q.text("closePosition", "true");
            q.text("workingType", "MARK_PRICE");
            q.text("clientAlgoId", &stop.client_id);
        });
        body.await.map(|_| ())
    }

    /// Cancels one by our id; -2011: there is none.
    pub async fn cancel_close_stop(&self, client_id: &str) -> Result<(), RestError> {
        const NAME: &str = "DELETE /fapi/v1/algoOrder";
        let body = self.send(call("DELETE", NAME, Auth::Signed, 1, Urgency::Cancel), |q| {
            q.text("clientAlgoId", client_id);
        });
        body.await.map(|_| ())
    }

    /// The open conditional orders that close positions, of one symbol or all.
    pub async fn close_stops(&self, symbol: Option<&str>) -> Result<Vec<CloseStop>, RestError> {
        const NAME: &str = "GET /fapi/v1/openAlgoOrders";
        let weight = if symbol.is_some() { 1 } else { 40 };
        let body = self.send(call("GET", NAME, Auth::Signed, weight, Urgency::Reconcile), |q| {
            if let Some(symbol) = symbol {
                q.text("symbol", symbol);
            }
        });
        let body = body.await?;
        let rows = Row::list(&["symbol", "side", "clientAlgoId", "closePosition"], &body)
            .map_err(|e| RestError::answer(NAME, e.to_string()))?;
        let closing = rows.iter().filter(|row| row.get("closePosition").bool() == Some(true));
        closing
            .map(|row| {
                Ok(CloseStop {
                    symbol: row.need(NAME, "symbol", Scalar::filled)?.to_owned(),
                    sells: row.need(NAME, "side", Scalar::filled)? == "SELL",
                    client_id: row.need(NAME, "clientAlgoId", Scalar::filled)?.to_owned(),
                })
            })
            .collect::<Result<_, _>>()
            .map_err(RestError::frame(NAME))
    }
}
