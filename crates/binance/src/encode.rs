//! Order requests to bytes: WebSocket API frames and REST queries, signed.
//!
//! The WebSocket API signs its parameters as `name=value&…` sorted by name, as raw text; the frame is JSON. Both
//! texts are written in one pass over the parameters, in sorted order, into buffers that are kept: nothing is
//! allocated after the first order, nothing is sorted, and the two texts cannot differ.

use market::{
    ClientOrderId, Increment, Nanos, NewOrder, OrderRequest, OrderType, PositionSide, ReplaceOrder, Side,
    TimeInForce,
};

use crate::sign::{Signer, percent_encode};
use crate::symbols::Symbols;

/// Room for one frame: the longest that is made has under 700 bytes with a 64-byte key.
const FRAME_CAPACITY: usize = 2048;

/// Why an encoder cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A symbol whose name would break the frame's text.
    #[error("symbol `{0}` has a character that cannot stand in a request")]
    Symbol(String),
    /// A receive window outside what the venue takes.
    #[error("recv_window_ms is {0}: the venue takes 1 to 60000")]
    RecvWindow(u32),
}

/// The receive window of a request: the order's own, which its router reckons with, and no longer than `most_ms`.
pub(crate) fn window_of(request: &OrderRequest, most_ms: u32) -> u32 {
    match request {
        OrderRequest::New(order) => order.recv_window_ms.min(most_ms),
        _ => most_ms,
    }
}

/// What is left at `now` of a receive window that began at `since`, ms, rounded down.
pub(crate) fn window_left(recv_window_ms: u32, since: Nanos, now: Nanos) -> u32 {
    let spent = now.since(since).0.div_ceil(Nanos::MS);
    recv_window_ms.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
}

/// Writes order requests as signed frames.
pub(crate) struct Encoder {
    signer: Signer,
    symbols: Symbols,
    recv_window_ms: u32,
    frame: Vec<u8>,
    payload: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(signer: Signer, symbols: Symbols, recv_window_ms: u32) -> Result<Self, EncodeError> {
        if !(1..=60_000).contains(&recv_window_ms) {
            return Err(EncodeError::RecvWindow(recv_window_ms));
        }
        let broken =
            |c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '\\' | '&' | '=' | '#');
        if let Some(bad) = symbols.all().iter().find(|i| i.symbol.is_empty() || i.symbol.contains(broken)) {
            return Err(EncodeError::Symbol(bad.symbol.clone()));
        }
        let (frame, payload) = (Vec::with_capacity(FRAME_CAPACITY), Vec::with_capacity(FRAME_CAPACITY));
        Ok(Self { signer, symbols, recv_window_ms, frame, payload })
    }

    pub(crate) fn set_symbols(&mut self, symbols: Symbols) {
        self.symbols = symbols;
    }

    pub(crate) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    pub(crate) fn can_log_on(&self) -> bool {
        self.signer.can_log_on()
    }

    /// The frame of an order request; `None` for those that the WebSocket API does not have (cancel all) and for
    /// instruments that are not in the table. With `session` the connection is logged on and needs no signature.
    #[inline]
    pub(crate) fn order(
        &mut self,
        id: u64,
        request: &OrderRequest,
        (recv_window_ms, timestamp_ms): (u32, u64),
        session: bool,
    ) -> Option<&[u8]> {
        self.open(id, method(request)?, session);
        let mut params = Params { frame: &mut self.frame, payload: &mut self.payload };
        order_params(&mut params, request, &self.symbols, recv_window_ms, timestamp_ms)?;
        self.close(session);
        Some(&self.frame)
    }

    /// The frame that logs a session on (Ed25519 keys only).
    pub(crate) fn log_on(&mut self, id: u64, timestamp_ms: u64) -> &[u8] {
        self.open(id, "session.logon", false);
        let mut params = Params { frame: &mut self.frame, payload: &mut self.payload };
        params.int("recvWindow", self.recv_window_ms.into());
        params.int("timestamp", timestamp_ms);
        self.close(false);
        &self.frame
    }

    fn open(&mut self, id: u64, method: &str, session: bool) {
        self.frame.clear();
        self.payload.clear();
        self.frame.extend_from_slice(b"{\"id\":");
        self.frame.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
        self.frame.extend_from_slice(b",\"method\":\"");
        self.frame.extend_from_slice(method.as_bytes());
        self.frame.extend_from_slice(b"\",\"params\":{");
        if !session {
            let mut params = Params { frame: &mut self.frame, payload: &mut self.payload };
            params.text("apiKey", self.signer.api_key());
        }
    }

    fn close(&mut self, session: bool) {
        if session {
            self.frame.pop();
        } else {
            self.payload.pop();
            self.frame.extend_from_slice(b"\"signature\":\"");
            self.frame.extend_from_slice(self.signer.sign(&self.payload).as_bytes());
            self.frame.push(b'"');
        }
        self.frame.extend_from_slice(b"}}");
    }
}

