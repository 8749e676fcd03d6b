//! What a record costs the hot thread (a push into the ring) and the writer (encoded bytes framed, checked, packed).

use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use runtime::environment::SystemFiles;
use runtime::journal::frame::Record;
use runtime::journal::library::Limits;
use runtime::journal::tap::tap;
use runtime::journal::writer::Writer;

fn main() {
    divan::main();
}

/// The hot side alone: the ring is emptied between the measured batches.
#[divan::bench(consts = [64, 128, 256], sample_count = 200)]
fn push<const N: usize>(bencher: Bencher<'_, '_>) {
    const BATCH: u64 = 1000;
    let (mut hot, mut drain) = tap::<[u8; N]>("bench", 2 * BATCH as usize);
    bencher.counter(divan::counter::ItemsCount::new(BATCH)).bench_local(|| {
        for i in 0..BATCH {
            hot.push(black_box(i), black_box([7; N]));
        }
        while drain.pop().is_some() {}
    });
}

/// The writer, to a real file.
#[divan::bench(args = [64, 512, 16_384])]
fn write(bencher: Bencher<'_, '_>, size: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let limits = Limits {
        dir: dir.path().to_owned(),
        segment_bytes: 16 << 20,
        days: 1,
        max_bytes: 64 << 20,
        fsync_ns: u64::MAX,
    };
    let mut writer = Writer::new(Arc::new(SystemFiles), limits, 1, Vec::new());
    writer.begin(&[], 1, 1).expect("the directory can be written");
    let (payload, mut seq) = (vec![7u8; size], 0);
    bencher.counter(divan::counter::BytesCount::new(size)).bench_local(|| {
        seq += 1;
        writer.record(Record { stream: 1, kind: 1, seq, at: seq, payload: &payload });
        if seq % 64 == 0 {
            writer.flush(seq).expect("the disk takes it");
            if writer.needs_segment(seq) {
                writer.next_segment(&[], 1, seq).expect("the disk takes it");
            }
        }
    });
}
