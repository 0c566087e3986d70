"""Reads a feature table, as `tollgate features` writes it."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from problem import Problem

KEYS = ["transaction_id", "event_time", "card_id"]

# When fraud became known; only in tables written with `tollgate features --label-times`.
KNOWN_AT = "fraud_known_at"

TIME = "datetime64[us, UTC]"


@dataclass
class Table:
    features: list  # names, in the order of the table
    definitions: list  # as the policy writes them, in the same order
    rows: pd.DataFrame  # KEYS, fraud and KNOWN_AT of labelled rows, in order of time; KNOWN_AT is NaT if not said
    values: np.ndarray  # labelled rows × features, 64-bit, NaN where missing
    unsettled_from: pd.Timestamp | None  # from here on some rows have no label yet


def read_table(path, definitions_path=None, exclude=()):
    definitions_path = definitions_path or path.with_name(path.name + ".definitions.json")
    try:
        definitions = json.loads(definitions_path.read_text(encoding="utf-8"))
        columns = list(pd.read_csv(path, nrows=0).columns)
    except (OSError, ValueError) as error:
        raise Problem(f"cannot read the table: {error}") from error
    defined = [entry["name"] for entry in definitions]
    expected = [*KEYS, *defined, "fraud"]
    if columns not in (expected, [*expected, KNOWN_AT]):
        raise Problem(f"{path} has the columns {columns}, but {definitions_path} says {expected}")
    unknown = sorted(set(exclude) - set(defined))
    if unknown:
        raise Problem(f"--exclude names features that the table does not have: {', '.join(unknown)}")
    kept = [entry for entry in definitions if entry["name"] not in exclude]
    if not kept:
        raise Problem("no feature is left to train on")

    features = [entry["name"] for entry in kept]
    frame = read_columns(path, columns, features)
    # The order is made before anything is left out: rows of the same moment keep it in every run.
    frame = frame.sort_values(["event_time", "transaction_id"], kind="stable").reset_index(drop=True)
    labelled = frame["fraud"].notna()
    if not labelled.any():
        raise Problem(f"{path} has no labelled row: the column fraud is empty throughout")
    if not frame.loc[labelled, "fraud"].isin([0, 1]).all():
        raise Problem(f"{path}: the column fraud may hold 0, 1 or nothing")
    unsettled = frame.loc[~labelled, "event_time"]
    rows = frame.loc[labelled, [*KEYS, "fraud", KNOWN_AT]].reset_index(drop=True)
    return Table(
        features=features,
        definitions=[entry["definition"] for entry in kept],
        rows=rows.astype({"fraud": np.int64}),
        values=frame.loc[labelled, features].to_numpy(dtype=np.float64),
        unsettled_from=None if unsettled.empty else unsettled.iloc[0],
    )


def read_columns(path, columns, features):
    """The columns that are needed: numbers as the file has them to the last digit, times in UTC."""
    numbers = {name: np.float64 for name in [*features, "fraud"]}
    texts = {name: str for name in [*KEYS, KNOWN_AT] if name in columns}
    try:
        frame = pd.read_csv(
            path,
            usecols=[*texts, *numbers],
            dtype=numbers | texts,
            keep_default_na=False,
            na_values={name: [""] for name in numbers},
        )
    except ValueError as error:
        raise Problem(f"{path} holds something other than numbers among its features: {error}") from error
    frame["event_time"] = times(path, frame, "event_time")
    nothing = pd.Series(pd.NaT, index=frame.index, dtype=TIME)
    frame[KNOWN_AT] = times(path, frame, KNOWN_AT) if KNOWN_AT in columns else nothing
    return frame


def times(path, frame, column):
    try:
        return pd.to_datetime(frame[column].replace("", None), utc=True, format="ISO8601").astype(TIME)
    except ValueError as error:
        raise Problem(f"{path}: {column} is not RFC 3339: {error}") from error
