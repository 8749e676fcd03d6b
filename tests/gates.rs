//! Every closed gate, caused on purpose in the simulation: the same cause in the status line, `/readyz`, `/api/state` (from
//! which the dashboard is made), the metrics and the terminal view, while it is closed; then its own way to open it again
//! is gone, and it opens.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use sim::faults::Fault;
use sim::network::Link;
use sim::run::{Circumstances, Layout, Setup};
use sim::scene::Scene;
use sim::strike::strike;
use sim::world::World;
use telemetry::config::TelemetrySection;
use telemetry::published::Published;
use telemetry::registry::GATES;
use telemetry::server::{self, Server};
use telemetry::state::{ClosedGate, State};
use venue::faults::{Fault as VenueFault, Rule};

/// Something that does not come about within this, simulated, does not come about.
const PATIENCE_MS: u64 = 180_000;

/// The first node of a simulated world, watched from outside.
struct Watched<'w> {
    world: &'w Rc<World>,
    published: Arc<Published>,
    /// What the server shows: the state that is looked at, as if it were of now.
    shown: Arc<Published>,
    address: SocketAddr,
    _server: Server,
}

/// A world as `prepare` wants it, and what is done in it. One node in it trades; short holds, so that there are positions.
fn drill(seed: u64, prepare: impl FnOnce(&mut Scene), story: impl AsyncFnOnce(Watched<'_>)) {
    drill_in(Layout::One, seed, prepare, story);
}

fn drill_in(
    layout: Layout,
    seed: u64,
    prepare: impl FnOnce(&mut Scene),
    story: impl AsyncFnOnce(Watched<'_>),
) {
    let mut setup = Setup { circumstances: Circumstances::USUAL, layout, ..Setup::of(seed, 600_000, 6) };
    setup.published = true;
    let mut scene = setup.scene().unwrap();
    scene.programs[0].config.market.audit_interval_ms = 30_000;
    prepare(&mut scene);
    scene
        .play(async |world| {
            let published = world.published(0).unwrap();
            let section = TelemetrySection { listen: "127.0.0.1:0".into(), ..TelemetrySection::default() };
            let shown = Arc::<Published>::default();
            let server = server::start(&section, Arc::clone(&shown), None).unwrap();
            let address = server.address().unwrap();
            story(Watched { world, published, shown, address, _server: server }).await;
        })
        .unwrap();
}

impl Watched<'_> {
    fn state(&self) -> Arc<State> {
        self.published.newest()
    }

    async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let begun = self.world.now_ms();
        while !holds(&self.state()) {
            let told = || (self.state().gates.clone(), self.state().signal.clone(), self.world.timeline());
            assert!(
                self.world.now_ms() - begun < PATIENCE_MS,
                "this did not come about: {what}\n{:#?}",
                told()
            );
            self.world.wait_ms(50).await;
        }
    }

    async fn armed(&self) {
        self.until("armed", |s| s.armed).await;
    }

    async fn holding(&self) {
        self.until("a position", |s| s.armed && !s.positions.is_empty()).await;
    }

    /// Waits for a gate to close, and looks at all five places while it is closed.
    async fn closes(&self, name: &str) -> ClosedGate {
        assert!(GATES.iter().any(|(n, _)| *n == name), "{name} is no gate");
        self.until(name, |s| gate(s, name).is_some()).await;
        self.shown(name)
    }

    /// While we look, the simulated time stands still.
    fn shown(&self, name: &str) -> ClosedGate {
        let mut state = (*self.state()).clone();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let later = now_ms - state.at_ms;
        state.at_ms = now_ms;
        state.gates.iter_mut().for_each(|g| g.since_ms += later);
        self.shown.publish(state.clone());
        let gate = gate(&state, name).cloned().unwrap();
        let account = gate.symbols.is_empty();
        let line = telemetry::line::line(&state);
        let first = state.account_gates().next().is_some_and(|g| g.name == name);
        assert!(!account || line.contains("NOT ARMED: "), "{name}: {line}");
        assert!(!first || line.contains(&gate.cause), "{name}: {line}");
        let ready = self.get("/readyz");
        assert!(!account || ready.contains(&format!("{name}: {}", gate.cause)), "{name}: {ready}");
        let api: State =
            serde_json::from_str(self.get("/api/state").split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(api.gates.iter().find(|g| g.name == name), Some(&gate));
        let metrics = self.get("/metrics");
        assert!(
            metrics.contains(&format!("dolphin_gate_closed{{gate=\"{name}\"}} 1\n")),
            "{name}: {metrics}"
        );
        let mut seen = dolphin::top::Seen::new("http://here");
        seen.take(Ok(state.clone()));
        let mut terminal = Terminal::new(TestBackend::new(200, 60)).unwrap();
        let view = dolphin::top::View { page: 0, colour: false };
        terminal.draw(|frame| dolphin::top::draw(frame, &seen, view)).unwrap();
        let top: String = terminal.backend().buffer().content.iter().map(|c| c.symbol()).collect();
        let short: String = gate.cause.chars().take(40).collect();
        assert!(top.contains(&format!("{name}: {short}")), "{name}: {top}");
        assert!(
            !gate.reopens.is_empty() && gate.since_ms > later && gate.since_ms <= state.at_ms,
            "{gate:?}"
        );
        gate
    }

    fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(self.address).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    async fn opens(&self, name: &str) {
        self.until(&format!("{name} opens"), |s| !s.gates.is_empty() || s.armed).await;
        self.until(&format!("{name} opens"), |s| s.sequence > 0 && gate(s, name).is_none()).await;
    }

    /// Everything that was wrong is set right, and what latched is rearmed.
    async fn healed(&self, name: &str) {
        self.world.heal();
        self.opens(name).await;
        self.armed().await;
    }

    fn strike(&self, fault: Fault) {
        assert!(strike(self.world, &fault), "{fault:?} struck nothing");
    }

    /// A fault of the venue, until healed.
    fn venue(&self, fault: VenueFault) {
        self.strike(Fault::Venue { rule: Rule { fault, times: 0, skip: 0 }, for_ms: None });
    }

    fn once(&self, fault: VenueFault) {
        self.strike(Fault::Venue { rule: Rule::times(fault, 1), for_ms: None });
    }

    fn bid(&self, symbol: &str) -> f64 {
        self.state().books.iter().find(|b| b.symbol == symbol).unwrap().bid.unwrap()
    }

    fn write(&self, map: &str, key: &str, value: &str) {
        self.world.cluster.put(map, key, value.to_owned());
    }
}

fn gate<'a>(state: &'a State, name: &str) -> Option<&'a ClosedGate> {
    state.gates.iter().find(|g| g.name == name)
}

