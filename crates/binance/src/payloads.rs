//! Every recorded payload of the shared data is decoded by the type that belongs to it, and every price and quantity
//! in it comes back as it was sent. The directories are walked: a file that nobody here understands fails the test.

mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use market::{ExecType, Increment, Instrument, Level, MarketEvent, SymbolId};
use proptest::prelude::*;
use serde_json::Value;

use crate::Symbols;
use crate::decode::{Decoder, Frame};
use crate::json::Reader;
use crate::reply::Reply;
use crate::report::{Fact, OrderRow, Source};
use crate::rest::{account, parse_exchange_info};
use crate::user::{UserDecoder, UserEvent, UserEventKind};
use kinds::{ACKS, NOT_ASKED, kind_of_file};

/// A recorded text and what it is: `GET /fapi/v1/order`, `api order.place`, `event depthUpdate`, ….
#[derive(Debug, Clone)]
struct Payload {
    name: String,
    kind: String,
    text: String,
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

/// The event type of a frame, raw or wrapped.
fn event_kind(text: &str) -> Option<String> {
    let v: Value = serde_json::from_str(text).ok()?;
    let e = [&v["data"]["e"], &v["data"][0]["e"], &v["e"]].into_iter().find_map(|e| e.as_str())?;
    Some(format!("event {e}"))
}

/// A file of the first collection: `METHOD\npath\nsigned\nJSON`, or lines `> sent`, `< answered`, `= received`.
fn split_file(name: &str, text: &str) -> Vec<Payload> {
    let payload =
        |kind: String, text: &str| Payload { name: name.to_owned(), kind, text: text.trim().to_owned() };
    if text.starts_with('>') {
        // Whatever came in: after `= `, each up to the next mark at the beginning of a line.
        let sent = text.lines().next().and_then(|l| l.split_once('{')).map(|(_, rest)| format!("{{{rest}"));
        let method =
            sent.and_then(|s| s.split("\"method\": \"").nth(1)?.split('"').next().map(str::to_owned));
        let mut parts: Vec<String> = Vec::new();
        for line in text.lines() {
            match line.as_bytes().first() {
                Some(b'>' | b'<') => parts.push(String::new()),
                Some(b'=') => {
                    parts.push(line.trim_start_matches(|c: char| c == '=' || c.is_ascii_digit()).to_owned());
                }
                _ => match parts.last_mut() {
                    Some(last) => {
                        last.push('\n');
                        last.push_str(line);
                    }
                    None => parts.push(line.to_owned()),
                },
            }
        }
        return parts
            .iter()
            .filter(|p| !p.trim().is_empty())
            .map(|part| {
                let kind = event_kind(part).or_else(|| Some(format!("api {}", method.clone()?)));
                payload(kind.unwrap_or_else(|| "?".into()), part)
            })
            .collect();
    }
    let mut head = text.splitn(4, '\n').map(str::trim);
    match (head.next(), head.next(), head.next(), head.next()) {
        (Some(method @ ("GET" | "POST" | "PUT" | "DELETE")), Some(path), Some(_), Some(body)) => {
            vec![payload(format!("{method} {path}"), body)]
        }
        _ => {
            let stem = Path::new(name).file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            let kind = event_kind(text).or_else(|| kind_of_file(stem).map(str::to_owned));
            vec![payload(kind.unwrap_or_else(|| "?".into()), text)]
        }
    }
}

fn user_data() -> Option<Vec<Payload>> {
    let mut paths = Vec::new();
    files(&testkit::shared_data("venue/user_data")?, &mut paths);
    let read = |p: &PathBuf| split_file(&p.display().to_string(), &std::fs::read_to_string(p).unwrap());
    let all: Vec<Payload> = paths.iter().flat_map(read).collect();
    let told: BTreeSet<&str> = all.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(told.len(), paths.len(), "every file gave a payload");
    Some(all)
}

fn frames() -> Option<Vec<Payload>> {
    let file = testkit::shared_data("venue/frames/real_frames.jsonl")?;
    let text = std::fs::read_to_string(file).unwrap();
    Some(
        text.lines()
            .map(|line| {
                let v: Value = serde_json::from_str(line).unwrap();
                let (name, raw) =
                    (v["kind"].as_str().unwrap().to_owned(), v["raw"].as_str().unwrap().to_owned());
                let kind = event_kind(&raw).unwrap_or_else(|| match name.as_str() {
                    n if n.starts_with("REST depth") => "GET /fapi/v1/depth".into(),
                    "openInterest REST" => "GET /fapi/v1/openInterest".into(),
                    _ => "?".into(),
                });
                Payload { name, kind, text: raw }
            })
            .collect(),
    )
}

type Filters = BTreeMap<String, Instrument>;

/// The filters of both venues' exchangeInfo, by symbol.
fn filters() -> &'static [Filters] {
    static FILTERS: OnceLock<Vec<Filters>> = OnceLock::new();
    FILTERS.get_or_init(|| {
        let Some(dir) = testkit::shared_data("venue/exchangeinfo") else { return Vec::new() };
        let mut paths = Vec::new();
        files(&dir, &mut paths);
        paths.iter().map(|p| exchange_info(p).1).collect()
    })
}

