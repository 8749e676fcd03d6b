"""ccxt (Python, pro): market data, orders over REST and WebSocket, user stream, errors."""

import asyncio

import ccxt.pro as ccxt

from check import check, main, soon

NAME = "ccxt_py"
SYMBOL = "BTC/USDT:USDT"


def connect(host):
    ex = ccxt.binanceusdm({
        "apiKey": "K", "secret": "S", "options": {"fetchCurrencies": False, "fetchMargins": False},
    })
    for key, url in ex.urls["api"].items():
        if key.startswith("fapi") and isinstance(url, str):
            ex.urls["api"][key] = url.replace("https://fapi.binance.com", f"http://{host}")
    for name in ("linear", "future"):
        if name in ex.urls["api"]["ws"]:
            ex.urls["api"]["ws"][name] = f"ws://{host}/ws"
        if name in ex.urls["api"]["ws"].get("ws-api", {}):
            ex.urls["api"]["ws"]["ws-api"][name] = f"ws://{host}/ws-fapi/v1"
    return ex


async def refused(kind, code, awaitable):
    """Is it refused with the venue's code, as the class of error that ccxt has for it?"""
    try:
        await awaitable
    except kind as error:
        return True if str(code) in str(error) else str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


async def session(host):
    ex = connect(host)
    try:
        markets = await ex.load_markets()
        check(NAME, "exchange info", SYMBOL in markets, f"{len(markets)} markets")
        for _ in range(3):
            book = await soon(ex.watch_order_book(SYMBOL))
        check(NAME, "depth stream", book["bids"][0][0] < book["asks"][0][0] and len(book["bids"]) > 20)
        trades = await soon(ex.watch_trades(SYMBOL))
        check(NAME, "trade stream", len(trades) > 0)
        check(NAME, "candles", len(await ex.fetch_ohlcv(SYMBOL, "1m", limit=50)) == 50)
        balance = await ex.fetch_balance()
        check(NAME, "balance", balance["USDT"]["total"] > 0, balance["USDT"]["total"])
        await ex.set_leverage(10, SYMBOL)

        events = []

        async def listen():
            while True:
                events.extend(await ex.watch_orders(SYMBOL))

        listener = asyncio.create_task(listen())
        await asyncio.sleep(1)
        price = book["bids"][0][0] * 0.98
        order = await ex.create_order(SYMBOL, "limit", "buy", 0.01, price, {"postOnly": True})
        check(NAME, "place", order["status"] == "open", order["id"])
        check(NAME, "open orders", [o["id"] for o in await ex.fetch_open_orders(SYMBOL)] == [order["id"]])
        edited = await ex.edit_order(order["id"], SYMBOL, "limit", "buy", 0.02, price)
        check(NAME, "modify", float(edited["amount"]) == 0.02)
        canceled = await ex.cancel_order(order["id"], SYMBOL)
        check(NAME, "cancel", canceled["status"] == "canceled")
        check(NAME, "query", (await ex.fetch_order(order["id"], SYMBOL))["status"] == "canceled")
        market = await ex.create_order(SYMBOL, "market", "sell", 0.01)
        check(NAME, "market fill", market["status"] == "closed" and market["filled"] == 0.01)
        positions = await ex.fetch_positions([SYMBOL])
        check(NAME, "position", positions[0]["side"] == "short" and positions[0]["contracts"] == 0.01)
        check(NAME, "user trades", len(await ex.fetch_my_trades(SYMBOL)) > 0)
        over_ws = await soon(ex.create_order_ws(SYMBOL, "limit", "buy", 0.01, price))
        check(NAME, "place over WebSocket", over_ws["status"] == "open")
        queried = await soon(ex.fetch_order_ws(over_ws["id"], SYMBOL))
        check(NAME, "query over WebSocket", queried["status"] == "open")
        canceled_ws = await soon(ex.cancel_order_ws(over_ws["id"], SYMBOL))
        check(NAME, "cancel over WebSocket", canceled_ws["status"] == "canceled")
        pair = await ex.create_orders([
            {"symbol": SYMBOL, "type": "limit", "side": side, "amount": 0.01, "price": price * factor}
            for side, factor in (("buy", 1), ("sell", 1.05))])
        check(NAME, "two at once", [o["status"] for o in pair] == ["open", "open"])
        gone = await ex.cancel_orders([o["id"] for o in pair], SYMBOL)
        check(NAME, "cancel two at once", [o["status"] for o in gone] == ["canceled", "canceled"])
        closed = await ex.create_order(SYMBOL, "market", "buy", 0.01, None, {"reduceOnly": True})
        check(NAME, "reduce-only close", closed["status"] == "closed")
        await asyncio.sleep(1)
        listener.cancel()
        seen = {(e["id"], e["status"]) for e in events}
        check(NAME, "user stream", {(order["id"], "canceled"), (market["id"], "closed")} <= seen, f"{len(events)} events")

        for name, kind, code, call in [
            ("no such order", ccxt.OrderNotFound, -2011, ex.cancel_order("1", SYMBOL)),
            ("no margin", ccxt.ExchangeError, -2019, ex.create_order(SYMBOL, "limit", "buy", 600, price)),
            ("nothing to reduce", ccxt.ExchangeError, -2022, ex.create_order(SYMBOL, "market", "buy", 0.01, None, {"reduceOnly": True})),
            ("post-only would take", ccxt.InvalidOrder, -5022,
             ex.create_order(SYMBOL, "limit", "buy", 0.01, book["asks"][0][0] * 1.02, {"postOnly": True})),
        ]:
            held = await refused(kind, code, call)
            check(NAME, f"error: {name}", held is True, "" if held is True else held)
        for name, kind, code, change in [
            ("old timestamp", ccxt.InvalidNonce, -1021, {"nonce": lambda: ex.milliseconds() - 60_000}),
            ("bad signature", ccxt.AuthenticationError, -1022, {"nonce": ex.milliseconds, "secret": "wrong"}),
            ("bad key", ccxt.AuthenticationError, -2015, {"apiKey": "nobody"}),
        ]:
            for field, value in change.items():
                setattr(ex, field, value)
            held = await refused(kind, code, ex.fetch_balance())
            check(NAME, f"error: {name}", held is True, "" if held is True else held)
    finally:
        await ex.close()


main(NAME, session)
