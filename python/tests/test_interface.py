"""Hash, parameters, tables, generator, errors: what the package promises beside the trades."""

import hashlib
import json
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import SYMBOLS, golden

import dolphin_engine as de

FROZEN = [
    "vel_div_threshold", "vel_div_extreme", "fixed_tp_pct", "max_hold_bars", "fraction", "min_leverage", "max_leverage",
    "abs_max_leverage", "leverage_convexity", "dc_lookback_bars", "dc_min_magnitude_bps", "min_irp_alignment",
    "sp_maker_entry_rate", "sp_maker_exit_rate", "seed",
]  # fmt: skip


def test_the_hash_is_that_of_python_s_json():
    champion = {key: de.params()[key] for key in FROZEN}
    text = json.dumps(champion, sort_keys=True)
    assert de.hash() == de.CHAMPION_HASH == hashlib.sha256(text.encode()).hexdigest()
    other = champion | {"fixed_tp_pct": 0.1 + 0.2, "seed": 7}
    assert de.hash(other) == hashlib.sha256(json.dumps(other, sort_keys=True).encode()).hexdigest()


def test_presets_files_and_dictionaries(configs):
    assert de.hash("champion") == de.hash(str(configs / "blue.yml")) == de.hash(configs / "blue.yml") == de.CHAMPION_HASH
    assert len({de.hash(p) for p in ("champion", "conservative", "growth", "aggressive")}) == 4
    assert de.params("growth")["max_leverage"] == 8.0
    assert de.params({"seed": np.int64(5)})["seed"] == 5
    assert de.params({"excluded_assets": ["A", "B"]})["excluded_assets"] == ["A", "B"]
    assert de.params({"profile": "growth", "fraction": 0.3})["profile"] == "growth"


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"fracton": 0.2}, "did you mean `fraction`"),
        ({"fraction": 0.0}, "between"),
        ({"fraction": float("nan")}, "finite"),
        ({"seed": -1}, "seed"),
        ({"seed": "x"}, "number"),
        ({"profile": "champion", "seed": 7}, "seed is 7 (frozen: 42)"),
        ("growht", "did you mean `growth`"),
        ("nowhere.yml", "cannot read"),
        ({"max_leverage": 0.1}, "min_leverage"),
    ],
)
def test_bad_parameters_are_configuration_errors(params, text):
    with pytest.raises(de.ConfigError, match=None) as error:
        de.params(params)
    assert text in str(error.value)


def test_draws_equal_numpy_s():
    for seed in (0, 1, 42, 2**32 - 1):
        theirs = np.random.RandomState(seed).random_sample(10_000)
        assert np.array_equal(de.RandomState(seed).random_sample(10_000), theirs)
    one = de.RandomState(42)
    assert [one.random_sample() for _ in range(3)] == [0.3745401188473625, 0.9507143064099162, 0.7319939418114051]


def test_tables_come_without_a_copy(synthetic):
    trades = de.replay(synthetic).trades
    first, second = pa.table(trades), pa.table(trades)
    for name in ("pnl", "entry_bar", "symbol"):
        addresses = [[b.address for b in t[name].chunk(0).buffers() if b] for t in (first, second)]
        assert addresses[0] == addresses[1], "both look at the table's own memory"
    del trades
    assert first["pnl"].to_pylist() == second["pnl"].to_pylist()
    assert pl.DataFrame(de.replay(synthetic).trades)["pnl"].to_list() == first["pnl"].to_pylist()
    frame = first.to_pandas()
    assert isinstance(frame, pd.DataFrame) and list(frame.columns) == first.column_names
    assert de.replay(synthetic).trades.column("pnl") == first["pnl"].to_pylist()


def test_replay_writes_the_files_of_the_command(synthetic, tmp_path):
    out = tmp_path / "out"
    result = de.replay(synthetic, out=out)
    with pytest.raises(de.ConfigError, match="earlier run"):
        de.replay(synthetic, out=out)
    assert de.replay(synthetic, out=out, force=True).summary["trades"] == result.summary["trades"]
    names = sorted(p.name for p in out.iterdir())
    assert names == ["days.jsonl", "report.html", "summary.json", "trades.jsonl", "trades.parquet"]
    assert json.loads((out / "summary.json").read_text())["final_capital"] == result.summary["final_capital"]
    assert pd.read_parquet(out / "trades.parquet")["pnl"].tolist() == result.trades.column("pnl")


