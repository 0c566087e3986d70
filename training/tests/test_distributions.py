import math
import unittest

import support  # noqa: F401
import numpy as np

from distributions import baseline, between, distribution, in_parts, population_stability, score_distribution


def samples():
    dice = np.random.default_rng(3)
    gaps = np.where(dice.random(5000) < 0.9, np.nan, dice.normal(size=5000))
    mostly = np.where(dice.random(5000) < 0.6, 0.0, dice.exponential(size=5000))
    yield from (
        ("normal", dice.normal(size=5000)),
        ("counts", dice.poisson(9, 5000).astype(float)),
        ("flags", dice.integers(0, 2, 5000).astype(float)),
        ("one value", np.full(50, 7.0)),
        ("few rows", np.array([1.0, 2.0, 2.0])),
        ("mostly missing", gaps),
        ("all missing", np.full(10, np.nan)),
        ("mostly one value", mostly),
        ("neighbours", np.repeat([1.0, np.nextafter(1.0, 2.0)], 30)),
        ("twelve values, one rare", np.array([*range(11)] * 500 + [11.0])),
        ("far apart", dice.choice([-1e300, 1e-300, 5e300], 90)),
    )


class Bins(unittest.TestCase):
    def test_shares_add_up_to_1_and_are_those_of_the_values(self):
        for name, values in samples():
            with self.subTest(name):
                found = distribution(values)
                self.assertAlmostEqual(math.fsum([*found.shares, found.missing]), 1, delta=1e-12)
                self.assertEqual(len(found.shares), len(found.edges) + 1)
                self.assertEqual(found.edges, sorted(set(found.edges)))
                present = values[~np.isnan(values)]
                # From an edge on, as the manifest says: searchsorted counts the edges that are not above a value.
                bins = np.searchsorted(found.edges, present, side="right")
                for at, share in enumerate(found.shares):
                    self.assertAlmostEqual(share, (bins == at).sum() / len(values), delta=2e-6)
                self.assertGreater(len(found.edges), 0)
                if len(set(present)) > 1:
                    self.assertGreater(min(found.shares), 0, "a bin is empty")

    def test_few_values_have_a_bin_each_and_many_about_ten(self):
        sizes = {name: len(distribution(values).shares) for name, values in samples()}
        expected = {"flags": 2, "one value": 3, "all missing": 2, "few rows": 2, "normal": 10, "mostly missing": 10}
        self.assertEqual({name: sizes[name] for name in expected}, expected)
        self.assertLessEqual(max(sizes.values()), 10)
        self.assertGreaterEqual(sizes["twelve values, one rare"], 8)
        shares = distribution(dict(samples())["normal"]).shares
        self.assertLess(max(shares) - min(shares), 0.001)

    def test_a_value_that_fills_more_than_its_bin_has_one_alone(self):
        found = distribution(dict(samples())["mostly one value"])
        self.assertAlmostEqual(found.shares[0], 0.6, delta=0.02)
        self.assertLess(max(found.shares[1:]), 0.06)

    def test_edges_lie_between_values_and_are_short(self):
        self.assertEqual(between(0.0, 1.0), 0.5)
        self.assertEqual(between(52.0, 53.0), 52.5)
        self.assertEqual(between(0.1, 0.30000000000000004), 0.2)
        after = np.nextafter(1.0, 2.0)
        self.assertEqual(between(1.0, after), after)

    def test_rounding_loses_nothing(self):
        self.assertEqual(in_parts([1, 1, 1]), [0.333334, 0.333333, 0.333333])
        tiny = in_parts([50_000_000, 1, 0])
        self.assertEqual(tiny, [0.999999, 0.000001, 0])


class Scores(unittest.TestCase):
    def test_bins_are_narrower_towards_high_scores_and_none_is_empty(self):
        dice = np.random.default_rng(6)
        found = score_distribution(dice.beta(0.2, 20, 50_000))
        self.assertAlmostEqual(math.fsum(found.shares), 1, delta=1e-12)
        for share, expected in zip(found.shares, [0.1] * 9 + [0.05, 0.04, 0.005, 0.004, 0.001]):
            self.assertAlmostEqual(share, expected, delta=0.0005)

    def test_scores_that_are_often_the_same_have_fewer_bins(self):
        for scores in (np.array([0.01] * 95 + [0.9] * 5), np.repeat([0.1, 0.2, 0.3], [1, 98, 1])):
            found = score_distribution(scores)
            self.assertAlmostEqual(math.fsum([*found.shares, found.missing]), 1, delta=1e-12)
            self.assertEqual(found.edges, sorted(set(found.edges)))
            bins = np.searchsorted(found.edges, scores, side="right")
            self.assertEqual(sorted(set(bins)), list(range(len(found.shares))), "a bin is empty")
            self.assertEqual(len(found.shares), 2)
        self.assertEqual(score_distribution(np.array([0.2])), distribution(np.array([0.2])))


class Baseline(unittest.TestCase):
    def test_median_of_many_values_most_frequent_of_few_and_the_fill_where_most_are_missing(self):
        self.assertEqual(baseline(np.arange(101.0), -1), 50)
        self.assertEqual(baseline(np.array([0.0, 0, 0, 1, 1, 5]), -1), 0)
        self.assertEqual(baseline(np.array([3.0, np.nan, np.nan]), -1), -1)
        self.assertEqual(baseline(np.array([3.0, 3.0, np.nan]), -1), 3)


class Stability(unittest.TestCase):
    def test_by_hand(self):
        flags = distribution(np.array([0.0] * 50 + [1.0] * 50))
        drifted = np.array([0.0] * 20 + [1.0] * 80)
        expected = (0.2 - 0.5) * math.log(0.2 / 0.5) + (0.8 - 0.5) * math.log(0.8 / 0.5)
        self.assertAlmostEqual(population_stability(flags, drifted), expected)

    def test_nothing_where_nothing_changed_and_more_the_further_it_went(self):
        dice = np.random.default_rng(4)
        known = distribution(dice.normal(size=20_000))
        indices = [population_stability(known, dice.normal(shift, size=20_000)) for shift in (0, 0.2, 0.5, 1)]
        self.assertLess(indices[0], 0.003)
        self.assertEqual(indices, sorted(indices))
        self.assertGreater(indices[-1], 0.25)

    def test_missing_values_are_a_bin_of_their_own(self):
        known = distribution(np.arange(1000.0))
        gaps = np.where(np.arange(1000) % 2, np.nan, np.arange(1000.0))
        self.assertGreater(population_stability(known, gaps), 1)


if __name__ == "__main__":
    unittest.main()
