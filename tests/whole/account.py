"""Position, orders, capital and trades in system memory, against the venue's own books."""

from __future__ import annotations

import collections
import dataclasses
import json
from decimal import Decimal
from typing import Any

from table import Table
from world import BALANCE, World


@dataclasses.dataclass
class Trip:
    """From flat to flat in one symbol, by the venue's fills."""

    symbol: str
    direction: int
    opened_ms: int
    quantity: Decimal = Decimal(0)
    value: Decimal = Decimal(0)
    exit_quantity: Decimal = Decimal(0)
    exit_value: Decimal = Decimal(0)
    pnl: Decimal = Decimal(0)

    @property
    def closed(self) -> bool:
        return self.quantity == self.exit_quantity


def trips(fills: list[dict[str, Any]]) -> list[Trip]:
    """The account's life in one symbol. An error is a trip that never should have been."""
    found: list[Trip] = []
    for fill in fills:
        direction = 1 if fill["side"] == "BUY" else -1
        quantity, value = Decimal(fill["qty"]), Decimal(fill["quoteQty"])
        if not found or found[-1].closed:
            found.append(Trip(fill["symbol"], direction, fill["time"]))
        trip = found[-1]
        trip.pnl += Decimal(fill["realizedPnl"]) - Decimal(fill["commission"])
        if direction == trip.direction:
            if trip.exit_quantity:
                raise ValueError(f"added to while it was being closed: {trip} {fill}")
            trip.quantity, trip.value = trip.quantity + quantity, trip.value + value
        else:
            trip.exit_quantity, trip.exit_value = trip.exit_quantity + quantity, trip.exit_value + value
        if trip.exit_quantity > trip.quantity:
            raise ValueError(f"beyond flat: {trip} {fill}")
    return found


def close(a: float, b: float, tolerance: float = 1e-6) -> bool:
    return abs(a - b) <= tolerance * max(1.0, abs(b))