def test_controls_as_dictionaries_and_as_files(synthetic, tmp_path):
    postures = {"2026-02-02": {"posture": "HIBERNATE", "Rm": 0.1}}
    acb = [{"date": "2026-02-01", "bar": 5, "boost": 1.5, "beta": 0.5}]
    factors = {"2026-02-01": 2, "2026-02-03": 1}
    files = {}
    for name, value in (("postures", postures), ("acb", acb), ("factors", factors)):
        files[name] = tmp_path / f"{name}.json"
        files[name].write_text(json.dumps(value))
    one = de.replay(synthetic, postures=postures, acb=acb, factors=factors)
    two = de.replay(synthetic, **files)
    assert one.trades.to_pylist() == two.trades.to_pylist()
    assert one.days.to_pylist()[1]["bars"] == 0
    assert one.trades.to_pylist() != de.replay(synthetic).trades.to_pylist()


def test_features_equal_the_golden():
    from conftest import shared

    recordings = sorted(shared("recordings").glob("usdm_*.gz"))
    ours = pa.table(de.features([str(p) for p in recordings])).to_pandas()
    expected = pd.read_parquet(golden("features-btc-eth.parquet"))
    assert len(ours) > 1000 and len(ours) == len(expected)
    for name in ("spread_proxy_bps", "depth_asymmetry", "fill_probability", "bid_notional_1"):
        assert np.allclose(ours[name], expected[name], rtol=1e-9, equal_nan=True), name


def test_eigen_of_prices_equals_the_recomputed_files(synthetic, tmp_path):
    done = de.recompute(synthetic, tmp_path / "out")
    assert len(done["files"]) == 3
    day = de.read_day(synthetic, "2026-02-01")
    scans = pa.table(de.eigen(day.prices)).to_pandas()
    files = de.read_day(tmp_path / "out", "2026-02-01")
    assert np.array_equal(scans["vel_div"], files.column("vel_div"), equal_nan=True)
    assert np.array_equal(scans["instability_50"], files.column("instability_50"), equal_nan=True)
    assert np.isfinite(scans["v750_lambda_max_velocity"]).sum() > 100
    # A window by NumPy: the largest eigenvalue of the correlation matrix, over the number of assets.
    returns = np.diff(np.log(pd.DataFrame(day.prices).ffill().to_numpy()), axis=0)
    window = returns[-50:]
    window = window[:, np.isfinite(window).all(axis=0) & (window.std(axis=0) > 0)]
    if window.shape[1] == day.prices.shape[1]:
        largest = np.linalg.eigvalsh(np.corrcoef(window.T))[-1] / window.shape[1]
        assert abs(largest - scans["lambda_50"].iloc[-1]) < 1e-9


def test_an_unreadable_forewarner_is_a_warning_and_scale_one(tmp_path):
    with pytest.warns(RuntimeWarning, match="DISABLED"):
        forewarner = de.DolphinForewarner(str(tmp_path / "nowhere"))
    assert not forewarner.available and "DISABLED" in forewarner.error
    engine = de.NDAlphaEngine(None, SYMBOLS)
    engine.set_mc_forewarner(forewarner)
    assert engine.begin_day("2026-01-01") == {"mc_scale": 1.0, "mc_status": "DISABLED"}
    (tmp_path / "forewarner.json").write_text("{broken")
    with pytest.warns(RuntimeWarning):
        assert not de.DolphinForewarner(str(tmp_path)).available


def test_a_forewarner_scales_the_day(tmp_path):
    tree = {"feature": [0, -1, -1], "threshold": [1e9, 0.0, 0.0], "left": [1, -1, -1], "right": [2, -1, -1], "value": [0.0, 0.7, 1.2]}
    model = {
        "format": "dolphin-forewarner-1", "kind": "random_forest", "feature_names": ["capital"], "base_value": 0.0,
        "learning_rate": 1.0, "trees": [tree],
    }  # fmt: skip
    (tmp_path / "forewarner.json").write_text(json.dumps(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forewarner = de.DolphinForewarner(str(tmp_path))
    if not forewarner.available:
        pytest.skip(f"the model's format: {forewarner.error}")
    engine = de.NDAlphaEngine(None, SYMBOLS)
    engine.set_mc_forewarner(forewarner)
    assert engine.begin_day("2026-01-01") == {"mc_scale": 0.7, "mc_status": "ORANGE"}
    assert engine._day_mc_scale == engine.day_mc_scale == 0.7


# -- every bad input of SPEC 2 is an exception, never a panic


def day_file(folder: pathlib.Path, **changes):
    n = 5
    columns = {"timestamp": pd.date_range("2026-01-05", periods=n, freq="5s"), "vel_div": [0.0] * n, "BTCUSDT": [1.0] * n}
    columns.update(changes)
    frame = pd.DataFrame({k: v for k, v in columns.items() if v is not None})
    frame.to_parquet(folder / "2026-01-05.parquet")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda d: None, "no days"),
        (lambda d: (d / "2026-01-05.parquet").write_bytes(b""), "2026-01-05.parquet"),
        (lambda d: (d / "2026-01-05.parquet").write_bytes(b"PAR1" + b"\xff" * 64 + b"PAR1"), "2026-01-05.parquet"),
        (lambda d: day_file(d, vel_div=None), "vel_div"),
        (lambda d: day_file(d, BTCUSDT=None), "no asset column"),
        (lambda d: day_file(d, vel_div=["a"] * 5), "vel_div"),
        (lambda d: day_file(d, timestamp=["yesterday"] * 5), "not a time"),
        (lambda d: (d / "2026-01-05.json").write_text("{"), "2026-01-05.json"),
        (lambda d: (d / "2026-01-05.json").write_text("[1, 2]"), "2026-01-05.json"),
    ],
)
def test_bad_day_files_are_data_errors(make, text, tmp_path):
    make(tmp_path)
    with pytest.raises(de.DataError) as error:
        de.replay(tmp_path)
    assert text in str(error.value)


