"""table.py DIR: p50 and p99 over all rounds, and the ratio."""

import pathlib
import re
import sys

found = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.ns")):
    program, symbols, _ = re.fullmatch(r"(\w+)\.(\d+)\.(\d+)\.ns", path.name).groups()
    found.setdefault((int(symbols), program), []).extend(map(int, path.read_text().split()))
print(f"{'symbols':>8}{'program':>10}{'orders':>8}{'min':>12}{'p50':>12}{'p99':>12}   µs from the update's frame to the order")
for symbols in sorted({symbols for symbols, _ in found}):
    both = {}
    for program in ("nautilus", "dolphin"):
        values = sorted(found.get((symbols, program), []))
        if not values:
            print(f"{symbols:>8}{program:>10}{0:>8}   no order")
            continue
        at = lambda q: values[min(len(values) - 1, int(q * len(values)))] / 1000
        both[program] = at(0.5), at(0.99)
        few = " *" if len(values) < 1000 else ""
        print(f"{symbols:>8}{program:>10}{len(values):>8}{values[0] / 1000:>12.1f}{at(0.5):>12.1f}{at(0.99):>12.1f}{few}")
    if len(both) == 2:
        ratios = [a / b for a, b in zip(both["nautilus"], both["dolphin"])]
        print(f"{symbols:>8}{'ratio':>10}{'':>8}{'':>12}{ratios[0]:>11.1f}×{ratios[1]:>11.1f}×")
print("* p99 of fewer than 1000 orders is not sure")
