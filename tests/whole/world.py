"""Everything that runs: members, venue, nodes, and those who look at them."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import pathlib
import random
import secrets
import shutil
import subprocess
import sys
import threading
import time
from typing import Any

from cluster import ROOT, Cluster
from exchange import Schedule, Venue
from processes import Process, beside, end_all, free_ports, get, get_json, meanwhile, say, until

sys.path.insert(0, str(ROOT / "docs/examples"))
import make_days  # noqa: E402

BALANCE = 100_000
PATHS = ("/", "/healthz", "/readyz", "/api/state", "/api/history", "/metrics")


class Node:
    """A machine of the deployment: its directory, and the runs of the program on it, one after the other."""

    def __init__(self, world: "World", name: str, arguments: list[str]) -> None:
        self.world, self.name, self.arguments = world, name, arguments
        self.folder = world.folder / name
        self.folder.mkdir()
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = world.configuration(self.folder, self.port, name)
        #: Where it comes from, as the venue sees it.
        self.address = f"127.0.0.{11 + world.machines}"
        world.machines += 1
        self.runs: list[Process] = []

    @property
    def process(self) -> Process:
        return self.runs[-1]

    def start(self) -> None:
        run = f"{self.name}.{len(self.runs) + 1}"
        arguments = list(self.arguments)
        if "alpha" in arguments:
            arguments += ["--keys", str(self.world.keys), "--out", str(self.out(len(self.runs)))]
        state = str(self.folder / "state")
        command = [self.world.binary, "live", "--json", "--config", self.config, *arguments]
        if "alpha" in arguments and os.geteuid() == 0:
            # As the shipped unit runs it (ops/systemd/dolphin-live.service).
            command = ["nice", "-n", "-10", *command]
        environment = {"STATE_DIRECTORY": state}
        if self.world.own_addresses:
            environment |= {"LD_PRELOAD": os.environ["SOURCE_ADDRESS_LIBRARY"], "SOURCE_ADDRESS": self.address}
        self.runs.append(Process(run, command, self.world.folder, **environment))

    def out(self, run: int) -> pathlib.Path:
        return self.folder / f"out{run + 1}"

    def state(self) -> dict[str, Any]:
        """What it shows of itself; empty where it does not answer."""
        return get_json(f"{self.url}/api/state") or {}

    def active(self) -> bool:
        return "is active now, by lease" in self.process.log()

    def armed(self) -> bool:
        return get(f"{self.url}/readyz")[0] == 200

    def gates(self) -> list[str]:
        return [gate["name"] for gate in self.state().get("gates", []) if not gate["symbols"]]

    def journals(self) -> list[pathlib.Path]:
        return sorted({file.parent for file in (self.folder / "state").glob("journal/*/*.dj*")})


class Webhook:
    """Takes pages. Each node has an address of its own, with a secret in it; which node a page is of is its path."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(16)
        self.pages: list[dict[str, Any]] = []
        pages, token = self.pages, self.token

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                _, node, given = self.path.split("/")
                if given == token:
                    pages.append({**body, "machine": node, "received": time.time()})
                self.send_response(200 if given == token else 403)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, machine: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{machine}/{self.token}"


