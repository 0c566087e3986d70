"""Reads a feature table, and splits it by time the way labels become known."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

KEYS = ["transaction_id", "event_time", "card_id"]

# With fewer of either kind, neither a fit nor a measure means anything.
FRAUD_MIN = 10


class Problem(Exception):
    """Something the user can mend; printed without a stack trace."""


@dataclass
class Table:
    features: list  # names, in the order of the table
    definitions: list  # as the policy writes them, in the same order
    fill: np.ndarray  # what the model is given where a value is missing
    rows: pd.DataFrame  # KEYS and fraud of labelled rows, in order of time
    values: np.ndarray  # labelled rows × features, float32, NaN where missing


def read_table(options):
    path = options.table
    definitions_path = options.definitions or path.with_name(path.name + ".definitions.json")
    try:
        definitions = json.loads(definitions_path.read_text(encoding="utf-8"))
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise Problem(f"cannot read the table: {error}") from error
    defined = [entry["name"] for entry in definitions]
    expected = [*KEYS, *defined, "fraud"]
    if list(frame.columns) != expected:
        raise Problem(f"{path} has the columns {list(frame.columns)}, but {definitions_path} says {expected}")
    unknown = sorted(set(options.exclude) - set(defined))
    if unknown:
        raise Problem(f"--exclude names features that the table does not have: {', '.join(unknown)}")
    kept = [entry for entry in definitions if entry["name"] not in options.exclude]
    if not kept:
        raise Problem("no feature is left to train on")

    features = [entry["name"] for entry in kept]
    frame = frame[frame["fraud"] != ""].reset_index(drop=True)
    if frame.empty:
        raise Problem(f"{path} has no labelled row: the column fraud is empty throughout")
    fraud = numbers(frame, "fraud", path)
    if not np.isin(fraud, [0, 1]).all():
        raise Problem(f"{path}: the column fraud may hold 0, 1 or nothing")
    try:
        event_time = pd.to_datetime(frame["event_time"], utc=True, format="ISO8601")
    except ValueError as error:
        raise Problem(f"{path}: event_time is not RFC 3339: {error}") from error
    columns = [numbers(frame, feature, path) for feature in features]
    # Tollgate computes in 64 bits and gives the model 32, so training sees the same rounding.
    values = np.stack(columns, axis=1).astype(np.float32)
    rows = pd.DataFrame(
        {
            "transaction_id": frame["transaction_id"],
            "event_time": event_time,
            "card_id": frame["card_id"],
            "fraud": fraud.astype(np.int64),
        }
    )
    order = rows.sort_values(["event_time", "transaction_id"], kind="stable").index
    values = values[order]
    # A value no transaction has, where there is one that is plain: most features are never negative.
    lowest = np.min(np.where(np.isnan(values), np.inf, values), axis=0)
    fill = np.where(lowest >= 0, -1.0, 0.0).astype(np.float32)
    definitions = [entry["definition"] for entry in kept]
    return Table(features, definitions, fill, rows.loc[order].reset_index(drop=True), values)


def numbers(frame, column, path):
    """A column as 64-bit floats, NaN where the cell is empty."""
    text = frame[column].replace({"": "nan", "true": "1", "false": "0"})
    try:
        return text.astype(np.float64).to_numpy()
    except ValueError as error:
        raise Problem(f"{path}: the column {column} holds something other than numbers: {error}") from error


@dataclass
class Part:
    rows: pd.DataFrame
    values: np.ndarray  # NaN where missing
    x: np.ndarray  # filled: what the model gets

    @property
    def fraud(self):
        return self.rows["fraud"].to_numpy()

    @property
    def first(self):
        return self.rows["event_time"].iloc[0]

    @property
    def last(self):
        return self.rows["event_time"].iloc[-1]


@dataclass
class Parts:
    train: Part
    calibration: Part
    test: Part


def split(table, options):
    time = table.rows["event_time"]
    begin, end = time.iloc[0], time.iloc[-1]
    span = end - begin
    test_begin = end - span * options.test_share
    train_end = test_begin - pd.Timedelta(days=options.label_delay_days)
    if train_end <= begin:
        raise Problem(
            f"the table spans {span / pd.Timedelta(days=1):.1f} days, too short for {options.test_share:.0%} of it as test after a gap of "
            f"{options.label_delay_days:g} days: take a longer history, or a shorter --label-delay-days"
        )
    calibration_begin = train_end - (train_end - begin) * options.calibration_share

    def part(what, mask):
        mask = mask.to_numpy()
        values = table.values[mask]
        part = Part(table.rows[mask], values, np.where(np.isnan(values), table.fill, values))
        frauds = int(part.fraud.sum())
        if frauds < FRAUD_MIN or len(part.fraud) - frauds < FRAUD_MIN:
            raise Problem(
                f"the {what} part has {frauds} frauds among {len(part.fraud)} transactions, at least {FRAUD_MIN} of "
                "each kind are needed: take a longer history, or change --test-share or --calibration-share"
            )
        return part

    return Parts(
        part("training", time < calibration_begin),
        part("calibration", (time >= calibration_begin) & (time < train_end)),
        part("test", time >= test_begin),
    )
