//! The REST client against a real HTTP server on loopback with scripted answers.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use binance::Symbols;
use binance::errors::{Action, Class};
use binance::hosts::Venue;
use binance::key::ApiKey;
use binance::limits::{Cost, Urgency};
use binance::rest::{
    IncomeKind, RestClient, RestConfig, RestError, SystemTransport, TimeWindow, TransportKind, windows,
};
use binance::sign::Signer;
use market::{
    Amount, CancelOrder, ClientOrderId, ExecType, Increment, Instrument, Nanos, NewOrder, OrderRequest,
    OrderStatus, OrderType, PositionSide, Px, Qty, Side, SymbolId, TimeInForce,
};

fn now() -> Nanos {
    Nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
}

fn symbols() -> Symbols {
    let btc = Instrument::plain(
        SymbolId(0),
        "BTCUSDT",
        Increment::parse("0.10").unwrap(),
        Increment::parse("0.001").unwrap(),
    );
    Symbols::new(vec![btc])
}

struct Answer {
    status: &'static str,
    headers: &'static str,
    body: String,
}

fn answer(status: &'static str, body: &str) -> Answer {
    Answer { status, headers: "", body: body.to_owned() }
}

type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// Serves scripted answers: `script(n, request line)` for the n-th request. Gives its address and what it saw.
fn serve(script: impl Fn(usize, &str) -> Option<Answer> + Send + 'static) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen: Seen = Arc::default();
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut count = 0;
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
                let (mut headers, mut length) = (String::new(), 0);
                loop {
                    let mut header = String::new();
                    reader.read_line(&mut header).unwrap();
                    if header.trim().is_empty() {
                        break;
                    }
                    if let Some(n) = header.to_lowercase().strip_prefix("content-length:") {
                        length = n.trim().parse().unwrap();
                    }
                    headers.push_str(&header);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
                log.lock().unwrap().push((line.clone(), headers));
                let reply = script(count, &line);
                count += 1;
                let Some(a) = reply else { break };
                let n = a.body.len();
                let text =
                    format!("HTTP/1.1 {}\r\nContent-Length: {n}\r\n{}\r\n{}", a.status, a.headers, a.body);
                if socket.write_all(text.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    (address, seen)
}

fn client_of(address: &str, signer: Option<Signer>, config: RestConfig) -> RestClient {
    let hosts = Venue::Local(address.to_owned()).hosts();
    let transport = Arc::new(SystemTransport::new(&hosts).unwrap());
    RestClient::new(&hosts, signer, config, transport, Arc::new(now)).unwrap()
}

fn client(address: &str) -> RestClient {
    let signer = Signer::new(&ApiKey::hmac("CANARYKEY", "CANARYSECRET").unwrap()).unwrap();
    let config = RestConfig { timeout: 2 * Nanos::SECOND, ..RestConfig::default() };
    client_of(address, Some(signer), config)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// No error may tell the key, the secret or a signature.
fn clean(error: &RestError) -> String {
    let said = format!("{error} {error:?}");
    assert!(!said.contains("CANARY") && !said.contains("signature="), "{said}");
    error.to_string()
}

#[test]
fn signed_requests_carry_key_and_signature_and_answers_are_read() {
    let (address, seen) = serve(|_, line| {
        let body = if line.contains("/balance") {
            r#"[{"accountAlias":"SgsR","asset":"USDT","balance":"122607.35137903","availableBalance":"23.72469206","crossUnPnl":"-1.5"}]"#
        } else if line.contains("/positionRisk") {
            r#"[{"symbol":"BTCUSDT","positionSide":"BOTH","positionAmt":"-0.010","entryPrice":"60000.1","markPrice":"59000.0","unRealizedProfit":"10.0"},
                {"symbol":"OTHERUSDT","positionSide":"BOTH","positionAmt":"5","entryPrice":"1"}]"#
        } else {
            r#"{"dualSidePosition":true}"#
        };
        Some(answer("200 OK", body))
    });
    run(async {
        let client = client(&address);
        let balances = client.balances().await.unwrap();
        assert_eq!((balances[0].asset.as_str(), balances[0].unrealised), ("USDT", Amount(-150_000_000)));
        let positions = client.positions(&symbols(), None, Urgency::Reconcile).await.unwrap();
        assert_eq!((positions[0].qty, positions[0].id), (Qty(-10), Some(SymbolId(0))));
        assert_eq!((positions[1].id, positions[1].amount), (None, 5.0), "somebody else's is told too");
        assert!(client.dual_side().await.unwrap());
    });
    let signer = Signer::new(&ApiKey::hmac("CANARYKEY", "CANARYSECRET").unwrap()).unwrap();
    for (line, headers) in seen.lock().unwrap().iter() {
        let query = line.split_once('?').unwrap().1;
        let (payload, signature) = query.rsplit_once("&signature=").unwrap();
        assert_eq!(signer.sign(payload.as_bytes()).as_str(), signature);
        assert!(headers.to_lowercase().contains("x-mbx-apikey: canarykey"));
    }
}

fn order() -> OrderRequest {
    OrderRequest::New(NewOrder {
        symbol: SymbolId(0),
        client_order_id: ClientOrderId { run: 1, intent: 2, attempt: 3 },
        side: Side::Buy,
        order_type: OrderType::Limit,
        tif: TimeInForce::Gtx,
        px: Px(600_000),
        qty: Qty(10),
        reduce_only: false,
        position_side: PositionSide::Both,
        recv_window_ms: 5_000,
    })
}

const ROW: &str = r#"{"orderId":9,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"dlp-1-2-3","price":"60000","origQty":"0.010",
    "executedQty":"0","side":"BUY","reduceOnly":false,"updateTime":1}"#;

#[test]
fn orders_over_rest() {
    let (address, seen) = serve(|n, _| {
        Some(match n {
            0 | 1 => answer("200 OK", ROW),
            2 => answer("200 OK", r#"{"code":200,"msg":"The operation of cancel all open order is done."}"#),
            3 => answer(
                "503 Service Unavailable",
                r#"{"code":0,"msg":"Unknown error, please check your request or try again later."}"#,
            ),
            4 => answer(
                "400 Bad Request",
                r#"{"code":-5022,"msg":"Due to the order could not be executed as maker"}"#,
            ),
            _ => return None,
        })
    });
    run(async {
        let (client, symbols) = (client(&address), symbols());
        let r = client.order(&order(), &symbols, 5_000).await.unwrap().unwrap();
        assert_eq!(
            (r.exec_type, r.status, r.px, r.qty),
            (ExecType::New, OrderStatus::New, Px(600_000), Qty(10))
        );
        let query = CancelOrder {
            symbol: SymbolId(0),
            client_order_id: ClientOrderId { run: 1, intent: 2, attempt: 3 },
        };
        let r = client.order(&OrderRequest::Query(query), &symbols, 5_000).await.unwrap().unwrap();
        assert_eq!(r.exec_type, ExecType::Status);
        assert_eq!(client.order(&OrderRequest::CancelAll(SymbolId(0)), &symbols, 5_000).await, Ok(None));
        let e = client.order(&order(), &symbols, 5_000).await.unwrap_err();
        assert_eq!((e.class(), e.action()), (Class::Unknown, Action::Query));
        let e = client.order(&order(), &symbols, 5_000).await.unwrap_err();
        assert_eq!((e.class(), e.code()), (Class::Failed, -5022));
        // The request went out, and the connection broke before the answer.
        let e = client.order(&order(), &symbols, 5_000).await.unwrap_err();
        clean(&e);
        assert_eq!(e.class(), Class::Unknown);
    });
    let seen = seen.lock().unwrap();
    assert!(seen[0].0.starts_with("POST /fapi/v1/order?newClientOrderId=dlp-1-2-3&"), "{}", seen[0].0);
    assert!(seen[1].0.starts_with("GET /fapi/v1/order?origClientOrderId="));
    assert!(seen[2].0.starts_with("DELETE /fapi/v1/allOpenOrders?"));
    assert_eq!(seen.len(), 6, "an order is never sent again by itself");
}

#[test]
fn a_wrong_clock_is_set_and_the_request_sent_once_more() {
    let ahead = 90_000;
    let (address, seen) = serve(move |n, line| {
        let server = now().millis() + ahead;
        Some(if line.contains("/time") {
            answer("200 OK", &format!("{{\"serverTime\":{server}}}"))
        } else if n == 0 {
            answer(
                "400 Bad Request",
                r#"{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}"#,
            )
        } else {
            answer("200 OK", r#"{"leverage":5,"maxNotionalValue":"1000000","symbol":"BTCUSDT"}"#)
        })
    });
    run(async {
        let client = client(&address);
        assert_eq!(client.set_leverage("BTCUSDT", 5).await.unwrap().leverage, 5);
        let offset = client.clock().offset() / 1_000_000;
        assert!((offset - ahead as i64).abs() < 1_000, "{offset}");
    });
    let seen = seen.lock().unwrap();
    let timestamps: Vec<u64> = seen
        .iter()
        .filter_map(|(line, _)| line.split_once("timestamp=")?.1.split('&').next()?.parse().ok())
        .collect();
    assert_eq!(timestamps.len(), 2);
    assert!(timestamps[1] - timestamps[0] > ahead - 1_000);
}

#[test]
fn after_a_ban_nothing_is_sent() {
    let until = now().millis() + 120_000;
    let (address, seen) = serve(move |_, _| {
        let text = format!("{{\"code\":-1003,\"msg\":\"Way too many requests; IP banned until {until}.\"}}");
        Some(answer("418 I'm a teapot", &text))
    });
    run(async {
        let client = client(&address);
        let e = client.balances().await.unwrap_err();
        assert_eq!(e.action(), Action::WaitForBan);
        for _ in 0..20 {
            assert!(matches!(client.balances().await, Err(RestError::Wait(_))));
            assert!(matches!(client.sync_clock(1).await, Err(RestError::Wait(_))));
            assert!(matches!(client.order(&order(), &symbols(), 5_000).await, Err(RestError::Wait(_))));
        }
    });
    assert_eq!(seen.lock().unwrap().len(), 1, "one request, and silence");
}

#[test]
fn retry_after_and_used_weight_are_obeyed() {
    let (address, seen) = serve(|n, _| {
        Some(match n {
            0 => Answer {
                status: "200 OK",
                headers: "X-MBX-USED-WEIGHT-1M: 2399\r\nX-MBX-ORDER-COUNT-10S: 3\r\n",
                body: r#"{"dualSidePosition":false}"#.into(),
            },
            _ => answer("200 OK", "{}"),
        })
    });
    run(async {
        let client = client(&address);
        client.dual_side().await.unwrap();
        let e = client.depth("BTCUSDT", 1000, Urgency::Snapshot).await;
        // The minute may end in between; then the request is sent, which is right too.
        let minute_passed = seen.lock().unwrap().len() == 2;
        assert!(minute_passed || matches!(e, Err(RestError::Wait(_))), "{e:?}");
    });
    let (address, seen) = serve(|_, _| {
        Some(Answer {
            status: "429 Too Many Requests",
            headers: "Retry-After: 30\r\n",
            body: r#"{"code":-1003,"msg":"Too many requests"}"#.into(),
        })
    });
    run(async {
        let client = client(&address);
        assert_eq!(client.balances().await.unwrap_err().class(), Class::Throttled);
        assert!(matches!(client.balances().await, Err(RestError::Wait(_))));
    });
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn a_patient_client_waits_for_the_next_window() {
    let (address, seen) = serve(|n, _| {
        Some(match n {
            0 => Answer {
                status: "429 Too Many Requests",
                headers: "Retry-After: 1\r\n",
                body: r#"{"code":-1003,"msg":"Too many requests"}"#.into(),
            },
            _ => answer("200 OK", r#"{"dualSidePosition":false}"#),
        })
    });
    run(async {
        let client = client(&address);
        assert_eq!(client.dual_side().await.unwrap_err().class(), Class::Throttled);
        assert!(matches!(client.dual_side().await, Err(RestError::Wait(_))), "it fails at once by itself");
        client.set_patient(true);
        assert!(!client.dual_side().await.unwrap());
    });
    assert_eq!(seen.lock().unwrap().len(), 2, "nothing was sent before the window ended");
}

#[test]
fn every_failure_says_what_to_do() {
    // A closed port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let e = run(async { client(&format!("127.0.0.1:{port}")).balances().await.unwrap_err() });
    assert!(matches!(e, RestError::Transport { kind: TransportKind::Connect, .. }));
    let said = clean(&e);
    assert!(
        said.contains(&format!("http://127.0.0.1:{port}")) && said.contains("is the port open"),
        "{said}"
    );

    let cases: [(&'static str, &'static str, &str); 6] = [
        (
            "401 Unauthorized",
            r#"{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action"}"#,
            "testnet keys do not work on mainnet",
        ),
        (
            "400 Bad Request",
            r#"{"code":-1022,"msg":"Signature for this request is not valid."}"#,
            "the secret does not belong to the key",
        ),
        (
            "400 Bad Request",
            r#"{"code":-4061,"msg":"Order's position side does not match user's setting."}"#,
            "hedge or one-way",
        ),
        (
            "400 Bad Request",
            r#"{"code":-2019,"msg":"Margin is insufficient."}"#,
            "not enough balance or margin",
        ),
        ("404 Not Found", "<html>nothing here</html>", "no Binance futures venue"),
        ("403 Forbidden", "<html>WAF</html>", "firewall"),
    ];
    for (status, body, want) in cases {
        let (address, _seen) = serve(move |_, _| Some(answer(status, body)));
        let e = run(async { client(&address).balances().await.unwrap_err() });
        let said = clean(&e);
        assert!(said.contains(want) && said.contains("GET /fapi/v3/balance"), "{said}");
    }

    let (address, seen) = serve(|_, _| {
        Some(Answer {
            status: "302 Found",
            headers: "Location: http://127.0.0.1:1/\r\n",
            body: String::new(),
        })
    });
    let e = run(async { client(&address).balances().await.unwrap_err() });
    assert!(clean(&e).contains("wrong host?"), "{e}");
    assert_eq!(seen.lock().unwrap().len(), 1, "not followed");

    let (address, _seen) = serve(|_, _| Some(answer("200 OK", "<html>a captive portal</html>")));
    let e = run(async { client(&address).balances().await.unwrap_err() });
    assert!(clean(&e).contains("the answer is not understood"), "{e}");

    let no_key = client_of(&address, None, RestConfig::default());
    let e = run(async { no_key.balances().await.unwrap_err() });
    assert!(e.to_string().contains("--keys"), "{e}");
}

#[test]
fn a_body_without_end_is_cut_off() {
    let (address, _seen) = serve(|_, _| Some(answer("200 OK", &"x".repeat(70_000))));
    let config = RestConfig { max_body: 64 * 1024, ..RestConfig::default() };
    let client = client_of(&address, None, config);
    let e = run(async { client.exchange_info(&[]).await.unwrap_err() });
    assert!(e.to_string().contains("more than 65536 bytes"), "{e}");
}

#[test]
fn the_listen_key_and_the_fill_backfill() {
    let (address, seen) = serve(|n, _| {
        Some(match n {
            0 => answer("200 OK", r#"{"listenKey":"pqia91ma19a5s61cv6a81va65sdf19v8"}"#),
            1 => answer("400 Bad Request", r#"{"code":-1125,"msg":"This listenKey does not exist."}"#),
            2 => answer(
                "200 OK",
                r#"[{"buyer":false,"commission":"0.07819010","commissionAsset":"USDT","id":698759,"maker":true,
                "orderId":25851813,"price":"7819.0","qty":"0.002","realizedPnl":"-0.91539999","side":"SELL","positionSide":"BOTH",
                "symbol":"BTCUSDT","time":1569514978020}]"#,
            ),
            3 => answer("200 OK", &format!("[{ROW},{}]", ROW.replace("BTCUSDT", "OTHERUSDT"))),
            4 => answer(
                "200 OK",
                r#"[{"a":26129,"p":"60000.1","q":"0.100","f":1,"l":2,"T":1498793709153,"m":true}]"#,
            ),
            _ => answer("200 OK", r#"{"listenKey":"../../evil"}"#),
        })
    });
    run(async {
        let (client, symbols) = (client(&address), symbols());
        client.create_listen_key().await.unwrap();
        let e = client.keep_listen_key().await.unwrap_err();
        assert_eq!(e.action(), Action::NewListenKey);
        let window = TimeWindow { start_ms: 1_569_514_978_020, end_ms: 1_569_514_978_021 };
        let fills = client.user_trades(&symbols, "BTCUSDT", window, Urgency::Reconcile).await.unwrap();
        assert_eq!(
            (fills[0].trade_id, fills[0].last_qty, fills[0].commission),
            (698_759, Qty(2), Amount(7_819_010))
        );
        assert!(fills[0].maker && fills[0].exec_type == ExecType::Trade);
        let (orders, foreign) = client.open_orders(&symbols, None, Urgency::Reconcile).await.unwrap();
        assert_eq!((orders.len(), foreign.len()), (1, 1));
        let trades = client.agg_trades(&symbols.all()[0], 26_129).await.unwrap();
        assert_eq!((trades[0].id, trades[0].px, trades[0].aggressor), (26_129, Px(600_001), Side::Sell));
        assert!(client.create_listen_key().await.is_err(), "a key that would change the path");
    });
    let seen = seen.lock().unwrap();
    assert!(seen[0].1.to_lowercase().contains("x-mbx-apikey"), "the header alone");
    assert!(
        !seen[0].0.contains("signature")
            && seen[2].0.contains("startTime=1569514978020&endTime=1569514978021&limit=1000")
    );
}

fn weight_limit(client: &RestClient, used: u32) {
    client.with_limits(|limits| {
        let cost = Cost { weight: used, orders: 0 };
        limits.count(cost, Urgency::Audit, now());
    });
}

/// 429 with a Retry-After of one second, once; then what `then` says.
fn refused_once(then: &'static str) -> (String, Seen) {
    serve(move |n, _| {
        Some(match n {
            0 => Answer {
                status: "429 Too Many Requests",
                headers: "Retry-After: 1\r\n",
                body: r#"{"code":-1003,"msg":"Too many requests"}"#.into(),
            },
            _ => answer("200 OK", then),
        })
    })
}

#[test]
fn while_patient_a_refusal_of_the_venue_is_waited_for_too_and_the_clock_waits_like_the_rest() {
    let (address, seen) = refused_once(r#"{"dualSidePosition":false}"#);
    run(async {
        let client = client(&address);
        client.set_patient(true);
        let begun = now();
        assert!(!client.dual_side().await.unwrap(), "the refusal itself");
        assert!(now().since(begun).0 >= Nanos::SECOND, "not before the venue's pause is over");
    });
    assert_eq!(seen.lock().unwrap().len(), 2);
    let (address, seen) = refused_once(r#"{"serverTime":1800000000000}"#);
    run(async {
        let client = client(&address);
        client.set_patient(true);
        let begun = now();
        client.sync_clock(1).await.unwrap();
        assert!(now().since(begun).0 >= Nanos::SECOND, "not before the venue's pause is over");
        let bound = client.clock().error_bound().unwrap();
        assert!(bound < 500 * Nanos::MS, "the wait is no part of the round trip: {bound}");
    });
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[test]
fn what_protects_a_position_is_not_behind_what_reads_history() {
    let (address, seen) =
        serve(|_, line| Some(answer("200 OK", if line.contains("/order?") { ROW } else { "[]" })));
    run(async {
        let (client, symbols) = (client(&address), symbols());
        client.set_patient(true);
        // All that a start may take is used, by whomever.
        let room = client.with_limits(|limits| limits.room(Urgency::Start, now()));
        weight_limit(&client, room);
        let window = TimeWindow { start_ms: 1, end_ms: 2 };
        let history = client.income(IncomeKind::Commission, window, Urgency::Start);
        let protect = async {
            let cancel = CancelOrder {
                symbol: SymbolId(0),
                client_order_id: ClientOrderId { run: 1, intent: 2, attempt: 3 },
            };
            client.open_orders(&symbols, None, Urgency::Exit).await.unwrap();
            client.positions(&symbols, None, Urgency::Exit).await.unwrap();
            client.order(&OrderRequest::Cancel(cancel), &symbols, 5_000).await.unwrap();
        };
        tokio::select! {
            biased;
            result = history => {
                // The minute may have ended in between: then it may go, which is right too.
                result.unwrap();
            }
            () = protect => {}
        }
    });
    let seen: Vec<String> = seen.lock().unwrap().iter().map(|(line, _)| line.clone()).collect();
    let minute_passed = seen.iter().any(|line| line.contains("/income"));
    assert!(minute_passed || seen.len() == 3, "{seen:?}");
}

fn param(line: &str, name: &str) -> Option<u64> {
    line.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[test]
fn each_order_has_its_own_receive_window_and_a_late_one_is_not_sent() {
    let (address, seen) = serve(|n, line| {
        Some(match n {
            2 => answer("400 Bad Request", r#"{"code":-1021,"msg":"Timestamp"}"#),
            _ if line.contains("/time") => {
                answer("200 OK", &format!("{{\"serverTime\":{}}}", now().millis()))
            }
            _ => answer("200 OK", ROW),
        })
    });
    run(async {
        let (client, symbols) = (client(&address), symbols());
        client.order(&order(), &symbols, 250).await.unwrap();
        client.order(&order(), &symbols, 60_000).await.unwrap();
        let OrderRequest::New(own) = order() else { panic!() };
        let own = OrderRequest::New(NewOrder { recv_window_ms: 0, ..own });
        assert_eq!(client.order(&own, &symbols, 5_000).await, Err(RestError::TooLate));
        let e = client.order(&order(), &symbols, 0).await.unwrap_err();
        assert_eq!((e.class(), e), (Class::Failed, RestError::TooLate));
        assert_eq!(RestError::TooLate.report(&order()).exec_type, ExecType::Rejected);
        // Sent again after the clock was set: in what is left of its window.
        client.order(&order(), &symbols, 900).await.unwrap();
    });
    let seen = seen.lock().unwrap();
    let orders = seen.iter().filter(|(line, _)| line.contains("/order?"));
    let sent: Vec<u64> = orders.map(|(line, _)| param(line, "recvWindow").unwrap()).collect();
    assert_eq!(sent[..3], [250, 5_000, 900], "at most the configured one");
    assert!(sent.len() == 4 && sent[3] < 900 && sent[3] > 0, "{sent:?}");
}

/// A venue that lists rows of a table by window, the newest of a window first to go (as it does for orders).
fn list(line: &str, table: &[(u64, String)]) -> String {
    let (start, end) = (param(line, "startTime").unwrap(), param(line, "endTime").unwrap());
    assert!(end - start < 7 * 86_400_000, "the venue refuses a longer window: {line}");
    let limit = param(line, "limit").unwrap() as usize;
    let rows: Vec<&str> =
        table.iter().filter(|(t, _)| (start..=end).contains(t)).map(|(_, r)| r.as_str()).collect();
    format!("[{}]", rows[rows.len().saturating_sub(limit)..].join(","))
}

#[test]
fn listings_are_whole_however_long_and_however_far_back() {
    const DAY: u64 = 86_400_000;
    let until = 1_800_000_000_000u64;
    let since = until - 20 * DAY;
    // 2,600 orders on one day, and fills and transfers over twenty.
    let orders: Vec<(u64, String)> = (0..2_600u64)
        .map(|i| {
            let (id, created) = (1_000 + i, until - 2 * DAY + i * 1_000);
            let row = ROW.replace(r#""orderId":9"#, &format!(r#""orderId":{id},"time":{created}"#));
            (created, row)
        })
        .collect();
    let at = move |i: u64| since + i * DAY;
    let fills: Vec<(u64, String)> = (0..=20u64)
        .map(|i| {
            let row = format!(
                r#"{{"symbol":"BTCUSDT","id":{},"orderId":1,"side":"SELL","price":"7819.0","qty":"0.002","commission":"0.01",
                "commissionAsset":"USDT","realizedPnl":"0","maker":true,"time":{}}}"#,
                i + 1, at(i)
            );
            (at(i), row)
        })
        .collect();
    let transfers: Vec<(u64, String)> = (0..3u64)
        .map(|i| {
            let row = format!(
                r#"{{"symbol":"","incomeType":"TRANSFER","income":"-0.375","asset":"USDT","info":"TRANSFER","time":{},
                "tranId":"{}","tradeId":""}}"#,
                at(9 * i), 70 + i
            );
            (at(9 * i), row)
        })
        .collect();
    let (address, seen) = serve(move |_, line| {
        let body = match line {
            l if l.contains("/allOrders") => list(l, &orders),
            l if l.contains("/userTrades") => list(l, &fills),
            l if l.contains("incomeType=TRANSFER") => list(l, &transfers),
            _ => list(line, &[]),
        };
        Some(answer("200 OK", &body))
    });
    run(async {
        let (client, symbols) = (client(&address), symbols());
        let day = TimeWindow { start_ms: until - 2 * DAY, end_ms: until };
        let orders = client.all_orders(&symbols, "BTCUSDT", day, Urgency::Start).await.unwrap();
        let ids: Vec<u64> = orders.iter().map(|o| o.order_id).collect();
        assert_eq!(ids, (1_000..3_600).collect::<Vec<_>>(), "each once, oldest first");
        let mut trades = Vec::new();
        // Walking back, window by window.
        for window in windows(since, until).rev() {
            let fills = client.user_trades(&symbols, "BTCUSDT", window, Urgency::Reconcile).await.unwrap();
            trades.splice(0..0, fills.iter().map(|f| f.trade_id));
        }
        assert_eq!(trades, (1..=21).collect::<Vec<_>>());
        let mut moved = Vec::new();
        for window in windows(since, until) {
            moved.extend(client.income(IncomeKind::Transfer, window, Urgency::Reconcile).await.unwrap());
        }
        assert_eq!(
            moved.iter().map(|i| (i.id, i.amount)).collect::<Vec<_>>(),
            [70, 71, 72].map(|id| (id, Amount(-37_500_000)))
        );
        assert_eq!(moved[1].ts_event.millis(), at(9));
        assert!(client.traded_between(since, until, Urgency::Start).await.unwrap().is_empty());
    });
    let asked = |what: &str| seen.lock().unwrap().iter().filter(|(line, _)| line.contains(what)).count();
    assert!(asked("/allOrders") <= 6, "{}", asked("/allOrders"));
    assert_eq!(asked("/userTrades"), 3);
}

#[test]
fn an_order_is_found_by_the_venues_id() {
    let (address, seen) = serve(|_, _| Some(answer("200 OK", ROW)));
    run(async {
        let r = client(&address).order_by_id(&symbols(), "BTCUSDT", 9, Urgency::Reconcile).await.unwrap();
        assert_eq!((r.order_id, r.exec_type), (9, ExecType::Status));
        assert!(r.origin.ours().is_some());
    });
    assert!(seen.lock().unwrap()[0].0.starts_with("GET /fapi/v1/order?symbol=BTCUSDT&orderId=9&"));
}
