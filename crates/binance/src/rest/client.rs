//! The client: one request function that all endpoints share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use market::{ExecType, ExecutionReport, Instrument, Nanos, OrderRequest, SymbolId, Trade};
use secrecy::SecretString;

use super::account::{
    self, AccountConfig, AccountSummary, ApiRestrictions, Balance, CommissionRate, Leverage, Position, Row,
    SymbolConfig,
};
use super::error::{RestError, TransportKind};
use super::instruments::{ExchangeInfo, parse_exchange_info, parse_perpetuals};
use super::transport::{HttpFailure, HttpRequest, HttpResponse, Transport};
use super::unlisted::{self, UnlistedOrder};
use crate::clock::ServerClock;
use crate::encode::{Query, Sink, rest_query, window_left, window_of};
use crate::errors::{Action, classify};
use crate::hosts::{Endpoint, Hosts};
use crate::json::{Reader, Scalar};
use crate::limits::{Cost, LimitKind, RateLimits, Ticket, Urgency, Wait, interval_ns};
use crate::reply::ErrorBody;
use crate::report::{Fact, FrameError, OrderRow, Source, reply_type};
use crate::sign::Signer;
use crate::snapshots::depth_weight;
use crate::symbols::Symbols;

/// Our clock: monotonic nanoseconds that began at the wall clock's time.
pub type Clock = Arc<dyn Fn() -> Nanos + Send + Sync>;

/// Settings of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestConfig {
    /// Receive window of signed requests other than orders, ms; the most that an order may have.
    pub recv_window_ms: u32,
    /// Time for one request, ns.
    pub timeout: u64,
    /// Largest answer that is read, bytes.
    pub max_body: usize,
}

impl Default for RestConfig {
    fn default() -> Self {
        Self { recv_window_ms: 5_000, timeout: 10 * Nanos::SECOND, max_body: 32 << 20 }
    }
}

/// A pause that the venue has set counts as over this long after its end: its clock is only estimated.
const WINDOW_MARGIN: Duration = Duration::from_millis(100);
/// The same after a ban that did not end in time, at most.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// Between two attempts of a request that the venue refused for its limit.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);

struct State {
    clock: ServerClock,
    limits: RateLimits,
}

/// A REST client of one venue and (for signed endpoints) one key.
pub struct RestClient {
    transport: Arc<dyn Transport>,
    base: String,
    host: String,
    account: Option<String>,
    signer: Option<Signer>,
    config: RestConfig,
    now: Clock,
    state: Arc<Mutex<State>>,
    patient: AtomicBool,
}

/// What an endpoint is.
pub(super) struct Call {
    method: &'static str,
    /// Method and path, as errors name it.
    name: &'static str,
    auth: Auth,
    cost: Cost,
    urgency: Urgency,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    None,
    Header,
    Signed,
}

pub(super) const fn call(
    method: &'static str,
    name: &'static str,
    auth: Auth,
    weight: u32,
    urgency: Urgency,
) -> Call {
    Call { method, name, auth, cost: Cost { weight, orders: 0 }, urgency }
}

/// A request that counts as an order and has no weight.
pub(super) const fn placing(name: &'static str, urgency: Urgency) -> Call {
    Call { method: "POST", name, auth: Auth::Signed, cost: Cost { weight: 0, orders: 1 }, urgency }
}

impl Call {
    fn path(&self) -> &'static str {
        self.name.split_once(' ').map_or(self.name, |(_, path)| path)
    }
}

impl RestClient {
    /// A client of `hosts`, whose requests `transport` carries.
    pub fn new(
        hosts: &Hosts,
        signer: Option<Signer>,
        config: RestConfig,
        transport: Arc<dyn Transport>,
        now: Clock,
    ) -> Result<Self, RestError> {
        let endpoint = Endpoint::parse(&hosts.rest)?;
        Ok(Self {
            transport,
            base: hosts.rest.trim_end_matches('/').to_owned(),
            host: endpoint.to_string(),
            account: hosts.account.clone(),
            signer,
            config,
            now,
            state: Arc::new(Mutex::new(State { clock: ServerClock::new(), limits: RateLimits::new() })),
            patient: AtomicBool::new(false),
        })
    }

