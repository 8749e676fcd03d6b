//! The control thread's ends of the links, and memory's.

use std::collections::VecDeque;
use std::sync::Arc;

use market::ClockOffset;
use runtime::latency::Collector;
use runtime::pending::{Publisher, Taker};
use runtime::ring::{RingStats, Rx, Tx};
use serde::Serialize;

use crate::published::{BookReader, EngineView, RouterView};
use crate::roles::lease::Fence;
use crate::sensors::Health;
use crate::shards::assembly::ShardCounters;
use crate::stages::Timeline;
use crate::stages::alpha::{AlphaCommand, AlphaNews};
use crate::stages::book::{BookNews, SnapshotReply};
use crate::stages::feed::{FeedNews, Route};
use crate::stages::gateway::{GatewayCommand, GatewayNews};
use crate::stages::router::{RouterCommand, RouterNews};

/// A market connection, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionName {
    /// `public`, `market`, `market-2`.
    pub name: String,
    /// Where it connects.
    pub url: String,
}

impl ConnectionName {
    /// Of these connections.
    pub fn of(routes: &[Route]) -> Vec<Self> {
        routes.iter().map(|r| Self { name: r.name.clone(), url: r.url.clone() }).collect()
    }
}

/// Ends of feed and book.
pub struct MarketEnds {
    /// The connections, in their order.
    pub connections: Vec<ConnectionName>,
    /// From the feed.
    pub feed: Rx<FeedNews>,
    /// From the books.
    pub book: Rx<BookNews>,
    /// Snapshots to the books.
    pub snapshots: Tx<Box<SnapshotReply>>,
    /// The venue's clock to the books.
    pub clock: Publisher<ClockOffset>,
    /// The books, for people.
    pub view: BookReader,
}

/// Ends of whatever ticks and quotes come from.
pub enum SourceEnds {
    /// Feed and book.
    Streams(MarketEnds),
    /// The shard stage.
    Shards(ShardEnds),
}

/// Ends of the shard stage.
pub struct ShardEnds {
    /// How ticks are gathered.
    pub news: Rx<ShardCounters>,
    /// The venue's clock.
    pub clock: Publisher<ClockOffset>,
}

/// The control thread's ends.
pub struct Ends {
    /// Where the market comes from.
    pub source: SourceEnds,
    /// The rest.
    pub account: AccountEnds,
}

/// The ways of the last requests.
pub struct Timelines {
    rx: Rx<Timeline>,
    kept: VecDeque<Timeline>,
}

/// So many are kept.
const WAYS_KEPT: usize = 4096;

impl Timelines {
    /// What comes over this ring.
    pub fn new(rx: Rx<Timeline>) -> Self {
        Self { rx, kept: VecDeque::new() }
    }

    /// Takes in what the ring holds.
    pub fn drain(&mut self) {
        while let Some(way) = self.rx.pop() {
            if self.kept.len() == WAYS_KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(way);
        }
    }

    /// The newest, oldest first.
    pub fn take(&mut self) -> Vec<Timeline> {
        self.drain();
        std::mem::take(&mut self.kept).into()
    }
}

/// The control thread's ends of everything behind the market.
pub struct AccountEnds {
    /// From the engine.
    pub alpha: Rx<AlphaNews>,
    /// From the router.
    pub router: Rx<RouterNews>,
    /// From the gateway.
    pub gateway: Rx<GatewayNews>,
    /// Commands to the engine.
    pub to_alpha: Tx<AlphaCommand>,
    /// Commands to the router.
    pub to_router: Tx<RouterCommand>,
    /// Commands to the gateway.
    pub to_gateway: Tx<GatewayCommand>,
    /// What every request to the venue must pass.
    pub fence: Fence,
    /// What our own sensors go by, to memory's thread.
    pub to_memory: Tx<Health>,
    /// Latencies of all stages.
    pub latency: Collector,
    /// The ways of the requests that were written.
    pub timelines: Timelines,
    /// The engine, for people.
    pub engine_view: Taker<EngineView>,
    /// The router, for people.
    pub router_view: Taker<RouterView>,
    /// Counters of the rings.
    pub rings: Vec<Arc<RingStats>>,
}
