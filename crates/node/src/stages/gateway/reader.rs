//! The venue's words about orders: replies on the order connection and the user stream, to reports for the router and
//! news for the control thread.

use std::collections::VecDeque;

use binance::Symbols;
use binance::gateway::{Gateway, GatewayEvent};
use binance::limits::Holds;
use binance::net::{Change, WsConn};
use binance::user::{UserDecoder, UserEvent};
use binance::user_stream::Echo;
use market::{ClientOrderId, ExecType, ExecutionReport, Nanos, OrderStatus};
use runtime::ring::Tx;

use super::news::GatewayNews;

/// Reports and news that wait for room in their rings.
pub struct Outbound {
    reports: VecDeque<ExecutionReport>,
    news: VecDeque<GatewayNews>,
    /// Orders that the user stream has yet to tell of.
    echo: Echo,
    reports_out: Tx<ExecutionReport>,
    news_out: Tx<GatewayNews>,
}

impl Outbound {
    /// Over these rings. Reports wait here while theirs is full, as many as it holds before this must grow.
    pub fn new(reports_out: Tx<ExecutionReport>, news_out: Tx<GatewayNews>) -> Self {
        let (reports, news) =
            (VecDeque::with_capacity(reports_out.stats().capacity()), VecDeque::with_capacity(64));
        Self { reports, news, echo: Echo::default(), reports_out, news_out }
    }

    /// For the router.
    pub fn report(&mut self, report: ExecutionReport) {
        self.reports.push_back(report);
    }

    /// For the control thread.
    pub fn news(&mut self, news: GatewayNews) {
        self.news.push_back(news);
    }

    /// An event of the order connection.
    pub fn gateway(&mut self, event: GatewayEvent, now: Nanos) {
        match event {
            GatewayEvent::Report(report) => {
                if let (ExecType::New, Some(id)) = (report.exec_type, report.origin.ours()) {
                    self.echo.acknowledged(id, now);
                }
                self.reports.push_back(report);
            }
            GatewayEvent::Refused { code, rule, text } => {
                tracing::debug!(code, meaning = rule.meaning, %text, "refused by the venue");
                self.news.push_back(GatewayNews::Refused { code });
            }
            GatewayEvent::SyncClock => self.news.push_back(GatewayNews::SyncClock),
            GatewayEvent::LoggedOn => {}
        }
    }

    /// An event of the user stream.
    fn user(&mut self, event: &UserEvent) {
        match event {
            // TRADE_LITE tells of a fill without its commission and without the order's state; the full report follows
            // within a millisecond, and money waits for it.
            UserEvent::Report(r) if r.exec_type == ExecType::Trade && r.status == OrderStatus::Unknown => {}
            UserEvent::Report(report) => {
                if let Some(id) = report.origin.ours() {
                    self.echo.heard(id);
                }
                self.reports.push_back(*report);
            }
            UserEvent::Balance { reason, asset, change, .. } if *change != market::Amount::ZERO => {
                let (reason, asset, change) = (*reason, *asset, *change);
                self.news.push_back(GatewayNews::Income { reason, asset, change });
            }
            UserEvent::OtherCommission { asset, amount, .. } => {
                self.news.push_back(GatewayNews::OtherCommission { asset: *asset, amount: *amount });
            }
            UserEvent::ConfigUpdate { .. } => self.news.push_back(GatewayNews::AccountChanged),
            UserEvent::MarginCall { .. } => self.news.push_back(GatewayNews::MarginCall),
            UserEvent::ListenKeyExpired => self.news.push_back(GatewayNews::ListenKeyExpired),
            UserEvent::Unlisted { .. } => self.news.push_back(GatewayNews::Unlisted),
            _ => {}
        }
    }

    /// Hands reports and news on; `false` while a report found no room. `told`: each report of an order of ours.
    pub fn flush(&mut self, mut told: impl FnMut(ClientOrderId)) -> bool {
        while let Some(report) = self.reports.front().copied() {
            if self.reports_out.push(report).is_err() {
                return false;
            }
            self.reports.pop_front();
            if let Some(id) = report.origin.ours() {
                told(id);
            }
        }
        while let Some(news) = self.news.front().copied() {
            if self.news_out.push(news).is_err() {
                break;
            }
            self.news.pop_front();
        }
        true
    }
}

