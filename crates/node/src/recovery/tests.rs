use alpha::{Held, Params, TickInput};
use market::{ClientOrderId, Date, ExecType, Increment, Intent, OrderStatus, Posture, Side};

use super::*;
use binance::hosts::Venue;
use binance::key::ApiKey;
use binance::rest::{Exchange, HttpRequest, HttpResponse, RestConfig, Transport};
use binance::sign::Signer;
use market::Px;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const BTC: SymbolId = SymbolId(0);
const ETH: SymbolId = SymbolId(1);

fn instruments() -> Vec<Instrument> {
    let make = |id, name| Instrument::plain(id, name, Increment::decimals(2), Increment::decimals(3));
    vec![make(BTC, "BTCUSDT"), make(ETH, "ETHUSDT")]
}

/// A flat engine in an open day, 1000 of capital.
fn engine() -> Engine {
    let params = Params {
        profile: "test".into(),
        warmup_bars: 0,
        vol_window_bars: 2,
        vol_p60: 0.0,
        lookback: 3,
        dc_lookback_bars: 1,
        initial_capital: 1_000.0,
        ..Params::default()
    };
    let assets = vec!["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
    let mut e = Engine::new(params, assets, 1).unwrap().with_booking(alpha::Booking::Venue);
    e.begin_day(Date::constant(2026, 1, 1), Posture::Apex, 1.0, -1).unwrap();
    let (mut btc, mut eth) = (50_000.0, 2_000.0);
    for bar in 0..6u32 {
        btc *= 1.0 - 1e-4 * f64::from(1 + bar % 3);
        eth *= 0.999;
        e.step_bar(&TickInput::quiet(bar, Nanos(1), &[btc, eth]));
    }
    e
}

/// The same, an entry of ETH short at work.
fn entering() -> Engine {
    let mut e = engine();
    let input = TickInput { vel_div: -0.03, ..TickInput::quiet(6, Nanos(2), &[49_900.0, 1_985.0]) };
    let alpha::Action::Intent(Intent::Enter(intent)) = e.step_bar(&input).action else { panic!() };
    assert_eq!(intent.symbol, ETH);
    e
}

/// A fill: `lots` signed, price in ticks, time in ms.
fn fill(symbol: SymbolId, id: u64, lots: i64, px: i64, ms: u64) -> ExecutionReport {
    ExecutionReport {
        symbol,
        origin: OrderOrigin::Ours(ClientOrderId { run: 1, intent: 1, attempt: 0 }),
        order_id: id,
        exec_type: ExecType::Trade,
        status: OrderStatus::Unknown,
        side: if lots < 0 { Side::Sell } else { Side::Buy },
        px: Px(px),
        qty: Qty(lots.abs()),
        last_px: Px(px),
        last_qty: Qty(lots.abs()),
        cum_qty: Qty::ZERO,
        leaves_qty: Qty::ZERO,
        trade_id: id,
        commission: Amount(Amount::ONE / 10),
        realised: Amount::ZERO,
        maker: true,
        reduce_only: false,
        code: 0,
        ts_event: Nanos::from_millis(ms),
    }
}

fn found(fills: &[ExecutionReport], positions: &[(SymbolId, i64)]) -> Found {
    let mut found = Found::default();
    for f in fills {
        found.fills.entry(f.symbol).or_default().push(*f);
    }
    let position =
        |&(symbol, qty)| VenuePosition { symbol, qty: Qty(qty), entry_px: 1_990.0, liquidation_px: 0.0 };
    found.positions = positions.iter().map(position).collect();
    found
}

fn at(ms: u64) -> Before {
    Before { booked: Some(Nanos::from_millis(ms)), exit: None }
}

fn booked(e: &mut Engine, found: &Found, before: Before) -> Recovered {
    book(e, &instruments(), found, before, UnexpectedPosition::Stop, Nanos::from_millis(900))
}

#[test]
fn nothing_happened_and_an_entry_that_got_nothing_is_abandoned() {
    let mut e = entering();
    let r = booked(&mut e, &found(&[], &[]), at(100));
    assert_eq!((r.trades.len(), r.adopted, r.booked), (0, None, Nanos::from_millis(100)));
    assert!(e.entering().is_none() && e.position().is_none());
}

#[test]
fn an_entry_filled_in_part_goes_on_with_its_decision() {
    let mut e = entering();
    let r = booked(
        &mut e,
        &found(&[fill(ETH, 1, -300, 199_000, 200), fill(ETH, 2, -100, 198_000, 201)], &[(ETH, -400)]),
        at(100),
    );
    let a = r.adopted.unwrap();
    assert_eq!((a.symbol, a.qty, a.avg_px, a.exit.qty), (ETH, Qty(-400), 1_987.5, Qty::ZERO));
    let p = e.position().unwrap();
    assert_eq!((p.entry_price, p.vel_div), (1_987.5, -0.03), "the decision is remembered, the price is real");
    assert_eq!(r.seen, [(ETH, 1), (ETH, 2)]);
}

#[test]
fn a_whole_life_unseen_is_booked_trade_by_trade() {
    let mut e = entering();
    let fills = [
        fill(ETH, 1, -400, 199_000, 200),  // the entry at work
        fill(ETH, 2, 400, 197_000, 300),   // its take profit: 8 less 0.2
        fill(BTC, 3, -10, 5_000_000, 400), // another trade, a loss: 10 and 0.2
        fill(BTC, 4, 10, 5_100_000, 500),
        fill(ETH, 5, -200, 199_000, 600), // and one that goes on
    ];
    let r = booked(&mut e, &found(&fills, &[(ETH, -200)]), at(100));
    let trades: Vec<_> = r.trades.iter().map(|(n, t)| (*n, t.symbol.as_str(), t.reason)).collect();
    assert_eq!(trades, [(1, "ETHUSDT", ExitReason::Tp), (2, "BTCUSDT", ExitReason::MaxHold)]);
    assert!((e.capital() - (1_000.0 + 7.8 - 10.2)).abs() < 1e-9, "{}", e.capital());
    assert_eq!((r.adopted.unwrap().qty, r.booked), (Qty(-200), Nanos::from_millis(500)));
    assert_eq!(e.image().held().unwrap().0, Held::Open);
    // A second start finds the same, and books nothing twice.
    let later = found(&fills, &[(ETH, -200)]);
    let again = booked(&mut e, &later, Before { booked: Some(r.booked), exit: None });
    assert_eq!((again.trades.len(), again.adopted), (0, r.adopted));
}

#[test]
fn an_exit_half_done_is_carried_on_with_what_it_brought() {
    let mut e = entering();
    let opened = [fill(ETH, 1, -400, 199_000, 200)];
    booked(&mut e, &found(&opened, &[(ETH, -400)]), at(100));
    let fills = [opened[0], fill(ETH, 2, 150, 197_500, 300)];
    let before = Before { exit: Some(ExitReason::MaxHold), ..at(100) };
    let a = booked(&mut e, &found(&fills, &[(ETH, -250)]), before).adopted.unwrap();
    assert_eq!((a.qty, a.exit.qty, a.exit.commission), (Qty(-250), Qty(150), Amount(Amount::ONE / 10)));
    // All of it while away: the reason is the one asked for.
    let fills = [opened[0], fills[1], fill(ETH, 3, 250, 199_500, 301)];
    let r = booked(&mut e, &found(&fills, &[]), before);
    assert_eq!((r.trades[0].1.reason, r.adopted), (ExitReason::MaxHold, None));
    assert!(e.position().is_none());
}

#[test]
fn fills_in_the_millisecond_of_the_last_exit_belong_where_the_sum_says() {
    let shared = [fill(ETH, 1, 400, 199_000, 200), fill(ETH, 2, -300, 199_000, 200)];
    let mut e = engine();
    // 1 closed the trade before, 2 opened a new one within the same millisecond.
    let r = booked(&mut e, &found(&shared, &[(ETH, -300)]), at(200));
    assert_eq!(r.adopted.map(|a| a.qty), Some(Qty(-300)));
    let mut e = engine();
    let r = booked(&mut e, &found(&shared[..1], &[]), at(200));
    assert_eq!((r.trades.len(), r.adopted), (0, None), "the exit is booked already");
}

#[test]
fn a_position_gone_without_a_fill_is_booked_flat_and_one_without_fills_goes_on() {
    let mut e = entering();
    booked(&mut e, &found(&[fill(ETH, 1, -400, 199_000, 200)], &[(ETH, -400)]), at(100));
    let mut gone = e.clone();
    let r = booked(&mut gone, &found(&[], &[]), at(250));
    assert_eq!((r.trades[0].1.reason, gone.position()), (ExitReason::External, None));
    let r = booked(&mut e, &found(&[], &[(ETH, -400)]), at(250));
    assert_eq!(r.adopted.unwrap().qty, Qty(-400));
    assert!(e.position().is_some());
}

#[test]
fn without_a_state_only_our_open_position_goes_on() {
    let fills =
        [fill(ETH, 1, -400, 199_000, 200), fill(ETH, 2, 400, 197_000, 300), fill(ETH, 3, -100, 199_000, 400)];
    let mut e = engine();
    let nothing = Before { booked: None, exit: None };
    let r = booked(&mut e, &found(&fills, &[(ETH, -100)]), nothing);
    assert_eq!((r.trades.len(), r.adopted.unwrap().qty, e.capital()), (0, Qty(-100), 1_000.0));
    assert!(r.booked < Nanos::from_millis(400), "its entry is not booked yet");
    // Nothing open: the life begins now.
    let r = booked(&mut engine(), &found(&fills[..2], &[]), nothing);
    assert_eq!((r.adopted, r.booked), (None, Nanos::from_millis(900)));
}

#[test]
fn a_position_that_is_not_ours_is_left_to_the_policy() {
    let mut e = engine();
    let strange = found(&[], &[(BTC, 70)]);
    assert_eq!(booked(&mut e, &strange, at(100)).adopted, None);
    assert!(e.position().is_none());
    let policy = UnexpectedPosition::Adopt;
    let r = book(&mut e, &instruments(), &strange, at(100), policy, Nanos::from_millis(900));
    assert_eq!(r.adopted.unwrap().qty, Qty(70));
    assert_eq!(e.position().unwrap().direction, 1);
}

fn by_hand(f: ExecutionReport) -> ExecutionReport {
    ExecutionReport { origin: OrderOrigin::External, ..f }
}

/// Seen: a person closed the position while the node was dead, and the loss never reached capital.
#[test]
fn what_a_person_closed_is_booked_at_his_price() {
    let mut e = entering();
    let before = e.capital();
    let fills = [
        fill(ETH, 1, -400, 199_000, 200),
        by_hand(fill(ETH, 2, 300, 209_000, 300)),
        by_hand(fill(ETH, 3, 100, 210_000, 301)),
    ];
    let r = booked(&mut e, &found(&fills, &[]), at(100));
    assert_eq!((r.trades.len(), r.adopted), (1, None));
    let trade = &r.trades[0].1;
    assert_eq!((trade.reason, trade.direction), (ExitReason::External, -1));
    assert!((e.capital() - before - trade.pnl).abs() < 1e-9 && trade.pnl < -39.0, "{trade:?}");
}

#[test]
fn what_a_person_opened_and_closed_is_no_trade_of_ours() {
    let mut e = engine();
    let fills = [
        by_hand(fill(BTC, 1, 5, 5_000_000, 150)),
        by_hand(fill(BTC, 2, -5, 4_900_000, 160)),
        fill(ETH, 3, -400, 199_000, 200),
        fill(ETH, 4, 400, 198_000, 210),
    ];
    let before = e.capital();
    let r = booked(&mut e, &found(&fills, &[]), at(100));
    assert_eq!(r.trades.iter().map(|(_, t)| t.symbol.as_str()).collect::<Vec<_>>(), ["ETHUSDT"]);
    assert!((e.capital() - before - r.trades[0].1.pnl).abs() < 1e-9);
}

#[test]
fn a_position_that_is_as_it_was_needs_no_history() {
    let symbols = Symbols::new(instruments());
    let believed =
        Believed { position: Some((ETH, -1, 1_990.0, 0.4)), entering: None, at: Nanos::from_millis(900) };
    let mut same = found(&[], &[(ETH, -400)]);
    same.updated.insert(ETH, Nanos::from_millis(850));
    assert!(believed.is_as_it_was(&same, &symbols));
    let mut later = same.clone();
    later.updated.insert(ETH, Nanos::from_millis(901));
    let mut silent = same.clone();
    silent.updated.clear();
    let mut two = same.clone();
    two.positions.push(found(&[], &[(BTC, 1)]).positions[0]);
    let mut priced = same.clone();
    priced.positions[0].entry_px = 1_990.1;
    let less = Found { positions: found(&[], &[(ETH, -399)]).positions, ..same.clone() };
    let turned = Found { positions: found(&[], &[(ETH, 400)]).positions, ..same.clone() };
    for (what, other) in [
        ("changed after the state was written", later),
        ("the venue does not say when it changed", silent),
        ("two positions", two),
        ("another price", priced),
        ("less", less),
        ("turned", turned),
        ("none", Found::default()),
    ] {
        assert!(!believed.is_as_it_was(&other, &symbols), "{what}");
    }
    assert!(!Believed { entering: Some(ETH), ..believed }.is_as_it_was(&same, &symbols));
    assert!(
        !Believed::default().is_as_it_was(&Found::default(), &symbols),
        "flat: what happened is asked for"
    );
}

/// A venue at which a person closes our position between two questions: positions are asked for before it for the first
/// `before` times, everything else after it.
#[derive(Debug)]
struct ClosedBetween {
    before: u32,
    asked: AtomicU32,
}

impl Transport for ClosedBetween {
    fn exchange(&self, request: HttpRequest) -> Exchange<'_> {
        let order = |id: u32, client_id: &str, side: &str| {
            format!(
                r#"{{"symbol":"ETHUSDT","orderId":{id},"clientOrderId":"{client_id}","side":"{side}","type":"LIMIT",
                "timeInForce":"GTC","status":"FILLED","price":"1990.00","avgPrice":"1990.00","origQty":"0.400",
                "executedQty":"0.400","reduceOnly":false,"time":{id},"updateTime":{id},"positionSide":"BOTH"}}"#
            )
        };
        let trade = |id: u32, side: &str| {
            format!(
                r#"{{"symbol":"ETHUSDT","id":{id},"orderId":{id},"side":"{side}","price":"1990.00","qty":"0.400",
                "commission":"0.1","commissionAsset":"USDT","maker":true,"time":{id},"positionSide":"BOTH"}}"#
            )
        };
        let body = match request.path {
            "/fapi/v3/positionRisk" if self.asked.fetch_add(1, Ordering::Relaxed) < self.before => r#"[{"symbol":
                "ETHUSDT","positionAmt":"-0.400","entryPrice":"1990.0","liquidationPrice":"0","updateTime":500,
                "positionSide":"BOTH"}]"#
                .to_owned(),
            "/fapi/v1/income" => r#"[{"symbol":"ETHUSDT","incomeType":"COMMISSION","income":"-0.1","asset":"USDT",
                "time":500,"tranId":1}]"#
                .to_owned(),
            "/fapi/v1/userTrades" => format!("[{},{}]", trade(500, "SELL"), trade(600, "BUY")),
            "/fapi/v1/allOrders" => {
                format!("[{},{}]", order(500, "dlp-1-1-0", "SELL"), order(600, "by-hand", "BUY"))
            }
            _ => "[]".to_owned(),
        };
        let answer = HttpResponse { status: 200, headers: Vec::new(), body: body.into_bytes() };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// Seen: a position was listed, then closed by hand, then the fills were listed: they did not lead to the position, so