fn refuses(on: &str, code: i32) -> VenueFault {
    VenueFault::ReplyError { on: on.to_owned(), code, msg: String::new(), status: 400, executed: false }
}

fn outside(symbol: &str, side: &str, quantity: &str, price: Option<&str>) -> VenueFault {
    VenueFault::ExternalOrder {
        account: 0,
        symbol: symbol.to_owned(),
        side: side.to_owned(),
        quantity: quantity.to_owned(),
        price: price.map(str::to_owned),
        client_id: None,
    }
}

#[test]
fn every_gate_has_its_scenario() {
    let source = include_str!("gates.rs");
    // Whoever changed the trading state says why, under a name of its own; no check of the account latches under the last.
    let without: BTreeSet<&str> = BTreeSet::from(["state", "tripped"]);
    let missing: Vec<&str> = GATES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| {
            let caused = [format!("closes(\"{name}\")"), format!(", \"{name}\", |s|")];
            !caused.iter().any(|text| source.contains(text)) && !without.contains(name)
        })
        .collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_start_and_what_it_waits_for() {
    drill(
        1,
        |s| s.bars = 10,
        async |w| {
            // REST answers, or nothing would begin.
            w.venue(VenueFault::Page { on: "WS *".to_owned(), status: 503 });
            w.closes("starting").await;
            w.closes("order_path").await;
            w.world.heal();
            w.opens("order_path").await;
            w.until("a tick", |s| s.signal.ticks > 0).await;
            let gate = w.closes("warm_up").await;
            assert!(gate.reopens.contains("warm-start"), "{gate:?}");
            w.armed().await;
        },
    );
}

