//! One column of a batch, whatever numbers it holds, as `f64` (SPEC §2.1: float32, float64, nullable, integer).

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};
use market::Nanos;
use market::stamp::{exact, nanos_from_float, nanos_from_int, nanos_from_text};

/// Can [`floats`] read it?
pub(crate) fn is_number(kind: &DataType) -> bool {
    use DataType::*;
    matches!(
        kind,
        Float64
            | Float32
            | Float16
            | Int8
            | Int16
            | Int32
            | Int64
            | UInt8
            | UInt16
            | UInt32
            | UInt64
            | Decimal128(..)
            | Null
    )
}

/// Can [`times`] read it?
pub(crate) fn is_time(kind: &DataType) -> bool {
    is_number(kind)
        || matches!(
            kind,
            DataType::Timestamp(..)
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Binary
                | DataType::Date32
        )
}

/// Hands each value to `sink` with its row, a null as NaN. The type must pass [`is_number`]; nothing is handed
/// over otherwise.
pub(crate) fn floats(array: &dyn Array, mut sink: impl FnMut(usize, f64)) {
    let sink = &mut sink;
    match array.data_type() {
        DataType::Float64 => each::<Float64Type>(array, sink, |v| v),
        DataType::Float32 => each::<Float32Type>(array, sink, f64::from),
        DataType::Float16 => each::<Float16Type>(array, sink, f64::from),
        DataType::Int8 => each::<Int8Type>(array, sink, f64::from),
        DataType::Int16 => each::<Int16Type>(array, sink, f64::from),
        DataType::Int32 => each::<Int32Type>(array, sink, f64::from),
        DataType::Int64 => each::<Int64Type>(array, sink, |v| v as f64),
        DataType::UInt8 => each::<UInt8Type>(array, sink, f64::from),
        DataType::UInt16 => each::<UInt16Type>(array, sink, f64::from),
        DataType::UInt32 => each::<UInt32Type>(array, sink, f64::from),
        DataType::UInt64 => each::<UInt64Type>(array, sink, |v| v as f64),
        DataType::Decimal128(_, scale) => {
            let unit = 10f64.powi(i32::from(*scale));
            each::<Decimal128Type>(array, sink, |v| v as f64 / unit);
        }
        DataType::Null => (0..array.len()).for_each(|row| sink(row, f64::NAN)),
        _ => {}
    }
}

fn each<T: ArrowPrimitiveType>(
    array: &dyn Array,
    sink: &mut impl FnMut(usize, f64),
    to_f64: impl Fn(T::Native) -> f64,
) {
    let Some(array) = array.as_primitive_opt::<T>() else { return };
    if array.null_count() == 0 {
        for (row, &value) in array.values().iter().enumerate() {
            sink(row, to_f64(value));
        }
    } else {
        for (row, value) in array.iter().enumerate() {
            sink(row, value.map_or(f64::NAN, &to_f64));
        }
    }
}

/// Hands each event time to `sink`. A text that is no time is returned with its row.
pub(crate) fn times(
    array: &dyn Array,
    mut sink: impl FnMut(usize, Option<Nanos>),
) -> Result<(), (usize, String)> {
    let sink = &mut sink;
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => ticks::<TimestampSecondType>(array, sink, 1_000_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            ticks::<TimestampMillisecondType>(array, sink, 1_000_000);
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            ticks::<TimestampMicrosecondType>(array, sink, 1_000);
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => ticks::<TimestampNanosecondType>(array, sink, 1),
        DataType::Date32 => {
            let days: &PrimitiveArray<Date32Type> = array.as_primitive();
            for (row, day) in days.iter().enumerate() {
                sink(row, day.and_then(|d| exact(i64::from(d) * 86_400_000_000_000)));
            }
        }
        DataType::Utf8 => return texts(array.as_string::<i32>().iter(), sink),
        DataType::LargeUtf8 => return texts(array.as_string::<i64>().iter(), sink),
        DataType::Binary => {
            let text =
                array.as_binary::<i32>().iter().map(|b| b.map(|b| str::from_utf8(b).unwrap_or("\u{fffd}")));
            return texts(text, sink);
        }
        DataType::Int64 => {
            let values: &PrimitiveArray<Int64Type> = array.as_primitive();
            for (row, value) in values.iter().enumerate() {
                sink(row, value.and_then(nanos_from_int));
            }
        }
        _ => floats(array, |row, value| sink(row, nanos_from_float(value))),
    }
    Ok(())
}

fn ticks<T: ArrowPrimitiveType<Native = i64>>(
    array: &dyn Array,
    sink: &mut impl FnMut(usize, Option<Nanos>),
    ns: i64,
) {
    let Some(array) = array.as_primitive_opt::<T>() else { return };
    for (row, value) in array.iter().enumerate() {
        sink(row, value.and_then(|v| v.checked_mul(ns)).and_then(exact));
    }
}

fn texts<'a>(
    texts: impl Iterator<Item = Option<&'a str>>,
    sink: &mut impl FnMut(usize, Option<Nanos>),
) -> Result<(), (usize, String)> {
    for (row, text) in texts.enumerate() {
        let time = match text {
            None => None,
            Some(text) => nanos_from_text(text).map_err(|()| (row, text.chars().take(60).collect()))?,
        };
        sink(row, time);
    }
    Ok(())
}

/// Hands each integer to `sink`; what is no whole number is `None`.
pub(crate) fn integers(array: &dyn Array, mut sink: impl FnMut(usize, Option<i64>)) {
    if let Some(values) = array.as_primitive_opt::<Int64Type>() {
        for (row, value) in values.iter().enumerate() {
            sink(row, value);
        }
    } else {
        floats(array, |row, v| sink(row, (v.fract() == 0.0 && v.abs() < 9e15).then_some(v as i64)));
    }
}
