"""The venue: its account over signed REST, and the schedule of its faults."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from decimal import Decimal
from typing import Any

from processes import until


class Venue:
    def __init__(self, address: str, key: str, secret: str) -> None:
        self.url, self.key, self.secret = f"http://{address}", key, secret

    def ask(self, path: str, **parameters: Any) -> Any:
        """A signed GET. Too much weight, or a ban that a fault left: waited for."""

        def answer() -> Any:
            query = urllib.parse.urlencode({**parameters, "timestamp": int(time.time() * 1000), "recvWindow": 5000})
            signature = hmac.new(self.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
            request = urllib.request.Request(f"{self.url}{path}?{query}&signature={signature}", headers={"X-MBX-APIKEY": self.key})
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    return [json.load(reply)]
            except urllib.error.HTTPError as error:
                if error.code not in (418, 429):
                    raise
                return None

        return until(f"the venue answers {path}", 150, answer)[0]

    def listen_key(self) -> str | None:
        """The listen key in force: it must appear nowhere, like the secret."""
        request = urllib.request.Request(f"{self.url}/fapi/v1/listenKey", b"", {"X-MBX-APIKEY": self.key})
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                return json.load(reply)["listenKey"]
        except (OSError, ValueError, KeyError):
            return None

    def positions(self) -> dict[str, Decimal]:
        rows = self.ask("/fapi/v3/positionRisk")
        return {row["symbol"]: Decimal(row["positionAmt"]) for row in rows if Decimal(row["positionAmt"]) != 0}

    def open_orders(self) -> list[dict[str, Any]]:
        return self.ask("/fapi/v1/openOrders")

    def wallet(self) -> Decimal:
        return next(Decimal(row["balance"]) for row in self.ask("/fapi/v3/balance") if row["asset"] == "USDT")

    def income(self) -> list[dict[str, Any]]:
        """All income, oldest first, by pages."""
        rows: list[dict[str, Any]] = []
        page = 1
        while found := self.ask("/fapi/v1/income", limit=1000, page=page):
            rows += found
            page += 1
            if len(found) < 1000:
                break
        return rows

    def fills(self, symbol: str) -> list[dict[str, Any]]:
        """All fills of a symbol, oldest first, by their ids."""
        rows: list[dict[str, Any]] = []
        while True:
            found = self.ask("/fapi/v1/userTrades", symbol=symbol, limit=1000, fromId=rows[-1]["id"] + 1 if rows else 0)
            rows += found
            if len(found) < 1000:
                return rows

    def orders(self, symbol: str) -> list[dict[str, Any]]:
        """All orders of a symbol, oldest first, by their ids."""
        rows: list[dict[str, Any]] = []
        while True:
            found = self.ask("/fapi/v1/allOrders", symbol=symbol, limit=1000, orderId=rows[-1]["orderId"] + 1 if rows else 0)
            rows += found
            if len(found) < 1000:
                return rows

    def fault(self, fault: dict[str, Any]) -> bool:
        """False where the venue takes none now, because an earlier fault has it refuse connections."""
        request = urllib.request.Request(f"{self.url}/dolphin/faults", json.dumps(fault).encode())
        try:
            with urllib.request.urlopen(request, timeout=5):
                return True
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{fault}: {error.read().decode()}") from error
        except OSError:
            return False

    def heal(self) -> None:
        """No more faults: those with a duration as well."""

        def cleared() -> bool:
            request = urllib.request.Request(f"{self.url}/dolphin/faults", method="DELETE")
            try:
                with urllib.request.urlopen(request, timeout=5):
                    return True
            except OSError:
                return False

        until("the venue's faults are cleared", 60, cleared)


#: What `dolphin venue --list-faults` has and a node must outlive without a person: SYMBOL stands for one of those traded.
#: Left out is what only a person undoes (a key revoked, orders and fills by hand, settings changed, liquidation, transfers).
MENU: list[dict[str, Any]] = [
    {"fault": "reply_lost", "on": "order.place", "executed": True, "times": 1},
    {"fault": "reply_lost", "on": "order.place", "executed": False, "times": 1},
    {"fault": "reply_lost", "on": "order.cancel", "executed": True, "times": 1},
    {"fault": "reply_error", "on": "order.place", "status": 408, "code": -1007, "msg": "Timeout waiting for response from backend server.", "executed": True, "times": 1},
    {"fault": "reply_error", "on": "order.place", "status": 503, "code": -1007, "msg": "Timeout waiting for response from backend server.", "executed": False, "times": 1},
    {"fault": "reply_delay", "on": "order.place", "ms": 400, "times": 2},
    {"fault": "reply_delay", "on": "GET /fapi/v1/depth", "ms": 500, "for_ms": 3000},
    {"fault": "request_delay", "on": "order.place", "ms": 400, "times": 1},
    {"fault": "reply_never", "on": "order.place", "executed": True, "times": 1},
    {"fault": "page", "on": "GET /fapi/v1/depth", "status": 503, "for_ms": 2000},
    {"fault": "page", "on": "*", "status": 503, "for_ms": 1000},
    {"fault": "overload", "for_ms": 2000},
    {"fault": "too_many_requests", "retry_after_s": 2, "times": 1},
    {"fault": "ban", "ms": 3000},
    {"fault": "read_lag", "ms": 300, "for_ms": 4000},
    {"fault": "fill_first", "symbol": "*", "times": 1},
    {"fault": "snapshot_stale", "symbol": "SYMBOL", "times": 2},
    {"fault": "clock_offset", "ms": -150, "for_ms": 4000},
    {"fault": "mute", "stream": "STREAM@depth@100ms", "for_ms": 4000},
    {"fault": "mute", "stream": "user@*", "for_ms": 1500},
    {"fault": "late", "stream": "user@ORDER_TRADE_UPDATE@NEW", "ms": 300, "times": 2},
    {"fault": "late", "stream": "user@ORDER_TRADE_UPDATE@TRADE", "ms": 300, "times": 2},
    {"fault": "drop", "stream": "STREAM@depth@100ms", "times": 2},
    {"fault": "drop", "stream": "user@ORDER_TRADE_UPDATE@TRADE", "times": 1},
    {"fault": "drop", "stream": "*", "for_ms": 2500},
    {"fault": "duplicate", "stream": "user@ORDER_TRADE_UPDATE@TRADE", "times": 2},
    {"fault": "reorder", "stream": "STREAM@depth@100ms", "times": 2},
    {"fault": "replay", "stream": "user@ORDER_TRADE_UPDATE@TRADE", "back": 1, "times": 1},
    {"fault": "replay", "stream": "STREAM@depth@100ms", "back": 3, "times": 1},
    {"fault": "replace", "stream": "STREAM@bookTicker", "text": "{", "times": 1},
    {"fault": "truncate", "stream": "STREAM@depth@100ms", "times": 1},
    {"fault": "garble", "stream": "STREAM@depth@100ms", "times": 1},
    {"fault": "append", "stream": "STREAM@depth@100ms", "text": "}{", "times": 1},
    {"fault": "alter", "stream": "STREAM@depth@100ms", "at": "/b/0/0", "value": "1e400", "times": 1},
    {"fault": "repeat_field", "stream": "STREAM@depth@100ms", "name": "u", "value": 1, "times": 1},
    {"fault": "nest", "stream": "STREAM@depth@100ms", "depth": 10000, "times": 1},
    {"fault": "oversize", "stream": "STREAM@depth@100ms", "bytes": 67108864, "times": 1},
    {"fault": "strange_fields", "stream": "*", "for_ms": 3000},
    {"fault": "disconnect", "route": "public", "how": "reset"},
    {"fault": "disconnect", "route": "market", "how": "close"},
    {"fault": "disconnect", "route": "private", "how": "reset"},
    {"fault": "disconnect", "route": "private", "how": "silence"},
    {"fault": "disconnect", "route": "ws-api", "how": "reset"},
    {"fault": "disconnect", "route": "rest", "how": "reset"},
    {"fault": "refuse_connections", "for_ms": 2000},
    {"fault": "ignore_connections", "for_ms": 2000},
    {"fault": "replay_events", "count": 5, "times": 1},
    {"fault": "cross_book", "symbol": "SYMBOL", "for_ms": 2000},
    {"fault": "lock_book", "symbol": "SYMBOL", "for_ms": 2000},
    {"fault": "empty_side", "symbol": "SYMBOL", "side": "BUY", "for_ms": 2000},
    {"fault": "mark_off", "symbol": "SYMBOL", "factor": 1.2, "for_ms": 4000},
    {"fault": "expire_listen_keys", "event": True},
    {"fault": "expire_listen_keys", "event": False},
    {"fault": "foreign_symbols", "for_ms": 5000},
]  # fmt: skip


class Schedule:
    """One fault every two to five seconds: every one of the menu once before any comes again, all from one seed."""

    def __init__(self, seed: int, symbols: list[str]) -> None:
        self.dice, self.symbols = random.Random(seed), symbols
        self.left: list[dict[str, Any]] = []
        self.done: list[str] = []
        self.next_at = 0.0

    def _draw(self) -> dict[str, Any]:
        if not self.left:
            self.left = list(MENU)
            self.dice.shuffle(self.left)
        fault, symbol = dict(self.left.pop()), self.dice.choice(self.symbols)
        if fault.get("symbol") == "SYMBOL":
            fault["symbol"] = symbol
        if "stream" in fault:
            fault["stream"] = fault["stream"].replace("STREAM", symbol.lower())
        return fault

    def turn(self, venue: Venue) -> None:
        """Posts the next one when its time has come."""
        now = time.monotonic()
        if now < self.next_at:
            return
        fault = self._draw()
        if venue.fault(fault):
            self.done.append(fault["fault"])
        self.next_at = now + self.dice.uniform(2, 5)
