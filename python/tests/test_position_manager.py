"""A position: its size, its three exits, what a trade books."""

import numpy as np
import pytest
from conftest import Market, enter, warmed

import dolphin_engine as de


def held(market, **kwargs):
    engine, bar = warmed(market, **kwargs)
    result, bar = enter(engine, market, bar)
    column = market.symbols.index(result.symbol)
    return engine, bar, column, engine.position


def test_take_profit(market):
    engine, bar, column, position = held(market)
    row = market.row(0.0, 0.0)
    row[column] = position["entry_price"] * (1 - 0.0096)
    result = engine.step_bar(bar, 0.0, row)
    assert (result.action, result.reason) == ("exited", "TP")
    trade = engine.last_trade
    gross = position["notional"] * -1 * (trade["exit_price"] / trade["entry_price"] - 1)
    assert trade["gross_pnl"] == gross and trade["pnl"] == gross - trade["fees"]
    assert engine.capital == 25_000 + trade["pnl"] == trade["capital_after"]
    assert engine.position is None


def test_stop():
    market = Market()
    engine, bar, column, position = held(market, params={"stop_pct": 0.01})
    row = market.row(0.0, 0.0)
    row[column] = position["entry_price"] * 1.011
    assert engine.step_bar(bar, 0.0, row).reason == "STOP"
    assert engine.capital < 25_000


def test_longest_holding_time_counts_bars_and_uses_the_last_known_price(market):
    engine, bar, column, position = held(market)
    for i in range(120):
        row = np.full(4, np.nan)
        result = engine.step_bar(bar + i, -0.04, row)
        assert (result.action == "exited") == (i == 119)
    trade = engine.last_trade
    assert (trade["reason"], trade["bars_held"]) == ("MAX_HOLD", 120)
    assert trade["exit_price"] == position["entry_price"]


def test_the_tick_of_an_exit_never_enters(market):
    engine, bar, column, position = held(market)
    row = market.row()
    row[column] = position["entry_price"] * 0.98
    assert engine.step_bar(bar, -0.04, row).gate == "exited"
    assert engine.position is None


def test_a_position_lives_across_days(market):
    engine, bar, column, position = held(market)
    engine.end_day()
    engine.begin_day("2026-01-06")
    assert engine.position == position
    row = market.row(0.0, 0.0)
    row[column] = position["entry_price"] * 0.98
    engine.step_bar(0, 0.0, row)
    assert (engine.last_trade["entry_date"], engine.last_trade["exit_date"]) == ("2026-01-05", "2026-01-06")


def test_one_position_at_a_time(market):
    engine, bar, _, position = held(market)
    for i in range(20):
        assert engine.step_bar(bar + i, -0.09, market.row(0.0, 0.00005)).gate in ("holding", "exited")


def test_hibernate_steps_nothing_not_even_an_exit(market):
    engine, bar, column, position = held(market)
    engine.push_safety("HIBERNATE", 0.1)
    row = market.row()
    row[column] = position["entry_price"] * 0.9
    assert engine.step_bar(bar, 0.0, row).gate == "posture"
    assert engine.position == position


def test_stalker_holds_the_leverage_at_two(market):
    engine, bar = warmed(market, posture="STALKER")
    enter(engine, market, bar, vel_div=-0.09)
    assert engine.position["leverage"] == 2.0
    assert de.posture_of(0.8) == "STALKER"
