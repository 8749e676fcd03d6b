//! The HTTP server: a thread of its own that reads the published state. Nothing it does can be waited for by the node.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::access::Access;
use crate::config::TelemetrySection;
use crate::connections::Connections;
use crate::line;
use crate::notify::{self, Notifier, Pages};
use crate::openmetrics;
use crate::published::Published;
use crate::state::State;
use crate::wall::now_ms;

/// A state is sent to each dashboard this often.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// A state older than this is no sign of life.
const ALIVE_MS: u64 = 5_000;
/// Points of the history: one a second for an hour, one in 20 s for a day.
const FINE: usize = 3_600;
const COARSE: usize = 4_320;
const COARSE_EVERY: u64 = 20;

const PAGE: &str = include_str!("../web/index.html");
const SCRIPT: &str = include_str!("../web/app.js");
const STYLE: &str = include_str!("../web/style.css");
const CHART: &str = include_str!("../web/uPlot.iife.min.js");
const CHART_STYLE: &str = include_str!("../web/uPlot.min.css");

/// What is kept of each second, for charts.
#[derive(Debug, Clone, Default, Serialize)]
struct Point {
    t: u64,
    equity: Option<f64>,
    drawdown: Option<f64>,
    vel_div: Option<f64>,
    maker: Option<f64>,
    px: Option<f64>,
    /// p99 of the last minute by hop, s.
    p99: Vec<Option<f64>>,
}

#[derive(Debug, Default)]
struct History {
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
    seconds: u64,
}

impl History {
    fn keep(&mut self, s: &State) {
        let p99 = |h: &crate::state::Hop| h.minute.map(|m| m.p99);
        let point = Point {
            t: s.at_ms,
            equity: s.account.equity,
            drawdown: s.account.drawdown,
            vel_div: s.signal.vel_div,
            maker: s.maker.all,
            px: s.positions.first().and_then(|p| p.px),
            p99: s.latency.iter().map(p99).collect(),
        };
        self.fine.push_back(point);
        if self.fine.len() > FINE {
            let oldest = self.fine.pop_front();
            self.seconds += 1;
            if self.seconds.is_multiple_of(COARSE_EVERY) {
                self.coarse.extend(oldest);
            }
        }
        if self.coarse.len() > COARSE {
            self.coarse.pop_front();
        }
    }
}

/// What the handlers share.
struct Shared {
    published: Arc<Published>,
    access: Access,
    history: Mutex<History>,
    dashboard: bool,
}

