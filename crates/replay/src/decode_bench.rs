//! The two runners of the decode benchmark: our decoder and book, and what one would write first, serde_json
//! (borrowed) into ordered maps. Same frames, same continuity rule, same best bid and offer at the end; used by
//! `cargo bench` and by `dolphin bench decode`.

use book::LocalBook;
use book::naive::NaiveBook;
use market::{DepthSnapshot, Increment, Instrument, Level, MarketEvent, Px, Qty, SymbolId};
use serde::Deserialize;

use binance::decode::{Decoder, Frame};

/// Frames of one instrument, with the snapshot they continue.
#[derive(Debug, Clone)]
pub struct FrameSet {
    /// The instrument, alone in its table.
    pub instrument: Instrument,
    /// A bare REST reply.
    pub snapshot: Vec<u8>,
    /// Combined depth frames, each continuing the one before; the first bridges the snapshot.
    pub frames: Vec<Vec<u8>>,
}

impl FrameSet {
    /// Generated frames: `levels` a side, close to the touch, three in ten remove a level; prices of six digits and
    /// quantities of varying length, as of BTCUSDT. Deterministic.
    pub fn generated(levels: usize, frames: usize) -> Self {
        let instrument =
            Instrument::plain(SymbolId(0), "BTCUSDT", Increment::decimals(1), Increment::decimals(3));
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let side = |sign: i64| {
            let level =
                |i: i64| format!("[\"{:.2}\",\"1.500\"]", (618_000 + sign * (2 * i + 1)) as f64 / 10.0);
            (0..1000).map(level).collect::<Vec<_>>().join(",")
        };
        let snapshot = format!(
            "{{\"lastUpdateId\":1000,\"E\":1700000000000,\"T\":1700000000000,\"bids\":[{}],\"asks\":[{}]}}",
            side(-1),
            side(1)
        );
        let frames = (0..frames as u64).map(|n| random.frame(n, levels).into_bytes()).collect();
        Self { instrument, snapshot: snapshot.into_bytes(), frames }
    }

    /// The depth frames of a recording of one symbol (lines `<receive time> <frame>`), from the first that bridges
    /// its snapshot; `None` if it holds no such frames.
    pub fn recorded(instrument: Instrument, text: &str) -> Option<Self> {
        let frames = || text.lines().filter_map(|line| Some(line.split_once(' ')?.1));
        let snapshot = frames().find(|frame| frame.starts_with("{\"lastUpdateId\""))?;
        let mut set = Self { instrument, snapshot: snapshot.as_bytes().to_vec(), frames: vec![] };
        let mut decoder = Decoder::new(std::slice::from_ref(&set.instrument));
        let at = decoder.decode_snapshot(set.instrument.id, snapshot.as_bytes()).ok()?.last_update_id;
        for frame in frames().filter(|frame| frame.contains("\"depthUpdate\"")) {
            match decoder.decode(frame.as_bytes()) {
                Ok(Frame::Market(MarketEvent::Depth(u))) if u.last_update_id >= at => {
                    set.frames.push(frame.as_bytes().to_vec());
                }
                _ => {}
            }
        }
        (!set.frames.is_empty()).then_some(set)
    }
}

/// xorshift64: the same frames on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn frame(&mut self, n: u64, levels: usize) -> String {
        let (b, a) = (self.side(-1, levels), self.side(1, levels));
        let (e, u) = (1_700_000_000_000 + n * 100, 1000 + n * 50);
        format!(
            "{{\"stream\":\"btcusdt@depth@100ms\",\"data\":{{\"e\":\"depthUpdate\",\"E\":{e},\"T\":{},\
             \"s\":\"BTCUSDT\",\"ps\":\"BTCUSDT\",\"U\":{},\"u\":{},\"pu\":{u},\"b\":[{b}],\"a\":[{a}],\"st\":1}}}}",
            e - 2,
            u - u64::from(n == 0),
            u + 50,
        )
    }

    fn side(&mut self, sign: i64, levels: usize) -> String {
        // Distinct distances from the touch, in either order of the venue.
        let mut distance = 0;
        let level = |_| {
            distance += 1 + self.below(10) as i64;
            let lots = if self.below(10) < 3 { 0 } else { 1 + self.below(50_000) };
            let px = (618_000 + sign * distance) as f64 / 10.0;
            format!("[\"{px:.2}\",\"{}.{:03}\"]", lots / 1000, lots % 1000)
        };
        (0..levels).map(level).collect::<Vec<_>>().join(",")
    }
}

