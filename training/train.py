#!/usr/bin/env python3
"""Trains a fraud model on a feature table and writes it as a bundle that Tollgate can serve.

The table is what `tollgate features` writes: a CSV file with the columns transaction_id, event_time, card_id, one
per named feature (an empty cell is a missing value), and fraud (0, 1, or empty if not known), and next to it
<table>.definitions.json with each feature's definition. The bundle is a folder: model.onnx, manifest.yaml,
golden.json and MODEL_CARD.md.

Transactions are split by time as they happen in life: the model trains on the earliest part, is calibrated on the
end of that part, and is tested on the last part. Between training and test lies a gap as long as it takes until
fraud is known, because on the day a model is trained the newest labels do not exist yet.

The same table and options give the same bundle, byte for byte.
"""

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import xgboost
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from feature_table import Problem, read_table, split
from model_card import CARDS_PER_DAY, card_text, measure, stamp

SEED = 20260101
INPUT = "input"
OUTPUT = "probabilities"
OPSET = 15

# How far ONNX Runtime may be from the library that trained the model, and Tollgate from the golden rows.
CONVERSION_TOLERANCE = 1e-5
GOLDEN_TOLERANCE = 1e-5
GOLDEN_ROWS = 24

# The log-odds of 0 and 1 are infinite; Tollgate cuts at the same place.
PROBABILITY_MIN = 1e-7

# A bundle is kept in the policy's repository.
MODEL_BYTES_MAX = 600_000


def main():
    options = parse_arguments()
    try:
        train(options)
    except Problem as problem:
        sys.exit(f"train.py: {problem}")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--table", type=Path, required=True, metavar="CSV", help="feature table written by `tollgate features`"
    )
    parser.add_argument(
        "--definitions",
        type=Path,
        metavar="JSON",
        help="definitions of the features (default: <table>.definitions.json)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="bundle to write, .../<name>/<version>, such as policy/models/card-fraud/1",
    )
    parser.add_argument("--replace", action="store_true", help="overwrite the bundle if it exists")
    parser.add_argument(
        "--description", default="Gradient-boosted trees.", help="one sentence for the manifest (default: %(default)s)"
    )
    parser.add_argument(
        "--label-delay-days",
        type=positive(float),
        default=7.0,
        metavar="D",
        help="how long until fraud is known: the gap between training and test (default: 7)",
    )
    parser.add_argument(
        "--test-share",
        type=share,
        default=0.25,
        metavar="S",
        help="share of the table's time span to test on (default: 0.25)",
    )
    parser.add_argument(
        "--calibration-share",
        type=share,
        default=0.2,
        metavar="S",
        help="share of the training time, at its end, held out for calibration (default: 0.2)",
    )
    parser.add_argument("--trees", type=positive(int), default=120, metavar="N", help="number of trees (default: 120)")
    parser.add_argument(
        "--depth", type=positive(int), default=5, metavar="N", help="largest depth of a tree (default: 5)"
    )
    parser.add_argument(
        "--learning-rate", type=positive(float), default=0.1, metavar="R", help="step per tree (default: 0.1)"
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="FEATURE",
        help="leave a feature of the table out (may be given several times)",
    )
    return parser.parse_args()


def positive(kind):
    def parse(text):
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not more than 0")
        return value

    return parse


