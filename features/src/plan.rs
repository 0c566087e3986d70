//! Which aggregates a policy reads, arranged so that each entity is looked up once, each window searched once, and
//! each row looked at once for all of them.
//!
//! Windows with one delay end at the same row and lie inside one another, so one walk from the newest row to the
//! oldest serves them all: after the rows of each window, what was gathered so far is that window's. Aggregates
//! with one filter share a [`Lane`], whose rows are picked once.

use tollgate_expr::{Aggregate, Function, Layout, Program, SlotId};
use tollgate_types::{ColumnId, Entity, EntityId, Schema, Span};

use crate::block::{Kind, Shape};

/// The aggregates of one policy, ready to be read.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    pub(crate) groups: Vec<Group>,
}

/// The aggregates over one entity.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) entity: EntityId,
    pub(crate) walks: Vec<Walk>,
}

/// The aggregates over one entity whose windows end at the same moment.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    /// How long before the transaction the windows end.
    pub(crate) delay: Span,
    /// Shortest first, all different.
    pub(crate) windows: Vec<Span>,
    pub(crate) lanes: Vec<Lane>,
}

/// The aggregates of a walk that look at the same rows.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    /// Which rows count; all if there is none.
    pub(crate) filter: Option<Program>,
    /// What must be gathered.
    pub(crate) columns: Vec<Gathered>,
    /// By window, in the order of the walk's.
    pub(crate) outputs: Vec<Vec<Output>>,
}

/// What is gathered of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gathered {
    pub(crate) source: Source,
    pub(crate) kind: Kind,
    pub(crate) needs: Needs,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Fraud,
    Declined,
    /// A column of the blocks, and its number among the entity's.
    Stored(usize, ColumnId),
}

/// Which of the things that can be gathered of a column some aggregate asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent of one another"
)]
pub(crate) struct Needs {
    pub(crate) sums: bool,
    pub(crate) squares: bool,
    pub(crate) extremes: bool,
    pub(crate) distinct: bool,
    pub(crate) share: bool,
    pub(crate) last: bool,
}

impl Needs {
    const NONE: Self = Self {
        sums: false,
        squares: false,
        extremes: false,
        distinct: false,
        share: false,
        last: false,
    };

    const fn of(function: Function) -> Self {
        match function {
            Function::Sum(_) | Function::Average(_) => Self {
                sums: true,
                ..Self::NONE
            },
            Function::Stddev(_) => Self {
                sums: true,
                squares: true,
                ..Self::NONE
            },
            Function::Min(_) | Function::Max(_) => Self {
                extremes: true,
                ..Self::NONE
            },
            Function::Distinct(_) => Self {
                distinct: true,
                ..Self::NONE
            },
            Function::Rate(_) => Self {
                share: true,
                ..Self::NONE
            },
            Function::Last(_) => Self {
                last: true,
                ..Self::NONE
            },
            Function::Count | Function::SinceLast | Function::FirstSeen => Self::NONE,
        }
    }

    const fn or(self, other: Self) -> Self {
        Self {
            sums: self.sums || other.sums,
            squares: self.squares || other.squares,
            extremes: self.extremes || other.extremes,
            distinct: self.distinct || other.distinct,
            share: self.share || other.share,
            last: self.last || other.last,
        }
    }
}

/// One aggregate: what to make of what was gathered, and where to put it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) function: Function,
    /// The place of its column in the lane; 0 where it has none.
    pub(crate) column: usize,
    pub(crate) slot: SlotId,
}

impl ReadPlan {
    pub fn new(schema: &Schema, layout: &Layout) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut aggregates: Vec<&(Aggregate, SlotId)> = layout.aggregates.iter().collect();
        // So that the windows of every walk come shortest first.
        aggregates.sort_by_key(|(aggregate, _)| aggregate.window);
        for (aggregate, slot) in aggregates {
            let at = groups
                .iter()
                .position(|group| group.entity == aggregate.entity);
            let at = at.unwrap_or_else(|| {
                groups.push(Group {
                    entity: aggregate.entity,
                    walks: Vec::new(),
                });
                groups.len() - 1
            });
            groups[at].add(schema.entity_at(aggregate.entity), aggregate, *slot);
        }
        Self { groups }
    }
}

impl Group {
    fn add(&mut self, entity: &Entity, aggregate: &Aggregate, slot: SlotId) {
        let at = self
            .walks
            .iter()
            .position(|walk| walk.delay == aggregate.delay);
        let at = at.unwrap_or_else(|| {
            self.walks.push(Walk {
                delay: aggregate.delay,
                windows: Vec::new(),
                lanes: Vec::new(),
            });
            self.walks.len() - 1
        });
        self.walks[at].add(entity, aggregate, slot);
    }
}

impl Walk {
    fn add(&mut self, entity: &Entity, aggregate: &Aggregate, slot: SlotId) {
        if self.windows.last() != Some(&aggregate.window) {
            self.windows.push(aggregate.window);
        }
        let window = self.windows.len() - 1;
        let at = self
            .lanes
            .iter()
            .position(|lane| lane.filter == aggregate.filter);
        let at = at.unwrap_or_else(|| {
            self.lanes.push(Lane {
                filter: aggregate.filter.clone(),
                columns: Vec::new(),
                outputs: Vec::new(),
            });
            self.lanes.len() - 1
        });
        for lane in &mut self.lanes {
            lane.outputs.resize_with(window + 1, Vec::new);
        }
        self.lanes[at].add(entity, aggregate.function, window, slot);
    }
}

impl Lane {
    fn add(&mut self, entity: &Entity, function: Function, window: usize, slot: SlotId) {
        let column = column_of(function).map_or(0, |column| self.column(entity, column, function));
        self.outputs[window].push(Output {
            function,
            column,
            slot,
        });
    }

    /// The place of a column among those gathered, with what the function needs of it added.
    fn column(&mut self, entity: &Entity, column: ColumnId, function: Function) -> usize {
        let (source, kind) = match column {
            Entity::FRAUD => (Source::Fraud, Kind::Flag),
            Entity::DECLINED => (Source::Declined, Kind::Flag),
            Entity::EVENT_TIME => (Source::Stored(Shape::TIME, column), Kind::Time),
            listed => {
                let at = usize::from(listed.0);
                let kind = Kind::from(entity.columns[at].kind);
                (Source::Stored(Shape::listed(at), listed), kind)
            }
        };
        let known = self.columns.iter().position(|known| known.source == source);
        let at = known.unwrap_or_else(|| {
            let needs = Needs::NONE;
            self.columns.push(Gathered {
                source,
                kind,
                needs,
            });
            self.columns.len() - 1
        });
        self.columns[at].needs = self.columns[at].needs.or(Needs::of(function));
        at
    }
}

const fn column_of(function: Function) -> Option<ColumnId> {
    match function {
        Function::Sum(column)
        | Function::Average(column)
        | Function::Min(column)
        | Function::Max(column)
        | Function::Stddev(column)
        | Function::Distinct(column)
        | Function::Rate(column)
        | Function::Last(column) => Some(column),
        Function::Count | Function::SinceLast | Function::FirstSeen => None,
    }
}
