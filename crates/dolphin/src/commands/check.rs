//! `dolphin check`: everything that a start of the node needs, short of orders; a line each.

mod machine;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alpha::Engine;
use alpha::eigen::Scanner;
use binance::Symbols;
use binance::gateway::{Gateway, GatewayConfig};
use binance::hosts::{Hosts, Venue};
use binance::key::{ApiKey, KeySource};
use binance::limits::{LimitKind, Urgency};
use binance::net::WsConn;
use binance::rest::{ExchangeInfo, RestClient, RestConfig};
use binance::sign::Signer;
use execution::Router;
use market::text::counted;
use market::{Instrument, Nanos};
use runtime::clock::Clock;
use serde::Serialize;

use super::live::{self, Where};
use node::config::{Backend, Config};
use node::environment::Environment;
use node::error::Failure;
use node::memory_link::MemoryLink;
use node::preflight::{self, Finding, Verdict};
use node::topology;

/// A stream must deliver within this.
const FIRST_DATA: Duration = Duration::from_secs(5);

/// Preflight of configuration, keys, clock, venue, account and cores: everything short of orders
#[derive(clap::Args)]
#[command(
    after_help = "Example: dolphin check --config configs/blue.yml --keys keys.toml --venue testnet\n\n\
A line each: ok, WARN or FAIL. Exit 1 if a check failed. Without keys the account is left out."
)]
pub struct Args {
    #[command(flatten)]
    at: Where,
    /// Key file, readable by you alone
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Print the effective configuration too
    #[arg(long)]
    values: bool,
    /// Print one JSON object, the effective configuration in it
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    findings: &'a [Finding],
    config: &'a Config,
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    let config = Config::load(&args.at.config)?;
    crate::secrets::harden();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::unavailable(format!("cannot start a runtime: {e}")))?;
    let mut check =
        Check { config: &config, environment: Environment::system(), findings: Vec::new(), talk: !args.json };
    runtime.block_on(check.all(&args));
    let failed = check.findings.iter().filter(|f| f.verdict == Verdict::Fail).count();
    if args.json {
        super::print_json(&Report { ok: failed == 0, findings: &check.findings, config: &config })?;
    } else if args.values {
        let values = serde_json::to_string_pretty(&config)
            .map_err(|e| Failure::input(format!("cannot write the configuration: {e}")))?;
        println!("{values}");
    }
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::answer_no(format!("{} failed", counted(failed, "check"))))
}

struct Check<'c> {
    config: &'c Config,
    environment: Environment,
    findings: Vec<Finding>,
    talk: bool,
}