/// that the round trip was dropped, and its fills counted as seen.
#[tokio::test(start_paused = true)]
async fn positions_and_fills_that_contradict_each_other_are_asked_for_again() {
    let symbols = Symbols::new(instruments());
    let key = ApiKey::hmac("key", "secret").unwrap();
    for before in 0..=CHANGES {
        let hosts = Venue::Local("127.0.0.1:1".to_owned()).hosts();
        let venue = Arc::new(ClosedBetween { before, asked: AtomicU32::new(0) });
        let signer = Some(Signer::new(&key).unwrap());
        let now = Arc::new(|| Nanos::from_millis(900));
        let rest = RestClient::new(&hosts, signer, RestConfig::default(), venue, now).unwrap();
        let believed = Believed { position: None, entering: Some(ETH), at: Nanos::from_millis(450) };
        let sending = Sending { fence: Fence::open(), clock: Clock::new(), most_ms: 2_000 };
        let booked = Some(Nanos::from_millis(400));
        let found = ask(&rest, &symbols, believed, booked, Nanos::from_millis(900), &sending).await.unwrap();
        let mut e = entering();
        let recovered =
            book(&mut e, symbols.all(), &found, at(400), UnexpectedPosition::Stop, Nanos::from_millis(900));
        assert_eq!(
            (recovered.trades.len(), recovered.adopted),
            (1, None),
            "listed {before} times: {found:?}"
        );
    }
}