/// An exchangeInfo file and its usable instruments.
fn exchange_info(path: &Path) -> (Value, Filters) {
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut body).unwrap();
    let root: Value = serde_json::from_slice(&body).unwrap();
    let mut out = Filters::new();
    for row in root["symbols"].as_array().unwrap() {
        let name = row["symbol"].as_str().unwrap();
        // The testnet lists one symbol with a tick of 0; it must be told as that.
        if row["filters"][0]["tickSize"] == "0" {
            assert!(
                parse_exchange_info(&body, &[name]).unwrap_err().to_string().contains("PRICE_FILTER `0`")
            );
            continue;
        }
        out.insert(
            name.to_owned(),
            Instrument::plain(SymbolId(0), name, Increment::decimals(8), Increment::decimals(8)),
        );
    }
    let names: Vec<&str> = out.keys().map(String::as_str).collect();
    let info = parse_exchange_info(&body, &names).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let out = info.instruments.into_iter().map(|i| (i.symbol.clone(), i)).collect();
    (root, out)
}

/// Equal as decimals: a text, and a count on a grid.
fn same(grid: Increment, count: i64, text: &str) -> Result<(), String> {
    let plain = |t: &str| {
        let t = t.strip_prefix('-').unwrap_or(t);
        let t = if t.contains('.') { t.trim_end_matches('0').trim_end_matches('.') } else { t };
        let t = t.trim_start_matches('0');
        if t.is_empty() || t.starts_with('.') { format!("0{t}") } else { t.to_owned() }
    };
    let told = grid.format(count.abs());
    if plain(&told) == plain(text) && (count >= 0 || text.starts_with('-')) {
        return Ok(());
    }
    Err(format!("`{text}` came back as {count} × {grid} = {told}"))
}

/// Compares numbers of one value with fields of the JSON; gives how many there were.
fn compare(row: &Value, pairs: &[(Increment, i64, &str)]) -> Result<usize, String> {
    let mut n = 0;
    for &(grid, count, field) in pairs {
        let text = match &row[field] {
            Value::String(s) if s.is_empty() => continue,
            Value::String(s) => s.clone(),
            Value::Number(x) => x.to_string(),
            _ => continue,
        };
        same(grid, count, &text).map_err(|e| format!("{field}: {e}"))?;
        n += 1;
    }
    Ok(n)
}

fn compare_levels(i: &Instrument, rows: &Value, levels: &[Level]) -> Result<usize, String> {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.len() != levels.len() {
        return Err(format!("{} levels became {}", rows.len(), levels.len()));
    }
    for (row, level) in rows.iter().zip(levels) {
        same(i.tick, level.px.0, row[0].as_str().unwrap_or_default())?;
        same(i.lot, level.qty.0, row[1].as_str().unwrap_or_default())?;
    }
    Ok(2 * rows.len())
}

