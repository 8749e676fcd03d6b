//! The client: one request function that all endpoints share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use market::{ExecType, ExecutionReport, Instrument, Nanos, OrderRequest, SymbolId, Trade};
use secrecy::SecretString;

use super::account::{self, Row};
use super::error::{RestError, TransportKind};
use super::instruments::{ExchangeInfo, parse_exchange_info, parse_perpetuals};
use super::transport::{HttpFailure, HttpRequest, HttpResponse, Transport};
use super::{
    AccountConfig, AccountSummary, ApiRestrictions, Balance, CommissionRate, Leverage, Position, SymbolConfig,
};
use crate::clock::ServerClock;
use crate::encode::{Query, Sink, rest_query};
use crate::errors::{Action, classify};
use crate::hosts::{Endpoint, Hosts};
use crate::json::{Reader, Scalar};
use crate::limits::{Cost, LimitKind, RateLimits, Urgency, Wait, interval_ns};
use crate::reply::ErrorBody;
use crate::report::{Fact, OrderRow, Source};
use crate::sign::Signer;
use crate::symbols::Symbols;

/// Our clock: monotonic nanoseconds that began at the wall clock's time.
pub type Clock = Arc<dyn Fn() -> Nanos + Send + Sync>;

/// Settings of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestConfig {
    /// Receive window of signed requests, ms.
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

/// A window counts as over this long after its end: the venue's clock is only estimated.
const WINDOW_MARGIN: Duration = Duration::from_millis(100);

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
    state: Mutex<State>,
    patient: AtomicBool,
}

/// What an endpoint is.
struct Call {
    method: &'static str,
    /// Method and path, as errors name it.
    name: &'static str,
    auth: Auth,
    cost: Cost,
    urgency: Urgency,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Auth {
    None,
    Header,
    Signed,
}

const fn call(method: &'static str, name: &'static str, auth: Auth, weight: u32) -> Call {
    Call { method, name, auth, cost: Cost { weight, orders: 0 }, urgency: Urgency::Entry }
}

impl Call {
    const fn urgent(mut self, urgency: Urgency) -> Self {
        self.urgency = urgency;
        self
    }

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
            state: Mutex::new(State { clock: ServerClock::new(), limits: RateLimits::new() }),
            patient: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is held.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
    async fn send(&self, call: Call, params: impl Fn(&mut Query)) -> Result<Vec<u8>, RestError> {
        match self.send_once(&call, &params).await {
            Err(e) if e.action() == Action::SyncClockAndRetryOnce => {
                self.reset_clock();
                self.sync_clock(3).await?;
                self.send_once(&call, &params).await
            }
            other => other,
        }
    }

    /// While patient, a request that finds its rate limit used up waits for the next window instead of failing: for a
    /// start, which may follow others on the same address. A ban is never waited for.
    pub fn set_patient(&self, patient: bool) {
        self.patient.store(patient, Ordering::Relaxed);
    }

    async fn send_once(&self, call: &Call, params: &impl Fn(&mut Query)) -> Result<Vec<u8>, RestError> {
        loop {
            match self.attempt(call, params).await {
                Err(RestError::Wait(Wait::Window { until })) if self.patient.load(Ordering::Relaxed) => {
                    let server = self.state().clock.server_time((self.now)());
                    let rest = Duration::from_nanos(until.0.saturating_sub(server.0)) + WINDOW_MARGIN;
                    tracing::warn!(
                        "{}: the venue's rate limit is used up; waiting {:.0} s for the next window",
                        call.name,
                        rest.as_secs_f64()
                    );
                    tokio::time::sleep(rest).await;
                }
                result => return result,
            }
        }
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
        self.state().limits.take(call.cost, call.urgency, server)?;
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
            Ok(response) => self.receive(call, response),
            Err(HttpFailure::TooLarge) => {
                Err(RestError::answer(call.name, format!("more than {max_body} bytes")))
            }
            Err(HttpFailure::Transport(kind, why)) => {
                Err(RestError::Transport { endpoint: call.name, host: self.host.clone(), kind, why })
            }
        }
    }

