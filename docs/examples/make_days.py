#!/usr/bin/env python3
"""Writes made-up day files to try the commands on: make_days.py DIR [DAYS].

A day is a directory YYYY-MM-DD of scan files, one a bar of 5 s, as the Python system writes them; columns and keys are
those of your own files. The prices are a random walk with a common factor: nothing can be learned from the trades.
"""

import json
import math
import pathlib
import random
import sys

SYMBOLS = ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT"]
BARS = 1200


def day(folder: pathlib.Path, number: int, prices: dict, rng: random.Random) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    start = 1_767_225_600 + 86_400 * number  # 2026-01-01T00:00:00Z and on
    for bar in range(BARS):
        common = rng.gauss(0, 0.0004) + 0.0002 * math.sin(bar / 60)
        for symbol in SYMBOLS:
            prices[symbol] *= math.exp(common + rng.gauss(0, 0.0004))
        v50, v150, v300, v750 = (rng.gauss(0, scale) for scale in (0.014, 0.007, 0.004, 0.002))
        scan = {
            "scan_number": bar,
            "timestamp": start + 5 * bar,
            "vel_div": v50 - v150,
            "v50_lambda_max_velocity": v50,
            "v150_lambda_max_velocity": v150,
            "v300_lambda_max_velocity": v300,
            "v750_lambda_max_velocity": v750,
            "instability_50": abs(rng.gauss(0, 0.01)),
            "instability_150": abs(rng.gauss(0, 0.01)),
            "asset_prices": prices,
        }
        (folder / f"scan_{bar:06}.json").write_text(json.dumps(scan))


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out, days = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2
    rng = random.Random(7)
    prices = {symbol: 100.0 * 3**n for n, symbol in enumerate(SYMBOLS)}
    for number in range(days):
        day(out / f"2026-01-{number + 1:02}", number, prices, rng)
    print(f"{days} days of {BARS} bars and {len(SYMBOLS)} assets in {out}")


if __name__ == "__main__":
    main()