class World:
    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, symbols: int, seed: int) -> None:
        self.binary, self.folder, self.symbols = binary, folder, symbols
        self.key, self.secret = "whole" + secrets.token_hex(8), secrets.token_hex(32)
        self.own_addresses, self.machines = "SOURCE_ADDRESS_LIBRARY" in os.environ, 0
        self.secret_files: list[pathlib.Path] = []
        self.webhook = Webhook()
        self.cluster = Cluster(folder)
        say(f"three members: {', '.join(self.cluster.addresses)}")
        self.keys = self.private("keys.toml", f'[local]\nkey = "{self.key}"\nsecret = "{self.secret}"\n')
        port = free_ports(1)[0]
        self.venue_address = f"127.0.0.1:{port}"
        self.venue_process = Process(
            "venue",
            [binary, "venue", "--listen", self.venue_address, "--symbols", str(symbols), "--seed", str(seed), "--rules", "mainnet",
             "--balance", str(BALANCE), "--key", self.key, "--secret-file", self.private("secret", self.secret)],
            folder,
        )  # fmt: skip
        until("the venue listens", 60, lambda: self.venue_process.printed().strip(), self.venue_process)
        self.venue = Venue(self.venue_address, self.key, self.secret)
        share = lambda n: ["--role", "ingest", "--share", f"{n}/2"]  # noqa: E731
        self.ingest = [Node(self, f"ingest{n}", share(n)) for n in (1, 2)]
        self.alphas = [Node(self, f"alpha{n}", ["--role", "alpha"]) for n in (1, 2)]
        self.nodes = [*self.ingest, *self.alphas]
        # The operator's machine has no node: `dolphin kill` and `rearm` reach the others by memory alone.
        (folder / "operator").mkdir()
        self.operator = self.configuration(folder / "operator", port, "operator")
        self.schedule = Schedule(seed, self.symbol_names())
        self.storm = False
        self.listen_keys: set[str] = set()
        self.answers = folder / "answers"
        self.answers.mkdir()
        self._looked = 0.0
        self.prometheus = ""
        meanwhile.append(self._beside)

    def private(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        self.secret_files.append(path)
        return path

    def configuration(self, folder: pathlib.Path, port: int, name: str, deployment: str = "blue") -> pathlib.Path:
        text = (pathlib.Path(__file__).parent / "node.yml").read_text()
        members = ", ".join(f'"{address}"' for address in self.cluster.addresses)
        webhook = self.private(f"{name}.webhook", self.webhook.url(name))
        for word, value in [("SYMBOLS", self.symbols), ("VENUE", self.venue_address), ("MEMBERS", members), ("PORT", port), ("WEBHOOK", webhook), ("DEPLOYMENT", deployment)]:
            text = text.replace(word, str(value))
        path = folder / "node.yml"
        path.write_text(text)
        return path

    def symbol_names(self) -> list[str]:
        _, body = get(f"http://{self.venue_address}/fapi/v1/exchangeInfo")
        return [s["symbol"] for s in json.loads(body)["symbols"]][: self.symbols]

    def _beside(self) -> None:
        if self.storm:
            self.schedule.turn(self.venue)
        if time.monotonic() - self._looked > 5:
            self._looked = time.monotonic()
            for process in Process.all:
                process.look()
            for node in self.alphas:
                if node.runs and node.process.active_since is None and node.active():
                    node.process.active_since = time.monotonic()

    # -- the nodes ---------------------------------------------------------------------------------------------------

    def active(self) -> Node | None:
        """The alpha node that trades."""
        return next((n for n in self.alphas if n.runs and n.process.lives() and n.active()), None)

    def standby(self) -> Node | None:
        return next((n for n in self.alphas if n.runs and n.process.lives() and not n.active()), None)

    def dolphin(self, name: str, *arguments: Any, patience: float = 90) -> tuple[int, str]:
        """A command of the program while everything goes on: exit code, and what it printed."""
        process = Process(name, [self.binary, *arguments], self.folder)
        end = time.monotonic() + patience
        while process.lives() and time.monotonic() < end:
            beside()
        code = process.wait(1)
        return code, process.printed() + process.log()

    def memory(self, *arguments: str) -> str | None:
        """`dolphin memory …`: what it prints, None where the key is not there."""
        members = ",".join(self.cluster.addresses)
        done = subprocess.run([self.binary, "memory", "--hazelcast", members, *arguments], capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else None

    def keep_answers(self, when: str) -> None:
        """All that the nodes answer, to be searched for secrets; and the listen key of now."""
        for node in self.nodes:
            for path in PATHS:
                status, body = get(node.url + path)
                if status:
                    name = f"{when}.{node.name}.{path.strip('/').replace('/', '_') or 'dashboard'}"
                    (self.answers / name).write_bytes(body)
        key = self.venue.listen_key()
        if key:
            self.listen_keys.add(key)

    # -- those who look ----------------------------------------------------------------------------------------------

    def start_prometheus(self) -> None:
        self.prometheus = f"http://127.0.0.1:{free_ports(1)[0]}"
        targets = '", "'.join(f"127.0.0.1:{node.port}" for node in self.nodes)
        shutil.copy(ROOT / "ops/prometheus/dolphin.rules.yml", self.folder)
        text = (ROOT / "ops/prometheus/prometheus.yml").read_text().replace("127.0.0.1:9464", targets)
        (self.folder / "prometheus.yml").write_text(text)
        address = self.prometheus.removeprefix("http://")
        command = ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/tsdb", f"--web.listen-address={address}"]
        process = Process("prometheus", command, self.folder)
        until("Prometheus is ready", 60, lambda: get(f"{self.prometheus}/-/ready")[0] == 200, process)
        say(f"Prometheus scrapes {len(self.nodes)} nodes")

    def start_dashboards(self) -> list[Process]:
        """Two pages in Chromium, one on each alpha node; without Chromium two readers of the same events."""
        urls = [node.url for node in self.alphas]
        modules = os.environ.get("DASHBOARD_MODULES")
        if modules:
            script = pathlib.Path(__file__).with_name("dashboards.js")
            chromium = shutil.which("chromium") or "chromium"
            page = Process("dashboards", ["node", script, chromium, *urls], self.folder, NODE_PATH=modules)
            until("two dashboards are open", 120, lambda: page.printed().count("open") >= 2, page)
            say("two dashboards are open in Chromium")
            return [page]
        say("two readers of the dashboards' events (Chromium is not to be had)")
        loop = 'while true; do curl -sN "$0/api/events"; sleep 1; done'
        return [Process(f"dashboard{n}", ["bash", "-c", loop, url], self.folder) for n, url in enumerate(urls)]

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self.folder / "tmux"), "-f", "/dev/null", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout

    def start_top(self) -> None:
        for node in self.alphas:
            self.tmux("new-session", "-d", "-s", node.name, "-x", "200", "-y", "60", f"{self.binary} top --at {node.url}")
        until("dolphin top shows the node", 30, lambda: "UTC" in self.screen(self.alphas[0]))
        say("dolphin top is open on both alpha nodes")

    def screen(self, node: Node) -> str:
        return self.tmux("capture-pane", "-p", "-t", node.name)

    def start_flows(self) -> tuple[Process, Process | None]:
        """Yesterday's run, by `dolphin supervise` and by Prefect where that is installed, in the same cluster under the
        other deployment: a trading node's state is not theirs."""
        folder, days = self.folder / "flows", self.folder / "days"
        folder.mkdir()
        config = self.configuration(folder, 0, "flows", "green")
        text = config.read_text()
        config.write_text(text[: text.index("telemetry:")])
        yesterday = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=1)
        number = (yesterday - datetime.date(2026, 1, 1)).days
        make_days.day(days / yesterday.isoformat(), number, {symbol: 100.0 * 3**n for n, symbol in enumerate(make_days.SYMBOLS)}, random.Random(7))
        state = {"STATE_DIRECTORY": str(folder / "state")}
        supervise = [self.binary, "supervise", "--config", config, "--data", days, "--flow", "nautilus", "--json", "--retry-delay", "2"]
        first = Process("supervise", supervise, self.folder, **state)
        python = os.environ.get("PREFECT_PYTHON")
        if not python:
            return first, None
        environment = {
            "PREFECT_HOME": str(folder / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180", "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            "DOLPHIN_RETRY_DELAY_S": "4", "DOLPHIN_PNL_LOG": str(folder / "prefect.jsonl"),
        }  # fmt: skip
        flow = [python, ROOT / "ops/prefect/paper_trade_flow.py", "--config", config, "--data", days]
        return first, Process("prefect", flow, self.folder, **environment)

    def end(self) -> None:
        self.tmux("kill-server")
        end_all()
        self.webhook.server.shutdown()
