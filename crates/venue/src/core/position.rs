//! A position in one instrument, with its exact cost.

use market::{Amount, Nanos, Qty};

/// A position in one instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Signed quantity.
    pub qty: Qty,
    /// Σ signed price·quantity of what is open.
    pub cost: Amount,
    /// Its own money, where its margin is isolated.
    pub isolated: Amount,
    /// Commission paid on what is open (for the break-even price).
    pub fees: Amount,
    /// Realised profit so far, before fees.
    pub realised: Amount,
    /// Last changed.
    pub updated: Nanos,
}

impl Position {
    /// Books a fill of signed quantity; returns the realised profit. `value(q)` is the exact value of `q` lots.
    pub(super) fn book(&mut self, signed: i64, value: impl Fn(i64) -> Amount) -> Amount {
        let open = self.qty.0;
        let mut realised = 0;
        let closing = if open.signum() * signed.signum() < 0 { open.abs().min(signed.abs()) } else { 0 };
        if closing > 0 {
            let part = i128::from(self.cost.0) * i128::from(closing) / i128::from(open.abs());
            let part = i64::try_from(part).expect("a part of a cost that fits");
            let fees = i128::from(self.fees.0) * i128::from(closing) / i128::from(open.abs());
            realised = open.signum() * value(closing).0 - part;
            self.cost.0 -= part;
            self.fees.0 -= i64::try_from(fees).expect("a part of fees that fit");
            self.qty.0 += signed.signum() * closing;
        }
        if closing > 0 && self.isolated.0 > 0 {
            let back = i128::from(self.isolated.0) * i128::from(closing) / i128::from(open.abs());
            self.isolated.0 -= i64::try_from(back).expect("a part of money that fits");
        }
        let opening = signed.abs() - closing;
        if opening > 0 {
            self.qty.0 += signed.signum() * opening;
            self.cost.0 += signed.signum() * (value(signed.abs()).0 - value(closing).0);
        }
        self.realised.0 += realised;
        Amount(realised)
    }
}