fn order(row: &Value, symbols: &Symbols) -> Result<usize, String> {
    let text = row.to_string();
    let mut reader = Reader::new(text.as_bytes()).map_err(|e| e.to_string())?;
    let read = OrderRow::read(Source::Reply, &mut reader).map_err(|e| e.to_string())?;
    let r = read.report_of("order", symbols, Fact::State(ExecType::Status)).map_err(|e| e.to_string())?;
    let i = symbols.get(r.symbol).unwrap();
    compare(
        row,
        &[(i.tick, r.px.0, "price"), (i.lot, r.qty.0, "origQty"), (i.lot, r.cum_qty.0, "executedQty")],
    )
}

fn user(v: &Value, text: &str, symbols: &Symbols) -> Result<usize, String> {
    let data = if v["data"].is_object() { &v["data"] } else { v };
    let mut decoder = UserDecoder::new(symbols.clone());
    let events = decoder.decode(text.as_bytes()).map_err(|e| e.to_string())?;
    match (data["e"].as_str().unwrap_or_default(), events) {
        (kind @ ("ORDER_TRADE_UPDATE" | "TRADE_LITE"), [UserEvent::Report(r), ..]) => {
            let i = symbols.get(r.symbol).unwrap();
            let row = if kind == "TRADE_LITE" { data } else { &data["o"] };
            compare(
                row,
                &[
                    (i.tick, r.px.0, "p"),
                    (i.lot, r.qty.0, "q"),
                    (i.tick, r.last_px.0, "L"),
                    (i.lot, r.last_qty.0, "l"),
                    (i.lot, r.cum_qty.0, "z"),
                ],
            )
        }
        ("ACCOUNT_UPDATE", events) => {
            let mut n = 0;
            let rows = |key: &str| data["a"][key].as_array().cloned().unwrap_or_default();
            let (balances, positions) = (rows("B"), rows("P"));
            if events.len() != balances.len() + positions.len() {
                return Err(format!("{events:?}"));
            }
            for (event, row) in events.iter().zip(balances.iter().chain(&positions)) {
                n += match event {
                    UserEvent::Balance { wallet, .. } => {
                        compare(row, &[(Increment::decimals(8), wallet.0, "wb")])?
                    }
                    UserEvent::Position { symbol, qty, .. } => {
                        compare(row, &[(symbols.get(*symbol).unwrap().lot, qty.0, "pa")])?
                    }
                    other => return Err(format!("{other:?}")),
                };
            }
            Ok(n)
        }
        ("MARGIN_CALL", [UserEvent::MarginCall { .. }, ..])
        | ("ACCOUNT_CONFIG_UPDATE", [UserEvent::ConfigUpdate { .. }])
        | ("listenKeyExpired", [UserEvent::ListenKeyExpired])
        | ("CONDITIONAL_ORDER_TRIGGER_REJECT", [UserEvent::TriggerRejected { .. }])
        | ("STRATEGY_UPDATE" | "GRID_UPDATE", [UserEvent::Strategy { .. }]) => Ok(0),
        ("ALGO_UPDATE", [UserEvent::Algo(a)]) => {
            compare(&data["o"], &[(symbols.get(a.symbol).unwrap().lot, a.qty.0, "q")])
        }
        (kind, other) => Err(format!("{kind} became {other:?}")),
    }
}