    /// Knows what `other` knows of the venue, and tells it: the limits, a ban and the clock are those of the address.
    #[must_use]
    pub fn sharing(mut self, other: &Self) -> Self {
        self.state = Arc::clone(&other.state);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is held.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Settings.
    pub const fn config(&self) -> &RestConfig {
        &self.config
    }

    /// The venue's clock as estimated so far.
    pub fn clock(&self) -> ServerClock {
        self.state().clock.clone()
    }

    /// Forgets the venue's time: it said that our estimate is wrong.
    pub fn reset_clock(&self) {
        self.state().clock.reset();
    }

    /// A look at the rate limits, or a change to them.
    pub fn with_limits<T>(&self, f: impl FnOnce(&mut RateLimits) -> T) -> T {
        f(&mut self.state().limits)
    }

    /// One request. −1021 says that it was not executed because of our clock: it is set and the request sent once
    /// more. No other error is retried here.
    pub(super) async fn send(&self, call: Call, params: impl Fn(&mut Query)) -> Result<Vec<u8>, RestError> {
        match self.send_once(&call, &params).await {
            Err(e) if e.action() == Action::SyncClockAndRetryOnce => {
                self.reset_clock();
                self.sync_clock(3).await?;
                self.send_once(&call, &params).await
            }
            other => other,
        }
    }

    /// While patient, a request that finds its rate limit used up, or is refused for it, waits for the next window
    /// instead of failing: for a start, which may follow others on the same address. Each waits by itself, for the room
    /// of its own class: what protects a position is not behind what reads history. So it does with a ban: whoever ends over it
    /// is started again, asks again, and every request lengthens it.
    pub fn set_patient(&self, patient: bool) {
        self.patient.store(patient, Ordering::Relaxed);
    }

    async fn send_once(&self, call: &Call, params: &impl Fn(&mut Query)) -> Result<Vec<u8>, RestError> {
        let mut margin = WINDOW_MARGIN;
        loop {
            match self.attempt(call, params).await {
                Err(e) if self.waits_after(call.name, &e, &mut margin).await => {}
                result => return result,
            }
        }
    }

    /// Waits if the client is patient and this error is one of a window or a ban that ends; `false`: it is final.
    /// `margin`: how long after that end it counts as over.
    async fn waits_after(&self, name: &'static str, error: &RestError, margin: &mut Duration) -> bool {
        let banned = error.action() == Action::WaitForBan;
        let ends = banned || error.action() == Action::WaitForWindow;
        if !ends || !self.patient.load(Ordering::Relaxed) {
            return false;
        }
        let holds = self.with_limits(|limits| limits.holds());
        let until = match error {
            RestError::Wait(Wait::Window { until } | Wait::Ban { until }) => *until,
            // The venue's own refusal. To ask again before its time, as cancels may, would lengthen it.
            _ if banned => holds.banned_until,
            _ => holds.weight_until.max(holds.orders_until),
        };
        let server = self.state().clock.server_time((self.now)());
        let wait = Duration::from_nanos(until.0.saturating_sub(server.0)).max(SHORTEST_WAIT);
        let why = if banned { "the venue bans this address" } else { "the venue's rate limit is used up" };
        tracing::warn!("{name}: {why}; waiting {:.0} s", wait.as_secs_f64());
        tokio::time::sleep(wait + *margin).await;
        if banned {
            // The venue's clock may not be known yet, and ours be ahead of it: who asks too early is banned anew.
            *margin = (*margin * 4).min(LONGEST_MARGIN);
        }
        true
    }

    /// Signed anew at each attempt: the timestamp must be of the moment of sending.
    async fn attempt(&self, call: &Call, params: &impl Fn(&mut Query)) -> Result<Vec<u8>, RestError> {
        let mut query = Query::default();
        params(&mut query);
        if call.auth == Auth::Signed {
            let signer = self.signer.as_ref().ok_or(RestError::NoKey(call.name))?;
            query.int("recvWindow", self.config.recv_window_ms.into());
            query.int("timestamp", self.timestamp_ms());
            query.sign(signer);
        }
        self.exchange(call, &self.base, query.0).await
    }

    fn timestamp_ms(&self) -> u64 {
        let now = (self.now)();
        self.state().clock.server_time(now).millis()
    }

    /// Sends a finished query and reads the answer.
    async fn exchange(&self, call: &Call, base: &str, query: String) -> Result<Vec<u8>, RestError> {
        let server = self.state().clock.server_time((self.now)());
        let ticket = self.state().limits.take(call.cost, call.urgency, server)?;
        let api_key = match (call.auth, &self.signer) {
            (Auth::None, _) => None,
            (_, Some(signer)) => Some(signer.api_key().to_owned()),
            (_, None) => return Err(RestError::NoKey(call.name)),
        };
        let max_body = self.config.max_body;
        let (method, path) = (call.method, call.path());
        let request = HttpRequest { method, base: base.to_owned(), path, query, api_key, max_body };
        let limit = Duration::from_nanos(self.config.timeout);
        let exchanged = match tokio::time::timeout(limit, self.transport.exchange(request)).await {
            Ok(exchanged) => exchanged,
            Err(_) => Err(HttpFailure::Transport(TransportKind::TimedOut, String::new())),
        };
        match exchanged {
            Ok(response) => self.receive(call, ticket, response),
            Err(HttpFailure::TooLarge) => {
                Err(RestError::answer(call.name, format!("more than {max_body} bytes")))
            }
            Err(HttpFailure::Transport(kind, why)) => {
                Err(RestError::Transport { endpoint: call.name, host: self.host.clone(), kind, why })
            }
        }
    }

    fn receive(&self, call: &Call, ticket: Ticket, response: HttpResponse) -> Result<Vec<u8>, RestError> {
        let status = response.status;
        let server = self.state().clock.server_time((self.now)());
        observe(&mut self.state().limits, &response.headers, ticket, server);
        let retry_after = response
            .header("retry-after")
            .and_then(|v| v.parse::<u64>().ok())
            .map(|s| s.saturating_mul(Nanos::SECOND));
        if (300..400).contains(&status) {
            return Err(RestError::Redirect { endpoint: call.name, host: self.host.clone(), status });
        }
        if status == 200 {
            return Ok(response.body);
        }
        Err(self.refusal(call.name, status, &response.body, retry_after, server))
    }

    fn refusal(
        &self,
        endpoint: &'static str,
        status: u16,
        body: &[u8],
        retry_after: Option<u64>,
        server: Nanos,
    ) -> RestError {
        let mut error = ErrorBody::default();
        let parsed = Reader::new(body).and_then(|r| r.document(&mut |r, key| error.field(r, key)));
        let plain = String::from_utf8_lossy(body);
        let (code, text) = match parsed {
            Ok(()) => (error.code(), error.msg.text().unwrap_or("")),
            Err(_) => (0, plain.as_ref()),
        };
        let rule = classify(status, code, text);
        self.state().limits.refused(rule, text, retry_after, server);
        RestError::Venue { endpoint, status, code, text: one_line(text), rule }
    }

    /// GET /fapi/v1/time `samples` times; the clock keeps the best. Returns the clock.
    pub async fn sync_clock(&self, samples: u32) -> Result<ServerClock, RestError> {
        const NAME: &str = "GET /fapi/v1/time";
        let endpoint = call("GET", NAME, Auth::None, 1, Urgency::Exit);
        for _ in 0..samples.max(1) {
            // A wait for the limit is no part of the round trip.
            let mut margin = WINDOW_MARGIN;
            let (sent, body) = loop {
                let sent = (self.now)();
                match self.exchange(&endpoint, &self.base, String::new()).await {
                    Err(e) if self.waits_after(NAME, &e, &mut margin).await => {}
                    result => break (sent, result?),
                }
            };
            let received = (self.now)();
            let row =
                Row::document(&["serverTime"], &body).map_err(|e| RestError::answer(NAME, e.to_string()))?;
            let server = row.need(NAME, "serverTime", Scalar::u64).map_err(RestError::frame(NAME))?;
            self.state().clock.sample(sent, received, server);
        }
        Ok(self.clock())
    }

    /// The instruments of `wanted`, and the announced rate limits (which are applied here too).
    pub async fn exchange_info(&self, wanted: &[&str]) -> Result<ExchangeInfo, RestError> {
        let body = self
            .send(call("GET", "GET /fapi/v1/exchangeInfo", Auth::None, 1, Urgency::Start), |_| {})
            .await?;
        let info = parse_exchange_info(&body, wanted)?;
        info.apply_limits(&mut self.state().limits);
        Ok(info)
    }

    /// Names of the perpetuals in `quote` that trade now, in the venue's order.
    pub async fn perpetuals(&self, quote: &str) -> Result<Vec<String>, RestError> {
        let body = self
            .send(call("GET", "GET /fapi/v1/exchangeInfo", Auth::None, 1, Urgency::Start), |_| {})
            .await?;
        Ok(parse_perpetuals(&body, quote)?)
    }

    /// A depth snapshot, as received. `limit` is 5, 10, 20, 50, 100, 500 or 1000; what it is for says how urgent it is
    /// ([`crate::snapshots::Purpose::urgency`]).
    pub async fn depth(&self, symbol: &str, limit: u32, urgency: Urgency) -> Result<Vec<u8>, RestError> {
        let weight = depth_weight(limit);
        self.send(call("GET", "GET /fapi/v1/depth", Auth::None, weight, urgency), |q| {
            q.text("symbol", symbol);
            q.int("limit", limit.into());
        })
        .await
    }

    /// Creates the listen key, or returns the live one, good for 60 minutes.
    pub async fn create_listen_key(&self) -> Result<SecretString, RestError> {
        const NAME: &str = "POST /fapi/v1/listenKey";
        let body = self.send(call("POST", NAME, Auth::Header, 1, Urgency::Exit), |_| {}).await?;
        let row = Row::document(&["listenKey"], &body).map_err(|e| RestError::answer(NAME, e.to_string()))?;
        let key = row.need(NAME, "listenKey", Scalar::filled).map_err(RestError::frame(NAME))?;
        if key.len() > 512 || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(RestError::answer(NAME, "the listen key has characters that no listen key has"));
        }
        Ok(key.into())
    }

