//! Which rows may be applied together before any of them is read.
//!
//! Read one by one, a row sees what stands before it in the file. Applied together, it also sees what stands
//! behind it, if that comes before it in time. So a segment ends before a row that is earlier than one before it;
//! before one that ties with another of, say, the same terminal, where the store may put it first; before a
//! transaction that it has already (only the first counts); and before a label that a row of it would see too
//! early. In a file in order of time, such ends are rare; the result is the same in any file.

use std::collections::HashSet;
use std::ops::Range;

use tollgate_features::EntityKey;
use tollgate_types::{EventTime, Label, TransactionKey};

use super::parallel::BLOCK_ROWS;
use super::row::Row;

/// Some rows, and the labels that stand before, between and behind them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) rows: Range<usize>,
    pub(super) labels: Range<usize>,
}

/// Cuts rows into segments. `labels` come with the number of rows before them. `entities` says which entities a row
/// is about whose ties are not in the order of arrival; it is only asked about rows that tie.
pub(super) fn segments(
    rows: &[Row],
    labels: &[(usize, Label)],
    relabelled: &HashSet<TransactionKey>,
    entities: impl Fn(&Row) -> Vec<Tied>,
) -> Vec<Segment> {
    let mut cut = Cut::default();
    let mut ties = Ties::default();
    let mut next_label = 0;
    for at in 0..=rows.len() {
        while let Some((_, label)) = labels.get(next_label).filter(|(before, _)| *before <= at) {
            let key = TransactionKey::of(&label.transaction_id);
            if label.known_at <= cut.latest || relabelled.contains(&key) {
                cut.end(at, next_label);
            }
            next_label += 1;
        }
        let Some(row) = rows.get(at) else {
            break;
        };
        let event_time = row.transaction.event_time;
        let meets = at > 0 && ties.meets(&rows[at - 1], row, &entities);
        if event_time < cut.latest || cut.keys.contains(&row.key) || meets {
            cut.end(at, next_label);
        }
        cut.latest = event_time;
        cut.keys.insert(row.key);
    }
    if cut.rows_from < rows.len() || cut.labels_from < labels.len() {
        cut.push(rows.len(), labels.len());
    }
    cut.segments
}

/// An entity, by its place in the schema and its key.
pub(super) type Tied = (usize, EntityKey);

/// The entities of rows that tie in event time.
#[derive(Default)]
struct Ties {
    entities: HashSet<Tied>,
}

impl Ties {
    /// Whether a row ties with rows right before it, and is about the same entity as one of them.
    fn meets(&mut self, before: &Row, row: &Row, entities: impl Fn(&Row) -> Vec<Tied>) -> bool {
        if before.transaction.event_time != row.transaction.event_time {
            self.entities.clear();
            return false;
        }
        if self.entities.is_empty() {
            self.entities.extend(entities(before));
        }
        let own = entities(row);
        let apart = self.entities.len() + own.len();
        self.entities.extend(own);
        self.entities.len() < apart
    }
}

/// The segment that is being cut, and those before it.
struct Cut {
    segments: Vec<Segment>,
    rows_from: usize,
    labels_from: usize,
    /// The latest row of the segment.
    latest: EventTime,
    keys: HashSet<TransactionKey>,
}

impl Default for Cut {
    fn default() -> Self {
        Self {
            segments: Vec::new(),
            rows_from: 0,
            labels_from: 0,
            latest: EventTime::MIN,
            keys: HashSet::new(),
        }
    }
}

impl Cut {
    /// Ends the segment before a row and a label. Labels alone do no harm to the rows that follow and stay.
    fn end(&mut self, row: usize, label: usize) {
        if self.rows_from < row {
            self.push(row, label);
            self.latest = EventTime::MIN;
            self.keys.clear();
        }
    }

    fn push(&mut self, row: usize, label: usize) {
        self.segments.push(Segment {
            rows: self.rows_from..row,
            labels: self.labels_from..label,
        });
        (self.rows_from, self.labels_from) = (row, label);
    }
}

