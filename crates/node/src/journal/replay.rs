//! A journal decided again: the same stages take the records in, and what they decide is compared with what was decided.

mod against;
mod alpha;
mod book;
mod fault;
mod router;
mod run;
mod what_if;

pub use self::alpha::{AlphaReplay, Was};
pub use against::{Against, Apart, Rows, against};
pub use fault::Fault;
pub use router::RouterReplay;
pub use what_if::{Decided, Hypothesis, WhatIf, what_if};

pub use run::{Counts, Difference, Observer, RunReport, Verdict, Within, replay, runs};
