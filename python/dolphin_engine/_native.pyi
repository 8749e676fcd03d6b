"""The compiled module. Prices and money are in the quote asset, dates are UTC."""

import os
from collections.abc import Mapping, Sequence
from datetime import date as Date
from typing import Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

__version__: str
CHAMPION_HASH: str

_Path = str | os.PathLike[str]
_Date = str | Date
_Params = None | str | os.PathLike[str] | Mapping[str, Any]

class DolphinError(Exception): ...
class ConfigError(DolphinError): ...
class DataError(DolphinError): ...
class UnavailableError(DolphinError): ...

class PositionDict(TypedDict):
    symbol: str
    direction: int
    entry_price: float
    notional: float
    leverage: float
    entry_tick: int
    entry_bar: int
    entry_date: str
    maker_entry: bool | None
    fee_entry: float
    vel_div: float
    bucket: int
    boost: float
    beta: float
    mc_scale: float

class TradeDict(TypedDict):
    symbol: str
    direction: int
    entry_date: str
    entry_bar: int
    exit_date: str
    exit_bar: int
    bars_held: int
    entry_price: float
    exit_price: float
    notional: float
    leverage: float
    vel_div: float
    bucket: int
    boost: float
    beta: float
    mc_scale: float
    maker_entry: bool | None
    maker_exit: bool | None
    fees: float
    gross_pnl: float
    pnl: float
    capital_after: float
    reason: str

class DayResultDict(TypedDict):
    date: str
    pnl: float
    trades: int
    capital: float
    boost: float
    beta: float
    mc_scale: float
    mc_status: str
    posture: str
    bars: int
    stale_state: bool
    param_hash: str

class DayStartDict(TypedDict):
    mc_scale: float
    mc_status: str

class ObProvider(Protocol):
    """Where an engine's order-book features come from."""

    def view(self, assets: Sequence[str]) -> ObView | None: ...

class Table:
    """A table by Arrow's PyCapsule interface: ``pyarrow.table(t)`` and ``polars.DataFrame(t)`` take it without a copy."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __len__(self) -> int: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def column_names(self) -> list[str]: ...
    def column(self, name: str) -> list[Any]:
        """A column as a list."""
    def to_pylist(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""

class StepResult:
    """What a step came to."""

    @property
    def tick(self) -> int:
        """Lifetime tick, 0-based."""
    @property
    def gate(self) -> str:
        """The gate that stopped the step, or what it did."""
    @property
    def action(self) -> str:
        """``none``, ``entered`` or ``exited``."""
    @property
    def symbol(self) -> str | None:
        """Symbol entered, if one was."""
    @property
    def reason(self) -> str | None:
        """``TP``, ``STOP``, ``MAX_HOLD``, where a position was closed."""
    @property
    def capital(self) -> float:
        """Capital after the step."""
    @property
    def vol_std(self) -> float:
        """Standard deviation of one-bar returns of the reference symbol; NaN: not computed."""
    @property
    def direction(self) -> int:
        """+1 or -1 where the signal fired, else 0."""
    @property
    def values(self) -> dict[str, Any]:
        """The numbers behind the gates, by name."""

class ObView:
    """Features of an engine's assets."""

    @staticmethod
    def from_json(text: str, assets: Sequence[str], now: float | None = None, max_age_s: float | None = None) -> ObView:
        """From JSON ``{symbol: record}``. Records older than ``max_age_s`` before ``now`` (s since 1970) are not there."""
    @property
    def fresh(self) -> list[str]: ...
    @property
    def stale(self) -> list[str]: ...
    @property
    def rejected(self) -> list[tuple[str, str]]: ...
    def __len__(self) -> int: ...

class DolphinForewarner:
    """The model in a folder; one that cannot be read is a RuntimeWarning, its scale 1.0, its status DISABLED."""

    def __init__(self, models_dir: _Path) -> None: ...
    @property
    def available(self) -> bool: ...
    @property
    def error(self) -> str | None: ...
    @property
    def models_dir(self) -> os.PathLike[str]: ...

class CircuitBreakerManager:
    """Trips on a daily loss (fraction of the day's first capital), losses in a row, a reject rate, or by hand."""

    def __init__(
        self,
        max_daily_loss: float | None = None,
        max_consecutive_losses: int | None = None,
        max_reject_rate: float | None = None,
        min_orders: int = 0,
    ) -> None: ...
    def begin_day(self, capital: float) -> None: ...
    def on_trade(self, pnl: float) -> None: ...
    def on_order(self, rejected: bool) -> None: ...
    def trip(self) -> None: ...
    def reset(self) -> None: ...
    @property
    def is_tripped(self) -> bool: ...
    @property
    def can_open(self) -> bool: ...
    def status(self) -> dict[str, Any]: ...

