//! Exponential and logarithm by additions, multiplications and divisions alone, which are the same on every machine; the
//! system's own differ in the last bit between versions and processors, and a seed must be one market everywhere. The
//! methods are those of Sun's fdlibm (`e_exp.c`, `e_log.c`): errors below one unit in the last place.

const LN2_HI: f64 = 6.931_471_803_691_238e-1;
const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;

/// `2^n` for `-1022 ≤ n ≤ 1023`.
fn power_of_two(n: i64) -> f64 {
    f64::from_bits(((1023 + n) as u64) << 52)
}

/// `e^x` for `|x| ≤ 700`; beyond, as at that end.
pub(super) fn exp(x: f64) -> f64 {
    const P: [f64; 5] = [
        1.666_666_666_666_660_2e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    let x = x.clamp(-700.0, 700.0);
    let k = (x * std::f64::consts::LOG2_E).round();
    let (hi, lo) = (x - k * LN2_HI, k * LN2_LO);
    let r = hi - lo;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((lo - (r * c) / (2.0 - c)) - hi);
    y * power_of_two(k as i64)
}

/// `ln x` for normal `x > 0`.
pub(super) fn ln(x: f64) -> f64 {
    const L: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    // x = 2^k · m with m in [√½, √2).
    let bits = x.to_bits();
    let mut k = ((bits >> 52) as i64) - 1023;
    let mut m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        k += 1;
    }
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (L[1] + w * (L[3] + w * L[5]));
    let odd = z * (L[0] + w * (L[2] + w * (L[4] + w * L[6])));
    let half = 0.5 * f * f;
    let k = k as f64;
    k * LN2_HI - ((half - (s * (half + even + odd) + k * LN2_LO)) - f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units of the last place.
    fn ulps(a: f64, b: f64) -> i64 {
        (a.to_bits() as i64 - b.to_bits() as i64).abs()
    }

    #[test]
    fn they_are_the_functions_they_are_named_after() {
        let mut x = -40.0;
        while x < 40.0 {
            assert!(ulps(exp(x), x.exp()) <= 1, "exp {x}: {} {}", exp(x), x.exp());
            let y = x.exp();
            if y > 1e-12 && (x.abs() > 1e-3) {
                assert!(ulps(ln(y), y.ln()) <= 1, "ln {y}: {} {}", ln(y), y.ln());
            }
            x += 0.001_37;
        }
        assert_eq!((exp(0.0), ln(1.0)), (1.0, 0.0));
        for y in [1e-300, 2.5e-17, 84_550.0, 1e300] {
            assert!(ulps(ln(y), y.ln()) <= 1, "{y}");
        }
    }

    #[test]
    fn a_few_bits_are_the_same_everywhere() {
        // What any machine computes: the additions and multiplications above leave no choice.
        let bits = [exp(1.0), exp(-0.3), ln(84_550.0), ln(0.3)].map(f64::to_bits);
        let expected = [
            4_613_303_445_314_885_482,
            4_604_847_916_870_499_333,
            4_622_576_340_644_886_834,
            13_831_473_067_500_349_217,
        ];
        assert_eq!(bits, expected);
    }
}