/// A segment's rows in blocks, rows that tie in event time together: their order is the order in which they are
/// applied, and each block is applied by one thread.
pub(super) fn blocks_of(all: &[Row], rows: Range<usize>) -> Vec<Range<usize>> {
    let time = |at: usize| all[at].transaction.event_time;
    let mut blocks = Vec::new();
    let mut start = rows.start;
    while start < rows.end {
        let mut end = rows.end.min(start + BLOCK_ROWS);
        while end < rows.end && time(end) == time(end - 1) {
            end += 1;
        }
        blocks.push(start..end);
        start = end;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tollgate_types::{
        CardId, Currency, Money, Rates, Record, SchemaBuilder, Span, Transaction, TransactionId,
    };

    use super::*;

    fn row(id: &str, seconds: i64) -> Row {
        let euro = Currency::parse("EUR").unwrap();
        let transaction = Transaction::new(
            TransactionId::parse(id).unwrap(),
            EventTime::from_micros(seconds * 1_000_000),
            CardId::parse("card").unwrap(),
            Money {
                amount_minor: 100,
                currency: euro,
            },
            "merchant".to_owned(),
        );
        Row {
            key: TransactionKey::of(&transaction.id),
            transaction,
            authorized: true,
            label: None,
        }
    }

    fn label(before: usize, id: &str, seconds: i64) -> (usize, Label) {
        let label = Label {
            transaction_id: TransactionId::parse(id).unwrap(),
            fraud: true,
            known_at: EventTime::from_micros(seconds * 1_000_000),
        };
        (before, label)
    }

    /// The segments of rows given by id and second, each as its rows and its labels.
    fn cut(
        rows: &[(&str, i64)],
        labels: &[(usize, Label)],
        relabelled: &[&str],
    ) -> Vec<(Range<usize>, Range<usize>)> {
        let rows: Vec<Row> = rows.iter().map(|(id, seconds)| row(id, *seconds)).collect();
        let relabelled = relabelled
            .iter()
            .map(|id| TransactionId::parse(id).unwrap());
        let relabelled = relabelled.map(|id| TransactionKey::of(&id)).collect();
        let segments = segments(&rows, labels, &relabelled, |_| Vec::new()).into_iter();
        segments
            .map(|segment| (segment.rows, segment.labels))
            .collect()
    }

    #[test]
    fn rows_in_order_of_time_with_labels_of_the_future_are_one_segment() {
        let labels = [
            label(0, "x", 0),
            label(2, "a", 9),
            label(3, "b", 3),
            label(4, "c", 99),
        ];
        let rows = [("a", 1), ("b", 2), ("c", 2), ("d", 5)];
        assert_eq!(cut(&rows, &labels, &[]), [(0..4, 0..4)]);
        assert_eq!(cut(&[], &labels, &[]), [(0..0, 0..4)]);
        assert_eq!(cut(&[], &[], &[]), []);
    }

    #[test]
    fn an_earlier_row_begins_a_segment() {
        let rows = [("a", 1), ("b", 5), ("c", 4), ("d", 4), ("e", 9), ("f", 8)];
        assert_eq!(
            cut(&rows, &[], &[]),
            [(0..2, 0..0), (2..5, 0..0), (5..6, 0..0)]
        );
    }

    #[test]
    fn a_row_that_ties_with_one_of_the_same_entity_begins_a_segment() {
        // The first letter of an id stands for its terminal.
        let ids = [
            ("a1", 1),
            ("a2", 2),
            ("b1", 2),
            ("b2", 2),
            ("a3", 2),
            ("c1", 2),
        ];
        let rows: Vec<Row> = ids.iter().map(|(id, seconds)| row(id, *seconds)).collect();
        let mut builder = SchemaBuilder::default();
        builder
            .entity(
                "merchant",
                &["merchant_id".to_owned()],
                &[],
                Span::from_days(1),
            )
            .unwrap();
        let schema = builder.build();
        let rates = Rates::new(Currency::parse("EUR").unwrap(), BTreeMap::new()).unwrap();
        let entities = |row: &Row| {
            let mut transaction = row.transaction.clone();
            transaction.merchant_id = transaction.id.as_str()[..1].to_owned();
            let record = Record::new(&transaction, &schema, &rates).unwrap();
            let key = EntityKey::of(schema.entity("merchant").unwrap().1, &record);
            vec![(0, key.unwrap())]
        };
        let segments = segments(&rows, &[], &HashSet::new(), entities);
        let segments: Vec<Range<usize>> =
            segments.into_iter().map(|segment| segment.rows).collect();
        assert_eq!(segments, [0..3, 3..4, 4..6]);
    }

    #[test]
    fn a_transaction_id_again_begins_a_segment() {
        let rows = [("a", 1), ("b", 2), ("a", 3), ("b", 4)];
        assert_eq!(cut(&rows, &[], &[]), [(0..2, 0..0), (2..4, 0..0)]);
    }

    #[test]
    fn a_label_that_rows_before_it_would_see_begins_a_segment() {
        let rows = [("a", 1), ("b", 5), ("c", 6)];
        let labels = [label(1, "a", 2), label(2, "a", 5), label(2, "x", 99)];
        assert_eq!(cut(&rows, &labels, &[]), [(0..2, 0..1), (2..3, 1..3)]);
    }

    #[test]
    fn a_second_label_of_a_transaction_begins_a_segment() {
        let rows = [("a", 1), ("b", 5), ("c", 6)];
        let labels = [label(1, "a", 20), label(2, "a", 30)];
        let expected = [(0..1, 0..0), (1..2, 0..1), (2..3, 1..2)];
        assert_eq!(cut(&rows, &labels, &["a"]), expected);
    }

    #[test]
    fn ties_are_not_split_into_two_blocks() {
        let last = BLOCK_ROWS - 1;
        let second = |at: usize| if at > last && at < last + 5 { last } else { at };
        let rows = (0..2 * BLOCK_ROWS).map(|at| row("t", i64::try_from(second(at)).unwrap()));
        let rows: Vec<Row> = rows.collect();
        let end = BLOCK_ROWS + 4;
        assert_eq!(
            blocks_of(&rows, 0..rows.len()),
            [0..end, end..2 * BLOCK_ROWS]
        );
    }
}
