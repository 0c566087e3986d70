//! Very hot entities: events merged into steps of event time, so that memory is bounded by time and not by events.
//!
//! A window over steps covers every step that it touches: it begins up to one step earlier and ends up to one step
//! later than the window of an entity whose events are kept. What is asked of whole windows stays exact over that wider window
//! (counts, sums, means, deviations, rates, extremes, the last value, the first event); different values are counted
//! exactly up to 255 a window and estimated beyond ([`Sketch`]). Numbers are rounded to millionths.
//!
//! An event in flight stays a row until its echo confirms it, because what was merged cannot be taken out again.

mod image;

use std::collections::VecDeque;

use tollgate_types::{EventTime, Span, TransactionKey};

use crate::block::{Flags, Kind, Row, Shape, Sums, wider};
use crate::label::Verdict;
use crate::sketch::Sketch;

#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// Oldest first.
    steps: VecDeque<Step>,
    in_flight: Vec<Row>,
    bytes: usize,
}

/// All events of one step.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) start: EventTime,
    pub(crate) rows: usize,
    pub(crate) declined: usize,
    pub(crate) first: EventTime,
    pub(crate) last: EventTime,
    /// By how much the number of frauds changed, and since when that is known, to the step.
    frauds: Vec<(EventTime, isize)>,
    /// Per column of the shape.
    pub(crate) columns: Box<[StepColumn]>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct StepColumn {
    pub(crate) sums: Sums,
    pub(crate) extremes: Option<(u64, u64)>,
    pub(crate) distinct: Sketch,
    /// Rows whose flag is true.
    pub(crate) positive: usize,
    /// The newest value, and whose it is, by which ties are broken.
    pub(crate) last: Option<(EventTime, TransactionKey, u64)>,
}

impl Steps {
    /// Takes an event; false if it is in flight already.
    pub(crate) fn add(&mut self, shape: &Shape, step: Span, row: &Row) -> bool {
        if !row.flags.has(Flags::IN_FLIGHT) {
            self.merge(shape, step, row);
            return true;
        }
        let known = self.in_flight.iter().any(|other| other.key == row.key);
        if !known {
            self.in_flight.push(row.clone());
        }
        !known
    }

    /// Merges an event in flight, now that its result is known, with the labels it has by now.
    pub(crate) fn confirm(
        &mut self,
        shape: &Shape,
        step: Span,
        (key, flags): (TransactionKey, Flags),
        labels: &[Verdict],
    ) {
        if let Some(mut row) = self.take_in_flight(key) {
            row.flags = flags;
            self.merge(shape, step, &row);
            self.relabel(step, (row.time(), key), &[], labels);
        }
    }

    /// Takes an event out whose echo never came.
    pub(crate) fn take_in_flight(&mut self, key: TransactionKey) -> Option<Row> {
        let at = self.in_flight.iter().position(|row| row.key == key)?;
        Some(self.in_flight.swap_remove(at))
    }

    /// Takes over what labels said of an event, and what they say now. Those of an event in flight wait until it is
    /// merged.
    pub(crate) fn relabel(
        &mut self,
        step: Span,
        (time, key): (EventTime, TransactionKey),
        before: &[Verdict],
        after: &[Verdict],
    ) {
        if self.in_flight.iter().any(|row| row.key == key) {
            return;
        }
        let Ok(at) = self.find(floor(time, step)) else {
            return;
        };
        let frauds = &mut self.steps[at].frauds;
        let changes = turns(before)
            .map(|(known_at, by)| (known_at, -by))
            .chain(turns(after));
        for (known_at, by) in changes {
            // Known once the step is over: rounded up, so that nothing is known too early.
            let known_at = floor(known_at.plus(step).minus(Span::from_micros(1)), step);
            match frauds.binary_search_by_key(&known_at, |(known, _)| *known) {
                Ok(at) => frauds[at].1 += by,
                Err(at) => frauds.insert(at, (known_at, by)),
            }
        }
        frauds.retain(|(_, by)| *by != 0);
    }

    /// Steps that a window touches, newest first.
    pub(crate) fn between(
        &self,
        step: Span,
        from: EventTime,
        to: EventTime,
    ) -> impl Iterator<Item = &Step> {
        let inside = move |at: &&Step| at.start <= to && at.start.plus(step) > from;
        self.steps
            .iter()
            .rev()
            .skip_while(move |at| at.start > to)
            .take_while(inside)
    }

