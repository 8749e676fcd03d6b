//! Day files and scan files (SPEC §2.1, §2.2): what a replayed day is made of.
//!
//! A day file is a table with a row for each bar: a few meta columns, and a price column for each asset. The engine
//! takes one bar after the other, so a [`Day`] is laid out by rows: the meta values of a bar together, its prices
//! together. Files come from several writers (pandas, polars, our own, hand-made), so the reader takes every
//! reasonable form of a column and refuses the rest with one message that names the file and the column.
//!
//! * [`list`] finds the days of a directory, in date order; [`DaySource::load`] reads the bytes of one;
//!   [`LoadedDay::decode_into`] makes the rows. They are separate steps so that the bytes can be digested, or
//!   decoded many times over (benchmarks), without reading twice.
//! * [`write()`] writes a day in the same form.
//!
//! Missing numbers are NaN everywhere. Nothing here judges prices: an infinite or negative price is handed on, and
//! the engine takes it for "not valid now" (SPEC §3.4).

mod list;
mod pages;
mod scan;
mod select;
mod source;
mod table_file;
mod types;
mod writer;

pub use list::{DayList, Wanted, list};
pub use select::AssetColumns;
pub use source::{DaySource, LoadedDay};
pub use types::{
    Bar, Columns, Contents, Day, DayError, MAX_CELLS, MAX_COLUMNS, MAX_FILE_BYTES, META_COLUMNS,
};
pub use writer::{encode, write};
