//! The local order book, its synchronisation rule, and the order-book features.
//!
//! * [`OrderBook`]: absolute quantities by price, in ticks and lots. Each side is a tick ladder around the touch and a
//!   sorted list beyond it, with exact integer sums per 64 ticks.
//! * [`LocalBook`]: an order book kept in step with the venue by update ids.
//! * [`FeatureEngine`]: the books of all symbols and their SPEC §5 features, sampled together on one event-time clock.
//! * [`naive`]: the plain twin that the tests hold the book to.

mod audit;
mod engine;
mod features;
mod ladder;
mod local_book;
pub mod naive;
mod order_book;

pub use audit::{Audit, Verdict};
pub use engine::{EngineCounters, FeatureEngine, Sample, cross_asset};
pub use ladder::MAX_FAR_LEVELS;
pub use local_book::{
    BookCounters, BookOutcome, BookState, LocalBook, MAX_BUFFERED_LEVELS, MAX_BUFFERED_UPDATES,
};
pub use order_book::{BandSums, OrderBook};
