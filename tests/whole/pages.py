"""The pages that came to the webhook: each once, each taken back."""

from __future__ import annotations

import collections
from typing import Any

from table import Table

#: Alerts: told when they are counted, and about something that has happened, so that there is nothing to take back.
EVENTS = {
    "ReconcileMismatch", "UnknownTooLong", "ExternalFill", "VenueClosed", "ExitStuck", "DropCopyDiffers", "Banned", "TradingStopped",
}  # fmt: skip


def standing(pages: list[dict[str, Any]], machine: str) -> set[str]:
    """Pages of a machine that have not been taken back."""
    open_pages: set[str] = set()
    for page in pages:
        if page["machine"] == machine and page["key"] not in EVENTS:
            (open_pages.discard if page["status"] == "resolved" else open_pages.add)(page["key"])
    return open_pages


def check(table: Table, pages: list[dict[str, Any]], ended: list[tuple[str, float, str]], calm: float) -> None:
    """`ended`: machine, time and how, of each run. `calm`: when all had been well for a while, and the nodes were told to end.
    A run that ends in good order takes its pages back itself; one that is killed leaves that to the next on its machine."""
    twice: list[str] = []
    stand: dict[tuple[str, str], float] = {}
    left: list[str] = []
    standing: list[str] = []
    inherited: set[tuple[str, str]] = set()
    taken = 0
    names: collections.Counter[str] = collections.Counter()
    events = sorted([(page["received"], 1, page) for page in pages] + [(at, 2, {"machine": m, "how": how}) for m, at, how in ended] + [(calm, 0, {"machine": "", "how": ""})], key=lambda e: e[:2])
    for at, _, page in events:
        machine = page["machine"]
        if machine == "":
            standing = [f"{name} of {node}" for node, name in stand]
        elif "how" in page:
            mine = {key for key in stand if key[0] == machine}
            if page["how"] == "kill -9":
                inherited |= mine
            else:
                left += [f"{name} of {machine} ({page['how']})" for _, name in mine]
                for key in mine:
                    del stand[key]
        if "how" in page:
            continue
        key = (machine, page["key"])
        if page["key"] in EVENTS:
            names[page["key"]] += 1
        elif page["status"] == "resolved":
            if stand.pop(key, None) is None:
                twice.append(f"{page['key']} of {machine} taken back without a page")
            taken += key in inherited
            inherited.discard(key)
        else:
            names[page["key"]] += 1
            if key in stand:
                twice.append(f"{page['key']} of {machine} twice within {at - stand[key]:.1f} s")
            stand[key] = at
    left += [f"{name} of {machine} (kill -9)" for machine, name in inherited]
    told = ", ".join(f"{name} {times}" for name, times in sorted(names.items()))
    table.row("every page was sent once", not twice and names.total() > 0, f"{names.total()} pages ({told}); {'; '.join(twice) or 'none twice'}")
    table.row("every page of a run that goes on was taken back", not standing, f"still standing: {', '.join(standing) or 'none'}")
    table.row("every page of a run that ended was taken back", not left, f"{taken} of a killed run by the next on its machine; {len(left)} never: {', '.join(left) or 'none'}")
