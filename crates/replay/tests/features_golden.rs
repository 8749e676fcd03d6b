//! The features of the recorded BTC and ETH market against those of an independent implementation of SPEC §5.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use market::Nanos;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use replay::features::write_features;

fn read(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let batches: Vec<_> = builder.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1, "one batch");
    batches.into_iter().next().unwrap()
}

/// Within 1e-9 relative, or both zero.
fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[test]
fn recorded_features_equal_the_golden_ones() {
    let files = ["recordings/usdm_btcusdt_20240808.gz", "recordings/usdm_ethusdt_20240808.gz"];
    let golden = testkit::shared_data("golden/features-btc-eth.parquet");
    let paths: Option<Vec<_>> = files.into_iter().map(testkit::shared_data).collect();
    let (Some(golden), Some(paths)) = (golden, paths) else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("features.parquet");
    let report = write_features(&paths, Nanos(100 * Nanos::MS), &out).unwrap();
    assert_eq!(report.decoded.rejected(), 0);
    assert_eq!(report.symbols.iter().map(|(_, c)| c.gaps + c.crossed).sum::<u64>(), 0);

    let (expected, found) = (read(&golden), read(&out));
    assert_eq!(found.num_rows(), expected.num_rows());
    assert_eq!(report.rows as usize, found.num_rows());
    for (i, field) in expected.schema().fields().iter().enumerate() {
        assert_eq!(found.schema().field(i).name(), field.name(), "column {i}");
        assert_eq!(found.schema().field(i).data_type(), field.data_type(), "{}", field.name());
        let (e, f) = (expected.column(i), found.column(i));
        match field.data_type() {
            DataType::Int64 => assert_eq!(f.as_primitive::<Int64Type>(), e.as_primitive::<Int64Type>()),
            DataType::Utf8 => assert_eq!(f.as_string::<i32>(), e.as_string::<i32>()),
            _ => {
                let (e, f) = (e.as_primitive::<Float64Type>(), f.as_primitive::<Float64Type>());
                assert_eq!((e.null_count(), f.null_count()), (0, 0));
                for (row, (&e, &f)) in e.values().iter().zip(f.values()).enumerate() {
                    assert!(close(e, f), "{} in row {row}: {f}, expected {e}", field.name());
                }
            }
        }
    }
}
