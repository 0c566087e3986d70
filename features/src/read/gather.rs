//! What one lane has gathered on its way back through a history.

use std::ops::Range;

use tollgate_expr::Function;
use tollgate_types::{Cell, EventTime, TransactionKey};

use super::distinct::Distinct;
use super::rows::{Opened, Opener, Scene};
use super::{mean, to_number};
use crate::block::{Flags, Row, Rows, Sums, View, wider};
use crate::decimal;
use crate::history::Place;
use crate::plan::{Gathered, Lane, Output, Source};
use crate::sketch::Sketch;
use crate::steps::{Step, StepColumn};
use crate::totals::Totals;

/// Of all rows gathered so far.
pub(super) struct Gather {
    rows: usize,
    /// Event time of the oldest row, the transaction itself included.
    oldest: Option<EventTime>,
    /// Event time of the newest row before the transaction.
    newest_before: Option<EventTime>,
    columns: Vec<Column>,
}

/// Of one column.
#[derive(Default)]
struct Column {
    sums: Sums,
    extremes: Option<(u64, u64)>,
    distinct: Distinct,
    /// Of steps, where values are not counted one by one.
    sketch: Option<Sketch>,
    /// Rows whose flag is true.
    positive: usize,
    /// The newest value before the transaction.
    last: Option<u64>,
    /// When the last value of steps happened, and whose it is.
    last_merged: Option<(EventTime, TransactionKey, u64)>,
}

impl Gather {
    pub(super) fn new(lane: &Lane) -> Self {
        Self {
            rows: 0,
            oldest: None,
            newest_before: None,
            columns: lane.columns.iter().map(|_| Column::default()).collect(),
        }
    }

    /// Adds the transaction itself.
    pub(super) fn add_own(&mut self, lane: &Lane, scene: &Scene<'_>) {
        if !scene.own_passes(lane.filter.as_ref()) {
            return;
        }
        self.rows += 1;
        self.oldest = Some(scene.record.event_time());
        for (column, gathered) in self.columns.iter_mut().zip(&lane.columns) {
            if let Some(bits) = scene.own_cell(gathered.source).bits() {
                column.add_one(gathered, bits);
            }
        }
    }

    /// Rounds numbers that are no whole millionths, as steps do.
    pub(super) fn round_own(&mut self, lane: &Lane, scene: &Scene<'_>) {
        for (column, gathered) in self.columns.iter_mut().zip(&lane.columns) {
            if column.sums.inexact > 0
                && let Some(number) = scene.own_cell(gathered.source).as_number()
            {
                column.sums = Sums::rounded(number);
            }
        }
    }

    /// Adds all events of a step.
    pub(super) fn add_step(&mut self, lane: &Lane, step: &Step, at: EventTime) {
        self.rows += step.rows;
        self.note_time(step.first, step.last.min(at));
        for (column, gathered) in self.columns.iter_mut().zip(&lane.columns) {
            match gathered.source {
                Source::Declined => column.positive += step.declined,
                Source::Fraud => column.positive += step.frauds_at(at),
                Source::Stored(stored, _) => column.add_merged(gathered, &step.columns[stored]),
            }
        }
    }

    /// Adds an event in flight that stands beside the steps.
    pub(super) fn add_in_flight(&mut self, lane: &Lane, row: &Row) {
        self.rows += 1;
        self.note_time(row.time(), row.time());
        for (column, gathered) in self.columns.iter_mut().zip(&lane.columns) {
            if let Source::Stored(stored, _) = gathered.source
                && let Some(bits) = row.values[stored]
            {
                let mut merged = StepColumn::default();
                merged.merge(gathered.kind, (row.time(), row.key, bits));
                column.add_merged(gathered, &merged);
            }
        }
    }

    fn note_time(&mut self, oldest: EventTime, newest: EventTime) {
        self.oldest = Some(self.oldest.map_or(oldest, |known| known.min(oldest)));
        self.newest_before = self.newest_before.max(Some(newest));
    }

