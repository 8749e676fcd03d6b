"""NautilusTrader, a live node that answers a book update with an order: at most one every 200 ms, a post-only bid at the touch,
cancelled as soon as it is accepted. The order's id names the update that it answers."""

import sys
import threading

from nautilus_trader.adapters.binance import (
    BINANCE, BinanceAccountType, BinanceDataClientConfig, BinanceExecClientConfig, BinanceLiveDataClientFactory,
    BinanceLiveExecClientFactory,
)
from nautilus_trader.adapters.binance.common.enums import BinanceEnvironment
from nautilus_trader.config import InstrumentProviderConfig, LoggingConfig, StrategyConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.enums import BookType, OrderSide, TimeInForce
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId, TraderId
from nautilus_trader.trading.strategy import Strategy

# Between two orders, ns: the venue takes 300 in 10 s.
PAUSE = 200_000_000


class Answers(Strategy):
    def __init__(self, instruments):
        super().__init__(StrategyConfig(strategy_id="S-001", order_id_tag="001"))
        self.instruments, self.books, self.next_at, self.sent = instruments, {}, 0, 0

    def on_start(self):
        for instrument in self.instruments:
            self.books[instrument] = OrderBook(instrument, BookType.L2_MBP)
            self.subscribe_order_book_deltas(instrument)
        # Books of every symbol first, then orders.
        self.next_at = self.clock.timestamp_ns() + 10_000_000_000

    def on_order_book_deltas(self, deltas):
        book = self.books[deltas.instrument_id]
        book.apply_deltas(deltas)
        now = self.clock.timestamp_ns()
        if now < self.next_at or book.best_bid_price() is None:
            return
        self.next_at = now + PAUSE
        self.sent += 1
        instrument = self.cache.instrument(deltas.instrument_id)
        price = book.best_bid_price()
        notional = max(100.0, 2 * float(instrument.min_notional or 5))
        self.submit_order(self.order_factory.limit(
            deltas.instrument_id, OrderSide.BUY, instrument.make_qty(notional / float(price)), price,
            time_in_force=TimeInForce.GTC, post_only=True,
            client_order_id=ClientOrderId(f"u{deltas.sequence}-{self.sent}")))

    def on_order_accepted(self, event):
        order = self.cache.order(event.client_order_id)
        if order and order.is_open:
            self.cancel_order(order)


def main(host, seconds, symbols):
    instruments = [InstrumentId.from_str(f"{symbol}-PERP.BINANCE") for symbol in symbols]
    clients = dict(
        api_key="K", api_secret="S", account_type=BinanceAccountType.USDT_FUTURES, environment=BinanceEnvironment.DEMO,
        base_url_http=f"http://{host}", instrument_provider=InstrumentProviderConfig(load_ids=frozenset(instruments)),
    )
    node = TradingNode(config=TradingNodeConfig(
        trader_id=TraderId("PEER-001"),
        logging=LoggingConfig(log_level="ERROR", log_colors=False),
        data_clients={BINANCE: BinanceDataClientConfig(base_url_ws=f"ws://{host}", **clients)},
        exec_clients={BINANCE: BinanceExecClientConfig(
            base_url_ws=f"ws://{host}/ws-fapi/v1", base_url_ws_stream=f"ws://{host}/private", use_position_ids=False,
            **clients)},
        timeout_connection=60, timeout_reconciliation=20, timeout_portfolio=20, timeout_disconnection=5,
        timeout_post_stop=1,
    ))
    node.add_data_client_factory(BINANCE, BinanceLiveDataClientFactory)
    node.add_exec_client_factory(BINANCE, BinanceLiveExecClientFactory)
    strategy = Answers(instruments)
    node.trader.add_strategy(strategy)
    node.build()
    threading.Timer(seconds, node.stop).start()
    node.run()
    node.dispose()
    print(f"nautilus: {strategy.sent} orders", file=sys.stderr)


main(sys.argv[1], float(sys.argv[2]), sys.argv[3].split(","))
