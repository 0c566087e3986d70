import unittest

import support  # noqa: F401
import numpy as np
from sklearn.metrics import roc_auc_score

from calibration import POINTS_MAX, Isotonic, Platt, choose, fit_isotonic, fit_platt, log_odds
from problem import Problem


def outputs(rows, truth, seed=2):
    """Outputs of a model, and frauds with the probability that `truth` makes of them."""
    dice = np.random.default_rng(seed)
    output = 1 / (1 + np.exp(-dice.normal(-2, 2, rows)))
    return output, (dice.random(rows) < truth(output)).astype(int)


class Curves(unittest.TestCase):
    def test_platt_finds_the_curve_that_made_the_frauds(self):
        curve = fit_platt(*outputs(200_000, Platt(-0.7, 0.9)))
        self.assertAlmostEqual(curve.a, -0.7, delta=0.02)
        self.assertAlmostEqual(curve.b, 0.9, delta=0.03)

    def test_platt_of_a_hand_made_curve(self):
        self.assertAlmostEqual(float(Platt(-2.0, 0.5)(np.array(0.75))), 1 / (1 + np.exp(-2 * np.log(3) + 0.5)))
        self.assertAlmostEqual(float(Platt(-1.0, 0.0)(np.array(0.3))), 0.3)

    def test_isotonic_rises_all_the_way_and_keeps_the_order_of_the_model(self):
        output, fraud = outputs(20_000, lambda p: p**2)
        curve = fit_isotonic(output, fraud)
        self.assertEqual((curve.outputs[0], curve.outputs[-1]), (0, 1))
        self.assertTrue(np.all(np.diff(curve.outputs) > 0), curve)
        self.assertTrue(np.all(np.diff(curve.scores) > 0), curve)
        self.assertTrue(0 <= min(curve.scores) and max(curve.scores) <= 1)
        self.assertLessEqual(len(curve.outputs), POINTS_MAX + 2)
        self.assertAlmostEqual(roc_auc_score(fraud, output), roc_auc_score(fraud, curve(output)), delta=1e-6)

    def test_isotonic_means_what_it_says(self):
        output, fraud = outputs(200_000, lambda p: p**2)
        curve = fit_isotonic(output, fraud)
        for p in (0.2, 0.5, 0.8):
            self.assertAlmostEqual(float(curve(p)), p**2, delta=0.03)

    def test_isotonic_by_hand(self):
        # Two steps: a quarter of the lower four is fraud, three quarters of the upper four.
        output = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
        fraud = np.array([0, 1, 0, 0, 1, 1, 0, 1])
        curve = fit_isotonic(output, fraud)
        # The first output never had fraud, so it is a step of its own, and so is the last, which always had.
        self.assertEqual(curve.outputs[0], 0)
        self.assertAlmostEqual(curve.outputs[1], 0.1)
        self.assertAlmostEqual(curve.outputs[2], 0.3)
        self.assertAlmostEqual(curve.scores[2], 1 / 3)
        self.assertAlmostEqual(curve.outputs[3], 0.6)
        self.assertAlmostEqual(curve.scores[3], 2 / 3)
        self.assertAlmostEqual(curve.outputs[4], 0.8)
        self.assertGreater(curve.scores[1], 0)
        self.assertLess(curve.scores[4], 1)

    def test_a_model_that_knows_nothing_is_refused(self):
        with self.assertRaises(Problem):
            fit_platt(*outputs(5000, lambda p: 0.9 - 0.8 * p))
        with self.assertRaises(Problem):
            choose(*outputs(5000, lambda p: 0.9 - 0.8 * p), wanted="isotonic")
        # All alike: there is no curve through one point.
        with self.assertRaises(Problem):
            fit_isotonic(np.full(100, 0.3), np.arange(100) % 2)


class Choice(unittest.TestCase):
    def test_the_lower_brier_score_is_chosen(self):
        platt = choose(*outputs(4000, Platt(-0.7, 0.9)))
        self.assertEqual(platt.chosen.name, "platt", platt.briers)
        # No logistic curve has a step.
        step = choose(*outputs(20_000, lambda p: np.where(p < 0.2, 0.02, 0.5)))
        self.assertEqual(step.chosen.name, "isotonic", step.briers)
        for choice in (platt, step):
            self.assertEqual(min(["platt", "isotonic"], key=choice.briers.get), choice.chosen.name)
            self.assertIn("lower Brier score", choice.why)

    def test_what_is_asked_for_is_taken_and_said(self):
        choice = choose(*outputs(4000, Platt(-0.7, 0.9)), wanted="isotonic")
        self.assertIsInstance(choice.chosen, Isotonic)
        self.assertIn("asked for", choice.why)

    def test_of_very_few_frauds_nothing_is_concluded(self):
        output, fraud = outputs(4000, Platt(-0.7, 0.9))
        few = np.where(np.cumsum(fraud) <= 15, fraud, 0)
        choice = choose(output, few)
        self.assertEqual((choice.chosen.name, choice.briers), ("platt", {}))
        self.assertIn("too few", choice.why)

    def test_it_is_decided_on_what_neither_has_seen(self):
        # The earlier half follows one curve and the later another: only the later one decides.
        early, late = outputs(10_000, Platt(-1.0, 0.0), 3), outputs(10_000, lambda p: np.where(p < 0.2, 0.02, 0.5), 4)
        choice = choose(np.append(early[0], late[0]), np.append(early[1], late[1]))
        curves = {"platt": fit_platt(*early), "isotonic": fit_isotonic(*early)}
        for name, curve in curves.items():
            self.assertAlmostEqual(choice.briers[name], float(np.mean((curve(late[0]) - late[1]) ** 2)))
        self.assertEqual(choice.rows, 10_000)

    def test_log_odds_of_certainty_have_an_end(self):
        self.assertTrue(np.all(np.isfinite(log_odds(np.array([0.0, 1.0])))))


if __name__ == "__main__":
    unittest.main()