    /// Extends the listen key by 60 minutes. −1125: it is gone, create a new one.
    pub async fn keep_listen_key(&self) -> Result<(), RestError> {
        let endpoint = call("PUT", "PUT /fapi/v1/listenKey", Auth::Header, 1, Urgency::Exit);
        self.send(endpoint, |_| {}).await.map(|_| ())
    }

    /// Ends the user stream.
    pub async fn close_listen_key(&self) -> Result<(), RestError> {
        self.send(call("DELETE", "DELETE /fapi/v1/listenKey", Auth::Header, 1, Urgency::Exit), |_| {})
            .await
            .map(|_| ())
    }

    /// Balances.
    pub async fn balances(&self) -> Result<Vec<Balance>, RestError> {
        const NAME: &str = "GET /fapi/v3/balance";
        let body = self.send(call("GET", NAME, Auth::Signed, 5, Urgency::Reconcile), |_| {}).await?;
        account::balances(&body).map_err(RestError::frame(NAME))
    }

    /// Totals of the account.
    pub async fn account(&self, urgency: Urgency) -> Result<AccountSummary, RestError> {
        const NAME: &str = "GET /fapi/v3/account";
        let body = self.send(call("GET", NAME, Auth::Signed, 5, urgency), |_| {}).await?;
        account::summary(&body).map_err(RestError::frame(NAME))
    }

