"""The supervised run, 00:10 UTC (SPEC 10): hz_probe, validate_champion_params, load_bar_data, read_posture, restore_capital, run,
write_result, heartbeat at each phase.

    python nautilus_prefect_flow.py --register --config configs/blue.yml --data DIR
    python nautilus_prefect_flow.py --config configs/blue.yml --data DIR --date 2021-04-10

``run`` steps the day in the engine and, where NautilusTrader is installed, in a BacktestEngine beside it: other trades fail
the run, and nothing is written."""

from __future__ import annotations

import importlib.util
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

DEPLOYMENT = "dolphin-nautilus-blue"


@task(retries=3, retry_delay_seconds=RETRY_DELAY_S, cache_policy=NO_CACHE, timeout_seconds=60)
def hz_probe(config: str) -> None:
    """Does memory answer?"""
    memory = open_memory(config)
    try:
        memory.get(flows.HEARTBEAT_MAP, flows.HEARTBEAT_KEY)
    finally:
        memory.close()


@task(cache_policy=NO_CACHE, timeout_seconds=60)
def validate_champion_params(config: str) -> str:
    """The champion's hash; drift ends the run."""
    abort_on_drift(config)
    return de.hash(config)


@task(retries=2, retry_delay_seconds=RETRY_DELAY_S, cache_policy=NO_CACHE, timeout_seconds=60)
def load_bar_data(config: str, data: str, date: str) -> de.DayBars:
    """The day's bars."""
    return de.load_day(config, data, date)


@task(retries=2, retry_delay_seconds=RETRY_DELAY_S, cache_policy=NO_CACHE, timeout_seconds=60)
def read_posture(config: str) -> str | None:
    """`DOLPHIN_SAFETY[latest]`; None: APEX."""
    memory = open_memory(config)
    try:
        return flows.read_posture(memory)
    finally:
        memory.close()


@task(cache_policy=NO_CACHE, timeout_seconds=60)
def restore_capital(config: str, date: str) -> de.Start:
    """What the date begins with."""
    memory = open_memory(config)
    try:
        return flows.restore(memory, de.load_config(config), "nautilus", date)
    finally:
        memory.close()


@task(cache_policy=NO_CACHE, timeout_seconds=600)
def run(config: str, data: str, day: de.DayBars, start: de.Start, posture: str | None) -> de.DayRun:
    """The day, by the engine and by NautilusTrader."""
    done = flows.run(config, day, start, "nautilus", posture)
    if importlib.util.find_spec("nautilus_trader") is not None:
        from dolphin_engine.run_nautilus import differences
        from dolphin_engine.run_nautilus import run as run_nautilus

        told = de.parse_safety(posture) if posture is not None else ("APEX", 1.0)
        theirs = run_nautilus(
            config, data, day.date, day.date, snapshot=start.snapshot, capital=start.capital,
            postures={day.date: {"posture": told[0], "Rm": told[1]}},
        )  # fmt: skip
        if found := differences(theirs["trades"], done.trades.to_pylist()):
            raise de.DolphinError(f"NautilusTrader's trades differ: {'; '.join(found[:3])}")
    return done


@task(retries=3, retry_delay_seconds=RETRY_DELAY_S, cache_policy=NO_CACHE, timeout_seconds=60)
def write_result(config: str, done: de.DayRun) -> list[str]:
    """Result and state to memory, the line to the PnL log."""
    memory = open_memory(config)
    try:
        written = flows.write(memory, de.load_config(config), done)
    finally:
        memory.close()
    done.log_pnl(flows.pnl_log_path(config))
    return written


@task(cache_policy=NO_CACHE, timeout_seconds=60)
def heartbeat(config: str, phase: str, date: str, more: str = "{}") -> None:
    """A sign of life: flow_start, engine_start, flow_end. One that cannot be given fails no flow."""
    memory = open_memory(config)
    try:
        flows.heartbeat(memory, phase, "nautilus", date, **json.loads(more))
    finally:
        memory.close()


@flow(name="dolphin-nautilus", timeout_seconds=1800)
def nautilus_prefect_flow(config: str = CONFIG, data: str = DATA, date: str | None = None) -> dict[str, Any]:
    """The supervised run of a date (default: yesterday, UTC)."""
    date = date or yesterday()
    validate_champion_params(config)
    hz_probe(config)
    heartbeat(config, "flow_start", date, return_state=True)
    end: dict[str, Any] = {"ok": False}
    try:
        day = load_bar_data(config, data, date)
        posture = read_posture(config)
        start = restore_capital(config, date)
        heartbeat(config, "engine_start", date, return_state=True)
        done = run(config, data, day, start, posture)
        write_result(config, done)
        publish(DEPLOYMENT, dict(done.result), start.origin, done.trades.to_pylist(), done.notes)
        end = {"ok": True, "capital": done.result["capital"]}
    finally:
        heartbeat(config, "flow_end", date, json.dumps(end), return_state=True)
    return dict(done.result)


if __name__ == "__main__":
    sys.exit(main(nautilus_prefect_flow, "nautilus_prefect_flow.py:nautilus_prefect_flow", DEPLOYMENT, "10 0 * * *"))
