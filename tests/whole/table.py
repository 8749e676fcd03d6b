"""The table at the end: one line a promise."""

from __future__ import annotations

import re


class Table:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def row(self, promise: str, holds: bool, measured: str) -> None:
        self.rows.append((promise, "PASS" if holds else "FAIL", measured))

    def skipped(self, promise: str, why: str) -> None:
        self.rows.append((promise, "skipped", why))

    def failed(self) -> bool:
        return any(verdict == "FAIL" for _, verdict, _ in self.rows)

    def print(self) -> None:
        width = max(len(promise) for promise, *_ in self.rows)
        print()
        for promise, verdict, measured in self.rows:
            print(f"{promise:{width}}  {verdict:7}  {re.sub(chr(10), ' ', measured)[:600]}")
        counts = {v: sum(1 for row in self.rows if row[1] == v) for v in ("PASS", "FAIL", "skipped")}
        print(f"\n{counts['PASS']} PASS, {counts['FAIL']} FAIL, {counts['skipped']} skipped", flush=True)