fn market(v: &Value, text: &str, symbols: &Symbols) -> Result<usize, String> {
    let data = match &v["data"] {
        data if data.is_object() => data,
        Value::Array(rows) => &rows[0],
        _ => v,
    };
    let mut decoder = Decoder::new(symbols.all());
    let of = |id: SymbolId| symbols.get(id).unwrap();
    let partial = v["stream"]
        .as_str()
        .is_some_and(|s| s.contains("@depth5") || s.contains("@depth10") || s.contains("@depth20"));
    match (
        data["e"].as_str().unwrap_or_default(),
        decoder.decode(text.as_bytes()).map_err(|e| e.to_string())?,
    ) {
        ("depthUpdate", Frame::Market(MarketEvent::Depth(d))) => {
            Ok(compare_levels(of(d.symbol), &data["b"], d.bids)?
                + compare_levels(of(d.symbol), &data["a"], d.asks)?)
        }
        ("depthUpdate", Frame::Ignored(crate::decode::Ignored::PartialDepth)) if partial => Ok(0),
        ("bookTicker", Frame::Market(MarketEvent::Bbo(b))) => {
            let i = of(b.symbol);
            compare(
                data,
                &[
                    (i.tick, b.bid.px.0, "b"),
                    (i.lot, b.bid.qty.0, "B"),
                    (i.tick, b.ask.px.0, "a"),
                    (i.lot, b.ask.qty.0, "A"),
                ],
            )
        }
        ("trade" | "aggTrade", Frame::Market(MarketEvent::Trade(t))) => {
            let i = of(t.symbol);
            compare(data, &[(i.tick, t.px.0, "p"), (i.lot, t.qty.0, "q")])
        }
        ("markPriceUpdate", Frame::Market(MarketEvent::Mark(m))) => {
            let text = data["p"].as_str().unwrap();
            if m.mark == text.parse::<f64>().unwrap() {
                Ok(1)
            } else {
                Err(format!("mark {text}: {}", m.mark))
            }
        }
        (
            "kline" | "continuous_kline" | "24hrTicker" | "24hrMiniTicker" | "forceOrder"
            | "assetIndexUpdate" | "compositeIndex" | "contractInfo",
            Frame::Ignored(crate::decode::Ignored::OtherKind),
        ) => Ok(0),
        (kind, other) => Err(format!("{kind} became {other:?}")),
    }
}

fn rest(kind: &str, v: &Value, text: &str, symbols: &Symbols) -> Result<usize, String> {
    let body = text.as_bytes();
    let said = |e: &dyn std::fmt::Display| e.to_string();
    let amount = Increment::decimals(8);
    let rows = v.as_array().map(Vec::as_slice).unwrap_or_default();
    let path = kind.split_once(' ').map_or("", |(_, p)| p);
    match path {
        "/fapi/v1/order" | "/fapi/v1/openOrder" => order(v, symbols),
        "/fapi/v1/openOrders" | "/fapi/v1/allOrders" | "/fapi/v1/batchOrders" => {
            rows.iter().filter(|r| r["code"].is_null()).map(|r| order(r, symbols)).sum()
        }
        "/fapi/v3/balance" => {
            let found = account::balances(body).map_err(|e| said(&e))?;
            rows.iter()
                .zip(found)
                .map(|(r, b)| {
                    compare(
                        r,
                        &[(amount, b.wallet.0, "balance"), (amount, b.available.0, "availableBalance")],
                    )
                })
                .sum()
        }
        "/fapi/v2/account" | "/fapi/v3/account" => {
            let a = account::summary(body).map_err(|e| said(&e))?;
            compare(
                v,
                &[
                    (amount, a.wallet.0, "totalWalletBalance"),
                    (amount, a.margin.0, "totalMarginBalance"),
                    (amount, a.available.0, "availableBalance"),
                ],
            )
        }
        "/fapi/v2/positionRisk" | "/fapi/v3/positionRisk" => {
            let found = account::positions(body, symbols).map_err(|e| said(&e))?;
            let pair = |(r, p): (&Value, account::Position)| {
                let i = symbols.get(p.id.ok_or("unlisted")?).unwrap();
                let entry: f64 = r["entryPrice"].as_str().unwrap().parse().unwrap();
                if p.entry_px != entry {
                    return Err(format!("entry {entry}: {}", p.entry_px));
                }
                compare(r, &[(i.lot, p.qty.0, "positionAmt"), (amount, p.unrealised.0, "unRealizedProfit")])
            };
            rows.iter().zip(found).map(pair).sum()
        }
        "/fapi/v1/userTrades" => {
            let found = account::user_trades(body, symbols).map_err(|e| said(&e))?;
            let pair = |(r, t): (&Value, market::ExecutionReport)| {
                let i = symbols.get(t.symbol).unwrap();
                compare(
                    r,
                    &[
                        (i.tick, t.last_px.0, "price"),
                        (i.lot, t.last_qty.0, "qty"),
                        (amount, t.realised.0, "realizedPnl"),
                    ],
                )
            };
            rows.iter().zip(found).map(pair).sum()
        }
        _ => rest_public(kind, v, body, symbols),
    }
}

