"""From a model's output to a probability that means what it says.

Two curves are tried: Platt's, a logistic one with two parameters, and an isotonic one, of any rising shape. Which of
them serves is decided on transactions that neither has seen, by the Brier score.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from problem import Problem
from split import FRAUD_MIN

# The log-odds of 0 and 1 are infinite; Tollgate cuts at the same place.
PROBABILITY_MIN = 1e-7

# More than these points say nothing that the next transactions would not say otherwise.
POINTS_MAX = 64

# Numbers are written with so many digits; what is measured is what is served.
DIGITS = 9

NOTHING_LEARNED = "the model does not tell fraud from the rest on the calibration part: it learned nothing of use"


def log_odds(probability):
    probability = np.clip(probability, PROBABILITY_MIN, 1 - PROBABILITY_MIN)
    return np.log(probability / (1 - probability))


@dataclass(frozen=True)
class Platt:
    """`p = 1 / (1 + exp(a s + b))` on the log-odds s of the output."""

    a: float
    b: float
    name = "platt"

    def __call__(self, output):
        return 1 / (1 + np.exp(self.a * log_odds(output) + self.b))


@dataclass(frozen=True)
class Isotonic:
    """Straight lines between points that rise."""

    outputs: tuple
    scores: tuple
    name = "isotonic"

    def __call__(self, output):
        return np.interp(output, self.outputs, self.scores)


@dataclass(frozen=True)
class Choice:
    chosen: Platt | Isotonic
    why: str  # a sentence
    briers: dict  # of both, and of the output as it is, on the later half; empty if nothing was compared
    rows: int  # of the half they were measured on


def choose(output, fraud, wanted="best"):
    """Fits on the earlier half of the calibration part, compares on the later half, and fits what is chosen on all."""
    if roc_auc_score(fraud, output) <= 0.5:
        raise Problem(NOTHING_LEARNED)
    fits = {"platt": fit_platt, "isotonic": fit_isotonic}
    half = len(fraud) // 2
    early, late = slice(None, half), slice(half, None)
    if min(fraud[early].sum(), fraud[late].sum()) < FRAUD_MIN:
        why = f"A half of the calibration part has fewer than {FRAUD_MIN} frauds, too few to compare curves by."
        name = "platt" if wanted == "best" else wanted
        return Choice(fits[name](output, fraud), why, {}, 0)
    briers = {"none": float(brier_score_loss(fraud[late], np.clip(output[late], 0, 1)))}
    for name, fit in fits.items():
        briers[name] = float(brier_score_loss(fraud[late], fit(output[early], fraud[early])(output[late])))
    name = min(fits, key=briers.get) if wanted == "best" else wanted
    why = "It has the lower Brier score of the two." if wanted == "best" else "It was asked for, whatever the Brier scores say."
    return Choice(fits[name](output, fraud), why, briers, len(fraud) - half)


def fit_platt(output, fraud):
    """The a and b with the least log loss, by Newton's method.

    The targets are drawn in a little from 0 and 1 as in Platt (1999), so that a perfect separation does not end in
    an infinite slope.
    """
    s = log_odds(output)
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
        raise Problem(NOTHING_LEARNED)
    return Platt(rounded(a), rounded(b))


def fit_isotonic(output, fraud):
    """The rising curve with the least squares, through the middle of each of its steps (A. Oron and N. Flournoy,
    "Centered Isotonic Regression", Statistics in Biopharmaceutical Research, 2017): a step would give many
    transactions the same score, and lose the order that the model has them in."""
    steps = IsotonicRegression(y_min=0, y_max=1).fit_transform(output, fraud)
    _, step, rows = np.unique(steps, return_inverse=True, return_counts=True)
    step = step.ravel()
    centres = np.bincount(step, output) / rows
    shares = np.bincount(step, fraud) / rows
    centres, shares, rows = merge(list(centres), list(shares), list(rows))
    if len(shares) < 2:
        raise Problem(NOTHING_LEARNED)
    # A step without a fraud is not free of fraud, and one without a good transaction is not certain either.
    if shares[0] == 0:
        shares[0] = min(0.5 / (rows[0] + 1), shares[1] / 2)
    if shares[-1] == 1:
        shares[-1] = max(1 - 0.5 / (rows[-1] + 1), (1 + shares[-2]) / 2)
    points = [(0.0, 0.0), *zip(map(rounded, centres), map(rounded, shares)), (1.0, 1.0)]
    outputs = [at for at, _ in points]
    # Two points at one place, at the ends or after rounding, would be a jump.
    points = [point for point, after in zip(points, [*outputs[1:], 2.0]) if point[0] < after]
    return Isotonic(tuple(at for at, _ in points), tuple(score for _, score in points))


def merge(centres, shares, rows):
    """Joins steps that are nearest to each other until few enough are left."""
    while len(shares) > POINTS_MAX:
        at = int(np.argmin(np.diff(shares)))
        both = rows[at] + rows[at + 1]
        for values in (centres, shares):
            values[at : at + 2] = [(values[at] * rows[at] + values[at + 1] * rows[at + 1]) / both]
        rows[at : at + 2] = [both]
    return centres, shares, rows


def rounded(value):
    return float(f"{value:.{DIGITS}g}")
