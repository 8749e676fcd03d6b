"""The fee model of the SmartPlacer: maker or taker, by draws, by order-book features, by expectation."""

import numpy as np
import pytest
from conftest import Market, enter, ob_record, warmed

import dolphin_engine as de


def trade_of(market, params=None, **step):
    engine, bar = warmed(market, params)
    _, bar = enter(engine, market, bar, **step)
    for i in range(125):
        if engine.step_bar(bar + i, 0.0, market.row(0.0, 0.00005)).action == "exited":
            return engine.last_trade
    raise AssertionError("never closed")


def features(symbols, **changes):
    return {s: ob_record(s, 0.0, **changes) for s in symbols}


def test_entry_and_exit_draw_from_numpy_s_generator(market):
    trade = trade_of(market)
    first, second = np.random.RandomState(42).random_sample(2)
    assert (trade["maker_entry"], trade["maker_exit"]) == (bool(first < 0.62), bool(second < 0.50))
    fee = sum(-0.0002 if maker else 0.0004 for maker in (trade["maker_entry"], trade["maker_exit"]))
    assert trade["fees"] == pytest.approx(trade["notional"] * fee, rel=1e-12)


def test_the_fill_probability_scales_the_entry_rate():
    # The first draw for 42 is 0.3745: maker at a rate of 0.62 * p / 0.8 above it.
    maker = {}
    for p in (0.60, 0.8):
        market = Market()
        engine, bar = warmed(market, {"seed": 0, "min_fill_probability": 0.1, "sp_maker_entry_rate": 0.6})
        draw = np.random.RandomState(0).random_sample()
        enter(engine, market, bar, ob=features(market.symbols, fill_probability=p, fill_probability_bid=p, fill_probability_ask=p))
        maker[p] = (engine.position["maker_entry"], bool(draw < 0.6 * p / 0.8))
    assert all(ours == expected for ours, expected in maker.values())
    assert len({ours for ours, _ in maker.values()}) == 2, "0.5488 lies between the two rates"


def test_a_low_fill_probability_is_not_entered(market):
    engine, bar = warmed(market)
    low = features(market.symbols, fill_probability=0.5, fill_probability_bid=0.5, fill_probability_ask=0.5)
    for i in range(30):
        assert engine.step_bar(bar + i, -0.04, market.row(), ob=low).gate in ("asset", "direction")
    assert engine.position is None


@pytest.mark.parametrize("change", [{"spread_proxy_bps": 6.0}, {"depth_asymmetry": 0.3}, {"imbalance_persistence": -0.2}])
def test_a_book_that_contradicts_is_not_entered(change, market):
    engine, bar = warmed(market)
    for i in range(30):
        result = engine.step_bar(bar + i, -0.04, market.row(), ob=features(market.symbols, **change))
        assert result.gate in ("asset", "direction")


def test_without_the_alpha_layers_everything_is_taker(market):
    trade = trade_of(market, {"use_alpha_layers": False})
    assert (trade["symbol"], trade["maker_entry"], trade["maker_exit"]) == ("BTCUSDT", False, False)
    assert trade["fees"] == pytest.approx(trade["notional"] * 0.0008, rel=1e-12)


def test_the_expected_fee_draws_nothing(market):
    trade = trade_of(market, {"fee_model": "expected"})
    assert (trade["maker_entry"], trade["maker_exit"]) == (None, None)
    rate = 0.62 * -0.0002 + 0.38 * 0.0004 + 0.5 * -0.0002 + 0.5 * 0.0004
    assert trade["fees"] == pytest.approx(trade["notional"] * rate, rel=1e-12)


def test_the_agreement_of_the_books_raises_a_score():
    scores = {}
    for signal in (0, -1):
        market = Market()
        engine, bar = warmed(market)
        books = features(market.symbols, regime_signal=signal, agreement_pct=0.8, macro_imbalance=0.1)
        result, _ = enter(engine, market, bar, ob=books)
        scores[signal] = result.values["best_score"]
    assert scores[-1] == pytest.approx(scores[0] * (1 + 0.8 * max(0, -(-0.3 - 0.1))), rel=1e-9)
    assert isinstance(de.ObView.from_json("{}", ["A"]).fresh, list)