/// Market data, filters and settings.
fn rest_public(kind: &str, v: &Value, body: &[u8], symbols: &Symbols) -> Result<usize, String> {
    let said = |e: &dyn std::fmt::Display| e.to_string();
    let rows = v.as_array().map(Vec::as_slice).unwrap_or_default();
    match kind.split_once(' ').map_or("", |(_, p)| p) {
        "/fapi/v1/aggTrades" => {
            let i = symbols.get(SymbolId(0)).unwrap();
            let found = account::agg_trades(body, i).map_err(|e| said(&e))?;
            rows.iter()
                .zip(found)
                .map(|(r, t)| compare(r, &[(i.tick, t.px.0, "p"), (i.lot, t.qty.0, "q")]))
                .sum()
        }
        "/fapi/v1/depth" => {
            let i = symbols.get(SymbolId(0)).unwrap();
            let mut decoder = Decoder::new(symbols.all());
            let d = decoder.decode_snapshot(i.id, body).map_err(|e| said(&e))?;
            Ok(compare_levels(i, &v["bids"], d.bids)? + compare_levels(i, &v["asks"], d.asks)?)
        }
        "/fapi/v1/exchangeInfo" => {
            let names: Vec<&str> =
                v["symbols"].as_array().unwrap().iter().map(|s| s["symbol"].as_str().unwrap()).collect();
            parse_exchange_info(body, &names).map(|_| 0).map_err(|e| said(&e))
        }
        "/fapi/v1/leverage" => account::leverage(body).map(|_| 0).map_err(|e| said(&e)),
        "/fapi/v1/commissionRate" => account::commission_rate(body).map(|_| 0).map_err(|e| said(&e)),
        "/fapi/v1/accountConfig" => account::account_config(body).map(|_| 0).map_err(|e| said(&e)),
        "/fapi/v1/symbolConfig" => account::symbol_configs(body).map(|_| 0).map_err(|e| said(&e)),
        _ => single(kind, body),
    }
}

/// Replies with one field of interest, acknowledgements, and what is not asked for.
fn single(kind: &str, body: &[u8]) -> Result<usize, String> {
    let field = match kind {
        "POST /fapi/v1/listenKey" => "listenKey",
        "GET /fapi/v1/positionSide/dual" => "dualSidePosition",
        "GET /fapi/v1/time" => "serverTime",
        _ if ACKS.contains(&kind) => {
            let mut error = crate::reply::ErrorBody::default();
            let read = Reader::new(body).and_then(|r| r.document(&mut |r, key| error.field(r, key)));
            return read.map(|()| 0).map_err(|e| e.to_string());
        }
        _ if NOT_ASKED.contains(&kind) => return Ok(0),
        _ => return Err("a payload that no one here understands".into()),
    };
    let row = match field {
        "listenKey" => account::Row::document(&["listenKey"], body),
        "dualSidePosition" => account::Row::document(&["dualSidePosition"], body),
        _ => account::Row::document(&["serverTime"], body),
    };
    match row.map_err(|e| e.to_string())?.get(field) {
        crate::json::Scalar::Missing => Err(format!("no {field}")),
        _ => Ok(0),
    }
}

/// Decodes a payload with these instruments; gives how many numbers came back as they were sent.
fn decode(p: &Payload, v: &Value, symbols: &Symbols) -> Result<usize, String> {
    if let Some(e) = p.kind.strip_prefix("event ") {
        return if UserEventKind::of(e).is_some() {
            user(v, &p.text, symbols)
        } else {
            market(v, &p.text, symbols)
        };
    }
    if let Some(method) = p.kind.strip_prefix("api ") {
        let reply = Reply::parse(p.text.as_bytes()).map_err(|e| e.to_string())?;
        if reply.status.u64() != Some(200) {
            return Err("no status 200".into());
        }
        return match method {
            "order.place" | "order.modify" | "order.cancel" | "order.status" => order(&v["result"], symbols),
            _ => Ok(0),
        };
    }
    rest(&p.kind, v, &p.text, symbols)
}

