"""Whole runs on a tiny table."""

import json
import unittest

from support import FEATURES, InFolder, history, write_table
import numpy as np
import onnxruntime
import yaml

from bundle import next_version, number, reason
from calibration import Isotonic, Platt
from estimators import KINDS
from feature_table import KNOWN_AT, read_table
from problem import Problem


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Runs(InFolder):
    def setUp(self):
        super().setUp()
        self.table = self.folder / "table.csv"
        self.frame, self.values = history()
        write_table(self.table, self.frame, self.values)

    def test_the_same_table_gives_the_same_bundle_byte_for_byte(self):
        for kind in KINDS:
            with self.subTest(kind):
                one, other = (self.train(self.table, f"{policy}-{kind}", "--model", kind) for policy in ("one", "other"))
                self.assertEqual(files(one), files(other))
                expected = {"model.onnx", "manifest.yaml", "golden.json", "model-card.md"}
                pictures = {f"model-card/{name}.svg" for name in ("calibration", "precision-recall", "scores")}
                self.assertEqual(set(files(one)), expected | pictures)

    def test_another_table_gives_another_bundle(self):
        one = self.train(self.table, "one")
        other_table = self.folder / "other.csv"
        write_table(other_table, *history(seed=2))
        other = self.train(other_table, "other")
        self.assertEqual([name for name in files(one) if files(one)[name] == files(other)[name]], [])

    def test_labels_that_became_known_later_change_nothing_but_the_test(self):
        one = self.train(self.table, "one")
        time = self.frame["event_time"]
        begin = time.iloc[-1] - (time.iloc[-1] - time.iloc[0]) * 0.25
        later = (self.frame[KNOWN_AT] > begin) & (time < begin)
        self.assertGreater(int(later.sum()), 0)
        # Had the later labels said that these were good, nobody could have told the difference then.
        self.frame.loc[later, "fraud"] = 0
        write_table(self.table, self.frame, self.values)
        other = self.train(self.table, "other")
        self.assertEqual(files(one)["model.onnx"], files(other)["model.onnx"])
        self.assertEqual(files(one)["golden.json"], files(other)["golden.json"])

    def test_versions_count_up_and_are_never_overwritten(self):
        first = self.train(self.table, "policy")
        before = files(first)
        second = self.train(self.table, "policy")
        self.assertEqual((first.name, second.name), ("1", "2"))
        with self.assertRaisesRegex(Problem, "never changed"):
            self.train(self.table, "policy", "--version", "1")
        self.assertEqual(files(first), before)
        named = yaml.safe_load((self.folder / "policy" / "models.yaml").read_text())
        self.assertEqual(named, {"challengers": ["m/1", "m/2"]})
        self.train(self.table, "policy", "--register", "champion")
        named = yaml.safe_load((self.folder / "policy" / "models.yaml").read_text())
        self.assertEqual(named, {"challengers": ["m/1", "m/2"], "champion": "m/3"})

    def test_what_is_required_and_not_reached_leaves_nothing(self):
        with self.assertRaisesRegex(Problem, "auc is 0"):
            self.train(self.table, "policy", "--require", "auc=0.9999")
        self.assertEqual(files(self.folder / "policy"), {})
        self.train(self.table, "policy", "--require", "auc=0.6")

    def test_a_manifest_says_everything_by_feature(self):
        for kind, calibration in (("xgboost", "isotonic"), ("logistic", "platt")):
            folder = self.train(self.table, kind, "--model", kind, "--calibration", calibration)
            manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
            self.assertEqual([entry["feature"] for entry in manifest["inputs"]], FEATURES)
            train = self.values[: int(manifest["trained"]["rows"])]
            for at, entry in enumerate(manifest["inputs"]):
                shares = [*entry["distribution"]["shares"], entry["distribution"]["missing"]]
                self.assertAlmostEqual(sum(shares), 1, delta=1e-9)
                self.assertAlmostEqual(shares[-1], np.isnan(train[:, at]).mean(), delta=2e-6)
                self.assertTrue(all(isinstance(edge, float) for edge in entry["distribution"]["edges"]))
                self.assertRegex(entry["reason"]["code"], "^MODEL_[A-Z]+$")
            amount, _, flag, age = manifest["inputs"]
            self.assertAlmostEqual(amount["baseline"], np.median(train[:, 0]), delta=0.01)
            self.assertIn(flag["baseline"], (0, 1))
            self.assertEqual(age["baseline"], age["missing"], "most rows have none")
            self.assertAlmostEqual(sum(manifest["score_distribution"]["shares"]), 1, delta=1e-9)
            self.assertEqual(list(manifest["calibration"]), [calibration])

    def test_golden_rows_cover_what_is_missing_and_the_extremes_and_come_out_as_recorded(self):
        for calibration in ("isotonic", "platt"):
            folder = self.train(self.table, calibration, "--calibration", calibration)
            manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
            golden = json.loads((folder / "golden.json").read_text())
            rows = np.array([row["inputs"] for row in golden["rows"]], dtype=np.float32)
            self.assertTrue(np.isnan(rows).any(axis=0).all(), "every input is missing somewhere")
            self.assertTrue(np.isnan(rows).all(axis=1).any(), "nothing at all is there somewhere")
            train = self.values[: manifest["trained"]["rows"]].astype(np.float32)
            for extreme in (np.nanmin(train, axis=0), np.nanmax(train, axis=0)):
                self.assertTrue((rows == extreme).all(axis=1).any(), extreme)
            fill = np.array([entry["missing"] for entry in manifest["inputs"]], dtype=np.float32)
            session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
            filled = np.where(np.isnan(rows), fill, rows)
            output = session.run([manifest["output"]["name"]], {manifest["tensor"]: filled})[0][:, 1].astype(float)
            points = manifest["calibration"][calibration]
            curve = Platt(**points) if calibration == "platt" else Isotonic(points["outputs"], points["scores"])
            recorded = [row["score"] for row in golden["rows"]]
            self.assertLess(np.abs(curve(output) - recorded).max(), golden["tolerance"])
            self.assertGreater(max(recorded) - min(recorded), 0.3, "the rows cover the range of scores")

    def test_the_card_has_every_metric_of_the_manifest(self):
        folder = self.train(self.table, "policy")
        card = (folder / "model-card.md").read_text()
        metrics = yaml.safe_load((folder / "manifest.yaml").read_text())["metrics"]
        for name in ("auc", "average_precision", "card_precision_100"):
            for suffix in ("", "_before_calibration"):
                self.assertIn(f"{metrics[name + suffix]:.4f}", card)
        for feature in FEATURES:
            self.assertIn(f"`{feature}`", card)
        for picture in ("calibration", "precision-recall", "scores"):
            self.assertIn(f"(model-card/{picture}.svg)", card)
            self.assertIn(b"<svg", files(folder)[f"model-card/{picture}.svg"])


