import unittest

from support import BEGIN, DAY, history, table
import numpy as np
import pandas as pd

from estimators import fill_beside, fill_median
from feature_table import KNOWN_AT, TIME
from problem import Problem
from split import Period, Periods, parse_period, periods_by_share, split

DELAY = 7 * DAY


def by_share(these, **options):
    return split(these, periods_by_share(these, DELAY, 0.25, 0.2), DELAY, fill_beside, **options)


class Time(unittest.TestCase):
    def test_parts_follow_each_other_with_the_label_delay_before_the_test(self):
        frame, values = history()
        these = table(frame, values)
        periods = periods_by_share(these, DELAY, 0.25, 0.2)
        parts = by_share(these)
        self.assertLess(parts.train.last, parts.calibration.first)
        self.assertLessEqual(parts.calibration.last + DELAY, periods.test.begin)
        self.assertGreaterEqual(parts.test.first, periods.test.begin)
        self.assertEqual(parts.test.last, frame["event_time"].iloc[-1])
        ids = [set(part.rows["transaction_id"]) for part in (parts.train, parts.calibration, parts.test)]
        self.assertEqual(sum(map(len, ids)), len(set().union(*ids)), "a transaction is in one part only")

    def test_a_period_has_its_beginning_and_not_its_end(self):
        period = parse_period("2018-07-25..2018-08-01")
        for text, inside in (("2018-07-24T23:59:59.999999", 0), ("2018-07-25", 1), ("2018-08-01", 0)):
            self.assertEqual(bool(period.has(pd.Timestamp(text, tz="UTC"))), bool(inside), text)
        for wrong in ("2018-07-25", "2018-08-01..2018-07-25", "a..b"):
            self.assertRaises(ValueError, parse_period, wrong)

    def test_periods_that_would_leak_are_refused(self):
        these = table(*history())

        def periods(train, calibration, test):
            return Periods(*(Period(BEGIN + begin * DAY, BEGIN + end * DAY) for begin, end in (train, calibration, test)))

        for wrong, why in (
            (periods((0, 15), (14, 20), (27, 40)), "overlap"),
            (periods((0, 15), (15, 21), (27, 40)), "calibration ends"),
            (periods((10, 21), (0, 10), (27, 40)), "training ends"),
        ):
            with self.assertRaisesRegex(Problem, why):
                split(these, wrong, DELAY, fill_beside)
        split(these, periods((10, 20), (0, 10), (27, 40)), DELAY, fill_beside)

    def test_too_little_fraud_is_refused(self):
        frame, values = history()
        frame["fraud"] = np.where(np.arange(len(frame)) < 2000, frame["fraud"], 0)
        with self.assertRaisesRegex(Problem, "the test part has 0 frauds"):
            by_share(table(frame, values))


class Labels(unittest.TestCase):
    def test_fraud_that_was_not_known_when_the_model_was_made_counts_as_good(self):
        frame, values = history()
        these = table(frame, values)
        moment = periods_by_share(these, DELAY, 0.25, 0.2).test.begin
        parts = by_share(these)
        for part in (parts.train, parts.calibration):
            known = (part.rows["fraud"] == 1) & (part.rows[KNOWN_AT] <= moment)
            self.assertEqual(list(part.fraud), list(known.astype(int)))
            self.assertEqual(part.not_yet_known, int(part.rows["fraud"].sum() - known.sum()))
        # The history has what this is about.
        self.assertGreater(parts.calibration.not_yet_known, 0)
        self.assertEqual(list(parts.test.fraud), list(parts.test.rows["fraud"]), "the test knows how it ended")

    def test_nothing_that_became_known_later_changes_what_a_model_is_made_of(self):
        frame, values = history()
        these = table(frame, values)
        moment = periods_by_share(these, DELAY, 0.25, 0.2).test.begin
        parts = by_share(these)
        other = frame.copy()
        later = (other[KNOWN_AT] > moment) & (other["event_time"] < moment)
        self.assertGreater(int(later.sum()), 0)
        other.loc[later, "fraud"] = 0
        others = by_share(table(other, values))
        for part, same in ((parts.train, others.train), (parts.calibration, others.calibration)):
            self.assertTrue(np.array_equal(part.fraud, same.fraud))
            self.assertTrue(np.array_equal(part.x, same.x))

    def test_without_times_of_labels_fraud_takes_the_usual_time(self):
        frame, values = history()
        frame[KNOWN_AT] = pd.Series(pd.NaT, index=frame.index, dtype=TIME)
        parts = by_share(table(frame, values))
        self.assertEqual(parts.calibration.not_yet_known, 0)
        self.assertEqual(list(parts.calibration.fraud), list(parts.calibration.rows["fraud"]))

    def test_the_test_ends_where_transactions_may_still_turn_out_either_way(self):
        frame, values = history()
        unsettled_from = BEGIN + 36 * DAY
        parts = by_share(table(frame, values, unsettled_from))
        self.assertLess(parts.test.last, unsettled_from)
        self.assertGreater(parts.test.last, unsettled_from - DAY)