    /// Positions, of all symbols or one. Symbols that are not in `symbols` are told too. For a comparison with the venue
    /// the urgency is [`Urgency::Reconcile`]; where orders are being cancelled and positions closed, [`Urgency::Exit`].
    pub async fn positions(
        &self,
        symbols: &Symbols,
        symbol: Option<&str>,
        urgency: Urgency,
    ) -> Result<Vec<Position>, RestError> {
        const NAME: &str = "GET /fapi/v3/positionRisk";
        let endpoint = call("GET", NAME, Auth::Signed, 5, urgency);
        let body = self.send(endpoint, |q| of(q, symbol)).await?;
        account::positions(&body, symbols).map_err(RestError::frame(NAME))
    }

    /// Open orders as reports, of all symbols (weight 40) or one. Orders of symbols that are not in `symbols` are
    /// the second value. Urgency as of [`Self::positions`].
    pub async fn open_orders(
        &self,
        symbols: &Symbols,
        symbol: Option<&str>,
        urgency: Urgency,
    ) -> Result<(Vec<ExecutionReport>, Vec<UnlistedOrder>), RestError> {
        const NAME: &str = "GET /fapi/v1/openOrders";
        let weight = if symbol.is_some() { 1 } else { 40 };
        let endpoint = call("GET", NAME, Auth::Signed, weight, urgency);
        let body = self.send(endpoint, |q| of(q, symbol)).await?;
        let (rows, beside) = order_rows(NAME, &body, symbols)?;
        let beside = match beside {
            0 => Vec::new(),
            _ => unlisted::orders(NAME, &body, |name| symbols.id(name).is_some())?,
        };
        Ok((rows.into_iter().map(|(_, report)| report).collect(), beside))
    }

