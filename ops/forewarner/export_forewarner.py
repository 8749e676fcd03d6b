#!/usr/bin/env python3
"""Writes a fitted scikit-learn tree ensemble as `forewarner.json`, which DOLPHIN evaluates bit for bit alike.

    python export_forewarner.py model.joblib models/            # -> models/forewarner.json

The model is a GradientBoostingRegressor (squared error, default init) or a RandomForestRegressor with one output,
fitted on a data frame whose columns are named after what DOLPHIN knows in the morning (FEATURES below), or on a plain
array with `--features capital,fraction,...` naming its columns in order. What cannot be carried over exactly is refused.
"""

import argparse
import json
import math
import pathlib
import sys

FEATURES = (
    "capital",
    "max_leverage",
    "fraction",
    "max_hold_bars",
    "fixed_tp_pct",
    "w750_mean",
    "w750_p60",
    "trades_yesterday",
    "pnl_yesterday",
)


def tree_columns(tree):
    """The nodes of a fitted tree; leaves keep only their value."""
    leaf = tree.children_left == -1
    return {
        "feature": [-1 if end else int(f) for f, end in zip(tree.feature, leaf)],
        "threshold": [0.0 if end else float(t) for t, end in zip(tree.threshold, leaf)],
        "left": [int(c) for c in tree.children_left],
        "right": [int(c) for c in tree.children_right],
        "value": [float(v) for v in tree.value[:, 0, 0]],
    }


def base_value(model):
    """What gradient boosting starts from."""
    init = model.init_
    if isinstance(init, str) and init == "zero":
        return 0.0
    constant = getattr(init, "constant_", None)
    if constant is None or constant.size != 1:
        raise ValueError("the init estimator is not a constant")
    return float(constant.ravel()[0])


def export(model, feature_names=None):
    """The model as the dictionary that `forewarner.json` holds."""
    kind = type(model).__name__
    if feature_names is None:
        feature_names = list(getattr(model, "feature_names_in_", []))
    feature_names = [str(name) for name in feature_names]
    if len(feature_names) != model.n_features_in_:
        raise ValueError(f"the model has {model.n_features_in_} inputs; name them all with --features")
    unknown = [name for name in feature_names if name not in FEATURES]
    if unknown:
        raise ValueError(f"unknown features {unknown}; there are {list(FEATURES)}")
    if kind == "GradientBoostingRegressor":
        trees = [estimator.tree_ for estimator in model.estimators_[:, 0]]
        base, rate = base_value(model), float(model.learning_rate)
        name = "gradient_boosting"
    elif kind == "RandomForestRegressor":
        if model.n_outputs_ != 1:
            raise ValueError("the model has more than one output")
        trees = [estimator.tree_ for estimator in model.estimators_]
        base, rate = 0.0, 1.0
        name = "random_forest"
    else:
        raise ValueError(f"a {kind} is not supported: GradientBoostingRegressor or RandomForestRegressor is")
    if not (math.isfinite(base) and math.isfinite(rate)):
        raise ValueError("the base value or the learning rate is not a finite number")
    return {
        "format": "dolphin-forewarner-1",
        "kind": name,
        "feature_names": feature_names,
        "base_value": base,
        "learning_rate": rate,
        "trees": [tree_columns(tree) for tree in trees],
    }


def write(model, directory, feature_names=None):
    """Exports `model` into `directory`, whole or not at all."""
    text = json.dumps(export(model, feature_names), allow_nan=False, separators=(",", ":"))
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / "forewarner.json.part"
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(directory / "forewarner.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model saved with joblib or pickle (only open files you trust)")
    parser.add_argument("directory", help="the folder that `mc_models_dir` names")
    parser.add_argument("--features", help="names of the inputs in order, separated by commas")
    args = parser.parse_args()
    import joblib

    try:
        write(joblib.load(args.model), args.directory, args.features.split(",") if args.features else None)
    except (OSError, ValueError) as error:
        sys.exit(f"{args.model}: {error}")


if __name__ == "__main__":
    main()
