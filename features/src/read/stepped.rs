//! Reading the aggregates of an entity that is kept in steps.

use tollgate_expr::Frame;
use tollgate_types::{EventTime, Span};

use super::gather::Gather;
use super::rows::Scene;
use crate::plan::{Group, Lane, Walk};
use crate::steps::{Steps, floor};

/// Fills the slots of a group's aggregates from steps. `is_merged` says whether the transaction itself is among what was
/// merged, and so must not be counted again.
pub(crate) fn fill_stepped(
    group: &Group,
    steps: &Steps,
    step: Span,
    is_merged: bool,
    scene: &Scene<'_>,
    frame: &mut Frame<'_>,
) {
    for walk in &group.walks {
        for lane in &walk.lanes {
            let reading = Reading {
                walk,
                lane,
                steps,
                step,
                scene,
            };
            reading.fill(is_merged, frame);
        }
    }
}

struct Reading<'a> {
    walk: &'a Walk,
    lane: &'a Lane,
    steps: &'a Steps,
    step: Span,
    scene: &'a Scene<'a>,
}

impl Reading<'_> {
    fn fill(&self, is_merged: bool, frame: &mut Frame<'_>) {
        let end = self.scene.record.event_time().minus(self.walk.delay);
        for (window, outputs) in self.walk.windows.iter().zip(&self.lane.outputs) {
            if outputs.is_empty() {
                continue;
            }
            // Steps are few, so each window is gathered for itself: extremes and sketches cannot be taken back.
            let mut gather = Gather::new(self.lane);
            if self.walk.delay == Span::ZERO && !is_merged {
                gather.add_own(self.lane, self.scene);
                gather.round_own(self.lane, self.scene);
            }
            self.add_between(&mut gather, end.minus(*window), end);
            for output in outputs {
                let cell = gather.result(output, self.scene);
                frame.set(output.slot, cell.unwrap_or(tollgate_types::Cell::MISSING));
            }
        }
    }

    fn add_between(&self, gather: &mut Gather, from: EventTime, to: EventTime) {
        let own = self.scene.record.key();
        // As the steps have it: whatever shares a step with the window counts.
        let touches = |at: EventTime| {
            let start = floor(at, self.step);
            start.plus(self.step) > from && start <= to
        };
        let in_flight = self
            .steps
            .in_flight()
            .filter(|row| row.key != own && touches(row.time()));
        for row in in_flight {
            gather.add_in_flight(self.lane, row);
        }
        for step in self.steps.between(self.step, from, to) {
            gather.add_step(self.lane, step, self.scene.record.event_time());
        }
    }
}
