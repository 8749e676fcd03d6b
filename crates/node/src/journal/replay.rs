//! A journal decided again: the same stages take the records in, and what they decide is compared with what was decided.

mod alpha;
mod router;
mod run;

pub use run::{Counts, Difference, Observer, RunReport, Verdict, replay};
