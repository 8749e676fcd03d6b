//! The thread, the server, REST under the faults in force.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use market::Nanos;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::listen::{CutListener, Peer, Use};
use super::rest::{self, Reply, Request, Trouble};
use super::world::{Counters, Shared, World};
use super::{admin, socket, streams};
use crate::config::{VenueConfig, VenueError};
use crate::core::{AccountId, Exchange};
use crate::faults::Rule;
use crate::sim::Preroll;

/// Between two rounds of the pump.
const PUMP_EVERY: Duration = Duration::from_millis(5);
/// Largest WebSocket message taken.
const MAX_MESSAGE: usize = 1 << 20;

/// Wall time. The one place where the venue reads a clock.
pub(super) fn wall() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, World> {
    // A panic while holding the lock is a bug of the venue; what it left is still the best there is.
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The venue.
#[derive(Debug)]
pub struct Venue;

/// A running venue; dropping it stops it.
pub struct VenueHandle {
    addr: SocketAddr,
    shared: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    config: VenueConfig,
}

impl std::fmt::Debug for VenueHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VenueHandle").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Venue {
    /// Starts a venue on a thread of its own; it listens when this returns.
    pub fn start(config: VenueConfig) -> Result<VenueHandle, VenueError> {
        let shared: Shared = Arc::new(Mutex::new(World::new(&config, wall())?));
        let addr = config.listen;
        let listen = |source| VenueError::Listen { addr, source };
        let socket = std::net::TcpListener::bind(addr).map_err(listen)?;
        socket.set_nonblocking(true).map_err(listen)?;
        let addr = socket.local_addr().map_err(listen)?;
        let (stop, stopped) = oneshot::channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(VenueError::Thread)?;
        let world = shared.clone();
        let thread = std::thread::Builder::new()
            .name("venue".into())
            .spawn(move || {
                runtime.block_on(run(socket, world, stopped));
                // Connections still open are cut with the runtime.
                runtime.shutdown_background();
            })
            .map_err(VenueError::Thread)?;
        Ok(VenueHandle { addr, shared, stop: Some(stop), thread: Some(thread), config })
    }
}

