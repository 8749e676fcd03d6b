"""Binance's official Python SDK: market data, orders over REST and WebSocket API, user stream, errors."""

import asyncio

from binance_common.configuration import (
    ConfigurationRestAPI, ConfigurationWebSocketAPI, ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError, Error
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures

from check import check, main, soon

NAME = "official_py"
SYMBOL = "BTCUSDT"


def plain(value):
    """The event inside a model, whichever of the SDK's union types it is."""
    value = getattr(value, "actual_instance", value)
    return value if isinstance(value, dict) else value.to_dict()


async def session(host):
    client = DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(api_key="K", api_secret="S", base_path=f"http://{host}"),
        config_ws_api=ConfigurationWebSocketAPI(api_key="K", api_secret="S", stream_url=f"ws://{host}/ws-fapi/v1"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=f"ws://{host}"),
    )
    rest = client.rest_api

    async def call(function, *args, **kwargs):
        return (await asyncio.to_thread(function, *args, **kwargs)).data()

    info = await call(rest.exchange_information)
    check(NAME, "exchange info", any(s.symbol == SYMBOL for s in info.symbols), f"{len(info.symbols)} symbols")
    book = await call(rest.order_book, SYMBOL, limit=1000)
    check(NAME, "book", len(book.bids) > 20)

    streams = await client.websocket_streams.create_connection()
    depth, trades, events = asyncio.Queue(), asyncio.Queue(), []
    (await streams.diff_book_depth_streams(symbol=SYMBOL.lower())).on("message", depth.put_nowait)
    (await streams.aggregate_trade_streams(symbol=SYMBOL.lower())).on("message", trades.put_nowait)
    frame = plain(await soon(depth.get()))
    following = plain(await soon(depth.get()))
    check(NAME, "depth stream", following["pu"] == frame["u"])
    trade = plain(await soon(trades.get()))
    check(NAME, "trade stream", trade["s"] == SYMBOL)
    key = (await call(rest.start_user_data_stream)).listen_key
    (await streams.user_data(key)).on("message", lambda event: events.append(type(event.actual_instance).__name__))
    await asyncio.sleep(1)

    balance = await call(rest.futures_account_balance_v3)
    check(NAME, "balance", float(balance[0].balance) > 0, balance[0].balance)
    await call(rest.change_initial_leverage, SYMBOL, 10)
    price = round(float(book.bids[0][0]) * 0.98)
    order = await call(
        rest.new_order, SYMBOL, "BUY", "LIMIT", time_in_force="GTX", quantity=0.01, price=price, new_client_order_id="abc:1")
    check(NAME, "place", order.status == "NEW" and order.client_order_id == "abc:1", order.order_id)
    opened = await call(rest.current_all_open_orders, SYMBOL)
    check(NAME, "open orders", [o.order_id for o in opened] == [order.order_id])
    modified = await call(rest.modify_order, SYMBOL, "BUY", 0.02, price, order_id=order.order_id)
    check(NAME, "modify", float(modified.orig_qty) == 0.02)
    canceled = await call(rest.cancel_order, SYMBOL, order_id=order.order_id)
    check(NAME, "cancel", canceled.status == "CANCELED")
    query = await call(rest.query_order, SYMBOL, order_id=order.order_id)
    check(NAME, "query", query.status == "CANCELED")
    market = await call(rest.new_order, SYMBOL, "SELL", "MARKET", quantity=0.01, new_order_resp_type="RESULT")
    check(NAME, "market fill", market.status == "FILLED")
    positions = await call(rest.position_information_v3)
    check(NAME, "position", [float(p.position_amt) for p in positions if p.symbol == SYMBOL] == [-0.01])
    account = await call(rest.account_information_v3)
    check(NAME, "account", float(account.total_wallet_balance) > 0)
    check(NAME, "user trades", len(await call(rest.account_trade_list, SYMBOL)) > 0)

    api = await client.websocket_api.create_connection()
    over_ws = (await soon(api.new_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=price))).data().result
    check(NAME, "place over WebSocket", over_ws.status == "NEW")
    queried = (await soon(api.query_order(symbol=SYMBOL, order_id=over_ws.order_id))).data().result
    check(NAME, "query over WebSocket", queried.status == "NEW")
    canceled_ws = (await soon(api.cancel_order(symbol=SYMBOL, order_id=over_ws.order_id))).data().result
    check(NAME, "cancel over WebSocket", canceled_ws.status == "CANCELED")
    await api.close_connection(close_session=True)
    closed = await call(
        rest.new_order, SYMBOL, "BUY", "MARKET", quantity=0.01, reduce_only="true", new_order_resp_type="RESULT")
    check(NAME, "reduce-only close", closed.status == "FILLED")
    await asyncio.sleep(1)
    check(NAME, "user stream", {"OrderTradeUpdate", "AccountUpdate", "TradeLite"} <= set(events), f"{len(events)} events")
    await streams.close_connection(close_session=True)

    for name, text, args, kwargs in [
        ("no such order", "Unknown order", (rest.cancel_order, SYMBOL), {"order_id": 1}),
        ("no margin", "Margin is insufficient", (rest.new_order, SYMBOL, "BUY", "LIMIT"),
         {"time_in_force": "GTC", "quantity": 600, "price": price}),
        ("post-only would take", "Post Only", (rest.new_order, SYMBOL, "BUY", "LIMIT"),
         {"time_in_force": "GTX", "quantity": 0.01, "price": round(price * 1.04)}),
        ("off the tick", "tick size", (rest.new_order, SYMBOL, "BUY", "LIMIT"),
         {"time_in_force": "GTC", "quantity": 0.01, "price": price + 0.05}),
        ("nothing to reduce", "ReduceOnly", (rest.new_order, SYMBOL, "BUY", "MARKET"),
         {"quantity": 0.01, "reduce_only": "true"}),
    ]:
        try:
            await call(*args, **kwargs)
            check(NAME, f"error: {name}", False, "accepted")
        except BadRequestError as error:
            check(NAME, f"error: {name}", text in str(error), str(error))
        except Error as error:
            check(NAME, f"error: {name}", False, f"{type(error).__name__}: {error}")


main(NAME, session)
