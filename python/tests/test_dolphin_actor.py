"""DolphinActor in a real BacktestEngine: champion parameters, ACB thread safety, HIBERNATE guard, date change, memory that goes
away, replay mode, on_stop, the snapshot around a step."""

import json
import logging
import pathlib
import threading

import numpy as np
import pytest
from conftest import SYMBOLS, Market

import dolphin_engine as de

pytest.importorskip("nautilus_trader")
from nautilus_trader.model.data import BarType  # noqa: E402

from dolphin_engine.memory import HazelcastMemory  # noqa: E402
from dolphin_engine.nautilus import BAR_TYPE, DolphinActor, DolphinStrategyConfig  # noqa: E402
from dolphin_engine.run_nautilus import DAY_NS, _bar, backtest, bars_of, run  # noqa: E402

BASE = int(np.datetime64("2026-02-01", "ns").astype(np.int64))


def bar(date_offset=0, second=5, price=50_000.0):
    return _bar(BarType.from_str(BAR_TYPE), price, BASE + date_offset * DAY_NS + int(second * 1e9))


OTHER = _bar(BarType.from_str(BAR_TYPE.replace("5-SECOND", "1-MINUTE")), 50_000.0, BASE - DAY_NS)


class Recorded:
    """A memory in this process that keeps what it is given; `away` makes it fail as an unreachable one does."""

    def __init__(self, **values):
        self.values = {("DOLPHIN_SAFETY", "latest"): values["safety"]} if "safety" in values else {}
        self.away = values.get("away", False)
        self.closed = False

    def _check(self):
        if self.away:
            raise de.UnavailableError("memory is away")

    def get(self, map_name, key):
        self._check()
        return self.values.get((map_name, key))

    def put(self, map_name, key, value):
        self._check()
        self.values[(map_name, key)] = value

    def entries(self, map_name):
        return {k: v for (m, k), v in self.values.items() if m == map_name}

    def remove(self, map_name, key):
        self.values.pop((map_name, key), None)

    def close(self):
        self.closed = True


def started(bars=(), memory=None, mode="replay", **config):
    """An actor that has run over these bars and was stopped."""
    actor = DolphinActor(DolphinStrategyConfig(mode=mode, **config), memory)
    engine = backtest(actor, list(bars))
    engine.run()
    return actor, engine


@pytest.fixture
def running(synthetic):
    """An actor in the middle of its life: started, not stopped."""

    def make(memory=None, mode="replay", **config):
        if mode == "replay":
            config.setdefault("data_dir", synthetic)
        actor = DolphinActor(DolphinStrategyConfig(mode=mode, **config), memory)
        # A running trader, in the middle of its data: a bar that the actor has not asked for. It is fed by hand then.
        engine = backtest(actor, [OTHER])
        made.append(engine)
        engine.run(streaming=True)
        return actor

    made = []
    yield make
    for engine in made:
        engine.dispose()


# -- champion parameters


def test_the_default_is_the_champion():
    assert de.hash(DolphinStrategyConfig().source()) == de.CHAMPION_HASH


@pytest.mark.parametrize(
    ("key", "value"),
    [("vel_div_threshold", -0.02), ("vel_div_extreme", -0.05), ("fixed_tp_pct", 0.0095), ("max_hold_bars", 120), ("fraction", 0.2),
     ("max_leverage", 5.0), ("abs_max_leverage", 6.0), ("seed", 42)],
)  # fmt: skip
def test_champion_parameters(key, value):
    assert DolphinStrategyConfig.champion().parameters()[key] == value


def test_the_configuration_file_is_read(blue, running):
    actor = running(config_path=blue)
    assert actor.engine.param_hash == de.CHAMPION_HASH and actor.engine.direction == -1


def test_a_config_that_makes_no_sense_is_refused():
    for bad in ({"mode": "dream"}, {"feed": "hour"}):
        with pytest.raises(de.DataError):
            DolphinActor(DolphinStrategyConfig(**bad))


def test_the_engine_follows_the_assets_of_all_days(running, synthetic):
    assert list(running().engine.assets) == de.list_days(synthetic)["assets"]


def test_proxy_b_reaches_the_engine(running):
    assert running(boost_mode="proxy_b").engine.params["boost_mode"] == "proxy_b"


