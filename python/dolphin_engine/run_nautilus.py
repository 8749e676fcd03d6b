"""Day files through NautilusTrader's ``BacktestEngine`` and :class:`DolphinActor`, beside ``dolphin_engine.replay``:

    python -m dolphin_engine.run_nautilus --config configs/blue.yml --data DIR [--feed row|day] [--from D] [--to D]

Prints the number of trades, both times, and whether every field of every trade is the same; exit 1 where it is not."""

from __future__ import annotations

import argparse
import json
import sys
import time
from decimal import Decimal
from typing import Any

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import BacktestEngineConfig, LoggingConfig
from nautilus_trader.model.currencies import BTC, USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity

from ._native import DolphinError, list_days, params, read_day, replay
from .nautilus import BAR_TYPE, DolphinActor, DolphinStrategyConfig

DAY_NS = 86_400_000_000_000
BAR_NS = 5_000_000_000


def instrument() -> CurrencyPair:
    """BTCUSD.BINANCE, the instrument whose bars feed the actor."""
    return CurrencyPair(
        instrument_id=InstrumentId(Symbol("BTCUSD"), Venue("BINANCE")),
        raw_symbol=Symbol("BTCUSD"),
        base_currency=BTC,
        quote_currency=USD,
        price_precision=2,
        size_precision=3,
        price_increment=Price.from_str("0.01"),
        size_increment=Quantity.from_str("0.001"),
        ts_event=0,
        ts_init=0,
        margin_init=Decimal("0.05"),
        margin_maint=Decimal("0.025"),
        maker_fee=Decimal("0"),
        taker_fee=Decimal("0"),
    )


def _bar(bar_type: BarType, price: float, ts_ns: int) -> Bar:
    shown = Price(price if np.isfinite(price) and price > 0 else 1.0, 2)
    return Bar(bar_type, shown, shown, shown, shown, Quantity(1, 3), ts_ns, ts_ns)


def bars_of(data: str, date: str, reference: str, feed: str) -> list[Bar]:
    """The bars of a date: one a row, or one for the whole day. A bar may be stamped at its close: the midnight after the date
    belongs to it, and is given as its last nanosecond."""
    bar_type = BarType.from_str(BAR_TYPE)
    midnight = int(np.datetime64(date, "ns").astype(np.int64))
    day = read_day(data, date, reference)
    assets = day.assets
    prices = day.prices[:, assets.index(reference)] if reference in assets else np.full(len(day), np.nan)
    if feed == "day":
        return [_bar(bar_type, float(prices[0]) if len(day) else 1.0, midnight)]
    times = day.ts_ns
    bars, last = [], midnight
    for i in range(len(day)):
        ts = int(times[i]) or midnight + i * BAR_NS
        last = max(last, min(ts, midnight + DAY_NS - 1))
        bars.append(_bar(bar_type, float(prices[i]), last))
    return bars


def backtest(actor: DolphinActor, bars: list[Bar]) -> BacktestEngine:
    """A backtest of the actor on these bars: venue BINANCE, HEDGING, MARGIN. Not run yet."""
    engine = BacktestEngine(
        BacktestEngineConfig(
            trader_id=TraderId("DOLPHIN-001"), logging=LoggingConfig(bypass_logging=True), run_analysis=False
        )
    )
    engine.add_venue(
        venue=Venue("BINANCE"),
        oms_type=OmsType.HEDGING,
        account_type=AccountType.MARGIN,
        starting_balances=[Money(25_000, USD)],
        base_currency=USD,
    )
    engine.add_instrument(instrument())
    if bars:
        engine.add_data(bars)
    engine.add_strategy(actor)
    return engine


def run(
    config: str | None,
    data: str,
    start: str | None = None,
    end: str | None = None,
    feed: str = "row",
    **actor_config: Any,
) -> dict[str, Any]:
    """Runs the actor over the dates of ``data``; gives trades, day results, the final capital and the time it
    took from the day files to the trades, s, as `dolphin replay` counts it."""
    begun = time.perf_counter()
    reference = str(params(config)["reference_symbol"])
    dates = list_days(data, reference, start, end)["dates"]
    actor = DolphinActor(
        DolphinStrategyConfig(
            config_path=config, data_dir=data, feed=feed, from_date=start, to_date=end, **actor_config
        )
    )
    bars = [bar for date in dates for bar in bars_of(data, date, reference, feed)]
    engine = backtest(actor, bars)
    engine.run()
    elapsed = time.perf_counter() - begun
    assert actor.engine is not None
    result = {
        "trades": actor.trades,
        "days": actor.day_results,
        "capital": actor.engine.capital,
        "elapsed_s": elapsed,
        "bars": len(bars),
    }
    engine.dispose()
    return result


def differences(ours: list[Any], theirs: list[Any]) -> list[str]:
    """Where two lists of trades differ, field by field."""
    found = [] if len(ours) == len(theirs) else [f"{len(ours)} trades, {len(theirs)} expected"]
    for number, (a, b) in enumerate(zip(ours, theirs), 1):
        found += [f"trade {number}: {k} is {a.get(k)!r}, expected {b[k]!r}" for k in b if a.get(k) != b[k]]
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dolphin_engine.run_nautilus", description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--from", dest="start")
    parser.add_argument("--to", dest="end")
    parser.add_argument("--feed", choices=["row", "day"], default="row")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        nautilus = run(given.config, given.data, given.start, given.end, given.feed)
        own = replay(given.data, given.config, start=given.start, end=given.end, threads=1)
    except DolphinError as error:
        print(f"run_nautilus: {error}", file=sys.stderr)
        return {"ConfigError": 2, "DataError": 3, "UnavailableError": 4}.get(type(error).__name__, 1)
    found = differences(nautilus["trades"], own.trades.to_pylist())
    if given.json:
        print(json.dumps({**nautilus, "replay_s": own.elapsed_s, "differences": found}))
    else:
        ratio = nautilus["elapsed_s"] / own.elapsed_s
        print(
            f"NautilusTrader: {len(nautilus['trades'])} trades in {nautilus['elapsed_s']:.2f} s ({nautilus['bars']} bars)\n"
            f"dolphin replay: {len(own.trades)} trades in {own.elapsed_s:.4f} s ({ratio:.0f} times as fast)"
        )
        print("\n".join(found) or "every field of every trade is the same")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
