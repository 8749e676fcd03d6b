//! The end of a run at the venue: nothing of ours works on, and what is left is what the venue says.

use std::sync::Arc;
use std::time::Duration;

use binance::Symbols;
use binance::limits::Urgency;
use binance::rest::{RestClient, RestError};
use market::{Nanos, OrderRequest, SymbolId};
use runtime::clock::Clock;

use crate::control::{self, close_stop};
use crate::roles::lease::Fence;
use crate::stages::gateway::UNMEASURED;
use crate::stages::router::{AccountState, UnlistedRow};
use crate::summary::OpenPosition;

/// Looks at the account until nothing works any more: the venue cancels one by one, after it has said yes.
const LOOKS: u32 = 4;
/// Between two of them; doubled each time, to a second.
const BETWEEN: Duration = Duration::from_millis(250);

/// What it takes to cancel over REST.
#[derive(Clone)]
pub struct AtVenue {
    /// The client.
    pub rest: Arc<RestClient>,
    /// Instruments that are followed.
    pub symbols: Symbols,
    /// Our clock.
    pub clock: Clock,
    /// Nothing is cancelled behind it: another node may act for the account.
    pub fence: Fence,
    /// Longest receive window of a cancel, ms.
    pub recv_window_ms: u32,
    /// Stops of ours may lie at the venue (`router.disaster_stop_pct`).
    pub stops: bool,
}

impl AtVenue {
    /// The same as [`Self::leave`] for a client that has asked nothing yet.
    pub async fn leave_anew(&self) -> Result<AccountState, RestError> {
        self.rest.sync_clock(2).await?;
        self.leave(false).await
    }

    /// Cancels whatever works, looks again until nothing does, and tells what is left. An error is tried again as often.
    /// Where nothing is `settled` an order may still be on its way: then it looks for as long as one can arrive.
    pub async fn leave(&self, settled: bool) -> Result<AccountState, RestError> {
        let arrived = if settled { 0 } else { u64::from(self.recv_window_ms) * Nanos::MS };
        let begun = self.clock.now_ns();
        let mut wait = BETWEEN;
        let mut looks = 1;
        loop {
            let left = self.cancel().await;
            let none = left.as_ref().is_ok_and(|left| left.orders.is_empty());
            if (none || looks >= LOOKS) && self.clock.now_ns() >= begun + arrived {
                return left;
            }
            if let Err(error) = &left {
                tracing::warn!("cancelling at the end: {error}");
            }
            looks += 1;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(1));
        }
    }

    /// The last words to the venue: nothing works, no stop of ours lies without a position, the listen key is closed.
    pub async fn leave_for_good(&self, settled: bool) -> Result<Left, RestError> {
        let account = self.leave(settled).await?;
        if self.stops {
            let held = |name: &str| {
                let symbol = self.symbols.id(name);
                account.positions.iter().any(|p| Some(p.symbol) == symbol)
            };
            close_stop::remove_orphans(&self.rest, held).await?;
        }
        let _ = self.rest.close_listen_key().await;
        Ok(Left::of(&account, &self.symbols))
    }

    /// One look, and a cancel for each instrument in which something works.
    async fn cancel(&self) -> Result<AccountState, RestError> {
        let account = control::account(&self.rest, &self.symbols, &self.clock, Urgency::Exit).await?;
        let mut symbols: Vec<SymbolId> = account.orders.iter().map(|o| o.symbol).collect();
        symbols.sort_unstable();
        symbols.dedup();
        for symbol in symbols {
            let request = OrderRequest::CancelAll(symbol);
            self.rest.order(&request, &self.symbols, self.window_ms()).await?;
        }
        Ok(account)
    }

    /// No cancel may arrive after the lease has ended.
    fn window_ms(&self) -> u32 {
        let now = self.clock.now_ns();
        let error = self.rest.clock().error_bound().unwrap_or(UNMEASURED);
        self.fence.window_ms(now, error, self.recv_window_ms)
    }

    /// May anything be sent?
    pub fn may_send(&self) -> bool {
        self.fence.is_open(self.clock.now_ns())
    }
}

/// What the venue says is left, after a last cancel of everything that works. What was not asked is not there.
#[derive(Default)]
pub struct Left {
    /// Positions.
    pub positions: Option<Vec<OpenPosition>>,
    /// Orders.
    pub orders: Option<usize>,
}

impl Left {
    /// The whole account, not only what is followed.
    pub fn of(account: &AccountState, symbols: &Symbols) -> Self {
        let followed = |p: &execution::VenuePosition| {
            let i = symbols.get(p.symbol)?;
            Some(OpenPosition { symbol: i.symbol.clone(), qty: i.lot.format(p.qty.0).to_string() })
        };
        let (orders, others): (Vec<_>, Vec<_>) = account.unlisted.iter().partition(|row| row.order.is_some());
        let other = |row: &&UnlistedRow| OpenPosition { symbol: row.name.clone(), qty: row.qty.to_string() };
        let positions = account.positions.iter().filter_map(followed).chain(others.iter().map(other));
        Self { positions: Some(positions.collect()), orders: Some(account.orders.len() + orders.len()) }
    }
}
