"""compare.py FEW MANY BOUNDARIES COUNTS [--write]: instructions per boundary, from the difference of two runs (so that what
happens once does not count), against the committed counts."""

import pathlib
import re
import sys

PARTS = ["boundary", "part_decode", "part_features", "part_scan", "part_decide", "part_route", "part_sign"]
GROWTH = 1.03


def inclusive(path):
    found = {}
    for line in pathlib.Path(path).read_text().splitlines():
        match = re.match(r"\s*([\d,]+)\s+.*\bboundary::(\w+)", line)
        if match and match[2] in PARTS:
            found.setdefault(match[2], int(match[1].replace(",", "")))
    return found


few, many = inclusive(sys.argv[1]), inclusive(sys.argv[2])
missing = [part for part in PARTS if part not in many]
if missing:
    sys.exit(f"not in callgrind's output, so perhaps inlined: {missing}")
now = {part: round((many[part] - few.get(part, 0)) / int(sys.argv[3])) for part in PARTS}
file = pathlib.Path(sys.argv[4])
if "--write" in sys.argv:
    file.write_text("".join(f"{part} {count}\n" for part, count in now.items()))
before = dict((part, int(count)) for part, count in map(str.split, file.read_text().splitlines()))
grown = []
print(f"{'instructions a boundary':<24}{'now':>10}{'committed':>12}{'':>9}")
for part, count in now.items():
    ratio = count / max(1, before.get(part, count))
    print(f"{part:<24}{count:>10}{before.get(part, 0):>12}{ratio - 1:>+9.1%}")
    # A part of a few hundred instructions may shift by some without meaning.
    if ratio > GROWTH and count - before.get(part, count) > 50:
        grown.append(part)
if grown:
    sys.exit(f"grown by more than 3 %: {', '.join(grown)}; if that is wanted: benches/counts/run --write")
