//! Reading the aggregates of one entity for one transaction.
//!
//! The transaction itself is never read from its history, even when it is there already: its values come from the
//! request, its result and its label are not known to it, and the walk begins with what came before it. So a
//! first score, a repeated one and a row of a training table see the same (DE-3).

mod distinct;
mod gather;
mod rows;
mod stepped;

use tollgate_expr::{Frame, Function};
use tollgate_types::{Cell, EventTime, Span};

use crate::block::Rows;
use crate::decimal;
use crate::history::{History, Place, Ties};
use crate::plan::{Gathered, Group, Lane, Source, Walk};
use gather::Gather;
use rows::Opener;
pub(crate) use rows::Scene;
pub(crate) use stepped::fill_stepped;

/// Fills the slots of a group's aggregates from a history.
pub(crate) fn fill(group: &Group, scene: &Scene<'_>, ties: Ties, frame: &mut Frame<'_>) {
    let (history, shape, at) = (scene.history, scene.shape, scene.record.event_time());
    history.block(history.blocks() - 1).touch(shape);
    let own = history.own_place(shape, at, scene.record.key(), ties);
    for walk in &group.walks {
        let end = if walk.delay == Span::ZERO {
            own
        } else {
            history.up_to(shape, at.minus(walk.delay))
        };
        walk.fill(scene, end, frame);
    }
}

/// Whether a window of this group reaches back to rows that were let go because there were too many.
pub(crate) fn is_cut_off(group: &Group, history: &History, at: EventTime) -> bool {
    let reaches = |walk: &Walk| {
        walk.windows
            .last()
            .map(|window| at.minus(walk.delay).minus(*window))
    };
    let earliest = group.walks.iter().filter_map(reaches).min();
    earliest.is_some_and(|from| history.is_cut_off_at(from))
}

impl Walk {
    /// Walks from `end` back through each window in turn.
    fn fill(&self, scene: &Scene<'_>, end: Place, frame: &mut Frame<'_>) {
        let window_end = scene.record.event_time().minus(self.delay);
        let begin = self.windows.iter().map(|window| window_end.minus(*window));
        scene.history.touch(scene.shape, begin.clone());
        // Windows lie inside one another.
        let mut to = end;
        let starts = begin.map(|time| {
            to = scene.history.up_to_within(scene.shape, time, to);
            to
        });
        let starts: Vec<Place> = starts.collect();
        let mut opener = Opener::new(scene);
        for lane in &self.lanes {
            let mut gather = Gather::new(lane);
            if self.delay == Span::ZERO {
                gather.add_own(lane, scene);
            }
            let mut to = end;
            for (&from, outputs) in starts.iter().zip(&lane.outputs) {
                gather.add(lane, scene, &mut opener, from, to);
                to = from;
                for output in outputs {
                    let cell = gather.result(output, scene).unwrap_or_else(|| {
                        let column = &lane.columns[output.column];
                        in_order(lane, column, output.function, scene, self, (from, end))
                    });
                    frame.set(output.slot, cell);
                }
            }
        }
    }
}

/// A sum, mean or deviation of numbers of which some are no whole millionths: their doubles are added in order of event
/// time, window by window, so that the result is a function of the window alone.
fn in_order(
    lane: &Lane,
    column: &Gathered,
    function: Function,
    scene: &Scene<'_>,
    walk: &Walk,
    (from, to): (Place, Place),
) -> Cell {
    let mut values: Vec<f64> = Vec::new();
    // Blocks come newest first, rows oldest first: turned round block by block, then as a whole.
    Opener::new(scene).for_each(
        from,
        to,
        |_| true,
        |_, opened, range| {
            let picked = scene.pick(lane.filter.as_ref(), opened, range);
            if let Source::Stored(at, _) = column.source {
                let first = values.len();
                opened.views[at].for_each(&picked.rows(), |bits| values.push(f64::from_bits(bits)));
                values[first..].reverse();
            }
        },
    );
    values.reverse();
    if walk.delay == Span::ZERO && scene.own_passes(lane.filter.as_ref()) {
        values.extend(scene.own_cell(column.source).as_number());
    }
    let count = to_number(values.len());
    let sum: f64 = values.iter().sum();
    match function {
        Function::Sum(_) => Cell::number(sum),
        Function::Average(_) => Cell::number(sum / count),
        _ => {
            let mean = sum / count;
            let squares: f64 = values
                .iter()
                .map(|value| (value - mean) * (value - mean))
                .sum();
            Cell::number((squares / count).sqrt())
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows stay far below 2^53"
)]
pub(crate) fn to_number(count: usize) -> f64 {
    count as f64
}

/// Sum and mean as the doubles nearest to them.
pub(crate) fn mean(sum: i128, count: usize) -> Cell {
    if count == 0 {
        Cell::MISSING
    } else {
        Cell::number(decimal::number(sum) / to_number(count))
    }
}

/// The rows of a block that count.
pub(crate) enum Picked {
    Range(std::ops::Range<usize>),
    Some(Vec<u8>),
}

impl Picked {
    pub(crate) fn rows(&self) -> Rows<'_> {
        match self {
            Self::Range(range) => Rows::Range(range.clone()),
            Self::Some(rows) => Rows::Picked(rows),
        }
    }
}