/// Both connections as they are read.
pub struct Reader {
    user: WsConn,
    decoder: UserDecoder,
    /// The user stream's path has come.
    has_path: bool,
    /// What the control thread knows that there is to wait for.
    held: Holds,
}

impl Reader {
    /// Of the user stream, whose path comes with the listen key.
    pub fn new(user: WsConn, decoder: UserDecoder) -> Self {
        Self { user, decoder, has_path: false, held: Holds::default() }
    }

    /// Filters have changed.
    pub fn set_symbols(&mut self, symbols: Symbols) {
        self.decoder.set_symbols(symbols);
    }

    /// A new connection even where the path is the same: it is wanted because the open one is dead.
    pub fn set_user_path(&mut self, path: &str) {
        self.user.set_path(path);
        self.has_path = true;
        if self.user.is_open() {
            self.user.replace();
        }
        self.user.open();
    }

    /// What the control thread knows that there is to wait for.
    pub fn set_held(&mut self, holds: Holds) {
        self.held = holds;
    }

    /// What grew since, and a user stream that says nothing of an acknowledged order.
    pub fn housekeep(&mut self, core: &mut Gateway, outbound: &mut Outbound, now: Nanos) {
        let holds = core.limits().holds();
        if self.held != holds {
            self.held = holds;
            outbound.news(GatewayNews::Hold(holds));
        }
        if self.has_path && outbound.echo.is_overdue(now) {
            let heard = outbound.echo.has_heard();
            outbound.news(GatewayNews::UserStreamMute { heard });
        }
    }

    /// Reads the order connection.
    pub fn poll_api(core: &mut Gateway, api: &mut WsConn, outbound: &mut Outbound, now: Nanos) -> bool {
        let activity = api.poll(now, &mut |frame, at, _| {
            if core.on_frame(frame, at, &mut |event| outbound.gateway(event, at)).is_err() {
                tracing::warn!("unreadable reply on the order connection");
            }
        });
        match activity.change {
            Some(Change::Opened) => {
                core.on_open();
                outbound.news.push_back(GatewayNews::OrderPath(true));
            }
            Some(Change::Replaced) => core.on_open(),
            Some(Change::Lost(ref reason)) => {
                tracing::warn!(%reason, "order connection lost");
                core.on_close(&mut |event| outbound.gateway(event, now));
                outbound.news.push_back(GatewayNews::OrderPath(false));
            }
            Some(Change::Failed(ref reason)) => tracing::warn!(%reason, "order connection refused"),
            None => {}
        }
        core.poll(now, &mut |event| outbound.gateway(event, now));
        if api.is_open() {
            while let Some(frame) = core.next_frame(now, &mut |event| outbound.gateway(event, now)) {
                if api.send(frame).is_err() {
                    break;
                }
            }
        }
        activity.read || activity.frames > 0 || activity.change.is_some()
    }

    /// Reads the user stream.
    pub fn poll_user(&mut self, outbound: &mut Outbound, now: Nanos) -> bool {
        if !self.has_path {
            return false;
        }
        let Self { user, decoder, .. } = self;
        let activity = user.poll(now, &mut |frame, _, _| match decoder.decode(frame) {
            Ok(events) => events.iter().for_each(|event| outbound.user(event)),
            Err(error) => {
                // A fact may be in it: the venue is asked for the whole state.
                tracing::warn!(%error, "unreadable user data frame");
                outbound.news.push_back(GatewayNews::Reconcile);
            }
        });
        match activity.change {
            Some(Change::Opened) => outbound.news.push_back(GatewayNews::UserStream(true)),
            Some(Change::Replaced) => {
                // The successor tells nothing of what was before it.
                outbound.echo.interrupted();
                outbound.news.push_back(GatewayNews::UserStreamReplaced);
            }
            Some(Change::Lost(ref reason)) => {
                tracing::warn!(%reason, "user stream lost");
                outbound.echo.interrupted();
                outbound.news.push_back(GatewayNews::UserStream(false));
            }
            Some(Change::Failed(ref reason)) => tracing::warn!(%reason, "user stream refused"),
            None => {}
        }
        activity.read || activity.frames > 0 || activity.change.is_some()
    }
}
