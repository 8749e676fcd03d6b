//! One-minute candles of a symbol, and every longer interval and the 24 h ticker made from them. A minute without a
//! trade is a candle too: flat, at the last price.

use std::collections::VecDeque;

use market::{Nanos, Side, utc_date};
use serde_json::{Value, json};

const MINUTE: u64 = 60_000;
const DAY: u64 = 1440 * MINUTE;
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
        if self.trades == 0 && next.trades > 0 {
            // A flat candle opens with its first trade.
            *self = Self { open_ms: self.open_ms, ..*next };
            return;
        }
        if next.trades == 0 && self.trades > 0 {
            return;
        }
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

/// A kline interval of the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interval {
    /// Of this many ms, counted from the epoch.
    Fixed(u64),
    /// From Monday to Sunday (UTC).
    Week,
    /// A calendar month (UTC).
    Month,
}

impl Interval {
    /// Reads `1m` … `1M`; `None` for what is none of the venue's fifteen (−1120).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const HOUR: u64 = 60 * MINUTE;
        Some(Self::Fixed(match text {
            "1m" => MINUTE,
            "3m" => 3 * MINUTE,
            "5m" => 5 * MINUTE,
            "15m" => 15 * MINUTE,
            "30m" => 30 * MINUTE,
            "1h" => HOUR,
            "2h" => 2 * HOUR,
            "4h" => 4 * HOUR,
            "6h" => 6 * HOUR,
            "8h" => 8 * HOUR,
            "12h" => 12 * HOUR,
            "1d" => DAY,
            "3d" => 3 * DAY,
            "1w" => return Some(Self::Week),
            "1M" => return Some(Self::Month),
            _ => return None,
        }))
    }

    /// When the bar of a time opens, ms.
    fn open(self, ms: u64) -> u64 {
        match self {
            Self::Fixed(length) => ms / length * length,
            // The epoch was a Thursday.
            Self::Week => ((ms + 3 * DAY) / (7 * DAY) * (7 * DAY)).saturating_sub(3 * DAY),
            Self::Month => {
                let first = utc_date(Nanos::from_millis(ms)).first_of_month();
                let days = first.duration_since(utc_date(Nanos(0))).as_hours() / 24;
                u64::try_from(days).unwrap_or(0) * DAY
            }
        }
    }

    /// When the bar after the one that opened at `open` opens, ms.
    fn next(self, open: u64) -> u64 {
        match self {
            Self::Fixed(length) => open + length,
            Self::Week => open + 7 * DAY,
            Self::Month => self.open(open + 31 * DAY + DAY / 2),
        }
    }
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

    /// Makes the candles of the minutes until now that had no trade.
    pub(crate) fn roll(&mut self, now: Nanos) {
        let to = now.millis() / MINUTE * MINUTE;
        let Some(last) = self.minutes.back().copied() else { return };
        let mut open_ms = (last.open_ms + MINUTE).max(to.saturating_sub((KEPT as u64 - 1) * MINUTE));
        while open_ms <= to {
            if self.minutes.len() == KEPT {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Candle::at(open_ms, last.close));
            open_ms += MINUTE;
        }
    }

    fn joined(&self, interval: Interval) -> Vec<Candle> {
        let mut out: Vec<Candle> = Vec::new();
        for c in &self.minutes {
            let open_ms = interval.open(c.open_ms);
            match out.last_mut() {
                Some(last) if last.open_ms == open_ms => last.join(c),
                _ => out.push(Candle { open_ms, ..*c }),
            }
        }
        out
    }

    /// The bar that opened at `open_ms`, as far as it has come; `None` without a candle in it.
    fn bar(&self, interval: Interval, open_ms: u64) -> Option<Candle> {
        let end = interval.next(open_ms);
        let from = self.minutes.partition_point(|c| c.open_ms < open_ms);
        let mut inside = self.minutes.range(from..).take_while(|c| c.open_ms < end);
        let mut bar = Candle { open_ms, ..*inside.next()? };
        inside.for_each(|c| bar.join(c));
        Some(bar)
    }

    /// The REST reply: newest `limit` rows between the times.
    pub(crate) fn rows(
        &self,
        interval: Interval,
        start: Option<u64>,
        end: Option<u64>,
        limit: usize,
    ) -> Value {
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
                        interval.next(c.open_ms) - 1,
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

    /// The `kline` events that are due for a stream: the final one of each bar that ended since `sent` (the opening of
    /// the bar that was told of last), then that of the bar in progress.
    pub(crate) fn events(
        &mut self,
        symbol: &str,
        name: &str,
        interval: Interval,
        sent: &mut Option<u64>,
        now: Nanos,
    ) -> Vec<String> {
        self.roll(now);
        let present = interval.open(now.millis());
        let mut open = sent.replace(present).filter(|s| *s <= present).unwrap_or(present);
        let mut out = Vec::new();
        loop {
            if let Some(bar) = self.bar(interval, open) {
                out.push(self.event(symbol, name, interval, &bar, open < present, now));
            }
            if open >= present {
                return out;
            }
            open = interval.next(open);
        }
    }

    fn event(
        &self,
        symbol: &str,
        name: &str,
        interval: Interval,
        c: &Candle,
        ended: bool,
        now: Nanos,
    ) -> String {
        let d = self.decimals;
        // A bar without a trade has no first and no last one.
        let id = |id: u64| if c.trades == 0 { "-1".to_owned() } else { id.to_string() };
        format!(
            r#"{{"e":"kline","E":{},"s":"{symbol}","k":{{"t":{}, "T":{}, "s":"{symbol}", "i":"{name}", "f":{}, "L":{}, "o":"{:.d$}", "c":"{:.d$}", "h":"{:.d$}", "l":"{:.d$}", "v":"{:.3}", "n":{}, "x":{ended}, "q":"{:.5}", "V":"{:.3}", "Q":"{:.5}", "B":"0"}}}}"#,
            now.millis(),
            c.open_ms,
            interval.next(c.open_ms) - 1,
            id(c.first_trade),
            id(c.last_trade),
            c.open,
            c.close,
            c.high,
            c.low,
            c.volume,
            c.trades,
            c.quote,
            c.taker_volume,
            c.taker_quote
        )
    }

    /// The last 24 hours as one candle.
    fn day(&self, now: Nanos) -> Candle {
        let from = now.millis().saturating_sub(DAY);
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
        let one = c.rows(Interval::Fixed(MINUTE), None, None, 500);
        assert_eq!(one.as_array().unwrap().len(), 5);
        let five = c.rows(Interval::parse("5m").unwrap(), None, None, 500);
        let row = &five.as_array().unwrap()[0];
        assert_eq!(
            (row[1].as_str(), row[2].as_str(), row[4].as_str()),
            (Some("100.0"), Some("109.0"), Some("109.0"))
        );
        assert_eq!(row[5], "20.000");
        assert_eq!(row[8], 10);
        let five = Interval::parse("5m").unwrap();
        let mut sent = None;
        let events = c.events("X", "5m", five, &mut sent, start.plus(299 * Nanos::SECOND));
        assert_eq!(events.len(), 1);
        assert!(events[0].contains(r#""n":10, "x":false"#), "{}", events[0]);
        // Two bars later: the final events of both, then the third.
        let events = c.events("X", "5m", five, &mut sent, start.plus(601 * Nanos::SECOND));
        assert_eq!(events.len(), 3);
        assert!(events[0].contains(r#""n":10, "x":true"#) && events[1].contains(r#""n":0, "x":true"#));
        assert!(events[2].contains(r#""o":"109.0""#) && events[2].contains(r#""x":false"#));
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let at = |text: &str, ms| {
            let i = Interval::parse(text).unwrap();
            (i.open(ms), i.next(i.open(ms)))
        };
        // 2024-02-29 12:00 was a Thursday.
        let ms = 1_709_208_000_000;
        assert_eq!(at("1w", ms), (1_708_905_600_000, 1_709_510_400_000));
        assert_eq!(at("1M", ms), (1_706_745_600_000, 1_709_251_200_000));
        assert_eq!(at("1M", 1_703_980_800_000), (1_701_388_800_000, 1_704_067_200_000), "2023-12-31");
        assert_eq!(at("1w", 0).0, 0);
    }
}
