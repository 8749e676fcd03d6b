//! Scripted faults: everything a venue has ever done to a client (BINANCE.md §8, FAULTS.md §2), on demand.
//!
//! A [`Rule`] is a fault with a number of times to strike. *Standing* faults wait for the requests or frames they
//! name; the others happen at once. The same rules come in by [`crate::VenueHandle::inject`] and, as JSON, by
//! `POST /dolphin/faults`.

use serde::{Deserialize, Serialize};

/// What goes wrong. Requests are named `METHOD /path` (`POST /fapi/v1/order`) or by their WS-API method
/// (`order.place`), streams by name (`btcusdt@depth@100ms`), user events as `user@<event>` and, for
/// ORDER_TRADE_UPDATE, `user@ORDER_TRADE_UPDATE@<execution type>`. `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The connection is reset instead of a reply; the request was executed or not.
    ReplyLost {
        /// Request.
        on: String,
        /// Was it executed?
        executed: bool,
    },
    /// An error reply; the request was executed or not (−1006, −1007, 503 …).
    ReplyError {
        /// Request.
        on: String,
        /// Venue code.
        code: i32,
        /// Venue message.
        #[serde(default)]
        msg: String,
        /// HTTP status.
        status: u16,
        /// Was it executed?
        #[serde(default)]
        executed: bool,
    },
    /// Executed at once, answered late.
    ReplyDelay {
        /// Request.
        on: String,
        /// By this much.
        ms: u64,
    },
    /// Executed late.
    RequestDelay {
        /// Request.
        on: String,
        /// By this much.
        ms: u64,
    },
    /// Never answered; the connection stays open.
    ReplyNever {
        /// Request.
        on: String,
        /// Was it executed?
        executed: bool,
    },
    /// −1008 to orders that open; reduce-only orders and cancels pass.
    Overload,
    /// 429 with Retry-After.
    TooManyRequests {
        /// Seconds in Retry-After.
        retry_after_s: u64,
    },
    /// 418 to everything for a while.
    Ban {
        /// Length.
        ms: u64,
    },
    /// Orders younger than this are not found (−2013) and not listed.
    ReadLag {
        /// Lag.
        ms: u64,
    },
    /// Depth snapshots are those of the moment the rule was made.
    SnapshotStale {
        /// Symbol.
        symbol: String,
    },
    /// The venue's clock is off.
    ClockOffset {
        /// By this much.
        ms: i64,
    },
    /// Frames of a stream never come; everything else goes on.
    Mute {
        /// Stream.
        stream: String,
    },
    /// Frames come late.
    Late {
        /// Stream.
        stream: String,
        /// By this much.
        ms: u64,
    },
    /// A frame is dropped (for depth: a `pu` gap).
    Drop {
        /// Stream.
        stream: String,
    },
    /// A frame is sent twice.
    Duplicate {
        /// Stream.
        stream: String,
    },
    /// A frame is sent after its successor.
    Reorder {
        /// Stream.
        stream: String,
    },
    /// A frame is replaced by this text.
    Replace {
        /// Stream.
        stream: String,
        /// What is sent instead.
        text: String,
    },
    /// A frame is cut in the middle.
    Truncate {
        /// Stream.
        stream: String,
    },
    /// A frame of this size is sent before it.
    Oversize {
        /// Stream.
        stream: String,
        /// Bytes.
        bytes: usize,
    },
    /// Frames carry a field nobody knows and `E` as a text.
    StrangeFields {
        /// Stream.
        stream: String,
    },
    /// Open WebSocket connections end (now).
    Disconnect {
        /// `public`, `market`, `private`, `ws-fapi`, `legacy` or `*`.
        route: String,
        /// How.
        how: Ending,
    },
    /// New connections are reset.
    RefuseConnections,
    /// SUBSCRIBE is acknowledged, and nothing ever comes.
    SubscribeSilently,
    /// The listen keys of all accounts expire (now).
    ExpireListenKeys {
        /// With the `listenKeyExpired` event, or silently.
        event: bool,
    },
    /// A key is no longer valid (now).
    RevokeKey {
        /// API key.
        api_key: String,
    },
    /// Somebody else trades on the account (now).
    ExternalOrder {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Symbol.
        symbol: String,
        /// `BUY` or `SELL`.
        side: String,
        /// Quantity.
        quantity: String,
        /// Limit price; a market order without.
        #[serde(default)]
        price: Option<String>,
        /// Client order id.
        #[serde(default)]
        client_id: Option<String>,
    },
    /// The account is liquidated (now).
    Liquidate {
        /// Account number.
        #[serde(default)]
        account: u16,
    },
    /// A position is auto-deleveraged (now).
    Deleverage {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Symbol.
        symbol: String,
        /// `BOTH`, `LONG`, `SHORT`.
        #[serde(default = "both")]
        position_side: String,
        /// Quantity; all of it without.
        #[serde(default)]
        quantity: Option<String>,
    },
    /// Funding is charged (now).
    Funding {
        /// Symbol.
        symbol: String,
        /// Rate.
        rate: f64,
    },
    /// The wallet changes (now).
    Transfer {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Signed amount.
        amount: String,
    },
    /// Filters change (now).
    SetFilter {
        /// Symbol.
        symbol: String,
        /// Least notional.
        #[serde(default)]
        min_notional: Option<String>,
        /// Least quantity.
        #[serde(default)]
        min_qty: Option<String>,
        /// Most open orders.
        #[serde(default)]
        max_orders: Option<u32>,
        /// PERCENT_PRICE up.
        #[serde(default)]
        multiplier_up: Option<f64>,
        /// PERCENT_PRICE down.
        #[serde(default)]
        multiplier_down: Option<f64>,
        /// Coarser tick: a multiple of the tick, as text (`0.50`).
        #[serde(default)]
        tick: Option<String>,
    },
    /// The symbol's status changes (now): `TRADING`, `SETTLING`, `PENDING_TRADING`, `CLOSE`.
    SetStatus {
        /// Symbol.
        symbol: String,
        /// Status.
        status: String,
    },
    /// The account's position mode is changed by somebody else (now).
    SetHedge {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Hedge mode?
        on: bool,
    },
    /// The leverage is changed by somebody else (now).
    SetLeverage {
        /// Account number.
        #[serde(default)]
        account: u16,
        /// Symbol.
        symbol: String,
        /// New leverage.
        leverage: u32,
    },
}