def share(text):
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def train(options):
    out = options.out
    name, version = bundle_name(out)
    if out.exists() and not options.replace:
        raise Problem(f"{out} exists: a published version is never changed; choose another, or add --replace")
    table = read_table(options)
    parts = split(table, options)
    model = fit(parts.train, options)
    content = convert(model, len(table.features))
    session = onnxruntime.InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
    check_conversion(model, session, parts.test)
    platt = fit_platt(log_odds(run(session, parts.calibration.x)), parts.calibration.fraud)
    scores = calibrate(platt, run(session, parts.test.x))
    metrics = measure(parts.test, scores)

    # Beside its place first, so that a bundle is there whole or not at all.
    scratch = out.with_name(out.name + ".tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    (scratch / "model.onnx").write_bytes(content)
    manifest = manifest_text(name, version, options, table, parts, platt, metrics, content)
    (scratch / "manifest.yaml").write_text(manifest, encoding="utf-8")
    (scratch / "golden.json").write_text(golden_text(session, platt, table, parts.test, scores), encoding="utf-8")
    card = card_text(name, version, SEED, options, table, parts, model, scores, metrics)
    (scratch / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    if out.exists():
        shutil.rmtree(out)
    scratch.rename(out)
    print(f"{out}: {len(content) / 1000:.0f} kB, AUC {metrics['auc']:.4f}, ", end="")
    print(f"average precision {metrics['average_precision']:.4f}, ", end="")
    print(f"card precision@{CARDS_PER_DAY} {metrics['card_precision_100']:.3f}")


def bundle_name(out):
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    name, version = out.parent.name, out.name
    for word in (name, version):
        if not 1 <= len(word) <= 64 or not set(word) <= allowed:
            raise Problem(
                f"--out {out} must end in <name>/<version>, each of 1 to 64 letters, digits, '-', '_' or '.'"
            )
    return name, version


def fit(part, options):
    model = xgboost.XGBClassifier(
        n_estimators=options.trees,
        max_depth=options.depth,
        learning_rate=options.learning_rate,
        min_child_weight=2.0,
        subsample=0.8,
        colsample_bytree=0.8,
        reg_lambda=1.0,
        base_score=0.5,
        tree_method="hist",
        n_jobs=1,
        random_state=SEED,
    )
    return model.fit(part.x, part.fraud)


def convert(model, width):
    converted = convert_xgboost(
        model, name="tollgate", initial_types=[(INPUT, FloatTensorType([None, width]))], target_opset=OPSET
    )
    onnx.checker.check_model(converted)
    content = converted.SerializeToString(deterministic=True)
    if len(content) > MODEL_BYTES_MAX:
        raise Problem(f"the model is {len(content)} bytes, at most {MODEL_BYTES_MAX}: use fewer or shallower trees")
    return content


def session_options():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return options


def run(session, x):
    """The probability of fraud as the converted model gives it, before calibration."""
    return session.run([OUTPUT], {INPUT: x})[0][:, 1].astype(np.float64)


def check_conversion(model, session, part):
    difference = np.abs(run(session, part.x) - model.predict_proba(part.x)[:, 1]).max()
    if difference > CONVERSION_TOLERANCE:
        raise Problem(
            f"ONNX Runtime differs from XGBoost by {difference:.2e} on the test rows (at most {CONVERSION_TOLERANCE:g} is "
            "taken): the conversion is wrong; check the versions in requirements.txt"
        )


def log_odds(probability):
    probability = np.clip(probability, PROBABILITY_MIN, 1 - PROBABILITY_MIN)
    return np.log(probability / (1 - probability))


def calibrate(platt, probability):
    a, b = platt
    return 1 / (1 + np.exp(a * log_odds(probability) + b))


def fit_platt(s, fraud):
    """The a and b of p = 1 / (1 + exp(a s + b)) with the least log loss, by Newton's method.

    The targets are drawn in a little from 0 and 1 as in Platt (1999), so that a perfect separation does not end in
    an infinite slope.
    """
    positives = fraud.sum()
    negatives = len(fraud) - positives
    target = np.where(fraud == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(a, b):
        z = a * s + b
        return np.sum(target * np.logaddexp(0, z) + (1 - target) * np.logaddexp(0, -z))

    a, b = -1.0, 0.0
    for _ in range(100):
        p = 1 / (1 + np.exp(a * s + b))
        error = target - p
        gradient = np.array([np.sum(error * s), np.sum(error)])
        weight = p * (1 - p)
        cross = np.sum(weight * s)
        hessian = np.array([[np.sum(weight * s * s), cross], [cross, np.sum(weight)]]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(a - size * step[0], b - size * step[1]) > loss(a, b):
            size /= 2
        a, b = a - size * step[0], b - size * step[1]
        if np.abs(size * step).max() < 1e-9:
            break
    if a >= 0:
        raise Problem("the model does not tell fraud from the rest on the calibration part: it learned nothing of use")
    # Written with so many digits; what is measured is what is served.
    return float(f"{a:.9g}"), float(f"{b:.9g}")


def number(value):
    """The shortest text that reads back as the same number, as YAML and JSON both take it."""
    return repr(float(value))


def manifest_text(name, version, options, table, parts, platt, metrics, content):
    digest = hashlib.sha256()
    for feature, definition in zip(table.features, table.definitions):
        digest.update(f"{feature}: {definition}\n".encode())
    inputs = "".join(
        f"  - {{ feature: {json.dumps(feature)}, missing: {number(fill)} }}\n"
        for feature, fill in zip(table.features, table.fill)
    )
    measured = "".join(
        f"  {key}: {value if isinstance(value, int) else f'{value:.6f}'}\n" for key, value in metrics.items()
    )
    return (
        "# Written by training/train.py. Tollgate verifies all of it when the bundle is loaded.\n"
        f"name: {json.dumps(name)}\n"
        f"version: {json.dumps(version)}\n"
        f"description: {json.dumps(options.description)}\n"
        f"model_sha256: {hashlib.sha256(content).hexdigest()}\n"
        f"features_sha256: {digest.hexdigest()}\n"
        "inputs:\n"
        f"{inputs}"
        f"tensor: {INPUT}\n"
        f"output: {{ name: {OUTPUT}, kind: probability_pair }}\n"
        f"calibration: {{ platt: {{ a: {number(platt[0])}, b: {number(platt[1])} }} }}\n"
        f'trained: {{ from: "{stamp(parts.train.first)}", to: "{stamp(parts.train.last)}", '
        f"rows: {len(parts.train.rows)} }}\n"
        "metrics:\n"
        f"{measured}"
    )


def golden_text(session, platt, table, part, scores):
    """Rows spread evenly over the range of scores (on the scale of log-odds), one with values missing if there is
    one, and one with nothing at all; null stands for a missing value."""
    scale = log_odds(scores)
    wanted = np.linspace(scale.min(), scale.max(), GOLDEN_ROWS)
    chosen = [int(np.abs(scale - target).argmin()) for target in wanted]
    # Where scores bunch up, several targets meet in one row: the rest come from evenly spaced ranks.
    ranked = np.argsort(scores, kind="stable")
    chosen += [int(at) for at in ranked[np.linspace(0, len(ranked) - 1, GOLDEN_ROWS).astype(int)]]
    chosen = list(dict.fromkeys(chosen))[:GOLDEN_ROWS]
    gaps = np.flatnonzero(np.isnan(part.values).any(axis=1))
    if len(gaps) and not np.isnan(part.values[chosen]).any():
        chosen.append(int(gaps[0]))
    values = np.vstack([part.values[chosen], np.full((1, len(table.features)), np.nan, dtype=np.float32)])
    golden = calibrate(platt, run(session, np.where(np.isnan(values), table.fill, values)))
    rows = [
        f'    {{"inputs": [{", ".join("null" if np.isnan(value) else number(value) for value in row)}], '
        f'"score": {number(score)}}}'
        for row, score in zip(values, golden)
    ]
    return f'{{\n  "tolerance": {GOLDEN_TOLERANCE!r},\n  "rows": [\n' + ",\n".join(rows) + "\n  ]\n}\n"


if __name__ == "__main__":
    main()
