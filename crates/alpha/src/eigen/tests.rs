//! What the scanner relies on inside: the bound of the second eigenvalue holds, and each watch sees what it is for.

use super::gram::Gram;
use super::*;
use faer::{Mat, Side};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// A market whose common factor comes and goes, with outliers and assets that stand still for a while.
struct Market {
    random: Random,
    prices: Vec<f64>,
    bar: usize,
}

impl Market {
    fn new(assets: usize, seed: u64) -> Self {
        Self { random: Random(seed), prices: vec![10.0; assets], bar: 0 }
    }

    fn tick(&mut self) -> &[f64] {
        self.bar += 1;
        let strength = (1.0 + (self.bar as f64 / 60.0).sin()).max(0.0);
        let common = strength * self.random.normal();
        for (i, price) in self.prices.iter_mut().enumerate() {
            let jump = if self.random.uniform() < 0.005 { 20.0 } else { 1.0 };
            let own = jump * self.random.normal();
            if i % 5 != 0 || self.bar / 70 % 2 == i / 5 % 2 {
                *price *= (3e-4 * (common + own)).exp();
            }
        }
        &self.prices
    }
}

#[test]
fn the_second_eigenvalue_is_never_above_its_ceiling() {
    // 84: triangles; 320: rows for the two short windows.
    for (assets, bars, every) in [(2, 900, 1), (7, 900, 1), (48, 900, 3), (84, 800, 40), (320, 340, 20)] {
        let mut scanner = Scanner::new(assets, 1).unwrap();
        let mut market = Market::new(assets, assets as u64);
        let mut finite = 0;
        for bar in 0..bars {
            scanner.step(market.tick());
            if bar % every != 0 {
                continue;
            }
            for index in 0..4 {
                let Some(check) = scanner.check_copy(index) else { continue };
                let c = check.correlation();
                let c = Mat::from_fn(assets, assets, |i, j| c[i * assets + j]);
                let all = c.self_adjoint_eigenvalues(Side::Lower).unwrap();
                let ceiling = scanner.phases[0].windows[index].ceiling();
                // Still assets have an eigenvalue of 1 each, which the bound leaves out.
                let second = all[assets - 2];
                assert!(
                    second <= ceiling.max(1.0) + 1e-9,
                    "{assets} assets, bar {bar}, window {}: {second} above {ceiling}",
                    WINDOWS[index]
                );
                finite += usize::from(ceiling.is_finite());
            }
        }
        assert!(finite > 10, "{assets} assets: a ceiling that is never there proves nothing");
    }
}

fn warm(assets: usize) -> (Scanner, Market) {
    let (mut scanner, mut market) = (Scanner::new(assets, 1).unwrap(), Market::new(assets, 3));
    for _ in 0..scanner.warmup_ticks() {
        scanner.step(market.tick());
    }
    assert!(scanner.health().is_sound());
    (scanner, market)
}

/// Steps until a check of the marked window clears it; returns the bars it took.
fn heal(scanner: &mut Scanner, market: &mut Market) -> usize {
    (1..200)
        .find(|_| {
            scanner.step(market.tick());
            let verdict = scanner.check_copy(scanner.check_due()).unwrap().verify();
            scanner.take_verdict(&verdict);
            scanner.health().is_sound()
        })
        .expect("a marked window heals")
}

#[test]
fn a_decomposition_that_differs_marks_the_window_until_one_agrees() {
    for index in 0..4 {
        let (mut scanner, mut market) = warm(12);
        let early = scanner.check_copy(index).unwrap();
        scanner.step(market.tick());
        scanner.phases[0].lambda[index] += 3e-9;
        let wrong = scanner.check_copy(index).unwrap();
        let verdict = wrong.verify();
        assert!(!verdict.agrees() && (verdict.claimed - verdict.found - 3e-9).abs() < 1e-9);
        scanner.take_verdict(&verdict);
        assert_eq!(scanner.health().faults[index], Some(Fault::Decomposition));
        assert!(scanner.health().to_string().contains(&format!("window {}", WINDOWS[index])));
        assert_eq!(scanner.check_due(), index, "the marked window is the one to check");
        let late = early.verify();
        assert!(late.agrees());
        scanner.take_verdict(&late);
        assert!(!scanner.health().is_sound(), "a copy older than the mark clears nothing");
        assert_eq!(heal(&mut scanner, &mut market), 1);
    }
}

