//! Models that are wrong or mean harm, each with what is said of it.

use super::writer::*;

/// One model file, and the essence of the refusal.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) model: Vec<u8>,
    pub(crate) says: &'static [&'static str],
}

fn kind(name: &'static str, model: Message, says: &'static [&'static str]) -> Kind {
    Kind {
        name,
        model: model.0,
        says,
    }
}

/// Reads `input` of shape [N, 3] and puts out `p` of shape [N, 1].
fn scoring(nodes: &[Message], constants: &[Message]) -> Message {
    model(&graph(nodes, constants, &[input()], &[output()]))
}

fn input() -> Message {
    value("input", FLOAT, &[FREE, 3])
}

fn output() -> Message {
    value("p", FLOAT, &[FREE, 1])
}

fn weights() -> Message {
    floats("w", &[3, 1], &[0.1, 0.2, 0.3])
}

fn linear() -> Message {
    node("MatMul", &["input", "w"], &["p"])
}

/// The linear model plus the sum of `big`, so that it has to be computed.
fn with_big(big: &[Message], constants: &[Message]) -> Message {
    let mut nodes = big.to_vec();
    nodes.push(node("MatMul", &["input", "w"], &["linear"]));
    nodes.push(node("ReduceSum", &["big"], &["sum"]).with_whole("keepdims", 0));
    nodes.push(node("Add", &["linear", "sum"], &["p"]));
    let mut all = constants.to_vec();
    all.push(weights());
    scoring(&nodes, &all)
}

/// Files that are something else.
pub(crate) fn files() -> Vec<Kind> {
    let file = |name, bytes: &[u8], says| kind(name, Message(bytes.to_vec()), says);
    vec![
        file("empty", b"", &["it is empty"]),
        file("a text", b"this is not a model", &["it is a text"]),
        file("a page", b"<html>404 not found</html>\n", &["it is a text"]),
        file(
            "zip",
            b"PK\x03\x04\x14\0\0\0\x08\0",
            &["zip archive", "torch.onnx.export"],
        ),
        file("gzip", b"\x1f\x8b\x08\0\0\0\0\0", &["gzip", "unpack"]),
        file(
            "pickle",
            b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c",
            &["pickle", "skl2onnx"],
        ),
        file("hdf5", b"\x89HDF\r\n\x1a\n\0", &["HDF5", "tf2onnx"]),
        file(
            "runtime format",
            b"\x18\0\0\0ORTM\0\0",
            &["ONNX Runtime's own format"],
        ),
        file(
            "git lfs",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            &["Git LFS", "git lfs pull"],
        ),
        file("zeros", &[0; 4096], &["no model in ONNX format"]),
        file("ones", &[0xff; 4096], &["no model in ONNX format"]),
        file(
            "elf",
            b"\x7fELF\x02\x01\x01\0\0\0",
            &["no model in ONNX format"],
        ),
        kind(
            "no graph",
            Message::default().whole(1, 8),
            &["no model in ONNX format"],
        ),
        kind(
            "two graphs",
            scoring(&[linear()], &[weights()]).message(7, &graph(&[], &[], &[], &[])),
            &["two graphs"],
        ),
    ]
}

/// Models that declare what the manifest or the runtime does not have.
pub(crate) fn declarations() -> Vec<Kind> {
    let one = |nodes: &[Message], inputs: &[Message], outputs: &[Message]| {
        model(&graph(nodes, &[weights()], inputs, outputs))
    };
    let plain = graph(&[linear()], &[weights()], &[input()], &[output()]);
    let of_input = |input: Message| one(&[linear()], &[input], &[output()]);
    vec![
        kind(
            "opset of the future",
            model_of_opset(&plain, 999),
            &["opset", "999"],
        ),
        kind(
            "opset of nobody",
            model_of_opset(&plain, 0),
            &["cannot be loaded"],
        ),
        kind(
            "unknown operator",
            scoring(&[node("Nope", &["input"], &["p"])], &[]),
            &["Nope"],
        ),
        kind(
            "operator of a library",
            scoring(&[node("Nope", &["input"], &["p"]).of_set("my.own")], &[]),
            &["\"Nope\" of \"my.own\"", "export it without"],
        ),
        kind(
            "functions of its own",
            model(&plain).message(25, &Message::default().text(1, "f")),
            &["functions of its own", "inline_local_functions"],
        ),
        kind(
            "input of another name",
            of_input(value("x", FLOAT, &[FREE, 3])),
            &["input"],
        ),
        kind(
            "unknown type",
            of_input(value("input", 77, &[FREE, 3])),
            &["77"],
        ),
        kind(
            "complex numbers",
            of_input(value("input", 14, &[FREE, 3])),
            &["cannot be loaded"],
        ),
        kind(
            "three axes",
            {
                let mean = node("ReduceMean", &["input"], &["p"])
                    .with_wholes("axes", &[2])
                    .with_whole("keepdims", 0);
                one(
                    &[mean],
                    &[value("input", FLOAT, &[FREE, 1, 3])],
                    &[output()],
                )
            },
            &["has 3 axes", "expected [N, 3]"],
        ),
        kind(
            "wider",
            {
                let mean = node("ReduceMean", &["input"], &["p"]).with_wholes("axes", &[1]);
                one(&[mean], &[value("input", FLOAT, &[FREE, 4])], &[output()])
            },
            &["takes 4 values a row", "lists 3 inputs"],
        ),
        kind(
            "seven rows",
            of_input(value("input", FLOAT, &[7, 3])),
            &["exactly 7 rows", "free first axis"],
        ),
        kind(
            "a second input",
            {
                let add = node("Add", &["linear", "other"], &["p"]);
                let product = node("MatMul", &["input", "w"], &["linear"]);
                one(
                    &[product, add],
                    &[input(), value("other", FLOAT, &[FREE, 1])],
                    &[output()],
                )
            },
            &["`other` is fed by none"],
        ),
        kind(
            "no input",
            {
                let constant = node("Identity", &["w"], &["p"]);
                one(&[constant], &[], &[output()])
            },
            &["has no input"],
        ),
        kind(
            "no such output",
            one(&[linear()], &[input()], &[value("q", FLOAT, &[FREE, 1])]),
            &["q"],
        ),
        kind(
            "nobody computes the output",
            scoring(&[node("Identity", &["input"], &["r"])], &[]),
            &["p"],
        ),
        kind(
            "whole numbers come out",
            {
                let cast = node("Cast", &["linear"], &["p"]).with_whole("to", INT64 as i64);
                let product = node("MatMul", &["input", "w"], &["linear"]);
                one(
                    &[product, cast],
                    &[input()],
                    &[value("p", INT64, &[FREE, 1])],
                )
            },
            &["`p`", "expected 32-bit floats"],
        ),
        kind(
            "three values come out",
            {
                one(
                    &[node("Identity", &["input"], &["p"])],
                    &[input()],
                    &[value("p", FLOAT, &[FREE, 3])],
                )
            },
            &["shape [1, 3]", "expected [1, 1]"],
        ),
        kind(
            "rows are put together",
            {
                let sum = node("ReduceSum", &["linear"], &["p"]);
                let product = node("MatMul", &["input", "w"], &["linear"]);
                one(&[product, sum], &[input()], &[value("p", FLOAT, &[1, 1])])
            },
            &["each row must give its own"],
        ),
    ]
}

/// Constants that are not what they say.
pub(crate) fn constants() -> Vec<Kind> {
    let of = |constant: Message| scoring(&[linear()], &[constant]);
    let data = [0; 12];
    vec![
        kind(
            "absolute path",
            of(elsewhere("w", &[3, 1], "/etc/passwd")),
            &["\"w\" are in another file"],
        ),
        kind(
            "path upwards",
            of(elsewhere("w", &[3, 1], "../../../../etc/passwd")),
            &["in another file"],
        ),
        kind(
            "path beside",
            of(elsewhere("w", &[3, 1], "weights.bin")),
            &["in another file", "save_as_external_data=False"],
        ),
        kind(
            "symbolic link",
            of(elsewhere("w", &[3, 1], "link.bin")),
            &["in another file"],
        ),
        kind(
            "no path",
            of(elsewhere("w", &[3, 1], "")),
            &["in another file"],
        ),
        kind(
            "a petabyte",
            of(tensor("w", FLOAT, &[1 << 48, 1], &data)),
            &["\"w\" is said to be of shape"],
        ),
        kind(
            "sizes that overflow",
            of(tensor("w", FLOAT, &[1 << 40, 1 << 40], &data)),
            &["is said to be of shape"],
        ),
        kind(
            "negative size",
            of(tensor("w", FLOAT, &[-3, 1], &data)),
            &["size -3 along an axis"],
        ),
        kind(
            "data too short",
            of(tensor("w", FLOAT, &[3, 1], &[0; 5])),
            &["cannot be loaded"],
        ),
        kind(
            "data too long",
            of(tensor("w", FLOAT, &[3, 1], &[0; 64])),
            &["cannot be loaded"],
        ),
        kind(
            "no weight is a number",
            of(floats("w", &[3, 1], &[f32::NAN; 3])),
            &["golden.json", "NaN", "no probability"],
        ),
        kind(
            "infinite weights",
            of(floats("w", &[3, 1], &[f32::INFINITY; 3])),
            &["golden.json", "no probability"],
        ),
    ]
}

/// Graphs that go round, too deep or on for ever.
pub(crate) fn graphs() -> Vec<Kind> {
    let axes = |node: Message| node.with_wholes("axes", &[1]);
    let forever = {
        let body = graph(
            &[
                node("Identity", &["go"], &["on"]),
                node("Identity", &["x"], &["y"]),
            ],
            &[],
            &[
                value("round", INT64, &[]),
                value("go", BOOL, &[]),
                value("x", FLOAT, &[FREE, 1]),
            ],
            &[value("on", BOOL, &[]), value("y", FLOAT, &[FREE, 1])],
        );
        let product = node("MatMul", &["input", "w"], &["linear"]);
        let repeat = node("Loop", &["rounds", "yes", "linear"], &["p"]).with_graph("body", &body);
        let constants = [
            weights(),
            wholes("rounds", &[], &[i64::MAX]),
            tensor("yes", BOOL, &[], &[1]),
        ];
        scoring(&[product, repeat], &constants)
    };
    vec![
        kind(
            "a circle",
            scoring(
                &[
                    node("Add", &["input", "b"], &["a"]),
                    node("Add", &["a", "input"], &["b"]),
                    axes(node("ReduceMean", &["b"], &["p"])),
                ],
                &[],
            ),
            &["acyclic"],
        ),
        kind(
            "one name twice",
            scoring(
                &[
                    axes(node("ReduceMean", &["input"], &["p"])),
                    axes(node("ReduceMax", &["input"], &["p"])),
                ],
                &[],
            ),
            &["Duplicate definition"],
        ),
        kind(
            "what nobody has computed",
            scoring(&[axes(node("ReduceMean", &["x"], &["p"]))], &[]),
            &["cannot be loaded"],
        ),
        kind(
            "an operator without input",
            scoring(&[node("Identity", &[], &["p"])], &[]),
            &["cannot be loaded"],
        ),
        kind(
            "nine graphs deep",
            nested(9),
            &["graphs within graphs more than 8 deep"],
        ),
        kind(
            "twenty thousand graphs deep",
            nested(20_000),
            &["graphs within graphs more than 8 deep"],
        ),
        kind(
            "a loop without end",
            forever,
            &["took longer than", "was stopped"],
        ),
        kind(
            "a hundred thousand operators",
            scoring(&vec![node("Identity", &["input"], &["x"]); 100_000], &[]),
            &["more than 50000 operators"],
        ),
    ]
}

fn nested(depth: usize) -> Message {
    let innermost = graph(&[], &[], &[], &[]);
    let graph = (1..depth).fold(innermost, |inner, _| {
        let within = node("If", &["x"], &["y"]).with_graph("then_branch", &inner);
        graph(&[within], &[], &[], &[])
    });
    model(&graph)
}

/// An ensemble of one tree: a node with two leaves, unless it is given otherwise.
struct Tree {
    nodes: Vec<i64>,
    /// A leaf where there are none.
    children: Vec<Option<[i64; 2]>>,
    feature: i64,
    target: i64,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: vec![0, 1, 2],
            children: vec![Some([1, 2]), None, None],
            feature: 0,
            target: 0,
        }
    }
}

