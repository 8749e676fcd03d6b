"""The steps of the daily flows (SPEC 10) over a memory that Python reaches: what they compute is the program's own (crate
``flows``); here the values only travel. The Prefect flows in ``ops/prefect`` are made of these."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from ._native import DayBars, DayRun, Start, UnavailableError, load_config, restore_capital, run_engine_day
from .memory import Memory

HEARTBEAT_MAP, HEARTBEAT_KEY = "DOLPHIN_HEARTBEAT", "nautilus_flow_heartbeat"
#: Longest time between two signs of life of a node that holds the lease, s.
LEASE_TTL_S = 3.0


def heartbeat(memory: Memory, phase: str, flow: str, date: str, **more: Any) -> None:
    """``flow_start``, ``engine_start``, ``flow_end``."""
    beat = {"ts": time.time(), "phase": phase, "flow": flow, "date": date, **more}
    memory.put(HEARTBEAT_MAP, HEARTBEAT_KEY, json.dumps(beat))


def read_posture(memory: Memory) -> str | None:
    """The text of ``DOLPHIN_SAFETY[latest]``; None: APEX."""
    return memory.get("DOLPHIN_SAFETY", "latest")


def state_entries(memory: Memory, config: Mapping[str, Any]) -> dict[str, str]:
    """The states of the deployment, without the price blocks of a node."""
    entries = memory.entries(str(config["memory"]["state_map"]))
    return {key: value for key, value in entries.items() if key.startswith(("latest", "paper.", "nautilus."))}


def refuse_beside_a_node(memory: Memory, config: Mapping[str, Any], ttl_s: float = LEASE_TTL_S) -> None:
    """One at a time writes a deployment's state. A holder of the lease beats: a record that changes within a time to live is
    a node's that is alive."""
    key = f"alpha_{config['memory']['deployment']}"
    seen = memory.get("DOLPHIN_LEASE", key)
    if seen is None or not json.loads(seen).get("owner"):
        return
    time.sleep(ttl_s)
    now = memory.get("DOLPHIN_LEASE", key)
    if now is not None and now != seen and json.loads(now).get("owner"):
        owner = json.loads(now)["owner"]
        raise UnavailableError(
            f"the lease {key} is held by {owner}: one at a time writes a deployment's state; stop it, or give the flow a "
            "deployment or a memory of its own"
        )


def restore(memory: Memory, config: Mapping[str, Any], flow: str, date: str) -> Start:
    """What the date begins with."""
    return restore_capital(state_entries(memory, config), flow, date)


def run(config_path: str, day: DayBars, start: Start, flow: str, safety: str | None) -> DayRun:
    """The engine over the date."""
    return run_engine_day(config_path, day, start, flow, safety)


def write(memory: Memory, config: Mapping[str, Any], done: DayRun) -> list[str]:
    """The day's result and the states to memory; gives what was written."""
    refuse_beside_a_node(memory, config)
    entries = state_entries(memory, config)
    written = []
    for map_name, key, value in done.writes(entries, time.time()):
        memory.put(map_name, key, value)
        written.append(f"{map_name}[{key}]")
    for key in done.outdated(state_entries(memory, config)):
        memory.remove(str(config["memory"]["state_map"]), key)
    return written


def pnl_log_path(config_path: str) -> str:
    """``$DOLPHIN_PNL_LOG``, else ``pnl_<deployment>.jsonl`` where the program keeps it."""
    if named := os.environ.get("DOLPHIN_PNL_LOG"):
        return named
    section = load_config(config_path)["memory"]
    name = f"pnl_{section['deployment']}.jsonl"
    if section["path"]:
        return os.path.join(os.path.dirname(section["path"]), name)
    state = os.environ.get("STATE_DIRECTORY")
    if not state and (xdg := os.environ.get("XDG_STATE_HOME")):
        state = os.path.join(xdg, "dolphin")
    return os.path.join(state or os.path.expanduser("~/.local/state/dolphin"), name)