    /// Events in flight, of which none is merged.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &Row> {
        self.in_flight.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.in_flight.is_empty()
    }

    /// Lets go of steps that ended at or before `horizon`.
    pub(crate) fn evict(&mut self, step: Span, horizon: EventTime) {
        // Their rows under the card go too, and nobody would take these out any more.
        self.in_flight.retain(|row| row.time() > horizon);
        while self
            .steps
            .front()
            .is_some_and(|oldest| oldest.start.plus(step) <= horizon)
        {
            if let Some(gone) = self.steps.pop_front() {
                self.bytes -= gone.bytes();
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes + self.in_flight.len() * size_of::<Row>()
    }

    fn merge(&mut self, shape: &Shape, step: Span, row: &Row) {
        let start = floor(row.time(), step);
        let at = self.find(start).unwrap_or_else(|at| {
            let new = Step::new(shape, start);
            self.bytes += new.bytes();
            self.steps.insert(at, new);
            at
        });
        let before = self.steps[at].bytes();
        self.steps[at].merge(shape, row);
        self.bytes = self.bytes + self.steps[at].bytes() - before;
    }

    fn find(&self, start: EventTime) -> Result<usize, usize> {
        match self.steps.back() {
            Some(newest) if newest.start == start => Ok(self.steps.len() - 1),
            _ => self.steps.binary_search_by_key(&start, |step| step.start),
        }
    }
}

impl Step {
    fn new(shape: &Shape, start: EventTime) -> Self {
        Self {
            start,
            rows: 0,
            declined: 0,
            first: EventTime::MAX,
            last: EventTime::MIN,
            frauds: Vec::new(),
            columns: vec![StepColumn::default(); shape.columns()].into(),
        }
    }

    fn merge(&mut self, shape: &Shape, row: &Row) {
        self.rows += 1;
        self.declined += usize::from(row.flags.has(Flags::DECLINED));
        self.first = self.first.min(row.time());
        self.last = self.last.max(row.time());
        for (at, (column, value)) in self.columns.iter_mut().zip(&row.values).enumerate() {
            if let Some(bits) = value
                && at != Shape::KNOWN_AT
            {
                column.merge(shape.kind(at), (row.time(), row.key, *bits));
            }
        }
    }

    /// Events known to be fraud at some moment.
    pub(crate) fn frauds_at(&self, at: EventTime) -> usize {
        let known = self
            .frauds
            .iter()
            .take_while(|(known_at, _)| *known_at <= at);
        usize::try_from(known.map(|(_, by)| by).sum::<isize>()).unwrap_or(0)
    }

    fn bytes(&self) -> usize {
        let sketches: usize = self
            .columns
            .iter()
            .map(|column| column.distinct.bytes())
            .sum();
        size_of::<Self>() + size_of_val(&*self.columns) + sketches
    }
}

impl StepColumn {
    pub(crate) fn merge(&mut self, kind: Kind, (at, key, bits): (EventTime, TransactionKey, u64)) {
        if kind == Kind::Number {
            self.sums = self.sums.plus(Sums::rounded(f64::from_bits(bits)));
        }
        self.extremes = Some(wider(kind, self.extremes, (bits, bits)));
        self.distinct.insert(bits);
        self.positive += usize::from(kind == Kind::Flag && bits != 0);
        self.last = self.last.max(Some((at, key, bits)));
    }
}

/// The start of the step that a moment lies in.
pub(crate) fn floor(time: EventTime, step: Span) -> EventTime {
    EventTime::from_micros(time.micros().div_euclid(step.micros().max(1)) * step.micros().max(1))
}

/// The moments at which labels turn an event into fraud (1) or back (−1).
fn turns(labels: &[Verdict]) -> impl Iterator<Item = (EventTime, isize)> {
    let mut fraud = false;
    labels.iter().filter_map(move |(known_at, says_fraud)| {
        let turned = fraud != *says_fraud;
        fraud = *says_fraud;
        turned.then_some((*known_at, if fraud { 1 } else { -1 }))
    })
}