impl VenueHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://host:port`.
    pub fn http(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// `ws://host:port`.
    pub fn ws(&self) -> String {
        format!("ws://{}", self.addr)
    }

    /// What it counted.
    pub fn counters(&self) -> Counters {
        lock(&self.shared).counters
    }

    /// Puts a fault in force, or lets it happen at once (id 0); the error says what is wrong with it.
    pub fn inject(&self, rule: impl Into<Rule>) -> Result<u64, String> {
        admin::inject(&mut lock(&self.shared), rule.into(), None, wall())
    }

    /// Like [`Self::inject`]; the rule ends by itself after this long.
    pub fn inject_for(&self, rule: impl Into<Rule>, time: Duration) -> Result<u64, String> {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        admin::inject(&mut lock(&self.shared), rule.into(), Some(ms), wall())
    }

    /// Ends a rule; was it there?
    pub fn remove_fault(&self, id: u64) -> bool {
        lock(&self.shared).faults.remove(id)
    }

    /// How often a rule struck.
    pub fn hits(&self, id: u64) -> u64 {
        lock(&self.shared).faults.active().iter().find(|a| a.id == id).map_or(0, |a| a.hits)
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        lock(&self.shared).faults.clear();
    }

    /// Looks at the exchange: accounts, orders, fills, books.
    pub fn inspect<T>(&self, look: impl FnOnce(&Exchange) -> T) -> T {
        look(&lock(&self.shared).exchange)
    }

    /// The account of a place in [`VenueConfig::accounts`].
    pub fn account(&self, n: u16) -> AccountId {
        AccountId(n)
    }

    /// Price history before the opening: see [`VenueConfig::preroll`].
    pub fn preroll(&self, bars: usize, interval: Duration) -> Preroll {
        self.config.preroll(bars, interval)
    }

    /// Feeds a venue that was started with [`VenueConfig::mirrored`]; the time is now.
    pub fn mirror(&self, symbol: market::SymbolId, what: super::mirror::Mirrored<'_>) {
        lock(&self.shared).mirror(symbol, what, wall());
    }

    /// Stops it and waits for its thread.
    pub fn stop(mut self) {
        self.shut();
    }

    fn shut(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for VenueHandle {
    fn drop(&mut self) {
        self.shut();
    }
}

async fn run(socket: std::net::TcpListener, shared: Shared, stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(socket) {
        Ok(l) => CutListener { inner: l, shared: shared.clone() },
        Err(e) => {
            tracing::error!("the venue's socket: {e}");
            return;
        }
    };
    let app = Router::new()
        .fallback(serve)
        .with_state(shared.clone())
        .into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(listener, app);
    let pump = async {
        let mut every = tokio::time::interval(PUMP_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            every.tick().await;
            lock(&shared).pump(wall());
        }
    };
    tokio::select! {
        _ = stopped => {}
        _ = server => {}
        () = pump => {}
    }
}

async fn serve(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    body: Bytes,
) -> Response {
    let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
    if let Ok(upgrade) = upgrade {
        return handshake(&shared, peer, &path, &query, upgrade);
    }
    let Ok(body) = String::from_utf8(body.to_vec()) else { return StatusCode::BAD_REQUEST.into_response() };
    if path.starts_with("/dolphin/") {
        peer.cut.use_for(Use::Operator);
        let answer = admin::handle(&mut lock(&shared), method.as_str(), &path, &body, wall());
        return match answer {
            Some((status, v)) => json_response(status, v.to_string()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let api_key = headers.get("X-MBX-APIKEY").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let request = Request { method: method.to_string(), path, query, body, api_key, ip: peer.ip };
    rest_reply(&shared, &peer, &request).await
}

/// Opens a WebSocket, the faults and limits willing.
fn handshake(shared: &Shared, peer: Peer, path: &str, query: &str, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.max_message_size(MAX_MESSAGE);
    let api = path.trim_end_matches('/') == "/ws-fapi/v1";
    let target = streams::target(path, query);
    if !api && target.is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    {
        let mut w = lock(shared);
        if let Some(page) = rest::trouble(&mut w, &format!("WS {path}")).page {
            return html(page);
        }
        if w.limits.connect(peer.ip, wall()).is_err() {
            return StatusCode::TOO_MANY_REQUESTS.into_response();
        }
    }
    peer.cut.use_for(Use::Socket);
    let shared = shared.clone();
    match target {
        Some(target) if !api => upgrade.on_upgrade(move |s| socket::streams(s, shared, peer, target)),
        _ => {
            let limits = !query.contains("returnRateLimits=false");
            upgrade.on_upgrade(move |s| socket::api(s, shared, peer, limits))
        }
    }
}

/// Executes a REST request under the faults in force.
async fn rest_reply(shared: &Shared, peer: &Peer, request: &Request) -> Response {
    let name = format!("{} {}", request.method, request.path);
    let trouble = rest::trouble(&mut lock(shared), &name);
    sleep_ms(trouble.before).await;
    let reply =
        if trouble.skip { Reply::default() } else { rest::handle(&mut lock(shared), request, wall()) };
    sleep_ms(trouble.after).await;
    let Trouble { instead, lost, never, page, .. } = trouble;
    if let Some(status) = page {
        return html(status);
    }
    if lost {
        peer.cut.reset();
        std::future::pending::<()>().await;
    }
    if never {
        std::future::pending::<()>().await;
    }
    let reply = instead.unwrap_or(reply);
    let mut response = json_response(reply.status, reply.body).into_response();
    let out = response.headers_mut();
    out.insert("X-MBX-USED-WEIGHT-1M", reply.used.weight.into());
    if let Some((ten, minute)) = reply.used.orders {
        out.insert("X-MBX-ORDER-COUNT-10S", ten.into());
        out.insert("X-MBX-ORDER-COUNT-1M", minute.into());
    }
    if let Some(s) = reply.retry_after {
        out.insert(header::RETRY_AFTER, s.into());
    }
    response
}

fn html(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let text = format!(
        "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    (status, Html(text)).into_response()
}

fn json_response(status: u16, body: String) -> impl IntoResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json;charset=UTF-8")], body)
}

pub(super) async fn sleep_ms(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
