//! One process, one thread, one seed: nodes, venue, memory, network, clocks and everything that can go wrong with them
//! (SPEC 13).
//!
//! The code of the nodes and of the venue is production's; only their environment differs. Read in this order:
//! [`world`] (who there is and what moves them), [`faults`] (what goes wrong), [`invariants`] (what must hold all the
//! same), [`run`] (a seed from beginning to end).

mod cluster;
mod disk;
pub mod faults;
pub mod invariants;
pub mod journals;
mod machine;
pub mod network;
#[cfg(feature = "planted")]
pub mod planted;
mod process;
mod random;
pub mod run;
pub mod sample;
pub mod scene;
pub mod shrink;
pub mod strike;
mod time;
pub mod world;
