//! What a run amounts to (SPEC §3.12). Undefined values are `None`, never NaN.

use serde::{Deserialize, Serialize};

/// The metrics of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Final capital ÷ initial capital − 1.
    pub roi: f64,
    /// Σ wins ÷ |Σ losses|; undefined without a loss.
    pub profit_factor: Option<f64>,
    /// Annualised by √365 over daily returns; undefined below two days or without variation.
    pub sharpe: Option<f64>,
    /// Largest fall of the equity after a trade from its peak, as a fraction; 0 without trades.
    pub max_drawdown: f64,
    /// Share of trades with pnl > 0; undefined without trades.
    pub win_rate: Option<f64>,
    /// Closed trades.
    pub trades: u64,
}

impl Metrics {
    /// From the capital at the start, each trade's `(pnl, capital_after)` in order, and the capital at the end of
    /// each day replayed.
    pub fn new(
        initial_capital: f64,
        trades: impl IntoIterator<Item = (f64, f64)>,
        daily_capital: &[f64],
    ) -> Self {
        let (mut wins, mut losses, mut won, mut count) = (0.0, 0.0, 0u64, 0u64);
        let (mut peak, mut max_drawdown, mut last) = (initial_capital, 0.0f64, initial_capital);
        for (pnl, equity) in trades {
            count += 1;
            if pnl > 0.0 {
                wins += pnl;
                won += 1;
            } else {
                losses += pnl;
            }
            peak = peak.max(equity);
            max_drawdown = max_drawdown.max((peak - equity) / peak);
            last = equity;
        }
        let last = daily_capital.last().copied().unwrap_or(last);
        Self {
            roi: last / initial_capital - 1.0,
            profit_factor: (losses != 0.0).then(|| wins / f64::abs(losses)),
            sharpe: sharpe(initial_capital, daily_capital),
            max_drawdown,
            win_rate: (count > 0).then(|| won as f64 / count as f64),
            trades: count,
        }
    }
}

fn sharpe(initial: f64, daily_capital: &[f64]) -> Option<f64> {
    let before = std::iter::once(&initial).chain(daily_capital);
    let returns: Vec<f64> =
        daily_capital.iter().zip(before).map(|(now, before)| now / before - 1.0).collect();
    let n = returns.len() as f64;
    if returns.len() < 2 {
        return None;
    }
    let mean = returns.iter().sum::<f64>() / n;
    let variance = returns.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / (n - 1.0);
    (variance > 0.0).then(|| mean / variance.sqrt() * 365f64.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happened() {
        let m = Metrics::new(100.0, [], &[]);
        let undefined = (m.profit_factor, m.sharpe, m.win_rate);
        assert_eq!((undefined, m.roi, m.max_drawdown), ((None, None, None), 0.0, 0.0));
        assert_eq!(Metrics::new(100.0, [], &[100.0, 100.0, 100.0]).sharpe, None);
    }

    #[test]
    fn by_hand() {
        let m = Metrics::new(100.0, [(10.0, 110.0), (-22.0, 88.0), (11.0, 99.0), (0.0, 99.0)], &[88.0, 99.0]);
        assert_eq!((m.trades, m.win_rate, m.profit_factor), (4, Some(0.5), Some(21.0 / 22.0)));
        assert!((m.max_drawdown - 0.2).abs() < 1e-15);
        assert!((m.roi + 0.01).abs() < 1e-15);
        // Daily returns −0.12 and +0.125: mean 0.0025, sample deviation 0.245/√2.
        let expected = 0.0025 / (0.245 / 2f64.sqrt()) * 365f64.sqrt();
        assert!((m.sharpe.unwrap() - expected).abs() < 1e-12);
    }
}
