"""The adaptive circuit breaker's daily scale, for :meth:`NDAlphaEngine.set_acb`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from ._native import DataError, apply_cut_to_position_size, base_boost

__all__ = ["AdaptiveCircuitBreaker", "apply_cut_to_position_size"]


class AdaptiveCircuitBreaker:
    """External risk factors by date, and the boost they make: ``clamp(1 + 0.5 ln(1 + n), 0.5, 2)``."""

    def __init__(self, factors: Mapping[str, int] | None = None) -> None:
        self.factors: dict[str, int] = dict(factors or {})

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> AdaptiveCircuitBreaker:
        """A JSON file ``{"YYYY-MM-DD": n_signals}``."""
        try:
            with open(path, encoding="utf-8") as file:
                factors = json.load(file)
            return cls({str(date): int(count) for date, count in factors.items()})
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise DataError(f"{os.fspath(path)}: {error}") from error

    def base_boost(self, date: str) -> float:
        """The boost of a date; one that is not named has no risk factor."""
        return base_boost(self.factors.get(date, 0))

    def cut(self, size: float, cut: float) -> float:
        """``size (1 - cut)`` for a known cut."""
        return apply_cut_to_position_size(size, cut)
