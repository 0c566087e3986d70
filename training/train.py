#!/usr/bin/env python3
"""Trains a fraud model on a feature table and writes it as a bundle that Tollgate can serve.

The table is what `tollgate features` writes: a CSV file with the columns transaction_id, event_time, card_id, one
per named feature (an empty cell is a missing value), fraud (0, 1, or empty if not known), and with --label-times
fraud_known_at; and next to it <table>.definitions.json with each feature's definition. The bundle is a folder:
model.onnx, manifest.yaml, golden.json, and model-card.md with its pictures.

Transactions are split by time as they happen in life: the model trains on the earliest part, is calibrated on the
end of that part, and is tested on the last part. Between training and test lies a gap as long as it takes until
fraud is known, because on the day a model is trained the newest labels do not exist yet; fraud that became known
later than that counts as good. --train, --calibrate and --test name other periods.

The same table and options give the same bundle, byte for byte.
"""

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

import bundle
import calibration
import estimators
import measures
import model_card
import pictures
from distributions import Distribution, baseline, distribution, score_distribution
from feature_table import Table, read_table
from problem import Problem
from register import register
from split import Parts, Periods, parse_period, periods_by_share, split


def main():
    options = parse_arguments()
    try:
        train(options)
    except Problem as problem:
        sys.exit(f"train.py: {problem}")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_files(parser.add_argument_group("files"))
    add_periods(parser.add_argument_group("periods"))
    add_model(parser.add_argument_group("model"))
    options = parser.parse_args(arguments)
    named = [options.train, options.calibrate, options.test]
    if any(named) and not all(named):
        parser.error("--train, --calibrate and --test go together")
    return options


def add_files(group):
    add = group.add_argument
    add("--table", type=Path, required=True, metavar="CSV", help="feature table written by `tollgate features`")
    add("--definitions", type=Path, metavar="JSON", help="definitions of its features (default: <table>.definitions.json)")
    add("--policy", type=Path, required=True, metavar="FOLDER", help="policy folder; the bundle goes to its models/")
    add("--name", required=True, metavar="NAME", help="name of the model, such as card-fraud")
    add("--version", metavar="V", help="version of the model; one that exists is refused (default: one more than the last)")
    add(
        "--register",
        choices=["challenger", "champion", "no"],
        default="challenger",
        help="what models.yaml shall name it (default: %(default)s)",
    )
    add(
        "--require",
        type=requirement,
        action="append",
        default=[],
        metavar="METRIC=VALUE",
        help="write nothing if a metric of the manifest is below this, such as auc=0.9 (may be given several times)",
    )
    add("--description", help="one sentence for the manifest")
    add("--reasons", type=Path, metavar="YAML", help="reason code and text by feature, shown where it moved a score most")
    add(
        "--exclude",
        action="append",
        default=[],
        metavar="FEATURE",
        help="leave a feature of the table out (may be given several times)",
    )


def add_periods(group):
    add = group.add_argument
    add(
        "--label-delay-days",
        type=positive(float),
        default=7.0,
        metavar="D",
        help="how long until fraud is known: the gap between training and test (default: 7)",
    )
    add("--test-share", type=share, default=0.25, metavar="S", help="share of the time to test on (default: 0.25)")
    add(
        "--calibration-share",
        type=share,
        default=0.2,
        metavar="S",
        help="share of the training time, at its end, held out for calibration (default: 0.2)",
    )
    what = "exactly this period instead, such as 2018-07-25..2018-08-01 (the second day is no longer part of it)"
    for name in ("--train", "--calibrate", "--test"):
        add(name, type=period, metavar="FROM..TO", help=what)
    add(
        "--drop-known-cards",
        action="store_true",
        help="test without cards that had a fraud which was known before the day: they would be blocked",
    )


def add_model(group):
    add = group.add_argument
    add("--model", choices=list(estimators.KINDS), default="xgboost", help="kind of model (default: %(default)s)")
    add("--trees", type=positive(int), metavar="N", help="number of trees (default: 120; 100 of a forest)")
    add("--depth", type=positive(int), metavar="N", help="largest depth of a tree (default: 5; 8 in a forest)")
    add("--learning-rate", type=positive(float), default=0.1, metavar="R", help="step per boosted tree (default: 0.1)")
    add(
        "--subsample",
        type=positive(float),
        default=0.8,
        metavar="S",
        help="share of the rows and of the inputs that each boosted tree sees (default: 0.8)",
    )
    add(
        "--min-child-weight",
        type=positive(float),
        default=2.0,
        metavar="W",
        help="least weight of a leaf, of XGBoost only (default: 2)",
    )
    add(
        "--start",
        choices=["half", "share"],
        default="half",
        help="probability that boosting starts from, of XGBoost only: a half, or the share of fraud (default: %(default)s)",
    )
    add(
        "--calibration",
        choices=["best", "platt", "isotonic"],
        default="best",
        help="curve from the output to a probability (default: the one with the lower Brier score)",
    )