def test_a_truncated_day_file_is_a_data_error_at_every_length(synthetic, tmp_path):
    whole = (pathlib.Path(synthetic) / "2026-02-01.parquet").read_bytes()
    target = tmp_path / "2026-02-01.parquet"
    for length in sorted({*range(0, 64, 7), *range(64, len(whole) - 1, len(whole) // 25)}):
        target.write_bytes(whole[:length])
        with pytest.raises(de.DataError):
            de.replay(tmp_path)
    for at in range(0, len(whole), len(whole) // 40):
        target.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            de.replay(tmp_path)
        except de.DolphinError:
            pass


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"vel_div": "x"}', '{"asset_prices": 3}', '{"timestamp": "?"}'])
def test_bad_scans_are_data_errors(text):
    with pytest.raises(de.DataError):
        de.parse_scan(text)


def test_bad_calls_of_an_engine_are_exceptions():
    with pytest.raises(de.ConfigError, match="assets"):
        de.NDAlphaEngine()
    with pytest.raises(de.ConfigError, match="twice"):
        de.NDAlphaEngine(None, ["A", "A"])
    with pytest.raises(de.ConfigError, match="stride"):
        de.NDAlphaEngine(None, SYMBOLS, 0)
    engine = de.NDAlphaEngine(None, SYMBOLS)
    assert engine.step_bar(0, 0.0, [1.0] * 4).gate == "no_day"
    engine.begin_day("2026-01-05")
    with pytest.raises(de.ConfigError, match="still open"):
        engine.begin_day("2026-01-06")
    with pytest.raises(de.ConfigError, match="3 prices for 4"):
        engine.step_bar(0, 0.0, np.ones(3))
    with pytest.raises(de.ConfigError, match="prices"):
        engine.step_bar(0, 0.0, "abc")
    with pytest.raises((TypeError, OverflowError)):
        engine.step_bar(-1, 0.0, np.ones(4))
    for bad in ("not a date", "2026-13-01"):
        with pytest.raises(de.ConfigError, match="date"):
            de.NDAlphaEngine(None, SYMBOLS).begin_day(bad)
    with pytest.raises(de.ConfigError, match="BRAVE"):
        de.NDAlphaEngine(None, SYMBOLS).begin_day("2026-01-05", "BRAVE")
    with pytest.raises(de.ConfigError, match="direction"):
        de.NDAlphaEngine(None, SYMBOLS).begin_day("2026-01-05", "APEX", 1.0, 3)
    with pytest.raises(de.ConfigError, match="capital"):
        engine.capital = float("nan")
    with pytest.raises(de.DataError):
        de.NDAlphaEngine.restore("{}")
    with pytest.raises(de.DataError):
        de.features("nowhere.gz")
    with pytest.raises(de.ConfigError):
        de.eigen(np.ones((3, 0)))
    for gap in (np.nan, np.inf, 0.0, -1.0):
        assert engine.step_bar(1, gap, np.full(4, gap)).gate in ("volatility", "signal")


def test_the_package_is_imported_quickly():
    code = "import time; t = time.perf_counter(); import dolphin_engine; print(time.perf_counter() - t)"
    times = [float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) for _ in range(5)]
    print(f"\nimport: {min(times) * 1000:.1f} ms")
    assert min(times) < 0.2