const fn method(request: &OrderRequest) -> Option<&'static str> {
    match request {
        OrderRequest::New(_) => Some("order.place"),
        OrderRequest::Cancel(_) => Some("order.cancel"),
        OrderRequest::Replace(_) => Some("order.modify"),
        OrderRequest::Query(_) => Some("order.status"),
        OrderRequest::CancelAll(_) => None,
    }
}

/// Where parameters go. They are given sorted by name.
pub(crate) trait Sink {
    /// A text.
    fn text(&mut self, name: &str, value: &str);
    /// A whole number.
    fn int(&mut self, name: &str, value: u64);
    /// A decimal.
    fn decimal(&mut self, name: &str, increment: Increment, count: i64);
}

struct Params<'b> {
    frame: &'b mut Vec<u8>,
    payload: &'b mut Vec<u8>,
}

impl Params<'_> {
    #[inline]
    fn put(&mut self, name: &str, value: &[u8], quote: bool) {
        self.frame.push(b'"');
        self.frame.extend_from_slice(name.as_bytes());
        self.frame.extend_from_slice(if quote { b"\":\"" } else { b"\":" });
        self.frame.extend_from_slice(value);
        self.frame.extend_from_slice(if quote { b"\"," } else { b"," });
        self.payload.extend_from_slice(name.as_bytes());
        self.payload.push(b'=');
        self.payload.extend_from_slice(value);
        self.payload.push(b'&');
    }
}

impl Sink for Params<'_> {
    #[inline]
    fn text(&mut self, name: &str, value: &str) {
        self.put(name, value.as_bytes(), true);
    }

    #[inline]
    fn int(&mut self, name: &str, value: u64) {
        self.put(name, itoa::Buffer::new().format(value).as_bytes(), false);
    }

    #[inline]
    fn decimal(&mut self, name: &str, increment: Increment, count: i64) {
        self.put(name, decimal(increment, count).as_slice(), true);
    }
}

/// A count as plain decimal text with the increment's decimals, faster than the general formatter.
fn decimal(increment: Increment, count: i64) -> arrayvec::ArrayVec<u8, 48> {
    let mut out = arrayvec::ArrayVec::new();
    let scale = usize::from(increment.scale());
    match count.checked_mul(increment.mantissa()) {
        Some(units) if units >= 0 => {
            let mut buffer = itoa::Buffer::new();
            let digits = buffer.format(units).as_bytes();
            let whole = digits.len().saturating_sub(scale);
            let fits = "an i64 with leading zeros and a dot fits 48 bytes";
            out.try_extend_from_slice(if whole == 0 { b"0" } else { &digits[..whole] }).expect(fits);
            if scale > 0 {
                out.push(b'.');
                for _ in digits.len()..scale {
                    out.push(b'0');
                }
                out.try_extend_from_slice(&digits[whole..]).expect(fits);
            }
        }
        // Never reached by an order that passed the gateway's checks, but exact all the same.
        _ => out.try_extend_from_slice(increment.format(count).as_bytes()).expect("24 bytes at most"),
    }
    out
}