impl Check<'_> {
    fn add(&mut self, finding: Finding) {
        if self.talk {
            println!("{finding}");
        }
        self.findings.push(finding);
    }

    /// The value, or a failure told.
    fn need<T, E: std::fmt::Display>(&mut self, check: &'static str, result: Result<T, E>) -> Option<T> {
        result.map_err(|e| self.add(Finding::fail(check, e.to_string()))).ok()
    }

    async fn all(&mut self, args: &Args) {
        self.configuration();
        self.cores();
        machine::findings(self.config).into_iter().for_each(|finding| self.add(finding));
        let Some(venue) = self.need("venue", live::venue(self.config, &args.at, false)) else { return };
        let Some(hosts) = self.need("venue", live::hosts(self.config, &venue)) else { return };
        self.add(Finding::ok(
            "venue",
            format!("{}: {}, {}, {}", venue.name(), hosts.rest, hosts.public, hosts.ws_api),
        ));
        self.memory(&venue).await;
        let signer = self.keys(args, &venue);
        let has_key = signer.is_some();
        let clock = self.environment.clock.clone();
        let now = clock.clone();
        let transport = self.environment.surroundings.transport(&hosts);
        let Some(transport) = self.need("reach", transport) else { return };
        let now = Arc::new(move || Nanos(now.now_ns()));
        let rest = RestClient::new(&hosts, signer, RestConfig::default(), transport, now);
        let Some(rest) = self.need("reach", rest) else { return };
        let Some(server) = self.need("reach", rest.sync_clock(5).await) else { return };
        let trip = server.error_bound().unwrap_or(0) as f64 * 2.0 / Nanos::MS as f64;
        self.add(Finding::ok("reach", format!("{} answers in {trip:.1} ms", hosts.rest)));
        self.add(preflight::clock(&server, self.config.router.risk.max_clock_offset_ms));
        let info =
            preflight::instruments(self.config, &rest, None).await.map_err(|e| preflight::rest_error(&e));
        let Some(info) = self.need("instruments", info) else { return };
        self.instruments(&info.instruments);
        self.add(budget(self.config, &info));
        self.engine(&info.instruments);
        self.streams(&hosts, &info.instruments, &clock).await;
        if has_key {
            self.account(&rest, &venue, &info.instruments).await;
        }
    }

    fn configuration(&mut self) {
        let c = self.config;
        let m = &c.market;
        let symbols = if m.symbols.is_empty() { m.max_symbols } else { m.symbols.len() };
        let symbols = counted(symbols, "symbol");
        let text = format!(
            "{}: direction {:?}, {symbols}, tick {} ms, bar {} ms",
            c.path.display(),
            c.direction,
            m.tick_ms,
            m.bar_ms
        );
        self.add(Finding::ok("config", text.to_lowercase()));
        match c.alpha.verify() {
            Ok(hash) => {
                self.add(Finding::ok("hash", format!("profile {}, parameters {hash}", c.alpha.profile)));
            }
            Err(drift) => self.add(Finding::fail("hash", format!("{}: {drift}", c.path.display()))),
        }
        let kill = c.kill_file();
        if kill.exists() {
            let text = format!(
                "the kill file {} is there: no node starts; remove it to trade again",
                kill.display()
            );
            self.add(Finding::fail("kill", text));
        } else {
            self.add(Finding::ok("kill", format!("dolphin kill writes {}", kill.display())));
        }
    }

    fn cores(&mut self) {
        let (plan, enough) = topology::describe(self.config);
        if enough {
            return self.add(Finding::ok("cores", plan));
        }
        let todo =
            "more spinning workers than cores: lower runtime.layout, or set runtime.idle to yield or park";
        self.add(Finding::warn("cores", format!("{plan}: {todo}")));
    }

    /// A cluster that does not answer is never fatal (SPEC §9): a warning.
    async fn memory(&mut self, venue: &Venue) {
        let section = &self.config.memory;
        let opened =
            MemoryLink::open(section, venue.name(), matches!(venue, Venue::Local(_)), &self.environment)
                .await;
        let Some(mut link) = self.need("memory", opened) else { return };
        let ready = link.memory().wait_ready(Duration::from_millis(section.start_timeout_ms)).await;
        let detail = link.memory().status().detail;
        let text = format!("{:?}: {detail}", section.backend).to_lowercase();
        match ready {
            Ok(()) => self.add(Finding::ok("memory", text)),
            // A file is this machine's own matter: it is set right before a start, not waited for.
            Err(error) if section.backend == Backend::Embedded => {
                let todo = "name a file in a directory that can be written by memory.path";
                self.add(Finding::fail("memory", format!("{text}: {error}; {todo}")));
            }
            Err(error) => {
                let todo = "a node starts all the same, without what memory knows, and writes later";
                self.add(Finding::warn("memory", format!("{text}: {error}; {todo}")));
            }
        }
        link.finish().await;
    }

    fn keys(&mut self, args: &Args, venue: &Venue) -> Option<Signer> {
        let found = ApiKey::load(args.keys.as_deref(), venue.name());
        let (key, source) = match found {
            Ok(found) => found,
            Err(binance::key::KeyError::NotThere) => {
                let text =
                    "none given (--keys, systemd credential or environment): the account is not checked";
                self.add(Finding::warn("keys", text));
                return None;
            }
            Err(error) => {
                self.add(Finding::fail("keys", error.to_string()));
                return None;
            }
        };
        let text = format!("{} from {source}", key.fingerprint());
        if source == KeySource::Environment {
            self.add(Finding::warn(
                "keys",
                format!("{text}: child processes inherit it; use --keys FILE (0600)"),
            ));
        } else {
            self.add(Finding::ok("keys", text));
        }
        self.need("keys", Signer::new(&key))
    }

    fn instruments(&mut self, instruments: &[Instrument]) {
        let notional = |f: fn(f64, f64) -> f64, from: f64| {
            instruments.iter().map(|i| i.min_notional.to_f64()).fold(from, f)
        };
        let text = format!(
            "{} with ticks, lots and limits; smallest order {} to {} USDT",
            instruments.len(),
            notional(f64::min, f64::INFINITY),
            notional(f64::max, 0.0)
        );
        let halted = preflight::halted(instruments);
        if halted.is_empty() {
            return self.add(Finding::ok("instruments", text));
        }
        let text = format!("{text}; these do not trade now: {}", halted.join(", "));
        self.add(Finding::warn("instruments", text));
    }

    /// Everything of the hot path that is made at a start, made.
    fn engine(&mut self, instruments: &[Instrument]) {
        let c = self.config;
        let names: Vec<String> = instruments.iter().map(|i| i.symbol.clone()).collect();
        let stride = c.market.stride();
        let symbols = Symbols::new(instruments.to_vec());
        let made = Scanner::new(names.len(), stride as usize)
            .map_err(|e| e.to_string())
            .and_then(|_| Engine::new(c.alpha.clone(), names, stride).map_err(|e| e.to_string()))
            .and_then(|_| Router::new(c.router.clone(), instruments.to_vec(), 1).map_err(|e| e.to_string()))
            .and_then(|_| ApiKey::hmac("check", "check").map_err(|e| e.to_string()))
            .and_then(|key| Signer::new(&key).map_err(|e| e.to_string()))
            .and_then(|s| Gateway::new(s, symbols, GatewayConfig::default()).map_err(|e| e.to_string()));
        if self.need("engine", made).is_some() {
            self.add(Finding::ok(
                "engine",
                format!("scanner, engine, router and gateway made, stride {stride}"),
            ));
        }
    }

    /// A subscription proves nothing, data does: one stream of each route, and the door of the WebSocket API.
    async fn streams(&mut self, hosts: &Hosts, instruments: &[Instrument], clock: &Clock) {
        let reference = &self.config.alpha.reference_symbol;
        let symbol = instruments.iter().map(|i| &i.symbol).find(|s| *s == reference);
        let Some(symbol) = symbol.or(instruments.first().map(|i| &i.symbol)) else { return };
        let lower = symbol.to_lowercase();
        for (check, base, stream) in
            [("public", &hosts.public, "@depth@100ms"), ("market", &hosts.market, "@markPrice@1s")]
        {
            let url = format!("{}/stream?streams={lower}{stream}", base.trim_end_matches('/'));
            let Some(conn) = self.need(check, node::connections::dial(&url, &self.environment)) else {
                continue;
            };
            match wait(conn, clock, true).await {
                Ok(ms) => {
                    self.add(Finding::ok(check, format!("{lower}{stream} delivers, first after {ms} ms")));
                }
                Err(why) => self.add(Finding::fail(
                    check,
                    format!(
                        "{lower}{stream} on {base}: {why}; is venue.{check}_url the right host and route?"
                    ),
                )),
            }
        }
        let Some(conn) = self.need("orders", node::connections::dial(&hosts.ws_api, &self.environment))
        else {
            return;
        };
        match wait(conn, clock, false).await {
            Ok(ms) => self.add(Finding::ok("orders", format!("{} open after {ms} ms", hosts.ws_api))),
            Err(why) => {
                self.add(Finding::fail("orders", format!("{}: {why}; see venue.ws_api_url", hosts.ws_api)));
            }
        }
    }

    async fn account(&mut self, rest: &RestClient, venue: &Venue, instruments: &[Instrument]) {
        let Some(dual) = self.need("account", rest.dual_side().await) else { return };
        self.add(preflight::position_mode(dual));
        let Some(account) = self.need("account", rest.account(Urgency::Start).await) else { return };
        self.add(preflight::margin(&account, self.config, instruments));
        let symbols = Symbols::new(instruments.to_vec());
        if let Some((orders, foreign)) =
            self.need("account", rest.open_orders(&symbols, None, Urgency::Start).await)
            && let Some(positions) =
                self.need("account", rest.positions(&symbols, None, Urgency::Start).await)
        {
            let open = positions.iter().filter(|p| p.amount != 0.0).count();
            let text = format!(
                "{}, {}",
                counted(orders.len() + foreign.len(), "open order"),
                counted(open, "position")
            );
            let quiet = orders.is_empty() && foreign.is_empty() && open == 0;
            let todo = "reconciled at the start: router.unexpected_position says what happens to positions";
            self.add(if quiet {
                Finding::ok("account", text)
            } else {
                Finding::warn("account", format!("{text}; {todo}"))
            });
        }
        if let Some(configs) = self.need("leverage", rest.symbol_configs(None).await) {
            let of_ours = configs.iter().filter(|c| symbols.id(&c.symbol).is_some());
            let (mut low, mut isolated, mut n) = (u32::MAX, 0, 0);
            for c in of_ours {
                (low, isolated, n) = (low.min(c.leverage), isolated + usize::from(c.isolated), n + 1);
            }
            let most = self.config.alpha.abs_max_leverage;
            let text =
                format!("{}, lowest leverage {low}, {isolated} with isolated margin", counted(n, "symbol"));
            let enough = n == 0 || f64::from(low) >= most;
            let todo = format!(
                "below alpha.abs_max_leverage {most}: entries may lack margin; raise it at the venue"
            );
            self.add(if enough {
                Finding::ok("leverage", text)
            } else {
                Finding::warn("leverage", format!("{text}; {todo}"))
            });
        }
        self.fees(rest).await;
        self.permissions(rest, venue).await;
    }

    /// What the account pays against what the engine's model reckons with.
    async fn fees(&mut self, rest: &RestClient) {
        let p = &self.config.alpha;
        let Some(rate) = self.need("fees", rest.commission_rate(&p.reference_symbol).await) else { return };
        let percent = |x: f64| format!("{:.3} %", x * 100.0);
        let text = format!("maker {}, taker {}", percent(rate.maker), percent(rate.taker));
        if rate.maker > p.maker_fee + 1e-9 || rate.taker > p.taker_fee + 1e-9 {
            let (maker, taker) = (percent(p.maker_fee), percent(p.taker_fee));
            let todo = "live books the real ones; results of replay are kinder";
            let text = format!("the account pays {text}, the engine's model {maker} and {taker}: {todo}");
            return self.add(Finding::warn("fees", text));
        }
        self.add(Finding::ok("fees", text));
    }

    async fn permissions(&mut self, rest: &RestClient, venue: &Venue) {
        let Some(may) = self.need("permissions", rest.api_restrictions().await) else { return };
        let Some(may) = may else {
            return self.add(Finding::ok(
                "permissions",
                format!("{} does not say what the key may do", venue.name()),
            ));
        };
        let faults: Vec<&str> = [
            (may.withdrawals, "it may withdraw"),
            (may.transfers, "it may transfer between accounts"),
            (!may.futures, "it may not trade futures"),
            (!may.ip_restricted, "it is not bound to addresses"),
        ]
        .into_iter()
        .filter_map(|(bad, text)| bad.then_some(text))
        .collect();
        if faults.is_empty() {
            return self.add(Finding::ok("permissions", "futures only, bound to addresses"));
        }
        let text = format!(
            "the key is too wide or too narrow: {}; make one for futures trading only",
            faults.join(", ")
        );
        self.add(Finding::fail("permissions", text));
    }
}

