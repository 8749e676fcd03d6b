//! Signal, strength and size: the formulas of layers 1 and 6 (SPEC §3.6, §3.8).

use market::Posture;

use crate::params::Params;

/// Which way `vel_div` fires: −1 SHORT, +1 LONG, 0 not. `direction` as configured: −1, +1 or 0 for both. NaN never
/// fires, nor does an infinite value: no scan gives one.
pub fn fires(vel_div: f64, threshold: f64, direction: i8) -> i8 {
    if vel_div.is_infinite() {
        0
    } else if direction <= 0 && vel_div <= threshold {
        -1
    } else if direction >= 0 && -vel_div <= threshold {
        1
    } else {
        0
    }
}

/// `vel_div` seen from the trade's side: the lower, the stronger.
pub fn signed(vel_div: f64, direction: i8) -> f64 {
    if direction < 0 { vel_div } else { -vel_div }
}

/// Strength bucket: 0 extreme, 1 strong, 2 moderate, 3 weak.
pub fn bucket(vd: f64) -> u8 {
    match vd {
        v if v <= -0.075 => 0,
        v if v <= -0.050 => 1,
        v if v <= -0.035 => 2,
        _ => 3,
    }
}

/// The hard leverage limit in force: `max(1, abs_max_leverage·Rm)`, in STALKER also ≤ 2.
pub fn abs_max_effective(params: &Params, posture: Posture, rm: f64) -> f64 {
    let limit = (params.abs_max_leverage * rm).max(1.0);
    if posture == Posture::Stalker { limit.min(2.0) } else { limit }
}

/// The ACB's three scales as they apply to one bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scales {
    /// Scale 1 (after proxy_b).
    pub boost: f64,
    /// Scale 2.
    pub beta: f64,
    /// Scale 3.
    pub mc_scale: f64,
}

/// `(leverage, mult)` for a signal `vd`. Where `min_leverage` is above the hard limit, the limit wins.
pub fn leverage(params: &Params, vd: f64, scales: Scales, abs_max: f64) -> (f64, f64) {
    let (threshold, extreme) = (params.vel_div_threshold, params.vel_div_extreme);
    let strength = ((threshold - vd) / (threshold - extreme)).clamp(0.0, 1.0);
    let base = if params.use_dynamic_leverage {
        params.min_leverage
            + (params.max_leverage - params.min_leverage) * strength.powf(params.leverage_convexity)
    } else {
        1.0
    };
    let ratio = vd.abs() / threshold.abs();
    let cubic = ratio * ratio * ratio;
    let mult = scales.boost * (1.0 + scales.beta * cubic) * scales.mc_scale;
    ((base * mult).max(params.min_leverage).min(abs_max), mult)
}
