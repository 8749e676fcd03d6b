"""The volatility regime: warm-up, the detector, the caller's own word."""

import numpy as np
import pytest
from conftest import Market, warmed

import dolphin_engine as de


def test_nothing_is_entered_before_the_warm_up(market):
    engine = de.NDAlphaEngine(None, market.symbols)
    engine.begin_day("2026-01-05")
    gates = [engine.step_bar(bar, -0.04, market.row()).gate for bar in range(100)]
    assert set(gates) == {"volatility"}
    assert engine.step_bar(100, -0.04, market.row()).gate != "volatility"


def test_it_is_the_population_deviation_of_the_last_fifty_returns(market):
    engine = de.NDAlphaEngine(None, market.symbols)
    engine.begin_day("2026-01-05")
    prices = []
    for bar in range(160):
        row = market.row()
        prices.append(row[0])
        result = engine.step_bar(bar, 0.0, row)
    returns = np.diff(prices)[-50:] / np.array(prices)[-51:-1]
    assert result.vol_std == pytest.approx(returns.std(ddof=0), rel=1e-9)


def test_a_quiet_market_keeps_the_gate_shut():
    market = Market()
    engine, bar = warmed(market)
    for bar in range(bar, bar + 60):
        engine.step_bar(bar, 0.0, market.row(drift=-0.0001, noise=0.0))
    result = engine.step_bar(bar + 1, -0.04, market.row(drift=-0.0001, noise=0.0))
    assert result.gate == "volatility" and result.vol_std < 0.000099


def test_the_threshold_must_be_exceeded(market):
    engine, bar = warmed(market, {"vol_p60": 0.5})
    assert engine.step_bar(bar, -0.04, market.row()).gate == "volatility"


def test_gate_warmup_asks_for_the_first_condition_alone():
    market = Market()
    engine = de.NDAlphaEngine({"vol_gate": "warmup"}, market.symbols)
    engine.begin_day("2026-01-05")
    for bar in range(101):
        result = engine.step_bar(bar, 0.0, market.row(noise=0.0))
    assert result.gate == "signal"


@pytest.mark.parametrize(("ok", "gate"), [(True, "signal"), (False, "volatility"), (np.True_, "signal")])
def test_a_caller_may_pass_its_own_word(ok, gate, market):
    engine = de.NDAlphaEngine(None, market.symbols)
    engine.begin_day("2026-01-05")
    assert engine.step_bar(0, 0.0, market.row(), ok).gate == gate


def test_a_gap_in_the_history_does_not_open_it(market):
    engine = de.NDAlphaEngine(None, market.symbols)
    engine.begin_day("2026-01-05")
    for bar in range(140):
        row = market.row()
        row[0] = np.nan
        result = engine.step_bar(bar, -0.04, row)
    assert result.gate == "volatility"