#[test]
fn market_data_and_books() {
    drill(
        2,
        |_| (),
        async |w| {
            w.armed().await;
            w.venue(VenueFault::Drop { stream: "*usdt@*".into() });
            let gate = w.closes("market_data").await;
            assert!(gate.cause.starts_with("no market data for"), "{gate:?}");
            w.healed("market_data").await;
            w.venue(VenueFault::Drop { stream: "ethusdt@depth@100ms".into() });
            let gate = w.closes("books").await;
            assert_eq!(gate.symbols, ["ETHUSDT"]);
            assert!(w.state().armed, "the others go on");
            w.healed("books").await;
        },
    );
}

#[test]
fn connections() {
    drill(
        3,
        |_| (),
        async |w| {
            w.armed().await;
            w.venue(VenueFault::RefuseConnections);
            w.strike(Fault::Reset { machine: 0, link: Link::User });
            w.closes("user_stream").await;
            w.strike(Fault::Reset { machine: 0, link: Link::Orders });
            w.closes("rest_fallback").await;
            w.closes("reconciled").await;
            w.healed("reconciled").await;
        },
    );
}

#[test]
fn the_process_and_its_disk() {
    drill(
        4,
        |_| (),
        async |w| {
            w.armed().await;
            w.strike(Fault::DiskFull { machine: 0, for_ms: 60_000 });
            w.closes("journal_hole").await;
            w.strike(Fault::MemoryAway { machine: 0, for_ms: 60_000 });
            w.closes("state_unkept").await;
            w.healed("state_unkept").await;
            assert!(gate(&w.state(), "journal_hole").is_none());
            w.strike(Fault::Hang { machine: 0 });
            w.closes("worker_silent").await;
            w.healed("worker_silent").await;
        },
    );
}

#[test]
fn memory_silent_at_a_start() {
    drill(
        5,
        |_| (),
        async |w| {
            w.armed().await;
            w.strike(Fault::MemoryAway { machine: 0, for_ms: 90_000 });
            w.strike(Fault::Kill { machine: 0, after_polls: 0, power: false, back_ms: 100 });
            w.closes("memory_unread").await;
            w.healed("memory_unread").await;
        },
    );
}

#[test]
fn a_dry_run_and_a_run_that_ends() {
    drill(
        6,
        |s| s.programs[0].config.runtime.dry_run = true,
        async |w| {
            w.closes("dry_run").await;
            w.world.slots.borrow_mut()[0].program.config.runtime.dry_run = false;
            w.strike(Fault::Terminate { machine: 0, back_ms: 100 });
            w.opens("dry_run").await;
            w.holding().await;
            w.strike(Fault::Terminate { machine: 0, back_ms: 2_000 });
            w.closes("stopping").await;
            w.opens("stopping").await;
            w.armed().await;
            w.strike(Fault::KillSwitch { machine: 0, flatten: true });
            let gate = w.closes("kill_file").await;
            assert!(gate.reopens.starts_with("remove "), "{gate:?}");
            w.healed("kill_file").await;
            w.strike(Fault::KillOrder { flatten: true });
            w.closes("kill").await;
            w.healed("kill").await;
        },
    );
}

/// 23:58 UTC, so that the next day is near.
const NEARLY_MIDNIGHT_NS: u64 = 1_767_225_600_000_000_000 - 120_000_000_000;