/// Ours: decoder and synchronised book.
#[derive(Debug)]
pub struct Runner {
    decoder: Decoder,
    book: LocalBook,
}

impl Runner {
    /// Decoder and book, at the snapshot of the set.
    pub fn new(set: &FrameSet) -> Self {
        let mut runner =
            Self { decoder: Decoder::new(std::slice::from_ref(&set.instrument)), book: LocalBook::new() };
        runner.restart(set);
        runner
    }

    /// Back to the snapshot.
    pub fn restart(&mut self, set: &FrameSet) {
        self.book.invalidate();
        if let Ok(snapshot) = self.decoder.decode_snapshot(set.instrument.id, &set.snapshot) {
            self.book.on_snapshot(&snapshot);
        }
    }

    /// Bytes → book updated; the best bid and offer.
    #[inline]
    pub fn run(&mut self, frame: &[u8]) -> Option<(Level, Level)> {
        let Ok(Frame::Market(MarketEvent::Depth(update))) = self.decoder.decode(frame) else { return None };
        self.book.on_update(&update);
        Some((self.book.book().best_bid()?, self.book.book().best_ask()?))
    }

    /// Decoding alone: how many levels.
    #[inline]
    pub fn decode(&mut self, frame: &[u8]) -> usize {
        match self.decoder.decode(frame) {
            Ok(Frame::Market(MarketEvent::Depth(u))) => u.bids.len() + u.asks.len(),
            _ => 0,
        }
    }

    /// The book, to be compared.
    pub fn book(&self) -> &LocalBook {
        &self.book
    }
}

#[derive(Deserialize)]
struct SerdeFrame<'a> {
    #[serde(borrow)]
    data: SerdeUpdate<'a>,
}

#[derive(Deserialize)]
struct SerdeUpdate<'a> {
    #[serde(rename = "U")]
    first: u64,
    u: u64,
    pu: u64,
    #[serde(borrow)]
    b: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    a: Vec<(&'a str, &'a str)>,
}

/// The baseline: serde_json into borrowed texts, integers by the plain parser, two ordered maps.
#[derive(Debug)]
pub struct Baseline {
    instrument: Instrument,
    book: NaiveBook,
    last: u64,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl Baseline {
    /// A book at the snapshot of the set.
    pub fn new(set: &FrameSet) -> Self {
        let instrument = set.instrument.clone();
        let mut baseline =
            Self { instrument, book: NaiveBook::default(), last: 0, bids: vec![], asks: vec![] };
        baseline.restart(set);
        baseline
    }

    /// Back to the snapshot.
    pub fn restart(&mut self, set: &FrameSet) {
        let mut decoder = Decoder::new(std::slice::from_ref(&set.instrument));
        if let Ok(snapshot) = decoder.decode_snapshot(set.instrument.id, &set.snapshot) {
            let DepthSnapshot { bids, asks, last_update_id, .. } = snapshot;
            self.book.replace(bids, asks);
            self.last = last_update_id;
        }
    }

    /// Bytes → book updated; the best bid and offer.
    pub fn run(&mut self, frame: &[u8]) -> Option<(Level, Level)> {
        let update = serde_json::from_slice::<SerdeFrame<'_>>(frame).ok()?.data;
        if update.pu != self.last && update.first > self.last {
            return None;
        }
        self.last = update.u;
        let (tick, lot) = (self.instrument.tick, self.instrument.lot);
        for (texts, levels) in [(&update.b, &mut self.bids), (&update.a, &mut self.asks)] {
            levels.clear();
            for (px, qty) in texts {
                let px = Px(tick.parse_count(px.as_bytes()).ok()?);
                levels.push(Level { px, qty: Qty(lot.parse_count(qty.as_bytes()).ok()?) });
            }
        }
        self.book.apply(&self.bids, &self.asks);
        Some((self.book.best_bid()?, self.book.best_ask()?))
    }

    /// The book, to be compared.
    pub fn book(&self) -> &NaiveBook {
        &self.book
    }
}
