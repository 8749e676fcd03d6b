//! The champion's headline numbers (SPEC §1), beside which every run is put.

use alpha::Metrics;

/// Name in `summary.json`, value, half a unit of its last printed digit.
pub(crate) const FIGURES: [(&str, f64, f64); 5] = [
    ("roi", 0.5467, 0.000_05),
    ("profit_factor", 1.141, 0.000_5),
    ("sharpe", 2.84, 0.005),
    ("max_drawdown", 0.1580, 0.000_05),
    ("win_rate", 0.495, 0.000_5),
];

/// A headline number of the champion by its name in `summary.json`.
pub fn figure(name: &str) -> Option<f64> {
    FIGURES.iter().find(|(n, ..)| *n == name).map(|&(_, value, _)| value)
}

/// A headline number of a run by its name in `summary.json`.
pub(crate) fn headline(metrics: &Metrics, name: &str) -> Option<f64> {
    match name {
        "roi" => Some(metrics.roi),
        "profit_factor" => metrics.profit_factor,
        "sharpe" => metrics.sharpe,
        "max_drawdown" => Some(metrics.max_drawdown),
        "win_rate" => metrics.win_rate,
        _ => None,
    }
}
