"""The kinds of models: how each is fitted, converted to ONNX, and what it says of its inputs.

Every kind ends in the same form: one tensor of 32-bit floats `[rows, inputs]` in, the probabilities of both classes
`[rows, 2]` out. A converted model is compared with the library that trained it before anything is written.
"""

import re
import warnings
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from threadpoolctl import threadpool_limits

from problem import Problem

SEED = 20260101
INPUT = "input"
OUTPUT = "probabilities"
OPSETS = {"": 15, "ai.onnx.ml": 3}

# How far ONNX Runtime may be from the library that trained the model.
CONVERSION_TOLERANCE = 1e-5

# A bundle is kept in the policy's repository.
MODEL_BYTES_MAX = 10_000_000


@dataclass
class Kind:
    title: str  # of a description
    trees: int  # by default; 0 for those without
    depth: int
    fit: callable
    convert: callable
    fill: callable  # values of the training part -> what stands for a missing value
    library: str


@dataclass
class Trained:
    kind: Kind
    content: bytes  # model.onnx
    session: onnxruntime.InferenceSession
    settings: str  # for people
    weights: np.ndarray | None  # what the library thinks each input is worth, adding up to 1
    difference: float  # from the library, at most, on the test part

    def __call__(self, x):
        """The probability of fraud as the converted model gives it, before calibration. Sums of 32-bit numbers end a
        little outside of 0 and 1; Tollgate cuts there as well."""
        return np.clip(self.session.run([OUTPUT], {INPUT: x})[0][:, 1].astype(np.float64), 0, 1)


def train(name, parts, options):
    kind = KINDS[name]
    trees, depth = options.trees or kind.trees, options.depth or kind.depth
    # More threads add up in another order, and end in other bytes.
    with threadpool_limits(1):
        model, settings = kind.fit(parts.train.x, parts.train.fraud, trees, depth, options)
        library = model.predict_proba(parts.test.x)[:, 1]
    content = convert(kind, model, parts.train.x.shape[1])
    session = onnxruntime.InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
    trained = Trained(kind, content, session, settings, weights(model), 0.0)
    trained.difference = float(np.abs(trained(parts.test.x) - library).max())
    if trained.difference > CONVERSION_TOLERANCE:
        raise Problem(
            f"ONNX Runtime differs from {kind.library} by {trained.difference:.2e} on the test rows (at most "
            f"{CONVERSION_TOLERANCE:g} is taken): the conversion is wrong; check the versions in requirements.txt"
        )
    return trained


def convert(kind, model, width):
    converted = kind.convert(model, width)
    onnx.checker.check_model(converted)
    content = converted.SerializeToString(deterministic=True)
    if len(content) > MODEL_BYTES_MAX:
        raise Problem(f"the model is {len(content)} bytes, at most {MODEL_BYTES_MAX}: use fewer or shallower trees")
    return content


def session_options():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return options


def weights(model):
    """Shares of the gain of trees' splits; of a logistic regression, of its coefficients' sizes on scaled inputs."""
    last = model[-1] if hasattr(model, "steps") else model
    worth = getattr(last, "feature_importances_", None)
    if worth is None and hasattr(last, "coef_"):
        worth = np.abs(last.coef_[0])
    if worth is None or not np.sum(worth) > 0:
        return None
    return np.asarray(worth, dtype=np.float64) / np.sum(worth)


def fill_beside(values):
    """A value no transaction has, where there is one that is plain: most features are never negative. Trees put it on
    a branch of its own."""
    lowest = np.min(np.where(np.isnan(values), np.inf, values), axis=0)
    return np.where(lowest >= 0, -1.0, 0.0)


def fill_median(values):
    """What says least to a model that multiplies and adds."""
    present = np.ma.masked_invalid(values)
    return np.ma.median(present, axis=0).filled(0.0)


def fit_xgboost(x, fraud, trees, depth, options):
    import xgboost

    model = xgboost.XGBClassifier(
        n_estimators=trees,
        max_depth=depth,
        learning_rate=options.learning_rate,
        min_child_weight=options.min_child_weight,
        subsample=options.subsample,
        colsample_bytree=options.subsample,
        reg_lambda=1.0,
        base_score=0.5 if options.start == "half" else None,
        tree_method="hist",
        n_jobs=1,
        random_state=SEED,
    )
    settings = f"XGBoost {xgboost.__version__}, {trees} trees of depth up to {depth}, {boosting(options)}"
    return model.fit(x, fraud), settings


