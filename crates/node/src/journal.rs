//! The journal of a run: what is recorded, by whom, and how it is decided again.
//!
//! **The problem.** "Every decision can be taken again, bit for bit" must be true of what really ran, with threads that
//! took their inputs in an order nobody else knows; it must cost nothing on the way from tick to order; and it must stay
//! small enough to be kept for days.
//!
//! **The boundary** is the stage: `alpha` and `router` are functions of the order in which they took their own inputs and
//! of the time of the poll that took them. So each records that order for itself, with a number of its own, after the
//! decision has left ([`crate::stages::alpha::AlphaRecord`], [`crate::stages::router::RouterRecord`]); how the
//! workers raced does not matter, and one layout's journal is decided again on one thread. What passes between the two is
//! recorded at both ends, as an output of one and an input of the other: each can be decided again alone. Every segment
//! begins with the state of both, so that any of them can be decided again without those before it ([`shadow`]). On request
//! (`content: frames`) the book stage records its inputs too ([`crate::stages::book::record`]): books, features and scans are
//! made again of them from the beginning of a run, because their state (the scanner's sums over every phase) is far too large
//! for a segment, and what comes of it must be the ticks that the engine recorded.
//!
//! [`recorder`] is the thread behind the rings, [`mod@replay`] takes the records in again: the same stages, fed one record
//! at a time; what they decide is compared with what was decided, byte by byte of its encoding, so that NaN equals NaN
//! and −0.0 does not equal 0.0.
//!
//! **Rejected.** *Frames alone, everything else derived*: a lost frame, a new feature or a changed book would take the
//! engine's journal with it, and an hour of a week could not be reached without all before it. *What is offered instead of
//! what is taken* (a log of the rings' producers): the order between rings is then a race. *Polling the router through its
//! rings again*: what it takes in one poll depends on how full the rings behind it are, so the taking itself is recorded,
//! timers included, and where something waited, that it waited. *Encoding at the tap*: a report costs 300 ns to encode,
//! moving it 20.

pub mod beginning;
pub mod bounds;
pub mod bundle;
pub mod header;
pub mod recorder;
pub mod records;
pub mod replay;
pub mod shadow;
pub mod states;