class RandomState:
    """NumPy's ``RandomState(seed)``, as far as ``random_sample`` goes."""

    def __init__(self, seed: int) -> None: ...
    def random_sample(self, size: int | None = None) -> Any: ...

class NDAlphaEngine:
    """``begin_day``, ``step_bar`` for each tick, ``end_day``. One caller at a time."""

    def __init__(
        self, params: _Params = None, assets: Sequence[str] | None = None, stride: int = 1, **overrides: Any
    ) -> None: ...
    def begin_day(
        self, date: _Date, posture: str = "APEX", Rm: float = 1.0, direction: int | None = None
    ) -> DayStartDict:
        """``Rm`` in [0, 1]; ``direction`` -1 SHORT, +1 LONG, 0 both."""
    def step_bar(
        self,
        bar_idx: int,
        vel_div: float,
        prices: NDArray[np.float64] | Sequence[float] | Mapping[str, float],
        vol_regime_ok: bool | None = None,
        v50_vel: float = ...,
        v750_vel: float = ...,
        ob: ObView | Mapping[str, Any] | None = None,
        instability_50: float = ...,
    ) -> StepResult:
        """One tick. ``bar_idx``: ticks since the day began; ``prices``: one for each asset, NaN where there is none."""
    def end_day(self) -> DayResultDict | None: ...
    def update_acb_boost(self, boost: float, beta: float) -> bool:
        """``boost`` in [0.5, 2], ``beta`` in [0, 2]; False with a RuntimeWarning where they are not."""
    def set_acb(self, acb: Any) -> None: ...
    def set_mc_forewarner(self, forewarner: DolphinForewarner | None) -> None: ...
    def set_ob_engine(self, provider: ObProvider | None) -> None: ...
    def push_safety(self, posture: str, Rm: float) -> str: ...
    def mark_stale(self) -> None: ...
    def set_breaker_limits(
        self,
        max_daily_loss: float | None = None,
        max_consecutive_losses: int | None = None,
        max_reject_rate: float | None = None,
        min_orders: int = 0,
    ) -> None: ...
    def trip_breaker(self) -> None: ...
    def reset_breaker(self) -> None: ...
    def breaker_status(self) -> dict[str, Any]: ...
    def control_snapshot(self) -> tuple[float, float | None, str, bool]: ...
    def snapshot(self) -> str: ...
    @staticmethod
    def restore(snapshot: str, params: _Params = None, **overrides: Any) -> NDAlphaEngine: ...
    def gate_counts(self) -> dict[str, int]: ...
    capital: float
    @property
    def position(self) -> PositionDict | None: ...
    @property
    def trade_history(self) -> list[TradeDict]: ...
    @property
    def last_trade(self) -> TradeDict | None: ...
    @property
    def regime_size_mult(self) -> float: ...
    @property
    def day_base_boost(self) -> float: ...
    @property
    def day_beta(self) -> float: ...
    @property
    def day_mc_scale(self) -> float: ...
    @property
    def global_bar_idx(self) -> int: ...
    @property
    def _day_base_boost(self) -> float: ...
    @property
    def _day_beta(self) -> float: ...
    @property
    def _day_mc_scale(self) -> float: ...
    @property
    def _global_bar_idx(self) -> int: ...
    @property
    def acb_rejects(self) -> int: ...
    @property
    def acb_threshold(self) -> float | None: ...
    @property
    def posture(self) -> str: ...
    @property
    def date(self) -> str | None: ...
    @property
    def assets(self) -> tuple[str, ...]: ...
    @property
    def stride(self) -> int: ...
    @property
    def param_hash(self) -> str: ...
    @property
    def params(self) -> dict[str, Any]: ...
    @property
    def direction(self) -> int: ...

class ReplayResult:
    """What a replay gave."""

    @property
    def trades(self) -> Table: ...
    @property
    def days(self) -> Table: ...
    @property
    def summary(self) -> dict[str, Any]: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def assets(self) -> list[str]: ...
    @property
    def elapsed_s(self) -> float: ...
    @property
    def param_hash(self) -> str: ...