/// The limits we keep to against those that the venue announces.
fn budget(config: &Config, info: &ExchangeInfo) -> Finding {
    let risk = &config.router.risk;
    let announced = |kind: LimitKind, seconds: u64| {
        info.limits.iter().find(|l| l.kind == kind && l.length == seconds * Nanos::SECOND).map(|l| l.limit)
    };
    for (key, ours, venue) in [
        ("venue_orders_per_10s", risk.venue_orders_per_10s, announced(LimitKind::Orders, 10)),
        ("venue_orders_per_min", risk.venue_orders_per_min, announced(LimitKind::Orders, 60)),
        ("venue_weight_per_min", risk.venue_weight_per_min, announced(LimitKind::Weight, 60)),
    ] {
        if let Some(venue) = venue.filter(|venue| *venue < ours) {
            let text = format!("router.risk.{key} is {ours}, the venue allows {venue}: set it to that");
            return Finding::fail("budget", text);
        }
    }
    let symbols = counted(info.instruments.len(), "symbol");
    Finding::ok("budget", format!("{symbols}, the venue's limits are not below ours"))
}

/// Waits until the connection is open (and has delivered, with `data`); gives how long it took in ms.
async fn wait(mut conn: WsConn, clock: &Clock, data: bool) -> Result<u64, String> {
    let (begun, mut frames, mut refused) = (clock.now_ns(), 0, None);
    conn.open();
    while clock.now_ns() - begun < FIRST_DATA.as_nanos() as u64 {
        let activity = conn.poll(Nanos(clock.now_ns()), &mut |_, _, _| frames += 1);
        if let Some(binance::net::Change::Failed(why)) = activity.change {
            refused = Some(why.to_string());
        }
        if frames > 0 || (!data && conn.is_open()) {
            return Ok((clock.now_ns() - begun) / Nanos::MS);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let silent = if conn.is_open() { "it is open and silent" } else { "it cannot be opened" };
    Err(refused.unwrap_or_else(|| format!("{silent} after {} s", FIRST_DATA.as_secs())))
}
