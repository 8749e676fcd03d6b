"""python-binance: market data, orders over REST and WebSocket, user stream, errors."""

import asyncio

from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException

from check import check, main, soon

NAME = "python_binance"
SYMBOL = "BTCUSDT"


async def refused(code, awaitable):
    try:
        await awaitable
    except BinanceAPIException as error:
        return True if error.code == code else f"code {error.code}: {error.message}"
    return "accepted"


async def session(host):
    AsyncClient.FUTURES_URL = f"http://{host}/fapi"
    AsyncClient.API_URL = f"http://{host}/api"
    AsyncClient.WS_FUTURES_URL = f"ws://{host}/ws-fapi/v1"
    BinanceSocketManager.FSTREAM_URL = f"ws://{host}/"
    client = await AsyncClient.create("K", "S")
    try:
        info = await client.futures_exchange_info()
        check(NAME, "exchange info", any(s["symbol"] == SYMBOL for s in info["symbols"]), f"{len(info['symbols'])} symbols")
        sockets = BinanceSocketManager(client)
        async with sockets.futures_depth_socket(SYMBOL, depth="10") as depth:
            frame = (await soon(depth.recv()))["data"]
        check(NAME, "depth stream", len(frame["b"]) == 10 and float(frame["b"][0][0]) < float(frame["a"][0][0]))
        async with sockets.aggtrade_futures_socket(SYMBOL) as trades:
            trade = (await soon(trades.recv()))["data"]
        check(NAME, "trade stream", trade["e"] == "aggTrade" and trade["s"] == SYMBOL)
        check(NAME, "candles", len(await client.futures_klines(symbol=SYMBOL, interval="1m", limit=50)) == 50)
        balance = await client.futures_account_balance()
        check(NAME, "balance", float(balance[0]["balance"]) > 0, balance[0]["balance"])
        await client.futures_change_leverage(symbol=SYMBOL, leverage=10)

        events = []
        async with sockets.futures_user_socket() as user:

            async def listen():
                while True:
                    events.append(await user.recv())

            listener = asyncio.create_task(listen())
            price = round(float(frame["b"][0][0]) * 0.98)
            order = await client.futures_create_order(
                symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity=0.01, price=price)
            check(NAME, "place", order["status"] == "NEW", order["orderId"])
            open_orders = await client.futures_get_open_orders(symbol=SYMBOL)
            check(NAME, "open orders", [o["orderId"] for o in open_orders] == [order["orderId"]])
            canceled = await client.futures_cancel_order(symbol=SYMBOL, orderId=order["orderId"])
            check(NAME, "cancel", canceled["status"] == "CANCELED")
            query = await client.futures_get_order(symbol=SYMBOL, orderId=order["orderId"])
            check(NAME, "query", query["status"] == "CANCELED")
            market = await client.futures_create_order(
                symbol=SYMBOL, side="SELL", type="MARKET", quantity=0.01, newOrderRespType="RESULT")
            check(NAME, "market fill", market["status"] == "FILLED")
            position = await client.futures_position_information(symbol=SYMBOL)
            check(NAME, "position", float(position[0]["positionAmt"]) == -0.01)
            account = await client.futures_account()
            check(NAME, "account", float(account["totalWalletBalance"]) > 0)
            check(NAME, "user trades", len(await client.futures_account_trades(symbol=SYMBOL)) > 0)
            over_ws = await soon(client.ws_futures_create_order(
                symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity=0.01, price=price))
            check(NAME, "place over WebSocket", over_ws["status"] == "NEW")
            named = {"symbol": SYMBOL, "orderId": over_ws["orderId"]}
            check(NAME, "query over WebSocket", (await soon(client.ws_futures_get_order(**named)))["status"] == "NEW")
            canceled_ws = await soon(client.ws_futures_cancel_order(**named))
            check(NAME, "cancel over WebSocket", canceled_ws["status"] == "CANCELED")
            closed = await client.futures_create_order(
                symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01, reduceOnly="true", newOrderRespType="RESULT")
            check(NAME, "reduce-only close", closed["status"] == "FILLED")
            await asyncio.sleep(1)
            listener.cancel()
        kinds = {(e["e"], e.get("o", {}).get("x")) for e in events}
        wanted = {("ORDER_TRADE_UPDATE", x) for x in ("NEW", "CANCELED", "TRADE")} | {("ACCOUNT_UPDATE", None), ("TRADE_LITE", None)}
        check(NAME, "user stream", wanted <= kinds, f"{len(events)} events")

        for name, code, call in [
            ("no such order", -2011, client.futures_cancel_order(symbol=SYMBOL, orderId=1)),
            ("no margin", -2019, client.futures_create_order(
                symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity=600, price=price)),
            ("below the least notional", -4164, client.futures_create_order(
                symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity=0.001, price=round(price / 2))),
            ("off the tick", -4014, client.futures_create_order(
                symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity=0.01, price=price + 0.05)),
            ("post-only would take", -5022, client.futures_create_order(
                symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTX", quantity=0.01, price=round(price * 1.04))),
            ("nothing to reduce", -2022, client.futures_create_order(
                symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01, reduceOnly="true")),
        ]:
            held = await refused(code, call)
            check(NAME, f"error: {name}", held is True, "" if held is True else held)
        client.timestamp_offset = -60_000
        held = await refused(-1021, client.futures_account_balance())
        check(NAME, "error: old timestamp", held is True, "" if held is True else held)
        client.timestamp_offset = 0
        client.API_SECRET = "wrong"
        held = await refused(-1022, client.futures_account_balance())
        check(NAME, "error: bad signature", held is True, "" if held is True else held)
    finally:
        await client.close_connection()


main(NAME, session)
