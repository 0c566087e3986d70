"""Makes slow.onnx, a model that takes as long as it is told; it is committed, so tests need no Python.

Its one input, the amount, is how many times a loop goes round, about a microsecond each. It always answers 0.25. Run it, with
the packages of training/requirements.txt, only to change the model:

    python3 scorer/tests/models/make_slow.py
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def scalar(name, kind, shape=()):
    return helper.make_tensor_value_info(name, kind, shape)


def body():
    """x becomes 0.5 - x, so 0.25 stays what it is and the loop cannot be optimised away."""
    return helper.make_graph(
        [
            helper.make_node("Sub", ["half", "x_in"], ["x_out"]),
            helper.make_node("Identity", ["go_on_in"], ["go_on_out"]),
        ],
        "body",
        [scalar("round", TensorProto.INT64), scalar("go_on_in", TensorProto.BOOL), scalar("x_in", TensorProto.FLOAT)],
        [scalar("go_on_out", TensorProto.BOOL), scalar("x_out", TensorProto.FLOAT)],
    )


def main():
    constants = {
        "half": np.array(0.5, dtype=np.float32),
        "quarter": np.array(0.25, dtype=np.float32),
        "zero": np.array(0.0, dtype=np.float32),
        "go_on": np.array(True),
    }
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["rounds"], to=TensorProto.INT64),
        helper.make_node("Loop", ["rounds", "go_on", "quarter"], ["x"], body=body()),
        helper.make_node("Mul", ["input", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "x"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="tollgate-tests")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, Path(__file__).parent / "slow.onnx")


if __name__ == "__main__":
    main()
