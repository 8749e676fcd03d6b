//! Order requests to signed bytes on the WebSocket API, and the venue's words about orders back to the router.
//!
//! Two sockets are polled here: the WebSocket API (requests and replies) and the user data stream. Both tell of the
//! same orders; the router takes each fact once, whichever comes first.

use std::collections::VecDeque;

use binance::gateway::{Gateway, GatewayEvent, Outgoing};
use binance::limits::Holds;
use binance::net::{Change, WsConn};
use binance::user::{Name, UserDecoder, UserEvent};
use binance::user_stream::Echo;
use market::{ExecType, ExecutionReport, Nanos, OrderRequest, OrderStatus, SymbolId};
use runtime::clock::Clock;
use runtime::latency::Probe;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};

use super::{Hop, StampedRequest};
use crate::roles::lease::Fence;

/// What the control thread tells the gateway.
#[derive(Debug)]
pub enum GatewayCommand {
    /// The venue's clock, taken anew.
    Clock(Box<binance::clock::ServerClock>),
    /// The user stream's path with a fresh listen key; reconnects if it is another one.
    UserPath(String),
    /// A report that came over REST.
    Report(Box<ExecutionReport>),
    /// Filters have changed: the same instruments, another table.
    Symbols(binance::Symbols),
    /// What REST was told to wait for.
    Hold(Holds),
}

/// What the gateway tells the control thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GatewayNews {
    /// Can requests be sent?
    OrderPath(bool),
    /// Do reports arrive?
    UserStream(bool),
    /// A successor of the open user stream has taken over.
    UserStreamReplaced,
    /// The venue acknowledged an order, and the user stream is silent about it.
    UserStreamMute {
        /// It has told of an order before.
        heard: bool,
    },
    /// An order was sent in this instrument: its fills belong to the next comparison.
    Traded(SymbolId),
    /// What the venue told us to wait for, whenever it grew.
    Hold(Holds),
    /// Facts may have been missed: compare with the venue.
    Reconcile,
    /// The listen key has expired: a new one is needed.
    ListenKeyExpired,
    /// A request was not sent: the lease is not ours any more.
    Fenced,
    /// The clock is off: take the venue's time.
    SyncClock,
    /// The WebSocket API does not have this request: send it over REST.
    Rest(OrderRequest),
    /// The venue refused something.
    Refused {
        /// Venue's code.
        code: i32,
    },
    /// A balance changed by something else than an order: funding, transfers.
    Income {
        /// Why, in the venue's words (`FUNDING_FEE`, `DEPOSIT`, …).
        reason: Name,
        /// Asset.
        asset: Name,
        /// By this much.
        change: market::Amount,
    },
    /// A commission was paid in another asset than the quote asset.
    OtherCommission {
        /// Asset.
        asset: Name,
        /// Amount of it.
        amount: f64,
    },
    /// Leverage or margin mode were changed from outside.
    AccountChanged,
    /// Somebody trades a symbol we do not follow.
    Unlisted,
    /// The venue warns of liquidation.
    MarginCall,
}

/// The stage; the rings are named by their ends.
pub struct GatewayStage {
    /// Requests to frames, replies to reports.
    pub core: Gateway,
    /// Nothing is sent behind it.
    pub fence: Fence,
    /// WebSocket API.
    pub api: WsConn,
    /// User data stream.
    pub user: WsConn,
    /// User data frames to events.
    pub decoder: UserDecoder,
    /// Is the user stream's path set?
    pub user_path: String,
    /// Lossless.
    pub router_to_gateway: Rx<StampedRequest>,
    /// Lossless.
    pub control_to_gateway: Rx<GatewayCommand>,
    /// Lossless: what finds no slot waits in `reports`.
    pub gateway_to_router: Tx<ExecutionReport>,
    /// News.
    pub gateway_to_control: Tx<GatewayNews>,
    /// Reports and news on their way out.
    pub outbound: Outbound,
    /// What the control thread knows that there is to wait for.
    pub held: Holds,
    /// When each of the last orders was written, for the time to the venue's first word.
    pub written: VecDeque<(market::ClientOrderId, u64)>,
    /// For latencies.
    pub clock: Clock,
    /// Latencies.
    pub probe: Probe,
}

/// Reports and news that wait for room in their rings.
#[derive(Debug)]
pub struct Outbound {
    /// Reports.
    pub reports: VecDeque<ExecutionReport>,
    /// News.
    pub news: VecDeque<GatewayNews>,
    /// Orders that the user stream has yet to tell of.
    pub echo: Echo,
}

impl Outbound {
    /// With room for `reports` before it must grow.
    pub fn new(reports: usize) -> Self {
        let (reports, news) = (VecDeque::with_capacity(reports), VecDeque::with_capacity(64));
        Self { reports, news, echo: Echo::default() }
    }

