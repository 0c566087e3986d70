"""Makes the bundles that benches and load runs need, always the same ones.

What is in them follows from fixed seeds, and what they must answer is computed here without ONNX Runtime, so that every
load of such a bundle compares the two.

    models.py bench --out FOLDER
        two ensembles of full trees and a network, over thirty numbers
    models.py swaps --policy FOLDER --versions 100
        as many versions of the model `swap`, on the features of the policy's own model, and what they are made of
    models.py stuck --policy FOLDER
        the model `stuck`, which takes some ten seconds for any transaction that has an amount
    models.py chaos --policy FOLDER
        `stuck`; `throws`, which fails for any transaction that has an amount; and `heavy`, which takes about a millisecond
        for each
"""

import argparse
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 30
GOLDEN_ROWS = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    bench = what.add_parser("bench")
    bench.add_argument("--out", type=Path, required=True)
    swaps = what.add_parser("swaps")
    swaps.add_argument("--policy", type=Path, required=True)
    swaps.add_argument("--versions", type=int, default=100)
    stuck = what.add_parser("stuck")
    stuck.add_argument("--policy", type=Path, required=True)
    chaos = what.add_parser("chaos")
    chaos.add_argument("--policy", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.what == "bench":
        write_bench(arguments.out)
    elif arguments.what == "swaps":
        write_swaps(arguments.policy, arguments.versions)
    elif arguments.what == "stuck":
        write_stuck(arguments.policy)
    else:
        write_stuck(arguments.policy)
        write_throws(arguments.policy)
        write_heavy(arguments.policy)


# Models for the bench.


def write_bench(out):
    names = [f"x{n}" for n in range(WIDTH)]
    # The bench defines each feature by its own name.
    digest = features_digest((name, name) for name in names)
    rows = np.random.default_rng(1).standard_normal((GOLDEN_ROWS, WIDTH)).astype(np.float32)
    for name, trees, depth in [("trees-100x6", 100, 6), ("trees-500x8", 500, 8)]:
        ensemble = Trees(trees, depth)
        kind = "{ name: probabilities, kind: probability_pair }"
        bundle = Bundle(name, "1", ensemble.model(), names, digest, kind, missing=0.0)
        bundle.write(out / name, rows, ensemble.scores(rows))
    network = Network()
    kind = "{ name: probability, kind: probability }"
    bundle = Bundle("mlp-64x64", "1", network.model(), names, digest, kind, missing=0.0)
    bundle.write(out / "mlp-64x64", rows, network.scores(rows))


class Trees:
    """Full binary trees, as boosted ones come out of the exporters of XGBoost and LightGBM, with random splits."""

    def __init__(self, trees, depth):
        draw = np.random.default_rng([trees, depth])
        self.trees, self.depth = trees, depth
        self.inner = 2**depth - 1
        self.features = draw.integers(0, WIDTH, (trees, self.inner))
        self.splits = draw.standard_normal((trees, self.inner)).astype(np.float32)
        leaves = draw.standard_normal((trees, self.inner + 1)) / np.sqrt(trees)
        self.leaves = leaves.astype(np.float32)

    def scores(self, rows):
        scores = []
        for row in rows:
            at = np.zeros(self.trees, dtype=np.int64)
            every = np.arange(self.trees)
            for _ in range(self.depth):
                below = row[self.features[every, at]] < self.splits[every, at]
                at = 2 * at + np.where(below, 1, 2)
            scores.append(logistic(self.leaves[every, at - self.inner].astype(np.float64).sum()))
        return scores

    def model(self):
        count = 2 * self.inner + 1
        ids = np.tile(np.arange(count), self.trees)
        tree_ids = np.repeat(np.arange(self.trees), count)
        inner = np.arange(count) < self.inner

        def nodes(of_inner, of_leaves):
            """One value per node, tree after tree: first the inner nodes, then the leaves."""
            return np.hstack([of_inner, np.broadcast_to(of_leaves, (self.trees, self.inner + 1))]).ravel().tolist()

        child = np.broadcast_to(2 * np.arange(self.inner), (self.trees, self.inner))
        modes = [b"BRANCH_LT" if is_inner else b"LEAF" for is_inner in inner] * self.trees
        leaf_ids = np.tile(np.arange(self.inner, count), self.trees).tolist()
        node = helper.make_node(
            "TreeEnsembleClassifier",
            ["input"],
            ["label", "probabilities"],
            domain="ai.onnx.ml",
            nodes_treeids=tree_ids.tolist(),
            nodes_nodeids=ids.tolist(),
            nodes_featureids=nodes(self.features, 0),
            nodes_values=nodes(self.splits, 0.0),
            nodes_modes=modes,
            nodes_truenodeids=nodes(child + 1, 0),
            nodes_falsenodeids=nodes(child + 2, 0),
            nodes_missing_value_tracks_true=[0] * (count * self.trees),
            nodes_hitrates=[1.0] * (count * self.trees),
            class_treeids=np.repeat(np.arange(self.trees), self.inner + 1).tolist(),
            class_nodeids=leaf_ids,
            class_ids=[0] * len(leaf_ids),
            class_weights=self.leaves.ravel().tolist(),
            classlabels_int64s=[0, 1],
            post_transform="LOGISTIC",
        )
        outputs = [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
        ]
        return model([node], "trees", WIDTH, outputs)


class Network:
    """Two hidden layers of 64."""

    def __init__(self):
        draw = np.random.default_rng(64)
        sizes = [(WIDTH, 64), (64, 64), (64, 1)]
        self.weights = [(draw.standard_normal(size) / np.sqrt(size[0])).astype(np.float32) for size in sizes]
        self.biases = [(draw.standard_normal(size[1]) / 4).astype(np.float32) for size in sizes]

    def scores(self, rows):
        x = rows.astype(np.float64)
        for layer, (weights, bias) in enumerate(zip(self.weights, self.biases)):
            x = x @ weights.astype(np.float64) + bias
            x = np.maximum(x, 0) if layer < 2 else logistic(x)
        return x[:, 0].tolist()

    def model(self):
        nodes, constants, at = [], [], "input"
        for layer, (weights, bias) in enumerate(zip(self.weights, self.biases)):
            constants += [numpy_helper.from_array(weights, f"w{layer}"), numpy_helper.from_array(bias, f"b{layer}")]
            nodes.append(helper.make_node("Gemm", [at, f"w{layer}", f"b{layer}"], [f"z{layer}"]))
            at = "probability" if layer == 2 else f"h{layer}"
            nodes.append(helper.make_node("Sigmoid" if layer == 2 else "Relu", [f"z{layer}"], [at]))
        return model(nodes, "network", WIDTH, [probability()], constants)


# Models for load runs, on the features of a policy's own model.


def write_swaps(policy, versions):
    """score = logistic(bias + sum of weight * x / (1 + |x|)), so that any size of input matters, and none alone."""
    names, digest = own_features(policy)
    width = len(names)
    made = {}
    for version in range(1, versions + 1):
        draw = np.random.default_rng([7, version])
        weights = (draw.standard_normal((width, 1)) / 2).astype(np.float32)
        # Spread, so that no two versions that follow each other could be taken for one another.
        bias = np.array([(version * 0.618034 % 1) * 4 - 2], dtype=np.float32)
        nodes = [
            helper.make_node("Softsign", ["input"], ["soft"]),
            helper.make_node("Gemm", ["soft", "weights", "bias"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["probability"]),
        ]
        constants = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")]
        rows = np.random.default_rng(version).standard_normal((GOLDEN_ROWS, width)).astype(np.float32)
        soft = rows.astype(np.float64)
        scores = logistic((soft / (1 + np.abs(soft))) @ weights.astype(np.float64) + bias)[:, 0].tolist()
        onnx_model = model(nodes, "swap", width, [probability()], constants)
        output = "{ name: probability, kind: probability }"
        bundle = Bundle("swap", str(version), onnx_model, names, digest, output, missing=-1.0)
        bundle.write(policy / "models/swap" / str(version), rows, scores)
        by_name = dict(zip(names, weights[:, 0].astype(float).tolist()))
        made[f"swap/{version}"] = {"bias": float(bias[0]), "weights": by_name}
    (policy.parent / "swap-weights.json").write_text(json.dumps(made))


def write_stuck(policy):
    """Goes round ten million times for rows of which one has an amount, and not at all without."""
    write_loop(policy, "stuck", 10_000_000, "ReduceMax")


def write_heavy(policy):
    """Goes round a thousand times for every row that has an amount, so batches save nothing."""
    write_loop(policy, "heavy", 1_000, "ReduceSum")


def write_loop(policy, name, rounds, together):
    """A loop over two cheap nodes; `together` makes one number of the rows that have an amount."""
    names, digest = own_features(policy)
    constants = {
        **AMOUNTS,
        "rounds_max": np.array(rounds, dtype=np.int64),
        "half": np.array(0.5, dtype=np.float32),
        "quarter": np.array(0.25, dtype=np.float32),
        "go_on": np.array(True),
    }
    nodes = [
        *has_amount(),
        helper.make_node(together, ["has_amount"], ["any"], keepdims=0),
        helper.make_node("Cast", ["any"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "rounds_max"], ["rounds"]),
        helper.make_node("Loop", ["rounds", "go_on", "quarter"], ["x"], body=loop_body()),
        helper.make_node("Mul", ["amounts", "none"], ["zeros"]),
        helper.make_node("Add", ["zeros", "x"], ["probability"]),
    ]
    write_quarter(policy, name, nodes, constants, names, digest)


def write_throws(policy):
    """Looks a number up in a table of one, beyond its end for rows that have an amount."""
    names, digest = own_features(policy)
    constants = {**AMOUNTS, "table": np.array([0.25], dtype=np.float32)}
    nodes = [
        *has_amount(),
        helper.make_node("Cast", ["has_amount"], ["at"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "at"], ["probability"]),
    ]
    write_quarter(policy, "throws", nodes, constants, names, digest)


# What `has_amount` needs.
AMOUNTS = {
    "first": np.array([0]),
    "none": np.array(0.0, dtype=np.float32),
    "all": np.array(1.0, dtype=np.float32),
}


def has_amount():
    """1 for a row that has an amount, 0 for one without."""
    return [
        helper.make_node("Gather", ["input", "first"], ["amounts"], axis=1),
        helper.make_node("Clip", ["amounts", "none", "all"], ["clipped"]),
        helper.make_node("Ceil", ["clipped"], ["has_amount"]),
    ]


def write_quarter(policy, name, nodes, constants, names, digest):
    """A model that says 0.25 if it says anything; its golden row has no amount, so it passes its own test."""
    tensors = [numpy_helper.from_array(array, constant) for constant, array in constants.items()]
    onnx_model = model(nodes, name, len(names), [probability()], tensors)
    assert names[0] == "amount", "the first input of the policy's model is no longer the amount"
    rows = np.full((1, len(names)), -1.0, dtype=np.float32)
    output = "{ name: probability, kind: probability }"
    bundle = Bundle(name, "1", onnx_model, names, digest, output, missing=-1.0)
    bundle.write(policy / "models" / name / "1", rows, [0.25])


def loop_body():
    """x becomes 0.5 - x, so 0.25 stays what it is and the loop cannot be optimised away."""

    def scalar(name, kind):
        return helper.make_tensor_value_info(name, kind, ())

    nodes = [
        helper.make_node("Sub", ["half", "x_in"], ["x_out"]),
        helper.make_node("Identity", ["go_on_in"], ["go_on_out"]),
    ]
    inputs = [scalar("round", TensorProto.INT64), scalar("go_on_in", TensorProto.BOOL), scalar("x_in", TensorProto.FLOAT)]
    outputs = [scalar("go_on_out", TensorProto.BOOL), scalar("x_out", TensorProto.FLOAT)]
    return helper.make_graph(nodes, "body", inputs, outputs)


def own_features(policy):
    """The inputs of the policy's own model, which the policy is known to define, and the digest of their definitions."""
    champion = re.search(r"champion:\s*\"?([\w./-]+)", (policy / "models.yaml").read_text())
    assert champion, "models.yaml names no champion"
    manifest = (policy / "models" / champion[1] / "manifest.yaml").read_text()
    assert not re.search(r"type:\s*text", manifest), "models.py makes models of numbers only"
    names = re.findall(r"feature:\s*\"?(\w+)", manifest)
    digest = re.search(r"features_sha256:\s*\"?([0-9a-f]{64})", manifest)
    return names, digest[1]


# Bundles.


class Bundle:
    def __init__(self, name, version, onnx_model, features, digest, output, missing):
        self.content = onnx_model.SerializeToString(deterministic=True)
        inputs = "".join(f"  - {{ feature: {feature}, missing: {missing} }}\n" for feature in features)
        self.manifest = (
            "# Written by benches/python/models.py.\n"
            f'name: {name}\nversion: "{version}"\ndescription: For benches and load runs.\n'
            f"model_sha256: {hashlib.sha256(self.content).hexdigest()}\n"
            f"features_sha256: {digest}\ninputs:\n{inputs}tensor: input\noutput: {output}\n"
        )

    def write(self, folder, rows, scores):
        folder.mkdir(parents=True, exist_ok=True)
        golden = [{"inputs": [float(x) for x in row], "score": float(score)} for row, score in zip(rows, scores)]
        (folder / "model.onnx").write_bytes(self.content)
        (folder / "manifest.yaml").write_text(self.manifest)
        (folder / "golden.json").write_text(json.dumps({"tolerance": 1e-5, "rows": golden}))


def model(nodes, name, width, outputs, constants=()):
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", width])]
    graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, producer_name="tollgate-benches")
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made


def probability():
    return helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 1])


def logistic(x):
    return 1 / (1 + np.exp(-x))


def features_digest(definitions):
    lines = "".join(f"{name}: {definition}\n" for name, definition in definitions)
    return hashlib.sha256(lines.encode()).hexdigest()


if __name__ == "__main__":
    main()
