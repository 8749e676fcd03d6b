"""A real Prefect server and worker (SQLite, loopback): both deployments registered, run for a golden date, retried after a
failure, failed on drift; the results read back from a real Hazelcast member by the Python client."""


import json
import os

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid

import pytest
from conftest import ROOT
from hz_member import member

import dolphin_engine as de
from dolphin_engine.memory import HazelcastMemory

pytest.importorskip("prefect")
pytest.importorskip("hazelcast")

FLOWS = ROOT / "ops/prefect"
PREFECT = [sys.executable, "-m", "prefect"]
# SQLite has one writer, and these write all the time, or would begin a run of their own at 00:05 and 00:10 (the scheduler).
NOT_NEEDED = ["CANCELLATION_CLEANUP", "EVENT_PERSISTER", "FOREMAN", "LATE_RUNS", "PAUSE_EXPIRATIONS", "REPOSSESSOR", "SCHEDULER", "TRIGGERS"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def stage(tmp_path_factory, configs, synthetic):
    """A member, a server, both deployments registered, a worker."""
    folder = tmp_path_factory.mktemp("prefect")
    data = folder / "days"
    shutil.copytree(synthetic, data)
    port = free_port()
    env = {
        **os.environ,
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in NOT_NEEDED},
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "DOLPHIN_RETRY_DELAY_S": "4",
        "DOLPHIN_PNL_LOG": str(folder / "pnl.jsonl"),
    }
    log = open(folder / "log", "w")
    started = []
    with member() as address:
        config = folder / "blue.yml"
        text = (configs / "blue.yml").read_text()
        config.write_text(text.replace("backend: embedded", f'backend: hazelcast\n  hazelcast: {{members: ["{address}"]}}'))
        try:
            server_env = {k: v for k, v in env.items() if k != "PREFECT_API_URL"}
            started.append(subprocess.Popen([*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)], env=server_env, stdout=log, stderr=log))
            wait_for_server(port)
            for script in ("paper_trade_flow.py", "nautilus_prefect_flow.py"):
                done = subprocess.run(
                    [sys.executable, FLOWS / script, "--register", "--config", config, "--data", data], env=env, capture_output=True, text=True, timeout=180
                )
                assert done.returncode == 0, done.stdout + done.stderr
                print(done.stdout.strip().splitlines()[-1])
            started.append(subprocess.Popen([*PREFECT, "worker", "start", "--pool", "dolphin", "--type", "process"], env=env, stdout=log, stderr=log))
            before = dict(os.environ)
            os.environ.update({k: env[k] for k in ("PREFECT_HOME", "PREFECT_API_URL")})
            yield Stage(env, config, data, address, folder)
            os.environ.clear()
            os.environ.update(before)
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
            log.close()


def wait_for_server(port):
    until = time.time() + 120
    while time.time() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the Prefect server did not start")


