//! Money that moves without a fill: funding, transfers, isolated margins.

use market::{Amount, Nanos, PositionSide, SymbolId};

use super::exchange::Exchange;
use super::ids::AccountId;
use super::order::MarginChange;
use super::reject::{self, Reject};

/// Margin changes remembered per account.
const CHANGES_KEPT: usize = 5_000;
const LEGS: [PositionSide; 3] = [PositionSide::Both, PositionSide::Long, PositionSide::Short];

impl Exchange {
    /// Charges funding on a symbol: longs pay shorts while the rate is positive. An isolated position pays from its
    /// own money.
    pub fn fund(&mut self, symbol: SymbolId, now: Nanos) {
        let rate = self.listing(symbol).mark.funding_rate;
        for account in self.account_ids() {
            let isolated = self.account(account).setting(symbol).isolated;
            let mut total = 0;
            let mut charged = Vec::new();
            for leg in LEGS {
                let value = self.listing(symbol).at_mark(self.account(account).position(symbol, leg).qty);
                let fee = i128::from(value.0) * i128::from(rate) / i128::from(Amount::ONE);
                let fee = i64::try_from(fee).expect("a rate below one");
                total -= fee;
                if isolated && fee != 0 {
                    let a = &mut self.accounts[account.0 as usize];
                    a.positions.entry((symbol, leg.into())).or_default().isolated.0 -= fee;
                    charged.push((symbol, leg));
                }
            }
            if total == 0 {
                continue;
            }
            let a = &mut self.accounts[account.0 as usize];
            a.wallet.0 += total;
            a.add_income("FUNDING_FEE", Some(symbol), Amount(total), 0, now);
            self.tell_account(account, "FUNDING_FEE", Amount(total), &charged, Some(symbol), now);
        }
    }

    /// Adds to (or takes from) an account's wallet.
    pub fn transfer(&mut self, account: AccountId, amount: Amount, now: Nanos) {
        let a = &mut self.accounts[account.0 as usize];
        a.wallet += amount;
        a.add_income("TRANSFER", None, amount, 0, now);
        let reason = if amount.0 < 0 { "WITHDRAW" } else { "DEPOSIT" };
        self.tell_account(account, reason, amount, &[], None, now);
    }

    /// Adds to (or, below zero, takes from) the money of an isolated position. What it needs at the mark price, and its
    /// present loss, stays.
    pub fn adjust_margin(
        &mut self,
        account: AccountId,
        symbol: SymbolId,
        leg: PositionSide,
        amount: Amount,
        now: Nanos,
    ) -> Result<(), Reject> {
        let a = self.account(account);
        let setting = a.setting(symbol);
        if !setting.isolated {
            return Err(reject::MARGIN_OF_CROSSED);
        }
        let p = a.position(symbol, leg);
        if p.qty.0 == 0 {
            return Err(reject::MARGIN_OF_NOTHING);
        }
        let listing = self.listing(symbol);
        let needed = Amount(listing.at_mark(p.qty).0.abs() / i64::from(setting.leverage.max(1)));
        let loss = listing.unrealised(&p).min(Amount::ZERO);
        if amount.0 > 0 && amount > self.margins(account).available() {
            return Err(reject::CROSS_BALANCE);
        }
        if amount.0 < 0 && p.isolated + loss + amount < needed {
            return Err(reject::ISOLATED_BALANCE);
        }
        let a = &mut self.accounts[account.0 as usize];
        a.positions.entry((symbol, leg.into())).or_default().isolated += amount;
        if a.margin_changes.len() == CHANGES_KEPT {
            a.margin_changes.pop_front();
        }
        a.margin_changes.push_back(MarginChange { symbol, position_side: leg, amount, at: now });
        self.tell_account(account, "MARGIN_TRANSFER", Amount::ZERO, &[(symbol, leg)], None, now);
        Ok(())
    }
}
