//! What a refusal by the venue means for the order and for those after it.
//!
//! The gateway decodes the reply; here its error code becomes one of few classes, because the reaction belongs to the
//! state machine: an order that *may* live must be asked for, one that would have taken is priced again, a broken rule
//! stops the instrument after one refusal and not after a hundred.

/// Reaction to a refused order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectClass {
    /// Neither placed nor refused is known (−1000, −1001, −1006, −1007, −4117): ask, never resend.
    OutcomeUnknown,
    /// The id is in use (−4116): an earlier send of this very order succeeded; ask for it.
    DuplicateId,
    /// A post-only order would take (−5022), a fill-or-kill not fill (−5021): normal business.
    WouldTake,
    /// Reduce-only refused (−2022, −4118): the position is not what we think.
    ReduceOnly,
    /// Balance or margin (−2018, −2019, −2027, −2028).
    Margin,
    /// The venue is overloaded (−1008, 503): failed for sure; exits try again.
    Overload,
    /// Too many requests or orders (−1003, −1015).
    RateLimit,
    /// Our rules are stale (tick, step, precision, notional, symbol): refresh them before the next order.
    Rules,
    /// The instrument does not trade now (−1122, −4140, −4141).
    SymbolHalted,
    /// The account may only reduce (−4087, −4088, −4105…, −4400, −4401).
    AccountReduceOnly,
    /// Key, signature, permission, account mode: nothing will work until a human acts.
    Auth,
    /// Timestamp outside the window (−1021, −5028): not placed; the clock needs syncing.
    Clock,
    /// Any other definite refusal.
    Other,
}

impl RejectClass {
    /// The class of a venue code (0 = none given).
    pub const fn of(code: i32) -> Self {
        match code {
            -1000 | -1001 | -1006 | -1007 | -4117 => Self::OutcomeUnknown,
            -4116 => Self::DuplicateId,
            -5021 | -5022 => Self::WouldTake,
            -2022 | -4118 => Self::ReduceOnly,
            -2018 | -2019 | -2027 | -2028 | -4028 | -4161 | -4209 => Self::Margin,
            -1008 | 503 => Self::Overload,
            -1003 | -1015 | 418 | 429 => Self::RateLimit,
            -1106..=-1100 | -1111 | -1117..=-1115 | -1121 | -1130 | -1136 => Self::Rules,
            -4005..=-4001 | -4015..=-4013 | -4023 | -4120 | -4164 | -5040..=-5037 => Self::Rules,
            -1122 | -4140 | -4141 => Self::SymbolHalted,
            -4087 | -4088 | -4107..=-4105 | -4189 | -4192 | -4400 | -4401 | -2023 => Self::AccountReduceOnly,
            -1002 | -2014 | -2015 | -1022 | -4061 | -4062 | -4109 | -1099 | -1016 | -1020 | 403 => Self::Auth,
            -1021 | -5028 => Self::Clock,
            _ => Self::Other,
        }
    }

    /// May the order live although the venue complained?
    pub const fn may_live(self) -> bool {
        matches!(self, Self::OutcomeUnknown | Self::DuplicateId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_leave_the_fate_open_are_never_failures() {
        for code in [-1000, -1001, -1006, -1007, -4116, -4117] {
            assert!(RejectClass::of(code).may_live(), "{code}");
        }
        for code in [-5022, -2019, -1008, -1021, -2022, -4164, -1015, -2015, 0, 7] {
            assert!(!RejectClass::of(code).may_live(), "{code}");
        }
    }
}
