//! What is refused before ONNX Runtime sees it.
//!
//! ONNX Runtime checks much by itself and answers with an error. Looked at here is what would end the process or read
//! what is not the bundle's (trees of very many levels, graphs within graphs, data in other files), and what can be said in
//! better words than its own (files that are something else). What a model does while it runs is bounded elsewhere: in
//! time by [`super::Stop`], in memory by `runtime::memory` while it is verified.

mod trees;
mod wire;

use self::trees::Attributes;
use self::wire::Broken;

/// Graphs within graphs: conditions and loops of exporters are one or two deep.
const GRAPHS_MAX: usize = 8;

/// Nodes of all graphs. A tree ensemble is one, a layer of a network three.
const NODES_MAX: usize = 50_000;

/// What the name of an operator may be prefixed with: the sets that ONNX Runtime has.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// Why a model is not loaded.
#[derive(Debug)]
enum Problem {
    /// The bytes end where they should not, or mean nothing.
    Broken,
    Said(String),
}

impl From<Broken> for Problem {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}

/// Looks the whole model through, in time proportional to its size.
pub(super) fn vet(model: &[u8]) -> Result<(), String> {
    if let Some(kind) = something_else(model) {
        return Err(format!("it is {kind}, expected a model in ONNX format"));
    }
    let mut vetting = Vetting {
        bytes: model.len(),
        nodes: 0,
    };
    vetting.model(model).map_err(|problem| match problem {
        Problem::Broken => {
            "it is no model in ONNX format, or only a part of one: export it again, and copy the whole file"
                .to_owned()
        }
        Problem::Said(reason) => reason,
    })
}

/// What a file is that is often taken for a model.
fn something_else(file: &[u8]) -> Option<&'static str> {
    let starts = |start: &[u8]| file.starts_with(start);
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t');
    if file.is_empty() {
        Some("empty")
    } else if starts(b"PK\x03\x04") {
        Some(
            "a zip archive (PyTorch and Keras save as such: export with torch.onnx.export or tf2onnx)",
        )
    } else if starts(b"\x1f\x8b") {
        Some("compressed with gzip (unpack it)")
    } else if starts(b"\x80\x02") || starts(b"\x80\x04") || starts(b"\x80\x05") {
        Some("a Python pickle (convert with skl2onnx or onnxmltools)")
    } else if starts(b"\x89HDF") {
        Some("an HDF5 file (convert with tf2onnx)")
    } else if file.get(4..8) == Some(b"ORTM") {
        Some("in ONNX Runtime's own format, which can be read by one version only")
    } else if starts(b"version https://git-lfs") {
        Some("a pointer of Git LFS (run `git lfs pull`)")
    } else if file.iter().take(512).all(is_text) {
        Some("a text")
    } else {
        None
    }
}

struct Vetting {
    bytes: usize,
    nodes: usize,
}

impl Vetting {
    fn model(&mut self, model: &[u8]) -> Result<(), Problem> {
        const GRAPH: u64 = 7;
        const FUNCTIONS: u64 = 25;
        if wire::all(model, FUNCTIONS).next().transpose()?.is_some() {
            return Err(Problem::Said(
                "it defines functions of its own: export it without (`onnx.inliner.inline_local_functions`)"
                    .to_owned(),
            ));
        }
        let mut graphs = wire::all(model, GRAPH);
        let Some(graph) = graphs.next().transpose()? else {
            return Err(Problem::Broken);
        };
        if graphs.next().is_some() {
            return Err(Problem::Said(
                "it has two graphs; export it again".to_owned(),
            ));
        }
        self.graph(graph, 1)
    }