class Cards(unittest.TestCase):
    def test_cards_known_to_be_compromised_before_the_day_are_not_tested(self):
        frame, values = history()
        these = table(frame, values)
        periods = periods_by_share(these, DELAY, 0.25, 0.2)
        everything, fewer = by_share(these), by_share(these, drop_known_cards=True)
        kept = set(fewer.test.rows["transaction_id"])
        for row in everything.test.rows.itertuples():
            of_card = (frame["card_id"] == row.card_id) & (frame["fraud"] == 1)
            known = of_card & (frame["event_time"] >= periods.train.begin)
            known &= frame[KNOWN_AT] < row.event_time.floor("D")
            self.assertEqual(row.transaction_id in kept, not known.any(), row)
        self.assertEqual(fewer.test.left_out, len(everything.test.rows) - len(kept))
        self.assertGreater(fewer.test.left_out, 0)
        self.assertEqual(len(fewer.train.rows), len(everything.train.rows))

    def test_as_the_handbook_counts_days(self):
        # Known after seven days: a fraud of any time on day 0 blocks the card from day 8 on.
        time = [BEGIN + hour * pd.Timedelta(hours=1) for hour in (0, 23)]
        time += [BEGIN + (7 + day) * DAY for day in (0, 1)] * 2
        frame = pd.DataFrame(
            {
                "transaction_id": [f"t{at}" for at in range(6)],
                "event_time": time,
                "card_id": ["a", "b", "a", "a", "b", "b"],
                "fraud": [1, 1, 0, 0, 0, 0],
                KNOWN_AT: pd.NaT,
            }
        )
        from split import known_cards

        periods = Periods(Period(BEGIN, BEGIN + DAY), Period(BEGIN - DAY, BEGIN), Period(BEGIN + 7 * DAY, BEGIN + 9 * DAY))
        these = table(frame, np.zeros((6, 4)))
        known = known_cards(these, periods, frame["event_time"] + DELAY)
        self.assertEqual(list(known), [False, False, False, True, False, True])


class Fill(unittest.TestCase):
    def test_trees_get_a_value_that_nobody_has_and_others_the_median_of_training(self):
        values = np.array([[1.0, -2.0, np.nan], [3.0, np.nan, np.nan], [8.0, 4.0, np.nan]])
        self.assertEqual(list(fill_beside(values)), [-1, 0, -1])
        self.assertEqual(list(fill_median(values)), [3, 1, 0])

    def test_it_is_found_in_the_training_part_alone(self):
        frame, values = history()
        other = values.copy()
        other[-500:, 0] = -5.0
        self.assertEqual(by_share(table(frame, values)).fill[0], -1)
        self.assertEqual(by_share(table(frame, other)).fill[0], -1)
        other[:500, 0] = -5.0
        self.assertEqual(by_share(table(frame, other)).fill[0], 0)


if __name__ == "__main__":
    unittest.main()
