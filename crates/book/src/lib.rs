//! The local order book, its synchronisation rule, and the order-book features.

mod engine;
mod features;
mod ladder;
mod local_book;
pub mod naive;
mod order_book;

pub use engine::{EngineCounters, FeatureEngine, Sample};
pub use ladder::MAX_FAR_LEVELS;
pub use local_book::{
    BookCounters, BookOutcome, BookState, LocalBook, MAX_BUFFERED_LEVELS, MAX_BUFFERED_UPDATES,
};
pub use order_book::{BandSums, OrderBook};
