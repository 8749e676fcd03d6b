//! What links between stages cost: a small message over a ring, a value in the pending slot, on one thread. Between cores
//! the line that carries the message has to travel, which no bench of one thread shows.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use runtime::latency::Collector;
use runtime::pending::pending;
use runtime::ring::ring;

fn main() {
    divan::main();
}

/// Messages between two looks at the clock.
const BATCH: u64 = 1_000;

/// Push and pop, one at a time.
#[divan::bench(consts = [8, 64, 256])]
fn ring_push_pop<const N: usize>(bencher: Bencher<'_, '_>) {
    let (mut tx, mut rx) = ring::<[u8; N]>("bench", 64);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            let _ = tx.push(black_box([7; N]));
            black_box(rx.pop());
        }
    });
}

/// Looking into an empty ring, as every idle poll does.
#[divan::bench]
fn ring_pop_empty(bencher: Bencher<'_, '_>) {
    let (_tx, mut rx) = ring::<u64>("bench", 64);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            black_box(rx.pop());
        }
    });
}

/// A value published and taken.
#[divan::bench]
fn pending_publish_take(bencher: Bencher<'_, '_>) {
    let (mut publisher, mut taker) = pending::<[u64; 4]>();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for i in 0..BATCH {
            publisher.publish(black_box([i; 4]));
            black_box(taker.take());
        }
    });
}

/// Looking for news where there is none, as every tick does.
#[divan::bench]
fn pending_take_nothing(bencher: Bencher<'_, '_>) {
    let (_publisher, mut taker) = pending::<[u64; 4]>();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            black_box(taker.take());
        }
    });
}

/// A latency sample on its way out, and its histogram.
#[divan::bench]
fn latency_sample(bencher: Bencher<'_, '_>) {
    let mut collector = Collector::new(1);
    let mut probe = collector.probe("bench_latency", 2 * BATCH as usize);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for i in 0..BATCH {
            probe.record(0, black_box(1_000 + i));
        }
        collector.drain();
    });
}
