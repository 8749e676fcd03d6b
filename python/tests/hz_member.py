"""A real Hazelcast member on a free port of the loopback interface (`tests/hazelcast/fetch` gets its jar)."""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
import socket
import subprocess
import tempfile
import time

import pytest
from conftest import ROOT

HAZELCAST = ROOT / "tests/hazelcast"


@contextlib.contextmanager
def member(version: str = "5.4.0"):
    """Its address. One cluster at a time on the machine, as the other tests have it."""
    fetched = subprocess.run([HAZELCAST / "fetch", "jar", version], capture_output=True, text=True)
    if fetched.returncode != 0:
        print(f"skipped: {fetched.stderr.strip()}")
        pytest.skip(f"no Hazelcast member: {fetched.stderr.strip()}")
    jar = fetched.stdout.strip().splitlines()[-1].strip("\x1b[0m")
    jar = jar[jar.index("/") :]
    with open(pathlib.Path(jar).with_name("turn"), "w") as turn, tempfile.TemporaryDirectory() as folder:
        fcntl.flock(turn, fcntl.LOCK_EX)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config, log = pathlib.Path(folder) / "hazelcast.yaml", pathlib.Path(folder) / "log"
        text = (HAZELCAST / "member.yaml").read_text()
        config.write_text(text.replace("PORT", str(port)).replace("MEMBERS", f'"127.0.0.1:{port}"'))
        with open(log, "w") as out:
            process = subprocess.Popen([HAZELCAST / "member", jar, config], stdout=out, stderr=out)
        try:
            until = time.time() + 90
            while "is STARTED" not in log.read_text():
                assert process.poll() is None and time.time() < until, log.read_text()[-2000:]
                time.sleep(0.3)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()
