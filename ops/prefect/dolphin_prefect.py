"""What the two flows have in common: the check of the champion at import, registration, artefacts."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import pathlib
import sys
from typing import Any

import dolphin_engine
from dolphin_engine import ConfigError
from prefect import Flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

HERE = pathlib.Path(__file__).resolve().parent
WORK_POOL = "dolphin"
#: SHA-256 of the frozen fifteen (SPEC 3.1).
CHAMPION_HASH = "aaae3452e6ea0fbabc30c5ddab97b791f0b46906983518ede4e838080dd09d7d"
CONFIG = os.environ.get("DOLPHIN_CONFIG", "/etc/dolphin/blue.yml")
DATA = os.environ.get("DOLPHIN_DATA", "/var/lib/dolphin/days")
#: Wait between the tries of a task, s.
RETRY_DELAY_S = float(os.environ.get("DOLPHIN_RETRY_DELAY_S", "30"))


def abort_on_drift(config: str | None = None) -> None:
    """The package's champion must be the frozen one, and the configuration the champion where it says so."""
    found = dolphin_engine.hash("champion")
    if found != CHAMPION_HASH:
        raise ConfigError(f"the champion has drifted: its hash is {found}, frozen is {CHAMPION_HASH}")
    if config is not None:
        loaded = dolphin_engine.load_config(config)
        if loaded["profile"] == "champion" and loaded["param_hash"] != CHAMPION_HASH:
            raise ConfigError(f"{config}: the champion has drifted: its hash is {loaded['param_hash']}")


# At import: nothing of a flow is known to a worker whose parameters have drifted.
abort_on_drift(CONFIG if os.path.exists(CONFIG) else None)


def yesterday() -> str:
    """The date that has just ended, UTC."""
    return (datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=1)).isoformat()


def publish(name: str, result: dict[str, Any], restored: str, trades: list[dict[str, Any]], notes: list[str]) -> None:
    """The day as artefacts: a report, the day's table, its trades."""
    lines = [
        f"# {name} {result['date']}",
        f"{result['trades']} trades, pnl {result['pnl']:+.2f}, capital {result['capital']:.2f} (from {restored}), "
        f"{result['posture']}, {result['bars']} bars, hash `{result['param_hash'][:12]}`",
        *(["**stale state: do not use**"] if result["stale_state"] else []),
        *(f"* {note}" for note in notes),
    ]
    create_markdown_artifact("\n\n".join(lines), key=f"{name}-report", description=f"{name}, {result['date']}")
    create_table_artifact([result], key=f"{name}-day", description=f"the day {result['date']}")
    create_table_artifact(trades, key=f"{name}-trades", description=f"trades closed on {result['date']}")


async def _ensure_pool() -> None:
    async with get_client() as client:
        try:
            await client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        except ObjectAlreadyExists:
            pass


def main(flow: Flow[..., Any], entrypoint: str, deployment: str, cron: str) -> int:
    """``--register``: the deployment in work pool ``dolphin``; else the flow is run here and now."""
    parser = argparse.ArgumentParser(description=flow.description)
    parser.add_argument("--register", action="store_true", help=f"register {deployment} ({cron} UTC) in pool {WORK_POOL}")
    parser.add_argument("--config", default=CONFIG)
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--date", help="default: yesterday, UTC")
    given = parser.parse_args()
    parameters = {"config": os.path.abspath(given.config), "data": os.path.abspath(given.data)}
    try:
        abort_on_drift(given.config)
    except dolphin_engine.DolphinError as error:
        print(f"{deployment}: {error}", file=sys.stderr)
        return 2
    if given.register:
        asyncio.run(_ensure_pool())
        placed = flow.from_source(source=str(HERE), entrypoint=entrypoint)
        placed.deploy(
            name=deployment, work_pool_name=WORK_POOL, cron=cron, parameters=parameters, print_next_steps=False,
            tags=["dolphin"],
        )  # fmt: skip
        print(f"registered: {flow.name}/{deployment}, {cron} UTC, pool {WORK_POOL}")
        return 0
    flow(**parameters, date=given.date)
    return 0
