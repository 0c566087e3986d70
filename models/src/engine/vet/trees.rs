//! Whether the trees of an ensemble are trees.
//!
//! ONNX Runtime builds them by recursion, so that a tree of a hundred thousand levels overflows the stack and ends the
//! process.

use std::collections::HashMap;

use super::Problem;
use super::wire::{self, Broken};

/// Trees of boosting have 4 to 10 levels, those of forests that may grow as they like some tens.
const LEVELS_MAX: u32 = 512;

/// The numbers of a node's attributes that say how its trees hang together.
#[derive(Default)]
pub(super) struct Attributes<'m> {
    wholes: HashMap<&'m str, Vec<i64>>,
    modes: Vec<&'m [u8]>,
}

impl<'m> Attributes<'m> {
    pub(super) fn add(&mut self, name: &'m str, attribute: &'m [u8]) -> Result<(), Broken> {
        const INTS: u64 = 8;
        const STRINGS: u64 = 9;
        match name {
            "nodes_modes" => {
                self.modes = wire::all(attribute, STRINGS).collect::<Result<_, _>>()?;
            }
            "nodes_treeids" | "nodes_nodeids" | "nodes_truenodeids" | "nodes_falsenodeids"
            | "nodes_trueleafs" | "nodes_falseleafs" => {
                self.wholes.insert(name, wire::wholes(attribute, INTS)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn of(&self, name: &str) -> &[i64] {
        self.wholes.get(name).map_or(&[], Vec::as_slice)
    }

    /// `operator` is one of those with trees.
    pub(super) fn check(&self, operator: &str) -> Result<(), Problem> {
        let children = if operator == "TreeEnsemble" {
            self.numbered()?
        } else {
            self.named()?
        };
        levels(&children)
    }

    /// The children of each node where nodes are named by tree and number (`TreeEnsembleClassifier` and
    /// `TreeEnsembleRegressor`).
    fn named(&self) -> Result<Vec<[Option<usize>; 2]>, Problem> {
        let (trees, nodes) = (self.of("nodes_treeids"), self.of("nodes_nodeids"));
        let sides = [self.of("nodes_truenodeids"), self.of("nodes_falsenodeids")];
        let lengths = [
            nodes.len(),
            sides[0].len(),
            sides[1].len(),
            self.modes.len(),
        ];
        if lengths.iter().any(|length| *length != trees.len()) {
            return Err(uneven());
        }
        let names = trees.iter().copied().zip(nodes.iter().copied());
        let places: HashMap<(i64, i64), usize> = names
            .clone()
            .enumerate()
            .map(|(at, name)| (name, at))
            .collect();
        if places.len() != trees.len() {
            return Err(Problem::Said(
                "two nodes of a tree have the same number".to_owned(),
            ));
        }
        let mut children = Vec::with_capacity(trees.len());
        for (at, (tree, node)) in names.enumerate() {
            if self.modes[at] == b"LEAF" {
                children.push([None, None]);
                continue;
            }
            let child = |side: usize| {
                let child = sides[side][at];
                let place = places.get(&(tree, child)).copied();
                place.map(Some).ok_or_else(|| no_child(tree, node, child))
            };
            children.push([child(0)?, child(1)?]);
        }
        Ok(children)
    }

    /// The same where children are places in the list of nodes, or of leaves (`TreeEnsemble`).
    fn numbered(&self) -> Result<Vec<[Option<usize>; 2]>, Problem> {
        let sides = [self.of("nodes_truenodeids"), self.of("nodes_falsenodeids")];
        let leaves = [self.of("nodes_trueleafs"), self.of("nodes_falseleafs")];
        let nodes = sides[0].len();
        if [sides[1].len(), leaves[0].len(), leaves[1].len()] != [nodes; 3] {
            return Err(uneven());
        }
        let child = |side: usize, at: usize| {
            if leaves[side][at] != 0 {
                return Ok(None);
            }
            let child = sides[side][at];
            let place = usize::try_from(child).ok().filter(|place| *place < nodes);
            let node = i64::try_from(at).unwrap_or(i64::MAX);
            place.map(Some).ok_or_else(|| no_child(0, node, child))
        };
        (0..nodes)
            .map(|at| Ok([child(0, at)?, child(1, at)?]))
            .collect()
    }
}

/// Goes down from all roots at once. Two nodes may share a child, as converters write it for sets of categories.
fn levels(children: &[[Option<usize>; 2]]) -> Result<(), Problem> {
    let mut parents = vec![0_u32; children.len()];
    for &child in children.iter().flatten().flatten() {
        parents[child] += 1;
    }
    let is_root = |at: &usize| parents[*at] == 0;
    let mut level: Vec<usize> = (0..children.len()).filter(is_root).collect();
    let mut seen = level.len();
    let mut depth = 0;
    while !level.is_empty() {
        depth += 1;
        let mut below = Vec::new();
        for &child in level.iter().flat_map(|at| children[*at].iter().flatten()) {
            parents[child] -= 1;
            if parents[child] == 0 {
                below.push(child);
            }
        }
        if depth > LEVELS_MAX {
            return Err(Problem::Said(format!(
                "a tree has more than {LEVELS_MAX} levels: limit its depth in training (`max_depth`)"
            )));
        }
        seen += below.len();
        level = below;
    }
    if seen == children.len() {
        Ok(())
    } else {
        Err(Problem::Said(
            "a tree goes round in a circle: a node is below itself; export the model again"
                .to_owned(),
        ))
    }
}

fn uneven() -> Problem {
    Problem::Said(
        "the lists that describe the nodes of its trees are not equally long; export the model again"
            .to_owned(),
    )
}

fn no_child(tree: i64, node: i64, child: i64) -> Problem {
    Problem::Said(format!(
        "node {node} of tree {tree} leads to node {child}, which is not there; export the model again"
    ))
}