fn both() -> String {
    "BOTH".to_owned()
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A close frame.
    Close,
    /// A TCP reset.
    Reset,
    /// Nothing is sent any more; the connection stays open.
    Silence,
}

/// A fault and how often it strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
    /// Strikes this often; 0 = until cleared.
    #[serde(default)]
    pub times: u32,
    /// Lets this many pass first.
    #[serde(default)]
    pub skip: u32,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self { fault, times: 0, skip: 0 }
    }
}

/// A rule in force.
#[derive(Debug, Clone, Serialize)]
pub struct Active {
    /// Number of the rule.
    pub id: u64,
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// How often it struck.
    pub hits: u64,
}

/// Most rules in force at a time.
pub const MAX_RULES: usize = 256;

/// The rules in force.
#[derive(Debug, Default)]
pub struct Faults {
    active: Vec<Active>,
    next: u64,
}

impl Faults {
    /// Adds a standing rule; `None` where there are too many.
    pub fn add(&mut self, rule: Rule) -> Option<u64> {
        if self.active.len() >= MAX_RULES {
            return None;
        }
        self.next += 1;
        self.active.push(Active { id: self.next, rule, hits: 0 });
        Some(self.next)
    }

    /// Removes a rule; was it there?
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.active.len();
        self.active.retain(|a| a.id != id);
        self.active.len() < before
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        self.active.clear();
    }

    /// The rules in force, with their hits (spent ones too, until cleared).
    pub fn active(&self) -> &[Active] {
        &self.active
    }

    /// The first rule that `wants` this occasion: it is counted, and spent when its times are over.
    pub fn strike(&mut self, wants: impl Fn(&Fault) -> bool) -> Option<Fault> {
        for a in &mut self.active {
            let spent = a.rule.times > 0 && a.hits >= u64::from(a.rule.times);
            if spent || !wants(&a.rule.fault) {
                continue;
            }
            if a.rule.skip > 0 {
                a.rule.skip -= 1;
                continue;
            }
            a.hits += 1;
            return Some(a.rule.fault.clone());
        }
        None
    }

    /// Does a rule that `wants` this stand, without counting it?
    pub fn stands<T>(&self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let alive = |a: &&Active| a.rule.times == 0 || a.hits < u64::from(a.rule.times);
        self.active.iter().filter(alive).find_map(|a| pick(&a.rule.fault))
    }

    /// Are there none at all? (The hot path asks.)
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }
}

/// Does `pattern` (with `*` for anything) match `name`?
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (p, n, yes) in [
            ("*", "x", true),
            ("btcusdt@*", "btcusdt@depth@100ms", true),
            ("*@depth*", "btcusdt@depth@100ms", true),
            ("btcusdt@depth", "btcusdt@depth@100ms", false),
            ("*@aggTrade", "btcusdt@trade", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
        ] {
            assert_eq!(matches(p, n), yes, "{p} {n}");
        }
    }

    #[test]
    fn a_rule_skips_strikes_and_is_spent() {
        let mut f = Faults::default();
        f.add(Rule { fault: Fault::Overload, times: 2, skip: 1 }).unwrap();
        let mut hit = || f.strike(|x| *x == Fault::Overload).is_some();
        assert_eq!([hit(), hit(), hit(), hit()], [false, true, true, false]);
    }

    #[test]
    fn rules_read_as_flat_json() {
        let text = r#"{"fault":"reply_lost","on":"POST /fapi/v1/order","executed":true,"times":1}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(rule.times, 1);
        assert_eq!(rule.fault, Fault::ReplyLost { on: "POST /fapi/v1/order".into(), executed: true });
        assert!(serde_json::from_str::<Rule>(r#"{"fault":"no_such"}"#).is_err());
    }
}