def positive(kind):
    def parse(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not more than 0")
        return value

    return parse


def share(text):
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def requirement(text):
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: write a metric and its least value, such as auc=0.9") from error


def period(text):
    try:
        return parse_period(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@dataclass
class Facts:
    """Everything found out about a model; what the bundle's files are written from."""

    options: argparse.Namespace
    table: Table
    periods: Periods
    parts: Parts
    model: estimators.Trained
    calibration: calibration.Choice
    reasons: dict
    outputs: np.ndarray = field(init=False)  # of the test part, before calibration
    scores: np.ndarray = field(init=False)  # of the test part
    metrics: dict = field(init=False)
    # Of the training part, by input:
    distributions: list = field(init=False)
    baselines: np.ndarray = field(init=False)
    usually_missing: np.ndarray = field(init=False)
    lowest: np.ndarray = field(init=False)
    highest: np.ndarray = field(init=False)
    # Of transactions that the model was not trained on: its own it knows by heart.
    score_distribution: Distribution = field(init=False)

    def __post_init__(self):
        train, test = self.parts.train, self.parts.test
        self.outputs = self.model(test.x)
        self.scores = self.calibration.chosen(self.outputs)
        self.metrics = metrics(test, self.outputs, self.scores)
        columns = train.values.T
        self.distributions = [distribution(column) for column in columns]
        self.baselines = np.array([baseline(column, fill) for column, fill in zip(columns, self.parts.fill)])
        self.usually_missing = np.isnan(columns).mean(axis=1) >= 0.5
        self.lowest = np.array([extreme(np.min, column) for column in columns])
        self.highest = np.array([extreme(np.max, column) for column in columns])
        self.score_distribution = score_distribution(self.score(self.parts.calibration.x))

    def score(self, x):
        return self.calibration.chosen(self.model(x))


def extreme(function, column):
    present = column[~np.isnan(column)]
    return function(present) if len(present) else np.nan


def metrics(test, outputs, scores):
    before = measures.measure(test, outputs)
    return {
        **measures.measure(test, scores),
        f"card_precision_{measures.CARDS_PER_DAY}_best": measures.best_card_precision(test),
        **{f"{name}_before_calibration": value for name, value in before.items()},
        "test_days": int(test.days),
        "test_fraud_share": float(test.fraud.mean()),
        "test_rows": len(test.fraud),
    }


def train(options):
    models = options.policy / "models" / options.name
    version = options.version or bundle.next_version(models)
    bundle.check_name(options.name, version)
    out = models / version
    if out.exists():
        raise Problem(f"{out} exists: a published version is never changed; choose another, or leave --version out")
    facts = find_out(options)
    check_requirements(options.require, facts.metrics)
    description = options.description or facts.model.kind.title
    files = {
        "model.onnx": facts.model.content,
        "manifest.yaml": bundle.manifest(options.name, version, description, facts),
        "golden.json": bundle.golden(facts),
        "model-card.md": model_card.text(options.name, version, description, facts),
        **pictures.draw(facts),
    }
    bundle.write(out, files)
    print(f"{out}: {options.model}, {len(facts.model.content) / 1000:.0f} kB, calibrated by {facts.calibration.chosen.name}")
    for when, suffix in (("before calibration", "_before_calibration"), ("after calibration", "")):
        shown = [f"{title} {facts.metrics[name + suffix]:.{digits}f}" for name, title, digits in model_card.MEASURES]
        print(f"  {when + ':':<20}{', '.join(shown)}")
    if options.register != "no":
        register(options.policy, f"{options.name}/{version}", options.register == "champion")


def check_requirements(required, metrics):
    for name, least in required:
        if name not in metrics:
            raise Problem(f"--require {name}: there is no such metric; there are {', '.join(metrics)}")
        if metrics[name] < least:
            raise Problem(f"{name} is {metrics[name]:.6f}, at least {least:g} is required: nothing is written")


def find_out(options):
    table = read_table(options.table, options.definitions, options.exclude)
    label_delay = pd.Timedelta(days=options.label_delay_days)
    if options.train:
        periods = Periods(options.train, options.calibrate, options.test)
    else:
        periods = periods_by_share(table, label_delay, options.test_share, options.calibration_share)
    fill = estimators.KINDS[options.model].fill
    parts = split(table, periods, label_delay, fill, options.drop_known_cards)
    model = estimators.train(options.model, parts, options)
    curve = calibration.choose(model(parts.calibration.x), parts.calibration.fraud, options.calibration)
    return Facts(options, table, periods, parts, model, curve, bundle.read_reasons(options.reasons))


if __name__ == "__main__":
    main()