/// A running server; dropped, it ends.
#[derive(Debug)]
pub struct Server {
    address: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Where it listens; `None`: nowhere.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Serves what is published, and sends pages, until it is dropped. `folder`: where pages that stand are kept over a kill. An
/// error is for people.
pub fn start(
    section: &TelemetrySection,
    published: Arc<Published>,
    folder: Option<&Path>,
) -> Result<Server, String> {
    let address = section.address()?;
    let notifier = Notifier::of(&section.notify)?;
    let token = section.token_file.as_deref().map(notify::secret).transpose()?;
    let tls = match (&section.tls_cert, &section.tls_key) {
        (Some(cert), Some(key)) => Some(acceptor(cert, key)?),
        _ => None,
    };
    let socket = address.map(bind).transpose()?;
    let address = socket.as_ref().and_then(|s| s.local_addr().ok());
    let shared = address.map(|address| {
        Arc::new(Shared {
            published: Arc::clone(&published),
            access: Access::new(address, &section.hosts, token),
            history: Mutex::default(),
            dashboard: section.dashboard,
        })
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("telemetry cannot start: {e}"))?;
    let (stop, stopped) = oneshot::channel();
    let folder = folder.map(Path::to_path_buf);
    let run = async move {
        let mut pages = Pages::start(notifier, Arc::clone(&published), folder.as_deref());
        let serve = async {
            if let (Some(socket), Some(shared)) = (socket, shared) {
                serve(socket, tls, shared).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = stopped => {}
            () = pages.run() => {}
            () = serve => {}
        }
        pages.finish().await;
    };
    let thread = std::thread::Builder::new()
        .name("telemetry".to_owned())
        .spawn(move || runtime.block_on(run))
        .map_err(|e| format!("telemetry cannot start: {e}"))?;
    Ok(Server { address, stop: Some(stop), thread: Some(thread) })
}

fn bind(address: SocketAddr) -> Result<std::net::TcpListener, String> {
    let socket = std::net::TcpListener::bind(address).and_then(|s| s.set_nonblocking(true).map(|()| s));
    socket.map_err(|e| {
        format!(
            "telemetry cannot listen on {address}: {e}; another node may run here: set `telemetry.listen` to another \
             port, or `off`"
        )
    })
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let bad = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let chain = CertificateDer::pem_file_iter(cert).map_err(|e| bad(cert, &e))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|e| bad(cert, &e))?;
    notify::private(key)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(cert, &e))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|e| bad(cert, &e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(socket: std::net::TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(socket).and_then(|l| Connections::of(l, tls));
    let listener = match listener {
        Ok(listener) => listener,
        Err(e) => {
            tracing::error!("telemetry cannot listen: {e}");
            return;
        }
    };
    let mut app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/api/state", get(state))
        .route("/api/history", get(history))
        .route("/api/events", get(events));
    if shared.dashboard {
        let file = |kind: &'static str, text: &'static str| {
            get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
        };
        app = app
            .route("/", file("text/html; charset=utf-8", PAGE))
            .route("/app.js", file("text/javascript; charset=utf-8", SCRIPT))
            .route("/style.css", file("text/css; charset=utf-8", STYLE))
            .route("/uplot.js", file("text/javascript; charset=utf-8", CHART))
            .route("/uplot.css", file("text/css; charset=utf-8", CHART_STYLE));
    }
    let guard = middleware::from_fn_with_state(Arc::clone(&shared), guard);
    let app = app.layer(guard).with_state(Arc::clone(&shared));
    tokio::select! {
        _ = async { axum::serve(listener, app).await } => {}
        () = keep(shared) => {}
    }
}

/// Keeps a point a second.
async fn keep(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut last = 0;
    loop {
        every.tick().await;
        let newest = shared.published.newest();
        if newest.sequence != last {
            last = newest.sequence;
            shared.history.lock().unwrap_or_else(PoisonError::into_inner).keep(&newest);
        }
    }
}

/// What the page may do: nothing but what comes from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src \
                      'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

async fn guard(Extract(shared): Extract<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match shared.access.refuse(request.method(), request.uri(), request.headers()) {
        Some((status, why)) => {
            let mut refused = (status, format!("{why}\n")).into_response();
            if status == StatusCode::UNAUTHORIZED {
                let ask =
                    HeaderValue::from_static("Basic realm=\"dolphin: any name, the token as password\"");
                refused.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
            }
            refused
        }
        None => next.run(request).await,
    };
    let fixed: [(HeaderName, &str); 5] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn metrics(Extract(shared): Extract<Arc<Shared>>) -> Response {
    let text = openmetrics::text(&shared.published.newest(), now_ms());
    ([(header::CONTENT_TYPE, openmetrics::MEDIA_TYPE)], text).into_response()
}

/// Does the node turn?
async fn health(Extract(shared): Extract<Arc<Shared>>) -> Response {
    let age = now_ms().saturating_sub(shared.published.newest().at_ms);
    if age <= ALIVE_MS {
        return (StatusCode::OK, "alive\n").into_response();
    }
    let text = "not alive: the newest state is older than 5 s, or there is none\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// May it open positions? Else every reason, one a line.
async fn ready(Extract(shared): Extract<Arc<Shared>>) -> Response {
    let (s, now) = (shared.published.newest(), now_ms());
    let age = now.saturating_sub(s.at_ms);
    if age > ALIVE_MS {
        let text = "not armed: the newest state is older than 5 s, or there is none\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    if s.armed {
        return (StatusCode::OK, "armed\n").into_response();
    }
    let gates: String = s.account_gates().map(|g| format!("{}\n", line::gate(g, s.at_ms))).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("not armed\n{gates}")).into_response()
}

fn json(value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

async fn state(Extract(shared): Extract<Arc<Shared>>) -> Response {
    json(&*shared.published.newest())
}

async fn history(Extract(shared): Extract<Arc<Shared>>) -> Response {
    let points: Vec<Point> = {
        let history = shared.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.coarse.iter().chain(&history.fine).cloned().collect()
    };
    json(&points)
}

/// The newest state a second; whoever reads slowly gets fewer, never old ones.
async fn events(Extract(shared): Extract<Arc<Shared>>) -> impl IntoResponse {
    let states = shared.published.subscribe();
    let events = stream::unfold((states, true), |(mut states, first)| async move {
        if !first {
            tokio::time::sleep(EVENT_EVERY).await;
            states.changed().await.ok()?;
        }
        let newest = Arc::clone(&states.borrow_and_update());
        let event = Event::default().json_data(&*newest).unwrap_or_default();
        Some((Ok::<_, Infallible>(event), (states, false)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
