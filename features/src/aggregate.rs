//! One aggregate over a range of an entity's rows.
//!
//! Every function is one pass in order of event time, so a result depends on the events and not on the order in
//! which they arrived, but for those that tie in event time.

use std::ops::Range;

use tollgate_expr::{Aggregate, Function};
use tollgate_types::{Cell, ColumnId, Entity, FieldType, Record};

use crate::history::{Row, Rows};

/// Up to this many values are told apart by looking at each; more are sorted.
const SCANNED_VALUES_MAX: usize = 32;

/// What an aggregate is computed from: the rows of one window as seen by one transaction.
pub(crate) struct Scope<'a> {
    pub(crate) entity: &'a Entity,
    pub(crate) rows: Rows<'a>,
    /// Rows inside the window.
    pub(crate) window: Range<usize>,
    /// The row of the transaction being scored: `last` and `since_last` look at what came before it.
    pub(crate) own: usize,
    pub(crate) record: &'a Record<'a>,
}

impl Scope<'_> {
    fn kind(&self, column: ColumnId) -> FieldType {
        self.entity.columns[usize::from(column.0)].kind
    }
}

pub(crate) fn evaluate(aggregate: &Aggregate, scope: &Scope<'_>) -> Cell {
    let filter = aggregate.filter.as_ref();
    let passes = |row: &Row<'_>| filter.is_none_or(|filter| row.passes(filter, scope.record));
    let rows = || scope.rows.range(scope.window.clone()).filter(passes);
    // A window never begins after the row that is scored, so this is no reversed range.
    let before_own = scope.window.start..scope.window.end.min(scope.own);
    let before = || scope.rows.range(before_own.clone()).filter(passes);
    let at = scope.record.event_time();
    let cells = |column: ColumnId| rows().map(move |row| row.cell(column, scope.record));
    let numbers = |column: ColumnId| cells(column).filter_map(Cell::as_number);
    let comparable = |column: ColumnId| ordered(cells(column), scope.kind(column));
    match aggregate.function {
        Function::Count if filter.is_none() => Cell::number(to_number(scope.window.len())),
        Function::Count => Cell::number(to_number(rows().count())),
        Function::Sum(column) => Cell::number(numbers(column).sum()),
        Function::Average(column) => average(numbers(column)),
        Function::Stddev(column) => stddev(numbers(column), numbers(column)),
        Function::Min(column) => or_missing(comparable(column).min_by_key(|entry| entry.0)),
        Function::Max(column) => or_missing(comparable(column).max_by_key(|entry| entry.0)),
        Function::Distinct(column) => distinct(cells(column)),
        Function::Rate(column) => rate(cells(column)),
        Function::Last(column) => {
            let known = |row: Row<'_>| {
                Some(row.cell(column, scope.record)).filter(|cell| !cell.is_missing())
            };
            before().rev().find_map(known).unwrap_or(Cell::MISSING)
        }
        Function::SinceLast => before()
            .next_back()
            .map_or(Cell::MISSING, |row| Cell::span(at.since(row.event_time()))),
        Function::FirstSeen => rows()
            .next()
            .map_or(Cell::MISSING, |row| Cell::time(row.event_time())),
    }
}

fn average(values: impl Iterator<Item = f64>) -> Cell {
    let (sum, count) = sum_and_count(values);
    if count == 0 {
        Cell::MISSING
    } else {
        Cell::number(sum / to_number(count))
    }
}

/// Population standard deviation, √(Σ(x − mean)² ⁄ n), in two passes so that large means cost no precision.
fn stddev(first: impl Iterator<Item = f64>, second: impl Iterator<Item = f64>) -> Cell {
    let (sum, count) = sum_and_count(first);
    if count == 0 {
        return Cell::MISSING;
    }
    let mean = sum / to_number(count);
    let squares: f64 = second.map(|value| (value - mean) * (value - mean)).sum();
    Cell::number((squares / to_number(count)).sqrt())
}

fn sum_and_count(values: impl Iterator<Item = f64>) -> (f64, usize) {
    values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1))
}

/// The cells that are there, each with an integer that orders them: times by themselves, numbers by the usual
/// reading of their bits, in which the order of doubles is the order of integers.
fn ordered(
    cells: impl Iterator<Item = Cell>,
    kind: FieldType,
) -> impl Iterator<Item = (i64, Cell)> {
    cells.filter_map(move |cell| {
        let bits = cell.bits()?.cast_signed();
        let negative_number = kind == FieldType::Number && bits < 0;
        Some((
            if negative_number {
                bits ^ i64::MAX
            } else {
                bits
            },
            cell,
        ))
    })
}

fn or_missing(best: Option<(i64, Cell)>) -> Cell {
    best.map_or(Cell::MISSING, |(_, cell)| cell)
}

fn distinct(cells: impl Iterator<Item = Cell>) -> Cell {
    let mut seen: Vec<u64> = Vec::new();
    for bits in cells.filter_map(Cell::bits) {
        if seen.len() >= SCANNED_VALUES_MAX || !seen.contains(&bits) {
            seen.push(bits);
        }
    }
    if seen.len() > SCANNED_VALUES_MAX {
        seen.sort_unstable();
        seen.dedup();
    }
    Cell::number(to_number(seen.len()))
}

/// The share of rows whose flag is true; a flag that is not known counts as not true.
fn rate(cells: impl Iterator<Item = Cell>) -> Cell {
    let (mut positive, mut count) = (0, 0);
    for cell in cells {
        positive += usize::from(cell.as_flag() == Some(true));
        count += 1;
    }
    Cell::number(if count == 0 {
        0.0
    } else {
        to_number(positive) / to_number(count)
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows stay far below 2^53"
)]
fn to_number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_counts_each_value_once_whether_few_or_many() {
        for count in [0_u8, 1, 31, 32, 33, 100] {
            let once = (0..count).map(|value| Cell::number(f64::from(value)));
            let twice = once.clone().chain([Cell::MISSING]).chain(once);
            assert_eq!(distinct(twice), Cell::number(f64::from(count)), "{count}");
        }
    }
}
