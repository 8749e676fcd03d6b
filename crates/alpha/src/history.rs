//! Bounded histories, sampled every S ticks (SPEC §3.2).
//!
//! A lookback over n bars reads the values 0, S, 2S … n·S ticks ago. The selection wants, for every asset, how many of
//! the last `lookback` one-bar returns rose or fell. Counting them anew would cost O(assets · lookback) a tick; but the
//! count at tick t and the one at t − S differ by the newest return and the one that leaves, so one counter per asset
//! and phase (t mod S) keeps the exact number with two comparisons a tick. It may compare prices instead of computing
//! returns: for positive a ≠ b the correctly rounded quotient a/b is never 1, so `a/b − 1 > 0` exactly if `a > b`.
//! Prices that do not exist yet are NaN, and every comparison with NaN is false.

use serde::{Deserialize, Serialize};

/// A ring of numbers; those not yet written are NaN.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ring {
    #[serde(with = "bits")]
    values: Vec<f64>,
    head: usize,
}

/// By their bits, as they are kept: a ring with values not yet written is equal to its copy.
impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        let bits = |ring: &Self| ring.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        self.head == other.head && bits(self) == bits(other)
    }
}

impl Ring {
    /// Holds the newest value and `back` before it.
    pub fn new(back: usize) -> Self {
        Self { values: vec![f64::NAN; back + 1], head: back }
    }

    pub fn push(&mut self, value: f64) {
        self.head = self.next();
        self.values[self.head] = value;
    }

    const fn next(&self) -> usize {
        if self.head + 1 == self.values.len() { 0 } else { self.head + 1 }
    }

    /// What a push changes.
    pub fn mark(&self) -> RingMark {
        RingMark { head: self.head, next: self.values[self.next()] }
    }

    /// As it was before the one push that followed.
    pub fn go_back(&mut self, mark: RingMark) {
        self.head = mark.head;
        let next = self.next();
        self.values[next] = mark.next;
    }

    /// The value of `ticks` ago (0 = newest); `ticks` ≤ the ring's `back`.
    #[inline]
    pub fn back(&self, ticks: usize) -> f64 {
        self.values[self.slot(ticks)]
    }

    #[inline]
    fn slot(&self, ticks: usize) -> usize {
        if ticks <= self.head { self.head - ticks } else { self.head + self.values.len() - ticks }
    }

    /// Every `stride`-th value, newest first, beginning `from` ticks ago; as many as the ring reaches back.
    pub fn strided(&self, from: usize, stride: usize) -> impl Iterator<Item = f64> + '_ {
        (from..self.values.len()).step_by(stride).map(|ticks| self.back(ticks))
    }

    /// Is this what `new(back)` and some pushes can make?
    pub fn fits(&self, back: usize) -> bool {
        self.values.len() == back + 1 && self.head <= back
    }
}

/// What a push changes in a [`Ring`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RingMark {
    head: usize,
    next: f64,
}

/// The prices of all assets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PriceHistory {
    assets: usize,
    stride: usize,
    lookback: usize,
    /// Rows of all assets' prices, one per tick.
    rows: Vec<f64>,
    head: usize,
    /// The newest row.
    last: Vec<f64>,
    valid: Vec<bool>,
    /// Ticks modulo stride.
    phase: usize,
    /// Rising and falling one-bar returns among the last `lookback`, by phase and asset.
    rising: Vec<i32>,
    falling: Vec<i32>,
}

/// What a push changes in a [`PriceHistory`].
#[derive(Debug, Clone, Default)]
pub(crate) struct PriceMark {
    /// The row that the push overwrites.
    row: Vec<f64>,
    last: Vec<f64>,
    valid: Vec<bool>,
    /// The counters of its phase.
    rising: Vec<i32>,
    falling: Vec<i32>,
}

impl PriceHistory {
    pub fn new(assets: usize, stride: usize, lookback: usize) -> Self {
        let rows = Self::row_count(stride, lookback);
        Self {
            assets,
            stride,
            lookback,
            rows: vec![f64::NAN; rows * assets],
            head: rows - 1,
            last: vec![f64::NAN; assets],
            valid: vec![false; assets],
            phase: stride - 1,
            rising: vec![0; stride * assets],
            falling: vec![0; stride * assets],
        }
    }

    /// The row that leaves a count is `lookback + 1` bars old.
    fn row_count(stride: usize, lookback: usize) -> usize {
        (lookback + 1) * stride + 1
    }

    /// Numbers held, for the memory limit.
    pub fn size(assets: usize, stride: usize, lookback: usize) -> usize {
        Self::row_count(stride, lookback).saturating_mul(assets)
    }

    /// One tick: valid prices are taken, the others repeated. Missing columns count as invalid.
    pub fn push(&mut self, prices: &[f64]) {
        let given = self.assets.min(prices.len());
        self.valid[given..].fill(false);
        for ((last, valid), &price) in self.last.iter_mut().zip(&mut self.valid).zip(prices) {
            *valid = price > 0.0 && price < f64::INFINITY;
            *last = if *valid { price } else { *last };
        }
        self.append();
    }

