//! One example of every kind of fault, as the JSON that `POST /dolphin/faults` takes.

/// Example and what it does, in the order of [`super::Fault`].
pub const CATALOGUE: &[(&str, &str)] = &[
    (
        r#"{"fault":"reply_lost","on":"POST /fapi/v1/order","executed":true,"times":1}"#,
        "the connection is reset instead of a reply; executed or not",
    ),
    (
        r#"{"fault":"reply_error","on":"order.place","status":408,"code":-1007,"msg":"Timeout waiting for response from backend server. Send status unknown; execution status unknown.","executed":true,"times":1}"#,
        "an error instead of a reply; executed or not",
    ),
    (r#"{"fault":"reply_delay","on":"GET /fapi/v1/depth","ms":500}"#, "executed at once, answered late"),
    (r#"{"fault":"request_delay","on":"POST /fapi/v1/order","ms":500,"times":1}"#, "executed late"),
    (
        r#"{"fault":"reply_never","on":"order.place","executed":true,"times":1}"#,
        "never answered, the connection stays open; executed or not",
    ),
    (
        r#"{"fault":"page","on":"*","status":503,"for_ms":3000}"#,
        "HTML instead of replies and handshakes: maintenance (5xx), firewall (403)",
    ),
    (
        r#"{"fault":"overload","for_ms":2000}"#,
        "-1008 to orders that open; reduce-only orders and cancels pass",
    ),
    (r#"{"fault":"too_many_requests","retry_after_s":2,"times":1}"#, "429 with Retry-After"),
    (r#"{"fault":"ban","ms":3000}"#, "418 to everything for a while"),
    (r#"{"fault":"read_lag","ms":300}"#, "orders younger than this are not found (-2013) and not listed"),
    (
        r#"{"fault":"fill_first","symbol":"BTCUSDT","quantity":"0.001","times":1}"#,
        "a fill comes before the cancel or modify",
    ),
    (
        r#"{"fault":"snapshot_stale","symbol":"BTCUSDT","times":2}"#,
        "depth snapshots are the one of the moment the rule was made",
    ),
    (r#"{"fault":"clock_offset","ms":-1500}"#, "the venue's clock is off"),
    (
        r#"{"fault":"clock_drift","ppm":20000}"#,
        "the venue's clock runs fast, or slow below zero (microseconds per second)",
    ),
    (
        r#"{"fault":"mute","stream":"btcusdt@depth@100ms","for_ms":5000}"#,
        "frames of a stream never come; everything else goes on",
    ),
    (r#"{"fault":"late","stream":"user@ORDER_TRADE_UPDATE@NEW","ms":300,"times":1}"#, "frames come late"),
    (
        r#"{"fault":"drop","stream":"btcusdt@depth@100ms","times":1}"#,
        "a frame is dropped (a `pu` gap, a hole in aggTrade ids, a lost event)",
    ),
    (r#"{"fault":"duplicate","stream":"user@ORDER_TRADE_UPDATE@TRADE","times":1}"#, "a frame is sent twice"),
    (
        r#"{"fault":"reorder","stream":"btcusdt@depth@100ms","times":1}"#,
        "a frame is sent after its successor",
    ),
    (
        r#"{"fault":"replay","stream":"user@ORDER_TRADE_UPDATE@TRADE","back":1,"times":1}"#,
        "a frame is followed by an older one",
    ),
    (r#"{"fault":"replace","stream":"btcusdt@bookTicker","text":"{","times":1}"#, "a frame is this text"),
    (r#"{"fault":"truncate","stream":"btcusdt@depth@100ms","times":1}"#, "a frame is cut in the middle"),
    (
        r#"{"fault":"garble","stream":"btcusdt@depth@100ms","times":1}"#,
        "a character in the middle of a frame is another one",
    ),
    (
        r#"{"fault":"append","stream":"btcusdt@depth@100ms","text":"}{","times":1}"#,
        "a frame has garbage behind it",
    ),
    (
        r#"{"fault":"alter","stream":"btcusdt@depth@100ms","at":"/b/0/0","value":"1e400","times":1}"#,
        "one value in a frame (a JSON pointer) is another; without `value` it is missing",
    ),
    (
        r#"{"fault":"repeat_field","stream":"btcusdt@depth@100ms","name":"u","value":1,"times":1}"#,
        "a name stands in a frame twice, with two values",
    ),
    (
        r#"{"fault":"nest","stream":"btcusdt@depth@100ms","depth":10000,"times":1}"#,
        "a frame nested this deep is sent before it",
    ),
    (
        r#"{"fault":"oversize","stream":"btcusdt@depth@100ms","bytes":67108864,"times":1}"#,
        "a frame of this size is sent before it",
    ),
    (r#"{"fault":"strange_fields","stream":"*"}"#, "frames carry a field nobody knows and `E` as a text"),
    (
        r#"{"fault":"disconnect","route":"private","how":"reset"}"#,
        "open connections end now: `close`, `reset`, or `silence` (half open)",
    ),
    (r#"{"fault":"refuse_connections","for_ms":3000}"#, "new connections are reset"),
    (r#"{"fault":"ignore_connections","for_ms":3000}"#, "new connections are accepted and never answered"),
    (r#"{"fault":"connection_life","ms":5000}"#, "WebSocket connections end at this age (24 h at the venue)"),
    (r#"{"fault":"subscribe_silently"}"#, "SUBSCRIBE is acknowledged, and nothing ever comes"),
    (
        r#"{"fault":"replay_events","count":5,"times":1}"#,
        "whoever subscribes to user events gets the last ones again",
    ),
    (
        r#"{"fault":"cross_book","symbol":"BTCUSDT","for_ms":2000}"#,
        "a bid stands half a percent above the best ask",
    ),
    (r#"{"fault":"lock_book","symbol":"BTCUSDT","for_ms":2000}"#, "a bid stands at the best ask"),
    (
        r#"{"fault":"foreign_symbols","for_ms":60000}"#,
        "exchangeInfo and the streams of all symbols carry strange instruments",
    ),
    (
        r#"{"fault":"empty_side","symbol":"BTCUSDT","side":"BUY","for_ms":2000}"#,
        "one side of the book is empty",
    ),
    (
        r#"{"fault":"mark_off","symbol":"BTCUSDT","factor":1.2,"for_ms":5000}"#,
        "the mark price is off the market by a factor",
    ),
    (r#"{"fault":"jump","symbol":"BTCUSDT","factor":1.5}"#, "a simulated price jumps now"),
    (
        r#"{"fault":"expire_listen_keys","event":false}"#,
        "listen keys expire now, with or without the event; sockets stay open",
    ),
    (r#"{"fault":"revoke_key","api_key":"K"}"#, "a key is no longer valid from now on (-2015)"),
    (
        r#"{"fault":"external_order","symbol":"BTCUSDT","side":"BUY","quantity":"0.010"}"#,
        "somebody else trades on the account now",
    ),
    (
        r#"{"fault":"fill_order","symbol":"BTCUSDT","client_id":"abc","quantity":"0.001"}"#,
        "a resting order is filled now",
    ),
    (
        r#"{"fault":"cancel_order","symbol":"BTCUSDT"}"#,
        "somebody else cancels now: one order, or all of a symbol",
    ),
    (r#"{"fault":"liquidate","account":0}"#, "the account is liquidated now (`autoclose-…`)"),
    (
        r#"{"fault":"deleverage","symbol":"BTCUSDT","quantity":"0.005"}"#,
        "a position is auto-deleveraged now (`adl_autoclose`)",
    ),
    (r#"{"fault":"funding","symbol":"BTCUSDT","rate":0.0005}"#, "funding is charged now"),
    (r#"{"fault":"settle","symbol":"BTCUSDT"}"#, "the instrument is settled now (`settlement_autoclose-…`)"),
    (r#"{"fault":"transfer","amount":"-99000"}"#, "the wallet changes now"),
    (
        r#"{"fault":"set_filter","symbol":"BTCUSDT","tick":"0.50","min_notional":"2000"}"#,
        "filters change now",
    ),
    (
        r#"{"fault":"set_step","symbol":"BTCUSDT","step":"0.010","max_qty":"5"}"#,
        "quantity filters change now",
    ),
    (r#"{"fault":"set_commission","maker":"0.0004","taker":"0.001"}"#, "commission rates change now"),
    (r#"{"fault":"set_status","symbol":"BTCUSDT","status":"BREAK"}"#, "the symbol's status changes now"),
    (r#"{"fault":"set_hedge","on":true}"#, "somebody else changes the position mode now"),
    (r#"{"fault":"set_multi_assets","on":true}"#, "somebody else changes the multi-assets mode now"),
    (r#"{"fault":"set_leverage","symbol":"BTCUSDT","leverage":3}"#, "somebody else changes the leverage now"),
    (
        r#"{"fault":"set_margin_type","symbol":"BTCUSDT","isolated":true}"#,
        "somebody else changes the margin type now",
    ),
];
