"""What the tests stand on: the project's data, the golden days (test input from outside the project), the program."""

from __future__ import annotations

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

import dolphin_engine as de

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("DOLPHIN_SHARED", ROOT.parent / "shared"))
if not SHARED.exists() and "DOLPHIN_SHARED" not in os.environ:
    SHARED = ROOT.parent.parent / "shared"


def shared(name: str) -> pathlib.Path:
    path = SHARED / "data" / name
    if not path.exists():
        print(f"skipped: {path} is not there")
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture(scope="session")
def configs() -> pathlib.Path:
    return ROOT / "configs"


@pytest.fixture(scope="session")
def blue(configs: pathlib.Path) -> str:
    return str(configs / "blue.yml")


@pytest.fixture(scope="session")
def days() -> str:
    return str(shared("days"))


@pytest.fixture(scope="session")
def synthetic() -> str:
    return str(shared("days-synthetic"))


def golden(name: str) -> pathlib.Path:
    return shared(f"golden/{name}")


def golden_trades(name: str) -> list[dict]:
    return [json.loads(line) for line in golden(f"{name}.trades.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def binary() -> str:
    named = os.environ.get("DOLPHIN_BINARY")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for candidate in (named, target / "release/dolphin", target / "debug/dolphin"):
        if candidate and (found := shutil.which(str(candidate))):
            return found
    pytest.skip("no program `dolphin`: cargo build -p dolphin")


@pytest.fixture
def own_config(tmp_path: pathlib.Path, configs: pathlib.Path) -> pathlib.Path:
    """The champion's configuration with a memory of its own."""
    text = (configs / "blue.yml").read_text().replace("memory:\n", f"memory:\n  path: {tmp_path / 'state.memory'}\n")
    path = tmp_path / "blue.yml"
    path.write_text(text)
    return path


SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]


class Market:
    """A market that the engine trades: BTC falls steadily enough to confirm, SOL falls most."""

    def __init__(self, symbols: list[str] = SYMBOLS, seed: int = 7) -> None:
        self.symbols = symbols
        self.rng = np.random.default_rng(seed)
        self.noise = 0.0003
        self.prices = np.array([50_000.0, 3_000.0, 100.0, 0.6][: len(symbols)])

    def row(self, drift: float = -0.0004, noise: float | None = None) -> np.ndarray:
        noise = self.noise if noise is None else noise
        steps = drift * np.array([1.0, 0.8, 2.5, 0.5][: len(self.symbols)]) + noise * self.rng.standard_normal(
            len(self.symbols)
        )
        self.prices = self.prices * (1.0 + steps)
        return self.prices.copy()


@pytest.fixture
def market() -> Market:
    return Market()


def warmed(market: Market, params=None, bars: int = 150, date: str = "2026-01-05", posture: str = "APEX", **kwargs):
    """An engine whose histories are full, flat, in an open day; and the next bar's number."""
    engine = de.NDAlphaEngine(params, market.symbols, **kwargs)
    engine.begin_day(date, posture)
    for bar in range(bars):
        engine.step_bar(bar, 0.0, market.row())
    return engine, bars


def enter(engine, market: Market, bar: int, vel_div: float = -0.04, tries: int = 50, **kwargs):
    """Steps with a firing signal until a position is entered; the result and the next bar."""
    for _ in range(tries):
        result = engine.step_bar(bar, vel_div, market.row(), **kwargs)
        bar += 1
        if result.action == "entered":
            return result, bar
    raise AssertionError(f"no entry: {engine.gate_counts()}")


def ob_record(symbol: str, timestamp: float, **changes):
    record = {
        "symbol": symbol,
        "timestamp": timestamp,
        "bid_depth": [1.0] * 5,
        "ask_depth": [2.0] * 5,
        "bid_notional": [1e5] * 5,
        "ask_notional": [2e5] * 5,
        "coverage_pct": 4.0,
        "spread_proxy_bps": 1.0,
        "depth_quality": 0.5,
        "fill_probability_bid": 0.8,
        "fill_probability_ask": 0.8,
        "fill_probability": 0.8,
        "depth_asymmetry": -0.3,
        "imbalance_persistence": -0.6,
        "withdrawal_velocity": 0.0,
        "macro_imbalance": 0.0,
        "macro_spread_bps": 1.0,
        "agreement_pct": 0.5,
        "cascade_count": 0,
        "regime_signal": 0,
    }
    record.update(changes)
    return record
