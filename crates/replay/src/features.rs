//! Recordings to order-book features (SPEC §5, §11 `features`): the live decoder, books and feature engine, fed from
//! files instead of sockets.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::recording::{MergedRecordings, RecordingError, Survey, is_bare_snapshot, survey};
use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use binance::decode::{DecodeCounters, Decoder, Frame};
use book::{BookCounters, EngineCounters, FeatureEngine, Sample};
use market::{CrossAsset, DEPTH_BANDS, Instrument, Nanos, ObFeatures};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

/// Rows of a row group.
const BATCH_ROWS: usize = 1 << 16;

/// Why there are no features.
#[derive(Debug, thiserror::Error)]
pub enum FeaturesError {
    /// A recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The output cannot be written.
    #[error("{}: {source}", path.display())]
    Output {
        /// File.
        path: PathBuf,
        /// Cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No interval.
    #[error("the sampling interval must be at least 1 ms")]
    Interval,
    /// No file.
    #[error("no recording given")]
    NoRecording,
}

/// What was found on the way.
#[derive(Debug, Clone)]
pub struct FeaturesReport {
    /// Rows: a symbol at a sample.
    pub rows: u64,
    /// Frames read.
    pub frames: u64,
    /// Symbols in column order, and what their books met.
    pub symbols: Vec<(String, BookCounters)>,
    /// What the decoder met.
    pub decoded: DecodeCounters,
    /// What the engine met.
    pub engine: EngineCounters,
    /// The newest features of each symbol that had any, sorted by symbol.
    pub latest: Vec<Latest>,
}

/// The newest features of a symbol.
#[derive(Debug, Clone)]
pub struct Latest {
    /// Symbol.
    pub symbol: String,
    /// When they were sampled.
    pub ts: Nanos,
    /// They.
    pub features: ObFeatures,
    /// What all symbols said at that sample.
    pub cross: CrossAsset,
}

/// Replays recordings and hands every sample to `on_sample`, with the symbols of the session, until it breaks off.
pub fn replay_features(
    recordings: &[PathBuf],
    interval: Nanos,
    mut on_sample: impl FnMut(&Survey, &Sample<'_>) -> ControlFlow<()>,
) -> Result<FeaturesReport, FeaturesError> {
    if recordings.is_empty() {
        return Err(FeaturesError::NoRecording);
    }
    if interval.0 < Nanos::MS {
        return Err(FeaturesError::Interval);
    }
    let survey = survey(recordings)?;
    let instruments = survey.instruments();
    let mut decoder = Decoder::new(&instruments);
    let mut engine = FeatureEngine::new(&instruments, interval);
    for (instrument, symbol) in instruments.iter().zip(&survey.symbols) {
        if symbol.has_aggregates {
            engine.expect_aggregates(instrument.id);
        }
    }
    let mut lines = MergedRecordings::open(recordings)?;
    let (mut frames, mut rows, mut ended) = (0, 0, false);
    let mut newest = vec![None; instruments.len()];
    while let Some(line) = lines.next_line()? {
        if ended {
            break;
        }
        frames += 1;
        if let (true, Some(symbol)) = (is_bare_snapshot(line.frame), survey.file_symbols[line.file]) {
            if let Ok(snapshot) = decoder.decode_snapshot(symbol, line.frame) {
                engine.on_snapshot(&snapshot);
            }
            continue;
        }
        match decoder.decode(line.frame) {
            Ok(Frame::Market(event)) => {
                engine.on_event(&event, |sample| {
                    for (newest, features) in newest.iter_mut().zip(sample.features) {
                        if let Some(features) = features {
                            rows += 1;
                            *newest = Some((sample.ts, *features, sample.cross));
                        }
                    }
                    ended |= on_sample(&survey, sample).is_break();
                });
            }
            Ok(Frame::Snapshot(snapshot)) => {
                engine.on_snapshot(&snapshot);
            }
            // Rejected frames are counted by kind; the books notice what is missing.
            Ok(Frame::Ignored(_)) | Err(_) => {}
        }
    }
    let book = |i: &Instrument| engine.book(i.id).map(|b| *b.counters()).unwrap_or_default();
    Ok(FeaturesReport {
        rows,
        frames,
        symbols: instruments.iter().map(|i| (i.symbol.clone(), book(i))).collect(),
        decoded: *decoder.counters(),
        engine: *engine.counters(),
        latest: latest(&instruments, newest),
    })
}

fn latest(instruments: &[Instrument], newest: Vec<Option<(Nanos, ObFeatures, CrossAsset)>>) -> Vec<Latest> {
    let pairs = instruments.iter().zip(newest);
    let known = pairs.filter_map(|(instrument, newest)| {
        newest.map(|(ts, features, cross)| Latest { symbol: instrument.symbol.clone(), ts, features, cross })
    });
    let mut latest: Vec<Latest> = known.collect();
    latest.sort_unstable_by(|a, b| a.symbol.cmp(&b.symbol));
    latest
}

/// Replays recordings into a parquet file with a row for each symbol with features at each sample. The file appears
/// when it is complete: until then, and after a failure, there is at most `<out>.part`.
pub fn write_features(
    recordings: &[PathBuf],
    interval: Nanos,
    out: &Path,
) -> Result<FeaturesReport, FeaturesError> {
    let mut part = out.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let fail = |source: ParquetError| FeaturesError::Output { path: out.to_owned(), source: source.into() };
    let file = File::create(&part).map_err(|e| fail(e.into()))?;
    let written = write_table(recordings, interval, file, fail);
    if written.is_ok() {
        std::fs::rename(&part, out).map_err(|e| fail(e.into()))?;
    } else {
        // The failure is the message; that the unfinished file could not be removed as well adds nothing.
        std::fs::remove_file(&part).ok();
    }
    written
}

fn write_table(
    recordings: &[PathBuf],
    interval: Nanos,
    file: File,
    fail: impl Fn(ParquetError) -> FeaturesError,
) -> Result<FeaturesReport, FeaturesError> {
    let mut rows = FeatureRows::new();
    let compression = parquet::basic::Compression::ZSTD(parquet::basic::ZstdLevel::default());
    let properties =
        parquet::file::properties::WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).map_err(&fail)?;
    let mut failed = None;
    let report = replay_features(recordings, interval, |survey, sample| {
        rows.push(survey, sample);
        if rows.len() >= BATCH_ROWS {
            failed = rows.take().map_err(Into::into).and_then(|batch| writer.write(&batch)).err();
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(e) = failed {
        return Err(fail(e));
    }
    let last = rows.take().map_err(Into::into).and_then(|batch| writer.write(&batch));
    last.and_then(|()| writer.close()).map(|_| report).map_err(fail)
}

/// The float columns before the two counts, in file order; the vectors follow `SIDES` as `<name>_1` … `<name>_5`.
const LEADING: [&str; 2] = ["mid", "spread_proxy_bps"];
const SIDES: [&str; 4] = ["bid_depth", "bid_notional", "ask_depth", "ask_notional"];
const FLOATS: [&str; 10] = [
    "depth_quality",
    "depth_asymmetry",
    "imbalance_persistence",
    "withdrawal_velocity",
    "fill_probability_bid",
    "fill_probability_ask",
    "fill_probability",
    "macro_imbalance",
    "macro_spread_bps",
    "agreement_pct",
];

fn schema() -> Schema {
    let float = |name: String| Field::new(name, DataType::Float64, true);
    let int = |name: &str| Field::new(name, DataType::Int64, true);
    let mut fields = vec![int("ts_ms"), Field::new("symbol", DataType::Utf8, true)];
    fields.extend(LEADING.map(|name| float(name.to_owned())));
    for side in SIDES {
        fields.extend((1..=DEPTH_BANDS).map(|p| float(format!("{side}_{p}"))));
    }
    fields.extend(FLOATS.map(|name| float(name.to_owned())));
    fields.extend([int("cascade_count"), int("regime_signal"), float("coverage_pct".to_owned())]);
    Schema::new(fields)
}

/// The float columns of a row, `coverage_pct` last.
fn floats(f: &ObFeatures, mid: f64, agreement_pct: f64) -> impl Iterator<Item = f64> {
    let sides = [f.bid_depth, f.bid_notional, f.ask_depth, f.ask_notional];
    let rest = [
        f.depth_quality,
        f.depth_asymmetry,
        f.imbalance_persistence,
        f.withdrawal_velocity,
        f.fill_probability_bid,
        f.fill_probability_ask,
        f.fill_probability,
        f.macro_imbalance,
        f.macro_spread_bps,
        agreement_pct,
        f.coverage_pct,
    ];
    [mid, f.spread_proxy_bps].into_iter().chain(sides.into_iter().flatten()).chain(rest)
}

/// Rows of the feature table, column by column: a row for each symbol with features at each sample.
#[derive(Debug)]
pub struct FeatureRows {
    schema: Arc<Schema>,
    rows: usize,
    ts_ms: Int64Builder,
    symbol: StringBuilder,
    floats: Vec<Float64Builder>,
    cascade_count: Int64Builder,
    regime_signal: Int64Builder,
}

impl Default for FeatureRows {
    fn default() -> Self {
        Self::new()
    }
}

impl FeatureRows {
    /// No rows.
    pub fn new() -> Self {
        let columns = LEADING.len() + SIDES.len() * DEPTH_BANDS + FLOATS.len() + 1;
        Self {
            schema: Arc::new(schema()),
            rows: 0,
            ts_ms: Int64Builder::new(),
            symbol: StringBuilder::new(),
            floats: (0..columns).map(|_| Float64Builder::new()).collect(),
            cascade_count: Int64Builder::new(),
            regime_signal: Int64Builder::new(),
        }
    }

    /// The columns.
    pub fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema)
    }

    /// Rows pushed since the last batch.
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// None?
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows of a sample.
    pub fn push(&mut self, survey: &Survey, sample: &Sample<'_>) {
        let ts_ms = i64::try_from(sample.ts.millis()).unwrap_or(i64::MAX);
        for ((symbol, features), &mid) in survey.symbols.iter().zip(sample.features).zip(sample.mids) {
            let Some(f) = features else { continue };
            self.ts_ms.append_value(ts_ms);
            self.symbol.append_value(&symbol.symbol);
            for (column, value) in self.floats.iter_mut().zip(floats(f, mid, sample.cross.agreement_pct)) {
                column.append_value(value);
            }
            self.cascade_count.append_value(i64::from(sample.cross.cascade_count));
            self.regime_signal.append_value(i64::from(sample.cross.regime_signal));
            self.rows += 1;
        }
    }

    /// The rows so far as a batch; none are left.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut floats = self.floats.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.ts_ms.finish()), Arc::new(self.symbol.finish())];
        columns.extend(floats.by_ref().take(LEADING.len() + SIDES.len() * DEPTH_BANDS + FLOATS.len()));
        columns.push(Arc::new(self.cascade_count.finish()));
        columns.push(Arc::new(self.regime_signal.finish()));
        columns.extend(floats);
        self.rows = 0;
        RecordBatch::try_new(self.schema(), columns)
    }
}
