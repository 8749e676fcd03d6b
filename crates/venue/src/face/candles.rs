//! One-minute candles of a symbol, and every longer interval and the 24 h ticker made from them.

use std::collections::VecDeque;

use market::{Nanos, Side};
use serde_json::{Value, json};

const MINUTE: u64 = 60_000;
/// Minutes kept: a day and an hour.
const KEPT: usize = 1500;

/// A candle.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Candle {
    /// Open time, ms.
    open_ms: u64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
    quote: f64,
    taker_volume: f64,
    taker_quote: f64,
    trades: u64,
    first_trade: u64,
    last_trade: u64,
}

impl Candle {
    fn at(open_ms: u64, px: f64) -> Self {
        Self { open_ms, open: px, high: px, low: px, close: px, ..Self::default() }
    }

    fn join(&mut self, next: &Self) {
        self.high = self.high.max(next.high);
        self.low = self.low.min(next.low);
        self.close = next.close;
        self.volume += next.volume;
        self.quote += next.quote;
        self.taker_volume += next.taker_volume;
        self.taker_quote += next.taker_quote;
        self.trades += next.trades;
        if self.first_trade == 0 {
            self.first_trade = next.first_trade;
        }
        self.last_trade = self.last_trade.max(next.last_trade);
    }
}

/// The candles of a symbol.
#[derive(Debug, Default)]
pub(crate) struct Candles {
    minutes: VecDeque<Candle>,
    decimals: usize,
}

/// Length of a kline interval in ms.
pub(crate) fn interval_ms(text: &str) -> Option<u64> {
    let (n, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => MINUTE,
        "h" => 60 * MINUTE,
        "d" => 1440 * MINUTE,
        "w" => 7 * 1440 * MINUTE,
        _ => return None,
    };
    let n: u64 = n.parse().ok()?;
    (1..=60).contains(&n).then_some(n * unit)
}

impl Candles {
    /// From a price history of one-minute closes ending now.
    pub(crate) fn new(history: &[f64], decimals: u8, now: Nanos) -> Self {
        let now_ms = now.millis() / MINUTE * MINUTE;
        let mut minutes = VecDeque::with_capacity(KEPT);
        for (i, w) in history.windows(2).enumerate() {
            let back = (history.len() - 1 - i) as u64;
            let mut c = Candle::at(now_ms.saturating_sub(back * MINUTE), w[0]);
            c.join(&Candle { volume: 10.0, quote: 10.0 * w[1], trades: 1, ..Candle::at(0, w[1]) });
            minutes.push_back(c);
        }
        while minutes.len() > KEPT {
            minutes.pop_front();
        }
        Self { minutes, decimals: usize::from(decimals) }
    }

    pub(crate) fn trade(&mut self, at: Nanos, px: f64, qty: f64, aggressor: Side, id: u64) {
        let open_ms = at.millis() / MINUTE * MINUTE;
        if self.minutes.back().is_none_or(|c| c.open_ms < open_ms) {
            if self.minutes.len() == KEPT {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Candle::at(open_ms, px));
        }
        let taker = if aggressor == Side::Buy { qty } else { 0.0 };
        let last = self.minutes.back_mut().expect("just made");
        last.join(&Candle {
            volume: qty,
            quote: qty * px,
            taker_volume: taker,
            taker_quote: taker * px,
            trades: 1,
            first_trade: id,
            last_trade: id,
            ..Candle::at(0, px)
        });
    }

    fn joined(&self, interval: u64) -> Vec<Candle> {
        let mut out: Vec<Candle> = Vec::new();
        for c in &self.minutes {
            let open_ms = c.open_ms / interval * interval;
            match out.last_mut() {
                Some(last) if last.open_ms == open_ms => last.join(c),
                _ => out.push(Candle { open_ms, ..*c }),
            }
        }
        out
    }

    /// The REST reply: newest `limit` rows between the times.
    pub(crate) fn rows(&self, interval: u64, start: Option<u64>, end: Option<u64>, limit: usize) -> Value {
        let all = self.joined(interval);
        let inside = |c: &&Candle| start.is_none_or(|s| c.open_ms >= s) && end.is_none_or(|e| c.open_ms <= e);
        let picked: Vec<&Candle> = all.iter().filter(inside).collect();
        let picked = if start.is_some() {
            &picked[..limit.min(picked.len())]
        } else {
            &picked[picked.len().saturating_sub(limit)..]
        };
        let d = self.decimals;
        let px = |v: f64| format!("{v:.d$}");
        Value::Array(
            picked
                .iter()
                .map(|c| {
                    json!([
                        c.open_ms,
                        px(c.open),
                        px(c.high),
                        px(c.low),
                        px(c.close),
                        format!("{:.3}", c.volume),
                        c.open_ms + interval - 1,
                        format!("{:.5}", c.quote),
                        c.trades,
                        format!("{:.3}", c.taker_volume),
                        format!("{:.5}", c.taker_quote),
                        "0"
                    ])
                })
                .collect(),
        )
    }

