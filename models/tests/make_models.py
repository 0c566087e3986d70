"""Makes the tiny models under models/tests/models; they are committed, so tests need no Python.

Each has known weights, so the tests compute what it must answer by themselves. Run it, with the packages of
training/requirements.txt, only to change or add a model:

    python3 models/tests/make_models.py
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent / "models"

# The logistic regression in all but `logit`: z = 0.5 x0 - 0.25 x1 + 1.5 x2 - 1.
WEIGHTS = np.array([[0.5], [-0.25], [1.5]], dtype=np.float32)
BIAS = np.array([-1.0], dtype=np.float32)

# The network in `logit`: z = 2 relu(x0 - x1) - relu(x2) + 0.5.
HIDDEN = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
OUT = np.array([[2.0], [-1.0]], dtype=np.float32)
OUT_BIAS = np.array([0.5], dtype=np.float32)


def save(name, nodes, outputs, constants=(), rows="N", width=3, element=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", element, [rows, width])],
        outputs,
        [numpy_helper.from_array(array, constant) for constant, array in constants],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="tollgate-tests")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, FOLDER / f"{name}.onnx")


def floats(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def pair():
    """Both classes' probabilities, and the label that nobody asks for, as scikit-learn's converter writes them."""
    weights = WEIGHTS[:, 0].tolist()
    classifier = helper.make_node(
        "LinearClassifier",
        ["input"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_ints=[0, 1],
        coefficients=[-w for w in weights] + weights,
        intercepts=[-float(BIAS[0]), float(BIAS[0])],
        multi_class=0,
        post_transform="LOGISTIC",
    )
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])
    save("pair", [classifier], [label, floats("probabilities", ["N", 2])])


def probability(name, rows):
    nodes = [
        helper.make_node("Gemm", ["input", "weights", "bias"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["probability"]),
    ]
    constants = [("weights", WEIGHTS), ("bias", BIAS)]
    save(name, nodes, [floats("probability", [rows, 1])], constants, rows)


def logit():
    """A network whose output has one axis only."""
    nodes = [
        helper.make_node("MatMul", ["input", "hidden"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "out", "out_bias"], ["z"]),
        helper.make_node("Squeeze", ["z", "axis"], ["logit"]),
    ]
    axis = np.array([1], dtype=np.int64)
    constants = [("hidden", HIDDEN), ("out", OUT), ("out_bias", OUT_BIAS), ("axis", axis)]
    save("logit", nodes, [floats("logit", ["N"])], constants)


def doubles():
    """Takes 64-bit floats, which Tollgate does not feed."""
    nodes = [helper.make_node("Cast", ["input"], ["output"], to=TensorProto.FLOAT)]
    save("doubles", nodes, [floats("output", ["N", 1])], width=1, element=TensorProto.DOUBLE)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    pair()
    probability("probability", "N")
    probability("one_row", 1)
    logit()
    doubles()
