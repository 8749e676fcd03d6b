//! What can go wrong with system memory. None of it is fatal to a trading node (SPEC §12, invariant 5).

use std::path::PathBuf;
use std::time::Duration;

/// Longest value, bytes of UTF-8.
pub const MAX_VALUE_BYTES: usize = 16 << 20;
/// Longest map name or key, bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 1024;

/// An operation on system memory failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Nothing answers at the moment; a background task keeps trying.
    #[error("system memory is away: {0}")]
    Away(String),
    /// There is a connection, but no answer in time.
    #[error("system memory did not answer `{operation}` within {limit:?}: it is overloaded or frozen")]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// The limit that ran out.
        limit: Duration,
    },
    /// The connection broke after a request that must not be sent twice.
    #[error(
        "the connection broke during `{0}`: it may or may not have happened; read the key before trying again"
    )]
    Ambiguous(&'static str),
    /// Memory answered with a refusal: trying again will not help.
    #[error("system memory refused `{operation}`: {reason}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The answer.
        reason: String,
    },
    /// The file of an embedded memory is there and damaged. It counts as away: it comes back when it is repaired.
    #[error(
        "{} is damaged ({reason}); nothing was changed in it. `dolphin memory --embedded {} repair` saves what can be read of it, `… restore` goes back to its last copy",
        path.display(), path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The lease under which this was to be written has passed on: whoever holds it now writes.
    #[error(
        "{map}[{key}] is not written: the lease `{lease}` has passed on (its fence is {newer}, ours was {ours})"
    )]
    Fenced {
        /// Map.
        map: String,
        /// Key.
        key: String,
        /// Key of the lease.
        lease: String,
        /// The fence of the refused writer.
        ours: u64,
        /// The one that is known.
        newer: u64,
    },
    /// The value there is no text.
    #[error("{map}[{key}] holds {found}, not text: write it as str or HazelcastJsonValue")]
    NotText {
        /// Map.
        map: String,
        /// Key.
        key: String,
        /// What is there instead.
        found: String,
    },
    /// A name or value that is not accepted.
    #[error("{0}")]
    Invalid(String),
    /// The configuration cannot work.
    #[error("memory configuration: {0}")]
    Config(String),
}

impl MemoryError {
    pub(crate) fn fenced(map: &str, key: &str, lease: &str, ours: u64, newer: u64) -> Self {
        Self::Fenced { map: map.to_owned(), key: key.to_owned(), lease: lease.to_owned(), ours, newer }
    }

    /// Is memory away (the same request may succeed later), as opposed to a wrong request or value?
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Timeout { .. } | Self::Ambiguous(_) | Self::Damaged { .. })
    }
}

/// Checks a map name or key against the limits.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), MemoryError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains('\0') {
        return Err(MemoryError::Invalid(format!(
            "{what} `{}` must have 1 to {MAX_NAME_BYTES} bytes and no NUL",
            name.chars().take(40).collect::<String>().escape_debug()
        )));
    }
    Ok(())
}

/// Checks the size of a value against the limit.
pub(crate) fn check_value(map: &str, key: &str, value: &str) -> Result<(), MemoryError> {
    if value.len() > MAX_VALUE_BYTES {
        let size = value.len();
        return Err(MemoryError::Invalid(format!(
            "the value of {map}[{key}] has {size} bytes, the limit is {MAX_VALUE_BYTES}"
        )));
    }
    Ok(())
}
