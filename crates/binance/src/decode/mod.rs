//! Market frames to events.
//!
//! The problem: a depth frame is a kilobyte of text that must become integers in a fraction of a microsecond, while
//! nothing the venue (or a broken proxy) sends may crash the program or reach the book half read.
//!
//! The idea: two readers of one meaning. `scan` reads the frames as the venue writes them, compact and in any field
//! order, number by number with eight digits at a time; whatever it does not expect (blanks, escapes, a nested
//! unknown field, a wrong type, an error of any kind) it leaves alone. `document` reads every JSON text, by
//! simd-json's tape, and it alone decides what is wrong with a frame. A frame that `scan` takes, `document` takes with
//! the same values; the tests hold them to it. Levels are read into buffers of the decoder and handed out only when
//! the whole frame has been accepted. After the buffers have grown, nothing allocates.
//!
//! ```text
//! {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1790526538985,"T":1790526538981,"s":"BTCUSDT",
//!  "ps":"BTCUSDT","U":11671659683245,"u":11671659687966,"pu":11671659683147,
//!  "b":[["1000.00","139.491"]],"a":[["84551.10","0.000"]],"st":1}}
//! ```

mod document;
mod frame;
mod levels;
mod scan;
mod swar;
mod table;
#[cfg(test)]
mod tests;

use market::{DepthSnapshot, Instrument, MarketEvent, SymbolId};

use frame::Decoded;
pub use frame::{DecodeCounters, DecodeError, Frame, Ignored, MAX_DEPTH, MAX_FRAME_BYTES, MAX_LEVELS};
use levels::Levels;
pub use table::SymbolTable;

/// Decodes market frames of the instruments it was made for.
#[derive(Debug)]
pub struct Decoder {
    table: SymbolTable,
    levels: Levels,
    document: document::Reader,
    counters: DecodeCounters,
}

impl Decoder {
    /// A decoder for these instruments, in column order (their place is their [`SymbolId`]).
    pub fn new(instruments: &[Instrument]) -> Self {
        let table = SymbolTable::new(instruments);
        Self {
            levels: Levels::new(&table, MAX_LEVELS + levels::BATCH),
            table,
            document: document::Reader::new(),
            counters: DecodeCounters::default(),
        }
    }

    /// Decodes one frame: raw (`{"e":…}`) or combined (`{"stream":…,"data":…}`).
    #[inline]
    pub fn decode(&mut self, frame: &[u8]) -> Result<Frame<'_>, DecodeError> {
        let decoded = match scan::scan(frame, &self.table, &mut self.levels) {
            Some(decoded) => decoded,
            None => {
                let decoded = self.document.read(frame, &self.table, &mut self.levels);
                self.counters.slow += u64::from(decoded.is_ok());
                decoded.inspect_err(|&e| self.counters.count(e))?
            }
        };
        Ok(self.hand_out(decoded))
    }

    /// Decodes a bare REST reply of `/fapi/v1/depth`, which does not say whose it is.
    pub fn decode_snapshot(
        &mut self,
        symbol: SymbolId,
        reply: &[u8],
    ) -> Result<DepthSnapshot<'_>, DecodeError> {
        let read = self.document.read_snapshot(reply, symbol, &self.table, &mut self.levels);
        let snapshot = read.inspect_err(|&e| self.counters.count(e))?;
        self.counters.accepted += 1;
        Ok(DepthSnapshot { bids: &self.levels.bids, asks: &self.levels.asks, ..snapshot })
    }

    #[inline]
    fn hand_out(&mut self, decoded: Decoded) -> Frame<'_> {
        if let Decoded::Ignored(reason) = decoded {
            self.counters.ignored += 1;
            return Frame::Ignored(reason);
        }
        self.counters.accepted += 1;
        let (bids, asks) = (&self.levels.bids[..], &self.levels.asks[..]);
        match decoded {
            Decoded::Depth(MarketEvent::Depth(u)) => {
                Frame::Market(MarketEvent::Depth(market::DepthUpdate { bids, asks, ..u }))
            }
            Decoded::Depth(event) | Decoded::Plain(event) => Frame::Market(event),
            Decoded::Snapshot(s) => Frame::Snapshot(DepthSnapshot { bids, asks, ..s }),
            Decoded::Ignored(reason) => Frame::Ignored(reason),
        }
    }

    /// The symbols it resolves.
    pub fn table(&self) -> &SymbolTable {
        &self.table
    }

    /// What it met so far.
    pub fn counters(&self) -> &DecodeCounters {
        &self.counters
    }
}