/// A node that may be replaced; its standby is not there.
#[test]
fn a_lease_that_memory_does_not_confirm() {
    let alone = |scene: &mut Scene| drop(scene.programs.remove(1));
    drill_in(Layout::Four, 6, alone, async |w| {
        w.armed().await;
        w.strike(Fault::MemoryAway { machine: 0, for_ms: 40_000 });
        w.closes("lease").await;
        w.healed("lease").await;
    });
}

/// Whoever trades nothing says so too: a standby, and the nodes that keep books for the others.
#[test]
fn nodes_that_trade_nothing_say_why() {
    drill_in(
        Layout::Four,
        6,
        |_| (),
        async |mut w| {
            let world = w.world;
            let state = |machine: usize| world.published(machine).unwrap().newest();
            let cause =
                |machine: usize| state(machine).gates.first().map_or(String::new(), |g| g.cause.clone());
            w.world.wait_ms(20_000).await;
            let active = (0..2).find(|m| state(*m).armed).expect("one of the two is armed");
            let standby = 1 - active;
            assert!(cause(standby).starts_with("standing by: alpha_"), "{}", cause(standby));
            assert_eq!((state(standby).market.books, state(standby).market.books_live), (6, 6));
            for ingest in [2, 3] {
                assert!(cause(ingest).starts_with("an ingest node"), "{}", cause(ingest));
                let market = &state(ingest).market;
                assert_eq!((market.books, market.books_live), (3, 3), "{market:?}");
                assert!(market.data_age_ms.is_some_and(|age| age < 1_000), "{market:?}");
                assert!(state(ingest).memory.connected && state(ingest).memory.written > 100);
            }
            w.published = world.published(standby).unwrap();
            w.closes("role").await;
            w.strike(Fault::Kill { machine: active, after_polls: 0, power: false, back_ms: 3_600_000 });
            w.opens("role").await;
            w.armed().await;
        },
    );
}

