"""NautilusTrader, a live node: instruments, book, bars, orders, fills; a stop with an open position, a new node that
reconciles it and closes it, a clean stop."""

import subprocess
import sys
import threading
from decimal import Decimal

from nautilus_trader.adapters.binance import (
    BINANCE, BinanceAccountType, BinanceDataClientConfig, BinanceExecClientConfig, BinanceLiveDataClientFactory,
    BinanceLiveExecClientFactory,
)
from nautilus_trader.adapters.binance.common.enums import BinanceEnvironment
from nautilus_trader.config import (
    InstrumentProviderConfig, LiveDataEngineConfig, LiveExecEngineConfig, LoggingConfig, StrategyConfig, TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import BookType, OrderSide, OrderStatus, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.trading.strategy import Strategy
from pandas import Timedelta

from check import _failed, check

NAME = "nautilus"
INSTRUMENT = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")
BARS = BarType.from_str("BTCUSDT-PERP.BINANCE-1-MINUTE-LAST-EXTERNAL")
# A minute's bar and what comes before and after it.
PATIENCE = 85


class Session(Strategy):
    """Shared by both nodes: what came, and an event to end by."""

    def __init__(self):
        super().__init__(StrategyConfig(strategy_id="S-001", order_id_tag="001", external_order_claims=[INSTRUMENT]))
        self.over = threading.Event()
        self.deltas, self.quotes, self.trades, self.bars, self.history = 0, 0, 0, [], []
        self.book = OrderBook(INSTRUMENT, BookType.L2_MBP)
        self.fills, self.canceled, self.modified, self.rejected = [], [], [], []

    def on_order_book_deltas(self, deltas):
        self.book.apply_deltas(deltas)
        self.deltas += 1

    def on_quote_tick(self, _):
        self.quotes += 1

    def on_trade_tick(self, _):
        self.trades += 1

    def on_bar(self, bar):
        self.bars.append(bar)

    def on_historical_data(self, data):
        self.history.append(data)

    def on_order_canceled(self, event):
        self.canceled.append(event.client_order_id)

    def on_order_updated(self, event):
        self.modified.append(event)

    def on_order_rejected(self, event):
        self.rejected.append(event)

    def on_order_filled(self, event):
        self.fills.append(event)


class Opens(Session):
    """Watches the market, places, modifies and cancels an order, and buys."""

    def on_start(self):
        self.instrument = self.cache.instrument(INSTRUMENT)
        self.subscribe_order_book_deltas(INSTRUMENT)
        self.subscribe_quote_ticks(INSTRUMENT)
        self.subscribe_trade_ticks(INSTRUMENT)
        self.subscribe_bars(BARS)
        self.request_bars(BARS, start=self.clock.utc_now().floor("min") - Timedelta(minutes=20))
        self.order, self.step, self.waited = None, 0, 0
        self.clock.set_timer("steps", interval=Timedelta(milliseconds=500), callback=self.next)

    def limit(self, price, **more):
        return self.order_factory.limit(
            INSTRUMENT, OrderSide.BUY, self.instrument.make_qty(0.01), self.instrument.make_price(price),
            time_in_force=TimeInForce.GTC, **more)

    def next(self, _):
        self.waited += 1
        steps = [self.place_it, self.modify_it, self.cancel_it, self.cross, self.buy, self.wait_for_bar]
        if steps[self.step]():
            self.step, self.waited = self.step + 1, 0
        if self.step == len(steps) or self.waited > 2 * PATIENCE:
            self.clock.cancel_timer("steps")
            self.over.set()

    def place_it(self):
        if not (self.deltas > 5 and self.quotes and self.trades):
            return False
        self.order = self.limit(float(self.book.best_bid_price()) * 0.98)
        self.submit_order(self.order)
        return True

    def modify_it(self):
        if self.order.status != OrderStatus.ACCEPTED:
            return False
        self.modify_order(self.order, quantity=self.instrument.make_qty(0.02))
        return True

    def cancel_it(self):
        if not self.modified:
            return False
        self.cancel_order(self.order)
        return True

    def cross(self):
        if not self.canceled:
            return False
        self.post_only = self.limit(float(self.book.best_ask_price()) * 1.001, post_only=True)
        self.submit_order(self.post_only)
        return True

    def buy(self):
        if not self.rejected:
            return False
        self.submit_order(self.order_factory.market(INSTRUMENT, OrderSide.BUY, self.instrument.make_qty(0.02)))
        return True

    def wait_for_bar(self):
        return bool(self.fills) and bool(self.bars)

    def report(self):
        check(NAME, "instrument", self.instrument.price_increment == Decimal("0.1"), self.instrument.id)
        bid, ask = self.book.best_bid_price(), self.book.best_ask_price()
        check(NAME, "book", self.deltas > 5 and bid < ask, f"{self.deltas} changes, {bid} / {ask}")
        check(NAME, "quotes and trades", self.quotes > 0 and self.trades > 0, f"{self.quotes}, {self.trades}")
        check(NAME, "bars before the start", len(self.history) >= 15, len(self.history))
        check(NAME, "a live bar", bool(self.bars), self.bars[:1])
        check(NAME, "place, modify, cancel", self.order and self.canceled == [self.order.client_order_id])
        check(NAME, "post-only would take", any(r.due_post_only for r in self.rejected))
        check(NAME, "market fill", sum(float(f.last_qty) for f in self.fills) == 0.02, len(self.fills))
        fee = sum(float(f.commission) / float(f.last_px) / float(f.last_qty) for f in self.fills) / max(1, len(self.fills))
        check(NAME, "commission of a taker", abs(fee - 0.0005) < 1e-7, fee)
        position = self.portfolio.net_position(INSTRUMENT)
        check(NAME, "open position", position == Decimal("0.020"), position)


class Closes(Session):
    """Finds the position of the node before and closes it."""

    def on_start(self):
        self.found = self.portfolio.net_position(INSTRUMENT)
        self.waited = 0
        for position in self.cache.positions_open(instrument_id=INSTRUMENT):
            self.close_position(position)
        self.clock.set_timer("steps", interval=Timedelta(milliseconds=500), callback=self.next)

    def next(self, _):
        self.waited += 1
        if self.portfolio.is_flat(INSTRUMENT) or self.waited > 40:
            self.clock.cancel_timer("steps")
            self.over.set()

    def report(self):
        check(NAME, "reconciliation of an open position", self.found == Decimal("0.020"), self.found)
        check(NAME, "close", bool(self.fills) and self.portfolio.is_flat(INSTRUMENT))


def node(host):
    clients = dict(
        api_key="K", api_secret="S", account_type=BinanceAccountType.USDT_FUTURES, environment=BinanceEnvironment.DEMO,
        base_url_http=f"http://{host}", instrument_provider=InstrumentProviderConfig(load_ids=frozenset([INSTRUMENT])),
    )
    config = TradingNodeConfig(
        trader_id=TraderId("DOLPHIN-001"),
        logging=LoggingConfig(log_level="ERROR", log_colors=False),
        data_engine=LiveDataEngineConfig(),
        exec_engine=LiveExecEngineConfig(reconciliation=True),
        data_clients={BINANCE: BinanceDataClientConfig(base_url_ws=f"ws://{host}", **clients)},
        exec_clients={BINANCE: BinanceExecClientConfig(
            base_url_ws=f"ws://{host}/ws-fapi/v1", base_url_ws_stream=f"ws://{host}/private", use_position_ids=False,
            **clients)},
        timeout_connection=20, timeout_reconciliation=10, timeout_portfolio=10, timeout_disconnection=5,
        timeout_post_stop=1,
    )
    made = TradingNode(config=config)
    made.add_data_client_factory(BINANCE, BinanceLiveDataClientFactory)
    made.add_exec_client_factory(BINANCE, BinanceLiveExecClientFactory)
    return made


def run(host, strategy):
    """Runs a node until its strategy is done."""
    made = node(host)
    made.trader.add_strategy(strategy)
    made.build()

    def end():
        strategy.over.wait(PATIENCE + 30)
        made.stop()

    threading.Thread(target=end, daemon=True).start()
    made.run()
    strategy.report()
    check(NAME, "clean stop", not made.is_running())
    made.dispose()


if len(sys.argv) > 2:
    run(sys.argv[1], {"opens": Opens, "closes": Closes}[sys.argv[2]]())
    sys.exit(1 if _failed else 0)
# Each node in a process of its own, as in life: the second knows of the first by the venue alone.
codes = [subprocess.run([sys.executable, __file__, sys.argv[1], part]).returncode for part in ("opens", "closes")]
sys.exit(max(map(abs, codes)))