/// The parameters of a request behind `apiKey`, sorted by name.
fn order_params(
    params: &mut impl Sink,
    request: &OrderRequest,
    symbols: &Symbols,
    recv_window_ms: u32,
    timestamp_ms: u64,
) -> Option<()> {
    let window = u64::from(recv_window_ms);
    match request {
        OrderRequest::New(order) => place_params(params, order, symbols, window, timestamp_ms),
        OrderRequest::Replace(order) => replace_params(params, order, symbols, window, timestamp_ms),
        OrderRequest::Cancel(order) | OrderRequest::Query(order) => {
            let instrument = symbols.get(order.symbol)?;
            params.text("origClientOrderId", &id_text(order.client_order_id));
            params.int("recvWindow", window);
            params.text("symbol", &instrument.symbol);
            params.int("timestamp", timestamp_ms);
            Some(())
        }
        OrderRequest::CancelAll(symbol) => {
            params.int("recvWindow", window);
            params.text("symbol", &symbols.get(*symbol)?.symbol);
            params.int("timestamp", timestamp_ms);
            Some(())
        }
    }
}

fn place_params(
    params: &mut impl Sink,
    order: &NewOrder,
    symbols: &Symbols,
    window: u64,
    ts: u64,
) -> Option<()> {
    let instrument = symbols.get(order.symbol)?;
    let limit = order.order_type == OrderType::Limit;
    let takes = !limit || matches!(order.tif, TimeInForce::Ioc | TimeInForce::Fok);
    params.text("newClientOrderId", &id_text(order.client_order_id));
    // A taking order is done when it is answered: ask for its final state. A resting one only for the ack.
    params.text("newOrderRespType", if takes { "RESULT" } else { "ACK" });
    params.text("positionSide", position_side(order.position_side));
    if limit {
        params.decimal("price", instrument.tick, order.px.0);
    }
    params.decimal("quantity", instrument.lot, order.qty.0);
    params.int("recvWindow", window);
    // In hedge mode the position side says it, and the venue refuses the parameter (-4062).
    if order.reduce_only && order.position_side == PositionSide::Both {
        params.text("reduceOnly", "true");
    }
    // Only IOC and GTC know self-trade prevention; the default differs between REST and WebSocket, so it is sent.
    if limit && matches!(order.tif, TimeInForce::Ioc | TimeInForce::Gtc) {
        params.text("selfTradePreventionMode", "EXPIRE_MAKER");
    }
    params.text("side", side(order.side));
    params.text("symbol", &instrument.symbol);
    if limit {
        params.text("timeInForce", tif(order.tif));
    }
    params.int("timestamp", ts);
    params.text("type", if limit { "LIMIT" } else { "MARKET" });
    Some(())
}

fn replace_params(
    params: &mut impl Sink,
    order: &ReplaceOrder,
    symbols: &Symbols,
    window: u64,
    ts: u64,
) -> Option<()> {
    let instrument = symbols.get(order.symbol)?;
    params.text("origClientOrderId", &id_text(order.client_order_id));
    params.decimal("price", instrument.tick, order.px.0);
    params.decimal("quantity", instrument.lot, order.qty.0);
    params.int("recvWindow", window);
    params.text("side", side(order.side));
    params.text("symbol", &instrument.symbol);
    params.int("timestamp", ts);
    Some(())
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

const fn tif(tif: TimeInForce) -> &'static str {
    match tif {
        TimeInForce::Gtc => "GTC",
        TimeInForce::Ioc => "IOC",
        TimeInForce::Fok => "FOK",
        TimeInForce::Gtx => "GTX",
    }
}

const fn position_side(side: PositionSide) -> &'static str {
    match side {
        PositionSide::Both => "BOTH",
        PositionSide::Long => "LONG",
        PositionSide::Short => "SHORT",
    }
}