    /// An order by the venue's id: whose it was, where a fill tells no more than that. Finished orders are forgotten
    /// after 90 days, those without a fill after 3.
    pub async fn order_by_id(
        &self,
        symbols: &Symbols,
        symbol: &str,
        order_id: u64,
        urgency: Urgency,
    ) -> Result<ExecutionReport, RestError> {
        const NAME: &str = "GET /fapi/v1/order";
        let body = self.send(call("GET", NAME, Auth::Signed, 1, urgency), |q| {
            q.text("symbol", symbol);
            q.int("orderId", order_id);
        });
        order_row(NAME, &body.await?, symbols)
    }

    /// Aggregate trades of an instrument from an id on, at most 1000: the backfill of a gap in the stream.
    pub async fn agg_trades(&self, instrument: &Instrument, from_id: u64) -> Result<Vec<Trade>, RestError> {
        const NAME: &str = "GET /fapi/v1/aggTrades";
        let body = self.send(call("GET", NAME, Auth::None, 20, Urgency::Audit), |q| {
            q.text("symbol", &instrument.symbol);
            q.int("fromId", from_id);
            q.int("limit", 1000);
        });
        account::agg_trades(&body.await?, instrument).map_err(RestError::frame(NAME))
    }

    /// An order request over REST: the fallback where the WebSocket API is not there. An error of class `Unknown`
    /// leaves the order's fate open. `CancelAll` is only acknowledged (no report): the orders close one by one, told
    /// by the user stream. The venue executes it from now within `recv_window_ms`, the order's own window and the
    /// configured one, whichever is shortest, or never; 0: it is too late, and nothing is sent.
    pub async fn order(
        &self,
        request: &OrderRequest,
        symbols: &Symbols,
        recv_window_ms: u32,
    ) -> Result<Option<ExecutionReport>, RestError> {
        let endpoint = order_call(request);
        let window_ms = window_of(request, recv_window_ms.min(self.config.recv_window_ms));
        let since = (self.now)();
        let body = match self.order_once(&endpoint, request, symbols, window_ms).await {
            // Not executed, and the reason is ours: once more, under the same client order id, in what is left of its
            // window.
            Err(e) if e.action() == Action::SyncClockAndRetryOnce => {
                self.reset_clock();
                self.sync_clock(3).await?;
                let left_ms = window_left(window_ms, since, (self.now)());
                self.order_once(&endpoint, request, symbols, left_ms).await?
            }
            other => other?,
        };
        if let OrderRequest::CancelAll(_) = request {
            return Ok(None);
        }
        let mut report = order_row(endpoint.name, &body, symbols)?;
        report.exec_type = reply_type(Some(request), report.status);
        Ok(Some(report))
    }

