//! Is the state kept anywhere? A full or broken disk is told by two silences: the local state cannot be written, and memory
//! takes nothing. One of them alone is no reason not to trade (SPEC 12, invariant 5).

use market::Nanos;

/// A state that could not be kept for so long shuts the gate for entries, ns.
const UNKEPT_AFTER: u64 = 3 * Nanos::SECOND;

/// When the state was last kept.
#[derive(Debug, Default)]
pub struct Kept {
    at: u64,
    /// Values that memory had by then.
    delivered: u64,
    /// The last attempt to write the local state was good.
    local: bool,
}

impl Kept {
    /// The local state was written, or could not be.
    pub const fn local(&mut self, good: bool) {
        self.local = good;
    }

    /// Has the state been kept lately? `delivered`: values that memory has taken so far.
    pub const fn is_kept(&mut self, now: u64, delivered: u64) -> bool {
        if self.local || delivered > self.delivered || self.at == 0 {
            self.at = now;
        }
        self.delivered = delivered;
        now - self.at < UNKEPT_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_kept_by_either_place_and_lost_only_without_both() {
        let (mut kept, s) = (Kept::default(), Nanos::SECOND);
        assert!(kept.is_kept(s, 0), "a start has its time");
        assert!(kept.is_kept(3 * s, 0) && !kept.is_kept(4 * s, 0));
        assert!(kept.is_kept(5 * s, 1), "memory has taken a value");
        kept.local(true);
        assert!(kept.is_kept(60 * s, 1), "memory is away, the file is there");
        kept.local(false);
        assert!(kept.is_kept(62 * s, 1) && !kept.is_kept(63 * s, 1));
    }
}
