//! A task of a flow: how often it is tried, how long it may take, and what is told of it.

use std::time::Duration;

use node::error::Failure;
use serde::Serialize;

/// How a task is tried.
#[derive(Debug, Clone, Copy)]
pub struct Tries {
    /// Tries beside the first.
    pub retries: u32,
    /// Wait before each of them.
    pub delay: Duration,
    /// Longest time of one try.
    pub limit: Duration,
}

impl Tries {
    /// Once, within a minute.
    pub const ONCE: Self = Self::again(0, Duration::ZERO);

    /// With retries, a minute each.
    pub const fn again(retries: u32, delay: Duration) -> Self {
        Self { retries, delay, limit: Duration::from_secs(60) }
    }

    /// Another limit.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// A task that was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Done {
    /// Its name (SPEC §10).
    pub task: &'static str,
    /// Tries it took.
    pub tries: u32,
    /// Time it took, s.
    pub seconds: f64,
}

/// Runs a task; each failed try is a warning, the last one the failure. A failure of usage is not tried again: it would
/// be the same.
pub async fn run<T>(
    done: &mut Vec<Done>,
    task: &'static str,
    tries: Tries,
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let begun = tokio::time::Instant::now();
    let mut number = 0;
    loop {
        number += 1;
        let late = || Failure::unavailable(format!("not done within {} s", tries.limit.as_secs_f64()));
        let tried = tokio::time::timeout(tries.limit, attempt()).await.unwrap_or_else(|_| Err(late()));
        match tried {
            Ok(value) => {
                let seconds = begun.elapsed().as_secs_f64();
                tracing::info!("{task}: done in {seconds:.2} s, try {number}");
                done.push(Done { task, tries: number, seconds });
                return Ok(value);
            }
            Err(failure) if failure.exit == 2 || number > tries.retries => {
                return Err(Failure { exit: failure.exit, message: format!("{task}: {failure}") });
            }
            Err(failure) => {
                tracing::warn!("{task}: try {number} of {}: {failure}", tries.retries + 1);
                tokio::time::sleep(tries.delay).await;
            }
        }
    }
}
