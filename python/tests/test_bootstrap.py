"""Bootstrap: the import chain, the kernel's configuration, ACB and circuit breaker at the start, the launcher."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from conftest import SYMBOLS

import dolphin_engine as de

nautilus_trader = pytest.importorskip("nautilus_trader")
from nautilus_trader.model.data import BarType  # noqa: E402
from nautilus_trader.model.enums import AccountType, OmsType  # noqa: E402
from nautilus_trader.model.identifiers import Venue  # noqa: E402

from dolphin_engine.nautilus import BAR_TYPE, DolphinActor, DolphinStrategyConfig, NautilusDolphinLauncher  # noqa: E402
from dolphin_engine.ob import FileOBProvider  # noqa: E402
from dolphin_engine.run_nautilus import backtest, instrument  # noqa: E402


def test_1_import_chain():
    code = "import dolphin_engine, sys; assert 'nautilus_trader' not in sys.modules; import dolphin_engine.nautilus"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert nautilus_trader.__version__ == "1.219.0"


def test_2_every_public_name_is_there_and_documented():
    for name in de.__all__:
        assert getattr(de, name, None) is not None, name
        if not name.isupper() and not name.startswith("__"):
            assert getattr(de, name).__doc__, f"{name} has no docstring"


def test_3_kernel_venue_is_hedging_and_margin():
    engine = backtest(DolphinActor(DolphinStrategyConfig(mode="live")), [])
    venue = Venue("BINANCE")
    assert engine.list_venues() == [venue]
    account = engine.portfolio.account(venue) or engine.cache.account_for_venue(venue)
    assert account is None or account.type == AccountType.MARGIN
    assert OmsType.HEDGING.name == "HEDGING"
    engine.dispose()


def test_4_kernel_bar_type():
    bar_type = BarType.from_str(BAR_TYPE)
    assert str(bar_type) == "BTCUSD.BINANCE-5-SECOND-LAST-EXTERNAL"
    assert bar_type.instrument_id == instrument().id


def test_5_the_four_factories():
    names = ("champion", "conservative", "growth", "aggressive")
    configs = [getattr(DolphinStrategyConfig, name)() for name in names]
    assert [c.parameters()["profile"] for c in configs] == list(names)
    assert len({de.hash(c.source()) for c in configs}) == 4
    assert de.hash(configs[0].source()) == de.CHAMPION_HASH


def test_6_a_drifted_champion_does_not_start(tmp_path, configs):
    path = tmp_path / "blue.yml"
    path.write_text((configs / "blue.yml").read_text().replace("fraction: 0.20", "fraction: 0.25"))
    with pytest.raises(de.ConfigError, match="fraction is 0.25"):
        DolphinStrategyConfig(config_path=str(path)).parameters()
    with pytest.raises(de.ConfigError, match="fraction"):
        NautilusDolphinLauncher(str(path), binary=sys.executable)


def test_7_acb_at_the_start():
    engine = de.NDAlphaEngine(None, SYMBOLS)
    engine.begin_day("2026-01-05")
    assert (engine._day_base_boost, engine._day_beta, engine._day_mc_scale) == (1.0, 0.2, 1.0)


def test_8_the_circuit_breaker_is_off_at_the_start():
    engine = de.NDAlphaEngine(None, SYMBOLS)
    assert engine.breaker_status()["tripped"] is None


def test_9_the_launcher_s_command(configs):
    launcher = NautilusDolphinLauncher(
        str(configs / "blue.yml"), mode="live", keys="keys.toml", venue="testnet", binary=sys.executable, arguments=["--role", "all"]
    )
    assert launcher.command[1:] == ["live", "--config", str(configs / "blue.yml"), "--keys", "keys.toml", "--venue", "testnet", "--role", "all"]
    assert "--paper" in NautilusDolphinLauncher(str(configs / "blue.yml"), binary=sys.executable).command
    with pytest.raises(de.DataError):
        NautilusDolphinLauncher(str(configs / "blue.yml"), mode="dream", binary=sys.executable)


def test_10_the_launcher_needs_the_program(configs, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("DOLPHIN_BINARY", raising=False)
    with pytest.raises(de.UnavailableError, match="DOLPHIN_BINARY"):
        NautilusDolphinLauncher(str(configs / "blue.yml"))


KEYS = "".join(f'[{venue}]\nkey = "K"\nsecret = "S"\n' for venue in ("local", "testnet", "mainnet"))


def test_11_the_launcher_runs_a_node_and_blocks_until_sigterm(binary, configs, tmp_path):
    """A local venue, a node on it that tells the supervisor READY, and SIGTERM to the launcher: the node ends in order, exit 0."""
    venue = subprocess.Popen(
        [binary, "venue", "--listen", "127.0.0.1:0", "--seed", "7", "--symbols", "8"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(60)
    config, keys = tmp_path / "node.yml", tmp_path / "keys.toml"
    config.write_text((configs / "demo.yml").read_text() + f"runtime: {{idle: park, unpinned: true}}\nmemory: {{path: {tmp_path / 'state.memory'}}}\n")
    keys.write_text(KEYS)
    keys.chmod(0o600)
    process = None
    try:
        at = venue.stdout.readline().strip()
        code = textwrap.dedent(f"""
            import sys
            from dolphin_engine.nautilus import NautilusDolphinLauncher
            launcher = NautilusDolphinLauncher({str(config)!r}, mode="live", keys={str(keys)!r}, venue={at!r}, binary={binary!r})
            sys.exit(launcher.start())
        """)
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "XDG_STATE_HOME": str(tmp_path / "state")}
        log = open(tmp_path / "log", "w+")
        process = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log, env=env, cwd=tmp_path)
        said = b""
        while b"READY=1" not in said:
            assert process.poll() is None, (tmp_path / "log").read_text()
            said = notify.recv(4096)
        # The node writes the newest features beside its state, and the provider reads them (SPEC 2.3).
        file, until = tmp_path / "ob_cache/latest_ob_features.json", time.time() + 60
        view = None
        # The first file may be older than the book of this symbol.
        while (view is None or not view.fresh) and time.time() < until and process.poll() is None:
            time.sleep(0.2)
            view = FileOBProvider(file, max_age_s=3600.0).view(["BTCUSDT"]) if file.exists() else None
        assert view is not None and view.fresh and not view.rejected, (tmp_path / "log").read_text()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
        log.close()
    finally:
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait(30)
        venue.terminate()
        venue.wait(10)
        notify.close()
