"""How values are spread in training: what drift is measured against, and what an explanation puts in a value's place."""

from dataclasses import dataclass

import numpy as np

BINS = 10

# Shares are written in so many parts, which add up to 1 exactly.
PARTS = 1_000_000


@dataclass(frozen=True)
class Distribution:
    """Bins: below the first edge, from each edge to the next, from the last edge on."""

    edges: list
    shares: list  # one more than edges; with `missing` they add up to 1
    missing: float


def distribution(values):
    """Ten bins of about the same size, or, of at most ten different values, one each. No bin is empty, but those to both
    sides of a value that is the only one."""
    present = values[~np.isnan(values)]
    distinct, counts = np.unique(present, return_counts=True)
    if not len(distinct):
        return Distribution([0.0], [0.0, 0.0], 1.0)
    if len(distinct) == 1:
        around = abs(distinct[0]) / 2 or 0.5
        there, missing = in_parts([len(present), len(values) - len(present)])
        return Distribution([float(distinct[0] - around), float(distinct[0] + around)], [0.0, there, 0.0], missing)
    ends = list(range(1, len(distinct))) if len(distinct) <= BINS else even_ends(counts)
    edges = [between(distinct[end - 1], distinct[end]) for end in ends]
    sizes = [int(part.sum()) for part in np.split(counts, ends)]
    *shares, missing = in_parts([*sizes, len(values) - len(present)])
    return Distribution(edges, shares, missing)


# Nearly all scores are near nothing; what is decided about lies in the last of ten bins.
SCORE_QUANTILES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999]


def score_distribution(scores):
    """Bins between quantiles, narrower towards high scores."""
    distinct, counts = np.unique(scores, return_counts=True)
    if len(distinct) == 1:
        return distribution(scores)
    below = np.searchsorted(np.cumsum(counts), np.array(SCORE_QUANTILES) * len(scores))
    ends = np.unique(np.clip(below, 0, len(distinct) - 2)) + 1
    edges = [between(distinct[end - 1], distinct[end]) for end in ends]
    return Distribution(edges, in_parts([int(part.sum()) for part in np.split(counts, ends)]), 0.0)


def even_ends(counts):
    """Where bins end among the distinct values. A value so frequent that it fills more than one bin has one alone, and
    the others share what is left."""
    ends, filled, left = [], 0, int(counts.sum())
    for at, count in enumerate(counts):
        bins_left = BINS - len(ends)
        if bins_left == 1:
            break
        target = left / bins_left
        # Ends before this value if that is nearer to the target than after it.
        if filled and filled + count / 2 > target:
            ends.append(at)
            left -= filled
            filled = 0
        filled += int(count)
    return ends


def between(low, high):
    """The shortest number between two neighbours, so that no rounding puts a value on the wrong side of it."""
    middle = low + (high - low) / 2
    for digits in range(1, 18):
        edge = float(f"{middle:.{digits}g}")
        if low < edge < high:
            return edge
    return float(high)


def in_parts(sizes):
    """Sizes as shares of their sum, in millionths that add up to 1: what rounding down leaves over goes to those that lost
    most. Nothing that is there becomes nothing."""
    sizes = np.array(sizes, dtype=np.int64)
    exact = sizes * PARTS
    total = int(sizes.sum())
    parts = np.where(sizes > 0, np.maximum(exact // total, 1), 0)
    over = PARTS - int(parts.sum())
    if over > 0:
        parts[np.argsort(-(exact % total), kind="stable")[:over]] += 1
    else:
        # The smallest were lifted to one part; the largest pays.
        parts[np.argmax(parts)] += over
    return [float(part) / PARTS for part in parts]


def baseline(values, fill):
    """What stands for "nothing special" in an explanation: the median, or the most frequent of few values; where most
    transactions have none, what the model is given then."""
    present = values[~np.isnan(values)]
    if len(present) * 2 <= len(values):
        return float(fill)
    distinct, counts = np.unique(present, return_counts=True)
    if len(distinct) <= BINS:
        return float(distinct[np.argmax(counts)])
    return float(f"{np.median(present):.6g}")


def population_stability(distribution, values):
    """How far values have drifted from a distribution: the sum over bins of (share - expected) ln(share / expected).
    Shares of nothing count as a ten-thousandth, because their logarithm has no end."""
    present = values[~np.isnan(values)]
    bins = np.searchsorted(distribution.edges, present, side="right")
    counts = np.bincount(bins, minlength=len(distribution.shares))
    found = np.append(counts, len(values) - len(present)) / len(values)
    found = np.maximum(found, 1e-4)
    expected = np.maximum([*distribution.shares, distribution.missing], 1e-4)
    return float(np.sum((found - expected) * np.log(found / expected)))