class Account:
    """What both sides say once everything has ended."""

    def __init__(self, world: World) -> None:
        venue = world.venue
        self.positions, self.open_orders, self.wallet = venue.positions(), venue.open_orders(), venue.wallet()
        self.income = venue.income()
        self.traded = sorted({row["symbol"] for row in self.income if row["symbol"]})
        self.fills = {symbol: venue.fills(symbol) for symbol in self.traded}
        self.orders = [order for symbol in self.traded for order in venue.orders(symbol)]
        self.state = json.loads(world.memory("get", "DOLPHIN_STATE_BLUE", "latest_nautilus") or "{}")
        keys = (world.memory("keys", "DOLPHIN_TRADES_BLUE") or "").split()
        self.trades = [json.loads(world.memory("get", "DOLPHIN_TRADES_BLUE", key) or "{}") for key in keys]

    def check(self, table: Table, sessions: list[list[dict[str, Any]]], start: float) -> None:
        found: list[Trip] = []
        try:
            found = sorted((trip for fills in self.fills.values() for trip in trips(fills)), key=lambda trip: trip.opened_ms)
        except ValueError as error:
            table.row("one position at a time, never beyond flat", False, str(error))
        closed = [trip for trip in found if trip.closed]
        opened = [trip for trip in found if not trip.closed]
        self._position(table, opened)
        self._orders(table)
        self._trades(table, closed)
        self._capital(table, closed, opened, start)
        self._sessions(table, sessions)

    def _position(self, table: Table, opened: list[Trip]) -> None:
        held = self.state.get("position")
        at_venue = ", ".join(f"{quantity} {symbol}" for symbol, quantity in self.positions.items()) or "flat"
        if held is None or len(self.positions) != 1 or len(opened) != 1:
            table.row("position equals the venue's", held is None and not self.positions and not opened, f"venue: {at_venue}; memory: {held}")
            return
        (symbol, quantity), trip = next(iter(self.positions.items())), opened[0]
        same = held["symbol"] == symbol and held["direction"] == trip.direction and abs(quantity) == trip.quantity - trip.exit_quantity
        price = float(trip.value / trip.quantity)
        same = same and close(held["entry_price"] / price, 1.0)
        table.row("position equals the venue's", same, f"venue: {at_venue} at {price:.6g}; memory: {held['direction']} {held['symbol']} at {held['entry_price']:.6g}")

    def _orders(self, table: Table) -> None:
        # Ours alone are on the account: the schedule has no fault that trades by hand.
        names = [order["clientOrderId"] for order in self.orders]
        twice = [name for name, times in collections.Counter(names).items() if times > 1]
        foreign = [name for name in names if not name.startswith("dlp-")]
        opening = sorted((o for o in self.orders if not o["reduceOnly"]), key=lambda o: o["time"])
        together = [(a["clientOrderId"], b["clientOrderId"]) for a, b in zip(opening, opening[1:]) if a["updateTime"] > b["time"]]
        ok = not self.open_orders and not twice and not foreign and not together
        wrong = f"; left open {[o['clientOrderId'] for o in self.open_orders]}, ids twice {twice}, foreign {foreign}, two entries at once {together}"
        table.row("orders: none left, no id twice, one entry at a time", ok, f"{len(names)} orders at the venue" + ("" if ok else wrong))

    def _trades(self, table: Table, closed: list[Trip]) -> None:
        numbers = [trade["number"] for trade in self.trades]
        wrong = "" if numbers == list(range(1, len(numbers) + 1)) else f"numbers {numbers}"
        for trade, trip in zip(self.trades, closed):
            same = (
                trade["symbol"] == trip.symbol
                and trade["direction"] == trip.direction
                and close(trade["notional"], float(trip.value))
                and close(trade["exit_price"] / trade["entry_price"], float(trip.exit_value / trip.value))
                and close(trade["pnl"], float(trip.pnl))
            )
            if not same:
                wrong = wrong or f"memory {trade}, venue {trip}"
        ok = not wrong and len(self.trades) == len(closed) and closed != []
        table.row("every closed trade equals the venue's fills", ok, f"{len(self.trades)} in memory, {len(closed)} at the venue {wrong}")

    def _capital(self, table: Table, closed: list[Trip], opened: list[Trip], start: float) -> None:
        capital = self.state.get("capital", float("nan"))
        by_trades = start + sum(trade["pnl"] for trade in self.trades)
        by_venue = start + float(sum((trip.pnl for trip in closed), Decimal(0)))
        ok = abs(capital - by_trades) <= 1e-8 * start and abs(capital - by_venue) <= 1e-4
        table.row("capital = start + Σ pnl", ok, f"{capital:.8f}; trades {by_trades - capital:+.1e}, venue's fills {by_venue - capital:+.1e}")
        wallet = BALANCE + sum((trip.pnl for trip in (*closed, *opened)), Decimal(0))
        funding = sum((Decimal(row["income"]) for row in self.income if row["incomeType"] == "FUNDING_FEE"), Decimal(0))
        ok = self.wallet == wallet + funding
        table.row("the wallet is explained by our fills", ok, f"{self.wallet}, by fills {wallet}, funding {funding}")

    def _sessions(self, table: Table, sessions: list[list[dict[str, Any]]]) -> None:
        """What the ended runs wrote down as their fills: each is the venue's, and none stands twice."""
        venue = {(fill["symbol"], fill["id"]): fill for fills in self.fills.values() for fill in fills}
        told = [fill for session in sessions for fill in session]
        ids = [(fill["symbol"], fill["trade_id"]) for fill in told]
        wrong = [fill for fill in told if not self._same(fill, venue.get((fill["symbol"], fill["trade_id"])))]
        ok = not wrong and len(ids) == len(set(ids)) and told != []
        table.row("fills told by the sessions are the venue's", ok, f"{len(told)} of the venue's {len(venue)}, {len(ids) - len(set(ids))} twice, {len(wrong)} other {wrong[:1] or ''}")

    @staticmethod
    def _same(told: dict[str, Any], fill: dict[str, Any] | None) -> bool:
        return fill is not None and told["side"] == fill["side"] and close(told["px"], float(fill["price"]), 1e-12) and close(told["qty"], float(fill["qty"]), 1e-12)
