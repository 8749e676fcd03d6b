"""The engine of DOLPHIN for Python: the very engine of the trading node and of ``dolphin replay``, no second implementation.

* :class:`NDAlphaEngine`, :func:`create_boost_engine`, :class:`DolphinForewarner`: the engine by the source's names.
* :func:`replay`, :func:`parity`, :func:`features`, :func:`eigen`, :func:`hash`: the commands of the program. Tables come by
  Arrow's PyCapsule interface: ``pyarrow.table(t)``, ``polars.DataFrame(t)`` take them without a copy.
* :mod:`dolphin_engine.nautilus`: the actor for NautilusTrader; :mod:`dolphin_engine.run_nautilus`: its runner.
* :mod:`dolphin_engine.ob`, :mod:`dolphin_engine.memory`, :mod:`dolphin_engine.signals`, :mod:`dolphin_engine.monitor`: order-book
  features, system memory, scans and metrics as the flows use them.

Prices and money are in the quote asset, times in UTC, shares and fees fractions of 1 unless a name says otherwise.
"""

from __future__ import annotations

from typing import Any

from ._native import (
    CHAMPION_HASH,
    CircuitBreakerManager,
    ConfigError,
    DataError,
    DayBars,
    DayRun,
    DolphinError,
    DolphinForewarner,
    NDAlphaEngine,
    ObView,
    ParityResult,
    RandomState,
    ReplayResult,
    Start,
    StepResult,
    Table,
    UnavailableError,
    __version__,
    apply_cut_to_position_size,
    base_boost,
    eigen,
    features,
    features_map,
    hash,
    list_days,
    load_config,
    load_day,
    metrics,
    params,
    parity,
    parse_acb_push,
    parse_safety,
    parse_scan,
    posture_of,
    read_day,
    recompute,
    replay,
    restore_capital,
    run_engine_day,
)

__all__ = [
    "CHAMPION_HASH",
    "CircuitBreakerManager",
    "ConfigError",
    "DataError",
    "DayBars",
    "DayRun",
    "DolphinError",
    "DolphinForewarner",
    "NDAlphaEngine",
    "ObView",
    "ParityResult",
    "RandomState",
    "ReplayResult",
    "Start",
    "StepResult",
    "Table",
    "UnavailableError",
    "__version__",
    "apply_cut_to_position_size",
    "base_boost",
    "create_boost_engine",
    "eigen",
    "features",
    "features_map",
    "hash",
    "list_days",
    "load_config",
    "load_day",
    "metrics",
    "params",
    "parity",
    "parse_acb_push",
    "parse_safety",
    "parse_scan",
    "posture_of",
    "read_day",
    "recompute",
    "replay",
    "restore_capital",
    "run_engine_day",
]


def create_boost_engine(mode: str = "baseline", **engine_kwargs: Any) -> NDAlphaEngine:
    """An engine whose ACB boost is adjusted before each step: ``baseline`` (not at all) or ``proxy_b`` (by the rank of
    ``instability_50 - v750_vel`` among its last 500 bars). ``engine_kwargs`` are those of :class:`NDAlphaEngine`."""
    return NDAlphaEngine(boost_mode=mode, **engine_kwargs)