    fn receive(&self, call: &Call, response: HttpResponse) -> Result<Vec<u8>, RestError> {
        let status = response.status;
        let server = self.state().clock.server_time((self.now)());
        observe(&mut self.state().limits, &response.headers, server);
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
        let endpoint = call("GET", NAME, Auth::None, 1).urgent(Urgency::Cancel);
        for _ in 0..samples.max(1) {
            let sent = (self.now)();
            let body = self.exchange(&endpoint, &self.base, String::new()).await?;
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
        let body = self.send(call("GET", "GET /fapi/v1/exchangeInfo", Auth::None, 1), |_| {}).await?;
        let info = parse_exchange_info(&body, wanted)?;
        info.apply_limits(&mut self.state().limits);
        Ok(info)
    }

    /// Names of the perpetuals in `quote` that trade now, in the venue's order.
    pub async fn perpetuals(&self, quote: &str) -> Result<Vec<String>, RestError> {
        let body = self.send(call("GET", "GET /fapi/v1/exchangeInfo", Auth::None, 1), |_| {}).await?;
        Ok(parse_perpetuals(&body, quote)?)
    }

    /// A depth snapshot, as received. `limit` is 5, 10, 20, 50, 100, 500 or 1000.
    pub async fn depth(&self, symbol: &str, limit: u32) -> Result<Vec<u8>, RestError> {
        let weight = match limit {
            0..=50 => 2,
            51..=100 => 5,
            101..=500 => 10,
            _ => 20,
        };
        let endpoint = call("GET", "GET /fapi/v1/depth", Auth::None, weight);
        self.send(endpoint, |q| {
            q.text("symbol", symbol);
            q.int("limit", limit.into());
        })
        .await
    }

    /// Creates the listen key, or returns the live one, good for 60 minutes.
    pub async fn create_listen_key(&self) -> Result<SecretString, RestError> {
        const NAME: &str = "POST /fapi/v1/listenKey";
        let body = self.send(call("POST", NAME, Auth::Header, 1).urgent(Urgency::Exit), |_| {}).await?;
        let row = Row::document(&["listenKey"], &body).map_err(|e| RestError::answer(NAME, e.to_string()))?;
        let key = row.need(NAME, "listenKey", Scalar::filled).map_err(RestError::frame(NAME))?;
        if key.len() > 512 || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(RestError::answer(NAME, "the listen key has characters that no listen key has"));
        }
        Ok(key.into())
    }

    /// Extends the listen key by 60 minutes. −1125: it is gone, create a new one.
    pub async fn keep_listen_key(&self) -> Result<(), RestError> {
        let endpoint = call("PUT", "PUT /fapi/v1/listenKey", Auth::Header, 1).urgent(Urgency::Exit);
        self.send(endpoint, |_| {}).await.map(|_| ())
    }

    /// Ends the user stream.
    pub async fn close_listen_key(&self) -> Result<(), RestError> {
        self.send(call("DELETE", "DELETE /fapi/v1/listenKey", Auth::Header, 1), |_| {}).await.map(|_| ())
    }

    /// Balances.
    pub async fn balances(&self) -> Result<Vec<Balance>, RestError> {
        const NAME: &str = "GET /fapi/v3/balance";
        let body = self.send(call("GET", NAME, Auth::Signed, 5), |_| {}).await?;
        account::balances(&body).map_err(RestError::frame(NAME))
    }

    /// Totals of the account.
    pub async fn account(&self) -> Result<AccountSummary, RestError> {
        const NAME: &str = "GET /fapi/v3/account";
        let body = self.send(call("GET", NAME, Auth::Signed, 5), |_| {}).await?;
        account::summary(&body).map_err(RestError::frame(NAME))
    }

    /// Positions, of all symbols or one. Symbols that are not in `symbols` are told too.
    pub async fn positions(
        &self,
        symbols: &Symbols,
        symbol: Option<&str>,
    ) -> Result<Vec<Position>, RestError> {
        const NAME: &str = "GET /fapi/v3/positionRisk";
        let endpoint = call("GET", NAME, Auth::Signed, 5).urgent(Urgency::Exit);
        let body = self.send(endpoint, |q| of(q, symbol)).await?;
        account::positions(&body, symbols).map_err(RestError::frame(NAME))
    }

    /// Open orders as reports, of all symbols (weight 40) or one. Orders of symbols that are not in `symbols` are
    /// left out and counted in the second value.
    pub async fn open_orders(
        &self,
        symbols: &Symbols,
        symbol: Option<&str>,
    ) -> Result<(Vec<ExecutionReport>, usize), RestError> {
        const NAME: &str = "GET /fapi/v1/openOrders";
        let weight = if symbol.is_some() { 1 } else { 40 };
        let endpoint = call("GET", NAME, Auth::Signed, weight).urgent(Urgency::Exit);
        let body = self.send(endpoint, |q| of(q, symbol)).await?;
        order_rows(NAME, &body, symbols)
    }

