//! The thread, the server, the handle.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::cut::Use;
use super::listen::{CutListener, Peer};
use super::shared::{Shared, sleep_until, wall};
use super::socket;
use crate::config::{VenueConfig, VenueError};
use crate::core::{AccountId, Exchange};
use crate::face::call::{self, Answer, HttpReply, Progress, RestCall};
use crate::face::connection::{self, MAX_MESSAGE, Refusal};
use crate::face::{Counters, HttpRequest, Mirrored, World, admin};
use crate::faults::Rule;
use crate::sim::Preroll;

/// Between two rounds of the pump.
const PUMP_EVERY: Duration = Duration::from_millis(5);
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
        let shared = Shared::new(World::new(&config, wall())?);
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
        self.shared.with(World::counted)
    }

    /// Puts a fault in force, or lets it happen at once (id 0); the error says what is wrong with it.
    pub fn inject(&self, rule: impl Into<Rule>) -> Result<u64, String> {
        self.shared.with(|w| admin::inject(w, rule.into(), None, wall()))
    }

    /// Like [`Self::inject`]; the rule ends by itself after this long.
    pub fn inject_for(&self, rule: impl Into<Rule>, time: Duration) -> Result<u64, String> {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.shared.with(|w| admin::inject(w, rule.into(), Some(ms), wall()))
    }

    /// Ends a rule; was it there?
    pub fn remove_fault(&self, id: u64) -> bool {
        self.shared.with(|w| w.faults.remove(id))
    }

    /// How often a rule struck.
    pub fn hits(&self, id: u64) -> u64 {
        self.shared.with(|w| w.faults.hits(id))
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.with(|w| w.faults.clear());
    }

    /// Looks at the exchange: accounts, orders, fills, books.
    pub fn inspect<T>(&self, look: impl FnOnce(&Exchange) -> T) -> T {
        self.shared.with(|w| look(&w.exchange))
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
    pub fn mirror(&self, symbol: market::SymbolId, what: Mirrored<'_>) {
        self.shared.with(|w| w.mirror(symbol, what, wall()));
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
            shared.with(|w| call::pump(w, wall()));
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
        return handshake(shared, peer, &path, &query, upgrade);
    }
    let Ok(body) = String::from_utf8(body.to_vec()) else { return StatusCode::BAD_REQUEST.into_response() };
    let api_key = headers.get("X-MBX-APIKEY").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let request = HttpRequest { method: method.to_string(), path, query, body, api_key, ip: peer.ip };
    if let Some(reply) = shared.with(|w| admin::handle(w, &request, wall())) {
        peer.cut.use_for(Use::Operator);
        return response(reply);
    }
    rest_reply(&shared, &peer, request).await
}

/// Opens a WebSocket, the faults and limits willing.
fn handshake(shared: Shared, peer: Peer, path: &str, query: &str, upgrade: WebSocketUpgrade) -> Response {
    match shared.with(|w| connection::upgrade(w, path, query, peer.ip, wall())) {
        Ok(purpose) => {
            peer.cut.use_for(Use::Socket);
            let upgrade = upgrade.max_message_size(MAX_MESSAGE);
            upgrade.on_upgrade(move |s| socket::serve(s, shared, peer, purpose))
        }
        Err(Refusal::Page(status)) => response(HttpReply::page(status)),
        Err(Refusal::Status(status)) => response(HttpReply::empty(status)),
    }
}

/// Executes a REST request under the faults in force.
async fn rest_reply(shared: &Shared, peer: &Peer, request: HttpRequest) -> Response {
    let mut call = shared.with(|w| RestCall::new(w, request, wall()));
    loop {
        match shared.with(|w| call.step(w, wall())) {
            Progress::Wait(due) => sleep_until(due).await,
            Progress::Done(Answer::Reply(reply)) => return response(reply),
            Progress::Done(Answer::Lost) => {
                peer.cut.reset();
                std::future::pending::<()>().await;
            }
            Progress::Never => std::future::pending::<()>().await,
        }
    }
}

fn response(reply: HttpReply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut out = (status, reply.body).into_response();
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            out.headers_mut().insert(name, value);
        }
    }
    out
}
