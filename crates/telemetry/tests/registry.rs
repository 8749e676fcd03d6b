//! One list of metrics: the exporter, the book, the alert rules and the Grafana dashboards name nothing that is not on it,
//! and everything on it is exported and explained.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use telemetry::latency::BOUNDS_NS;
use telemetry::openmetrics;
use telemetry::registry::{self, Kind};
use telemetry::state::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A state in which everything that may be absent is there.
fn full(symbols: usize) -> State {
    let percentiles = Some(Percentiles { n: 9, p50: 1e-5, p99: 2e-5, p999: 2e-5, max: 3e-5 });
    let hop = |name: &str| Hop {
        name: name.into(),
        minute: percentiles,
        all: percentiles,
        buckets: vec![9; BOUNDS_NS.len()],
        sum: 1e-4,
    };
    let some = Some(0.5);
    State {
        schema: SCHEMA,
        at_ms: 1_000,
        trading_state: "ACTIVE".into(),
        gates: vec![ClosedGate { name: "user_stream".into(), ..ClosedGate::default() }],
        account: Account {
            equity: some,
            wallet: some,
            day_pnl: some,
            realised: some,
            unrealised: some,
            drawdown: some,
            day_start: some,
            margin_free: some,
            compared_ms: Some(7),
            ..Account::default()
        },
        positions: vec![Position { symbol: "BTCUSDT".into(), lots: -3, ..Position::default() }],
        maker: Maker { entries: some, exits: some, all: some },
        signal: Signal {
            vel_div: Some(-0.03),
            rm: some,
            own_rm: some,
            boost: some,
            beta: some,
            funnel: BTreeMap::from([("signal".to_owned(), 5)]),
            ..Signal::default()
        },
        market: Market { data_age_ms: Some(5), ..Market::default() },
        books: (0..symbols)
            .map(|i| Book {
                symbol: format!("S{i}USDT"),
                bid: Some(1.0),
                ask: Some(1.1),
                age_ms: Some(9),
                mask: None,
            })
            .collect(),
        connections: vec![Connection {
            name: "public".into(),
            lost: BTreeMap::from([("reset".to_owned(), 1)]),
            heard_ms: Some(120),
            ..Connection::default()
        }],
        latency: ["book", "tick_to_order", "acknowledged"].map(hop).into(),
        stages: vec![Stage { name: "book".into(), ..Stage::default() }],
        rings: vec![Ring { name: "feed_to_book".into(), ..Ring::default() }],
        journal: Some(Journal { disk_free: Some(7), disk_size: Some(9), ..Journal::default() }),
        clock: Clock { offset_ms: some, error_ms: some },
        limits: BTreeMap::from([("venue_weight_60s".to_owned(), 0.1)]),
        alerts: BTreeMap::from([("Refused -2010".to_owned(), 1), ("Denied BookAge".to_owned(), 2)]),
        ..State::default()
    }
}

/// Families of an OpenMetrics text with their kind, and the names of its samples.
fn parse(text: &str) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let (mut families, mut samples) = (BTreeMap::new(), BTreeSet::new());
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines().filter(|l| *l != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
        } else if !line.starts_with('#') {
            let end = line.find(['{', ' ']).unwrap();
            let value = line.rsplit(' ').next().unwrap();
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            samples.insert(line[..end].to_owned());
        }
    }
    (families, samples)
}

#[test]
fn everything_on_the_list_is_exported_and_nothing_else() {
    let (families, samples) = parse(&openmetrics::text(&full(2), 1_500));
    let wanted: BTreeMap<String, String> =
        registry::ALL.iter().map(|m| (m.family.to_owned(), m.kind.name().to_owned())).collect();
    assert_eq!(wanted.len(), registry::ALL.len(), "a name twice");
    assert_eq!(families, wanted);
    for m in registry::ALL {
        assert!(m.meaning.len() > 3 && m.meaning.ends_with('.'), "{}", m.family);
        assert!(m.unit.is_empty() || m.family.ends_with(&format!("_{}", m.unit)), "{}", m.family);
        let sample = if m.kind == Kind::Histogram { format!("{}_bucket", m.family) } else { m.name() };
        assert!(samples.contains(&sample), "no sample of {sample}");
    }
}

