//! The commands: thin wrappers that parse, call the room that does the work, and print.

pub mod demo;
pub mod live;
