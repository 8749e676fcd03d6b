"""The engine fed bar by bar, `replay`, and the program: the same trades, bit for bit."""

import json
import random
import subprocess
import time

import numpy as np
import pytest
from conftest import golden, golden_trades

import dolphin_engine as de

GOLDEN = [
    ("days", "days-champion", None, {}),
    ("days-synthetic", "synthetic-champion", None, {}),
    ("days-synthetic", "synthetic-bidirectional-proxyb", 0, {"boost_mode": "proxy_b"}),
]


def by_bar(data, direction, overrides, wrap=lambda row: row):
    """Feeds an engine bar by bar from the day files."""
    found = de.list_days(data)
    engine = de.NDAlphaEngine(None, found["assets"], **overrides)
    results = []
    for date in found["dates"]:
        day = de.read_day(data, date)
        assert day.assets == found["assets"]
        prices, vel, v50, v750, inst = (day.prices, *(day.column(c) for c in ("vel_div", "v50", "v750", "instability_50")))
        engine.begin_day(date, "APEX", 1.0, direction)
        for i in range(len(day)):
            engine.step_bar(i, vel[i], wrap(prices[i]), None, v50[i], v750[i], None, inst[i])
        results.append(engine.end_day())
    return engine, results


def settings(direction, overrides):
    return overrides | ({} if direction is None else {"direction": direction})


@pytest.mark.parametrize(("data", "name", "direction", "overrides"), GOLDEN)
def test_fed_bar_by_bar_it_equals_replay_bit_for_bit(data, name, direction, overrides, days, synthetic):
    data = days if data == "days" else synthetic
    engine, results = by_bar(data, direction, overrides)
    whole = de.replay(data, settings=settings(direction, overrides), threads=1)
    assert len(engine.trade_history) > 10
    assert engine.trade_history == whole.trades.to_pylist()
    assert results == whole.days.to_pylist()
    assert engine.capital == whole.summary["final_capital"]
    assert engine.position == whole.summary["open_position"]


@pytest.mark.parametrize("kind", ["list", "dict", "strided"])
def test_every_form_of_a_row_gives_the_same_trades(kind, synthetic):
    symbols = de.list_days(synthetic)["assets"]
    forms = {
        "list": list,
        "dict": lambda row: dict(zip(symbols, row.tolist())),
        "strided": lambda row: np.repeat(row, 2)[::2],
    }
    plain, _ = by_bar(synthetic, None, {})
    other, _ = by_bar(synthetic, None, {}, forms[kind])
    assert plain.trade_history == other.trade_history


@pytest.mark.parametrize(("data", "name"), [("days", "days-champion"), ("days-synthetic", "synthetic-champion")])
def test_parity_with_the_goldens(data, name, days, synthetic):
    data = days if data == "days" else synthetic
    assert de.parity(data, golden(f"{name}.trades.jsonl"), rtol=1e-9)
    assert de.parity(data, golden(f"{name}.summary.json"), rtol=1e-9)
    expected = golden_trades(name)
    assert [t["symbol"] for t in de.replay(data).trades.to_pylist()] == [t["symbol"] for t in expected]


def test_parity_names_the_first_divergence(synthetic):
    other = de.parity(synthetic, golden("synthetic-champion.trades.jsonl"), settings={"fixed_tp_pct": 0.005})
    assert not other.equal
    assert other.first_divergence["lines"]
    assert "parity: NO" in str(other)


def test_a_thousand_parameter_sets_agree_with_the_program(synthetic, binary, blue):
    draw = random.Random(15)
    ranges = {
        "vel_div_threshold": lambda: -draw.uniform(0.005, 0.03),
        "vel_div_extreme": lambda: -draw.uniform(0.04, 0.09),
        "fixed_tp_pct": lambda: draw.uniform(0.001, 0.02),
        "max_hold_bars": lambda: draw.randint(5, 200),
        "fraction": lambda: draw.uniform(0.05, 0.5),
        "min_leverage": lambda: draw.uniform(0.1, 1.0),
        "max_leverage": lambda: draw.uniform(1.0, 8.0),
        "abs_max_leverage": lambda: draw.uniform(1.0, 10.0),
        "leverage_convexity": lambda: draw.uniform(0.5, 5.0),
        "dc_lookback_bars": lambda: draw.randint(1, 20),
        "dc_min_magnitude_bps": lambda: draw.uniform(-1.0, 2.0),
        "min_irp_alignment": lambda: draw.uniform(0.3, 0.5),
        "sp_maker_entry_rate": lambda: draw.uniform(0, 1),
        "sp_maker_exit_rate": lambda: draw.uniform(0, 1),
        "seed": lambda: draw.randint(0, 2**32 - 1),
        "stop_pct": lambda: draw.uniform(0.001, 1.0),
        "vol_window_bars": lambda: draw.randint(5, 80),
        "warmup_bars": lambda: draw.randint(0, 200),
        "lookback": lambda: draw.randint(5, 150),
        "fee_model": lambda: draw.choice(["sampled", "expected"]),
        "vol_gate": lambda: draw.choice(["detector", "warmup"]),
        "boost_mode": lambda: draw.choice(["baseline", "proxy_b"]),
        "use_alpha_layers": lambda: draw.random() < 0.8,
        "use_dynamic_leverage": lambda: draw.random() < 0.8,
        "direction": lambda: draw.choice([-1, 0, 1]),
    }
    date, trades, begun = "2026-02-01", 0, time.time()
    for number in range(1000):
        keys = draw.sample(sorted(ranges), draw.randint(1, 10))
        chosen = {key: ranges[key]() for key in keys}
        text = {k: str(v).lower() if isinstance(v, bool) else repr(v) if isinstance(v, float) else str(v) for k, v in chosen.items()}
        flags = [part for k, v in text.items() for part in ("--set", f"{k}={v}")]
        command = [binary, "replay", "--config", blue, "--data", synthetic, "--from", date, "--to", date, "--threads", "1", "--json"]
        theirs = json.loads(subprocess.run([*command, *flags], capture_output=True, check=True).stdout)
        ours = de.replay(synthetic, blue, start=date, end=date, settings=chosen, threads=1).summary
        theirs.pop("elapsed_s"), ours.pop("elapsed_s")
        assert ours == theirs, (number, chosen)
        trades += ours["trades"]
    print(f"\n1000 parameter sets, {trades} trades, the same in {time.time() - begun:.0f} s")
    assert trades > 2000


def test_a_snapshot_goes_on_bit_for_bit(synthetic):
    day = de.read_day(synthetic, "2026-02-01")
    vel, prices, v750 = day.column("vel_div"), day.prices, day.column("v750")
    whole = de.NDAlphaEngine(None, day.assets)
    whole.begin_day("2026-02-01")
    for i in range(700):
        whole.step_bar(i, vel[i], prices[i], None, 0.0, v750[i])
    other = de.NDAlphaEngine.restore(whole.snapshot())
    known = len(whole.trade_history)
    for engine in (whole, other):
        for i in range(700, len(day)):
            engine.step_bar(i, vel[i], prices[i], None, 0.0, v750[i])
    assert whole.trade_history[known:] == other.trade_history
    assert (whole.capital, whole.snapshot()) == (other.capital, other.snapshot()) or whole.capital == other.capital
