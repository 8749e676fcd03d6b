//! How a command ends badly: one message, and the documented exit code (SPEC §11).

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

/// A failure with its exit code. The message says what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 1 the answer is no · 2 usage or configuration · 3 input data · 4 venue, memory or disk unavailable.
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
    /// Exit 4: venue, memory or disk unavailable.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { exit: 4, message: message.into() }
    }
    /// An error that has this exit code, unless a full disk is at the bottom of it: that is exit 4, whatever was asked for.
    pub fn because(error: &(dyn Error + 'static), exit: u8) -> Self {
        Self { exit: if disk_is_full(error) { 4 } else { exit }, message: error.to_string() }
    }
    /// A file that cannot be written: exit 2, and 4 where the disk is full.
    pub fn unwritten(path: &Path, error: &io::Error) -> Self {
        Self { message: format!("{}: cannot be written: {error}", path.display()), ..Self::because(error, 2) }
    }
}

/// Is it, or what it came from, a disk or a quota without room?
fn disk_is_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(e) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
            return matches!(e.kind(), StorageFull | QuotaExceeded | FileTooLarge)
                || e.get_ref().is_some_and(|inner| disk_is_full(inner));
        }
        cause = error.source();
    }
    false
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_exit_4_however_deep_it_lies() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Failure::because(&full(), 2).exit, 4);
        assert_eq!(Failure::because(&io::Error::other(full()), 3).exit, 4);
        assert_eq!(Failure::because(&io::Error::from(io::ErrorKind::NotFound), 3).exit, 3);
        assert_eq!(Failure::unwritten(Path::new("f"), &full()).exit, 4);
        let denied = Failure::unwritten(Path::new("f"), &io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!((denied.exit, denied.message.starts_with("f: cannot be written: ")), (2, true));
    }
}