/// Names in the fields that hold symbols; at least one.
fn names(v: &Value, out: &mut BTreeSet<String>) {
    match v {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(name) if key == "s" || key == "symbol" => {
                        out.insert(name.to_owned());
                    }
                    _ => names(value, out),
                }
            }
        }
        Value::Array(rows) => rows.iter().for_each(|r| names(r, out)),
        _ => {}
    }
}

/// Every decimal text.
fn decimals<'v>(v: &'v Value, out: &mut Vec<&'v str>) {
    match v {
        Value::Object(map) => map.values().for_each(|x| decimals(x, out)),
        Value::Array(rows) => rows.iter().for_each(|x| decimals(x, out)),
        Value::String(s) => {
            let digits = s.strip_prefix('-').unwrap_or(s);
            if digits.contains('.')
                && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
                && digits.matches('.').count() == 1
            {
                out.push(s);
            }
        }
        _ => {}
    }
}

fn scale(text: &str) -> u8 {
    text.split_once('.').map_or(0, |(_, d)| d.len() as u8)
}

/// Which filters a payload fits: a venue's (by place), else the decimals it was written with.
fn grids(v: &Value) -> Vec<Symbols> {
    let mut found = BTreeSet::new();
    names(v, &mut found);
    if found.is_empty() {
        found.insert("BTCUSDT".into());
    }
    let numbered = |(i, mut x): (usize, Instrument)| {
        x.id = SymbolId(i as u16);
        x
    };
    let real = filters().iter().filter_map(|f| {
        let all: Option<Vec<Instrument>> = found.iter().map(|n| f.get(n).cloned()).collect();
        Some(Symbols::new(all?.into_iter().enumerate().map(numbered).collect()))
    });
    let mut texts = Vec::new();
    decimals(v, &mut texts);
    let widest = Increment::decimals(texts.iter().map(|t| scale(t)).max().unwrap_or(0).clamp(3, 8));
    let plain =
        found.iter().enumerate().map(|(i, n)| Instrument::plain(SymbolId(i as u16), n, widest, widest));
    let plain = Symbols::new(plain.collect());
    real.chain([plain]).collect()
}

/// Decodes all; gives the numbers that came back, by the filters of a venue and by their own decimals.
fn all_decode(payloads: &[Payload]) -> (usize, usize) {
    let (mut by_filters, mut by_decimals, mut bad) = (0, 0, Vec::new());
    for p in payloads {
        let v: Value = match serde_json::from_str(&p.text) {
            Ok(v) => v,
            Err(e) => {
                bad.push(format!("{} ({}): {e}", p.name, p.kind));
                continue;
            }
        };
        let grids = grids(&v);
        let last = grids.len() - 1;
        let tried: Vec<_> = grids.iter().map(|symbols| decode(p, &v, symbols)).collect();
        match tried.iter().position(Result::is_ok) {
            Some(i) if i < last => by_filters += tried[i].as_ref().unwrap(),
            Some(_) => by_decimals += tried[last].as_ref().unwrap(),
            None => bad.push(format!("{} ({}): {}", p.name, p.kind, tried[last].as_ref().unwrap_err())),
        }
        // And every decimal of it, also those that nobody reads.
        let mut texts = Vec::new();
        decimals(&v, &mut texts);
        for text in texts {
            let grid = Increment::decimals(scale(text).min(18));
            let digits = text.strip_prefix('-').unwrap_or(text);
            match grid.parse_count(digits.as_bytes()) {
                Ok(count) => {
                    if let Err(e) = same(grid, count, digits) {
                        bad.push(format!("{}: {e}", p.name));
                    }
                }
                Err(e) => bad.push(format!("{}: `{text}`: {e}", p.name)),
            }
        }
    }
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), payloads.len(), bad.join("\n"));
    (by_filters, by_decimals)
}

fn told(what: &str, payloads: &[Payload], (real, plain): (usize, usize)) {
    let kinds: BTreeSet<&str> = payloads.iter().map(|p| p.kind.as_str()).collect();
    println!(
        "{what}: {} payloads of {} kinds decode; {real} numbers round-trip on a venue's ticks and lots, {plain} on their own decimals",
        payloads.len(),
        kinds.len()
    );
}

