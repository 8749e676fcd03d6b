//! What the account has in instruments that are not followed: cancelled and closed by the kill switch, because it clears
//! the account, not our part of it.

use std::collections::BTreeSet;

use binance::Symbols;
use binance::limits::Urgency;
use binance::rest::{RestClient, RestError};
use runtime::clock::Clock;

use super::account::account;

/// Cancels every order in an instrument that is not followed, and closes the positions there if `flatten`. One that fails
/// does not keep the others from being tried; the first error is told.
pub async fn clear(
    rest: &RestClient,
    symbols: &Symbols,
    clock: &Clock,
    flatten: bool,
) -> Result<(), RestError> {
    let found = account(rest, symbols, clock, Urgency::Exit).await?.unlisted;
    let with_orders: BTreeSet<&str> =
        found.iter().filter(|row| row.order.is_some()).map(|row| row.name.as_str()).collect();
    let mut first = Ok(());
    for name in with_orders {
        tracing::warn!("the orders in {name}, which is not followed, are cancelled");
        first = first.and(rest.cancel_all_of(name).await);
    }
    for position in found.iter().filter(|row| flatten && row.order.is_none()) {
        tracing::warn!(
            "the position of {} {}, which is not followed, is closed",
            position.qty,
            position.name
        );
        first = first.and(rest.close_at_market(&position.name, position.qty).await);
    }
    first
}
