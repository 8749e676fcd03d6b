"""NautilusTrader 1.219.0 really run on the golden days, both ways of feeding: every field of every trade equal."""

import json
import statistics
import subprocess
import sys
import time

import pytest
from conftest import golden, golden_trades

import dolphin_engine as de

pytest.importorskip("nautilus_trader")
from dolphin_engine.run_nautilus import differences, run  # noqa: E402


@pytest.mark.parametrize("feed", ["row", "day"])
@pytest.mark.parametrize("name", ["days", "synthetic"])
def test_trades_equal_replay_s_field_for_field(name, feed, request, blue):
    data = request.getfixturevalue(name)
    nautilus = run(blue, data, feed=feed)
    times = [de.replay(data, blue, threads=1).elapsed_s for _ in range(3)]
    own = de.replay(data, blue, threads=1)
    assert len(nautilus["trades"]) > 10
    assert differences(nautilus["trades"], own.trades.to_pylist()) == []
    assert nautilus["days"] == own.days.to_pylist()
    assert nautilus["capital"] == own.summary["final_capital"]
    expected = golden_trades("days-champion" if name == "days" else "synthetic-champion")
    assert [(t["symbol"], t["entry_bar"], t["exit_bar"], t["reason"]) for t in nautilus["trades"]] == [
        (t["symbol"], t["entry_bar"], t["exit_bar"], t["reason"]) for t in expected
    ]
    print(f"\n{name}, {feed}: NautilusTrader {nautilus['elapsed_s']:.3f} s, replay {min(times):.4f} s, {nautilus['elapsed_s'] / min(times):.0f} x")


def test_bidirectional_with_proxy_b(synthetic, configs):
    green = str(configs / "green.yml")
    nautilus = run(green, synthetic, boost_mode="proxy_b", factors={"2026-02-02": 2})
    own = de.replay(synthetic, green, settings={"boost_mode": "proxy_b"}, factors={"2026-02-02": 2})
    assert nautilus["trades"] == own.trades.to_pylist() and len(own.trades) > 10
    assert golden("synthetic-bidirectional-proxyb.summary.json").exists()


def test_postures(synthetic, blue):
    postures = {"2026-02-02": {"posture": "HIBERNATE", "Rm": 0.2}, "2026-02-03": {"posture": "STALKER", "Rm": 0.8}}
    nautilus = run(blue, synthetic, postures=postures)
    assert nautilus["trades"] == de.replay(synthetic, blue, postures=postures).trades.to_pylist()


@pytest.mark.parametrize("name", ["days", "synthetic"])
def test_the_time_of_both_as_programs(name, request, blue, binary):
    """What a user waits for: a Python that runs NautilusTrader over the days, and `dolphin replay` over the same days."""
    data = request.getfixturevalue(name)
    code = "import sys; from dolphin_engine.run_nautilus import run; print(len(run(sys.argv[1], sys.argv[2])['trades']))"
    commands = {
        "NautilusTrader": [sys.executable, "-c", code, blue, data],
        "dolphin replay": [binary, "replay", "--config", blue, "--data", data, "--json"],
    }
    times, trades = {}, {}
    for who, command in commands.items():
        times[who] = []
        for _ in range(3 if who == "NautilusTrader" else 9):
            begun = time.perf_counter()
            said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
            times[who].append(time.perf_counter() - begun)
        trades[who] = json.loads(said)["trades"] if said.startswith("{") else int(said)
    assert trades["NautilusTrader"] == trades["dolphin replay"] > 10
    theirs, ours = (statistics.median(times[who]) for who in commands)
    print(f"\n{name}, as programs: NautilusTrader {theirs:.3f} s, dolphin replay {ours:.4f} s, {theirs / ours:.0f} x")


def test_the_runner_as_a_program(days, blue):
    done = subprocess.run([sys.executable, "-m", "dolphin_engine.run_nautilus", "--config", blue, "--data", days], capture_output=True, text=True)
    print("\n" + done.stdout)
    assert done.returncode == 0, done.stderr
    assert "every field of every trade is the same" in done.stdout
    bad = subprocess.run([sys.executable, "-m", "dolphin_engine.run_nautilus", "--config", blue, "--data", "/nowhere"], capture_output=True, text=True)
    assert bad.returncode == 3 and "Traceback" not in bad.stderr