/// The text of one of our ids, without the general formatter.
fn id_text(id: ClientOrderId) -> arrayvec::ArrayString<36> {
    let mut text = arrayvec::ArrayString::new();
    let mut hex = [0u8; 16];
    let mut first = 15;
    let mut run = id.run;
    loop {
        hex[first] = b"0123456789abcdef"[(run & 15) as usize];
        run >>= 4;
        if run == 0 {
            break;
        }
        first -= 1;
    }
    text.push_str(ClientOrderId::PREFIX);
    text.push_str(std::str::from_utf8(&hex[first..]).expect("hexadecimal digits are ASCII"));
    text.push('-');
    text.push_str(itoa::Buffer::new().format(id.intent));
    text.push('-');
    text.push_str(itoa::Buffer::new().format(id.attempt));
    text
}

/// Writes a REST query.
#[derive(Default)]
pub(crate) struct Query(pub(crate) String);

impl Query {
    fn name(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
    }

    /// Signs what is there and appends the signature, which must be last.
    pub(crate) fn sign(&mut self, signer: &Signer) {
        let signature = signer.sign(self.0.as_bytes());
        self.name("signature");
        percent_encode(&signature, &mut self.0);
    }
}

impl Sink for Query {
    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        percent_encode(value, &mut self.0);
    }

    fn int(&mut self, name: &str, value: u64) {
        self.name(name);
        self.0.push_str(itoa::Buffer::new().format(value));
    }

    fn decimal(&mut self, name: &str, increment: Increment, count: i64) {
        self.name(name);
        self.0.push_str(&increment.format(count));
    }
}

/// The signed REST query of an order request; `None` for instruments that are not in the table.
pub(crate) fn rest_query(
    request: &OrderRequest,
    symbols: &Symbols,
    signer: &Signer,
    recv_window_ms: u32,
    timestamp_ms: u64,
) -> Option<String> {
    let mut query = Query::default();
    order_params(&mut query, request, symbols, recv_window_ms, timestamp_ms)?;
    query.sign(signer);
    Some(query.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ApiKey;
    use market::{CancelOrder, Instrument, SymbolId};

    /// A symbol in another script (BINANCE.md §1, 2025-10-09): REST signs the percent-encoded text that is sent, the
    /// WebSocket API the raw parameters sorted by name.
    #[test]
    fn symbols_of_any_script_are_signed_as_they_are_sent() {
        let increment = Increment::decimals(3);
        let symbols = Symbols::new(vec![Instrument::plain(SymbolId(0), "币安USDT", increment, increment)]);
        let signer = || Signer::new(&ApiKey::hmac("K", "S").expect("a key")).expect("a signer");
        let id = ClientOrderId { run: 0x1f, intent: 7, attempt: 2 };
        let request = OrderRequest::Cancel(CancelOrder { symbol: SymbolId(0), client_order_id: id });

        let query = rest_query(&request, &symbols, &signer(), 5_000, 1_591_702_613_943).expect("a query");
        let (payload, signature) = query.rsplit_once("&signature=").expect("signed, last");
        assert_eq!(
            payload,
            "origClientOrderId=dlp-1f-7-2&recvWindow=5000&symbol=%E5%B8%81%E5%AE%89USDT&timestamp=1591702613943"
        );
        assert_eq!(signature, signer().sign(payload.as_bytes()).as_str());

        let mut encoder = Encoder::new(signer(), symbols, 5_000).expect("an encoder");
        let frame = encoder.order(1, &request, (5_000, 1_591_702_613_943), false).expect("a frame");
        let frame: serde_json::Value = serde_json::from_slice(frame).expect("JSON");
        let raw =
            "apiKey=K&origClientOrderId=dlp-1f-7-2&recvWindow=5000&symbol=币安USDT&timestamp=1591702613943";
        assert_eq!(frame["params"]["symbol"], "币安USDT");
        assert_eq!(frame["params"]["signature"], signer().sign(raw.as_bytes()).as_str());
    }
}
