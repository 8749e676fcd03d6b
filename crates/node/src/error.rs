//! How a command ends badly: one message, and the documented exit code (SPEC §11).

use std::fmt;

/// A failure with its exit code. The message says what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 1 the answer is no · 2 usage or configuration · 3 input data · 4 venue or memory unavailable.
    pub exit: u8,
    /// One message.
    pub message: String,
}

impl Failure {
    /// Exit 1: the answer is no.
    pub fn answer_no(message: impl Into<String>) -> Self {
        Self { exit: 1, message: message.into() }
    }
    /// Exit 2: usage or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: 2, message: message.into() }
    }
    /// Exit 3: input data.
    pub fn input(message: impl Into<String>) -> Self {
        Self { exit: 3, message: message.into() }
    }
    /// Exit 4: venue or memory unavailable.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { exit: 4, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
