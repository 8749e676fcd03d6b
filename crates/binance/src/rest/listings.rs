//! Orders, fills and income of the past: listings in windows and pages ([`super::pages`]).
//!
//! The caller says how urgent a listing is: a comparison with the venue goes before the history that a start reads.

use std::collections::BTreeSet;

use market::ExecutionReport;

use super::account::{self, Income};
use super::client::{Auth, RestClient, call, order_rows};
use super::error::RestError;
use super::pages::{PAGE, Pages, TimeWindow, windows};
use crate::encode::{Query, Sink};
use crate::limits::Urgency;
use crate::symbols::Symbols;

/// What an income is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IncomeKind {
    /// Moved between this wallet and another of the same owner: never a profit.
    Transfer,
    /// Paid or got for a fill.
    Commission,
    /// Funding of a position.
    FundingFee,
    /// Profit of a closed position.
    RealizedPnl,
}

impl IncomeKind {
    /// On the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transfer => "TRANSFER",
            Self::Commission => "COMMISSION",
            Self::FundingFee => "FUNDING_FEE",
            Self::RealizedPnl => "REALIZED_PNL",
        }
    }
}

impl RestClient {
    async fn listed<T>(
        &self,
        name: &'static str,
        (weight, urgency): (u32, Urgency),
        window: TimeWindow,
        params: impl Fn(&mut Query),
        read: impl Fn(&[u8]) -> Result<Vec<((u64, u64), T)>, RestError>,
    ) -> Result<Vec<T>, RestError> {
        let mut pages = Pages::new(window);
        while let Some(asked) = pages.next() {
            let body = self.send(call("GET", name, Auth::Signed, weight, urgency), |q| {
                params(q);
                q.int("startTime", asked.start_ms);
                q.int("endTime", asked.end_ms);
                q.int("limit", PAGE as u64);
            });
            let rows = read(&body.await?)?;
            pages.page(asked, rows).map_err(|e| RestError::answer(name, e.to_string()))?;
        }
        Ok(pages.into_rows())
    }

    /// Orders of a symbol created within a window of at most seven days ([`windows`]), finished ones too, all of them,
    /// oldest first.
    pub async fn all_orders(
        &self,
        symbols: &Symbols,
        symbol: &str,
        window: TimeWindow,
        urgency: Urgency,
    ) -> Result<Vec<ExecutionReport>, RestError> {
        const NAME: &str = "GET /fapi/v1/allOrders";
        let read = |body: &[u8]| {
            let (rows, _) = order_rows(NAME, body, symbols)?;
            Ok(rows.into_iter().map(|(created, report)| ((created, report.order_id), report)).collect())
        };
        self.listed(NAME, (5, urgency), window, |q| q.text("symbol", symbol), read).await
    }

    /// Fills of a symbol within a window of at most seven days ([`windows`]), all of them, oldest first. The venue does
    /// not tell client order ids here: match by `order_id`.
    pub async fn user_trades(
        &self,
        symbols: &Symbols,
        symbol: &str,
        window: TimeWindow,
        urgency: Urgency,
    ) -> Result<Vec<ExecutionReport>, RestError> {
        const NAME: &str = "GET /fapi/v1/userTrades";
        let read = |body: &[u8]| {
            let fills = account::user_trades(body, symbols).map_err(RestError::frame(NAME))?;
            Ok(fills.into_iter().map(|f| ((f.ts_event.millis(), f.trade_id), f)).collect())
        };
        self.listed(NAME, (5, urgency), window, |q| q.text("symbol", symbol), read).await
    }

    /// Changes of the wallet of one kind within a window of at most seven days ([`windows`]), all of them, oldest first.
    /// The venue may tell the last seconds late.
    pub async fn income(
        &self,
        kind: IncomeKind,
        window: TimeWindow,
        urgency: Urgency,
    ) -> Result<Vec<Income>, RestError> {
        const NAME: &str = "GET /fapi/v1/income";
        let read = |body: &[u8]| {
            let rows = account::income(body).map_err(RestError::frame(NAME))?;
            Ok(rows.into_iter().map(|i| ((i.ts_event.millis(), i.id), i)).collect())
        };
        self.listed(NAME, (30, urgency), window, |q| q.text("incomeType", kind.name()), read).await
    }

    /// Names of the symbols in which the account has paid or got commissions between two venue times, ms.
    pub async fn traded_between(
        &self,
        since_ms: u64,
        until_ms: u64,
        urgency: Urgency,
    ) -> Result<BTreeSet<String>, RestError> {
        let mut names = BTreeSet::new();
        for window in windows(since_ms, until_ms) {
            let rows = self.income(IncomeKind::Commission, window, urgency).await?;
            names.extend(rows.into_iter().map(|row| row.symbol).filter(|name| !name.is_empty()));
        }
        Ok(names)
    }
}