    /// Orders of a symbol created at a venue time (ms) or later, finished ones too, at most 1000.
    pub async fn all_orders(
        &self,
        symbols: &Symbols,
        symbol: &str,
        since_ms: u64,
    ) -> Result<Vec<ExecutionReport>, RestError> {
        const NAME: &str = "GET /fapi/v1/allOrders";
        let endpoint = call("GET", NAME, Auth::Signed, 5).urgent(Urgency::Exit);
        let body = self.send(endpoint, |q| {
            q.text("symbol", symbol);
            q.int("startTime", since_ms);
            q.int("limit", 1000);
        });
        order_rows(NAME, &body.await?, symbols).map(|(reports, _)| reports)
    }

    /// Names of the symbols in which the account has paid or got commissions since a venue time (ms); the newest 1000
    /// are looked at. The venue may tell the last seconds late.
    pub async fn traded_since(&self, since_ms: u64) -> Result<BTreeSet<String>, RestError> {
        const NAME: &str = "GET /fapi/v1/income";
        let body = self.send(call("GET", NAME, Auth::Signed, 30), |q| {
            q.text("incomeType", "COMMISSION");
            q.int("startTime", since_ms);
            q.int("limit", 1000);
        });
        let body = body.await?;
        let rows = Row::list(&["symbol"], &body).map_err(|e| RestError::answer(NAME, e.to_string()))?;
        let name = |row: &Row<'_, 1>| row.get("symbol").filled().map(str::to_owned);
        Ok(rows.iter().filter_map(name).collect())
    }

    /// Fills of a symbol from a trade id on, or from a venue time (ms) on (a window of 7 days), at most 1000. The
    /// venue does not tell client order ids here: match by `order_id`.
    pub async fn user_trades(
        &self,
        symbols: &Symbols,
        symbol: &str,
        from: TradesFrom,
    ) -> Result<Vec<ExecutionReport>, RestError> {
        const NAME: &str = "GET /fapi/v1/userTrades";
        let endpoint = call("GET", NAME, Auth::Signed, 5).urgent(Urgency::Exit);
        let body = self
            .send(endpoint, |q| {
                q.text("symbol", symbol);
                match from {
                    TradesFrom::Id(id) => q.int("fromId", id),
                    TradesFrom::TimeMs(ms) => q.int("startTime", ms),
                }
                q.int("limit", 1000);
            })
            .await?;
        account::user_trades(&body, symbols).map_err(RestError::frame(NAME))
    }

    /// Aggregate trades of an instrument from an id on, at most 1000: the backfill of a gap in the stream.
    pub async fn agg_trades(&self, instrument: &Instrument, from_id: u64) -> Result<Vec<Trade>, RestError> {
        const NAME: &str = "GET /fapi/v1/aggTrades";
        let body = self.send(call("GET", NAME, Auth::None, 20), |q| {
            q.text("symbol", &instrument.symbol);
            q.int("fromId", from_id);
            q.int("limit", 1000);
        });
        account::agg_trades(&body.await?, instrument).map_err(RestError::frame(NAME))
    }

    /// An order request over REST: the fallback where the WebSocket API is not there. An error of class `Unknown`
    /// leaves the order's fate open. `CancelAll` is only acknowledged (no report): the orders close one by one, told
    /// by the user stream.
    pub async fn order(
        &self,
        request: &OrderRequest,
        symbols: &Symbols,
    ) -> Result<Option<ExecutionReport>, RestError> {
        let endpoint = order_call(request);
        let name = endpoint.name;
        let body = match self.order_once(&endpoint, request, symbols).await {
            // Not executed, and the reason is ours: once more, under the same client order id.
            Err(e) if e.action() == Action::SyncClockAndRetryOnce => {
                self.reset_clock();
                self.sync_clock(3).await?;
                self.order_once(&endpoint, request, symbols).await?
            }
            other => other?,
        };
        if let OrderRequest::CancelAll(_) = request {
            return Ok(None);
        }
        let mut reader = Reader::new(&body).map_err(|e| RestError::answer(name, e.to_string()))?;
        let row =
            OrderRow::read(Source::Reply, &mut reader).map_err(|e| RestError::answer(name, e.to_string()))?;
        let mut report =
            row.report_of("order", symbols, Fact::State(ExecType::Status)).map_err(RestError::frame(name))?;
        report.exec_type = crate::gateway::exec_type(Some(request), report.status);
        Ok(Some(report))
    }

    async fn order_once(
        &self,
        endpoint: &Call,
        request: &OrderRequest,
        symbols: &Symbols,
    ) -> Result<Vec<u8>, RestError> {
        let signer = self.signer.as_ref().ok_or(RestError::NoKey(endpoint.name))?;
        let query = rest_query(request, symbols, signer, self.config.recv_window_ms, self.timestamp_ms());
        self.exchange(endpoint, &self.base, query.ok_or(RestError::NoInstrument)?).await
    }