    /// The `kline` event of the candle in progress.
    pub(crate) fn event(&self, symbol: &str, interval: &str, now: Nanos) -> Option<String> {
        let ms = interval_ms(interval)?;
        let c = *self.joined(ms).last()?;
        let d = self.decimals;
        let close_ms = c.open_ms + ms - 1;
        Some(format!(
            r#"{{"e":"kline","E":{},"s":"{symbol}","k":{{"t":{}, "T":{close_ms}, "s":"{symbol}", "i":"{interval}", "f":{}, "L":{}, "o":"{:.d$}", "c":"{:.d$}", "h":"{:.d$}", "l":"{:.d$}", "v":"{:.3}", "n":{}, "x":{}, "q":"{:.5}", "V":"{:.3}", "Q":"{:.5}", "B":"0"}}}}"#,
            now.millis(),
            c.open_ms,
            c.first_trade,
            c.last_trade,
            c.open,
            c.close,
            c.high,
            c.low,
            c.volume,
            c.trades,
            now.millis() > close_ms,
            c.quote,
            c.taker_volume,
            c.taker_quote
        ))
    }

    /// The last 24 hours as one candle.
    fn day(&self, now: Nanos) -> Candle {
        let from = now.millis().saturating_sub(1440 * MINUTE);
        let mut day = self.minutes.iter().filter(|c| c.open_ms >= from);
        let mut sum = day.next().copied().unwrap_or_default();
        day.for_each(|c| sum.join(c));
        sum
    }

    /// The `24hrTicker` or `24hrMiniTicker` event.
    pub(crate) fn day_event(&self, symbol: &str, mini: bool, now: Nanos) -> String {
        let c = self.day(now);
        let d = self.decimals;
        let e = now.millis();
        if mini {
            return format!(
                r#"{{"e":"24hrMiniTicker","E":{e},"s":"{symbol}","c":"{:.d$}","o":"{:.d$}","h":"{:.d$}","l":"{:.d$}","v":"{:.3}","q":"{:.3}","st":1}}"#,
                c.close, c.open, c.high, c.low, c.volume, c.quote
            );
        }
        let change = c.close - c.open;
        format!(
            r#"{{"e":"24hrTicker","E":{e},"s":"{symbol}","p":"{change:.d$}","P":"{:.3}","w":"{:.d$}","c":"{:.d$}","Q":"0","o":"{:.d$}","h":"{:.d$}","l":"{:.d$}","v":"{:.3}","q":"{:.3}","O":{},"C":{e},"F":{},"L":{},"n":{},"st":1}}"#,
            percent(c.open, change),
            average(&c),
            c.close,
            c.open,
            c.high,
            c.low,
            c.volume,
            c.quote,
            c.open_ms,
            c.first_trade,
            c.last_trade,
            c.trades
        )
    }

    /// The `ticker/24hr` reply of a symbol.
    pub(crate) fn day_row(&self, symbol: &str, now: Nanos) -> Value {
        let c = self.day(now);
        let d = self.decimals;
        let px = |v: f64| format!("{v:.d$}");
        let change = c.close - c.open;
        json!({
            "symbol": symbol, "priceChange": px(change), "priceChangePercent": format!("{:.3}", percent(c.open, change)),
            "weightedAvgPrice": px(average(&c)), "lastPrice": px(c.close), "lastQty": "0", "openPrice": px(c.open),
            "highPrice": px(c.high), "lowPrice": px(c.low), "volume": format!("{:.3}", c.volume),
            "quoteVolume": format!("{:.2}", c.quote), "openTime": c.open_ms, "closeTime": now.millis(),
            "firstId": c.first_trade, "lastId": c.last_trade, "count": c.trades,
        })
    }
}

fn percent(open: f64, change: f64) -> f64 {
    if open > 0.0 { change / open * 100.0 } else { 0.0 }
}

fn average(c: &Candle) -> f64 {
    if c.volume > 0.0 { c.quote / c.volume } else { c.close }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_join_to_longer_intervals() {
        let start = Nanos::from_millis(1_795_392_000_000);
        let mut c = Candles::new(&[], 1, start);
        for i in 0..10u64 {
            c.trade(start.plus(i * 30 * Nanos::SECOND), 100.0 + i as f64, 2.0, Side::Buy, i + 1);
        }
        let one = c.rows(MINUTE, None, None, 500);
        assert_eq!(one.as_array().unwrap().len(), 5);
        let five = c.rows(interval_ms("5m").unwrap(), None, None, 500);
        let row = &five.as_array().unwrap()[0];
        assert_eq!(
            (row[1].as_str(), row[2].as_str(), row[4].as_str()),
            (Some("100.0"), Some("109.0"), Some("109.0"))
        );
        assert_eq!(row[5], "20.000");
        assert_eq!(row[8], 10);
        assert!(c.event("X", "5m", start).unwrap().contains(r#""n":10"#));
        assert_eq!(interval_ms("7x"), None);
    }
}
