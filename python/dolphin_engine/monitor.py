"""Metrics of a running engine."""

from __future__ import annotations

from typing import Any

from ._native import NDAlphaEngine, metrics


class MetricsMonitor:
    """The metrics of SPEC 3.12 over an engine's trades and days, at any time."""

    def __init__(self, engine: NDAlphaEngine, initial_capital: float | None = None) -> None:
        self._engine = engine
        self.initial_capital = engine.capital if initial_capital is None else initial_capital
        self._daily: list[float] = []

    def end_day(self, result: Any) -> None:
        """The result of ``NDAlphaEngine.end_day``."""
        if result is not None:
            self._daily.append(float(result["capital"]))

    def summary(self) -> dict[str, Any]:
        """roi, profit_factor, sharpe, max_drawdown, win_rate, trades; and how many steps came to each gate."""
        trades = [(t["pnl"], t["capital_after"]) for t in self._engine.trade_history]
        return {**metrics(self.initial_capital, trades, self._daily), "gates": self._engine.gate_counts()}