#[test]
fn every_user_data_payload_decodes_and_round_trips() {
    let Some(all) = user_data() else { return };
    let counts = all_decode(&all);
    told("user_data", &all, counts);
    assert!(all.len() >= 180 && counts.0 >= 60, "{} {counts:?}", all.len());
}

#[test]
fn every_recorded_frame_decodes_and_round_trips() {
    let Some(all) = frames() else { return };
    let counts = all_decode(&all);
    told("frames", &all, counts);
    assert!(all.len() >= 27 && counts.0 >= 50, "{} {counts:?}", all.len());
}

#[test]
fn every_symbol_of_every_exchange_info_has_filters_that_round_trip() {
    let Some(dir) = testkit::shared_data("venue/exchangeinfo") else { return };
    let mut paths = Vec::new();
    files(&dir, &mut paths);
    let (mut symbols, mut numbers) = (0, 0);
    for path in &paths {
        let (root, filters) = exchange_info(path);
        for row in root["symbols"].as_array().unwrap() {
            let Some(i) = filters.get(row["symbol"].as_str().unwrap()) else { continue };
            symbols += 1;
            for f in row["filters"].as_array().unwrap() {
                let pairs: &[(Increment, i64, &str)] = match f["filterType"].as_str().unwrap() {
                    "PRICE_FILTER" => &[(i.tick, 1, "tickSize")],
                    "LOT_SIZE" => &[(i.lot, 1, "stepSize"), (i.lot, i.max_qty.0, "maxQty")],
                    "MIN_NOTIONAL" => &[(Increment::decimals(8), i.min_notional.0, "notional")],
                    _ => &[],
                };
                numbers += compare(f, pairs).unwrap_or_else(|e| panic!("{}: {e}", i.symbol));
            }
        }
    }
    println!("exchangeinfo: {} files, {symbols} symbols, {numbers} filter values round-trip", paths.len());
    assert!(!paths.is_empty() && numbers >= 4 * symbols);
}

/// What clients sent is no reply, but it is JSON or a query whose prices and quantities our grids can hold.
#[test]
fn every_line_of_the_client_traces_is_understood() {
    let Some(dir) = testkit::shared_data("venue/client_traces") else { return };
    let mut paths = Vec::new();
    files(&dir, &mut paths);
    let (mut lines, mut numbers) = (0, 0);
    let btc = &filters().first().unwrap()["BTCUSDT"];
    for path in &paths {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let v: Value = serde_json::from_str(line).unwrap();
            lines += 1;
            let text = |k: &str| v[k].as_str().unwrap_or_default().to_owned();
            let mut pairs: Vec<(String, String)> = Vec::new();
            match v["k"].as_str() {
                Some("http") => {
                    let query = text("p").split_once('?').map(|(_, q)| q.to_owned()).unwrap_or_default();
                    for pair in query.split('&').chain(text("body").split('&')) {
                        pairs.extend(pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())));
                    }
                }
                Some("ws-open") => assert!(text("p").starts_with('/'), "{line}"),
                Some("ws-msg") => {
                    let frame: Value = serde_json::from_str(&text("d")).unwrap();
                    assert!(frame["method"].is_string(), "{line}");
                    for (k, v) in frame["params"].as_object().into_iter().flatten() {
                        pairs.push((k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)));
                    }
                }
                other => panic!("{other:?}: {line}"),
            }
            for (key, text) in pairs {
                let grid = match key.as_str() {
                    "price" => btc.tick,
                    "quantity" => btc.lot,
                    _ => continue,
                };
                same(grid, grid.parse_count(text.as_bytes()).unwrap(), &text).unwrap();
                numbers += 1;
            }
        }
    }
    println!(
        "client_traces: {} files, {lines} lines, {numbers} prices and quantities round-trip",
        paths.len()
    );
    assert!(paths.len() >= 7 && lines >= 68 && numbers >= 14, "{} {lines} {numbers}", paths.len());
}