    /// Makes `last` the newest row and moves the counters of its phase on.
    fn append(&mut self) {
        let n = self.assets;
        let count = self.rows.len() / n;
        self.head = if self.head + 1 == count { 0 } else { self.head + 1 };
        self.rows[self.head * n..][..n].copy_from_slice(&self.last);
        self.phase = if self.phase + 1 == self.stride { 0 } else { self.phase + 1 };
        let (before, leaving_to, leaving_from) = (
            self.row(self.stride),
            self.row(self.lookback * self.stride),
            self.row((self.lookback + 1) * self.stride),
        );
        let counters = self.phase * n..(self.phase + 1) * n;
        let rising = &mut self.rising[counters.clone()][..n];
        let falling = &mut self.falling[counters][..n];
        let now = &self.last[..n];
        let before = &self.rows[before..][..n];
        let to = &self.rows[leaving_to..][..n];
        let from = &self.rows[leaving_from..][..n];
        let counters = rising.iter_mut().zip(falling);
        let arriving = now.iter().zip(before);
        let leaving = to.iter().zip(from);
        for (((rising, falling), (now, before)), (to, from)) in counters.zip(arriving).zip(leaving) {
            *rising += i32::from(now > before) - i32::from(to > from);
            *falling += i32::from(now < before) - i32::from(to < from);
        }
    }

    /// Place of the row, and of the counters, that the next push writes.
    fn next(&self) -> (usize, usize) {
        let (count, n) = (self.rows.len() / self.assets, self.assets);
        let head = if self.head + 1 == count { 0 } else { self.head + 1 };
        let phase = if self.phase + 1 == self.stride { 0 } else { self.phase + 1 };
        (head * n, phase * n)
    }

    /// Keeps what the next push changes; allocates the first time alone.
    pub fn mark(&self, mark: &mut PriceMark) {
        fn copy<T: Copy>(to: &mut Vec<T>, from: &[T]) {
            to.clear();
            to.extend_from_slice(from);
        }
        let ((row, counters), n) = (self.next(), self.assets);
        copy(&mut mark.row, &self.rows[row..][..n]);
        copy(&mut mark.last, &self.last);
        copy(&mut mark.valid, &self.valid);
        copy(&mut mark.rising, &self.rising[counters..][..n]);
        copy(&mut mark.falling, &self.falling[counters..][..n]);
    }

    /// As it was when it was marked, before the one push that followed.
    pub fn go_back(&mut self, mark: &PriceMark) {
        let (count, n) = (self.rows.len() / self.assets, self.assets);
        let (row, counters) = (self.head * n, self.phase * n);
        self.rows[row..][..n].copy_from_slice(&mark.row);
        self.last.copy_from_slice(&mark.last);
        self.valid.copy_from_slice(&mark.valid);
        self.rising[counters..][..n].copy_from_slice(&mark.rising);
        self.falling[counters..][..n].copy_from_slice(&mark.falling);
        self.head = if self.head == 0 { count - 1 } else { self.head - 1 };
        self.phase = if self.phase == 0 { self.stride - 1 } else { self.phase - 1 };
    }

    /// Where the row of `ticks` ago begins.
    fn row(&self, ticks: usize) -> usize {
        let count = self.rows.len() / self.assets;
        let row = if ticks <= self.head { self.head - ticks } else { self.head + count - ticks };
        row * self.assets
    }

    /// Newest known prices (NaN: none yet).
    #[inline]
    pub fn last(&self) -> &[f64] {
        &self.last
    }

    /// Which prices of the newest tick were valid.
    #[inline]
    pub fn valid(&self) -> &[bool] {
        &self.valid
    }

    /// Prices `lookback` bars ago (NaN: the history is shorter).
    pub fn lookback_prices(&self) -> &[f64] {
        let start = self.row(self.lookback * self.stride);
        &self.rows[start..start + self.assets]
    }

    /// For each asset, how many of the last `lookback` one-bar returns have the sign of `direction`.
    pub fn aligned(&self, direction: i8) -> &[i32] {
        let counts = if direction > 0 { &self.rising } else { &self.falling };
        &counts[self.phase * self.assets..][..self.assets]
    }

    pub fn save(&self) -> SavedPrices {
        let (old, new) = self.rows.split_at((self.head + 1) * self.assets);
        SavedPrices { rows: [new, old].concat(), valid: self.valid.clone(), phase: self.phase }
    }

    /// `None` where the saved history is of another shape.
    pub fn load(saved: &SavedPrices, assets: usize, stride: usize, lookback: usize) -> Option<Self> {
        let mut history = Self::new(assets, stride, lookback);
        let shape = saved.rows.len() == history.rows.len() && saved.valid.len() == assets;
        if !shape || saved.phase >= stride {
            return None;
        }
        // Played again from the oldest row on, the counters come out as they were: the ring holds each row that a
        // living counter has seen, and those before it are NaN, which count nothing.
        let count = history.rows.len() / assets;
        history.phase = (saved.phase + stride - count % stride) % stride;
        for row in saved.rows.chunks_exact(assets) {
            history.last.copy_from_slice(row);
            history.append();
        }
        history.valid.copy_from_slice(&saved.valid);
        Some(history)
    }
}

/// A price history at rest: rows oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedPrices {
    #[serde(with = "bits")]
    rows: Vec<f64>,
    valid: Vec<bool>,
    phase: usize,
}

impl SavedPrices {
    /// The rows, oldest first.
    pub(crate) fn rows(&self, assets: usize) -> Vec<Vec<f64>> {
        self.rows.chunks_exact(assets.max(1)).map(<[f64]>::to_vec).collect()
    }
}

/// Floats as their bits, in text as hexadecimal digits: exact, NaN included, which JSON numbers are not.
pub(crate) mod bits {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_bits().to_be_bytes()).collect();
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&bytes);
        }
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let bytes = if deserializer.is_human_readable() {
            hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?
        } else {
            // Formats that are not for people write bytes and rows of bytes alike.
            Vec::<u8>::deserialize(deserializer)?
        };
        let (floats, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(D::Error::custom("not a whole number of 64-bit floats"));
        }
        Ok(floats.iter().map(|b| f64::from_bits(u64::from_be_bytes(*b))).collect())
    }
}
