"""Hazelcast's own Python client, driven line by line: the other side of the tests.

Reads one JSON command per line, answers with one JSON line. `listen` prints further lines {"event": [key, value]}.
"""

import json
import sys
import threading

import hazelcast
from hazelcast.core import HazelcastJsonValue

out_lock = threading.Lock()


def say(answer):
    with out_lock:
        print(json.dumps(answer), flush=True)


def text(value):
    """The type matters as much as the value: `str` is what the flows expect."""
    return [type(value).__name__, str(value) if value is not None else None]


def run(client, command):
    op = command["op"]
    if op == "reference_set":
        client.cp_subsystem.get_atomic_reference(command["name"]).blocking().set(command["value"])
        return "ok"
    if op == "reference_get":
        return text(client.cp_subsystem.get_atomic_reference(command["name"]).blocking().get())
    imap = client.get_map(command["map"]).blocking()
    if op == "put":
        imap.put(command["key"], command["value"])
        return "ok"
    if op == "put_json":
        imap.put(command["key"], HazelcastJsonValue(command["value"]))
        return "ok"
    if op == "get":
        return text(imap.get(command["key"]))
    if op == "remove":
        imap.remove(command["key"])
        return "ok"
    if op == "clear":
        imap.clear()
        return "ok"
    if op == "keys":
        return sorted(str(key) for key in imap.key_set())
    if op == "listen":
        imap.add_entry_listener(
            include_value=True,
            added_func=lambda e: say({"event": [e.key, text(e.value)]}),
            updated_func=lambda e: say({"event": [e.key, text(e.value)]}),
        )
        return "ok"
    raise ValueError(op)


def main():
    client = hazelcast.HazelcastClient(
        cluster_name=sys.argv[1], cluster_members=sys.argv[2:], cluster_connect_timeout=120.0
    )
    say({"answer": "ready"})
    for line in sys.stdin:
        try:
            say({"answer": run(client, json.loads(line))})
        except Exception as error:  # the test judges
            say({"error": f"{type(error).__name__}: {error}"})
    client.shutdown()


main()
