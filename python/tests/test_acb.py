"""ACB: three scales, pushes, cuts to a size."""

import math

import pytest
from conftest import SYMBOLS, enter, warmed

import dolphin_engine as de
from dolphin_engine.acb import AdaptiveCircuitBreaker, apply_cut_to_position_size


@pytest.mark.parametrize(("n", "boost"), [(0, 1.0), (1, 1 + 0.5 * math.log(2)), (3, 1 + 0.5 * math.log(4)), (1000, 2.0)])
def test_base_boost_by_the_number_of_signals(n, boost):
    assert de.base_boost(n) == boost


def test_the_factors_of_a_date_make_its_boost():
    engine = de.NDAlphaEngine(None, SYMBOLS)
    engine.set_acb(AdaptiveCircuitBreaker({"2026-01-06": 3}))
    boosts = []
    for day in ("2026-01-05", "2026-01-06", "2026-01-07"):
        engine.begin_day(day)
        boosts.append(engine._day_base_boost)
        engine.end_day()
    assert boosts == [1.0, 1 + 0.5 * math.log(4), 1.0]


def test_beta_is_low_without_a_threshold():
    engine = de.NDAlphaEngine(None, SYMBOLS)
    engine.begin_day("2026-01-05")
    engine.step_bar(0, 0.0, [1.0] * 4, v750_vel=9.0)
    assert engine._day_beta == 0.2 and engine.acb_threshold is None


def test_beta_follows_the_threshold_after_ten_days():
    engine = de.NDAlphaEngine(None, SYMBOLS)
    for n in range(1, 11):
        engine.begin_day(f"2026-01-{n:02d}")
        engine.step_bar(0, 0.0, [1.0] * 4, v750_vel=float(n))
        engine.end_day()
    engine.begin_day("2026-01-11")
    import numpy as np

    assert engine.acb_threshold == np.percentile(np.arange(1.0, 11.0), 60)
    for v750, beta in ((6.0, 0.2), (7.0, 0.8), (math.nan, 0.2)):
        engine.step_bar(0, 0.0, [1.0] * 4, v750_vel=v750)
        assert engine._day_beta == beta


def test_a_push_overrides_both_until_the_next():
    engine = de.NDAlphaEngine(None, SYMBOLS)
    engine.begin_day("2026-01-05")
    assert engine.update_acb_boost(1.5, 0.7) is True
    engine.end_day()
    engine.begin_day("2026-01-06")
    assert (engine._day_base_boost, engine._day_beta) == (1.5, 0.7)
    engine.update_acb_boost(0.5, 2.0)
    assert (engine._day_base_boost, engine._day_beta) == (0.5, 2.0)


@pytest.mark.parametrize(("boost", "beta"), [(0.49, 0.5), (2.01, 0.5), (math.nan, 0.5), (1.0, -0.1), (1.0, 2.1), (1.0, math.nan)])
def test_a_bad_push_is_refused_counted_and_changes_nothing(boost, beta):
    engine = de.NDAlphaEngine(None, SYMBOLS)
    engine.begin_day("2026-01-05")
    with pytest.warns(RuntimeWarning):
        assert engine.update_acb_boost(boost, beta) is False
    assert engine.acb_rejects == 1 and engine._day_base_boost == 1.0


@pytest.mark.parametrize("text", ["boost", "[1]", '{"boost": 1}', '{"boost": NaN, "beta": 0}', '{"boost": "1", "beta": 0}'])
def test_a_push_that_is_no_push(text):
    with pytest.raises(de.DataError):
        de.parse_acb_push(text)


def test_the_product_scales_the_position(market):
    engine, bar = warmed(market)
    engine.update_acb_boost(1.5, 0.7)
    enter(engine, market, bar, vel_div=-0.04)
    mult = 1.5 * (1 + 0.7 * 8.0)
    assert engine.regime_size_mult == pytest.approx(mult, rel=1e-15)
    strength = 0.02 / 0.03
    base = 0.5 + 4.5 * strength**3
    assert engine.position["leverage"] == pytest.approx(min(base * mult, 6.0), rel=1e-12)
    assert engine.position["notional"] == pytest.approx(25_000 * 0.2 * engine.position["leverage"])


@pytest.mark.parametrize("cut", [0.0, 0.15, 0.45, 0.55, 0.75, 0.80])
def test_cut_to_position_size(cut):
    assert apply_cut_to_position_size(100.0, cut) == 100.0 * (1 - cut)


@pytest.mark.parametrize("cut", [0.1, 1.0, -0.15, math.nan])
def test_an_unknown_cut_is_an_error(cut):
    with pytest.raises(de.ConfigError, match="is not one of"):
        apply_cut_to_position_size(100.0, cut)


def test_factors_from_a_file(tmp_path):
    path = tmp_path / "factors.json"
    path.write_text('{"2026-01-06": 2}')
    acb = AdaptiveCircuitBreaker.from_file(path)
    assert acb.base_boost("2026-01-06") == de.base_boost(2) and acb.base_boost("2026-01-07") == 1.0
    path.write_text("{")
    with pytest.raises(de.DataError):
        AdaptiveCircuitBreaker.from_file(path)
