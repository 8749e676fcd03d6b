"""Watches a node in every second round, and tells what that cost. Arguments: program, rounds of each kind, seconds a round.

Each round is a run of `dolphin bench tick-to-order`: the production node beside a venue that keeps a schedule. Orders are few
(one position at a time), so that the p99 of a round is its slowest order; frames are a million, and pass through the same hot
thread: what disturbs it shows there first."""
import asyncio
import json
import socket
import statistics
import subprocess
import sys

program, pairs, length = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
DASHBOARDS = 50
#: Every frame of the market passes the book stage: enough of them for a p99 that does not depend on chance.
ENOUGH = 100_000
#: What watching may cost at p99.
MOST = 1.02


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def dashboard(port, counts):
    """A page that is open: the events, read as they come."""
    reader, writer = await ask(port, "/api/events")
    try:
        while data := await reader.read(65536):
            counts["bytes"] += len(data)
    finally:
        writer.close()


async def scraper(port, counts):
    while True:
        reader, writer = await ask(port, "/metrics")
        assert b"dolphin_trading_armed" in await reader.read()
        counts["scrapes"] += 1
        writer.close()
        await asyncio.sleep(1)


async def stalled(port):
    """Asks, and never reads."""
    _, writer = await ask(port, "/api/events")
    try:
        await asyncio.sleep(3600)
    finally:
        writer.close()


async def slow(port):
    reader, writer = await ask(port, "/metrics")
    try:
        while await reader.read(10):
            await asyncio.sleep(1)
        await asyncio.sleep(3600)
    finally:
        writer.close()


async def answers(port):
    while True:
        try:
            _, writer = await ask(port, "/metrics")
            return writer.close()
        except OSError:
            await asyncio.sleep(0.1)


async def one_round(watch):
    """A run, watched or not: its report, and what the watchers received."""
    port, counts = free_port(), {"bytes": 0, "scrapes": 0}
    command = ["bench", "tick-to-order", "--rates", "20", "--seconds", str(length), "--listen", f"127.0.0.1:{port}", "--json"]
    pipe = subprocess.PIPE
    # The watchers leave the hot thread's core alone, as they would on another machine; the program finds its cores itself.
    run = await asyncio.create_subprocess_exec("taskset", "-a", "-c", ALL_CORES, program, *command, stdout=pipe, stderr=subprocess.DEVNULL)
    printed = asyncio.create_task(run.stdout.read())
    tasks = []
    if watch:
        await asyncio.wait_for(answers(port), 30)
        tasks = [asyncio.create_task(dashboard(port, counts)) for _ in range(DASHBOARDS)]
        tasks += [asyncio.create_task(task) for task in (scraper(port, counts), stalled(port), slow(port))]
    text = await printed
    # Those that read see the end of the run; that none ended before it shows in what they received.
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await run.wait() == 0, text
    if watch:
        assert counts["scrapes"] > length / 2 and counts["bytes"] > DASHBOARDS * 1000 * length / 10, counts
    return json.loads(text)["runs"][0], counts


ALL_CORES = subprocess.run(["taskset", "-cp", "1"], capture_output=True, text=True).stdout.split(": ")[-1].strip() or "0"


def figures(run):
    """(what, samples, p50, p99) of everything that is measured, ns."""
    hops = [(f"{name}, every one", h["n"], h["p50"], h["p99"]) for name, h in run["every_tick"].items()]
    paths = {"entry": "boundary → entry", "exit": "boundary → exit", "repeg": "quote → re-peg", "take_profit": "fill → take-profit"}
    orders = [(text, f["n"], f["p50"], f["p99"]) for key, text in paths.items() if (f := run["paths"].get(key, {}).get("within")) and f["n"]]
    return {what: rest for what, *rest in hops + orders}


rounds = {"alone": [], "watched": []}
for n in range(pairs):
    # Which goes first changes, so that a drift of the machine falls on both.
    for kind in ("alone", "watched") if n % 2 == 0 else ("watched", "alone"):
        run, counts = asyncio.run(one_round(kind == "watched"))
        rounds[kind].append(run)
        hot = run["threads"][0]
        print(f"{kind:8} {run['frames_per_s']:.0f} frames/s, {run['ticks']} ticks, {run['ticks_lost']} lost, {run['entries']} entries; hot thread: {hot['allocations']} allocations, "
              f"{hot['involuntary_switches']} times taken off its core for {hot['waited_ns'] / 1e6:.1f} ms, {counts or ''}", flush=True)

print(f"{'':28} {'n':>9} {'p50 alone':>10} {'watched':>9} {'ratio':>6} {'p99 alone':>10} {'watched':>9} {'ratio':>6}  p99 alone from … to")
each = {kind: [figures(run) for run in runs] for kind, runs in rounds.items()}
ratios = {}
for what in each["alone"][0]:
    a, w = ([f[what] for f in each[kind] if what in f] for kind in ("alone", "watched"))
    if not a or not w:
        continue
    middle = lambda rows, i: statistics.median(row[i] for row in rows) / 1e3
    (a50, a99), (w50, w99) = ((middle(rows, 1), middle(rows, 2)) for rows in (a, w))
    samples = sum(row[0] for row in a)
    ratios[what] = (samples, w99 / a99)
    spread = [row[2] / 1e3 for row in a]
    print(f"{what:28} {samples:9} {a50:7.2f} µs {w50:6.2f} µs {w50 / a50:6.3f} {a99:7.1f} µs {w99:6.1f} µs {w99 / a99:6.3f}  {min(spread):.1f} … {max(spread):.1f} µs")
all_runs = [run for runs in rounds.values() for run in runs]
lost = {
    "ticks lost": sum(run["ticks_lost"] for run in all_runs),
    "frames dropped": sum(run["frames_dropped"] for run in all_runs),
}
print(", ".join(f"{what} {n}" for what, n in lost.items()))
over = {what: ratio for what, (samples, ratio) in ratios.items() if samples >= ENOUGH and ratio > MOST}
for what, ratio in over.items():
    print(f"{what}: p99 is {ratio:.3f} times that alone, over {MOST}")
sys.exit(any(lost.values()) or bool(over))