# -- ACB pushes from other threads


def test_a_push_is_applied_at_the_top_of_the_next_bar(running):
    actor = running()
    actor.on_bar(bar())
    actor.on_acb_update('{"boost": 1.5, "beta": 0.5}')
    assert actor.engine._day_base_boost == 1.0
    actor.on_bar(bar(second=10))
    assert (actor.engine._day_base_boost, actor.engine._day_beta) == (1.5, 0.5)
    assert actor.stale_state_events == 0


def test_the_newest_push_counts(running):
    actor = running()
    for boost in (0.6, 0.7, 1.9):
        actor.on_acb_update(json.dumps({"boost": boost, "beta": 0.5}))
    actor.on_bar(bar())
    assert actor.engine._day_base_boost == 1.9


@pytest.mark.parametrize("text", ["", "[]", '{"boost": 9, "beta": 0}', '{"boost": NaN, "beta": 0}'])
def test_a_bad_push_changes_nothing(text, running, caplog):
    actor = running()
    actor.on_acb_update(text)
    with caplog.at_level(logging.WARNING):
        actor.on_bar(bar())
    assert actor.engine._day_base_boost == 1.0 and "refused" in caplog.text


def test_pushes_of_eight_threads_while_bars_run(running):
    actor = running()
    boosts = [round(0.5 + 0.1 * i, 1) for i in range(8)]
    stop = threading.Event()

    def push(boost):
        while not stop.is_set():
            actor.on_acb_update(json.dumps({"boost": boost, "beta": 0.5}))

    threads = [threading.Thread(target=push, args=(b,)) for b in boosts]
    [t.start() for t in threads]
    seen = set()
    for second in range(5, 2005, 5):
        actor.on_bar(bar(second=second))
        seen.add(actor.engine._day_base_boost)
    stop.set()
    [t.join() for t in threads]
    assert seen <= {*boosts, 1.0} and actor.stale_state_events == 0
    assert actor.engine.acb_rejects == 0


# -- HIBERNATE


def test_hibernate_returns_at_once_and_steps_nothing(running, caplog):
    actor = running(postures={"2026-02-01": {"posture": "HIBERNATE", "Rm": 0.1}})
    with caplog.at_level(logging.DEBUG):
        for second in range(5, 600, 5):
            actor.on_bar(bar(second=second))
    assert actor.bars_stepped == 0 and actor.engine.global_bar_idx == 0
    assert all(record.levelno <= logging.WARNING for record in caplog.records)


def test_hibernate_ends_with_the_date(running):
    actor = running(postures={"2026-02-01": {"posture": "HIBERNATE", "Rm": 0.1}})
    actor.on_bar(bar())
    actor.on_bar(bar(1))
    assert actor.engine.posture == "APEX" and actor.bars_stepped == 1
    assert actor.day_results[0]["posture"] == "HIBERNATE" and actor.day_results[0]["bars"] == 0


def test_a_safety_push_tightens_at_once_and_loosens_at_the_date(running):
    actor = running()
    actor.on_bar(bar())
    actor.on_safety_update('{"posture": "HIBERNATE", "Rm": 0.2}')
    actor.on_bar(bar(second=10))
    assert actor.engine.posture == "HIBERNATE" and actor.bars_stepped == 1
    actor.on_safety_update('{"posture": "APEX", "Rm": 1.0}')
    actor.on_bar(bar(second=15))
    assert actor.engine.posture == "HIBERNATE"


def test_a_bad_safety_push_is_refused(running, caplog):
    actor = running()
    actor.on_safety_update('{"posture": "BRAVE"}')
    with caplog.at_level(logging.WARNING):
        actor.on_bar(bar())
    assert actor.engine.posture == "APEX" and "refused" in caplog.text


# -- the date


def test_the_date_is_the_event_s_not_the_clock_s(running):
    actor = running()
    actor.on_bar(bar())
    assert actor.current_date == "2026-02-01" == actor.engine.date


def test_a_date_change_ends_and_begins(running):
    actor = running()
    for offset in range(3):
        actor.on_bar(bar(offset))
    assert [r["date"] for r in actor.day_results] == ["2026-02-01", "2026-02-02"]
    assert actor.processed_dates == {"2026-02-01", "2026-02-02", "2026-02-03"}


