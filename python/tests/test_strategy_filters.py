"""What stops an entry: signal, direction confirmation, alignment, excluded assets."""

import numpy as np
import pytest
from conftest import Market, enter, warmed

import dolphin_engine as de


@pytest.mark.parametrize(("vel_div", "fires"), [(-0.02, True), (-0.0199, False), (0.05, False), (np.nan, False)])
def test_the_signal_fires_at_the_threshold(vel_div, fires, market):
    engine, bar = warmed(market)
    gates = {engine.step_bar(bar + i, vel_div, market.row()).gate for i in range(30)}
    assert ("signal" not in gates) == fires


def test_the_reference_must_confirm_the_direction():
    market = Market()
    engine, bar = warmed(market)
    for i in range(10):
        result = engine.step_bar(bar + i, 0.0, market.row(drift=0.002, noise=0.0))
    result = engine.step_bar(bar + 10, -0.04, market.row(drift=0.002, noise=0.0))
    assert result.gate == "direction" and result.values["dc_move_bps"] < 0.75


def test_an_asset_must_be_aligned_and_fall_more_than_the_mean(market):
    market.noise = 0.0015
    engine, bar = warmed(market, {"min_irp_alignment": 1.0})
    for i in range(20):
        assert engine.step_bar(bar + i, -0.04, market.row()).gate in ("asset", "direction")
    market = Market()
    engine, bar = warmed(market)
    result, _ = enter(engine, market, bar)
    assert result.symbol == "SOLUSDT" and result.values["best_alignment"] >= 0.45


def test_excluded_assets_are_never_entered():
    market = Market()
    engine, bar = warmed(market, {"excluded_assets": ["SOLUSDT"]})
    for i in range(100):
        engine.step_bar(bar + i, -0.04, market.row())
    entered = {t["symbol"] for t in engine.trade_history} | ({engine.position["symbol"]} if engine.position else set())
    assert "SOLUSDT" not in entered
    assert "SOLUSDT" in de.params({"excluded_assets": ["SOLUSDT"]})["excluded_assets"]


@pytest.mark.parametrize(("vel_div", "bucket"), [(-0.08, 0), (-0.06, 1), (-0.04, 2), (-0.025, 3)])
def test_the_strength_has_a_bucket(vel_div, bucket, market):
    engine, bar = warmed(market)
    enter(engine, market, bar, vel_div=vel_div)
    assert engine.position["bucket"] == bucket


def test_the_posture_stops_everything(market):
    engine = de.NDAlphaEngine(None, market.symbols)
    engine.begin_day("2026-01-05", "HIBERNATE", 0.2)
    assert {engine.step_bar(i, -0.04, market.row()).gate for i in range(150)} == {"posture"}
    assert engine.global_bar_idx == 0
