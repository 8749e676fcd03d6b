//! The ledger: wallet, equity and the day's profit, as far as they are known.
//!
//! 1. Equity is unknown until the wallet was read and every position has a price. While it is unknown no loss, drawdown
//!    or peak is judged: there is no number that could stand for it.
//! 2. A balance is true for one moment. What happened after that moment is not in it, so a balance is only taken while
//!    nothing newer is booked; until then our own booking goes on, which is as exact.
//! 3. What happened before the moment of the balance is in it: a fill learned late changes positions and round trips, and
//!    the wallet no more.
//! 4. A transfer is no profit, whether the stream told of it, the venue's list of transfers, or only a balance that
//!    nothing explains. The last is set right as soon as a list comes.

use arrayvec::ArrayVec;
use market::{Amount, Nanos, VenueTime};
use serde::{Deserialize, Serialize};

/// A transfer to or from the account, of the venue's list of income.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The venue's number (`tranId`): one number is one transfer, however often it is listed.
    pub id: u64,
    /// When.
    pub at: VenueTime,
    /// Signed: positive into the account.
    pub amount: Amount,
}

/// What taking a balance led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// It is ours, or was taken without a remainder.
    Agrees,
    /// Not taken: something newer is booked.
    Older,
    /// Taken; this part of the difference nothing explains yet. It counts neither as profit nor as loss.
    Unexplained(Amount),
}

/// Smaller differences between the venue's booking and ours are rounding: one unit of 10⁻⁸ a fill.
const ROUNDING: i64 = 1_000;
/// Transfers remembered, to know one that is told twice.
const TRANSFERS: usize = 64;

/// Profit and spending of the day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Day {
    /// Equity when it began; `None`: not known yet.
    pub start: Option<Amount>,
    /// Highest equity.
    pub peak: Option<Amount>,
    /// Realised profit, commissions and funding included.
    pub realised: Amount,
    /// Commissions paid.
    pub fees: Amount,
    /// Value of all fills.
    pub turnover: Amount,
    /// Orders and cancels sent.
    pub messages: u64,
    /// Orders that were filled, whole or in part.
    pub filled_orders: u64,
}

/// See the module's text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    wallet: Option<Amount>,
    equity: Option<Amount>,
    /// The wallet holds everything up to here.
    as_of: VenueTime,
    /// Where the first balance stood: what was transferred before it is in it.
    begun: VenueTime,
    /// Newest change that was booked.
    newest: VenueTime,
    /// The first balance may have crossed fills that were on their way: the next one settles it.
    settled: bool,
    day: Day,
    /// Part of the wallet that nothing explains, by balances.
    unexplained: Amount,
    /// Told by the stream, not listed yet; and listed, not told yet.
    told: ArrayVec<Amount, TRANSFERS>,
    listed: ArrayVec<Amount, TRANSFERS>,
    seen: ArrayVec<u64, TRANSFERS>,
}

impl Ledger {
    /// Balance without unrealised profit; `None` before the venue told one.
    pub const fn wallet(&self) -> Option<Amount> {
        self.wallet
    }

    /// Wallet and unrealised profit; `None` while either is not known.
    pub const fn equity(&self) -> Option<Amount> {
        self.equity
    }

    /// The day.
    pub const fn day(&self) -> &Day {
        &self.day
    }

    pub(crate) const fn day_mut(&mut self) -> &mut Day {
        &mut self.day
    }

    /// Profit of the day; `None` while equity is not known.
    pub fn day_pnl(&self) -> Option<Amount> {
        Some(self.equity? - self.day.start?)
    }

    /// Fall from the day's peak as a fraction of it; `None` while equity is not known.
    pub fn drawdown(&self) -> Option<f64> {
        let (equity, peak) = (self.equity?, self.day.peak?);
        Some(if peak.0 <= 0 { 0.0 } else { (peak - equity).0 as f64 / peak.0 as f64 })
    }

    /// Positions are worth this much more than they cost; `None`: not every one has a price.
    pub(crate) fn observe(&mut self, unrealised: Option<Amount>) {
        self.equity = self.wallet.zip(unrealised).map(|(wallet, unrealised)| wallet + unrealised);
        let Some(equity) = self.equity else { return };
        self.day.start.get_or_insert(equity);
        let peak = self.day.peak.get_or_insert(equity);
        peak.0 = peak.0.max(equity.0);
    }

    /// A fill was booked. Returns nothing where the wallet holds it already.
    pub(crate) fn fill(&mut self, gain: Amount, fee: Amount, value: Amount, at: VenueTime) {
        self.day.realised += gain;
        self.day.fees += fee;
        self.day.turnover += value;
        if !self.holds(at) {
            self.change(gain, at);
        }
    }

