//! Parts that several expressions of a policy have in common are computed once per decision.
//!
//! Every condition and feature is a tree; trees that are equal are one. What occurs more than once, and takes more
//! than reading its result would, gets a slot of its own. It is computed before everything that reads it, whether
//! or not some condition would have come to a stop before it: all shared parts together take no more time than
//! the conditions would have taken in full.
//!
//! Parts that only conditions over the model's score have in common are computed after the model has answered.
//!
//! Features share among themselves and conditions among themselves: a condition that names no feature needs none to
//! be computed.

use std::collections::HashMap;

use crate::compile::{TooDeep, compile};
use crate::cost::steps;
use crate::group::GroupBuilder;
use crate::layout::next_slot;
use crate::tree::Node;
use crate::{Frame, Group, Program, SlotId};

/// Parts below that are not worth a slot: writing and reading it takes two or three steps.
const SHARED_STEPS_MIN: u64 = 4;

/// The same for parts of conditions, of all places where one stands together: features are all computed, but of
/// conditions only about one in ten comes to its last terms ([`crate::Group`]).
const SHARED_STEPS_MIN_OF_CONDITIONS: u64 = 40;

/// Conditions of a policy, linked: they read the slots of what they share.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Conditions {
    pub(crate) nodes: Vec<Node>,
    pub(crate) programs: Vec<Program>,
    /// Read by conditions that do not read the score, and perhaps by others.
    pub before_score: Shared,
    /// Read only by conditions that read the score.
    pub with_score: Shared,
}

/// In the place of a condition that is not there.
const NEVER: Node = Node::Constant(0);

/// A condition among those of one compiler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConditionId(pub(crate) u32);

/// Programs and the slots of their results, each before those that read it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shared(pub(crate) Vec<(Program, SlotId)>);

impl Conditions {
    /// The program of a condition. Before it is evaluated, so must be what it shares.
    pub fn program(&self, id: ConditionId) -> Option<&Program> {
        self.programs.get(usize::try_from(id.0).ok()?)
    }

    /// Some of them, to be evaluated together. Their places in the group are their order here.
    pub fn group(&self, ids: impl IntoIterator<Item = ConditionId>) -> Group {
        let mut group = GroupBuilder::default();
        for id in ids {
            let node = usize::try_from(id.0).ok().and_then(|at| self.nodes.get(at));
            debug_assert!(node.is_some(), "{id:?} is of another compiler");
            group.push(node.unwrap_or(&NEVER));
        }
        group.finish()
    }
}

impl Shared {
    /// Computes all of them. Allocates nothing.
    pub fn evaluate(&self, frame: &mut Frame<'_>) {
        for (program, slot) in &self.0 {
            let cell = program.eval(frame);
            frame.set(*slot, cell);
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A condition before it is linked.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Tree {
    pub(crate) node: Node,
    pub(crate) program: Program,
    pub(crate) reads_score: bool,
}

/// What comes of linking.
#[derive(Debug)]
pub(crate) struct Linked {
    /// Features among what they share with one another.
    pub(crate) features: Shared,
    pub(crate) conditions: Conditions,
    pub(crate) slots: usize,
}

/// Links features, in their order, and conditions. `slots` are taken already.
pub(crate) fn link(
    features: &[(Node, SlotId)],
    conditions: &[Tree],
    slots: usize,
) -> Result<Linked, TooDeep> {
    let nodes = features.iter().map(|(node, _)| node);
    let mut among_features = Linker::new(nodes, slots, SHARED_STEPS_MIN);
    for (node, slot) in features {
        among_features.feature(node, *slot)?;
    }
    let nodes = conditions.iter().map(|tree| &tree.node);
    let least = SHARED_STEPS_MIN_OF_CONDITIONS;
    let mut linker = Linker::new(nodes, among_features.slots, least);
    let mut linked = vec![None; conditions.len()];
    let [before_score, with_score] = [false, true].map(|reads_score| {
        let own = conditions.iter().zip(&mut linked);
        for (tree, linked) in own.filter(|(tree, _)| tree.reads_score == reads_score) {
            *linked = Some(linker.condition(tree));
        }
        Shared(std::mem::take(&mut linker.done))
    });
    let linked: Vec<(Node, Program)> = linked.into_iter().flatten().collect::<Result<_, _>>()?;
    let (nodes, programs) = linked.into_iter().unzip();
    Ok(Linked {
        features: Shared(among_features.done),
        conditions: Conditions {
            nodes,
            programs,
            before_score,
            with_score,
        },
        slots: linker.slots,
    })
}

struct Linker<'n> {
    /// How many different trees, and wholes, each tree is directly part of.
    occurrences: HashMap<&'n Node, u32>,
    /// Where trees are computed to.
    places: HashMap<&'n Node, SlotId>,
    /// What is computed so far, in order.
    done: Vec<(Program, SlotId)>,
    slots: usize,
    /// Steps that all occurrences of a part take together, from which on it is shared.
    least: u64,
}

impl<'n> Linker<'n> {
    fn new(nodes: impl Iterator<Item = &'n Node>, slots: usize, least: u64) -> Self {
        let mut linker = Self {
            occurrences: HashMap::new(),
            places: HashMap::new(),
            done: Vec::new(),
            slots,
            least,
        };
        nodes.for_each(|node| linker.count(node));
        linker
    }

    /// The parts of a tree that was met before have been counted with it.
    fn count(&mut self, node: &'n Node) {
        if steps(node) < SHARED_STEPS_MIN {
            return;
        }
        let occurrences = self.occurrences.entry(node).or_default();
        *occurrences += 1;
        if *occurrences == 1 {
            node.children().for_each(|child| self.count(child));
        }
    }

    fn is_shared(&self, node: &Node) -> bool {
        let times = self.occurrences.get(node).copied().unwrap_or_default();
        times > 1 && u64::from(times) * steps(node) >= self.least
    }

    /// A feature has a slot already, from which all others can read it.
    fn feature(&mut self, node: &'n Node, slot: SlotId) -> Result<(), TooDeep> {
        let program = match self.places.get(node) {
            Some(known) => compile(&Node::Slot(*known))?,
            None => compile(&self.linked_inside(node)?)?,
        };
        self.done.push((program, slot));
        if self.is_shared(node) {
            self.places.entry(node).or_insert(slot);
        }
        Ok(())
    }

    fn condition(&mut self, tree: &'n Tree) -> Result<(Node, Program), TooDeep> {
        let linked = self.linked(&tree.node)?;
        let program = if linked == tree.node {
            tree.program.clone()
        } else {
            compile(&linked)?
        };
        Ok((linked, program))
    }

    /// The tree with shared parts read from their slots; those that have none yet are computed first.
    fn linked(&mut self, node: &'n Node) -> Result<Node, TooDeep> {
        if let Some(slot) = self.places.get(node) {
            return Ok(Node::Slot(*slot));
        }
        let inside = self.linked_inside(node)?;
        if !self.is_shared(node) {
            return Ok(inside);
        }
        let slot = next_slot(&mut self.slots);
        self.done.push((compile(&inside)?, slot));
        self.places.insert(node, slot);
        Ok(Node::Slot(slot))
    }

    fn linked_inside(&mut self, node: &'n Node) -> Result<Node, TooDeep> {
        if steps(node) < SHARED_STEPS_MIN {
            return Ok(node.clone());
        }
        let children = node.children().map(|child| self.linked(child));
        let children: Vec<Node> = children.collect::<Result<_, _>>()?;
        let mut children = children.into_iter();
        Ok(node.with_children(|child| children.next().unwrap_or_else(|| child.clone())))
    }
}
