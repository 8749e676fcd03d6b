//! The live node under faults: each row of the project's fault table (FAULTS.md §2), through the real node and the real
//! bytes of the local venue, in simulated time. A test's name begins with the row it proves, `row_05_…`.
//!
//! [`harness`] starts the two, injects, waits for conditions, and at the end of every test holds the run to what must
//! always be true: no order left, none doubled, the position equal to the venue's, the fate of every order known, the
//! journal deciding the same again. [`real`] has the few that need real sockets, threads or processes.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod harness;
mod machine;
mod market;
mod memory;
mod orders;
mod real;
