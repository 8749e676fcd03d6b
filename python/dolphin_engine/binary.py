"""Where the program ``dolphin`` is."""

from __future__ import annotations

import os
import shutil

from ._native import UnavailableError


def find_binary(given: str | None = None) -> str:
    """``given``, else ``$DOLPHIN_BINARY``, else ``dolphin`` on the path."""
    for candidate in (given, os.environ.get("DOLPHIN_BINARY"), "dolphin"):
        if candidate and (found := shutil.which(candidate)):
            return found
    raise UnavailableError("the program `dolphin` was not found: put it on the path, or name it in $DOLPHIN_BINARY")
