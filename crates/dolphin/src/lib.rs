//! The trading node: policy. Configuration, topology, the commands, reports. Start reading at [`topology`].

pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod error;
pub mod memory_link;
pub mod node;
pub mod paper;
pub mod preflight;
pub mod recovery;
pub mod restart;
pub mod roles;
pub mod secrets;
pub mod sensors;
pub mod shards;
pub mod stages;
pub mod summary;
pub mod topology;