impl Tree {
    fn model(&self) -> Message {
        let count = self.children.len();
        let modes: Vec<&str> = self
            .children
            .iter()
            .map(|children| children.map_or("LEAF", |_| "BRANCH_LEQ"))
            .collect();
        let side = |side: usize| -> Vec<i64> {
            self.children
                .iter()
                .map(|children| children.map_or(0, |both| both[side]))
                .collect()
        };
        let leaves: Vec<i64> = (0..count)
            .filter(|at| self.children[*at].is_none())
            .map(|at| self.nodes[at])
            .collect();
        let ensemble = node("TreeEnsembleRegressor", &["input"], &["p"])
            .of_set("ai.onnx.ml")
            .with_wholes("nodes_treeids", &vec![0; count])
            .with_wholes("nodes_nodeids", &self.nodes)
            .with_wholes("nodes_featureids", &vec![self.feature; count])
            .with_texts("nodes_modes", &modes)
            .with_floats("nodes_values", &vec![0.0; count])
            .with_wholes("nodes_truenodeids", &side(0))
            .with_wholes("nodes_falsenodeids", &side(1))
            .with_wholes("target_treeids", &vec![0; leaves.len()])
            .with_wholes("target_nodeids", &leaves)
            .with_wholes("target_ids", &vec![self.target; leaves.len()])
            .with_floats("target_weights", &vec![0.5; leaves.len()])
            .with_whole("n_targets", 1);
        scoring(&[ensemble], &[])
    }
}

