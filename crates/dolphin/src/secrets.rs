//! Keeping keys in this process: no core dump, no other process of the user may read its memory, and none of it goes to the
//! swap where the system lets it stay.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Called before a key is read. A system that refuses gets a warning, not a stop: the key file is as private as before.
pub fn harden() {
    let core = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = core.and(dumpable) {
        tracing::warn!("core dumps could not be switched off ({error}): a crash may write the keys to disk");
    }
    stay_in_memory();
}

/// Locks what the process has and will have, page by page as it is touched. Only where there is no limit to that: beyond one
/// the next allocation would fail, and a key in the swap of this machine is the smaller evil.
fn stay_in_memory() {
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    match unlimited.then(|| mlockall(all)) {
        Some(Ok(())) => tracing::debug!("memory is locked"),
        Some(Err(error)) => tracing::debug!("memory cannot be locked: {error}"),
        None => tracing::debug!("memory is not locked: RLIMIT_MEMLOCK is limited"),
    }
}
