//! Calls into redb, which may panic on a file that was damaged from outside.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use runtime::worker::panic_text;

thread_local! {
    /// Does a panic on this thread become an error that somebody reports?
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Does it; what a panic said is the error, and nothing of it reaches stderr. Whatever `work` has changed is to be thrown
/// away then.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !EXPECTED.get() {
                others(info);
            }
        }));
    });
    let outer = EXPECTED.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(outer);
    outcome.map_err(|panic| panic_text(&*panic).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(guarded(|| 7), Ok(7));
        assert_eq!(guarded(|| -> u8 { panic!("page {}", 3) }), Err("page 3".to_owned()));
        assert_eq!(guarded(|| guarded(|| -> u8 { panic!("inner") })), Ok(Err("inner".to_owned())));
    }
}
