"""The circuit breaker: what trips it, what resets it, that it never blocks an exit."""

import pytest
from conftest import enter, warmed

import dolphin_engine as de


def test_without_limits_it_never_trips():
    breaker = de.CircuitBreakerManager()
    breaker.begin_day(1000.0)
    for _ in range(100):
        breaker.on_trade(-50.0)
        breaker.on_order(True)
    assert breaker.can_open and not breaker.is_tripped


def test_a_daily_loss_trips_it():
    breaker = de.CircuitBreakerManager(max_daily_loss=0.05)
    breaker.begin_day(1000.0)
    breaker.on_trade(-49.0)
    assert breaker.can_open
    breaker.on_trade(-1.0)
    assert breaker.is_tripped and breaker.status()["tripped"] == "daily_loss"


def test_losses_in_a_row_trip_it():
    breaker = de.CircuitBreakerManager(max_consecutive_losses=3)
    breaker.begin_day(1000.0)
    for pnl in (-1, -1, 1, -1, -1):
        breaker.on_trade(pnl)
    assert breaker.can_open
    breaker.on_trade(-1)
    assert breaker.status() | {"day_pnl": 0} == {
        "tripped": "consecutive_losses", "day_pnl": 0, "consecutive_losses": 3, "orders": 0, "rejects": 0,
    }  # fmt: skip


def test_a_reject_rate_trips_it_after_enough_orders():
    breaker = de.CircuitBreakerManager(max_reject_rate=0.2, min_orders=5)
    breaker.begin_day(1000.0)
    for rejected in (True, False, False, False):
        breaker.on_order(rejected)
    assert breaker.can_open
    breaker.on_order(True)
    assert breaker.status()["tripped"] == "reject_rate"


def test_by_hand_and_reset_by_hand_and_by_the_date():
    breaker = de.CircuitBreakerManager()
    breaker.begin_day(1000.0)
    breaker.trip()
    assert breaker.status()["tripped"] == "manual"
    breaker.reset()
    assert breaker.can_open
    breaker.trip()
    breaker.begin_day(1000.0)
    assert breaker.can_open


def test_it_stops_entries_and_never_an_exit(market):
    engine, bar = warmed(market)
    engine.trip_breaker()
    assert engine.step_bar(bar, -0.04, market.row()).gate == "breaker"
    engine.reset_breaker()
    _, bar = enter(engine, market, bar + 1)
    engine.trip_breaker()
    for bar in range(bar, bar + 200):
        if engine.step_bar(bar, 0.0, market.row()).action == "exited":
            break
    assert engine.last_trade and engine.breaker_status()["tripped"] == "manual"


@pytest.mark.parametrize("limits", [{"max_daily_loss": 0.0}, {"max_daily_loss": 2.0}, {"max_reject_rate": 1.0}, {"max_consecutive_losses": 0}])
def test_limits_that_make_no_sense(limits):
    with pytest.raises(de.ConfigError):
        de.CircuitBreakerManager(**limits)
