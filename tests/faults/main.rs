//! The live node under faults: each row of the project's fault table that the local venue can inject, through the real
//! node over real sockets (issue 5, line 2). A test's name begins with the row it proves, `row_05_…`.
//!
//! [`harness`] starts the two, injects, waits for conditions, and at the end of every test holds the run to what must
//! always be true: no order left, none doubled, the position equal to the venue's, the fate of every order known.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod harness;
mod market;
mod orders;