#[test]
fn the_first_state_and_four_hundred_symbols_are_exported_too() {
    let (families, _) = parse(&openmetrics::text(&State::default(), 0));
    assert_eq!(families.len(), registry::ALL.len());
    let text = openmetrics::text(&full(400), 1_500);
    assert!(text.len() < 200_000, "{} bytes", text.len());
    // Labels of symbols are the only ones that grow, three samples each.
    let per_symbol = text.lines().filter(|l| l.contains("symbol=")).count();
    assert_eq!(per_symbol, 3 * 400 + 1);
}

/// Names of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !(is_name(c) || c == ':'));
    let metrics = words.filter(|w| w.starts_with("dolphin_") || w.starts_with("dolphin:"));
    metrics.map(str::to_owned).collect()
}

/// Every name that queries may use.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for m in registry::ALL {
        match m.kind {
            Kind::Histogram => {
                known.extend(["bucket", "count", "sum"].map(|end| format!("{}_{end}", m.family)));
            }
            _ => drop(known.insert(m.name())),
        }
    }
    let rules = read("ops/prometheus/dolphin.rules.yml");
    let records = rules.lines().filter_map(|l| l.trim().strip_prefix("- record: "));
    known.extend(records.map(str::to_owned));
    known
}

#[test]
fn rules_and_dashboards_use_no_metric_that_does_not_exist() {
    let known = known();
    for file in [
        "ops/prometheus/dolphin.rules.yml",
        "ops/prometheus/dolphin.test.yml",
        "ops/grafana/dashboards/trading.json",
        "ops/grafana/dashboards/machine.json",
    ] {
        let unknown: Vec<String> = names(&read(file)).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?} are no metrics");
    }
    for file in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let unknown: Vec<String> =
            names(&fs::read_to_string(&path).unwrap()).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{}: {unknown:?} are no metrics", path.display());
    }
    // Gates that rules name are gates.
    let gates: BTreeSet<&str> = registry::GATES.iter().map(|(name, _)| *name).collect();
    let rules = read("ops/prometheus/dolphin.rules.yml");
    for part in rules.split("dolphin_gate_closed{gate=").skip(1) {
        let text = part.trim_start_matches(['~', '\\', '"']);
        let named = text.split(['\\', '"']).next().unwrap();
        for gate in named.split('|') {
            assert!(gates.contains(gate), "`{gate}` is no gate");
        }
    }
}

#[test]
fn each_alert_has_a_severity_a_runbook_and_a_test() {
    let (rules, tests) = (read("ops/prometheus/dolphin.rules.yml"), read("ops/prometheus/dolphin.test.yml"));
    let index = read("docs/runbooks/README.md");
    let mut alerts = 0;
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        assert!(
            ["page", "warning", "info"].iter().any(|s| rule.contains(&format!("severity: {s}"))),
            "{name}"
        );
        assert!(rule.contains(&format!("runbook: docs/runbooks/{name}.md")), "{name}");
        let page = read(&format!("docs/runbooks/{name}.md"));
        for part in ["What it means", "Where to look", "What to do"] {
            assert!(page.contains(part), "docs/runbooks/{name}.md: {part}");
        }
        assert!(index.contains(&format!("[{name}]({name}.md)")), "{name} is not in the index");
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} has no test");
        alerts += 1;
    }
    assert!(alerts >= 26, "{alerts}");
}

#[test]
fn the_reference_in_the_book_is_the_list() {
    let path = root().join("docs/metrics.md");
    if std::env::var_os("DOLPHIN_WRITE_DOCS").is_some() {
        fs::write(&path, registry::markdown()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let how = "run: DOLPHIN_WRITE_DOCS=1 cargo test -p telemetry --test registry";
    assert!(written == registry::markdown(), "docs/metrics.md is not the registry's; {how}");
}

#[test]
fn each_gate_has_its_page() {
    let (index, contents) = (read("docs/runbooks/README.md"), read("docs/SUMMARY.md"));
    for (name, _) in registry::GATES {
        let page = read(&format!("docs/runbooks/gates/{name}.md"));
        for part in ["Why it is closed", "What opens it", "What to do"] {
            assert!(page.contains(part), "docs/runbooks/gates/{name}.md: {part}");
        }
        assert!(index.contains(&format!("[{name}](gates/{name}.md)")), "{name} is not in the index");
        assert!(contents.contains(&format!("(runbooks/gates/{name}.md)")), "{name} is not in the contents");
    }
}