    async fn order_once(
        &self,
        endpoint: &Call,
        request: &OrderRequest,
        symbols: &Symbols,
        window_ms: u32,
    ) -> Result<Vec<u8>, RestError> {
        if window_ms == 0 {
            return Err(RestError::TooLate);
        }
        let signer = self.signer.as_ref().ok_or(RestError::NoKey(endpoint.name))?;
        let query = rest_query(request, symbols, signer, window_ms, self.timestamp_ms());
        self.exchange(endpoint, &self.base, query.ok_or(RestError::NoInstrument)?).await
    }

    /// Cancels all orders of an instrument (acknowledged at once, done one by one).
    pub async fn cancel_all(&self, symbol: SymbolId, symbols: &Symbols) -> Result<(), RestError> {
        let request = OrderRequest::CancelAll(symbol);
        self.order(&request, symbols, self.config.recv_window_ms).await.map(|_| ())
    }

    /// Sets the dead-man switch of a symbol: all its orders are cancelled unless this is called again within
    /// `countdown_ms`; 0 switches it off.
    pub async fn countdown_cancel_all(&self, symbol: &str, countdown_ms: u64) -> Result<(), RestError> {
        const NAME: &str = "POST /fapi/v1/countdownCancelAll";
        let body = self.send(call("POST", NAME, Auth::Signed, 10, Urgency::Cancel), |q| {
            q.text("symbol", symbol);
            q.int("countdownTime", countdown_ms);
        });
        body.await.map(|_| ())
    }

    /// Sets the leverage of a symbol.
    pub async fn set_leverage(&self, symbol: &str, leverage: u32) -> Result<Leverage, RestError> {
        const NAME: &str = "POST /fapi/v1/leverage";
        let body = self.send(call("POST", NAME, Auth::Signed, 1, Urgency::Start), |q| {
            q.text("symbol", symbol);
            q.int("leverage", leverage.into());
        });
        account::leverage(&body.await?).map_err(RestError::frame(NAME))
    }

    /// Is the account in hedge mode?
    pub async fn dual_side(&self) -> Result<bool, RestError> {
        const NAME: &str = "GET /fapi/v1/positionSide/dual";
        let body = self.send(call("GET", NAME, Auth::Signed, 30, Urgency::Start), |_| {}).await?;
        let row = Row::document(&["dualSidePosition"], &body)
            .map_err(|e| RestError::answer(NAME, e.to_string()))?;
        row.need(NAME, "dualSidePosition", Scalar::bool).map_err(RestError::frame(NAME))
    }

    /// How the account is set.
    pub async fn account_config(&self) -> Result<AccountConfig, RestError> {
        const NAME: &str = "GET /fapi/v1/accountConfig";
        let body = self.send(call("GET", NAME, Auth::Signed, 5, Urgency::Start), |_| {}).await?;
        account::account_config(&body).map_err(RestError::frame(NAME))
    }

    /// How symbols are set.
    pub async fn symbol_configs(&self, symbol: Option<&str>) -> Result<Vec<SymbolConfig>, RestError> {
        const NAME: &str = "GET /fapi/v1/symbolConfig";
        let body = self.send(call("GET", NAME, Auth::Signed, 5, Urgency::Start), |q| of(q, symbol)).await?;
        account::symbol_configs(&body).map_err(RestError::frame(NAME))
    }

    /// The account's fees for a symbol.
    pub async fn commission_rate(&self, symbol: &str) -> Result<CommissionRate, RestError> {
        const NAME: &str = "GET /fapi/v1/commissionRate";
        let body = self
            .send(call("GET", NAME, Auth::Signed, 20, Urgency::Start), |q| q.text("symbol", symbol))
            .await?;
        account::commission_rate(&body).map_err(RestError::frame(NAME))
    }

    /// What the key may do; `None` where the venue cannot be asked (testnet, local).
    pub async fn api_restrictions(&self) -> Result<Option<ApiRestrictions>, RestError> {
        const NAME: &str = "GET /sapi/v1/account/apiRestrictions";
        let (Some(base), Some(signer)) = (&self.account, &self.signer) else { return Ok(None) };
        let mut query = Query::default();
        query.int("recvWindow", self.config.recv_window_ms.into());
        query.int("timestamp", self.timestamp_ms());
        query.sign(signer);
        let body = self.exchange(&call("GET", NAME, Auth::Signed, 1, Urgency::Start), base, query.0).await?;
        account::restrictions(&body).map(Some).map_err(RestError::frame(NAME))
    }
}

