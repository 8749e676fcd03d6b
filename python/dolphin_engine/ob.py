"""Order-book features for :meth:`NDAlphaEngine.set_ob_engine`: from the ten maps of memory, or from the file that ``live`` and
``features`` write. What is stale, misplaced or makes no sense is ignored and counted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence

from ._native import DolphinError, ObView, features_map
from .memory import Memory

SHARDS = 10


class _Provider:
    def __init__(self, max_age_s: float, clock: Callable[[], float]) -> None:
        self.max_age_s = max_age_s
        self.stale = 0
        self.rejected = 0
        self.errors = 0
        self._clock = clock

    def _view(self, text: str, assets: Sequence[str]) -> ObView:
        view = ObView.from_json(text, list(assets), self._clock(), self.max_age_s)
        self.stale += len(view.stale)
        self.rejected += len(view.rejected)
        return view


class HZOBProvider(_Provider):
    """The features in ``DOLPHIN_FEATURES_SHARD_00`` ... ``_09``. Symbols are found by the keys of all ten maps, whoever writes
    them; records older than ``max_age_s`` count as not there; memory that does not answer leaves the engine without
    features, and is counted."""

    def __init__(
        self, memory: Memory, max_age_s: float = 1.0, refresh_s: float = 0.0, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(max_age_s, clock)
        self._memory = memory
        self._refresh = refresh_s
        self._text = "{}"
        self._read_at = float("-inf")

    def discover(self) -> list[str]:
        """The symbols in all ten maps, sorted."""
        return sorted(self._records())

    def _records(self) -> dict[str, str]:
        records: dict[str, str] = {}
        for shard in range(SHARDS):
            name = f"DOLPHIN_FEATURES_SHARD_{shard:02d}"
            for symbol, text in self._memory.entries(name).items():
                if features_map(symbol) == name:
                    records[symbol] = text
                else:
                    self.rejected += 1
        return records

    def view(self, assets: Sequence[str]) -> ObView | None:
        now = self._clock()
        if now - self._read_at >= self._refresh:
            try:
                self._text = json.dumps(self._records())
                self._read_at = now
            except DolphinError:
                self.errors += 1
                return None
        return self._view(self._text, assets)


class FileOBProvider(_Provider):
    """The features in ``ob_cache/latest_ob_features.json``, read again when the file is replaced."""

    def __init__(
        self,
        path: str | os.PathLike[str] = "ob_cache/latest_ob_features.json",
        max_age_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(max_age_s, clock)
        self._path = os.fspath(path)
        self._seen: tuple[int, int] | None = None
        self._text = "{}"

    def view(self, assets: Sequence[str]) -> ObView | None:
        try:
            status = os.stat(self._path)
            if self._seen != (status.st_ino, status.st_mtime_ns):
                with open(self._path, encoding="utf-8") as file:
                    self._text = file.read()
                self._seen = (status.st_ino, status.st_mtime_ns)
            return self._view(self._text, assets)
        except (OSError, UnicodeDecodeError, DolphinError):
            self.errors += 1
            return None
