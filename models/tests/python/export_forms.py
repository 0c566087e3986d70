"""Exports a model in every form that Tollgate takes, each with the real exporter, as a bundle.

A bundle's golden rows are what the library itself predicts, missing values included where it takes them, so opening the
bundle compares ONNX Runtime with the library on every row, alone and in a batch.

    python3 export_forms.py FOLDER [--rows 300] [--trees 40]

`models/tests/exported` has them with `--rows 12 --trees 4`, so that tests need no Python.
"""

import argparse
import hashlib
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import pandas as pd
import xgboost
from onnx import TensorProto, helper, numpy_helper
from onnxmltools.convert import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as XgboostFloats
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm as lightgbm_node
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as xgboost_node
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

NUMBERS = ["amount", "count", "age", "ratio"]
TEXTS = ["channel", "country"]
TRAINING_ROWS = 2000
OPSET = {"": 17, "ai.onnx.ml": 3}
ZIPMAP = {"zipmap": True}
PLAIN = {"zipmap": False}


def table(rows, seed):
    """Transactions of no meaning. All numbers are 32-bit floats, as ONNX has them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "amount": random.lognormal(3, 1, rows).astype(np.float32),
        "count": random.poisson(3, rows).astype(np.float32),
        "age": random.uniform(0, 50, rows).astype(np.float32),
        "ratio": random.normal(0, 1, rows).astype(np.float32),
        "channel": random.choice(["app", "web", "card_present"], rows),
        "country": random.choice(["FR", "US", "Ελλάδα"], rows),
    })
    log_odds = frame["ratio"] + 0.3 * frame["count"] - 0.05 * frame["age"] + (frame["channel"] == "web")
    label = (random.uniform(0, 1, rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    return frame, label.to_numpy()


def with_gaps(frame):
    """The same with a fifth of its numbers missing."""
    random = np.random.default_rng(7)
    gaps = frame.copy()
    for name in NUMBERS:
        gaps.loc[random.uniform(0, 1, len(frame)) < 0.2, name] = np.float32(np.nan)
    return gaps


@dataclass
class Form:
    model: onnx.ModelProto
    scores: np.ndarray
    frame: pd.DataFrame
    output: str
    kind: str
    inputs: list = field(default_factory=lambda: list(NUMBERS))
    tensors: dict = field(default_factory=dict)
    tensor: str = "input"
    calibration: str = ""
    missing: str = "nan"


class Exporter:
    def __init__(self, rows, trees):
        self.trees = trees
        self.train, self.label = table(TRAINING_ROWS, 1)
        self.test, _ = table(rows, 2)
        self.train_gaps, self.test_gaps = with_gaps(self.train), with_gaps(self.test)

    # Boosted trees, with missing values.

    def xgboost(self):
        model = xgboost.XGBClassifier(n_estimators=self.trees, max_depth=4, n_jobs=1)
        model.fit(self.train_gaps[NUMBERS].to_numpy(), self.label)
        onnx_model = convert_xgboost(model, initial_types=[("input", XgboostFloats([None, 4]))], target_opset=15)
        scores = model.predict_proba(self.test_gaps[NUMBERS].to_numpy())[:, 1]
        return Form(onnx_model, scores, self.test_gaps, "probabilities", "probability_pair")

    def xgboost_regressor(self):
        model = xgboost.XGBRegressor(n_estimators=self.trees, max_depth=3, objective="reg:squarederror", n_jobs=1)
        model.fit(self.train_gaps[NUMBERS].to_numpy(), self.label * 0.5 + 0.25)
        onnx_model = convert_xgboost(model, initial_types=[("input", XgboostFloats([None, 4]))], target_opset=15)
        scores = model.predict(self.test_gaps[NUMBERS].to_numpy())
        return Form(onnx_model, scores, self.test_gaps, "variable", "probability")

    def lightgbm(self, zipmap):
        model = lightgbm.LGBMClassifier(n_estimators=self.trees, num_leaves=15, n_jobs=1, verbose=-1)
        model.fit(self.train_gaps[NUMBERS].to_numpy(), self.label)
        onnx_model = convert_lightgbm(
            model, initial_types=[("input", XgboostFloats([None, 4]))], zipmap=zipmap, target_opset=15
        )
        scores = model.predict_proba(self.test_gaps[NUMBERS].to_numpy())[:, 1]
        return Form(onnx_model, scores, self.test_gaps, "probabilities", "probability_pair")

    def lightgbm_zipmap(self):
        return self.lightgbm(True)

    def lightgbm_plain(self):
        return self.lightgbm(False)

    def forest_with_filled_gaps(self):
        """skl2onnx does not write down which way a tree sends what is missing, so gaps are filled before."""
        return self.sklearn(RandomForestClassifier(self.trees, max_depth=6), gaps=True)

    # What scikit-learn exports.

    def sklearn(self, model, shape=(None, 4), kind=FloatTensorType, options=PLAIN, gaps=False):
        train, test = (self.train_gaps, self.test_gaps) if gaps else (self.train, self.test)
        element = np.float64 if kind is DoubleTensorType else np.float32
        values = lambda frame: frame[NUMBERS].fillna(-1).to_numpy().astype(element)
        model.fit(values(train), self.label)
        options = {id(model): options} if options else None
        onnx_model = to_onnx(
            model, initial_types=[("input", kind(list(shape)))], options=options, target_opset=OPSET
        )
        scores = model.predict_proba(values(test))[:, 1]
        missing = "-1" if gaps else "0"
        output = onnx_model.graph.output[1].name
        return Form(onnx_model, scores, test, output, "probability_pair", missing=missing)

    def forest_zipmap(self):
        return self.sklearn(RandomForestClassifier(self.trees, max_depth=6, n_jobs=1), options=ZIPMAP)

    def forest(self):
        return self.sklearn(RandomForestClassifier(self.trees, max_depth=6, n_jobs=1))

    def forest_columns(self):
        """A tensor of its own for each class, of shape [N]."""
        form = self.sklearn(RandomForestClassifier(self.trees, max_depth=6), options={"zipmap": "columns"})
        form.output, form.kind = form.model.graph.output[2].name, "probability"
        return form

    def forest_of_one_row(self):
        return self.sklearn(RandomForestClassifier(self.trees, max_depth=6), shape=(1, 4))

    def forest_of_any_width(self):
        return self.sklearn(RandomForestClassifier(self.trees, max_depth=6), shape=(None, None))

    def forest_of_named_classes(self):
        """The class that sorts last is the one that counts."""
        model = ExtraTreesClassifier(self.trees, max_depth=6, n_jobs=1)
        model.fit(self.train[NUMBERS].to_numpy(), np.where(self.label == 1, "stolen", "genuine"))
        onnx_model = to_onnx(model, initial_types=[("input", FloatTensorType([None, 4]))], target_opset=OPSET)
        scores = model.predict_proba(self.test[NUMBERS].to_numpy())[:, 1]
        output = onnx_model.graph.output[1].name
        return Form(onnx_model, scores, self.test, output, "probability_pair", missing="0")

    def gradient_boosting(self):
        return self.sklearn(GradientBoostingClassifier(n_estimators=self.trees))

    def logistic(self):
        return self.sklearn(LogisticRegression(max_iter=1000))

    def logistic_of_doubles(self):
        return self.sklearn(LogisticRegression(max_iter=1000), kind=DoubleTensorType)

    def logistic_raw(self):
        """The log-odds of both classes."""
        form = self.sklearn(LogisticRegression(max_iter=1000), options={"zipmap": False, "raw_scores": True})
        # Of two classes, only the second column has them with the right sign; a model of one value is made of it.
        graph = form.model.graph
        picked = numpy_helper.from_array(np.array([1], dtype=np.int64), "second")
        graph.initializer.append(picked)
        graph.node.append(helper.make_node("Gather", ["probabilities", "second"], ["log_odds"], axis=1))
        graph.output.append(helper.make_tensor_value_info("log_odds", TensorProto.FLOAT, [None, 1]))
        form.output, form.kind = "log_odds", "logit"
        return form

    def network(self):
        return self.sklearn(make_pipeline(StandardScaler(), MLPClassifier((16, 8), max_iter=60)), options=None)

    def network_of_doubles(self):
        model = make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=60))
        return self.sklearn(model, kind=DoubleTensorType)

    def calibrated(self):
        return self.sklearn(CalibratedClassifierCV(LogisticRegression(max_iter=1000), cv=2))

    def calibrated_by_the_manifest(self):
        form = self.sklearn(RandomForestClassifier(self.trees, max_depth=3))
        curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        model = RandomForestClassifier(self.trees, max_depth=3, random_state=1)
        model.fit(self.train[NUMBERS].to_numpy(), self.label)
        curve.fit(model.predict_proba(self.train[NUMBERS].to_numpy())[:, 1], self.label)
        points = np.linspace(0.2, 0.8, 7)
        scores = curve.predict(points).astype(np.float64)
        form.calibration = f"{{ isotonic: {{ outputs: {points.tolist()}, scores: {scores.tolist()} }} }}"
        form.scores = np.interp(form.scores.astype(np.float64), points, scores)
        return form

    # Pipelines: texts, several tensors, whole numbers and flags.

    def pipeline(self, classifier, separate, scaler="passthrough"):
        """Trees are given numbers as they are: a scaler computes in 64 bits in scikit-learn and in 32 bits in ONNX, and
        what is rounded otherwise may go the other way in a tree."""
        prepare = ColumnTransformer([
            ("numbers", scaler, NUMBERS),
            ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
        ])
        model = make_pipeline(prepare, classifier)
        model.fit(self.train, self.label)
        test = self.test.copy()
        # Neither was there in training.
        test.loc[test.index[:3], "country"] = ["", "XX", "somewhere far away"]
        types = [(name, FloatTensorType([None, 1])) for name in NUMBERS]
        types += [(name, StringTensorType([None, 1])) for name in TEXTS]
        onnx_model = to_onnx(model, initial_types=types, options={id(model): PLAIN}, target_opset=OPSET)
        scores = model.predict_proba(test)[:, 1]
        inputs = NUMBERS + TEXTS if separate else TEXTS + NUMBERS
        return Form(
            onnx_model, scores, test, "probabilities", "probability_pair", inputs=inputs,
            tensors={name: name for name in inputs}, tensor="", missing="0",
        )

    def pipeline_of_columns(self):
        return self.pipeline(LogisticRegression(max_iter=1000), True, StandardScaler())

    def pipeline_in_another_order(self):
        return self.pipeline(RandomForestClassifier(self.trees, max_depth=6), False)

    def pipeline_with_xgboost(self):
        update_registered_converter(
            xgboost.XGBClassifier, "XGBoostXGBClassifier", calculate_linear_classifier_output_shapes, xgboost_node,
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        )
        return self.pipeline(xgboost.XGBClassifier(n_estimators=self.trees, max_depth=3, n_jobs=1), True)

    def pipeline_with_lightgbm(self):
        update_registered_converter(
            lightgbm.LGBMClassifier, "LightGbmLGBMClassifier", calculate_linear_classifier_output_shapes, lightgbm_node,
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        )
        return self.pipeline(lightgbm.LGBMClassifier(n_estimators=self.trees, n_jobs=1, verbose=-1), True)

    def pipeline_of_two_tensors(self):
        """All numbers in one, all texts in another."""
        prepare = ColumnTransformer([
            ("numbers", MinMaxScaler(), [0, 1, 2, 3]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), [4, 5]),
        ])
        model = make_pipeline(prepare, LogisticRegression(max_iter=1000))
        model.fit(self.train[NUMBERS + TEXTS].to_numpy(), self.label)
        types = [("numbers", FloatTensorType([None, 4])), ("texts", StringTensorType([None, 2]))]
        onnx_model = to_onnx(model, initial_types=types, options={id(model): PLAIN}, target_opset=OPSET)
        scores = model.predict_proba(self.test[NUMBERS + TEXTS].to_numpy())[:, 1]
        tensors = {name: "numbers" for name in NUMBERS} | {name: "texts" for name in TEXTS}
        return Form(
            onnx_model, scores, self.test, "probabilities", "probability_pair", inputs=NUMBERS + TEXTS,
            tensors=tensors, tensor="", missing="0",
        )

    def of_type(self, kind, element):
        model = RandomForestClassifier(self.trees, max_depth=5)
        cut = lambda frame: frame[NUMBERS].to_numpy().astype(element).astype(np.float32)
        model.fit(cut(self.train), self.label)
        onnx_model = to_onnx(
            model, initial_types=[("input", kind([None, 4]))], options={id(model): PLAIN}, target_opset=OPSET
        )
        return Form(
            onnx_model, model.predict_proba(cut(self.test))[:, 1], self.test, "probabilities", "probability_pair",
            missing="0",
        )

    def forest_of_whole_numbers(self):
        return self.of_type(Int64TensorType, np.int64)

    def forest_of_flags(self):
        return self.of_type(BooleanTensorType, bool)

    # Networks as frameworks write them, node by node.

    def hand_written(self, element, output_axes, sigmoid):
        random = np.random.default_rng(3)
        kind = np.float32 if element == TensorProto.FLOAT else np.float64
        hidden, out = random.normal(0, 0.02, (4, 16)).astype(kind), random.normal(0, 0.3, (16, 1)).astype(kind)
        nodes = [
            helper.make_node("Gemm", ["input", "w1"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "w2"], ["z"]),
            helper.make_node("Tanh", ["z"], ["t"]),
        ]
        last = "t"
        if output_axes == 1:
            nodes.append(helper.make_node("Reshape", [last, "flat"], ["s"]))
            last = "s"
        if sigmoid:
            nodes.append(helper.make_node("Sigmoid", [last], ["p"]))
            last = "p"
        graph = helper.make_graph(
            nodes, "network",
            [helper.make_tensor_value_info("input", element, ["batch", 4])],
            [helper.make_tensor_value_info(last, element, ["batch", 1][:output_axes])],
            [numpy_helper.from_array(hidden, "w1"), numpy_helper.from_array(out, "w2"),
             numpy_helper.from_array(np.array([-1], dtype=np.int64), "flat")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        values = self.test[NUMBERS].to_numpy().astype(kind)
        log_odds = np.tanh(np.maximum(values @ hidden, 0) @ out)[:, 0]
        scores = 1 / (1 + np.exp(-log_odds.astype(np.float64)))
        return Form(model, scores, self.test, last, "probability" if sigmoid else "logit", missing="0")

    def network_of_one_axis(self):
        return self.hand_written(TensorProto.FLOAT, 1, True)

    def network_of_logits(self):
        return self.hand_written(TensorProto.FLOAT, 2, False)

    def network_of_double_logits(self):
        return self.hand_written(TensorProto.DOUBLE, 1, False)


FORMS = [
    name for name, method in vars(Exporter).items()
    if callable(method) and method.__code__.co_argcount == 1
]


def write(folder, name, form):
    """The bundle of a form."""
    folder.mkdir(parents=True, exist_ok=True)
    content = form.model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    lines = "".join(f"{name}: {name}\n" for name in form.inputs)
    manifest = [
        f"name: {name.replace('_', '-')}",
        'version: "1"',
        f"model_sha256: {hashlib.sha256(content).hexdigest()}",
        f"features_sha256: {hashlib.sha256(lines.encode()).hexdigest()}",
        "inputs:",
    ]
    for feature in form.inputs:
        keys = [f"feature: {feature}"]
        keys.append("type: text" if feature in TEXTS else f"missing: {form.missing}")
        if feature in form.tensors:
            keys.append(f"tensor: {form.tensors[feature]}")
        manifest.append(f"  - {{ {', '.join(keys)} }}")
    if form.tensor:
        manifest.append(f"tensor: {form.tensor}")
    manifest.append(f"output: {{ name: {form.output}, kind: {form.kind} }}")
    if form.calibration:
        manifest.append(f"calibration: {form.calibration}")
    (folder / "manifest.yaml").write_text("\n".join(manifest) + "\n")
    (folder / "model-card.md").write_text(f"# {name}\n\nExported by models/tests/python/export_forms.py for tests.\n")
    values = form.frame[form.inputs].astype(object).where(form.frame[form.inputs].notna(), None)
    rows = [
        json.dumps({"inputs": [v if v is None or isinstance(v, str) else float(v) for v in row], "score": float(score)})
        for row, score in zip(values.itertuples(index=False), form.scores)
    ]
    (folder / "golden.json").write_text('{"tolerance": 1e-5, "rows": [\n' + ",\n".join(rows) + "\n]}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--trees", type=int, default=40)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    np.random.seed(1)
    exporter = Exporter(arguments.rows, arguments.trees)
    for name in FORMS:
        write(arguments.folder / name, name, getattr(exporter, name)())
    print(f"exported {len(FORMS)} forms to {arguments.folder}")


if __name__ == "__main__":
    main()
