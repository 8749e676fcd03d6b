"""The engine inside NautilusTrader 1.219: :class:`DolphinActor` (the bar handler of SPEC 3.13 as a ``Strategy``), its
:class:`DolphinStrategyConfig`, and :class:`NautilusDolphinLauncher`, which runs the trading node in place of a
``TradingNode``.

The engine books its trades itself; the actor sends no order to NautilusTrader's venue. Its trades equal those of
``dolphin replay`` field for field."""

from __future__ import annotations

import logging
import math
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.trading.strategy import Strategy
from numpy.typing import NDArray

from ._native import (
    DataError,
    DolphinError,
    NDAlphaEngine,
    StepResult,
    list_days,
    load_config,
    params,
    parse_acb_push,
    parse_safety,
    read_day,
)
from .binary import find_binary
from .memory import HazelcastMemory, Memory, open_memory
from .signals import SignalBridge

if TYPE_CHECKING:
    from ._native import DayResultDict, TradeDict

LOG = logging.getLogger("dolphin_engine.nautilus")
BAR_TYPE = "BTCUSD.BINANCE-5-SECOND-LAST-EXTERNAL"


class DolphinStrategyConfig(StrategyConfig, frozen=True):
    """What an actor runs. ``config_path``: the configuration file; without one ``engine_params`` (a preset's name or a
    dictionary; None: the champion). ``mode``: ``replay`` (day files of ``data_dir``) or ``live`` (scans from memory).
    ``feed``: ``row`` (each bar steps the next row) or ``day`` (one synthetic bar a date steps the whole day).
    ``postures``: ``{date: {"posture", "Rm"}}``; other dates are memory's, without memory APEX. ``snapshot``, ``capital``: the
    engine, or the capital alone, of the date before."""

    config_path: str | None = None
    engine_params: str | dict[str, Any] | None = None
    bar_type: str = BAR_TYPE
    mode: str = "replay"
    feed: str = "row"
    data_dir: str | None = None
    from_date: str | None = None
    to_date: str | None = None
    boost_mode: str | None = None
    postures: dict[str, dict[str, Any]] | None = None
    factors: dict[str, int] | None = None
    use_memory: bool = False
    assets: list[str] | None = None
    scan_stale_after_s: float = 10.0
    snapshot: str | None = None
    capital: float | None = None

    @classmethod
    def champion(cls, **kwargs: Any) -> DolphinStrategyConfig:
        """The frozen champion."""
        return cls(engine_params="champion", **kwargs)

    @classmethod
    def conservative(cls, **kwargs: Any) -> DolphinStrategyConfig:
        """Less leverage and fraction."""
        return cls(engine_params="conservative", **kwargs)

    @classmethod
    def growth(cls, **kwargs: Any) -> DolphinStrategyConfig:
        """More leverage."""
        return cls(engine_params="growth", **kwargs)

    @classmethod
    def aggressive(cls, **kwargs: Any) -> DolphinStrategyConfig:
        """The most of both."""
        return cls(engine_params="aggressive", **kwargs)

    def parameters(self) -> dict[str, Any]:
        """The engine's parameters, checked: a drifted champion is refused."""
        return params(self.source(), **({"boost_mode": self.boost_mode} if self.boost_mode else {}))

    def source(self) -> str | dict[str, Any] | None:
        """Where the parameters come from."""
        return self.config_path or self.engine_params


class _Writer:
    """Hands results to memory on a thread of its own; what cannot be written is kept, the newest value of each key, and
    tried again."""

    def __init__(self, memory: Memory, retry_s: float = 1.0) -> None:
        self._memory = memory
        self._retry = retry_s
        self._queue: queue.SimpleQueue[tuple[str, str, str] | None] = queue.SimpleQueue()
        self.kept: dict[tuple[str, str], str] = {}
        self._thread = threading.Thread(target=self._run, name="dolphin-memory", daemon=True)
        self._thread.start()

    def put(self, map_name: str, key: str, value: str) -> None:
        self._queue.put((map_name, key, value))

    def _run(self) -> None:
        ended = False
        while not ended:
            try:
                item = self._queue.get(timeout=self._retry if self.kept else None)
                if item is None:
                    ended = True
                else:
                    self.kept[item[:2]] = item[2]
            except queue.Empty:
                pass
            for (map_name, key), value in list(self.kept.items()):
                try:
                    self._memory.put(map_name, key, value)
                    del self.kept[(map_name, key)]
                except DolphinError as error:
                    LOG.warning("memory: %s[%s] was not written: %s", map_name, key, error)
                    break

    def close(self, timeout_s: float = 5.0) -> None:
        self._queue.put(None)
        self._thread.join(timeout_s)