    fn graph(&mut self, graph: &[u8], depth: usize) -> Result<(), Problem> {
        const NODE: u64 = 1;
        const INITIALIZER: u64 = 5;
        const SPARSE_INITIALIZER: u64 = 15;
        if depth > GRAPHS_MAX {
            return Err(Problem::Said(format!(
                "it has graphs within graphs more than {GRAPHS_MAX} deep: export it without conditions and loops inside one \
                 another"
            )));
        }
        for initializer in wire::all(graph, INITIALIZER) {
            self.tensor(initializer?)?;
        }
        for sparse in wire::all(graph, SPARSE_INITIALIZER) {
            self.sparse(sparse?)?;
        }
        for node in wire::all(graph, NODE) {
            self.node(node?, depth)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &[u8], depth: usize) -> Result<(), Problem> {
        const OPERATOR: u64 = 4;
        const ATTRIBUTE: u64 = 5;
        const DOMAIN: u64 = 7;
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Problem::Said(format!(
                "it has more than {NODES_MAX} operators, which is no model that scores in time"
            )));
        }
        let (operator, domain) = (wire::text(node, OPERATOR)?, wire::text(node, DOMAIN)?);
        if !DOMAINS.contains(&domain) {
            return Err(Problem::Said(format!(
                "it needs the operator {operator:?} of {domain:?}, and Tollgate loads no operators but those of ONNX and of \
                 ONNX Runtime: export it without"
            )));
        }
        let has_trees = operator.starts_with("TreeEnsemble");
        let mut trees = Attributes::default();
        for attribute in wire::all(node, ATTRIBUTE) {
            let attribute = attribute?;
            self.attribute(attribute, depth)?;
            if has_trees {
                const NAME: u64 = 1;
                trees.add(wire::text(attribute, NAME)?, attribute)?;
            }
        }
        if has_trees {
            trees.check(operator)?;
        }
        Ok(())
    }

    /// An attribute may hold tensors and graphs.
    fn attribute(&mut self, attribute: &[u8], depth: usize) -> Result<(), Problem> {
        for number in [5, 10] {
            for tensor in wire::all(attribute, number) {
                self.tensor(tensor?)?;
            }
        }
        for number in [22, 23] {
            for sparse in wire::all(attribute, number) {
                self.sparse(sparse?)?;
            }
        }
        for number in [6, 11] {
            for graph in wire::all(attribute, number) {
                self.graph(graph?, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Values and indices are tensors like others; the dense one that they stand for is bounded alike.
    fn sparse(&self, sparse: &[u8]) -> Result<(), Problem> {
        for number in [1, 2] {
            for tensor in wire::all(sparse, number) {
                self.tensor(tensor?)?;
            }
        }
        self.size("a sparse tensor", &wire::wholes(sparse, 3)?)
    }

    fn tensor(&self, tensor: &[u8]) -> Result<(), Problem> {
        const DIMENSIONS: u64 = 1;
        const NAME: u64 = 8;
        const EXTERNAL_DATA: u64 = 13;
        const DATA_LOCATION: u64 = 14;
        let name = wire::text(tensor, NAME)?;
        let elsewhere = wire::whole(tensor, DATA_LOCATION)?.is_some_and(|location| location != 0);
        if elsewhere || wire::all(tensor, EXTERNAL_DATA).next().is_some() {
            return Err(Problem::Said(format!(
                "the values of {name:?} are in another file, and a bundle has one file with everything: save it with \
                 `onnx.save(model, path, save_as_external_data=False)`"
            )));
        }
        self.size(&format!("{name:?}"), &wire::wholes(tensor, DIMENSIONS)?)
    }

    /// A tensor has no more values than the file could hold: two to a byte, the smallest there are.
    fn size(&self, name: &str, dimensions: &[i64]) -> Result<(), Problem> {
        let mut values = 1_usize;
        for &dimension in dimensions {
            let size = usize::try_from(dimension).map_err(|_| {
                Problem::Said(format!(
                    "{name} has the size {dimension} along an axis; export the model again"
                ))
            })?;
            values = values.saturating_mul(size);
        }
        if values <= self.bytes.saturating_mul(2) {
            return Ok(());
        }
        Err(Problem::Said(format!(
            "{name} is said to be of shape {dimensions:?}, and the whole file has {} bytes; export the model again",
            self.bytes
        )))
    }
}
