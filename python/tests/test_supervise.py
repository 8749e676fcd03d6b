"""`dolphin supervise`: both flows, twice for a date, what goes wrong, and what memory holds afterwards."""

import json
import pathlib
import shutil
import subprocess

import pytest

import dolphin_engine as de
from dolphin_engine.memory import EmbeddedMemory


@pytest.fixture
def flow(binary, own_config, synthetic, tmp_path):
    def run(date="2026-02-01", flow="paper", *more, config=own_config, data=synthetic):
        command = [binary, "supervise", "--config", str(config), "--data", str(data), "--flow", flow, "--retry-delay", "0", "--json"]
        date = ["--date", date] if date else []
        return subprocess.run([*command, *date, *more], capture_output=True, text=True, timeout=120)

    run.memory = EmbeddedMemory(str(own_config), binary)
    run.log = tmp_path / "pnl_blue.jsonl"
    return run


DATES = ("2026-02-01", "2026-02-02", "2026-02-03")


@pytest.mark.parametrize("name", ["paper", "nautilus"])
def test_date_by_date_it_is_the_replay(name, flow, synthetic):
    expected = de.replay(synthetic).days.to_pylist()
    for date, day in zip(DATES, expected):
        for _ in range(2):
            done = flow(date, name)
            assert done.returncode == 0, done.stderr
            report = json.loads(done.stdout)
            assert report["result"] == day
            written = json.loads(flow.memory.get("DOLPHIN_PNL_BLUE", date))
            written.pop("fence", None)
            assert written == day
    assert sorted(flow.memory.entries("DOLPHIN_PNL_BLUE")) == list(DATES)
    key = "latest" if name == "paper" else "latest_nautilus"
    state = json.loads(flow.memory.get("DOLPHIN_STATE_BLUE", key))
    assert (state["date"], state["capital"], state["param_hash"]) == (DATES[-1], expected[-1]["capital"], de.CHAMPION_HASH)
    lines = [json.loads(line) for line in flow.log.read_text().splitlines()]
    assert [(line["date"], line["flow"], line["pnl"]) for line in lines] == [(d["date"], name, d["pnl"]) for d in expected]


def test_the_tasks_by_name_and_the_heartbeats(flow):
    report = json.loads(flow("2026-02-01", "paper").stdout)
    assert [t["task"] for t in report["tasks"]] == [
        "load_config", "hz_probe", "load_day_scans", "read_posture", "restore_capital", "run_engine_day", "write_hz_state", "log_pnl",
    ]  # fmt: skip
    report = json.loads(flow("2026-02-01", "nautilus").stdout)
    assert [t["task"] for t in report["tasks"]] == [
        "load_config", "validate_champion_params", "hz_probe", "load_bar_data", "read_posture", "restore_capital", "run", "write_result", "log_pnl",
    ]  # fmt: skip
    beat = json.loads(flow.memory.get("DOLPHIN_HEARTBEAT", "nautilus_flow_heartbeat"))
    assert (beat["phase"], beat["flow"], beat["ok"]) == ("flow_end", "nautilus", True)


def test_the_posture_of_memory_counts(flow):
    flow.memory.put("DOLPHIN_SAFETY", "latest", '{"posture": "HIBERNATE", "Rm": 0.1}')
    report = json.loads(flow().stdout)
    assert (report["result"]["posture"], report["result"]["bars"]) == ("HIBERNATE", 0)


def test_capital_alone_is_taken_up(flow):
    flow.memory.put("DOLPHIN_STATE_BLUE", "latest", json.dumps({"capital": 31000.5, "date": "2026-01-31", "pnl": 0.0}))
    report = json.loads(flow().stdout)
    assert (report["start_capital"], report["restored"]) == (31000.5, "latest of 2026-01-31")


def test_dry_run_touches_nothing(flow):
    done = flow("2026-02-01", "nautilus", "--dry-run")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["result"] is None and report["bars"] > 1000
    assert flow.memory.get("DOLPHIN_PNL_BLUE", "2026-02-01") is None and not flow.log.exists()


def one_line(done, code, *words):
    assert done.returncode == code, (done.returncode, done.stderr)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("dolphin: ") and all(word in last for word in words), done.stderr
    assert "panicked" not in done.stderr


def test_a_missing_day(flow):
    one_line(flow("2026-02-09"), 3, "load_day_scans", "2026-02-09", "holds 2026-02-01 to 2026-02-03")


def test_a_broken_day(flow, tmp_path, synthetic):
    data = tmp_path / "days"
    data.mkdir()
    whole = (pathlib.Path(synthetic) / "2026-02-01.parquet").read_bytes()
    (data / "2026-02-01.parquet").write_bytes(whole[: len(whole) // 2])
    one_line(flow(data=data), 3, "2026-02-01.parquet", "damaged")
    assert flow.memory.get("DOLPHIN_PNL_BLUE", "2026-02-01") is None
    shutil.copy(pathlib.Path(synthetic) / "2026-02-01.parquet", data)
    assert flow(data=data).returncode == 0


def test_drift(flow, own_config):
    own_config.write_text(own_config.read_text().replace("fraction: 0.20", "fraction: 0.25"))
    one_line(flow(), 2, "fraction is 0.25 (frozen: 0.2)")


def test_memory_away(flow, tmp_path, own_config):
    path = tmp_path / "hz.yml"
    path.write_text(own_config.read_text().replace("backend: embedded", 'backend: hazelcast\n  hazelcast: {members: ["127.0.0.1:1"]}'))
    done = flow("2026-02-01", "nautilus", config=path)
    one_line(done, 4, "hz_probe", "127.0.0.1:1")
    assert "try 3 of 4" in done.stderr and not flow.log.exists()


def test_a_trading_node_s_state_is_left_alone(flow):
    node = json.dumps({"capital": 5.0, "pnl": 0.0, "snapshot": {"venue": "testnet", "account": "a"}})
    flow.memory.put("DOLPHIN_STATE_BLUE", "latest_nautilus", node)
    one_line(flow("2026-02-01", "nautilus"), 2, "testnet", "writes nothing over it")
    assert json.loads(flow.memory.get("DOLPHIN_STATE_BLUE", "latest_nautilus"))["capital"] == 5.0


def test_usage(flow):
    assert flow("yesterday").returncode == 2
    assert flow("2026-02-01", "dream").returncode == 2
    assert flow(None).returncode == 3, "yesterday's file is not there"


def test_a_log_that_cannot_be_written(flow):
    one_line(flow("2026-02-01", "paper", "--pnl-log", "/dev/null/x/pnl.jsonl"), 2, "log_pnl")