def test_dates_never_go_back(running):
    actor = running()
    actor.on_bar(bar(1))
    actor.on_bar(bar(0))
    assert actor.current_date == "2026-02-02" and actor.day_results == []


def test_the_bar_number_begins_anew_with_the_date(running):
    actor = running()
    for second in range(5, 105, 5):
        actor.on_bar(bar(second=second))
    actor.on_bar(bar(1))
    assert actor._bar_idx == 1


# -- memory


def test_the_posture_is_read_from_memory_at_each_date(running):
    memory = Recorded(safety='{"posture": "STALKER", "Rm": 0.8}')
    actor = running(memory)
    actor.on_bar(bar())
    assert actor.engine.posture == "STALKER"
    memory.values[("DOLPHIN_SAFETY", "latest")] = '{"posture": "TURTLE", "Rm": 0.6}'
    actor.on_bar(bar(second=10))
    assert actor.engine.posture == "STALKER"
    actor.on_bar(bar(1))
    assert actor.engine.posture == "TURTLE"


def test_memory_that_is_away_is_apex_and_a_warning(running, caplog):
    memory = Recorded(away=True)
    with caplog.at_level(logging.WARNING):
        actor = running(memory)
        actor.on_bar(bar())
    assert actor.engine.posture == "APEX" and not actor.memory_available and "away" in caplog.text
    assert actor.bars_stepped == 1


def test_results_that_could_not_be_written_are_delivered_later(running):
    memory = Recorded(away=True)
    actor = running(memory)
    actor.on_bar(bar())
    actor.on_bar(bar(1))
    memory.away = False
    actor.on_stop()
    assert {k for m, k in memory.values if m == "DOLPHIN_PNL_BLUE"} == {"2026-02-01", "2026-02-02"}


def test_day_results_reach_memory_as_json(running):
    memory = Recorded()
    actor = running(memory)
    actor.on_bar(bar())
    actor.on_stop()
    written = json.loads(memory.values[("DOLPHIN_PNL_BLUE", "2026-02-01")])
    assert written == actor.day_results[0]


def test_a_cluster_that_is_not_there_is_an_error_that_says_where():
    pytest.importorskip("hazelcast")
    with pytest.raises(de.UnavailableError, match="127.0.0.1:1"):
        HazelcastMemory(["127.0.0.1:1"], timeout_s=0.5)


def test_a_start_without_its_cluster_goes_on(running, tmp_path, configs, caplog):
    pytest.importorskip("hazelcast")
    path = tmp_path / "hz.yml"
    text = (configs / "blue.yml").read_text().replace("backend: embedded", 'backend: hazelcast\n  hazelcast: {members: ["127.0.0.1:1"]}')
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        actor = running(config_path=str(path), use_memory=True)
        actor.on_bar(bar())
    assert actor.bars_stepped == 1 and not actor.memory_available


# -- replay mode


def test_each_bar_steps_the_next_row(running, synthetic):
    actor = running()
    day = de.read_day(synthetic, "2026-02-01")
    for n in range(1, 6):
        actor.on_bar(bar(second=5 * n))
        assert actor.engine.global_bar_idx == n and actor._rows.next == n
    assert actor.last_result.values["vel_div"] == day.column("vel_div")[4] or np.isnan(day.column("vel_div")[4])


def test_no_row_left_returns(running, synthetic):
    actor = running()
    n = len(de.read_day(synthetic, "2026-02-01"))
    for i in range(n + 10):
        actor.on_bar(bar(second=5 + i))
    assert actor.bars_stepped == n


def test_a_date_without_data_steps_nothing(running):
    actor = running()
    actor.on_bar(bar(30))
    assert actor.bars_stepped == 0 and actor.current_date == "2026-03-03"


def test_one_synthetic_bar_a_date_steps_the_whole_day(running, synthetic):
    actor = running(feed="day")
    actor.on_bar(bar(second=0))
    assert actor.bars_stepped == len(de.read_day(synthetic, "2026-02-01"))


def test_a_start_without_data_is_told():
    actor = DolphinActor(DolphinStrategyConfig())
    with pytest.raises(de.DataError, match="data_dir"):
        actor.on_start()


# -- on_stop


