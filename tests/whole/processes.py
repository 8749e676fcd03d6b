"""Processes of the test: started, waited for, looked at, and ended in every way the test can end."""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

BEGAN = time.monotonic()
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """The test cannot go on."""


def say(text: str) -> None:
    minutes, seconds = divmod(time.monotonic() - BEGAN, 60)
    print(f"{int(minutes):02}:{seconds:04.1f} {text}", flush=True)


def free_ports(count: int) -> list[int]:
    """Different free ports: all stand open until all are known."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def _dies_with_the_test() -> None:
    # Also where the test itself is killed with -9. It holds as long as the thread that starts lives: the main thread.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A child. Standard output and error go to files in `folder`."""

    all: list["Process"] = []

    def __init__(self, name: str, command: Sequence[object], folder: pathlib.Path, **environment: str) -> None:
        self.name = name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        self.command = [str(part) for part in command]
        self.started = time.monotonic()
        with open(self.out, "ab") as out, open(self.err, "ab") as err:
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **environment},
                preexec_fn=_dies_with_the_test,
            )  # fmt: skip
        #: Of an alpha node: since when it has been seen active.
        self.active_since: float | None = None
        #: Resident memory, kB, by the second since the start of the test.
        self.resident: list[tuple[float, int]] = []
        Process.all.append(self)

    @property
    def pid(self) -> int:
        return self.child.pid

    def lives(self) -> bool:
        return self.child.poll() is None

    def log(self) -> str:
        return self.err.read_text(errors="replace")

    def printed(self) -> str:
        return self.out.read_text(errors="replace")

    def signal(self, number: int) -> None:
        if self.lives():
            self.child.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        self.child.wait()

    def end(self, patience: float = 60) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(patience)

    def wait(self, patience: float) -> int:
        try:
            return self.child.wait(patience)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end within {patience:.0f} s\n{self.log()[-3000:]}") from None

    def look(self) -> None:
        """Notes its resident memory."""
        try:
            status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmRSS:"):
                self.resident.append((time.monotonic() - BEGAN, int(line.split()[1])))


def end_all() -> None:
    for process in Process.all:
        process.signal(signal.SIGTERM)
    until = time.monotonic() + 8
    for process in Process.all:
        try:
            process.child.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


#: What is done beside every wait: faults that come due, resident memory that is noted.
meanwhile: list[Callable[[], None]] = []


def until(what: str, patience: float, holds: Callable[[], Any], *processes: Process) -> Any:
    """Waits for something to hold; none of `processes` may end before it does."""
    end = time.monotonic() + patience
    while True:
        found = holds()
        if found:
            return found
        for process in processes:
            if not process.lives():
                raise Failed(f"{process.name} ended ({process.child.returncode}) before: {what}\n{process.log()[-3000:]}")
        if time.monotonic() > end:
            logs = "".join(f"\n-- {p.name}\n{p.log()[-2000:]}" for p in processes)
            raise Failed(f"this did not come about within {patience:.0f} s: {what}{logs}")
        beside()


def beside() -> None:
    """A short turn of waiting."""
    for work in list(meanwhile):
        work()
    time.sleep(0.2)


def pass_time(seconds: float, *processes: Process) -> None:
    """Lets a phase last; none of `processes` may end in it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for process in processes:
            if not process.lives():
                raise Failed(f"{process.name} ended by itself ({process.child.returncode})\n{process.log()[-3000:]}")
        beside()


def get(url: str, timeout: float = 10) -> tuple[int, bytes]:
    """Status and body; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def get_json(url: str) -> Any:
    """The answer, or None."""
    status, body = get(url)
    try:
        return json.loads(body) if status == 200 else None
    except ValueError:
        return None
