//! The prices of the last bars in memory, as blocks of rows: a block is a value of the state map, so that no value grows
//! large and only the newest is written again and again.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Numbers of a block: about 400 kB of JSON.
const BLOCK_NUMBERS: usize = 40_000;
/// What the keys of the engine's prices begin with, tick by tick.
pub(super) const PREFIX: &str = "history.";
/// What the keys of the scanner's prices begin with, bar by bar: it looks much further back.
pub(super) const BARS: &str = "bars.";

/// Rows of prices by consecutive ticks of an engine's life.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PriceRows {
    /// Columns.
    pub assets: Vec<String>,
    /// Ticks a bar.
    pub stride: u32,
    /// Number of the first row's tick.
    pub first: u64,
    /// Rows, oldest first; NaN: no price yet.
    pub rows: Vec<Vec<f64>>,
}

/// A block as it stands in memory.
#[derive(Debug, Serialize, Deserialize)]
struct Block {
    first: u64,
    stride: u32,
    assets: Vec<String>,
    rows: Vec<Vec<Option<f64>>>,
}

/// Gathers rows and says what to write.
#[derive(Debug)]
pub(super) struct HistoryWriter {
    prefix: &'static str,
    assets: Vec<String>,
    stride: u32,
    rows_per_block: u64,
    blocks: u64,
    /// Newest known prices.
    last: Vec<f64>,
    /// Number of the block's first row.
    first: u64,
    /// The block's rows, and how many there are: as text, so that what was written once is not written again with every row
    /// that comes.
    rows: Vec<u8>,
    count: u64,
    dirty: bool,
}

impl HistoryWriter {
    /// `needed`: rows that a restart wants.
    pub fn new(prefix: &'static str, assets: Vec<String>, stride: u32, needed: u64) -> Self {
        let n = assets.len().max(1);
        let rows_per_block = (BLOCK_NUMBERS / n).max(1);
        Self {
            prefix,
            last: vec![f64::NAN; assets.len()],
            assets,
            stride,
            rows_per_block: rows_per_block as u64,
            blocks: needed.div_ceil(rows_per_block as u64) + 1,
            first: 0,
            rows: Vec::new(),
            count: 0,
            dirty: false,
        }
    }

    /// Takes up rows that were loaded, and repeats the last up to tick `until` as the engine did; gives the blocks that
    /// memory does not have yet. After a time for which no restart wants rows any more they begin anew: as many blocks as a
    /// weekend has would be written, one over the other.
    pub fn resume(&mut self, loaded: &PriceRows, until: u64) -> Vec<(String, String)> {
        let known = loaded.first + loaded.rows.len() as u64;
        let away = until.saturating_sub(known);
        if loaded.assets != self.assets
            || loaded.stride != self.stride
            || away >= self.blocks * self.rows_per_block
        {
            return Vec::new();
        }
        let mut blocks = Vec::new();
        for (tick, row) in (loaded.first..).zip(&loaded.rows) {
            self.push(tick, row);
        }
        let nothing = vec![f64::NAN; self.assets.len()];
        for tick in known..until {
            blocks.extend(self.push(tick, &nothing));
        }
        blocks
    }

    /// Takes a tick; gives the key and value of a block that is full.
    pub fn push(&mut self, tick: u64, prices: &[f64]) -> Option<(String, String)> {
        for (last, &price) in self.last.iter_mut().zip(prices) {
            *last = if price > 0.0 && price < f64::INFINITY { price } else { *last };
        }
        let next = self.first + self.count;
        let begins = tick - tick % self.rows_per_block;
        let mut full = None;
        if tick != next || self.count == 0 || begins != self.first - self.first % self.rows_per_block {
            // Missed ticks: nothing is known of them, so the rows before are only kept in the blocks before.
            full = self.dirty.then(|| self.block()).flatten();
            (self.first, self.count) = (tick, 0);
            self.rows.clear();
        }
        if self.count > 0 {
            self.rows.push(b',');
        }
        // A vector takes everything, and numbers can always be written: NaN as `null`.
        serde_json::to_writer(&mut self.rows, &self.last).ok();
        self.count += 1;
        self.dirty = true;
        full
    }

    /// The newest block, if anything in it is new.
    pub fn block(&mut self) -> Option<(String, String)> {
        if !self.dirty || self.assets.is_empty() {
            return None;
        }
        self.dirty = false;
        let assets = serde_json::to_string(&self.assets).ok()?;
        let rows = str::from_utf8(&self.rows).ok()?;
        let (first, stride) = (self.first, self.stride);
        let text = format!("{{\"first\":{first},\"stride\":{stride},\"assets\":{assets},\"rows\":[{rows}]}}");
        let mut key = self.prefix.to_owned();
        write!(key, "{:03}", (self.first / self.rows_per_block) % self.blocks).ok()?;
        Some((key, text))
    }
}

