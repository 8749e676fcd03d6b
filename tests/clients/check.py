"""One line per check, and an exit code: shared by the Python sessions."""

import asyncio
import sys

_failed = []


def check(client, name, held, detail=""):
    """Prints the outcome of a check."""
    print(f"{'ok  ' if held else 'FAIL'} {client}: {name}{f' ({detail})' if detail else ''}", flush=True)
    if not held:
        _failed.append(name)


async def soon(awaitable, seconds=20):
    """Waits for what must come."""
    return await asyncio.wait_for(awaitable, seconds)


def main(client, session):
    """Runs a session with the venue's address from the command line."""
    try:
        asyncio.run(session(sys.argv[1]))
    except Exception as error:  # a session that breaks off is a failed check
        check(client, "session", False, f"{type(error).__name__}: {error}")
    sys.exit(1 if _failed else 0)