    /// Adds the rows between two places.
    pub(super) fn add(
        &mut self,
        lane: &Lane,
        scene: &Scene<'_>,
        opener: &mut Opener<'_>,
        from: Place,
        to: Place,
    ) {
        if lane.filter.is_some() {
            opener.for_each(
                from,
                to,
                |_| true,
                |_, opened, range| {
                    let picked = scene.pick(lane.filter.as_ref(), opened, range);
                    self.rows += picked.rows().len();
                    self.note_rows(opened, &picked.rows());
                    self.add_columns(lane, scene, opened, &picked.rows(), |_| true);
                },
            );
            return;
        }
        self.rows += scene.history.before(to) - scene.history.before(from);
        // Blocks that lie between these whole need not be looked at for what their totals say.
        let whole = from.block + 1..to.block;
        let in_totals = lane.columns.iter().all(Gathered::is_in_totals);
        opener.for_each(
            from,
            to,
            |at| {
                // Where there are no rows at an end, the next block says when the first or the last event happened.
                let is_oldest =
                    at == whole.start && from.row == scene.history.block(from.block).rows();
                let is_newest = at + 1 == whole.end && to.row == 0;
                is_oldest || is_newest || !in_totals || !whole.contains(&at)
            },
            |at, opened, range| {
                let rows = Rows::Range(range);
                self.note_rows(opened, &rows);
                let is_whole = whole.contains(&at);
                self.add_columns(lane, scene, opened, &rows, |gathered| {
                    !is_whole || !gathered.is_in_totals()
                });
            },
        );
        if !whole.is_empty() {
            self.add_totals(lane, scene, whole);
        }
    }

    fn add_totals(&mut self, lane: &Lane, scene: &Scene<'_>, whole: Range<usize>) {
        let (before, after) = (
            scene.history.totals_before(whole.start),
            scene.history.totals_before(whole.end),
        );
        let Some((before, after)) = before.zip(after) else {
            return;
        };
        for (column, gathered) in self.columns.iter_mut().zip(&lane.columns) {
            match gathered.source {
                _ if !gathered.is_in_totals() => {}
                Source::Declined => column.positive += after.declined - before.declined,
                Source::Stored(at, _) => {
                    let sums = |totals: &Totals| totals.sums(scene.shape, at);
                    column.sums = column.sums.plus(sums(after).minus(sums(before)));
                }
                Source::Fraud => {}
            }
        }
    }

    fn note_rows(&mut self, opened: &Opened<'_>, rows: &Rows<'_>) {
        if let (Some(oldest), Some(newest)) = (rows.first(), rows.last()) {
            self.oldest = Some(opened.time(oldest));
            if self.newest_before.is_none() {
                self.newest_before = Some(opened.time(newest));
            }
        }
    }

    fn add_columns(
        &mut self,
        lane: &Lane,
        scene: &Scene<'_>,
        opened: &Opened<'_>,
        rows: &Rows<'_>,
        wanted: impl Fn(&Gathered) -> bool,
    ) {
        for (column, gathered) in self.columns.iter_mut().zip(&lane.columns) {
            if wanted(gathered) {
                match gathered.source {
                    Source::Stored(at, _) => column.add_stored(gathered, &opened.views[at], rows),
                    Source::Declined => column.add_declined(gathered, opened, rows),
                    Source::Fraud => column.add_fraud(gathered, scene, opened, rows),
                }
            }
        }
    }

    /// What an aggregate makes of this; `None` where sums are of no use because some number is no whole count of
    /// millionths, or they do not fit.
    pub(super) fn result(&self, output: &Output, scene: &Scene<'_>) -> Option<Cell> {
        let column = self.columns.get(output.column);
        let sums = column.map(|column| &column.sums);
        let sums = || sums.unwrap_or(&Sums::ZERO);
        let exact = || Some(sums()).filter(|sums| sums.inexact == 0);
        let from_bits = |bits: Option<u64>| Some(Cell::from_bits(bits));
        match output.function {
            Function::Count => Some(Cell::number(to_number(self.rows))),
            Function::Sum(_) => exact().map(|sums| Cell::number(decimal::number(sums.sum))),
            Function::Average(_) => exact().map(|sums| mean(sums.sum, sums.count)),
            Function::Stddev(_) if sums().count == 0 => Some(Cell::MISSING),
            Function::Stddev(_) => {
                let sums = exact()?;
                decimal::stddev(sums.count, sums.sum, sums.squares).map(Cell::number)
            }
            Function::Min(_) => from_bits(column.and_then(|column| Some(column.extremes?.0))),
            Function::Max(_) => from_bits(column.and_then(|column| Some(column.extremes?.1))),
            Function::Distinct(_) => Some(Cell::number(column.map_or(0.0, Column::different))),
            Function::Rate(_) => {
                let positive = column.map_or(0, |column| column.positive);
                Some(Cell::number(share(positive, self.rows)))
            }
            Function::Last(_) => from_bits(column.and_then(|column| column.last)),
            Function::SinceLast => {
                let at = scene.record.event_time();
                let since = self
                    .newest_before
                    .map(|before| Cell::span(at.since(before)));
                Some(since.unwrap_or(Cell::MISSING))
            }
            Function::FirstSeen => Some(self.oldest.map_or(Cell::MISSING, Cell::time)),
        }
    }
}

