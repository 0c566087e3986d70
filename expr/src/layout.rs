//! Which slot holds what: the agreement between compiled programs and those who fill the slots.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_types::{ColumnId, EntityId, FieldId, Span};

use crate::share::Shared;
use crate::{Program, Type, cost};

/// The slots of everything that was compiled together.
///
/// The schema's fields come first, in their order; then `model.score`; then one slot per aggregate, lookup and
/// feature, in order of first use; then one per part that several features or conditions have in common.
#[derive(Clone, PartialEq, Debug)]
pub struct Layout {
    /// How many slots at the beginning are the schema's fields.
    pub fields: usize,
    /// Where `model.score` is read from.
    pub score: SlotId,
    pub aggregates: Vec<(Aggregate, SlotId)>,
    /// What is said of each of them, in the same order.
    pub written: Vec<Written>,
    pub lookups: Vec<(Lookup, SlotId)>,
    /// In order of declaration, so each reads only those before it.
    pub features: Vec<Feature>,
    /// How many slots there are.
    pub slots: usize,
    /// What is to be computed for features, in this order: they themselves, and what they share.
    pub(crate) computed: Shared,
    /// What the inputs take to compute.
    pub(crate) input_steps: BTreeMap<SlotId, u64>,
}

impl Layout {
    /// What a feature means: its source with white space made uniform, followed by those of the features it reads,
    /// by itself or through others, the later ones first. Equal texts mean equal features, as long as schema and
    /// base currency are equal. Put together when asked for: features that read one another would take more memory
    /// than they have text.
    pub fn definition(&self, feature: &Feature) -> String {
        let mut definition = feature.canonical.clone();
        let mut reads: BTreeSet<SlotId> = feature.program.reads().collect();
        for earlier in self.features.iter().rev() {
            if reads.contains(&earlier.slot) {
                reads.extend(earlier.program.reads());
                let Feature {
                    name, canonical, ..
                } = earlier;
                definition.push_str(&format!("; features.{name} = {canonical}"));
            }
        }
        definition
    }

    /// Whether a program reads an aggregate, by itself or through features.
    pub fn reads_aggregates(&self, program: &Program) -> bool {
        let mut reads: BTreeSet<SlotId> = program.reads().collect();
        // A feature reads only those before it.
        for earlier in self.features.iter().rev() {
            if reads.contains(&earlier.slot) {
                reads.extend(earlier.program.reads());
            }
        }
        self.aggregates.iter().any(|(_, slot)| reads.contains(slot))
    }

    /// The slot of an aggregate; equal ones share one.
    pub(crate) fn aggregate(
        &mut self,
        aggregate: Aggregate,
        written: Written,
        steps: u64,
    ) -> SlotId {
        if let Some((_, slot)) = self
            .aggregates
            .iter()
            .find(|(known, _)| *known == aggregate)
        {
            return *slot;
        }
        let slot = self.next_slot();
        self.aggregates.push((aggregate, slot));
        self.written.push(written);
        self.input_steps.insert(slot, steps);
        slot
    }

    /// The slot of a lookup; equal ones share one.
    pub(crate) fn lookup(&mut self, lookup: Lookup) -> SlotId {
        if let Some((_, slot)) = self.lookups.iter().find(|(known, _)| *known == lookup) {
            return *slot;
        }
        let slot = self.next_slot();
        self.lookups.push((lookup, slot));
        self.input_steps.insert(slot, cost::LOOKUP);
        slot
    }

    pub(crate) fn next_slot(&mut self) -> SlotId {
        next_slot(&mut self.slots)
    }

    /// How much there is now, so that an expression found wrong can be taken out again.
    pub(crate) const fn mark(&self) -> Mark {
        Mark {
            aggregates: self.aggregates.len(),
            lookups: self.lookups.len(),
            slots: self.slots,
        }
    }

    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.aggregates.truncate(mark.aggregates);
        self.written.truncate(mark.aggregates);
        self.lookups.truncate(mark.lookups);
        self.slots = mark.slots;
        self.input_steps.split_off(&slot_at(mark.slots));
    }

    /// Steps of the inputs that were added since.
    pub(crate) fn input_steps_since(&self, mark: Mark) -> u64 {
        self.input_steps
            .range(slot_at(mark.slots)..)
            .map(|(_, steps)| steps)
            .sum()
    }
}

/// Takes one more slot.
pub(crate) fn next_slot(slots: &mut usize) -> SlotId {
    let slot = slot_at(*slots);
    *slots += 1;
    slot
}

fn slot_at(at: usize) -> SlotId {
    SlotId(u32::try_from(at).unwrap_or(u32::MAX))
}

/// See [`Layout::mark`].
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    aggregates: usize,
    lookups: usize,
    slots: usize,
}

/// The place of one value during a decision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlotId(pub u32);

/// A value computed from the retained events of one entity, within `(t − delay − window, t − delay]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Aggregate {
    pub entity: EntityId,
    pub window: Span,
    /// [`Span::ZERO`] where none is written.
    pub delay: Span,
    /// Which events count. Its slots are columns, see [`Program::FILTER_FIELDS`].
    pub filter: Option<Program>,
    pub function: Function,
}

/// An aggregate as people know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Its source where it is used first, with white space made uniform.
    pub source: String,
    /// The type of its value.
    pub kind: Type,
}

/// What is computed of the events in the window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Function {
    Count,
    Sum(ColumnId),
    Average(ColumnId),
    Min(ColumnId),
    Max(ColumnId),
    Stddev(ColumnId),
    Distinct(ColumnId),
    Rate(ColumnId),
    Last(ColumnId),
    SinceLast,
    FirstSeen,
}

/// `transaction.<field> in lists.<list>`: a flag, missing where the field is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    pub list: String,
    pub field: FieldId,
}

/// A named expression that others read as `features.<name>`.
#[derive(Clone, PartialEq, Debug)]
pub struct Feature {
    pub name: String,
    pub kind: Type,
    pub program: Program,
    pub slot: SlotId,
    /// The source with white space made uniform.
    pub(crate) canonical: String,
}
