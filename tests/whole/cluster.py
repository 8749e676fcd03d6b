"""Three real Hazelcast members of one cluster, on loopback. `tests/hazelcast/fetch` gets the jar."""

from __future__ import annotations

import fcntl
import pathlib
import subprocess

from processes import Failed, Process, free_ports, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
HAZELCAST = ROOT / "tests/hazelcast"
VERSION = "5.7.0"
# As docs/lease.md asks for: the smaller side of a split refuses.
MAJORITY = """  split-brain-protection:
    majority: {enabled: true, minimum-cluster-size: 2, protect-on: READ_WRITE}
  map:
    DOLPHIN_LEASE: {split-brain-protection-ref: majority}
    DOLPHIN_CONTROL: {split-brain-protection-ref: majority}
    DOLPHIN_STATE_*: {split-brain-protection-ref: majority}
"""


class Cluster:
    def __init__(self, folder: pathlib.Path, size: int = 3) -> None:
        fetched = subprocess.run([HAZELCAST / "fetch", "jar", VERSION], capture_output=True, text=True)
        if fetched.returncode != 0:
            raise Failed(f"no Hazelcast member: {fetched.stderr.strip()}")
        # Maven colours what it prints, even the empty lines.
        line = fetched.stdout.strip().splitlines()[-1]
        self.jar = pathlib.Path(line[line.index("/") :])
        # One cluster at a time on the machine, as the other tests have it.
        self.turn = open(self.jar.with_name("turn"), "w")
        fcntl.flock(self.turn, fcntl.LOCK_EX)
        self.folder, self.ports = folder, free_ports(size)
        self.addresses = [f"127.0.0.1:{port}" for port in self.ports]
        self.members: list[Process] = []
        listed = ", ".join(f'"{address}"' for address in self.addresses)
        config = (HAZELCAST / "member.yaml").read_text().replace("MEMBERS", listed) + MAJORITY
        for n, port in enumerate(self.ports):
            (folder / f"member{n}.yaml").write_text(config.replace("PORT", str(port)))
            self.members.append(self._start(n))
        whole = f"Members {{size:{size}"
        until(f"a cluster of {size}", 240, lambda: all(whole in member.log() for member in self.members), *self.members)

    def _start(self, n: int) -> Process:
        return Process(f"member{n}", [HAZELCAST / "member", self.jar, self.folder / f"member{n}.yaml"], self.folder)

    def restart(self, n: int) -> None:
        """A member that was killed comes back, empty, and takes its share again."""
        before = self.members[n].log().count("Members {size:3")
        self.members[n] = self._start(n)
        member = self.members[n]
        until("the member is in the cluster again", 240, lambda: member.log().count("Members {size:3") > before, member)