class Stage:
    def __init__(self, env, config, data, address, folder):
        self.env, self.config, self.data, self.address, self.folder = env, config, data, address, folder

    def api(self, path, body=None):
        """The server's own REST interface. 503, or no answer, is a SQLite that is busy: once more, as Prefect's client does."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.env["PREFECT_API_URL"] + path, data, {"Content-Type": "application/json"})
        end = time.time() + 300
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.time() > end:
                    raise
            except OSError:
                if time.time() > end:
                    raise AssertionError(f"{path}: no answer\n{(self.folder / 'log').read_text()[-3000:]}") from None
            time.sleep(1)

    def deployment(self, name):
        return self.api(f"/deployments/name/{name}")

    def start(self, name, **parameters):
        found = self.deployment(name)
        # The key makes a request that is sent again the same run.
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": str(uuid.uuid4())}
        return self.api(f"/deployments/{found['id']}/create_flow_run", body)["id"]

    def state(self, run):
        found = self.api(f"/flow_runs/{run}")
        tasks = self.api("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return {
            "type": found["state"]["type"],
            "message": found["state"]["message"] or "",
            "tasks": {t["name"].rsplit("-", 1)[0]: [t["state_type"], t["state_name"], t["run_count"]] for t in tasks},
        }

    def wait(self, run, until=lambda s: s["type"] in ("COMPLETED", "FAILED", "CRASHED"), limit=300):
        end = time.time() + limit
        while time.time() < end:
            state = self.state(run)
            if until(state):
                return state
            time.sleep(0.5)
        raise AssertionError(f"{state}\n{(self.folder / 'log').read_text()[-3000:]}")


@pytest.mark.parametrize(
    ("name", "cron"), [("dolphin-paper/dolphin-paper-blue", "5 0 * * *"), ("dolphin-nautilus/dolphin-nautilus-blue", "10 0 * * *")]
)
def test_deployments_stand_in_the_pool_with_their_times(name, cron, stage):
    found = stage.deployment(name)
    assert found["work_pool_name"] == "dolphin"
    assert [(s["schedule"]["cron"], s["schedule"]["timezone"] or "UTC") for s in found["schedules"]] == [(cron, "UTC")]
    assert found["parameters"] == {"config": str(stage.config), "data": str(stage.data)}


def test_paper_runs_a_golden_date(stage, synthetic):
    state = stage.wait(stage.start("dolphin-paper/dolphin-paper-blue", date="2026-02-01"))
    assert state["type"] == "COMPLETED", state
    assert {"load_config", "load_day_scans", "run_engine_day", "write_hz_state", "log_pnl"} <= set(state["tasks"])
    expected = de.replay(synthetic, end="2026-02-01").days.to_pylist()[0]
    with HazelcastMemory([stage.address]) as memory:
        assert json.loads(memory.get("DOLPHIN_PNL_BLUE", "2026-02-01")) == expected
        assert json.loads(memory.get("DOLPHIN_STATE_BLUE", "latest"))["capital"] == expected["capital"]
        assert json.loads(memory.get("DOLPHIN_HEARTBEAT", "nautilus_flow_heartbeat"))["phase"] == "flow_end"
    assert json.loads((stage.folder / "pnl.jsonl").read_text().splitlines()[0])["pnl"] == expected["pnl"]
    artifacts = sorted({a["key"] for a in stage.api("/artifacts/filter", {}) if a["key"]})
    assert artifacts == ["dolphin-paper-blue-day", "dolphin-paper-blue-report", "dolphin-paper-blue-trades"]


def test_nautilus_runs_golden_dates_in_nautilus_trader(stage, synthetic):
    expected = de.replay(synthetic).days.to_pylist()
    for day in expected[:2]:
        state = stage.wait(stage.start("dolphin-nautilus/dolphin-nautilus-blue", date=day["date"]))
        assert state["type"] == "COMPLETED", state
        assert {"hz_probe", "validate_champion_params", "load_bar_data", "read_posture", "restore_capital", "run", "write_result", "heartbeat"} <= set(state["tasks"])
        with HazelcastMemory([stage.address]) as memory:
            assert json.loads(memory.get("DOLPHIN_PNL_BLUE", day["date"])) == day
            assert json.loads(memory.get("DOLPHIN_STATE_BLUE", "latest_nautilus"))["date"] == day["date"]


def test_a_failed_task_is_tried_again(stage, synthetic):
    """The day's file is not there, and comes while the task waits for its next try."""
    file = stage.data / "2026-02-03.parquet"
    file.rename(stage.folder / "away.parquet")
    run = stage.start("dolphin-paper/dolphin-paper-blue", date="2026-02-03")
    waiting = stage.wait(run, lambda s: s["tasks"].get("load_day_scans", ["", "", 0])[1] == "AwaitingRetry" or s["type"] in ("COMPLETED", "FAILED"))
    assert waiting["tasks"]["load_day_scans"][1] == "AwaitingRetry", waiting
    (stage.folder / "away.parquet").rename(file)
    state = stage.wait(run)
    assert state["type"] == "COMPLETED" and state["tasks"]["load_day_scans"][2] >= 2, state
    print(f"\nretried: load_day_scans done at try {state['tasks']['load_day_scans'][2]}")


def test_drift_fails_the_run(stage):
    good = stage.config.read_text()
    stage.config.write_text(good.replace("fraction: 0.20", "fraction: 0.25"))
    try:
        state = stage.wait(stage.start("dolphin-nautilus/dolphin-nautilus-blue", date="2026-02-03"))
        assert state["type"] == "FAILED" and "fraction is 0.25" in state["message"], state
        with HazelcastMemory([stage.address]) as memory:
            assert json.loads(memory.get("DOLPHIN_STATE_BLUE", "latest_nautilus"))["date"] == "2026-02-02"
        # At import, too: a worker, or `--register`, gets no flow at all.
        env = {**stage.env, "DOLPHIN_CONFIG": str(stage.config)}
        done = subprocess.run([sys.executable, FLOWS / "paper_trade_flow.py", "--register"], env=env, capture_output=True, text=True)
        assert done.returncode != 0 and "fraction is 0.25" in done.stderr
    finally:
        stage.config.write_text(good)


def test_the_frozen_hash_is_the_package_s():
    text = (FLOWS / "dolphin_prefect.py").read_text()
    assert de.CHAMPION_HASH in text
    code = "import dolphin_engine as d; d.hash = lambda *a, **k: 'f' * 64; import dolphin_prefect"
    done = subprocess.run([sys.executable, "-c", code], cwd=FLOWS, capture_output=True, text=True)
    assert done.returncode != 0 and "has drifted" in done.stderr