class Tables(InFolder):
    def test_a_table_is_read_to_the_last_digit_and_in_order_of_time(self):
        frame, values = history(200)
        values[3, 0] = 0.1 + 0.2
        path = self.folder / "table.csv"
        shuffled = np.random.default_rng(1).permutation(200)
        write_table(path, frame.iloc[shuffled].reset_index(drop=True), values[shuffled])
        found = read_table(path)
        self.assertEqual(list(found.rows["event_time"]), sorted(frame["event_time"]))
        self.assertTrue(np.array_equal(found.values, values, equal_nan=True))
        self.assertEqual(list(found.rows[KNOWN_AT].isna()), list(frame["fraud"] == 0))
        self.assertIsNone(found.unsettled_from)

    def test_rows_without_a_label_say_from_when_on_it_is_unsettled(self):
        frame, values = history(200)
        frame["fraud"] = frame["fraud"].where(frame.index < 150).astype("Int64")
        path = self.folder / "table.csv"
        write_table(path, frame, values)
        found = read_table(path)
        self.assertEqual(len(found.rows), 150)
        self.assertEqual(found.unsettled_from, frame["event_time"].iloc[150])

    def test_what_does_not_fit_is_said(self):
        frame, values = history(50)
        path = self.folder / "table.csv"
        write_table(path, frame, values)
        with self.assertRaisesRegex(Problem, "--exclude names"):
            read_table(path, exclude=["amuont"])
        self.assertEqual(read_table(path, exclude=["pace"]).features, ["amount", "flag", "age"])
        text = path.read_text()
        path.write_text(text.replace("pace", "peace", 1))
        with self.assertRaisesRegex(Problem, "has the columns"):
            read_table(path)
        path.write_text(text.replace("\nt00000,", "\nt00000,soon", 1))
        with self.assertRaisesRegex(Problem, "RFC 3339"):
            read_table(path)
        with self.assertRaisesRegex(Problem, "cannot read"):
            read_table(self.folder / "none.csv")


class Text(InFolder):
    def test_numbers_read_back_the_same_in_yaml_and_json(self):
        for value in (0.1, 1e-7, 1.5e-9, -1.0, 1e22, 123456.789, 5e-324):
            self.assertEqual(yaml.safe_load(number(value)), value)
            self.assertEqual(json.loads(number(value)), value)

    def test_versions_count_up_by_number(self):
        self.assertEqual(next_version(self.folder / "none"), "1")
        for name in ("1", "9", "10", "draft", "2.1"):
            (self.folder / name).mkdir()
        self.assertEqual(next_version(self.folder), "11")

    def test_features_without_a_reason_get_one_made_of_their_name(self):
        self.assertEqual(reason({}, "card_count.1h")[0], "MODEL_CARD_COUNT_1H")
        self.assertEqual(reason({"a": ("CODE", "Text.")}, "a"), ("CODE", "Text."))


if __name__ == "__main__":
    unittest.main()
