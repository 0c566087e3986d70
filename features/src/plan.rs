//! Which aggregates a policy reads, grouped so that each entity is looked up once and each window searched once.

use std::ops::Range;

use tollgate_expr::{Aggregate, Frame, Layout, SlotId};
use tollgate_types::{Entity, EntityId, EventTime, Record, Schema, Span};

use crate::aggregate::{self, Scope};
use crate::history::Rows;

/// The aggregates of one policy, ready to be read.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    pub(crate) groups: Vec<Group>,
}

/// The aggregates over one entity.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) entity: EntityId,
    /// Distinct delays and windows.
    intervals: Vec<Interval>,
    /// Aggregates with the index of their interval and the slot of their value.
    items: Vec<(Aggregate, usize, SlotId)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    delay: Span,
    window: Span,
}

impl ReadPlan {
    pub fn new(schema: &Schema, layout: &Layout) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for (aggregate, slot) in &layout.aggregates {
            let known = groups
                .iter()
                .position(|group| group.entity == aggregate.entity);
            let at = known.unwrap_or_else(|| {
                groups.push(Group::new(aggregate.entity));
                groups.len() - 1
            });
            groups[at].add(aggregate.clone(), *slot);
        }
        debug_assert!(
            groups
                .iter()
                .all(|group| schema.entities().len() > group.entity.0.into())
        );
        Self { groups }
    }
}

impl Group {
    const fn new(entity: EntityId) -> Self {
        Self {
            entity,
            intervals: Vec::new(),
            items: Vec::new(),
        }
    }

    fn add(&mut self, aggregate: Aggregate, slot: SlotId) {
        let interval = Interval {
            delay: aggregate.delay,
            window: aggregate.window,
        };
        let known = self.intervals.iter().position(|other| *other == interval);
        let at = known.unwrap_or_else(|| {
            self.intervals.push(interval);
            self.intervals.len() - 1
        });
        self.items.push((aggregate, at, slot));
    }

    /// Evaluates every aggregate over rows of which `own` is the transaction being scored.
    pub(crate) fn fill(
        &self,
        entity: &Entity,
        rows: Rows<'_>,
        own: usize,
        record: &Record<'_>,
        frame: &mut Frame<'_>,
    ) {
        let at = record.event_time();
        let windows: Vec<Range<usize>> = self
            .intervals
            .iter()
            .map(|interval| interval.rows(rows, own, at))
            .collect();
        for (aggregate, interval, slot) in &self.items {
            let window = windows[*interval].clone();
            let scope = Scope {
                entity,
                rows,
                window,
                own,
                record,
            };
            frame.set(*slot, aggregate::evaluate(aggregate, &scope));
        }
    }
}

impl Interval {
    /// The rows in `(at − delay − window, at − delay]`. Without delay the window ends with the row being
    /// scored, so that events which tie with it but came later do not count.
    fn rows(self, rows: Rows<'_>, own: usize, at: EventTime) -> Range<usize> {
        let end_time = at.minus(self.delay);
        let end = if self.delay == Span::ZERO {
            own + 1
        } else {
            rows.up_to(end_time)
        };
        let start = rows.up_to(end_time.minus(self.window));
        start.min(end)..end
    }
}