    /// Funding and the like: profit or loss of the day.
    pub(crate) fn income(&mut self, change: Amount, at: VenueTime) {
        self.day.realised += change;
        self.change(change, at);
    }

    /// The stream tells of a transfer.
    pub(crate) fn transfer(&mut self, change: Amount, at: VenueTime) {
        if take(&mut self.listed, change) {
            return;
        }
        if self.unexplained == change && !change.is_zero() {
            self.unexplained = Amount::ZERO;
            remember(&mut self.told, change);
            return;
        }
        remember(&mut self.told, change);
        self.change(change, at);
        self.shift(change);
    }

    /// Does the wallet hold what happened then? The venue cuts its times to milliseconds.
    fn holds(&self, at: VenueTime) -> bool {
        at.plus(Nanos::MS) <= self.as_of
    }

    fn change(&mut self, change: Amount, at: VenueTime) {
        self.newest = self.newest.max(at);
        if let Some(wallet) = &mut self.wallet {
            *wallet += change;
        }
    }

    /// What the day is measured against moves with money that is no profit.
    fn shift(&mut self, change: Amount) {
        for mark in [&mut self.day.start, &mut self.day.peak].into_iter().flatten() {
            *mark += change;
        }
    }

    /// A new day: profit, drawdown and counts begin anew, from the equity of now if it is known.
    pub(crate) fn begin_day(&mut self) {
        self.day = Day { start: self.equity, peak: self.equity, ..Day::default() };
    }

    /// The day as another run left it, and the wallet that it knew then.
    pub(crate) fn restore(&mut self, day: Option<Day>, wallet: Option<Amount>, as_of: VenueTime) {
        self.day = day.unwrap_or_default();
        self.wallet = wallet;
        (self.as_of, self.begun) = (as_of, as_of);
        self.settled = wallet.is_some();
        self.equity = None;
    }

    /// The wallet holds everything up to this venue time.
    pub const fn as_of(&self) -> VenueTime {
        self.as_of
    }

    /// The venue's balance as it was at `as_of` or up to `slack` later. `transfers`: all since the last balance that was
    /// taken, or `None` if the list was not asked for. `estimates`: some fills are booked at estimated prices, so that a
    /// difference is theirs.
    pub(crate) fn take_balance(
        &mut self,
        balance: Amount,
        as_of: VenueTime,
        transfers: Option<&[Transfer]>,
        estimates: bool,
    ) -> Balance {
        let Some(ours) = self.wallet else {
            for t in transfers.unwrap_or_default() {
                self.see(t.id);
            }
            self.settled = self.newest.plus(Nanos::MS) <= as_of;
            (self.wallet, self.as_of, self.begun) = (Some(balance), as_of, as_of);
            return Balance::Agrees;
        };
        let after = |at: VenueTime| at.plus(Nanos::MS) > as_of;
        if after(self.newest) || transfers.unwrap_or_default().iter().any(|t| after(t.at)) {
            return Balance::Older;
        }
        let difference = balance - ours;
        (self.wallet, self.as_of) = (Some(balance), as_of);
        if !std::mem::replace(&mut self.settled, true) {
            self.shift(difference);
            return Balance::Agrees;
        }
        let Some(transfers) = transfers else {
            if difference.0.abs() <= ROUNDING || estimates {
                return Balance::Agrees;
            }
            self.unexplained += difference;
            self.shift(difference);
            return Balance::Unexplained(difference);
        };
        let mut news = Amount::ZERO;
        let begun = self.begun;
        for t in transfers.iter().filter(|t| t.at > begun) {
            if self.see(t.id) && !take(&mut self.told, t.amount) {
                remember(&mut self.listed, t.amount);
                news += t.amount;
            }
        }
        // What was set aside before is explained now: by these transfers, or else it was profit or loss.
        let set_aside = std::mem::take(&mut self.unexplained);
        self.shift(news - set_aside);
        Balance::Agrees
    }

    /// `true` if this transfer is new.
    fn see(&mut self, id: u64) -> bool {
        let news = !self.seen.contains(&id);
        if news {
            remember(&mut self.seen, id);
        }
        news
    }

    /// Is the wallet known, and settled by a balance that crossed nothing on its way?
    pub const fn is_settled(&self) -> bool {
        self.settled && self.unexplained.0 == 0
    }

    /// Part of the wallet that nothing explains.
    pub const fn unexplained(&self) -> Amount {
        self.unexplained
    }
}

fn remember<T>(list: &mut ArrayVec<T, TRANSFERS>, item: T) {
    if list.is_full() {
        list.remove(0);
    }
    list.push(item);
}

fn take(list: &mut ArrayVec<Amount, TRANSFERS>, amount: Amount) -> bool {
    let place = list.iter().position(|a| *a == amount);
    if let Some(place) = place {
        list.remove(place);
    }
    place.is_some()
}
