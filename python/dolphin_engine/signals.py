"""Scans from memory, as the bar handler takes them (SPEC 3.13, step 4)."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ._native import DataError, parse_scan

LOG = logging.getLogger(__name__)


class SignalBridge:
    """The newest scan. A listener hands texts over on whatever thread (:meth:`push`); the bar handler takes the newest
    (:meth:`take`). A scan older than ``stale_after_s`` gives no signal, with a warning, and is counted; one with the number
    of the last gives none; one that makes no sense is refused and counted. The newer text replaces the older."""

    def __init__(self, stale_after_s: float = 10.0, clock: Callable[[], float] = time.time) -> None:
        self.stale_after_s = stale_after_s
        self.stale = 0
        self.rejected = 0
        self.repeated = 0
        self._clock = clock
        # A deque of one: append and pop are each one atomic operation.
        self._pending: deque[str] = deque(maxlen=1)
        self._newest: dict[str, Any] | None = None
        self._last_number: int | None = None

    def push(self, text: str) -> None:
        """A scan as memory holds it."""
        self._pending.append(text)

    def take(self) -> dict[str, Any] | None:
        """The newest scan; its ``vel_div`` is NaN where it gives no signal. None before the first."""
        try:
            text = self._pending.pop()
        except IndexError:
            pass
        else:
            try:
                self._newest = parse_scan(text)
            except DataError as error:
                self.rejected += 1
                LOG.warning("a scan is refused: %s", error)
        if self._newest is None:
            return None
        scan = dict(self._newest)
        number, made = scan["scan_number"], scan["timestamp"]
        if made is not None and self._clock() - made > self.stale_after_s:
            self.stale += 1
            LOG.warning("the scan is %.1f s old: no signal from it", self._clock() - made)
            scan["vel_div"] = math.nan
        elif number is not None and number == self._last_number:
            self.repeated += 1
            scan["vel_div"] = math.nan
        else:
            self._last_number = number
        return scan
