"""unicorn-binance-local-depth-cache: a book that equals the venue's at the same update id, before and after a gap.

It has the exchange's host names built in: a resolver leads them to the venue, which serves TLS under these names (what an
entry in /etc/hosts would do). The rules are the production's."""

import os
import socket
import sys
import time

import requests

from check import _failed, check

NAME = "depth_cache"
MARKET = "BTCUSDT"
HOST, PORT = sys.argv[1].rsplit(":", 1)

really = socket.getaddrinfo


def lead(host, port, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    if name and name.endswith(".binance.com"):
        host, port = HOST, int(PORT)
    return really(host, port, *args, **kwargs)


socket.getaddrinfo = lead

from unicorn_binance_local_depth_cache import BinanceLocalDepthCacheManager, DepthCacheOutOfSync  # noqa: E402


def until(what, seconds=40):
    """Waits for what must come."""
    end = time.time() + seconds
    while time.time() < end:
        came = what()
        if came:
            return came
        time.sleep(0.01)
    return None


def equal_at_one_id(cache):
    """Compares the cache with a snapshot of the same update id, as soon as there is one."""
    snapshot = requests.get("https://fapi.binance.com/fapi/v1/depth", params={"symbol": MARKET, "limit": 1000}).json()
    # The stream may be behind the snapshot by one event: then the cache reaches its id a little later.
    reached = until(lambda: (cache.depth_caches[MARKET.lower()]["last_update_id"] or 0) >= snapshot["lastUpdateId"], 2)
    if not reached or cache.depth_caches[MARKET.lower()]["last_update_id"] != snapshot["lastUpdateId"]:
        return None
    try:
        ours = [cache.get_bids(MARKET, limit_count=500), cache.get_asks(MARKET, limit_count=500)]
    except DepthCacheOutOfSync:
        return None
    if cache.depth_caches[MARKET.lower()]["last_update_id"] != snapshot["lastUpdateId"]:
        return None
    theirs = [[[float(v) for v in level] for level in snapshot[side][:500]] for side in ("bids", "asks")]
    ours = [[[float(v) for v in level] for level in side] for side in ours]
    return "equal" if ours == theirs else f"differs: {ours[0][:3]} {theirs[0][:3]}"


def session():
    cache = BinanceLocalDepthCacheManager(
        exchange="binance.com-futures", depth_cache_update_interval=100, init_interval=0.5, warn_on_update=False,
        disable_colorama=True)
    try:
        cache.create_depthcache(markets=[MARKET, "ETHUSDT"])

        def synchronized():
            return all(cache.is_depth_cache_synchronized(m) for m in (MARKET, "ETHUSDT"))

        check(NAME, "synchronized", until(synchronized))
        same = until(lambda: equal_at_one_id(cache))
        check(NAME, "equal at one update id", same == "equal", same)
        gap = {"fault": "drop", "stream": "btcusdt@depth@100ms", "times": 1}
        requests.post("https://fapi.binance.com/dolphin/faults", json=gap).raise_for_status()
        check(NAME, "a gap is noticed", until(lambda: not cache.is_depth_cache_synchronized(MARKET)))
        check(NAME, "synchronized again", until(synchronized))
        same = until(lambda: equal_at_one_id(cache))
        check(NAME, "equal again", same == "equal", same)
    finally:
        cache.stop_manager()


try:
    session()
except Exception as error:  # a session that breaks off is a failed check
    check(NAME, "session", False, f"{type(error).__name__}: {error}")
sys.stdout.flush()
# Its threads need seconds to notice the end.
os._exit(1 if _failed else 0)