def test_on_stop_clears_and_shuts_memory(running):
    memory = Recorded()
    actor = running(memory)
    actor.on_bar(bar())
    actor.on_stop()
    assert (actor.processed_dates, actor.stale_state_events, actor.bars_stepped) == (set(), 0, 0)
    assert memory.closed and actor.memory is None
    assert [r["date"] for r in actor.day_results] == ["2026-02-01"]


def test_on_stop_twice_is_once(running):
    actor = running()
    actor.on_bar(bar())
    actor.on_stop()
    actor.on_stop()
    assert len(actor.day_results) == 1


def test_a_backtest_stops_the_actor(synthetic):
    actor, engine = started(bars_of(synthetic, "2026-02-01", "BTCUSDT", "row"), data_dir=synthetic)
    assert actor.processed_dates == set() and len(actor.day_results) == 1
    engine.dispose()


# -- the snapshot around a step


class Changed:
    """The engine as another thread would leave it: its state changes while a step is on its way."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def step_bar(self, *arguments):
        result = self._engine.step_bar(*arguments)
        self._engine.push_safety("TURTLE", 0.6)
        return result


def test_a_state_that_changes_during_a_step_is_flagged_and_written(running, caplog):
    memory = Recorded()
    actor = running(memory)
    actor.on_bar(bar())
    actor.engine = Changed(actor.engine)
    with caplog.at_level(logging.WARNING):
        actor.on_bar(bar(second=10))
    assert actor.stale_state_events == 1 and "stale" in caplog.text
    actor.on_stop()
    assert json.loads(memory.values[("DOLPHIN_PNL_BLUE", "2026-02-01")])["stale_state"] is True


def test_the_gate_of_the_forewarner_is_part_of_the_snapshot(running):
    actor = running()
    actor.on_bar(bar())
    boost, beta, posture, gate_open = actor.engine.control_snapshot()
    assert (boost, beta, posture, gate_open) == (1.0, None, "APEX", True)


# -- live mode: scans


def live_scan(number, second, vel_div=-0.03, prices=None):
    return json.dumps({
        "scan_number": number, "timestamp": (BASE / 1e9) + second, "vel_div": vel_div,
        "asset_prices": dict(zip(SYMBOLS, prices if prices is not None else [1.0] * 4)),
    })  # fmt: skip


def test_live_takes_the_newest_scan_and_the_same_number_gives_no_signal(running):
    actor = running(mode="live", assets=SYMBOLS)
    actor.signals.push(live_scan(1, 4))
    actor.on_bar(bar())
    assert actor.last_result.values["vel_div"] == -0.03
    actor.on_bar(bar(second=10))
    assert np.isnan(actor.last_result.values["vel_div"]) and actor.bars_stepped == 2


def test_live_a_stale_scan_is_counted(running):
    actor = running(mode="live", assets=SYMBOLS)
    actor.signals.push(live_scan(1, 4))
    actor.on_bar(bar(second=30))
    assert actor.signals.stale == 1 and np.isnan(actor.last_result.values["vel_div"])


def test_live_the_first_scan_names_the_assets(running):
    actor = running(mode="live")
    actor.on_bar(bar())
    assert actor.engine is None
    actor.signals.push(live_scan(1, 9))
    actor.on_bar(bar(second=10))
    assert list(actor.engine.assets) == SYMBOLS and actor.last_result.values["vel_div"] == -0.03


def test_live_trades_equal_an_engine_fed_by_hand(running):
    actor = running(mode="live", assets=SYMBOLS)
    own = de.NDAlphaEngine(None, SYMBOLS)
    own.begin_day("2026-02-01")
    market = Market()
    for i in range(600):
        row, vel = market.row(-0.0002, 0.0008), -0.04 if i > 150 else 0.0
        actor.signals.push(live_scan(i, 5 * i, vel, row.tolist()))
        actor.on_bar(bar(second=5 * i + 1))
        own.step_bar(i, vel, row)
    assert len(own.trade_history) > 1 and actor.trades == own.trade_history


def test_the_runner_gives_the_trades_of_replay(synthetic, blue):
    assert pathlib.Path(blue).exists()
    done = run(blue, synthetic)
    assert done["trades"] == de.replay(synthetic, blue).trades.to_pylist()
