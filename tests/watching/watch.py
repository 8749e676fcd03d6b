"""Watches a node in every second round, and tells what that cost. Arguments: URL, rounds of each kind, seconds a round."""
import asyncio
import json
import statistics
import sys
import time
import urllib.request
from urllib.parse import urlsplit

node, pairs, length = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
host, port = urlsplit(node).hostname, urlsplit(node).port
DASHBOARDS = 50


def state():
    with urllib.request.urlopen(node + "/api/state", timeout=10) as answer:
        return json.load(answer)


async def ask(path):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def dashboard(counts):
    """A page that is open: the events, read as they come."""
    reader, writer = await ask("/api/events")
    try:
        while data := await reader.read(65536):
            counts["bytes"] += len(data)
    finally:
        writer.close()


async def scraper(counts):
    while True:
        reader, writer = await ask("/metrics")
        assert b"dolphin_trading_armed" in await reader.read()
        counts["scrapes"] += 1
        writer.close()
        await asyncio.sleep(1)


async def stalled():
    """Asks, and never reads."""
    _, writer = await ask("/api/events")
    try:
        await asyncio.sleep(3600)
    finally:
        writer.close()


async def slow():
    reader, writer = await ask("/metrics")
    try:
        while await reader.read(10):
            await asyncio.sleep(1)
        await asyncio.sleep(3600)
    finally:
        writer.close()


async def watched():
    counts = {"bytes": 0, "scrapes": 0}
    tasks = [asyncio.create_task(dashboard(counts)) for _ in range(DASHBOARDS)]
    tasks += [asyncio.create_task(task) for task in (scraper(counts), stalled(), slow())]
    await asyncio.sleep(length)
    died = [task for task in tasks if task.done() and task.exception()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not died, died[0].exception()
    assert counts["scrapes"] > length / 2 and counts["bytes"] > DASHBOARDS * 1000 * length / 10, counts
    return counts


rounds = {"alone": [], "watched": []}
first = state()
for n in range(pairs):
    # Which goes first changes, so that a drift of the machine falls on both.
    for kind in ("alone", "watched") if n % 2 == 0 else ("watched", "alone"):
        before = state()["sequence"]
        counts = asyncio.run(watched()) if kind == "watched" else time.sleep(length)
        after = state()
        assert after["sequence"] > before + length, f"{kind}: the node has stopped telling"
        rounds[kind].append({h["name"]: h["minute"] for h in after["latency"] if h.get("minute")})
        line = " ".join(f"{name} {rounds[kind][-1]['tick_to_order'][name] * 1e6:.0f} µs" for name in ("p50", "p99"))
        print(f"{kind:8} tick to order {line}, {counts or ''}", flush=True)
last = state()
print(f"{'hop':14} {'p50 alone':>10} {'watched':>10} {'ratio':>7} {'p99 alone':>11} {'watched':>10} {'ratio':>7}  spread alone")
for hop in rounds["alone"][0]:
    line = f"{hop:14}"
    for which in ("p50", "p99"):
        a, w = ([r[hop][which] * 1e6 for r in rounds[kind] if hop in r] for kind in ("alone", "watched"))
        line += f" {statistics.median(a):9.1f}  {statistics.median(w):9.1f} {statistics.median(w) / statistics.median(a):7.3f} "
    print(line, f"±{(max(a) - min(a)) / 2 / statistics.median(a) * 100:.0f} %")
lost = {
    "samples lost": last["market"]["samples_lost"] - first["market"]["samples_lost"],
    "frames dropped": last["market"]["frames_dropped"] - first["market"]["frames_dropped"],
    "lossless ring full": sum(r["full"] for r in last["rings"] if r["lossless"]),
}
print(", ".join(f"{what} {n}" for what, n in lost.items()))
sys.exit(any(lost.values()))
