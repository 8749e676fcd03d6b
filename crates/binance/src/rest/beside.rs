//! What an account has in instruments that are not in the session's table: it is cancelled and closed by its venue names,
//! because nothing else is known of it.

use super::client::{Auth, RestClient, call, placing};
use super::error::RestError;
use crate::encode::Sink;
use crate::limits::Urgency;

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