class DolphinActor(Strategy):  # type: ignore[misc]
    """The source's actor: ``on_start``, ``on_bar``, ``on_stop``."""

    def __init__(self, config: DolphinStrategyConfig | None = None, memory: Memory | None = None) -> None:
        config = config or DolphinStrategyConfig()
        super().__init__(config)
        if config.mode not in ("replay", "live"):
            raise DataError(f"mode `{config.mode}` is neither replay nor live")
        if config.feed not in ("row", "day"):
            raise DataError(f"feed `{config.feed}` is neither row nor day")
        self.dolphin_config = config
        self.memory = memory
        self.memory_available = memory is not None
        self.engine: NDAlphaEngine | None = None
        self.signals = SignalBridge(config.scan_stale_after_s, clock=self._event_seconds)
        self.processed_dates: set[str] = set()
        self.day_results: list[DayResultDict] = []
        self.stale_state_events = 0
        self.bars_stepped = 0
        self.current_date: str | None = None
        self.last_result: StepResult | None = None
        # Each holds the newest update; append and pop are one atomic operation each.
        self._pending_acb: deque[str] = deque(maxlen=1)
        self._pending_safety: deque[str] = deque(maxlen=1)
        self._writer: _Writer | None = None
        self._now_ns = 0
        self._bar_idx = 0
        self._rows: _Rows | None = None
        self._data_dates: set[str] = set()

    # -- life

    def on_start(self) -> None:
        """Parameters checked, memory opened (or done without), the engine made, bars subscribed."""
        config = self.dolphin_config
        self._open_memory()
        assets = config.assets
        if config.mode == "replay":
            if config.data_dir is None:
                raise DataError("replay: data_dir names the day files")
            reference = str(config.parameters()["reference_symbol"])
            found = list_days(config.data_dir, reference, config.from_date, config.to_date)
            assets = assets or found["assets"]
            self._data_dates = set(found["dates"])
        if assets is not None:
            self._make_engine(assets)
        self.subscribe_bars(BarType.from_str(config.bar_type))

    def _make_engine(self, assets: Sequence[str]) -> NDAlphaEngine:
        config = self.dolphin_config
        extra: dict[str, Any] = {"boost_mode": config.boost_mode} if config.boost_mode else {}
        if config.snapshot is not None:
            engine = NDAlphaEngine.restore(config.snapshot, config.source(), **extra)
        else:
            engine = NDAlphaEngine(config.source(), list(assets), **extra)
            if config.capital is not None:
                engine.capital = config.capital
        if config.factors:
            engine.set_acb(config.factors)
        self.engine = engine
        return engine

    def _open_memory(self) -> None:
        config = self.dolphin_config
        if self.memory is None and config.use_memory and config.config_path:
            try:
                self.memory = open_memory(config.config_path)
            except (DolphinError, ImportError) as error:
                LOG.warning("system memory is away: APEX, local state: %s", error)
        self.memory_available = self.memory is not None
        if self.memory is None:
            return
        self._writer = _Writer(self.memory)
        if isinstance(self.memory, HazelcastMemory):
            try:
                self.memory.listen("DOLPHIN_FEATURES", "acb_boost", self.on_acb_update)
                self.memory.listen("DOLPHIN_SAFETY", "latest", self.on_safety_update)
                if config.mode == "live":
                    self.memory.listen("DOLPHIN_FEATURES", "latest_eigen_scan", self.signals.push)
            except DolphinError as error:
                self._degrade(error)

    def _degrade(self, error: DolphinError) -> None:
        self.memory_available = False
        LOG.warning("system memory is away, the engine goes on: %s", error)

    def on_stop(self) -> None:
        """Ends the open day, clears processed dates and counters, shuts memory down."""
        self._end_day()
        self.processed_dates.clear()
        self.stale_state_events = 0
        self.bars_stepped = 0
        self._rows = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self.memory is not None:
            try:
                self.memory.close()
            except Exception as error:
                LOG.warning("memory: %s", error)
            self.memory = None

    # -- pushes, on whatever thread

    def on_acb_update(self, text: str) -> None:
        """`{"boost", "beta"}` as memory holds it: taken at the top of the next bar. The newest counts."""
        self._pending_acb.append(text)

    def on_safety_update(self, text: str) -> None:
        """`{"posture", "Rm"}` as memory holds it."""
        self._pending_safety.append(text)

    def _take_pending(self, engine: NDAlphaEngine) -> None:
        try:
            boost, beta = parse_acb_push(self._pending_acb.pop())
            engine.update_acb_boost(boost, beta)
        except IndexError:
            pass
        except DataError as error:
            LOG.warning("an ACB push is refused: %s", error)
        try:
            engine.push_safety(*parse_safety(self._pending_safety.pop()))
        except IndexError:
            pass
        except DataError as error:
            LOG.warning("a safety push is refused: %s", error)

    # -- bars

    def on_bar(self, bar: Bar) -> None:
        """SPEC 3.13, step by step."""
        self._now_ns = int(bar.ts_event)
        engine = self.engine or self._engine_of_scan()
        if engine is None:
            return
        self._take_pending(engine)  # 1
        date = datetime.fromtimestamp(self._now_ns // 1_000_000_000, tz=timezone.utc).date().isoformat()
        if date != self.current_date:  # 2
            self._change_date(engine, date)
        if engine.posture == "HIBERNATE":  # 3
            return
        if self.dolphin_config.mode == "live":
            self._step_live(engine)
        elif self.dolphin_config.feed == "day":
            while self._step_row(engine):
                pass
        else:
            self._step_row(engine)

    def _event_seconds(self) -> float:
        return self._now_ns / 1e9

    def _change_date(self, engine: NDAlphaEngine, date: str) -> None:
        if self.current_date is not None and date < self.current_date:
            return  # Dates never go back: the bar is stepped in the current one.
        self._end_day()
        posture, rm = self._read_posture(date)
        engine.begin_day(date, posture, rm)
        self.current_date = date
        self.processed_dates.add(date)
        self._bar_idx = 0
        self._rows = None
        if self.dolphin_config.mode == "replay" and date in self._data_dates:
            reference = str(engine.params["reference_symbol"])
            self._rows = _Rows(read_day(str(self.dolphin_config.data_dir), date, reference), engine.assets)

    def _end_day(self) -> None:
        if self.engine is None or (result := self.engine.end_day()) is None:
            return
        self.day_results.append(result)
        self._hand_over(result)

    def _hand_over(self, result: DayResultDict) -> None:
        if self._writer is None:
            return
        import json

        green = bool(self.engine and self.engine.direction == 0)
        self._writer.put(f"DOLPHIN_PNL_{'GREEN' if green else 'BLUE'}", result["date"], json.dumps(result))

    def _read_posture(self, date: str) -> tuple[str, float]:
        """At start and at each date change. Nothing there: APEX; there and unreadable: TURTLE, with a warning (SPEC 4.2)."""
        told: Mapping[str, Any] | None = (self.dolphin_config.postures or {}).get(date)
        if told is not None:
            import json

            return parse_safety(json.dumps({"Rm": 1.0, **told}) if "posture" in told else json.dumps(told))
        if self.memory is not None:
            try:
                text = self.memory.get("DOLPHIN_SAFETY", "latest")
                self.memory_available = True
                return parse_safety(text) if text is not None else ("APEX", 1.0)
            except DataError as error:
                LOG.warning("the posture cannot be read, TURTLE: %s", error)
                return "TURTLE", 0.5
            except DolphinError as error:
                self._degrade(error)
        return "APEX", 1.0

    def _step_row(self, engine: NDAlphaEngine) -> bool:
        """4, replay: the next row; none left: nothing."""
        rows = self._rows
        if rows is None or rows.next >= len(rows):
            return False
        i = rows.next
        rows.next = i + 1
        self._step(engine, rows.vel_div[i], rows.prices[i], rows.v50[i], rows.v750[i], rows.instability_50[i])
        return True

    def _engine_of_scan(self) -> NDAlphaEngine | None:
        """Live, without a list of assets: those of the first scan."""
        scan = self.signals.take() if self.dolphin_config.mode == "live" else None
        if scan is None or not scan["asset_prices"]:
            return None
        # The number was taken as seen; this bar may use it.
        self.signals._last_number = None
        return self._make_engine(list(scan["asset_prices"]))

    def _step_live(self, engine: NDAlphaEngine) -> None:
        """4, live: the newest scan."""
        scan = self.signals.take()
        if scan is None:
            return
        prices = np.array([scan["asset_prices"].get(a, math.nan) for a in engine.assets], dtype=np.float64)
        self._step(
            engine,
            scan["vel_div"],
            prices,
            scan["v50_lambda_max_velocity"],
            scan["v750_lambda_max_velocity"],
            scan["instability_50"],
        )

    def _step(
        self,
        engine: NDAlphaEngine,
        vel_div: float,
        prices: NDArray[np.float64],
        v50: float,
        v750: float,
        instability_50: float,
    ) -> None:
        before = engine.control_snapshot()  # 5; 6, the boost mode, is the engine's own
        self.last_result = engine.step_bar(self._bar_idx, vel_div, prices, None, v50, v750, None, instability_50)  # 7
        self._bar_idx += 1
        self.bars_stepped += 1
        if engine.control_snapshot() != before:  # 8
            self.stale_state_events += 1
            engine.mark_stale()
            LOG.warning("state changed during bar %d of %s: its result is stale", self._bar_idx - 1, self.current_date)

    # -- results

    @property
    def trades(self) -> list[TradeDict]:
        """Closed trades (SPEC 3.11)."""
        return self.engine.trade_history if self.engine else []


class _Rows:
    """The rows of a day in the engine's columns."""

    def __init__(self, day: Any, assets: Sequence[str]) -> None:
        self.next = 0
        self.vel_div = day.column("vel_div").tolist()
        self.v50 = day.column("v50").tolist()
        self.v750 = day.column("v750").tolist()
        self.instability_50 = day.column("instability_50").tolist()
        prices = day.prices
        if list(day.assets) != list(assets):
            own = {name: i for i, name in enumerate(day.assets)}
            wide = np.full((len(day), len(assets)), np.nan)
            for column, name in enumerate(assets):
                if name in own:
                    wide[:, column] = prices[:, own[name]]
            prices = wide
        self.prices: NDArray[np.float64] = np.ascontiguousarray(prices)

    def __len__(self) -> int:
        return len(self.vel_div)


class NautilusDolphinLauncher:
    """Starts the trading node (the program ``dolphin``) and blocks until SIGTERM, as ``TradingNode.run`` does.

    ``mode``: ``live`` (orders; ``keys`` names the key file) or ``paper`` (the venue's real market, fills simulated on this
    machine). ``venue``: ``testnet``, ``mainnet`` or a URL. ``arguments``: further options of ``dolphin live``."""

    def __init__(
        self,
        config_path: str,
        *,
        mode: str = "paper",
        keys: str | None = None,
        venue: str | None = None,
        binary: str | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        if mode not in ("live", "paper"):
            raise DataError(f"mode `{mode}` is neither live nor paper")
        load_config(config_path)  # A drifted champion does not start.
        self.config_path = config_path
        self._command = [find_binary(binary), "live", "--config", config_path]
        self._command += ["--paper"] if mode == "paper" else []
        self._command += ["--keys", keys] if keys else []
        self._command += ["--venue", venue] if venue else []
        self._command += list(arguments)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """What is run."""
        return list(self._command)

    def start(self) -> int:
        """Runs the node until it ends, or SIGTERM or Ctrl-C ask it to; gives its exit code. In a thread other than the main
        one it is ended by :meth:`stop`."""
        process = subprocess.Popen(self._command)
        self._process = process
        before = {}

        def forward(number: int, _: FrameType | None) -> None:
            process.send_signal(signal.SIGTERM if number == signal.SIGTERM else signal.SIGINT)

        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._process = None

    def stop(self, timeout_s: float = 30.0) -> None:
        """Ends the node from another thread: entries stop, orders are cancelled, it exits."""
        process = self._process
        if process is None:
            return
        process.terminate()
        until = time.monotonic() + timeout_s
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        if process.poll() is None:
            process.kill()
