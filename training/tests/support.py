"""A tiny history, as a table and as a file; imported first, because it makes the code importable."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd

import train
from feature_table import KNOWN_AT, Table

BEGIN = pd.Timestamp("2026-01-01", tz="UTC")
DAY = pd.Timedelta(days=1)
FEATURES = ["amount", "pace", "flag", "age"]


def history(rows=4000, days=40, seed=1):
    """Fraud is likelier with a high amount and a high pace; `age` is missing in most rows."""
    dice = np.random.default_rng(seed)
    values = np.column_stack(
        [
            np.round(dice.lognormal(3, 1, rows), 2),
            dice.poisson(2, rows).astype(float),
            dice.integers(0, 2, rows).astype(float),
            np.where(dice.random(rows) < 0.7, np.nan, np.round(dice.normal(0, 10, rows), 1)),
        ]
    )
    risk = -5 + 0.03 * values[:, 0] + 0.5 * values[:, 1]
    fraud = (dice.random(rows) < 1 / (1 + np.exp(-risk))).astype(np.int64)
    time = (BEGIN + pd.to_timedelta(np.sort(dice.random(rows)) * days, "D")).floor("s")
    known_at = pd.Series(time + pd.to_timedelta(dice.uniform(1, 10, rows), "D")).dt.floor("s").where(fraud == 1)
    frame = pd.DataFrame(
        {
            "transaction_id": [f"t{at:05}" for at in range(rows)],
            "event_time": time,
            "card_id": [f"c{card}" for card in dice.integers(0, 300, rows)],
            "fraud": fraud,
            KNOWN_AT: known_at,
        }
    )
    return frame, values


def table(frame, values, unsettled_from=None):
    return Table(FEATURES, [f"transaction.{name}" for name in FEATURES], frame, values, unsettled_from)


def write_table(path, frame, values):
    """As `tollgate features --label-times` writes it."""
    written = frame[["transaction_id", "event_time", "card_id"]].copy()
    written["event_time"] = frame["event_time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    for at, name in enumerate(FEATURES):
        written[name] = values[:, at]
    written["fraud"] = frame["fraud"]
    written[KNOWN_AT] = frame[KNOWN_AT].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    written.to_csv(path, index=False)
    definitions = [{"name": name, "definition": f"transaction.{name}"} for name in FEATURES]
    path.with_name(path.name + ".definitions.json").write_text(json.dumps(definitions))


class InFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def train(self, table, policy, *more):
        """Runs train.py, and returns the folder of the bundle."""
        (self.folder / policy).mkdir(exist_ok=True)
        arguments = ["--table", table, "--policy", self.folder / policy, "--name", "m", "--trees", "8", *more]
        train.train(train.parse_arguments([str(argument) for argument in arguments]))
        versions = sorted((self.folder / policy / "models" / "m").iterdir(), key=lambda path: int(path.name))
        return versions[-1]
