//! The eigen scanner against a full decomposition.

mod full;
mod market;

use alpha::eigen::{Scan, Scanner, WINDOWS};
use full::{Bar, Full};
use market::{Market, Random};

/// SPEC §6: "within 1e-9 of LAPACK".
const TOLERANCE: f64 = 1e-9;
/// Instability is promised while the second eigenvalue is at most this share of the first.
const CROWDED: f64 = 0.9;

fn assert_close(name: &str, tick: usize, got: f64, want: f64) {
    if want.is_nan() {
        assert!(got.is_nan(), "tick {tick}: {name} is {got:e}, should be undefined");
    } else {
        assert!(
            (got - want).abs() <= TOLERANCE,
            "tick {tick}: {name} is {got:e}, should be {want:e}, off by {:e}",
            got - want
        );
    }
}

fn assert_scan(tick: usize, got: &Scan, want: &Bar) {
    let lambda = |bar: &Option<full::Leading>| bar.as_ref().map_or(f64::NAN, |leading| leading.lambda);
    let mut velocity = [f64::NAN; 4];
    for (w, (now, before)) in want.iter().enumerate() {
        velocity[w] = lambda(now) - lambda(before);
        assert_close(&format!("lambda {}", WINDOWS[w]), tick, got.lambda[w], lambda(now));
        assert_close(&format!("velocity {}", WINDOWS[w]), tick, got.velocity[w], velocity[w]);
    }
    assert_close("vel_div", tick, got.vel_div, velocity[0] - velocity[1]);
    for (w, got) in [got.instability_50, got.instability_150].into_iter().enumerate() {
        let (Some(now), Some(before)) = &want[w] else {
            assert!(got.is_nan(), "tick {tick}: instability {got} before there are two eigenvectors");
            continue;
        };
        assert!((0.0..=1.0).contains(&got), "tick {tick}: instability {got}");
        if now.crowding.max(before.crowding) <= CROWDED {
            let dot: f64 = now.vector.iter().zip(&before.vector).map(|(a, b)| a * b).sum();
            assert_close(&format!("instability {}", WINDOWS[w]), tick, got, 1.0 - dot.abs());
        }
    }
}

/// Runs both over `ticks`; compares on every tick where `look` says so (and always on the one before, of which the
/// oracle needs the eigenvectors).
fn compare(
    assets: usize,
    ticks: usize,
    look: impl Fn(usize) -> bool,
    mut prices: impl FnMut(usize) -> Vec<f64>,
) {
    let mut scanner = Scanner::new(assets, 1).unwrap();
    let mut oracle = Full::default();
    for tick in 0..ticks {
        let row = prices(tick);
        let got = scanner.step(&row);
        if look(tick) {
            let want = oracle.step(&row);
            if tick == 0 || look(tick - 1) {
                assert_scan(tick, &got, &want);
            }
        } else if look(tick + 1) {
            oracle.step(&row);
        } else {
            oracle.push(&row);
        }
    }
}

#[test]
fn random_markets_agree_with_a_full_decomposition() {
    for (assets, seed) in [(1, 1), (2, 2), (3, 3), (5, 4), (17, 5), (48, 6)] {
        let mut market = Market::new(assets, seed);
        compare(
            assets,
            1000,
            |t| assets < 10 || t % 60 < 4 || (745..760).contains(&t),
            |_| market.tick().to_vec(),
        );
    }
}

#[test]
fn the_rows_form_of_many_assets_agrees_too() {
    let mut market = Market::new(120, 7);
    compare(120, 800, |t| t % 50 < 3 && t > 100, |_| market.tick().to_vec());
}
