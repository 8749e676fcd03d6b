//! The eigen scanner against a full decomposition.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod flat;
mod full;
mod market;

use alpha::eigen::{Check, Scan, Scanner, WINDOWS};
use full::{Bar, Full};
use market::{Market, Random};
use proptest::prelude::*;

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
    let mut scanner = Scanner::new(assets, 1).expect("a size in range");
    let mut oracle = Full::default();
    for tick in 0..ticks {
        let row = prices(tick);
        let got = scanner.step(&row);
        assert!(scanner.health().is_sound(), "tick {tick}: {}", scanner.health());
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

/// Two bars running in each `period`, as soon as the shortest window is full.
fn every(period: usize) -> impl Fn(usize) -> bool {
    move |tick| tick > 50 && tick % period < 2
}

#[test]
fn random_markets_agree_with_a_full_decomposition() {
    for (assets, seed) in [(1, 1), (2, 2), (3, 3), (5, 4), (17, 5), (48, 6)] {
        let mut market = Market::new(assets, seed);
        compare(
            assets,
            900,
            |t| assets < 6 || t % 60 < 3 || (748..756).contains(&t),
            |_| market.tick().to_vec(),
        );
    }
}

#[test]
fn every_form_of_the_second_moments_agrees() {
    // 84 assets: triangles only; 120: rows for window 50; 320: rows for 50 and 150.
    for (assets, every) in [(84, 100), (120, 120), (320, 380)] {
        let mut market = Market::new(assets, 7);
        compare(assets, 770, |t| t % every < 2 && t > 50, |_| market.tick().to_vec());
    }
}

/// What can be odd about an asset's prices, applied to a plain market.
#[derive(Debug, Clone, Copy)]
enum Quirk {
    /// The same price all the time.
    Constant,
    /// The same price for long stretches, then a while of moves.
    StopAndGo,
    /// Up by the same factor every bar: returns equal but for rounding.
    ConstantReturn,
    /// The price of the first asset times a constant.
    Collinear,
    /// The inverse of the first asset.
    Inverse,
    /// Missing (NaN, zero, negative, infinite) every so often.
    Missing,
    /// No price before tick 130.
    LateStart,
    /// Ten times the price on one tick in 97: returns that dwarf all others enter and leave.
    Glitch,
    /// None.
    Plain,
}

fn quirky(base: &[f64], quirks: &[Quirk], tick: usize) -> Vec<f64> {
    let one = |(i, quirk): (usize, &Quirk)| match quirk {
        Quirk::Constant => 7.25,
        Quirk::StopAndGo if tick % 400 < 220 => 3.0,
        Quirk::ConstantReturn => 5.0 * 1.0001f64.powi(tick as i32),
        Quirk::Collinear => base[0] * 0.125,
        Quirk::Inverse => 1.0 / base[0],
        Quirk::Missing if tick % 7 == i % 7 => [f64::NAN, 0.0, -1.0, f64::INFINITY][tick / 7 % 4],
        Quirk::LateStart if tick < 130 => f64::NAN,
        Quirk::Glitch if tick % 97 == 50 => base[i] * 10.0,
        _ => base[i],
    };
    quirks.iter().enumerate().map(one).collect()
}

#[test]
fn odd_prices_agree_with_a_full_decomposition() {
    use Quirk::*;
    let sets: [&[Quirk]; 6] = [
        &[Plain, Collinear, Inverse, Plain],
        &[Plain, Constant, ConstantReturn, LateStart, Plain],
        &[StopAndGo, Missing, Glitch, Plain, Plain],
        &[Constant, Constant, StopAndGo],
        &[Constant],
        &[ConstantReturn, LateStart],
    ];
    for (seed, quirks) in sets.into_iter().enumerate() {
        let mut market = Market::new(quirks.len(), seed as u64);
        compare(quirks.len(), 1000, |_| true, |t| quirky(market.tick(), quirks, t));
    }
}

#[test]
fn eigenvalues_that_cross_are_never_mixed_up() {
    // Two blocks without a common factor whose strengths swing against each other: the leading pair changes hands
    // again and again, through an eigenvector that had no part in it.
    for (period, noise) in [(240.0, 1.0), (90.0, 0.2), (700.0, 0.05)] {
        let mut random = Random(9);
        let mut prices = vec![10.0; 12];
        compare(
            12,
            1500,
            |t| t > 700 || t % 5 < 2,
            |t| {
                let swing = 0.5 * (t as f64 / period * std::f64::consts::TAU).sin();
                let factors = [(1.0 + swing) * random.normal(), (1.0 - swing) * random.normal()];
                for (i, price) in prices.iter_mut().enumerate() {
                    let f64_return = 1e-4 * (factors[i / 6] + (1.0 + noise) * random.normal());
                    *price *= f64_return.exp();
                }
                prices.clone()
            },
        );
    }
}

#[test]
fn a_sector_that_overtakes_in_one_bar_is_seen_at_once() {
    // A quiet market with a common factor, then one huge bar of a third of the assets.
    let mut random = Random(21);
    let mut prices = vec![10.0; 12];
    compare(
        12,
        1000,
        |t| t > 745 || t % 20 < 2,
        |t| {
            let common = random.normal();
            let shock = if t % 211 == 200 { 40.0 * random.normal() } else { 0.0 };
            for (i, price) in prices.iter_mut().enumerate() {
                let sector = if i < 4 { shock } else { 0.0 };
                *price *= (1e-4 * (0.6 * common + sector + random.normal())).exp();
            }
            prices.clone()
        },
    );
}

#[test]
fn a_million_ticks_leave_no_drift() {
    const ASSETS: usize = 3;
    const TICKS: usize = 1_000_000;
    let mut random = Random(5);
    let mut prices = [1.0; ASSETS];
    let mut scanner = Scanner::new(ASSETS, 1).unwrap();
    let mut oracle = Full::default();
    let mut scan = Scan::UNDEFINED;
    for tick in 0..TICKS {
        let common = random.uniform() - 0.5;
        for price in &mut prices {
            // Mean reversion keeps a million steps in range.
            *price *= 1.0 + 1e-3 * (common + random.uniform() - 0.5 - 0.1 * (*price - 1.0));
        }
        scan = scanner.step(&prices);
        if tick + 2 == TICKS {
            oracle.step(&prices);
        } else if tick + 2 < TICKS && tick + 800 > TICKS {
            oracle.push(&prices);
        }
    }
    assert_scan(TICKS, &scan, &oracle.step(&prices));
}

fn bits(scan: &Scan) -> Vec<u64> {
    let rest = [scan.vel_div, scan.instability_50, scan.instability_150];
    scan.lambda
        .iter()
        .chain(&scan.velocity)
        .chain(&rest)
        .map(|x| if x.is_nan() { 0 } else { x.to_bits() })
        .collect()
}

#[test]
fn a_stride_is_as_many_scanners_of_stride_one() {
    for (stride, ticks) in [(50, 50 * 160), (3, 3 * 800)] {
        let mut market = Market::new(5, 33);
        let mut whole = Scanner::new(5, stride).unwrap();
        let mut parts: Vec<Scanner> = (0..stride).map(|_| Scanner::new(5, 1).unwrap()).collect();
        let mut carried = vec![f64::NAN; 5];
        for tick in 0..ticks {
            let mut prices = market.tick().to_vec();
            if tick % 11 == 0 {
                prices[tick % 5] = f64::NAN;
            }
            for (carried, price) in carried.iter_mut().zip(&prices).filter(|(_, price)| !price.is_nan()) {
                *carried = *price;
            }
            let want = parts[tick % stride].step(&carried);
            assert_eq!(bits(&whole.step(&prices)), bits(&want), "tick {tick} of stride {stride}");
        }
        assert!(whole.step(&carried).lambda[if stride == 3 { 3 } else { 1 }].is_finite());
    }
}

#[test]
fn warming_is_stepping() {
    let mut market = Market::new(4, 2);
    let rows: Vec<Vec<f64>> = (0..900).map(|_| market.tick().to_vec()).collect();
    let (mut stepped, mut warmed) = (Scanner::new(4, 1).unwrap(), Scanner::new(4, 1).unwrap());
    let last = rows.iter().map(|row| stepped.step(row)).last().unwrap();
    assert_eq!(warmed.warm(std::iter::empty()), None);
    assert_eq!(bits(&warmed.warm(rows.iter().map(Vec::as_slice)).unwrap()), bits(&last));
    let next = market.tick().to_vec();
    assert_eq!(bits(&warmed.step(&next)), bits(&stepped.step(&next)));
}

#[test]
fn values_are_defined_from_the_first_full_window_on() {
    let mut market = Market::new(3, 8);
    let mut scanner = Scanner::new(3, 1).unwrap();
    assert_eq!(scanner.warmup_ticks(), 752);
    for tick in 0..760 {
        let scan = scanner.step(market.tick());
        for (w, &window) in WINDOWS.iter().enumerate() {
            assert_eq!(scan.lambda[w].is_finite(), tick >= window, "lambda of {window} at {tick}");
            assert_eq!(scan.velocity[w].is_finite(), tick > window, "velocity of {window} at {tick}");
        }
        assert_eq!(scan.instability_50.is_finite(), tick > 50);
        assert_eq!(scan.vel_div.is_finite() && scan.instability_150.is_finite(), tick > 150);
    }
}

#[test]
fn a_market_that_stands_still_has_the_identity_for_its_matrix() {
    let mut scanner = Scanner::new(4, 1).unwrap();
    for tick in 0..900 {
        let scan = scanner.step(&[1.0, f64::NAN, 3.0, 1e-9]);
        assert!(scanner.health().is_sound());
        if tick > 750 {
            assert_eq!((scan.lambda, scan.velocity), ([0.25; 4], [0.0; 4]));
            assert_eq!((scan.vel_div, scan.instability_50, scan.instability_150), (0.0, 0.0, 0.0));
        }
    }
}

#[test]
fn prices_at_the_edges_of_f64_do_no_harm() {
    let edges = [f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0, f64::INFINITY, f64::NAN, -0.0, 1e300];
    let mut random = Random(77);
    let mut scanner = Scanner::new(4, 1).unwrap();
    for tick in 0..2000 {
        let prices: [f64; 4] = std::array::from_fn(|_| edges[(random.next() % 8) as usize]);
        let scan = scanner.step(&prices);
        assert!(scanner.health().is_sound(), "tick {tick}: {}", scanner.health());
        if tick > 750 {
            for lambda in scan.lambda {
                assert!((0.25 - TOLERANCE..=1.0 + TOLERANCE).contains(&lambda), "tick {tick}: {scan:?}");
            }
            assert!(
                scan.vel_div.is_finite()
                    && scan.instability_50.is_finite()
                    && scan.instability_150.is_finite()
            );
        }
    }
}

#[test]
fn a_check_of_a_copy_is_a_full_decomposition() {
    for (assets, stride) in [(1, 1), (3, 2), (20, 1), (48, 3)] {
        let (mut scanner, mut market) = (Scanner::new(assets, stride).unwrap(), Market::new(assets, 12));
        let mut oracle = Full::default();
        let mut check = Check::new(assets);
        assert!(!scanner.fill_check(0, &mut check), "nothing to copy before the window is full");
        for tick in 0..scanner.warmup_ticks() + 2 * stride {
            let scan = scanner.step(market.tick());
            if tick % stride == 0 {
                oracle.push(&market.prices);
            }
            if tick % stride != 0 || tick < scanner.warmup_ticks() {
                continue;
            }
            for (w, &window) in WINDOWS.iter().enumerate() {
                assert!(scanner.fill_check(w, &mut check));
                assert_eq!((check.window(), check.claimed()), (window, scan.lambda[w]));
                let verdict = check.verify();
                let want = full::decompose(&oracle.correlation(window).unwrap()).lambda;
                assert!((verdict.found - want).abs() < 1e-12, "{assets} assets, window {window}");
                assert!(verdict.agrees() && verdict.window == window);
                scanner.take_verdict(&verdict);
            }
            assert!(scanner.health().is_sound() && scanner.check_copy(4).is_none());
        }
    }
}

#[test]
fn sizes_out_of_range_are_refused() {
    assert!(Scanner::new(0, 1).is_err() && Scanner::new(1025, 1).is_err());
    assert!(Scanner::new(1, 0).is_err() && Scanner::new(1, 501).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_mix_of_odd_assets_agrees(
        seed in any::<u64>(),
        common in 0.0f64..2.0,
        sector in 0.0f64..2.0,
        quirks in prop::collection::vec(0usize..9, 1..9),
    ) {
        use Quirk::*;
        let all = [Constant, StopAndGo, ConstantReturn, Collinear, Inverse, Missing, LateStart, Glitch, Plain];
        let quirks: Vec<Quirk> = quirks.into_iter().map(|q| all[q]).collect();
        let mut market = Market::new(quirks.len(), seed);
        (market.common, market.sector) = (common, sector);
        compare(quirks.len(), 420, |t| t > 40 && t % 10 < 4, |t| quirky(market.tick(), &quirks, t));
    }
}

/// A prepared step has the bits of a plain one, whether its prices come or others, and with the marks of a check between.
#[test]
fn a_prepared_step_is_the_plain_one() {
    for (assets, stride, ticks) in [(7, 3, 700), (104, 1, 180)] {
        let mut market = Market::new(assets, 11);
        let mut random = Random(5);
        let (mut plain, mut ahead) =
            (Scanner::new(assets, stride).unwrap(), Scanner::new(assets, stride).unwrap());
        let mut prices = market.tick().to_vec();
        for tick in 0..ticks {
            // What is expected, then what comes: the same, or other prices, or one missing.
            let guesses = random.next() % 3;
            for _ in 0..guesses {
                prices.copy_from_slice(market.tick());
                if random.next().is_multiple_of(5) {
                    prices[random.next() as usize % assets] = f64::NAN;
                }
                ahead.prepare(&prices);
            }
            if random.next().is_multiple_of(3) {
                prices[random.next() as usize % assets] *= 1.001;
            }
            if random.next().is_multiple_of(40)
                && let Some(check) = plain.check_copy(plain.check_due())
            {
                let verdict = check.verify();
                plain.take_verdict(&verdict);
                ahead.take_verdict(&verdict);
            }
            let (a, b) = (plain.step(&prices), ahead.step(&prices));
            let bits = |s: &Scan| {
                let all = [&s.lambda[..], &s.velocity, &[s.vel_div, s.instability_50, s.instability_150]];
                all.concat().into_iter().map(f64::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(bits(&a), bits(&b), "tick {tick}");
            assert_eq!(plain.health(), ahead.health());
        }
        assert_eq!(plain.prepared(), 0);
        let prepared = ahead.prepared() as usize;
        assert!(prepared > ticks / 4 && prepared < ticks * 3 / 4, "{prepared} of {ticks}");
    }
}
