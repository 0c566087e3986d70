import unittest

import support  # noqa: F401
import numpy as np
import pandas as pd

from measures import best_card_precision, card_precision, measure
from split import Part


def part(days, cards, fraud):
    time = pd.Timestamp("2026-01-01 10:00", tz="UTC") + pd.to_timedelta(days, "D")
    rows = pd.DataFrame({"event_time": time, "card_id": cards})
    return Part(rows, np.zeros((len(cards), 1)), np.zeros((len(cards), 1)), np.array(fraud))


class Measures(unittest.TestCase):
    def test_what_can_be_computed_by_hand(self):
        measured = measure(part([0, 0, 0, 0], list("abcd"), [0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
        # Of the four pairs of a fraud and a good one, 0.35 against 0.4 is the wrong way round.
        self.assertAlmostEqual(measured["auc"], 3 / 4)
        # Precision where the first fraud is found: 1 of 1; the second: 2 of 3.
        self.assertAlmostEqual(measured["average_precision"], (1 + 2 / 3) / 2)
        self.assertAlmostEqual(measured["brier"], (0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4)
        self.assertAlmostEqual(measured["card_precision_100"], 2 / 100)

    def test_auc_and_average_precision_are_what_their_definitions_say(self):
        dice = np.random.default_rng(5)
        fraud = (dice.random(300) < 0.1).astype(int)
        # With ties.
        scores = np.round(np.clip(dice.normal(0.3 + 0.2 * fraud, 0.2), 0, 1), 2)
        measured = measure(part([0] * 300, [f"c{at}" for at in range(300)], fraud), scores)
        pairs = scores[fraud == 1][:, None] - scores[fraud == 0][None, :]
        self.assertAlmostEqual(measured["auc"], np.mean((pairs > 0) + 0.5 * (pairs == 0)))
        average = 0.0
        for threshold in np.unique(scores[fraud == 1]):
            called = scores >= threshold
            average += fraud[called].mean() * fraud[scores == threshold].sum() / fraud.sum()
        self.assertAlmostEqual(measured["average_precision"], average)


class CardPrecision(unittest.TestCase):
    def test_the_best_cards_of_each_day_are_called_and_found_ones_are_left_out_later(self):
        # Day 0: a (fraud) and b are called, c (fraud) is not. Day 1: a is blocked, so c (fraud) and d are called.
        days = [0, 0, 0, 1, 1, 1, 1]
        cards = ["a", "b", "c", "a", "c", "d", "e"]
        fraud = [1, 0, 1, 1, 1, 0, 1]
        scores = np.array([0.9, 0.8, 0.7, 0.99, 0.9, 0.8, 0.1])
        these = part(days, cards, fraud)
        self.assertAlmostEqual(card_precision(these.rows, these.fraud, scores, 2), (1 / 2 + 1 / 2) / 2)

    def test_a_card_has_its_highest_score_and_any_fraud_of_the_day(self):
        # Card a: fraud in one transaction, the highest score in another.
        these = part([0, 0, 0], ["a", "a", "b"], [1, 0, 0])
        self.assertEqual(card_precision(these.rows, these.fraud, np.array([0.1, 0.9, 0.5]), 1), 1)

    def test_the_number_of_calls_divides_even_where_there_are_fewer_cards(self):
        these = part([0, 0], ["a", "b"], [1, 0])
        self.assertAlmostEqual(card_precision(these.rows, these.fraud, np.array([0.9, 0.1]), 100), 0.01)
        self.assertAlmostEqual(best_card_precision(these), 0.01)

    def test_the_day_ends_at_midnight(self):
        time = pd.to_datetime(["2026-01-01T23:59:59.999999Z", "2026-01-02T00:00:00Z"], format="ISO8601")
        rows = pd.DataFrame({"event_time": time, "card_id": ["a", "b"]})
        # One call a day finds both, as they are on two days.
        self.assertEqual(card_precision(rows, np.array([1, 1]), np.array([0.5, 0.9]), 1), 1)


if __name__ == "__main__":
    unittest.main()