/// Trees that are none.
pub(crate) fn trees() -> Vec<Kind> {
    let deep = |levels: i64| Tree {
        nodes: (0..=2 * levels).collect(),
        children: (0..levels)
            .map(|level| Some([level + 1, 2 * levels - level]))
            .chain((0..=levels).map(|_| None))
            .collect(),
        ..Tree::default()
    };
    let children = |children: Vec<Option<[i64; 2]>>| {
        Tree {
            children,
            ..Tree::default()
        }
        .model()
    };
    vec![
        kind(
            "a child that is not there",
            children(vec![Some([1, 99]), None, None]),
            &["node 0 of tree 0 leads to node 99"],
        ),
        kind(
            "a child below zero",
            children(vec![Some([-1, 2]), None, None]),
            &["leads to node -1"],
        ),
        kind(
            "a node below itself",
            children(vec![Some([0, 0]), None, None]),
            &["goes round in a circle"],
        ),
        kind(
            "two nodes below one another",
            children(vec![Some([1, 2]), Some([0, 2]), None]),
            &["goes round in a circle"],
        ),
        kind(
            "one number twice",
            Tree {
                nodes: vec![0, 1, 1],
                ..Tree::default()
            }
            .model(),
            &["the same number"],
        ),
        kind(
            "uneven lists",
            Tree {
                nodes: vec![0, 1, 2, 3],
                ..Tree::default()
            }
            .model(),
            &["not equally long"],
        ),
        kind(
            "513 levels",
            deep(512).model(),
            &["more than 512 levels", "max_depth"],
        ),
        kind(
            "a hundred thousand levels",
            deep(100_000).model(),
            &["more than 512 levels"],
        ),
        kind(
            "a feature that is not there",
            Tree {
                feature: 1 << 30,
                ..Tree::default()
            }
            .model(),
            &["feature"],
        ),
        kind(
            "a feature below zero",
            Tree {
                feature: -5,
                ..Tree::default()
            }
            .model(),
            &["cannot be loaded"],
        ),
        kind(
            "a target that is not there",
            Tree {
                target: 1 << 20,
                ..Tree::default()
            }
            .model(),
            &["cannot be loaded"],
        ),
    ]
}

