"""Splits a table by time, the way labels become known.

Three periods: the model is trained on one, its calibration is found on another, and what it is worth is measured on
the last. Everything that decides about the model uses only what was known on the morning the last period begins:
neither transactions nor labels from later. Fraud that had not been reported by then counts as good, because that is
what everybody believed.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from feature_table import KNOWN_AT
from problem import Problem

# With fewer of either kind, neither a fit nor a measure means anything.
FRAUD_MIN = 10


@dataclass
class Period:
    """From a moment on, up to another one and without it."""

    begin: pd.Timestamp
    end: pd.Timestamp

    def has(self, time):
        return (time >= self.begin) & (time < self.end)

    def overlaps(self, other):
        return self.begin < other.end and other.begin < self.end


def parse_period(text):
    """`2018-07-25..2018-08-01`: the second moment is no longer part of it."""
    try:
        begin, end = (pd.to_datetime(part, utc=True) for part in text.split(".."))
    except ValueError as error:
        raise ValueError(f"{text}: write two days with two dots between, such as 2018-07-25..2018-08-01") from error
    if begin >= end:
        raise ValueError(f"{text} ends before it begins; the second day is no longer part of it")
    return Period(begin, end)


@dataclass
class Periods:
    train: Period
    calibration: Period
    test: Period


def periods_by_share(table, label_delay, test_share, calibration_share):
    """The last part of the table's time is for the test; before it the time until labels are known; the rest is for
    training, and the end of that for calibration."""
    time = table.rows["event_time"]
    begin, end = time.iloc[0], time.iloc[-1]
    span = end - begin
    test_begin = end - span * test_share
    train_end = test_begin - label_delay
    if train_end <= begin:
        raise Problem(
            f"the table spans {days(span)} days, too short for {test_share:.0%} of it as test after a gap of "
            f"{days(label_delay)} days: take a longer history, or a shorter --label-delay-days"
        )
    calibration_begin = train_end - (train_end - begin) * calibration_share
    return Periods(
        Period(begin, calibration_begin),
        Period(calibration_begin, train_end),
        Period(test_begin, end + pd.Timedelta(1, "us")),
    )


def check_periods(periods, label_delay):
    """That nothing which decides about the model lies in the time it is tested on, or too shortly before."""
    if periods.train.overlaps(periods.calibration):
        raise Problem("the periods of training and calibration overlap: a model is calibrated on what it has not seen")
    for what, period in (("training", periods.train), ("calibration", periods.calibration)):
        if period.end + label_delay > periods.test.begin:
            raise Problem(
                f"{what} ends on {stamp(period.end)}, less than the {days(label_delay)} days that labels take before the "
                f"test begins on {stamp(periods.test.begin)}: its labels were not known by then"
            )


@dataclass
class Part:
    rows: pd.DataFrame
    values: np.ndarray  # 64-bit, NaN where missing
    x: np.ndarray  # 32-bit, filled: what the model gets
    fraud: np.ndarray  # 0 or 1
    not_yet_known: int = 0  # frauds that count as good, because they were not known when the model was made
    left_out: int = 0  # transactions of cards that were known to be compromised

    @property
    def first(self):
        return self.rows["event_time"].iloc[0]

    @property
    def last(self):
        return self.rows["event_time"].iloc[-1]

    @property
    def days(self):
        return self.rows["event_time"].dt.floor("D").nunique()


@dataclass
class Parts:
    train: Part
    calibration: Part
    test: Part
    fill: np.ndarray  # what the model is given where a value is missing, 32-bit


def split(table, periods, label_delay, fill_of, drop_known_cards=False):
    """`fill_of` gives, from the values of the training part, what stands for a missing value."""
    check_periods(periods, label_delay)
    time = table.rows["event_time"]
    fraud = table.rows["fraud"].to_numpy()
    # Where the table does not say when a fraud became known, it took the usual time.
    known_at = table.rows[KNOWN_AT].fillna(time + label_delay)
    fraud_then = np.where(known_at <= periods.test.begin, fraud, 0)
    in_train = periods.train.has(time).to_numpy()
    fill = fill_of(table.values[in_train]).astype(np.float32)

    def part(what, mask, fraud, **counts):
        values = table.values[mask]
        # Tollgate computes in 64 bits and gives the model 32, so training sees the same rounding.
        x = values.astype(np.float32)
        part = Part(table.rows[mask], values, np.where(np.isnan(x), fill, x), fraud[mask], **counts)
        frauds = int(part.fraud.sum())
        if frauds < FRAUD_MIN or len(part.fraud) - frauds < FRAUD_MIN:
            raise Problem(
                f"the {what} part has {frauds} frauds among {len(part.fraud)} transactions, at least {FRAUD_MIN} of "
                "each kind are needed: take a longer history, or other periods or shares"
            )
        return part

    def early(what, mask):
        return part(what, mask, fraud_then, not_yet_known=int((fraud[mask] - fraud_then[mask]).sum()))

    settled = periods.test.has(time)
    if table.unsettled_from is not None:
        # From there on only what was reported has a label, which is mostly fraud: measured on it, any model is good.
        settled &= time < table.unsettled_from
    settled = settled.to_numpy()
    open_cards = settled & ~known_cards(table, periods, known_at) if drop_known_cards else settled
    return Parts(
        early("training", in_train),
        early("calibration", periods.calibration.has(time).to_numpy()),
        part("test", open_cards, fraud, left_out=int(settled.sum() - open_cards.sum())),
        fill,
    )


def known_cards(table, periods, known_at):
    """Rows of cards with a fraud since training began that was known before the day of the row: somebody has blocked
    them, and finding them again is no merit."""
    time = table.rows["event_time"]
    counts = (table.rows["fraud"] == 1) & (time >= periods.train.begin)
    first_known = known_at[counts].groupby(table.rows.loc[counts, "card_id"]).min()
    known = table.rows["card_id"].map(first_known)
    return (known < time.dt.floor("D")).to_numpy()


def days(span):
    return f"{span / pd.Timedelta(days=1):g}"


def stamp(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