    /// Cancels all orders of an instrument (acknowledged at once, done one by one).
    pub async fn cancel_all(&self, symbol: SymbolId, symbols: &Symbols) -> Result<(), RestError> {
        self.order(&OrderRequest::CancelAll(symbol), symbols).await.map(|_| ())
    }

    /// Sets the dead-man switch of a symbol: all its orders are cancelled unless this is called again within
    /// `countdown_ms`; 0 switches it off.
    pub async fn countdown_cancel_all(&self, symbol: &str, countdown_ms: u64) -> Result<(), RestError> {
        let endpoint = call("POST", "POST /fapi/v1/countdownCancelAll", Auth::Signed, 10);
        let body = self.send(endpoint.urgent(Urgency::Cancel), |q| {
            q.text("symbol", symbol);
            q.int("countdownTime", countdown_ms);
        });
        body.await.map(|_| ())
    }

    /// Sets the leverage of a symbol.
    pub async fn set_leverage(&self, symbol: &str, leverage: u32) -> Result<Leverage, RestError> {
        const NAME: &str = "POST /fapi/v1/leverage";
        let body = self.send(call("POST", NAME, Auth::Signed, 1), |q| {
            q.text("symbol", symbol);
            q.int("leverage", leverage.into());
        });
        account::leverage(&body.await?).map_err(RestError::frame(NAME))
    }

    /// Is the account in hedge mode?
    pub async fn dual_side(&self) -> Result<bool, RestError> {
        const NAME: &str = "GET /fapi/v1/positionSide/dual";
        let body = self.send(call("GET", NAME, Auth::Signed, 30), |_| {}).await?;
        let row = Row::document(&["dualSidePosition"], &body)
            .map_err(|e| RestError::answer(NAME, e.to_string()))?;
        row.need(NAME, "dualSidePosition", Scalar::bool).map_err(RestError::frame(NAME))
    }

    /// How the account is set.
    pub async fn account_config(&self) -> Result<AccountConfig, RestError> {
        const NAME: &str = "GET /fapi/v1/accountConfig";
        let body = self.send(call("GET", NAME, Auth::Signed, 5), |_| {}).await?;
        account::account_config(&body).map_err(RestError::frame(NAME))
    }

    /// How symbols are set.
    pub async fn symbol_configs(&self, symbol: Option<&str>) -> Result<Vec<SymbolConfig>, RestError> {
        const NAME: &str = "GET /fapi/v1/symbolConfig";
        let body = self.send(call("GET", NAME, Auth::Signed, 5), |q| of(q, symbol)).await?;
        account::symbol_configs(&body).map_err(RestError::frame(NAME))
    }

    /// The account's fees for a symbol.
    pub async fn commission_rate(&self, symbol: &str) -> Result<CommissionRate, RestError> {
        const NAME: &str = "GET /fapi/v1/commissionRate";
        let body = self.send(call("GET", NAME, Auth::Signed, 20), |q| q.text("symbol", symbol)).await?;
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
        let body = self.exchange(&call("GET", NAME, Auth::Signed, 1), base, query.0).await?;
        account::restrictions(&body).map(Some).map_err(RestError::frame(NAME))
    }
}

/// Where a listing of fills begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TradesFrom {
    /// At this trade id.
    Id(u64),
    /// At this venue time, ms.
    TimeMs(u64),
}

/// A list of orders as reports; those of symbols that are not in `symbols` are only counted.
fn order_rows(
    name: &'static str,
    body: &[u8],
    symbols: &Symbols,
) -> Result<(Vec<ExecutionReport>, usize), RestError> {
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
            Ok(report) => reports.push(report),
            Err(crate::FrameError::UnlistedSymbol { .. }) => unlisted += 1,
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
        OrderRequest::Cancel(_) => {
            call("DELETE", "DELETE /fapi/v1/order", Auth::Signed, 1).urgent(Urgency::Cancel)
        }
        OrderRequest::Query(_) => call("GET", "GET /fapi/v1/order", Auth::Signed, 1).urgent(Urgency::Exit),
        OrderRequest::CancelAll(_) => {
            call("DELETE", "DELETE /fapi/v1/allOpenOrders", Auth::Signed, 1).urgent(Urgency::Cancel)
        }
    }
}

/// A text from outside as part of a message: one line, at most 200 characters, nothing a terminal would obey.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

/// Takes the venue's own counts from headers such as `X-MBX-USED-WEIGHT-1M` and `X-MBX-ORDER-COUNT-10S`.
fn observe(limits: &mut RateLimits, headers: &[(String, String)], server: Nanos) {
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
            limits.observe(kind, length, used, server);
        }
    }
}