#[test]
fn what_ends_at_midnight() {
    let late = |scene: &mut Scene| scene.begins_ns = NEARLY_MIDNIGHT_NS;
    let judged = |scene: &mut Scene| {
        late(scene);
        // Red on a morning after a day of four trades and more.
        let model = r#"{"format": "dolphin-forewarner-1", "kind": "random_forest", "base_value": 0, "learning_rate": 1,
            "feature_names": ["trades_yesterday"], "trees": [{"feature": [0, 0, 0], "threshold": [3.5, 0, 0],
            "left": [1, -1, -1], "right": [2, -1, -1], "value": [0, 1.2, 0.5]}]}"#;
        scene.programs[0].forewarner = Some(alpha::Forewarner::from_json(model.as_bytes()).unwrap());
    };
    drill(8, judged, async |w| {
        let gate = w.closes("forewarner").await;
        assert!(gate.reopens.contains("next day"), "{gate:?}");
        // A day without trades passes while the node is down.
        let day_ms = 86_400_000;
        w.venue(VenueFault::ClockOffset { ms: day_ms });
        w.strike(Fault::ClockStep { machine: 0, ms: day_ms });
        w.strike(Fault::Kill { machine: 0, after_polls: 0, power: false, back_ms: 100 });
        w.opens("forewarner").await;
        w.armed().await;
    });
    drill(7, late, async |w| {
        w.armed().await;
        w.write("DOLPHIN_SAFETY", "latest", r#"{"posture": "HIBERNATE", "Rm": 0.1}"#);
        let gate = w.closes("hibernate").await;
        assert!(gate.reopens.contains("date change"), "{gate:?}");
        w.write("DOLPHIN_SAFETY", "latest", r#"{"posture": "APEX", "Rm": 1.0}"#);
        w.opens("hibernate").await;
        w.armed().await;
    });
    let no_loss = |scene: &mut Scene| {
        scene.begins_ns = NEARLY_MIDNIGHT_NS;
        scene.programs[0].config.breaker.max_consecutive_losses = 1;
    };
    drill(9, no_loss, async |w| {
        let gate = w.closes("breaker").await;
        assert!(gate.reopens.contains("next day"), "{gate:?}");
        w.opens("breaker").await;
    });
}

#[test]
fn the_start_after_a_kill() {
    drill(
        10,
        |_| (),
        async |w| {
            w.holding().await;
            w.strike(Fault::Kill { machine: 0, after_polls: 0, power: false, back_ms: 10 });
            w.closes("predecessor").await;
            w.opens("predecessor").await;
            w.holding().await;
            for path in ["GET /fapi/v1/depth", "GET /fapi/v1/premiumIndex", "GET /fapi/v1/klines"] {
                w.venue(VenueFault::Page { on: path.to_owned(), status: 503 });
            }
            w.venue(VenueFault::Drop { stream: "*usdt@*".into() });
            w.strike(Fault::Kill { machine: 0, after_polls: 0, power: false, back_ms: 10 });
            w.closes("equity_unknown").await;
            w.healed("equity_unknown").await;
        },
    );
}

#[test]
fn clocks() {
    drill(
        11,
        |_| (),
        async |w| {
            w.armed().await;
            w.venue(VenueFault::ClockOffset { ms: -5_000 });
            w.closes("clock").await;
            w.healed("clock").await;
            w.venue(VenueFault::ReplyDelay { on: "*time".to_owned(), ms: 4_000 });
            w.closes("clock_error").await;
            w.healed("clock_error").await;
        },
    );
}

#[test]
fn orders_that_the_venue_does_not_take() {
    let strict = |scene: &mut Scene| risk(scene).max_unknown_orders = 0;
    drill(12, strict, async |w| {
        w.armed().await;
        w.venue(VenueFault::ReplyNever { on: "order.place".to_owned(), executed: true });
        w.venue(VenueFault::Drop { stream: "user@*".to_owned() });
        w.closes("unknown_orders").await;
        w.healed("unknown_orders").await;
        w.venue(refuses("order.place", -2019));
        w.closes("margin").await;
        w.healed("margin").await;
        w.strike(Fault::Venue { rule: Rule::times(VenueFault::Ban { ms: 60_000 }, 1), for_ms: None });
        w.closes("backoff").await;
        w.healed("backoff").await;
    });
    let strict = |scene: &mut Scene| {
        risk(scene).venue_orders_per_10s = 5;
        risk(scene).max_rejects_per_min = 3;
    };
    drill(13, strict, async |w| {
        w.closes("order_rate").await;
        w.opens("order_rate").await;
        w.venue(refuses("order.place", -4003));
        let gate = w.closes("reject_rate").await;
        assert!(gate.cause.starts_with("tripped by") && gate.reopens.contains("rearm"), "{gate:?}");
        w.healed("reject_rate").await;
    });
}

#[test]
fn somebody_else_on_the_account() {
    let without_one = |scene: &mut Scene| {
        scene.programs[0].config.market.symbols.retain(|s| s != "ETHUSDT");
        scene.programs[0].config.venue.account_check_ms = 1_000;
    };
    drill(14, without_one, async |w| {
        w.armed().await;
        w.once(outside("ETHUSDT", "BUY", "0.5", None));
        let gate = w.closes("unlisted").await;
        assert!(gate.cause.contains("ETHUSDT"), "{gate:?}");
        w.strike(Fault::ClosedByHand { unheard: false });
        w.opens("unlisted").await;
        w.armed().await;
        w.once(VenueFault::SetLeverage { account: 0, symbol: "BTCUSDT".into(), leverage: 3 });
        w.closes("account_mode").await;
        w.healed("account_mode").await;
        let price = format!("{:.0}", w.bid("BTCUSDT") * 0.98);
        w.once(outside("BTCUSDT", "BUY", "0.010", Some(&price)));
        w.closes("foreign").await;
        w.once(VenueFault::CancelOrder { account: 0, symbol: "BTCUSDT".into(), client_id: None });
        w.healed("foreign").await;
        // Where a trade of ours begins or is open it would be a part of that.
        let state = w.state();
        let taken = |s: &str| {
            state.positions.iter().any(|p| p.symbol == s) || state.orders.iter().any(|o| o.symbol == s)
        };
        let free = ["BTCUSDT", "BNBUSDT", "SOLUSDT"].into_iter().find(|s| !taken(s)).unwrap();
        w.once(outside(free, "BUY", "0.5", None));
        w.closes("unexpected").await;
        w.strike(Fault::ClosedByHand { unheard: false });
        w.healed("unexpected").await;
        w.venue(refuses("order.place", -2015));
        w.closes("refused").await;
        w.healed("refused").await;
    });
}

/// A limit of the account so tight that the first trades meet it; wider again after a start, as an operator would set it.
fn limit(seed: u64, name: &str, tighten: impl Fn(&mut Scene)) {
    let usual = RefCell::new(None);
    let tight = |scene: &mut Scene| {
        *usual.borrow_mut() = Some(scene.programs[0].config.clone());
        tighten(scene);
    };
    drill(seed, tight, async |w| {
        w.closes(name).await;
        // What is known of the day, and what latched, outlives a kill -9.
        w.strike(Fault::Kill { machine: 0, after_polls: 0, power: false, back_ms: 100 });
        w.closes("starting").await;
        w.opens("starting").await;
        w.closes(name).await;
        assert_eq!(w.state().counts.entries, 0, "{name}: something was opened after the start");
        w.world.slots.borrow_mut()[0].program.config = usual.take().unwrap();
        w.strike(Fault::Terminate { machine: 0, back_ms: 100 });
        w.until("another start", |s| s.gates.iter().any(|g| g.name == "starting")).await;
        w.healed(name).await;
    });
}

fn risk(scene: &mut Scene) -> &mut execution::RiskConfig {
    &mut scene.programs[0].config.router.risk
}

#[test]
fn limits_of_the_day() {
    limit(15, "day_loss", |s| risk(s).max_day_loss_usd = Some(5.0));
    limit(16, "drawdown", |s| risk(s).max_day_drawdown = 0.0002);
    limit(17, "turnover", |s| risk(s).max_day_turnover_usd = Some(50_000.0));
    limit(18, "fees", |s| risk(s).max_day_fees_usd = Some(5.0));
    limit(19, "order_to_trade", |s| {
        (risk(s).max_order_to_trade, risk(s).order_to_trade_after) = (1.01, 4);
    });
}

#[test]
fn limits_of_entries() {
    limit(22, "repeated", |s| risk(s).max_repeated_entries = 1);
    limit(23, "slippage", |s| risk(s).max_slippage_bps = 0.01);
}

#[test]
fn margin_that_somebody_else_uses() {
    let little = |scene: &mut Scene| {
        (risk(scene).min_free_margin_of_equity, risk(scene).min_liquidation_distance) = (0.5, 0.5);
        scene.venue.accounts[0].balance = market::Amount(2_500 * market::Amount::ONE);
    };
    drill(20, little, async |w| {
        w.armed().await;
        let worth = |usdt: f64| format!("{:.3}", usdt / w.bid("BTCUSDT"));
        w.once(outside("BTCUSDT", "BUY", &worth(30_000.0), None));
        w.closes("free_margin").await;
        w.closes("liquidation_distance").await;
        w.strike(Fault::ClosedByHand { unheard: false });
        w.healed("free_margin").await;
        w.opens("liquidation_distance").await;
    });
}

#[test]
fn a_countdown_that_is_not_refreshed() {
    // Held long, so that something rests while it is refused.
    let long = |scene: &mut Scene| scene.programs[0].config.alpha.max_hold_bars = 400;
    drill(24, long, async |w| {
        w.holding().await;
        w.venue(refuses("*countdownCancelAll", -1007));
        w.closes("dead_man").await;
        w.healed("dead_man").await;
    });
}
