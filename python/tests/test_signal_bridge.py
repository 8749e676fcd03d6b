"""Scans from memory: stale, repeated, broken, newest wins."""

import json
import logging
import math
import threading

from dolphin_engine.signals import SignalBridge


def scan(number, ts, vel_div=-0.03):
    return json.dumps({"scan_number": number, "timestamp": ts, "vel_div": vel_div, "asset_prices": {"BTCUSDT": 1.0}})


def test_a_fresh_scan_gives_its_signal_once():
    bridge = SignalBridge(10.0, clock=lambda: 1000.0)
    assert bridge.take() is None
    bridge.push(scan(1, 999.0))
    assert bridge.take()["vel_div"] == -0.03
    again = bridge.take()
    assert math.isnan(again["vel_div"]) and again["asset_prices"] == {"BTCUSDT": 1.0} and bridge.repeated == 1


def test_a_stale_scan_is_warned_of_and_counted(caplog):
    bridge = SignalBridge(10.0, clock=lambda: 1000.0)
    bridge.push(scan(1, 989.0))
    with caplog.at_level(logging.WARNING):
        assert math.isnan(bridge.take()["vel_div"])
    assert bridge.stale == 1 and "11.0 s old" in caplog.text


def test_a_broken_scan_is_refused_and_the_last_one_stays():
    bridge = SignalBridge(10.0, clock=lambda: 1000.0)
    bridge.push(scan(1, 999.0))
    bridge.take()
    bridge.push("{broken")
    assert math.isnan(bridge.take()["vel_div"]) and bridge.rejected == 1


def test_the_newest_wins_whatever_thread_pushes():
    bridge = SignalBridge(10.0, clock=lambda: 1000.0)
    threads = [threading.Thread(target=lambda: [bridge.push(scan(i, 999.0)) for i in range(500)]) for _ in range(4)]
    [t.start() for t in threads]
    while any(t.is_alive() for t in threads):
        bridge.take()
    [t.join() for t in threads]
    bridge.push(scan(900, 999.0))
    assert bridge.take()["scan_number"] == 900 and bridge.rejected == 0
