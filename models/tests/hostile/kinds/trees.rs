//! Trees that are none.

use super::{Kind, kind, scoring};
use crate::writer::{Message, node};

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
    ]
    .into_iter()
    .chain(others())
    .collect()
}

fn others() -> Vec<Kind> {
    let deep = |levels: i64| Tree {
        nodes: (0..=2 * levels).collect(),
        children: (0..levels)
            .map(|level| Some([level + 1, 2 * levels - level]))
            .chain((0..=levels).map(|_| None))
            .collect(),
        ..Tree::default()
    };
    vec![
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
