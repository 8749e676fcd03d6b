//! Latency of the whole node. The node is the production node (`node::live`), stages, workers and links and all; beside
//! it, on another core, a venue (`venue::PolledVenue`) plays a market by a schedule that does not wait for the node
//! (open loop), and answers orders as it answers any client. What differs from trading is the transport: the byte
//! streams of both ends stamp what passes, with one clock, and the ways of orders are put together from the stamps when
//! the run is over.
//!
//! Read `run` first, then `ways`. `eigen` is apart from it: the scanner beside a full decomposition.

pub mod compare;
pub mod eigen;
pub mod environment;
pub mod floor;
pub mod hlog;
pub mod machine;
pub mod market;
pub mod pairs;
pub mod pipe;
pub mod report;
pub mod run;
pub mod schedule;
pub mod scheduled;
pub mod stamped;
pub mod threads;
pub mod ways;