impl Gathered {
    /// Whether the totals of whole blocks say all that is needed.
    const fn is_in_totals(&self) -> bool {
        let needs = self.needs;
        let beyond_sums = needs.extremes || needs.distinct || needs.last;
        match self.source {
            Source::Declined => !beyond_sums,
            Source::Stored(..) => !beyond_sums && !needs.share,
            Source::Fraud => false,
        }
    }
}

impl Column {
    /// How many different values there are.
    fn different(&self) -> f64 {
        match &self.sketch {
            None => to_number(self.distinct.len()),
            Some(sketch) => {
                let mut all = sketch.clone();
                self.distinct.for_each(|value| all.insert(value));
                all.estimate()
            }
        }
    }

    /// Adds what was merged of this column.
    fn add_merged(&mut self, gathered: &Gathered, merged: &StepColumn) {
        let needs = gathered.needs;
        self.sums = self.sums.plus(merged.sums);
        self.positive += merged.positive;
        if let Some(found) = merged.extremes {
            self.extremes = Some(wider(gathered.kind, self.extremes, found));
        }
        if needs.distinct {
            self.sketch.get_or_insert_default().merge(&merged.distinct);
        }
        self.last_merged = self.last_merged.max(merged.last);
        self.last = self.last_merged.map(|(_, _, bits)| bits);
    }

    /// Adds the value of the transaction itself.
    fn add_one(&mut self, gathered: &Gathered, bits: u64) {
        let needs = gathered.needs;
        if needs.sums {
            self.sums = self.sums.plus(Sums::of(f64::from_bits(bits)));
        }
        if needs.extremes {
            self.extremes = Some((bits, bits));
        }
        if needs.distinct {
            self.distinct.insert(bits);
        }
        if needs.share {
            self.positive += usize::from(bits != 0);
        }
    }

    fn add_stored(&mut self, gathered: &Gathered, view: &View<'_>, rows: &Rows<'_>) {
        let needs = gathered.needs;
        if needs.sums {
            self.sums = self.sums.plus(view.sums(rows, needs.squares));
        }
        if needs.extremes
            && let Some(found) = view.extremes(rows)
        {
            self.extremes = Some(wider(gathered.kind, self.extremes, found));
        }
        if needs.distinct {
            view.for_each_distinct(rows, |bits| self.distinct.insert(bits));
        }
        if needs.share {
            view.for_each(rows, |bits| self.positive += usize::from(bits != 0));
        }
        if needs.last && self.last.is_none() {
            self.last = rows.backwards().find_map(|row| view.get(row));
        }
    }

    fn add_declined(&mut self, gathered: &Gathered, opened: &Opened<'_>, rows: &Rows<'_>) {
        let needs = gathered.needs;
        if needs.share {
            let is_declined = |row: &&u8| Flags::DECLINED.any_in(**row);
            self.positive += match rows {
                Rows::Range(range) => opened.flags[range.clone()]
                    .iter()
                    .filter(is_declined)
                    .count(),
                Rows::Picked(rows) => rows
                    .iter()
                    .map(|row| &opened.flags[usize::from(*row)])
                    .filter(is_declined)
                    .count(),
            };
        }
        if needs.extremes || needs.distinct || needs.last {
            self.add_flags(gathered, rows.backwards().map(|row| opened.declined(row)));
        }
    }

    fn add_fraud(
        &mut self,
        gathered: &Gathered,
        scene: &Scene<'_>,
        opened: &Opened<'_>,
        rows: &Rows<'_>,
    ) {
        let needs = gathered.needs;
        let suspect = Flags::FRAUD.with(Flags::RELABELLED, true);
        let is_fraud =
            |row: usize| suspect.any_in(opened.flags[row]) && scene.is_fraud(opened, row);
        if needs.share {
            self.positive += rows.backwards().filter(|row| is_fraud(*row)).count();
        }
        if needs.extremes || needs.distinct || needs.last {
            self.add_flags(
                gathered,
                rows.backwards().map(|row| Cell::flag(is_fraud(row))),
            );
        }
    }

    /// Adds flags, newest first, but for their share.
    fn add_flags(&mut self, gathered: &Gathered, values: impl Iterator<Item = Cell>) {
        for bits in values.filter_map(Cell::bits) {
            if gathered.needs.distinct {
                self.distinct.insert(bits);
            }
            self.extremes = Some(wider(gathered.kind, self.extremes, (bits, bits)));
            self.last = self.last.or(Some(bits));
        }
    }
}

/// The share of rows whose flag is true; a flag that is not known counts as not true.
fn share(positive: usize, rows: usize) -> f64 {
    if rows == 0 {
        0.0
    } else {
        to_number(positive) / to_number(rows)
    }
}