/// The newest unbroken run of rows among the blocks of memory; `None` if there is none. Blocks that make no sense, or
/// are of other columns than the newest, are passed over.
pub(super) fn join<'a>(values: impl Iterator<Item = &'a str>) -> Option<PriceRows> {
    let mut blocks: Vec<Block> = values.filter_map(|text| serde_json::from_str(text).ok()).collect();
    blocks.retain(|b: &Block| !b.rows.is_empty() && b.rows.iter().all(|r| r.len() == b.assets.len()));
    blocks.sort_by_key(|b| std::cmp::Reverse(b.first));
    let mut kept: Vec<Block> = Vec::new();
    for block in blocks {
        let fits = kept.last().is_none_or(|newer| {
            block.first + block.rows.len() as u64 == newer.first
                && block.assets == newer.assets
                && block.stride == newer.stride
        });
        if !fits {
            break;
        }
        kept.push(block);
    }
    let oldest = kept.last()?;
    let (first, stride, assets) = (oldest.first, oldest.stride, oldest.assets.clone());
    let number = |x: Option<f64>| x.unwrap_or(f64::NAN);
    let rows = kept.into_iter().rev().flat_map(|b| b.rows);
    let rows = rows.map(|r| r.into_iter().map(number).collect()).collect();
    Some(PriceRows { assets, stride, first, rows })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn assets() -> Vec<String> {
        // 4000 columns: blocks of ten rows.
        (0..4_000).map(|i| format!("A{i}")).collect()
    }

    fn row(tick: u64) -> Vec<f64> {
        (0..4_000).map(|i| if i == 7 { f64::NAN } else { tick as f64 + 1.0 / 3.0 }).collect()
    }

    #[test]
    fn blocks_come_back_as_the_newest_unbroken_run() {
        let mut memory = BTreeMap::new();
        let mut writer = HistoryWriter::new(PREFIX, assets(), 5, 25);
        for tick in 0..73 {
            memory.extend(writer.push(tick, &row(tick)));
        }
        memory.extend(writer.block());
        assert!(writer.block().is_none(), "nothing new");
        assert_eq!(memory.len(), 4, "three blocks of history and the newest, whatever has gone by");
        let rows = join(memory.values().map(String::as_str)).unwrap();
        assert_eq!((rows.first, rows.rows.len(), rows.stride), (40, 33, 5));
        assert_eq!(rows.rows[32][0], 72.0 + 1.0 / 3.0);
        assert!(rows.rows[32][7].is_nan());

        // A restart goes on in the middle of the block.
        let mut writer = HistoryWriter::new(PREFIX, assets(), 5, 25);
        assert!(writer.resume(&rows, 73).is_empty());
        writer.push(73, &row(73));
        memory.extend(writer.block());
        let rows = join(memory.values().map(String::as_str)).unwrap();
        assert_eq!((rows.first, rows.rows.len()), (40, 34));

        // Time away is filled with the last prices, and what memory lacks of it is given.
        let mut writer = HistoryWriter::new(PREFIX, assets(), 5, 25);
        memory.extend(writer.resume(&rows, 92));
        writer.push(92, &row(92));
        memory.extend(writer.block());
        let rows = join(memory.values().map(String::as_str)).unwrap();
        assert_eq!((rows.first, rows.rows.len(), rows.rows[80 - 60][0]), (60, 33, 73.0 + 1.0 / 3.0));

        // A long time away is not: no restart wants that row by row.
        let mut writer = HistoryWriter::new(PREFIX, assets(), 5, 25);
        assert!(writer.resume(&rows, u64::MAX).is_empty());
        assert!(writer.block().is_none());

        // Missed ticks begin a new run.
        memory.extend(writer.push(109, &row(109)));
        memory.extend(writer.block());
        let rows = join(memory.values().map(String::as_str)).unwrap();
        assert_eq!((rows.first, rows.rows.len()), (109, 1));
    }

    #[test]
    fn garbage_is_passed_over() {
        assert_eq!(
            join(["", "null", "{}", r#"{"first":1,"stride":1,"assets":["A"],"rows":[[1,2]]}"#].into_iter()),
            None
        );
        let good = r#"{"first":3,"stride":1,"assets":["A"],"rows":[[1.5],[null]]}"#;
        let rows = join([good, "[]"].into_iter()).unwrap();
        assert_eq!((rows.first, rows.rows.len(), rows.rows[0][0]), (3, 2, 1.5));
    }
}
