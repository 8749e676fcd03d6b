//! Keeping keys in this process: no core dump and no other process of the user may read its memory.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Called before a key is read. A system that refuses gets a warning, not a stop: the key file is as private as before.
pub fn harden() {
    let core = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = core.and(dumpable) {
        tracing::warn!("core dumps could not be switched off ({error}): a crash may write the keys to disk");
    }
}