class ParityResult:
    """What a comparison gave; true where both are the same."""

    @property
    def equal(self) -> bool: ...
    def to_dict(self) -> dict[str, Any]: ...
    @property
    def lines(self) -> list[dict[str, Any]]: ...
    @property
    def first_divergence(self) -> dict[str, Any] | None: ...
    def __bool__(self) -> bool: ...

class DayBars:
    """The bars of a day."""

    @property
    def date(self) -> str: ...
    @property
    def assets(self) -> list[str]: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def prices(self) -> NDArray[np.float64]:
        """Bars x assets; NaN: none."""
    @property
    def ts_ns(self) -> NDArray[np.int64]:
        """Event times, ns since 1970; 0: none."""
    @property
    def scan_number(self) -> NDArray[np.int64]: ...
    def column(self, name: str) -> NDArray[np.float64]: ...
    def __len__(self) -> int: ...

class Start:
    """What a date begins with."""

    @property
    def capital(self) -> float | None: ...
    @property
    def origin(self) -> str: ...
    @property
    def has_engine(self) -> bool: ...
    @property
    def snapshot(self) -> str | None: ...

class DayRun:
    """A date that was run."""

    @property
    def result(self) -> DayResultDict: ...
    @property
    def trades(self) -> Table: ...
    @property
    def start_capital(self) -> float: ...
    @property
    def notes(self) -> list[str]: ...
    def writes(self, entries: Mapping[str, str], now: float) -> list[tuple[str, str, str]]: ...
    def outdated(self, entries: Mapping[str, str]) -> list[str]: ...
    def log_pnl(self, path: _Path) -> None: ...

def replay(
    data: _Path,
    config: _Params = None,
    *,
    start: _Date | None = None,
    end: _Date | None = None,
    postures: _Path | Mapping[str, Any] | None = None,
    acb: _Path | Sequence[Mapping[str, Any]] | None = None,
    factors: _Path | Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    assets: Sequence[str] | None = None,
    threads: int | None = None,
    out: _Path | None = None,
    force: bool = False,
) -> ReplayResult:
    """Day files to trades, as ``dolphin replay``."""

def parity(
    data: _Path,
    expected: _Path,
    config: _Params = None,
    *,
    rtol: float = 1e-9,
    start: _Date | None = None,
    end: _Date | None = None,
    postures: _Path | Mapping[str, Any] | None = None,
    acb: _Path | Sequence[Mapping[str, Any]] | None = None,
    factors: _Path | Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    assets: Sequence[str] | None = None,
    threads: int | None = None,
) -> ParityResult:
    """Is a replay what is expected? As ``dolphin parity``."""

def features(recording: _Path | Sequence[_Path], interval_ms: int = 100) -> Table:
    """Order-book features of recordings, as ``dolphin features``."""

def eigen(prices: NDArray[np.float64], stride: int = 1) -> Table:
    """Eigen scans of prices, a row a tick, a column an asset."""

def recompute(data: _Path, out: _Path, stride: int = 1, assets: Sequence[str] | None = None) -> dict[str, Any]:
    """Day files with recomputed eigen columns, as ``dolphin eigen``."""

def hash(params: _Params = None, **overrides: Any) -> str: ...
def params(params: _Params = None, **overrides: Any) -> dict[str, Any]: ...
def load_config(path: _Path) -> dict[str, Any]: ...
def base_boost(n_signals: int) -> float: ...
def apply_cut_to_position_size(size: float, cut: float) -> float: ...
def posture_of(rm: float) -> str: ...
def parse_scan(text: str) -> dict[str, Any]: ...
def parse_acb_push(text: str) -> tuple[float, float]: ...
def parse_safety(text: str) -> tuple[str, float]: ...
def metrics(initial_capital: float, trades: Sequence[tuple[float, float]], daily_capital: Sequence[float]) -> dict[str, Any]: ...
def features_map(symbol: str) -> str: ...
class DayList(TypedDict):
    dates: list[str]
    assets: list[str]
    notes: list[str]

def list_days(data: _Path, reference: str = "BTCUSDT", start: _Date | None = None, end: _Date | None = None) -> DayList: ...
def read_day(data: _Path, date: _Date, reference: str = "BTCUSDT") -> DayBars: ...
def load_day(config: _Path, data: _Path, date: _Date) -> DayBars: ...
def restore_capital(entries: Mapping[str, str], flow: str, date: _Date) -> Start: ...
def run_engine_day(config: _Path, day: DayBars, start: Start, flow: str = "paper", safety: str | None = None) -> DayRun: ...