/// Pointers to every field and element.
fn pointers(v: &Value, at: &str, out: &mut Vec<String>) {
    let mut child = |key: &str, x: &Value| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        out.push(at.clone());
        pointers(x, &at, out);
    };
    match v {
        Value::Object(map) => map.iter().for_each(|(k, x)| child(k, x)),
        Value::Array(rows) => rows.iter().enumerate().for_each(|(i, x)| child(&i.to_string(), x)),
        _ => {}
    }
}

/// A payload with a field taken out, put in or of another type is taken or refused, never half taken, never a panic.
#[test]
fn missing_extra_and_retyped_fields_never_panic() {
    // Without the shared data each of the two says `skipped`.
    let read = user_data().into_iter().chain(frames()).flatten();
    let all: Vec<(Payload, Value)> =
        read.filter_map(|p| Some((serde_json::from_str(&p.text).ok()?, p))).map(|(v, p)| (p, v)).collect();
    if all.is_empty() {
        return;
    }
    let odd = prop::sample::select(vec![
        "null",
        "true",
        "[]",
        "{}",
        "-1",
        "1.5",
        "\"\"",
        "\"x\"",
        "\"NaN\"",
        "1e300",
        "\"-0\"",
        "18446744073709551616",
        "\"99999999999999999999\"",
        "[[\"1\"]]",
        "{\"a\":{\"b\":[1]}}",
    ]);
    let cases = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3u8, odd);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(3000));
    let run = runner.run(&cases, |(which, at, how, odd)| {
        let (p, good) = which.get(&all);
        break_one_field(p, good, &at, how, odd)
    });
    run.unwrap_or_else(|e| panic!("{e}"));
}

fn break_one_field(
    p: &Payload,
    good: &Value,
    at: &prop::sample::Index,
    how: u8,
    odd: &str,
) -> Result<(), TestCaseError> {
    let mut places = Vec::new();
    pointers(good, "", &mut places);
    if places.is_empty() {
        // `{}`: an acknowledgement without a field.
        return Ok(());
    }
    let place = at.get(&places);
    let odd: Value = serde_json::from_str(odd).unwrap();
    let mut v = good.clone();
    let (parent, key) = place.rsplit_once('/').unwrap();
    match (how, v.pointer_mut(parent)) {
        (0, Some(Value::Object(map))) => drop(map.remove(key)),
        (1, Some(Value::Object(map))) => drop(map.insert("brandNew".into(), odd)),
        _ => *v.pointer_mut(place).unwrap() = odd,
    }
    let broken = Payload { text: v.to_string(), ..p.clone() };
    let symbols = grids(good).pop().unwrap();
    let before = undamaged(p, &symbols);
    // Only what the decoders say counts: the comparison with the damaged JSON may well fail.
    damaged(&broken, &symbols);
    prop_assert_eq!(before, undamaged(p, &symbols));
    Ok(())
}

/// What a user or market decoder says of a good frame.
fn undamaged(p: &Payload, symbols: &Symbols) -> String {
    let mut decoder = UserDecoder::new(symbols.clone());
    format!("{:?}", decoder.decode(p.text.as_bytes()))
}

/// Runs every decoder over a damaged text; an error leaves no event behind.
fn damaged(p: &Payload, symbols: &Symbols) {
    let body = p.text.as_bytes();
    let mut decoder = Decoder::new(symbols.all());
    let _ = decoder.decode(body).map(|_| ());
    let _ = decoder.decode_snapshot(SymbolId(0), body).map(|_| ());
    let _ = UserDecoder::new(symbols.clone()).decode(body).map(|_| ());
    let _ = Reply::parse(body)
        .map(|r| r.order.map(|o| o.report_of("order", symbols, Fact::State(ExecType::Status))));
    let _ = (account::balances(body), account::summary(body), account::positions(body, symbols));
    let _ =
        (account::user_trades(body, symbols), account::account_config(body), account::symbol_configs(body));
    let _ = (account::leverage(body), account::commission_rate(body), account::restrictions(body));
    if let Some(i) = symbols.get(SymbolId(0)) {
        let _ = account::agg_trades(body, i);
    }
    let _ = parse_exchange_info(body, &["BTCUSDT"]);
    let _ = crate::rest::parse_perpetuals(body, "USDT");
}
