//! Faults of orders, of the user stream and of the account.

mod account;
mod close_stop;
mod fate;
mod limits;
mod stop;
mod stream;

use std::time::Duration;

use venue::core::Order;
use venue::faults::Fault;

use crate::harness::{Node, Now, Setup, Venue, orders};

/// A node whose lost requests are given up soon: what cannot arrive within 1.2 s cannot arrive.
pub fn setup(seed: u64) -> Setup {
    Setup::new(seed).config(|c| {
        c.router.recv_window_ms = 1_000;
        c.router.max_clock_error_ms = 200;
        c.router.risk.max_clock_offset_ms = 250;
        c.router.ack_timeout_ms = 500;
        c.router.cancel_timeout_ms = 500;
        c.router.query_timeout_ms = 500;
        c.router.risk.max_repeated_entries = 32;
        c.router.reconcile_interval_ms = 2_000;
        c.router.reconcile_retry_ms = 200;
    })
}

impl Node {
    /// Lets it strike once, then waits until both sides agree again.
    pub async fn survives(&self, fault: Fault) {
        let what = format!("{fault:?}");
        let id = self.inject_once(fault);
        self.until(&format!("struck by {what}"), |now| now.venue.hits(id) > 0).await;
        self.until(&format!("in order again after {what}"), in_order).await;
    }

    /// Waits for a round trip that begins after now.
    pub async fn trades_again(&self) {
        let before = self.seen().trades.len();
        // One may have begun before.
        self.until("it trades again", |now| now.seen.trades.len() >= before + 2).await;
    }

    /// Waits until a position is held, its entry over.
    pub async fn holds(&self) -> String {
        let mut held = String::new();
        self.until("a position is held", |now| {
            let only = now.seen.positions.keys().next().filter(|_| now.positions_agree());
            only.is_some_and(|symbol| {
                held.clone_from(symbol);
                true
            })
        })
        .await;
        held
    }

    /// Watches that nothing is opened for a while.
    pub async fn opens_nothing(&self, time: Duration) {
        let before = openings(&self.venue);
        self.holds_for(time, "nothing is opened", |now| openings(now.venue) == before).await;
    }
}

/// Compared with the venue, every fate known, positions equal.
pub fn in_order(now: &Now<'_>) -> bool {
    let r = &now.seen.router;
    now.seen.gate.user_stream && r.reconciled && r.unknown == 0 && now.positions_agree()
}

/// Orders that open, as the venue has taken them.
pub fn openings(venue: &Venue) -> usize {
    orders(venue).iter().filter(|o| is_ours(o) && !o.reduce_only).count()
}

pub fn is_ours(o: &Order) -> bool {
    o.client_id.starts_with("dlp-")
}
