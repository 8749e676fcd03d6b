//! A tick of the eigen scanner, all four windows, and the full decomposition it stands for.
//! `dolphin bench eigen` prints the percentiles and the ratio of one run.

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../crates/alpha/tests/eigen/full.rs"]
mod full;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../crates/alpha/tests/eigen/market.rs"]
mod market;

use alpha::eigen::{Scanner, WINDOWS};
use divan::{Bencher, black_box};
use faer::Side;
use market::Market;

fn main() {
    divan::main();
}

#[divan::bench(args = [48, 400], sample_count = 2000, sample_size = 1)]
fn tick(bencher: Bencher<'_, '_>, assets: usize) {
    let mut market = Market::new(assets, 1);
    let mut scanner = Scanner::new(assets, 1).expect("in range");
    for _ in 0..scanner.warmup_ticks() {
        scanner.step(market.tick());
    }
    bencher.with_inputs(|| market.tick().to_vec()).bench_local_refs(|prices| scanner.step(prices));
}

#[divan::bench(args = [48, 400], sample_count = 20, sample_size = 1)]
fn eigenvalues_of_the_four_matrices(bencher: Bencher<'_, '_>, assets: usize) {
    let mut market = Market::new(assets, 1);
    let mut oracle = full::Full::default();
    for _ in 0..=WINDOWS[3] {
        oracle.push(market.tick());
    }
    let matrices = WINDOWS.map(|window| oracle.correlation(window).expect("as many returns as the longest"));
    bencher.bench_local(|| {
        for c in &matrices {
            black_box(c.self_adjoint_eigenvalues(Side::Lower).expect("finite and symmetric"));
        }
    });
}
