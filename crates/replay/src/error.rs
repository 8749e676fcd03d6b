//! What can go wrong in a replay.

use std::path::PathBuf;

use alpha::{EngineError, ParamError};
use archive::day::DayError;
use archive::table::TableError;

/// Why a replay, a parity check or a sweep came to no result. Each message says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The days.
    #[error(transparent)]
    Day(#[from] DayError),
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The engine refused its parameters or assets.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A parameter.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// A posture, ACB or factors file.
    #[error("{}: {detail}", path.display())]
    Control {
        /// File.
        path: PathBuf,
        /// What is wrong, and what is wanted.
        detail: String,
    },
    /// A file of expected results.
    #[error("{}: {detail}", path.display())]
    Expected {
        /// File.
        path: PathBuf,
        /// What is wrong, and what is wanted.
        detail: String,
    },
    /// A sweep that makes no sense.
    #[error("sweep: {0}")]
    Sweep(String),
    /// The results could not be written.
    #[error("{}: the results cannot be written: {source}", path.display())]
    Output {
        /// File or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The target holds results already.
    #[error(
        "{}: holds the results of an earlier run ({found}): name another directory, or say that they may be \
         replaced (--force, in Python force=True)",
        path.display()
    )]
    Earlier {
        /// Directory.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// Stopped by the caller.
    #[error("interrupted: nothing was written")]
    Interrupted,
}

impl ReplayError {
    /// Is it a matter of options and configuration, rather than of input data?
    pub const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Params(_) | Self::Engine(_) | Self::Sweep(_) | Self::Output { .. } | Self::Earlier { .. }
        )
    }

    pub(crate) fn output(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Output { path, source }
    }
}
