"""A real Hazelcast member: memory from Python, the OB provider over ten maps, `supervise` beside it, the actor's listeners."""

import json
import subprocess
import time

import pytest
from conftest import SYMBOLS, ob_record
from hz_member import member

import dolphin_engine as de
from dolphin_engine.memory import HazelcastMemory, open_memory
from dolphin_engine.ob import FileOBProvider, HZOBProvider

pytest.importorskip("hazelcast")


@pytest.fixture(scope="module")
def address():
    with member() as address:
        yield address


@pytest.fixture
def memory(address):
    with HazelcastMemory([address]) as memory:
        yield memory


@pytest.fixture
def hz_config(tmp_path, configs, address):
    path = tmp_path / "hz.yml"
    text = (configs / "blue.yml").read_text()
    path.write_text(text.replace("backend: embedded", f'backend: hazelcast\n  hazelcast: {{members: ["{address}"]}}'))
    return path


def test_values_are_str(memory):
    assert memory.get("T", "nothing") is None
    memory.put("T", "a", '{"x": 1}')
    assert memory.get("T", "a") == '{"x": 1}' and memory.entries("T") == {"a": '{"x": 1}'}
    memory.remove("T", "a")
    assert memory.entries("T") == {}


def test_the_provider_finds_all_ten_maps_and_ignores_stale_and_misplaced(memory):
    now = 1_800_000_000.0
    symbols = [*SYMBOLS, *(f"A{i}USDT" for i in range(20))]
    for symbol in symbols:
        memory.put(de.features_map(symbol), symbol, json.dumps(ob_record(symbol, now - 0.5)))
    memory.put(de.features_map("OLDUSDT"), "OLDUSDT", json.dumps(ob_record("OLDUSDT", now - 60)))
    memory.put(de.features_map("BADUSDT"), "BADUSDT", "{broken")
    wrong = f"DOLPHIN_FEATURES_SHARD_{(int(de.features_map('BTCUSDT')[-2:]) + 1) % 10:02d}"
    memory.put(wrong, "BTCUSDT", json.dumps(ob_record("BTCUSDT", now)))
    assert len({de.features_map(s) for s in symbols}) == 10
    provider = HZOBProvider(memory, max_age_s=1.0, clock=lambda: now)
    assert set(provider.discover()) == {*symbols, "OLDUSDT", "BADUSDT"}
    view = provider.view(SYMBOLS)
    assert set(view.fresh) == set(symbols) and view.stale == ["OLDUSDT"]
    assert [s for s, _ in view.rejected] == ["BADUSDT"] and provider.rejected >= 2


def test_an_engine_reads_the_provider(memory, market):
    from conftest import warmed

    now = [1_800_000_000.0]
    for symbol in SYMBOLS:
        memory.put(de.features_map(symbol), symbol, json.dumps(ob_record(symbol, now[0], fill_probability=0.1, fill_probability_bid=0.1, fill_probability_ask=0.1)))
    engine, bar = warmed(market)
    engine.set_ob_engine(HZOBProvider(memory, max_age_s=1.0, clock=lambda: now[0]))
    gates = {engine.step_bar(bar + i, -0.04, market.row()).gate for i in range(30)}
    assert "entered" not in gates and "asset" in gates
    now[0] += 60  # Stale features are not there: replay goes on without them.
    assert any(engine.step_bar(bar + 30 + i, -0.04, market.row()).action == "entered" for i in range(30))


def test_the_file_of_features(tmp_path, market):
    now = 1_800_000_000.0
    path = tmp_path / "latest_ob_features.json"
    provider = FileOBProvider(path, max_age_s=1.0, clock=lambda: now)
    assert provider.view(SYMBOLS) is None and provider.errors == 1
    path.write_text(json.dumps({s: ob_record(s, now) for s in SYMBOLS} | {"OLD": ob_record("OLD", now - 9)}))
    view = provider.view(SYMBOLS)
    assert sorted(view.fresh) == sorted(SYMBOLS) and view.stale == ["OLD"]
    path.write_text("{half")
    assert provider.view(SYMBOLS) is None and provider.errors == 2


def test_features_writes_the_file_that_the_provider_reads(binary, tmp_path):
    from conftest import shared

    recordings = sorted(str(p) for p in shared("recordings").glob("usdm_*.gz"))
    out = tmp_path / "features.parquet"
    subprocess.run([binary, "features", "--recording", *recordings, "--out", out], check=True, capture_output=True)
    path = tmp_path / "ob_cache/latest_ob_features.json"
    records = json.loads(path.read_text())
    assert sorted(records) == ["BTCUSDT", "ETHUSDT"]
    at = max(r["timestamp"] for r in records.values())
    view = FileOBProvider(path, clock=lambda: at + 0.5).view(["ETHUSDT", "BTCUSDT"])
    assert sorted(view.fresh) == ["BTCUSDT", "ETHUSDT"] and view.rejected == []


def test_supervise_writes_what_python_reads(binary, hz_config, synthetic, memory, tmp_path):
    command = [binary, "supervise", "--config", hz_config, "--data", synthetic, "--date", "2026-02-01", "--flow", "nautilus"]
    done = subprocess.run([*command, "--pnl-log", tmp_path / "pnl.jsonl"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(memory.get("DOLPHIN_PNL_BLUE", "2026-02-01"))
    assert result["pnl"] == de.replay(synthetic, end="2026-02-01").days.to_pylist()[0]["pnl"]
    assert json.loads(memory.get("DOLPHIN_HEARTBEAT", "nautilus_flow_heartbeat"))["phase"] == "flow_end"
    opened = open_memory(str(hz_config))
    assert opened.get("DOLPHIN_STATE_BLUE", "latest_nautilus") is not None
    opened.close()


def test_pushes_reach_the_actor(address, synthetic):
    pytest.importorskip("nautilus_trader")
    from test_dolphin_actor import OTHER, bar

    from dolphin_engine.nautilus import DolphinActor, DolphinStrategyConfig
    from dolphin_engine.run_nautilus import backtest

    memory = HazelcastMemory([address])
    actor = DolphinActor(DolphinStrategyConfig(data_dir=synthetic), memory)
    engine = backtest(actor, [OTHER])
    engine.run(streaming=True)
    with HazelcastMemory([address]) as other:
        other.put("DOLPHIN_FEATURES", "acb_boost", '{"boost": 1.7, "beta": 0.4}')
        until = time.time() + 10
        while not actor._pending_acb and time.time() < until:
            time.sleep(0.02)
        actor.on_bar(bar())
        assert actor.engine._day_base_boost == 1.7
        actor.on_stop()
        assert json.loads(other.get("DOLPHIN_PNL_BLUE", "2026-02-01"))["boost"] == 1.7
    engine.dispose()
