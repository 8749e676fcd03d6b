"""Metrics by their formulas."""

import numpy as np
import pytest

import dolphin_engine as de
from dolphin_engine.monitor import MetricsMonitor


def test_nothing_happened():
    found = de.metrics(100.0, [], [])
    assert found == {"roi": 0.0, "profit_factor": None, "sharpe": None, "max_drawdown": 0.0, "win_rate": None, "trades": 0}


def test_by_hand():
    found = de.metrics(100.0, [(10.0, 110.0), (-22.0, 88.0), (11.0, 99.0), (0.0, 99.0)], [88.0, 99.0])
    assert (found["trades"], found["win_rate"], found["profit_factor"]) == (4, 0.5, 21 / 22)
    assert found["max_drawdown"] == pytest.approx(0.2)
    returns = np.array([88 / 100 - 1, 99 / 88 - 1])
    assert found["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(365))


def test_an_engine_s_metrics_equal_the_replay_s(synthetic):
    found = de.list_days(synthetic)
    engine = de.NDAlphaEngine(None, found["assets"])
    monitor = MetricsMonitor(engine)
    for date in found["dates"]:
        day = de.read_day(synthetic, date)
        vel, v750 = day.column("vel_div"), day.column("v750")
        engine.begin_day(date)
        for i, row in enumerate(day.prices):
            engine.step_bar(i, vel[i], row, None, 0.0, v750[i])
        monitor.end_day(engine.end_day())
    summary, whole = monitor.summary(), de.replay(synthetic).summary
    for name in ("roi", "profit_factor", "sharpe", "max_drawdown", "win_rate", "trades"):
        assert summary[name] == whole[name], name
    assert sum(summary["gates"].values()) == whole["bars"]


def test_a_capital_that_cannot_be():
    for capital in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(de.ConfigError):
            de.metrics(capital, [], [])