def convert_xgboost(model, width):
    from onnxmltools import convert_xgboost as convert
    from onnxmltools.convert.common.data_types import FloatTensorType

    return convert(
        model, name="tollgate", initial_types=[(INPUT, FloatTensorType([None, width]))], target_opset=OPSETS[""]
    )


def fit_lightgbm(x, fraud, trees, depth, options):
    import lightgbm

    model = lightgbm.LGBMClassifier(
        n_estimators=trees,
        max_depth=depth,
        num_leaves=2**depth,
        learning_rate=options.learning_rate,
        min_child_samples=20,
        subsample=options.subsample,
        subsample_freq=1,
        colsample_bytree=options.subsample,
        importance_type="gain",
        deterministic=True,
        force_row_wise=True,
        n_jobs=1,
        random_state=SEED,
        verbose=-1,
    )
    settings = f"LightGBM {lightgbm.__version__}, {trees} trees of depth up to {depth}, {boosting(options)}"
    return model.fit(x, fraud), settings


def convert_lightgbm(model, width):
    from onnxmltools import convert_lightgbm as convert
    from onnxmltools.convert.common.data_types import FloatTensorType

    return convert(
        with_thresholds_of_32_bits(model.booster_),
        name="tollgate",
        initial_types=[(INPUT, FloatTensorType([None, width]))],
        target_opset=OPSETS[""],
        zipmap=False,
    )


def with_thresholds_of_32_bits(booster):
    """ONNX keeps thresholds in 32 bits. The nearest such number may be above the threshold, and a value between the two would
    change sides; the next one below changes nothing, as values have 32 bits themselves."""
    import lightgbm

    def below(text):
        threshold = float(text)
        nearest = np.float32(threshold)
        return repr(float(np.nextafter(nearest, np.float32(-np.inf)) if float(nearest) > threshold else nearest))

    def line(match):
        return "threshold=" + " ".join(below(text) for text in match[1].split())

    text = re.sub(r"^threshold=(.*)$", line, booster.model_to_string(), flags=re.MULTILINE)
    # The sizes of the trees' texts are not what they were; without them they are found by reading.
    return lightgbm.Booster(model_str=re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE))


def boosting(options):
    return f"learning rate {options.learning_rate:g}, {options.subsample:.0%} of rows and inputs per tree"


def fit_logistic(x, fraud, trees, depth, options):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return model.fit(x, fraud), f"scikit-learn {sklearn_version()}, logistic regression on scaled inputs"


def fit_forest(x, fraud, trees, depth, options):
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(n_estimators=trees, max_depth=depth, n_jobs=1, random_state=SEED)
    settings = f"scikit-learn {sklearn_version()}, random forest of {trees} trees of depth up to {depth}"
    return model.fit(x, fraud), settings


def fit_mlp(x, fraud, trees, depth, options):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    layers = (64, 64)
    network = MLPClassifier(layers, alpha=1e-3, batch_size=512, max_iter=20, early_stopping=True, random_state=SEED)
    settings = f"scikit-learn {sklearn_version()}, neural network with layers of {layers[0]} and {layers[1]} on scaled inputs"
    with warnings.catch_warnings():
        # It is meant to end after so many passes.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), network).fit(x, fraud), settings


def sklearn_version():
    import sklearn

    return sklearn.__version__


def convert_sklearn(model, width):
    from skl2onnx import convert_sklearn as convert
    from skl2onnx.common.data_types import FloatTensorType

    converted = convert(
        model,
        name="tollgate",
        initial_types=[(INPUT, FloatTensorType([None, width]))],
        options={id(model): {"zipmap": False}},
        target_opset=OPSETS,
    )
    return converted


KINDS = {
    "xgboost": Kind("Gradient-boosted trees.", 120, 5, fit_xgboost, convert_xgboost, fill_beside, "XGBoost"),
    "lightgbm": Kind("Gradient-boosted trees.", 120, 5, fit_lightgbm, convert_lightgbm, fill_beside, "LightGBM"),
    "logistic": Kind("A logistic regression.", 0, 0, fit_logistic, convert_sklearn, fill_median, "scikit-learn"),
    "forest": Kind("A random forest.", 100, 8, fit_forest, convert_sklearn, fill_beside, "scikit-learn"),
    "mlp": Kind("A neural network.", 0, 0, fit_mlp, convert_sklearn, fill_median, "scikit-learn"),
}
