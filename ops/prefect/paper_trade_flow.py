"""The daily paper run, 00:05 UTC (SPEC 10): load_config, load_day_scans, run_engine_day, write_hz_state, log_pnl.

    python paper_trade_flow.py --register --config configs/blue.yml --data DIR
    python paper_trade_flow.py --config configs/blue.yml --data DIR --date 2021-04-10

Capital and engine go on from the date before; a date may run twice: same result, one entry."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import dolphin_engine as de
from dolphin_engine import flows
from dolphin_engine.memory import open_memory
from dolphin_prefect import CONFIG, DATA, RETRY_DELAY_S, abort_on_drift, main, publish, yesterday
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

DEPLOYMENT = "dolphin-paper-blue"


@task(cache_policy=NO_CACHE, timeout_seconds=60)
def load_config(config: str) -> dict[str, Any]:
    """The configuration, checked; a drifted champion ends the run."""
    abort_on_drift(config)
    return de.load_config(config)


@task(retries=2, retry_delay_seconds=RETRY_DELAY_S, cache_policy=NO_CACHE, timeout_seconds=60)
def load_day_scans(config: str, data: str, date: str) -> de.DayBars:
    """The day's bars: parquet, else scan files."""
    return de.load_day(config, data, date)


@task(cache_policy=NO_CACHE, timeout_seconds=600)
def run_engine_day(config: str, day: de.DayBars) -> tuple[de.DayRun, str]:
    """The engine over the day, from where the date before ended; and where that was found."""
    loaded, memory = de.load_config(config), open_memory(config)
    try:
        flows.heartbeat(memory, "engine_start", "paper", day.date)
        start = flows.restore(memory, loaded, "paper", day.date)
        return flows.run(config, day, start, "paper", flows.read_posture(memory)), start.origin
    finally:
        memory.close()


@task(retries=3, retry_delay_seconds=RETRY_DELAY_S, cache_policy=NO_CACHE, timeout_seconds=60)
def write_hz_state(config: str, done: de.DayRun) -> list[str]:
    """Result and state to memory."""
    memory = open_memory(config)
    try:
        return flows.write(memory, de.load_config(config), done)
    finally:
        memory.close()


@task(cache_policy=NO_CACHE, timeout_seconds=60)
def log_pnl(config: str, done: de.DayRun) -> str:
    """The day's line in the PnL log."""
    path = flows.pnl_log_path(config)
    done.log_pnl(path)
    return path


@task(cache_policy=NO_CACHE, timeout_seconds=60)
def heartbeat(config: str, phase: str, date: str, more: str = "{}") -> None:
    """A sign of life: flow_start, flow_end. One that cannot be given fails no flow."""
    memory = open_memory(config)
    try:
        flows.heartbeat(memory, phase, "paper", date, **json.loads(more))
    finally:
        memory.close()


@flow(name="dolphin-paper", timeout_seconds=1800)
def paper_trade_flow(config: str = CONFIG, data: str = DATA, date: str | None = None) -> dict[str, Any]:
    """The daily paper run of a date (default: yesterday, UTC)."""
    date = date or yesterday()
    load_config(config)
    heartbeat(config, "flow_start", date, return_state=True)
    end: dict[str, Any] = {"ok": False}
    try:
        day = load_day_scans(config, data, date)
        done, restored = run_engine_day(config, day)
        write_hz_state(config, done)
        log_pnl(config, done)
        publish(DEPLOYMENT, dict(done.result), restored, done.trades.to_pylist(), done.notes)
        end = {"ok": True, "capital": done.result["capital"]}
    finally:
        heartbeat(config, "flow_end", date, json.dumps(end), return_state=True)
    return dict(done.result)


if __name__ == "__main__":
    sys.exit(main(paper_trade_flow, "paper_trade_flow.py:paper_trade_flow", DEPLOYMENT, "5 0 * * *"))
