//! The trading node as a library: everything of a live run but the command line. Start reading at [`topology`].

pub mod beat;
pub mod config;
pub mod connections;
pub mod control;
pub mod day;
pub mod drop_copy;
pub mod dry;
pub mod ending;
pub mod environment;
pub mod error;
pub mod killed;
pub mod live;
pub mod memory_link;
pub mod options;
pub mod preflight;
pub mod recovery;
pub mod restart;
pub mod role;
pub mod roles;
pub mod sensors;
pub mod shards;
pub mod stages;
pub mod summary;
pub mod topology;
pub mod watchdog;
