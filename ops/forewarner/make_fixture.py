#!/usr/bin/env python3
"""Fits small models and writes them with the predictions of scikit-learn, or of onnxruntime: the fixtures of `crates/alpha`.

    python make_fixture.py ../../crates/alpha/tests/fixtures

Inputs and predictions are written as hexadecimal floats, exact. Some inputs lie on a threshold of the model, where
only the right rounding (32-bit inputs against 64-bit thresholds) takes the right branch.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
import pandas
import skl2onnx
import sklearn
from export_forewarner import FEATURES, export
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.pipeline import Pipeline


def mornings(rng, n):
    """Made-up mornings in the order of FEATURES."""
    return np.column_stack(
        [
            rng.uniform(5e3, 6e4, n),
            rng.choice([3.0, 5.0, 8.0], n),
            rng.choice([0.1, 0.2, 0.3], n),
            rng.choice([60, 120, 240], n),
            rng.choice([0.0095, 0.0075, 0.02], n),
            rng.normal(0, 1e-3, n),
            rng.normal(2e-4, 1e-3, n),
            rng.integers(0, 40, n),
            rng.normal(0, 400, n),
        ]
    )


def on_thresholds(model, rng, rows):
    """Moves one input of each row onto a split of the model, just below, or just above."""
    trees = [e.tree_ for e in np.ravel(model.estimators_)]
    out = rows.copy()
    for row in out:
        tree = trees[rng.integers(len(trees))]
        splits = np.flatnonzero(tree.children_left != -1)
        if len(splits):
            node = splits[rng.integers(len(splits))]
            at = tree.threshold[node]
            row[tree.feature[node]] = rng.choice([at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf)])
    return out


def write(directory, name, fixture):
    path = pathlib.Path(directory) / f"forewarner_{name}.json"
    path.write_text(json.dumps(fixture, allow_nan=False, separators=(",", ":")) + "\n", encoding="utf-8")


def onnx_fixture(model, inputs, named_columns):
    """The model as ONNX, its columns named as inputs or in the file's metadata."""
    float_column = skl2onnx.common.data_types.FloatTensorType([None, 1])
    if named_columns:
        onnx = skl2onnx.to_onnx(model, initial_types=[(name, float_column) for name in FEATURES])
        feed = {name: inputs[:, [i]].astype(np.float32) for i, name in enumerate(FEATURES)}
    else:
        onnx = skl2onnx.to_onnx(model, inputs[:1].astype(np.float32))
        entry = onnx.metadata_props.add()
        entry.key, entry.value = "feature_names", ",".join(FEATURES)
        feed = {"X": inputs.astype(np.float32)}
    session = onnxruntime.InferenceSession(onnx.SerializeToString(), providers=["CPUExecutionProvider"])
    return {
        "made_with": f"skl2onnx {skl2onnx.__version__}, onnxruntime {onnxruntime.__version__}",
        "onnx_hex": onnx.SerializeToString().hex(),
        "inputs": [[float(v).hex() for v in row] for row in inputs],
        "predictions": [float(v).hex() for v in session.run(None, feed)[0].ravel()],
    }


def main(directory):
    rng = np.random.default_rng(20260101)
    x = mornings(rng, 400)
    y = 1.0 + 0.2 * np.tanh(x[:, 8] / 300) - 0.3 * (x[:, 6] > 0) * (x[:, 1] > 4) + rng.normal(0, 0.1, 400)
    models = {
        "gradient_boosting": GradientBoostingRegressor(
            n_estimators=40, max_depth=3, learning_rate=0.1, subsample=0.8, random_state=1
        ),
        "random_forest": RandomForestRegressor(n_estimators=12, max_leaf_nodes=24, random_state=2),
    }
    for name, model in models.items():
        model.fit(x, y)
        inputs = np.vstack([mornings(rng, 40), on_thresholds(model, rng, mornings(rng, 120))])
        fixture = {
            "made_with": f"scikit-learn {sklearn.__version__}",
            "model": export(model, FEATURES),
            "inputs": [[float(v).hex() for v in row] for row in inputs],
            "predictions": [float(v).hex() for v in model.predict(inputs)],
        }
        write(directory, name, fixture)
    boosting = Pipeline(
        [
            ("columns", ColumnTransformer([("all", "passthrough", list(FEATURES))])),
            ("model", GradientBoostingRegressor(n_estimators=10, max_depth=3, random_state=3)),
        ]
    ).fit(pandas.DataFrame(x, columns=FEATURES), y)
    forest = RandomForestRegressor(n_estimators=6, max_leaf_nodes=12, random_state=4).fit(x, y)
    write(directory, "onnx_gradient_boosting", onnx_fixture(boosting, mornings(rng, 60), True))
    write(directory, "onnx_random_forest", onnx_fixture(forest, mornings(rng, 60), False))


if __name__ == "__main__":
    main(sys.argv[1])
