"""The steps of the daily flows: dates one by one are the replay over all of them, and a date may run twice."""

import json

import pytest

import dolphin_engine as de

DATES = ("2026-02-01", "2026-02-02", "2026-02-03")


def run(entries, config, data, date, flow="paper", safety=None):
    start = de.restore_capital(entries, flow, date)
    done = de.run_engine_day(config, de.load_day(config, data, date), start, flow, safety)
    writes = done.writes(entries, 1.0)
    entries.update({key: value for name, key, value in writes if name == "DOLPHIN_STATE_BLUE"})
    return done, start


def test_dates_one_by_one_are_the_replay(blue, synthetic, tmp_path):
    whole, entries, trades = de.replay(synthetic, blue), {}, []
    for date, expected in zip(DATES, whole.days.to_pylist()):
        done, _ = run(entries, blue, synthetic, date)
        again, _ = run(entries, blue, synthetic, date)
        assert done.result == again.result == expected
        assert done.trades.to_pylist() == again.trades.to_pylist()
        trades += done.trades.to_pylist()
        for _ in range(2):
            done.log_pnl(tmp_path / "pnl.jsonl")
    assert trades == whole.trades.to_pylist() and len(trades) > 10
    assert len((tmp_path / "pnl.jsonl").read_text().splitlines()) == 3
    assert json.loads(entries["latest"])["capital"] == whole.summary["final_capital"]


def test_a_node_s_state_is_left_alone():
    entries = {"latest_nautilus": json.dumps({"capital": 5.0, "pnl": 0.0, "snapshot": {"venue": "testnet"}})}
    with pytest.raises(de.ConfigError, match="testnet"):
        de.restore_capital(entries, "nautilus", "2026-02-01")
    assert de.restore_capital(entries, "paper", "2026-02-01").capital is None


def test_capital_alone_and_posture(blue, synthetic):
    entries = {"latest": json.dumps({"capital": 31000.5, "date": "2026-01-31", "pnl": 0.0})}
    done, start = run(entries, blue, synthetic, "2026-02-01", safety='{"posture": "HIBERNATE", "Rm": 0.1}')
    assert (start.capital, start.origin) == (31000.5, "latest of 2026-01-31")
    assert (done.result["bars"], done.result["posture"], done.result["capital"]) == (0, "HIBERNATE", 31000.5)


def test_a_missing_day(blue, synthetic):
    with pytest.raises(de.DataError, match="2026-02-09"):
        de.load_day(blue, synthetic, "2026-02-09")
