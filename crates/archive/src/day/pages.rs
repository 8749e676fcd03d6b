//! The pages of a parquet file in memory, unpacked by one zstd decompressor a thread. The parquet crate makes a compressor and
//! a decompressor for each column of each file: 160 kB of new memory, and four times the processor is asked what it can do,
//! which a virtual machine answers in microseconds. Of a day of sixty columns that is more than all of its decoding.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowGroups};
use parquet::basic::Compression;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use zstd::bulk::Decompressor;

/// A page holds no more, by the format: its sizes are 32-bit numbers.
const MAX_PAGE: usize = i32::MAX as usize;

thread_local! {
    static ZSTD: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Unpacks behind what stands in `unpacked` already.
fn unpack(packed: &[u8], unpacked: &mut Vec<u8>) -> Result<()> {
    ZSTD.with_borrow_mut(|zstd| {
        let zstd = match zstd {
            Some(zstd) => zstd,
            None => zstd.insert(Decompressor::new()?),
        };
        let position = unpacked.len() as u64;
        let mut rest = std::io::Cursor::new(unpacked);
        rest.set_position(position);
        zstd.decompress_to_buffer(packed, &mut rest)?;
        Ok(())
    })
}

/// A file and what stands in its footer.
#[derive(Clone)]
pub(super) struct FilePages {
    meta: ArrowReaderMetadata,
    bytes: Arc<Bytes>,
}

impl FilePages {
    pub(super) fn new(meta: ArrowReaderMetadata, bytes: Bytes) -> Self {
        Self { meta, bytes: Arc::new(bytes) }
    }

    /// The pages of a column in a row group.
    fn of(&self, group: usize, column: usize) -> Result<Box<dyn PageReader>> {
        let group = self.metadata().row_group(group);
        let (rows, chunk) = (usize::try_from(group.num_rows())?, group.column(column));
        let open = |chunk: &ColumnChunkMetaData| {
            SerializedPageReader::new(Arc::clone(&self.bytes), chunk, rows, None)
        };
        if !matches!(chunk.compression(), Compression::ZSTD(_)) {
            return Ok(Box::new(open(chunk)?));
        }
        // As if it were not compressed: its pages come as they lie in the file.
        let plain = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let most = usize::try_from(chunk.uncompressed_size()).unwrap_or(0);
        Ok(Box::new(ZstdPages { packed: open(&plain)?, most }))
    }
}

impl RowGroups for FilePages {
    fn num_rows(&self) -> usize {
        usize::try_from(self.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        Ok(Box::new(ColumnPages { file: self.clone(), column, group: 0 }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata().row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.meta.metadata()
    }
}

/// A column, row group by row group.
struct ColumnPages {
    file: FilePages,
    column: usize,
    group: usize,
}

impl Iterator for ColumnPages {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.group;
        self.group += 1;
        (group < self.file.metadata().num_row_groups()).then(|| self.file.of(group, self.column))
    }
}

impl PageIterator for ColumnPages {}

/// Pages of a column chunk that are packed by zstd.
struct ZstdPages {
    packed: SerializedPageReader<Bytes>,
    /// Bytes of the whole chunk unpacked, as the file says.
    most: usize,
}

impl ZstdPages {
    /// A packed buffer from `offset` on, behind what stands before it as it is.
    fn page(&self, packed: &Bytes, offset: usize) -> Result<Bytes> {
        let short = || ParquetError::General("a page is shorter than its levels".to_owned());
        let (plain, packed) = packed.split_at_checked(offset).ok_or_else(short)?;
        // A page without values may hold nothing at all.
        if packed.is_empty() {
            return Ok(Bytes::copy_from_slice(plain));
        }
        // Writers that stream do not tell the size; no page is larger than its chunk.
        let told = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten();
        let size = told.and_then(|size| usize::try_from(size).ok()).unwrap_or(self.most).min(MAX_PAGE);
        let mut unpacked = Vec::with_capacity(plain.len() + size);
        unpacked.extend_from_slice(plain);
        unpack(packed, &mut unpacked)?;
        Ok(unpacked.into())
    }
}

impl PageReader for ZstdPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(mut page) = self.packed.get_next_page()? else { return Ok(None) };
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = self.page(buf, 0)?,
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed, .. } => {
                if *is_compressed {
                    let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                    *buf = self.page(buf, usize::try_from(levels)?)?;
                }
            }
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.packed.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.packed.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.packed.at_record_boundary()
    }
}

impl Iterator for ZstdPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
