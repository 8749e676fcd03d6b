"""System memory for flows and notebooks: a Hazelcast cluster by Hazelcast's own client, or the embedded store by
``dolphin memory``. Values are JSON texts (SPEC 9)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from ._native import UnavailableError, load_config
from .binary import find_binary


class Memory(Protocol):
    """What the flows need."""

    def get(self, map_name: str, key: str) -> str | None: ...
    def put(self, map_name: str, key: str, value: str) -> None: ...
    def entries(self, map_name: str) -> dict[str, str]: ...
    def remove(self, map_name: str, key: str) -> None: ...
    def close(self) -> None: ...


class HazelcastMemory:
    """A cluster. Whatever goes wrong is an :class:`UnavailableError` that says where."""

    def __init__(self, members: list[str], cluster_name: str = "dolphin", timeout_s: float = 5.0) -> None:
        from hazelcast.client import HazelcastClient

        self._where = f"Hazelcast {cluster_name} at {', '.join(members)}"
        self._client: Any = self._try(
            lambda: HazelcastClient(
                cluster_members=members,
                cluster_name=cluster_name,
                cluster_connect_timeout=timeout_s,
                invocation_timeout=timeout_s,
            )
        )

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            raise UnavailableError(f"{self._where}: {error}") from error

    def _map(self, name: str) -> Any:
        return self._client.get_map(name).blocking()

    def get(self, map_name: str, key: str) -> str | None:
        value = self._try(lambda: self._map(map_name).get(key))
        return None if value is None else str(value)

    def put(self, map_name: str, key: str, value: str) -> None:
        self._try(lambda: self._map(map_name).set(key, value))

    def entries(self, map_name: str) -> dict[str, str]:
        return {str(k): str(v) for k, v in self._try(lambda: self._map(map_name).entry_set())}

    def remove(self, map_name: str, key: str) -> None:
        self._try(lambda: self._map(map_name).delete(key))

    def listen(self, map_name: str, key: str, heard: Callable[[str], None]) -> None:
        """Calls ``heard`` with the new text whenever the key is written, on a thread of the client."""

        def changed(event: Any) -> None:
            if event.value is not None:
                heard(str(event.value))

        self._try(
            lambda: self._map(map_name).add_entry_listener(
                include_value=True, key=key, added_func=changed, updated_func=changed
            )
        )

    def close(self) -> None:
        self._client.shutdown()

    def __enter__(self) -> HazelcastMemory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class EmbeddedMemory:
    """The embedded store of a configuration, by ``dolphin memory``: it works beside a running node."""

    def __init__(self, config_path: str, binary: str | None = None, timeout_s: float = 10.0) -> None:
        self._command = [find_binary(binary), "memory", "--config", config_path]
        self._timeout = timeout_s

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run([*self._command, *arguments], capture_output=True, text=True, timeout=self._timeout)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"dolphin memory: {error}") from error

    def _fail(self, done: subprocess.CompletedProcess[str]) -> UnavailableError:
        return UnavailableError(done.stderr.strip() or f"dolphin memory ended with exit code {done.returncode}")

    def get(self, map_name: str, key: str) -> str | None:
        done = self._run("get", map_name, key)
        if done.returncode == 0:
            return done.stdout.removesuffix("\n")
        if done.returncode == 1 or "there is no memory" in done.stderr:
            return None
        raise self._fail(done)

    def put(self, map_name: str, key: str, value: str) -> None:
        done = self._run("put", map_name, key, value)
        if done.returncode != 0:
            raise self._fail(done)

    def entries(self, map_name: str) -> dict[str, str]:
        done = self._run("keys", map_name)
        if done.returncode != 0:
            if "there is no memory" in done.stderr:
                return {}
            raise self._fail(done)
        found = {key: self.get(map_name, key) for key in done.stdout.splitlines()}
        return {key: value for key, value in found.items() if value is not None}

    def remove(self, map_name: str, key: str) -> None:
        """The command line removes nothing: an old state stays until ``dolphin supervise`` runs there."""

    def close(self) -> None:
        """Nothing is held."""


def open_memory(config_path: str, binary: str | None = None) -> Memory:
    """The memory that a configuration names."""
    section = load_config(config_path)["memory"]
    if section["backend"] == "hazelcast":
        return HazelcastMemory(list(section["members"]), str(section["cluster_name"]))
    return EmbeddedMemory(config_path, binary)
