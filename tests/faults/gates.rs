//! Closed gates, each caused on purpose at the venue: the same cause in the status line, `/readyz`, `/api/state`, the metrics
//! and the terminal view, from the moment it closes until it is open again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use telemetry::config::TelemetrySection;
use telemetry::server::{self, Server};
use telemetry::state::{ClosedGate, State};
use venue::faults::{Ending, Fault, Rule};

use crate::harness::{Node, PATIENCE, Setup};

/// A node that is watched from outside.
struct Watched {
    node: Node,
    _server: Server,
    address: SocketAddr,
}

impl Watched {
    fn of(node: Node) -> Self {
        let section = TelemetrySection { listen: "127.0.0.1:0".into(), ..TelemetrySection::default() };
        let server = server::start(&section, Arc::clone(&node.published)).unwrap();
        let address = server.address().unwrap();
        Self { node, _server: server, address }
    }

    fn armed(setup: Setup) -> Self {
        let watched = Self::of(setup.start());
        watched.until("armed", |s| s.armed);
        watched
    }

    fn state(&self) -> Arc<State> {
        self.node.published.newest()
    }

    /// Waits for a state, and says how long it took.
    fn until(&self, what: &str, holds: impl Fn(&State) -> bool) -> Duration {
        let begun = Instant::now();
        while !holds(&self.state()) {
            assert!(begun.elapsed() < PATIENCE, "this did not come about: {what}\n{:#?}", self.state().gates);
            std::thread::sleep(Duration::from_millis(10));
        }
        begun.elapsed()
    }

    fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(self.address).unwrap();
        let host = self.address;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits for a gate to close, and looks at all five places while it is.
    fn closes(&self, name: &str) -> ClosedGate {
        self.until(name, |s| gate(s, name).is_some());
        let begun = Instant::now();
        loop {
            match self.places(name) {
                Ok(gate) => return gate,
                // It changed between two looks.
                Err(why) => assert!(begun.elapsed() < Duration::from_secs(10), "{name}: {why}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn places(&self, name: &str) -> Result<ClosedGate, String> {
        let state = self.state();
        let gate = gate(&state, name).cloned().ok_or("it is open again")?;
        // Numbers in a cause move on: up to the first digit it is the same.
        let cause: String = gate.cause.chars().take_while(|c| !c.is_ascii_digit()).collect();
        let line = telemetry::line::line(&state);
        if gate.symbols.is_empty() && !line.contains("NOT ARMED") {
            return Err(format!("the status line: {line}"));
        }
        let ready = self.get("/readyz");
        if gate.symbols.is_empty() && !ready.contains(&format!("{name}: {cause}")) {
            return Err(format!("/readyz: {ready}"));
        }
        let api = self.get("/api/state");
        if !api.contains(&format!("\"name\":\"{name}\",\"cause\":\"{cause}")) {
            return Err("/api/state".to_owned());
        }
        let metrics = self.get("/metrics");
        if !metrics.contains(&format!("dolphin_gate_closed{{gate=\"{name}\"}} 1\n")) {
            return Err("/metrics".to_owned());
        }
        let mut seen = dolphin::top::Seen::new("http://here");
        seen.take(Ok((*state).clone()));
        let mut terminal = Terminal::new(TestBackend::new(200, 60)).unwrap();
        let view = dolphin::top::View { page: 0, colour: false };
        terminal.draw(|frame| dolphin::top::draw(frame, &seen, view)).unwrap();
        let shown: String = terminal.backend().buffer().content.iter().map(|c| c.symbol()).collect();
        let short: String = cause.chars().take(40).collect();
        if !shown.contains(&format!("{name}: {short}")) {
            return Err(format!("the terminal view: {shown}"));
        }
        if gate.reopens.is_empty() || gate.since_ms == 0 || gate.since_ms > state.at_ms {
            return Err(format!("since when, and what reopens it: {gate:?}"));
        }
        Ok(gate)
    }

    fn opens(&self, name: &str) {
        self.until(&format!("{name} opens"), |s| gate(s, name).is_none());
    }
}

fn gate<'a>(state: &'a State, name: &str) -> Option<&'a ClosedGate> {
    state.gates.iter().find(|g| g.name == name)
}

fn cut(route: &str) -> Fault {
    Fault::Disconnect { route: route.into(), how: Ending::Reset }
}

fn always(fault: Fault) -> Rule {
    Rule { fault, times: 0, skip: 0 }
}

#[test]
fn gates_of_a_start_open_one_after_another_and_then_it_is_armed() {
    let watched = Watched::of(Setup::new(101).launch(&[]));
    watched.until("something is closed", |s| !s.armed && !s.gates.is_empty());
    assert!(telemetry::line::line(&watched.state()).contains("NOT ARMED: "));
    watched.until("armed", |s| s.armed);
    assert!(watched.get("/readyz").contains("200 OK"));
    let state = watched.state();
    assert_eq!((state.market.books_live, state.market.books), (8, 8));
    assert!(state.account.equity.is_some_and(|x| x > 0.0), "{:?}", state.account);
    assert!(
        state.books.iter().all(|b| b.bid < b.ask && b.age_ms.is_some_and(|a| a < 5_000)),
        "{:?}",
        state.books
    );
    let stages: Vec<&str> = state.stages.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(stages, ["feed", "book", "scanner", "alpha", "router", "gateway"]);
    watched.node.finish();
}

#[test]
fn a_dead_market_is_said_within_two_seconds() {
    let watched = Watched::armed(Setup::new(102));
    watched.node.inject(always(Fault::Drop { stream: "*usdt@*".into() }));
    let took =
        watched.until("no market data", |s| gate(s, "market_data").is_some() && s.market.books_live == 0);
    assert!(took < Duration::from_secs(3), "{took:?}");
    let gate = watched.closes("market_data");
    assert!(gate.cause.starts_with("no market data for"), "{gate:?}");
    watched.node.venue.clear_faults();
    watched.opens("market_data");
    watched.until("armed again", |s| s.armed);
    watched.node.finish();
}

#[test]
fn a_lost_user_stream_and_a_lost_order_path_are_named() {
    let watched = Watched::armed(Setup::new(103));
    watched.node.inject(always(Fault::RefuseConnections));
    watched.node.inject(cut("private"));
    watched.closes("user_stream");
    watched.node.inject(cut("ws-fapi"));
    watched.closes("rest_fallback");
    watched.node.venue.clear_faults();
    watched.opens("user_stream");
    watched.opens("rest_fallback");
    watched.until("armed again", |s| s.armed);
    watched.node.finish();
}

#[test]
fn a_book_out_of_step_closes_its_symbol_alone() {
    let watched = Watched::armed(Setup::new(104));
    watched.node.inject(always(Fault::Drop { stream: "ethusdt@depth@100ms".into() }));
    let gate = watched.closes("books");
    assert_eq!(gate.symbols, ["ETHUSDT"]);
    assert!(watched.state().armed, "the others go on");
    watched.node.venue.clear_faults();
    watched.opens("books");
    watched.node.finish();
}

#[test]
fn a_clock_that_is_off_a_ban_and_changed_settings_are_named() {
    let watched = Watched::armed(Setup::new(105).config(|c| c.venue.account_check_ms = 1_000));
    watched.node.inject(Fault::SetLeverage { account: 0, symbol: "BTCUSDT".into(), leverage: 3 });
    let gate = watched.closes("account_mode");
    assert!(gate.cause.starts_with("tripped by") && gate.reopens.contains("rearm"), "{gate:?}");
    watched.node.inject(Fault::ClockOffset { ms: -5_000 });
    watched.closes("clock");
    watched.node.finish();
}

#[test]
fn a_start_without_prices_warms_up_bar_by_bar() {
    let mut setup = Setup::new(106);
    setup.warm = false;
    let watched = Watched::of(setup.launch(&[]));
    let gate = watched.closes("warm_up");
    assert!(gate.cause.contains("of 152 bars") || gate.cause.contains("no tick"), "{gate:?}");
    watched.node.finish();
}

#[test]
fn the_kill_file_is_named_while_the_run_ends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kill");
    let mut setup = Setup::new(107);
    setup.kill_file = Some(file.clone());
    let watched = Watched::armed(setup);
    std::fs::write(&file, "").unwrap();
    let began = Instant::now();
    let mut found = None;
    while found.is_none() && began.elapsed() < PATIENCE {
        found = gate(&watched.state(), "kill_file").cloned();
        std::thread::sleep(Duration::from_millis(5));
    }
    let found = found.expect("the kill file is named");
    assert!(found.reopens.contains("remove") && found.reopens.contains("kill"), "{found:?}");
    let mut node = watched.node;
    assert!(node.ended().is_ok(), "it ends in good order");
}