#[test]
fn sums_that_drifted_are_found_by_decomposition_and_made_afresh() {
    let (mut scanner, mut market) = warm(12);
    let Gram::Square(rows) = scanner.phases[0].windows[3].gram() else { panic!("a square at 12 assets") };
    // Both mirror images: the matrix stays symmetric, so no residual can tell.
    let drift = 0.01 * rows[0][0];
    rows[7 * 3][2] += drift;
    rows[2 * 3 + 1][3] += drift;
    scanner.step(market.tick());
    assert!(scanner.health().is_sound());
    let verdict = scanner.check_copy(3).unwrap().verify();
    assert!(!verdict.agrees());
    scanner.take_verdict(&verdict);
    let bars = heal(&mut scanner, &mut market);
    assert!(bars <= 13, "one asset a bar, {bars} bars");
}

#[test]
fn a_matrix_that_is_not_symmetric_is_found_by_a_residual() {
    let (mut scanner, mut market) = warm(12);
    let Gram::Square(rows) = scanner.phases[0].windows[1].gram() else { panic!("a square at 12 assets") };
    rows[7 * 3][2] += 0.1 * rows[0][0];
    for _ in 0..4 {
        scanner.step(market.tick());
    }
    assert_eq!(scanner.health().faults, [None, Some(Fault::Residual), None, None]);
    heal(&mut scanner, &mut market);
}

#[test]
fn a_followed_pair_that_is_not_the_leading_one_is_left() {
    // The scanner is put on the second eigenvector: a run from there stays there, its residual is perfect.
    for index in 0..4 {
        let (mut scanner, mut market) = warm(16);
        let mut twin = scanner.clone();
        let check = scanner.check_copy(index).unwrap();
        let c = check.correlation();
        let c = Mat::from_fn(16, 16, |i, j| c[i * 16 + j]);
        let eigen = c.self_adjoint_eigen(Side::Lower).unwrap();
        let second: Vec<f64> = (0..16).map(|i| eigen.U()[(i, 14)]).collect();
        scanner.phases[0].windows[index].set_vector(&second);
        let prices = market.tick().to_vec();
        let (got, want) = (scanner.step(&prices), twin.step(&prices));
        assert!((got.lambda[index] - want.lambda[index]).abs() < 1e-10, "{got:?} {want:?}");
        assert!(scanner.check_copy(index).unwrap().verify().agrees());
    }
}

#[test]
fn bars_as_a_start_are_their_ticks_one_by_one() {
    for (assets, stride, bars) in [(3, 1, 60), (5, 4, 0), (7, 5, 800), (9, 3, 200)] {
        let mut market = Market::new(assets, 11);
        let mut rows: Vec<Vec<f64>> = (0..bars).map(|_| market.tick().to_vec()).collect();
        // A price that is missing for a while, from the beginning and later.
        rows.iter_mut().take(9).for_each(|row| row[1] = f64::NAN);
        rows.iter_mut().skip(40).take(3).for_each(|row| row[0] = f64::NAN);
        let (mut one, mut all) =
            (Scanner::new(assets, stride).unwrap(), Scanner::new(assets, stride).unwrap());
        let mut said = Vec::new();
        one.warm_bars(rows.iter().map(Vec::as_slice), |scan| said.push(scan));
        for (tick, row) in rows.iter().flat_map(|row| std::iter::repeat_n(row, stride)).enumerate() {
            assert_eq!(format!("{:?}", all.step(row)), format!("{:?}", said[tick / stride]), "tick {tick}");
        }
        for tick in 0..4 * stride {
            let prices = market.tick();
            // NaN is the same as NaN here.
            assert_eq!(format!("{:?}", one.step(prices)), format!("{:?}", all.step(prices)), "tick {tick}");
        }
    }
}