/// A reply that is one order.
fn order_row(name: &'static str, body: &[u8], symbols: &Symbols) -> Result<ExecutionReport, RestError> {
    let mut reader = Reader::new(body).map_err(|e| RestError::answer(name, e.to_string()))?;
    let row =
        OrderRow::read(Source::Reply, &mut reader).map_err(|e| RestError::answer(name, e.to_string()))?;
    row.report_of("order", symbols, Fact::State(ExecType::Status)).map_err(RestError::frame(name))
}

/// A list of orders as reports, each with its time of creation, venue ms; those of symbols that are not in `symbols` are
/// only counted.
pub(super) fn order_rows(
    name: &'static str,
    body: &[u8],
    symbols: &Symbols,
) -> Result<(Vec<(u64, ExecutionReport)>, usize), RestError> {
    let mut rows = Vec::new();
    let read = Reader::new(body).and_then(|r| {
        r.list(&mut |r| {
            rows.push(OrderRow::read(Source::Reply, r)?);
            Ok(())
        })
    });
    read.map_err(|e| RestError::answer(name, e.to_string()))?;
    let (mut reports, mut unlisted) = (Vec::new(), 0);
    for row in rows {
        match row.report_of("order", symbols, Fact::State(ExecType::Status)) {
            Ok(report) => reports.push((row.created_ms().unwrap_or(report.ts_event.millis()), report)),
            Err(FrameError::UnlistedSymbol { .. }) => unlisted += 1,
            Err(e) => return Err(RestError::frame(name)(e)),
        }
    }
    Ok((reports, unlisted))
}

fn of(query: &mut Query, symbol: Option<&str>) {
    if let Some(symbol) = symbol {
        query.text("symbol", symbol);
    }
}

const fn order_call(request: &OrderRequest) -> Call {
    let order = Cost { weight: 0, orders: 1 };
    match request {
        OrderRequest::New(o) => {
            let urgency = if o.reduce_only { Urgency::Exit } else { Urgency::Entry };
            Call { method: "POST", name: "POST /fapi/v1/order", auth: Auth::Signed, cost: order, urgency }
        }
        OrderRequest::Replace(_) => {
            let urgency = Urgency::Exit;
            Call { method: "PUT", name: "PUT /fapi/v1/order", auth: Auth::Signed, cost: order, urgency }
        }
        OrderRequest::Cancel(_) => call("DELETE", "DELETE /fapi/v1/order", Auth::Signed, 1, Urgency::Cancel),
        OrderRequest::Query(_) => call("GET", "GET /fapi/v1/order", Auth::Signed, 1, Urgency::Exit),
        OrderRequest::CancelAll(_) => {
            call("DELETE", "DELETE /fapi/v1/allOpenOrders", Auth::Signed, 1, Urgency::Cancel)
        }
    }
}

/// A text from outside as part of a message: one line, at most 200 characters, nothing a terminal would obey.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

/// Takes the venue's own counts from headers such as `X-MBX-USED-WEIGHT-1M` and `X-MBX-ORDER-COUNT-10S`.
fn observe(limits: &mut RateLimits, headers: &[(String, String)], ticket: Ticket, server: Nanos) {
    for (name, value) in headers {
        let (kind, window) = if let Some(w) = name.strip_prefix("x-mbx-used-weight-") {
            (LimitKind::Weight, w)
        } else if let Some(w) = name.strip_prefix("x-mbx-order-count-") {
            (LimitKind::Orders, w)
        } else {
            continue;
        };
        let split = window.len().saturating_sub(1);
        let Some((count, unit)) = window.split_at_checked(split) else { continue };
        let length = count.parse().ok().and_then(|n| interval_ns(&unit.to_ascii_uppercase(), n));
        if let (Some(length), Ok(used)) = (length, value.parse()) {
            limits.observe(kind, length, used, ticket, server);
        }
    }
}