/// Small files that ask for much memory.
pub(crate) fn memory() -> Vec<Kind> {
    const GIGABYTES: i64 = 1 << 31;
    let more: &[&str] = &["more than 1024 MB of memory"];
    let shape = |sizes: &[i64]| wholes("shape", &[sizes.len() as i64], sizes);
    let filled = |size: i64| {
        with_big(
            &[node("ConstantOfShape", &["shape"], &["big"])],
            &[shape(&[size])],
        )
    };
    let column = |name: &str, shape: &[i64]| floats(name, shape, &vec![1.0; 40_000]);
    vec![
        kind("constant of 8 GB", filled(GIGABYTES), more),
        kind("constant of a petabyte", filled(1 << 48), more),
        kind(
            "constant whose size overflows",
            filled(i64::MAX),
            &["cannot be loaded", "verflow"],
        ),
        kind(
            "expanded",
            with_big(
                &[node("Expand", &["w", "shape"], &["big"])],
                &[shape(&[3, GIGABYTES])],
            ),
            more,
        ),
        kind(
            "tiled",
            with_big(
                &[node("Tile", &["w", "shape"], &["big"])],
                &[shape(&[1, GIGABYTES])],
            ),
            more,
        ),
        kind(
            "a range",
            with_big(
                &[
                    node("Range", &["from", "to", "step"], &["whole"]),
                    node("Cast", &["whole"], &["big"]).with_whole("to", 1),
                ],
                &[
                    wholes("from", &[], &[0]),
                    wholes("to", &[], &[GIGABYTES]),
                    wholes("step", &[], &[1]),
                ],
            ),
            more,
        ),
        kind(
            "columns multiplied",
            with_big(
                &[node("MatMul", &["a", "b"], &["big"])],
                &[column("a", &[40_000, 1]), column("b", &[1, 40_000])],
            ),
            more,
        ),
        kind(
            "columns added",
            with_big(
                &[node("Add", &["a", "b"], &["big"])],
                &[column("a", &[40_000, 1]), column("b", &[1, 40_000])],
            ),
            more,
        ),
    ]
}