    fn gateway(&mut self, event: GatewayEvent, now: Nanos) {
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
}

/// Requests written in one duty cycle.
const BATCH: usize = 16;
/// Orders whose acknowledgement is waited for at one time, for the latency alone.
const WRITTEN: usize = 64;

impl GatewayStage {
    fn commands(&mut self) -> bool {
        let mut did = false;
        while let Some(command) = self.control_to_gateway.pop() {
            did = true;
            match command {
                GatewayCommand::Clock(clock) => self.core.clock_synced(&clock),
                GatewayCommand::UserPath(path) => self.set_user_path(path),
                GatewayCommand::Report(report) => self.outbound.reports.push_back(*report),
                GatewayCommand::Symbols(symbols) => {
                    self.core.set_symbols(symbols.clone());
                    self.decoder.set_symbols(symbols);
                }
                GatewayCommand::Hold(holds) => {
                    self.core.limits().hold(holds);
                    self.held = self.core.limits().holds();
                }
            }
        }
        did
    }

    /// A new connection even where the path is the same: it is wanted because the open one is dead.
    fn set_user_path(&mut self, path: String) {
        self.user.set_path(&path);
        self.user_path = path;
        if self.user.is_open() {
            self.user.replace();
        }
        self.user.open();
    }

    fn poll_api(&mut self, now: Nanos) -> bool {
        let Self { core, api, outbound, .. } = self;
        let activity = api.poll(now, &mut |frame, at| {
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
        let holds = core.limits().holds();
        if self.held != holds {
            self.held = holds;
            outbound.news.push_back(GatewayNews::Hold(holds));
        }
        activity.frames > 0 || activity.change.is_some()
    }

    fn poll_user(&mut self, now: Nanos) -> bool {
        if self.user_path.is_empty() {
            return false;
        }
        let Self { user, decoder, outbound, .. } = self;
        let activity = user.poll(now, &mut |frame, _| match decoder.decode(frame) {
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
        if outbound.echo.is_overdue(now) {
            let heard = outbound.echo.has_heard();
            outbound.news.push_back(GatewayNews::UserStreamMute { heard });
        }
        activity.frames > 0 || activity.change.is_some()
    }

    fn send(&mut self, stamped: &StampedRequest, now: Nanos) {
        let request = &stamped.request;
        if !self.fence.is_open(self.clock.now_ns()) {
            // Another node may act for this account by now; the control thread ends the run.
            return self.outbound.news.push_back(GatewayNews::Fenced);
        }
        if let OrderRequest::New(order) = request {
            self.outbound.news.push_back(GatewayNews::Traded(order.symbol));
        }
        let open = self.api.is_open();
        let window_ms = self.core.config().recv_window_ms;
        let made = if open {
            self.core.request(request, window_ms, now)
        } else {
            self.core.request_over_rest(request, now)
        };
        let outgoing = match made {
            Ok(outgoing) => outgoing,
            Err(refusal) => {
                tracing::warn!(%refusal, "request not sent");
                return self.outbound.reports.push_back(refusal.report(request));
            }
        };
        match outgoing {
            Outgoing::Rest(request) => self.outbound.news.push_back(GatewayNews::Rest(request)),
            Outgoing::Frame(frame) => {
                // A send that fails says nothing of the bytes before it; the deadline reports the request unknown.
                let sent = self.api.send(frame).is_ok();
                let written = self.clock.now_ns();
                if sent {
                    self.measure(stamped, written);
                }
            }
        }
    }

    fn measure(&mut self, stamped: &StampedRequest, written: u64) {
        self.probe.record(Hop::Gateway as u8, written - stamped.routed_ns);
        if let OrderRequest::New(order) = stamped.request {
            if stamped.recv_ns != 0 {
                self.probe.record(Hop::TickToOrder as u8, written - stamped.recv_ns);
            }
            if self.written.len() == WRITTEN {
                self.written.pop_front();
            }
            self.written.push_back((order.client_order_id, written));
        }
    }

    /// Hands reports and news on; `false` while a report found no room.
    fn flush(&mut self) -> bool {
        while let Some(report) = self.outbound.reports.front().copied() {
            if self.gateway_to_router.push(report).is_err() {
                return false;
            }
            self.outbound.reports.pop_front();
            let Some(id) = report.origin.ours() else { continue };
            if let Some(at) = self.written.iter().position(|(written, _)| *written == id) {
                let (_, written) = self.written.remove(at).expect("the place was just found");
                self.probe.record(Hop::Acknowledged as u8, self.clock.now_ns() - written);
            }
        }
        while let Some(news) = self.outbound.news.front().copied() {
            if self.gateway_to_control.push(news).is_err() {
                break;
            }
            self.outbound.news.pop_front();
        }
        true
    }
}

impl Stage for GatewayStage {
    fn name(&self) -> &'static str {
        "gateway"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        let now = Nanos(now_ns);
        let mut did = self.commands();
        if self.flush() {
            for _ in 0..BATCH {
                let Some(stamped) = self.router_to_gateway.pop() else { break };
                self.send(&stamped, now);
                did = true;
            }
        }
        did |= self.poll_api(now);
        did |= self.poll_user(now);
        self.flush();
        Work::from(did)
    }
}
