//! The thread, the listener, the sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::connect_info::Connected;
use axum::extract::ws::{
    CloseFrame, Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use futures_util::{SinkExt, StreamExt};
use market::Nanos;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::hub::{Cut, Outgoing, Route};
use super::rest::{self, Reply, Request, Trouble};
use super::world::{Counters, Shared, World};
use super::wsapi::{self, Frame, Session};
use super::{admin, streams};
use crate::config::{VenueConfig, VenueError};
use crate::core::{AccountId, Exchange};
use crate::faults::{Fault, Rule};
use crate::sim::Preroll;

/// Between two rounds of the pump.
const PUMP_EVERY: Duration = Duration::from_millis(5);
/// Largest WebSocket message taken.
const MAX_MESSAGE: usize = 1 << 20;

/// Wall time. The one place where the venue reads a clock.
fn wall() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn lock(shared: &Shared) -> MutexGuard<'_, World> {
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
        admin::inject(&mut lock(&self.shared), rule.into(), wall())
    }

    /// How often a rule struck.
    pub fn hits(&self, id: u64) -> u64 {
        lock(&self.shared).faults.active().iter().find(|a| a.id == id).map_or(0, |a| a.hits)
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        let mut w = lock(&self.shared);
        w.faults.clear();
        w.stale_snapshots.clear();
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

/// A TCP connection that can be cut from outside.
struct CutStream {
    inner: TcpStream,
    cut: Arc<Cut>,
}

impl CutStream {
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.cut.reset.load(Ordering::Relaxed) {
            // Linger zero: closing sends RST.
            self.inner.set_zero_linger().ok();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        *self.cut.waker.lock().expect("no panic holds it") = Some(cx.waker().clone());
        Ok(())
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut.reset.load(Ordering::Relaxed) {
            self.inner.set_zero_linger().ok();
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

struct CutListener {
    inner: TcpListener,
    shared: Shared,
}

impl Listener for CutListener {
    type Io = CutStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CutStream, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok((inner, addr)) => {
                    inner.set_nodelay(true).ok();
                    let refuse =
                        lock(&self.shared).faults.strike(|f| *f == Fault::RefuseConnections).is_some();
                    if refuse {
                        inner.set_zero_linger().ok();
                        continue;
                    }
                    return (CutStream { inner, cut: Arc::default() }, addr);
                }
                // Out of file descriptors: wait for some to be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// The other end of a connection.
#[derive(Clone)]
struct Peer {
    ip: IpAddr,
    cut: Arc<Cut>,
}

impl Connected<IncomingStream<'_, CutListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, CutListener>) -> Self {
        Self { ip: stream.remote_addr().ip(), cut: stream.io().cut.clone() }
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
        let upgrade = upgrade.max_message_size(MAX_MESSAGE);
        if path.trim_end_matches('/') == "/ws-fapi/v1" {
            let limits = !query.contains("returnRateLimits=false");
            return upgrade.on_upgrade(move |socket| api_socket(socket, shared, peer, limits));
        }
        return match streams::target(&path, &query) {
            Some(target) => upgrade.on_upgrade(move |socket| stream_socket(socket, shared, peer, target)),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let Ok(body) = String::from_utf8(body.to_vec()) else { return StatusCode::BAD_REQUEST.into_response() };
    if path.starts_with("/dolphin/") {
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

/// Executes a REST request under the faults in force.
async fn rest_reply(shared: &Shared, peer: &Peer, request: &Request) -> Response {
    let name = format!("{} {}", request.method, request.path);
    let trouble = rest::trouble(&mut lock(shared), &name);
    sleep_ms(trouble.before).await;
    let reply =
        if trouble.skip { Reply::default() } else { rest::handle(&mut lock(shared), request, wall()) };
    sleep_ms(trouble.after).await;
    let Trouble { instead, lost, never, .. } = trouble;
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

fn json_response(status: u16, body: String) -> impl IntoResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json;charset=UTF-8")], body)
}

async fn sleep_ms(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// What a socket's task does next.
enum Next {
    In(Option<Result<Message, axum::Error>>),
    Out(Option<Outgoing>),
    Ping,
    Cut,
}

/// A socket with the venue's habits: pings, silence, resets.
struct Wire {
    socket: WebSocket,
    rx: mpsc::Receiver<Outgoing>,
    cut: Arc<Cut>,
    ping: tokio::time::Interval,
    last_pong: tokio::time::Instant,
    pong_within: Duration,
}

impl Wire {
    fn new(socket: WebSocket, rx: mpsc::Receiver<Outgoing>, cut: Arc<Cut>, shared: &Shared) -> Self {
        let (every, pong_within) = {
            let w = lock(shared);
            (w.rules.ping_every, w.rules.pong_within)
        };
        let start = tokio::time::Instant::now();
        let ping = tokio::time::interval_at(start + every, every);
        Self { socket, rx, cut, ping, last_pong: start, pong_within }
    }

    async fn next(&mut self) -> Next {
        let cut = self.cut.clone();
        tokio::select! {
            () = cut.wake.notified() => Next::Cut,
            m = self.rx.recv() => Next::Out(m),
            m = self.socket.next() => Next::In(m),
            _ = self.ping.tick() => Next::Ping,
        }
    }

    /// Runs until the next text that came in; `None` at the end. Everything else is handled here.
    async fn incoming(&mut self) -> Option<String> {
        loop {
            let next = self.next().await;
            if self.cut.reset.load(Ordering::Relaxed) {
                // Let the socket find out: it then closes with RST.
                self.socket.next().await;
                return None;
            }
            let silent = self.cut.silent.load(Ordering::Relaxed);
            match next {
                Next::Cut => {}
                Next::Out(None) if silent => std::future::pending::<()>().await,
                Next::Out(None) => return None,
                Next::Out(Some(_)) if silent => {}
                Next::Out(Some(Outgoing::Text(t))) => self.send(Message::Text(t)).await?,
                Next::Out(Some(Outgoing::Close(code, reason))) => {
                    let frame =
                        CloseFrame { code: if code == 1006 { 1001 } else { code }, reason: reason.into() };
                    self.socket.send(Message::Close(Some(frame))).await.ok();
                    return None;
                }
                Next::In(None | Some(Err(_) | Ok(Message::Close(_)))) => return None,
                Next::In(Some(Ok(Message::Text(t)))) if !silent => return Some(t.to_string()),
                Next::In(Some(Ok(Message::Pong(_)))) => self.last_pong = tokio::time::Instant::now(),
                Next::In(Some(Ok(_))) => {}
                Next::Ping if silent => {}
                Next::Ping => {
                    if self.last_pong.elapsed() > self.pong_within {
                        return None;
                    }
                    self.send(Message::Ping(wall().millis().to_string().into())).await?;
                }
            }
        }
    }

    async fn send(&mut self, m: Message) -> Option<()> {
        self.socket.feed(m).await.ok()?;
        // Frames that are already waiting go out with the same flush.
        while let Ok(next) = self.rx.try_recv() {
            match next {
                Outgoing::Text(t) => self.socket.feed(Message::Text(t)).await.ok()?,
                Outgoing::Close(..) => return None,
            }
        }
        self.socket.flush().await.ok()
    }
}

async fn stream_socket(socket: WebSocket, shared: Shared, peer: Peer, target: streams::Target) {
    let (id, rx) = {
        let mut w = lock(&shared);
        let (id, rx) = w.hub.open(target.route, target.combined, peer.cut.clone());
        streams::subscribe_url(&mut w, id, &target.streams);
        (id, rx)
    };
    let mut wire = Wire::new(socket, rx, peer.cut, &shared);
    while let Some(text) = wire.incoming().await {
        let reply = {
            let mut w = lock(&shared);
            let limit = w.rules.messages_per_second;
            if streams::too_chatty(&mut w.hub, id, limit, wall()) {
                None
            } else {
                Some(streams::control(&mut w, id, &text))
            }
        };
        let Some(reply) = reply else {
            let frame = CloseFrame { code: 1008, reason: "Too many requests".into() };
            wire.socket.send(Message::Close(Some(frame))).await.ok();
            break;
        };
        if wire.send(Message::Text(reply.into())).await.is_none() {
            break;
        }
    }
    lock(&shared).hub.close(id);
}

async fn api_socket(socket: WebSocket, shared: Shared, peer: Peer, limits: bool) {
    let (id, rx) = {
        let mut w = lock(&shared);
        // The handshake costs five.
        w.limits.request(peer.ip, 5, wall()).ok();
        w.hub.open(Route::Api, false, peer.cut.clone())
    };
    let mut wire = Wire::new(socket, rx, peer.cut.clone(), &shared);
    let mut session = Session { rate_limits: limits, ..Session::default() };
    while let Some(text) = wire.incoming().await {
        let frame = match Frame::parse(&text) {
            Ok(f) => f,
            Err(reply) => {
                if wire.send(Message::Text(reply.into())).await.is_none() {
                    break;
                }
                continue;
            }
        };
        let Some(reply) = api_reply(&shared, &peer, &mut session, &frame).await else { continue };
        if wire.send(Message::Text(reply.into())).await.is_none() {
            break;
        }
    }
    lock(&shared).hub.close(id);
}

/// Executes a WS-API request under the faults in force; `None`: there is no reply.
async fn api_reply(shared: &Shared, peer: &Peer, session: &mut Session, frame: &Frame) -> Option<String> {
    let trouble = rest::trouble(&mut lock(shared), &frame.method);
    sleep_ms(trouble.before).await;
    let reply = (!trouble.skip).then(|| wsapi::handle(&mut lock(shared), session, frame, peer.ip, wall()));
    sleep_ms(trouble.after).await;
    if trouble.lost {
        peer.cut.reset();
        return None;
    }
    if trouble.never {
        return None;
    }
    match trouble.instead {
        Some(r) => {
            let error: serde_json::Value = serde_json::from_str(&r.body).unwrap_or_default();
            Some(serde_json::json!({"id": frame.id, "status": r.status, "error": error}).to_string())
        }
        None => reply,
    }
}
