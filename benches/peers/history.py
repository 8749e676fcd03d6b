"""history.py HOST DIR: prints the venue's symbols, and writes a day of bars before now that leads to its prices: what
`dolphin live --warm-start` fills its windows with."""

import json
import pathlib
import random
import sys
import urllib.request

BARS = 900

host, folder = sys.argv[1], pathlib.Path(sys.argv[2]) / "2026-01-01"
prices = {row["symbol"]: float(row["markPrice"])
          for row in json.load(urllib.request.urlopen(f"http://{host}/fapi/v1/premiumIndex"))}
folder.mkdir(parents=True, exist_ok=True)
rng, bars = random.Random(7), []
for bar in reversed(range(BARS)):
    bars.append({"scan_number": bar, "timestamp": 1_767_225_600 + 5 * bar, "vel_div": 0.0, "asset_prices": dict(prices)})
    common = rng.gauss(0, 2e-4)
    prices = {symbol: price * (1 + common + rng.gauss(0, 2e-4)) for symbol, price in prices.items()}
(folder / "scans.json").write_text("\n".join(map(json.dumps, reversed(bars))))
print(",".join(prices))
