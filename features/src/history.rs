//! The retained events of one entity, in order of event time.
//!
//! Rows of fixed width lie in one allocation: event time, transaction key, state, then the entity's listed
//! columns, a word each. Events almost always arrive in order, so an insertion is a push; a late one moves
//! the rows after it. Rows that tie in event time keep the order of their arrival.

use tollgate_expr::{Program, SlotId, Slots};
use tollgate_types::{Cell, ColumnId, Entity, EventTime, Record, TransactionKey};

/// Words of a row before its columns.
const HEADER_WORDS: usize = 3;

/// A missing column: a quiet NaN, which no number or flag is. As a time it is one microsecond of 1902, as a text
/// key one in 2⁶³: neither is expected.
const MISSING_WORD: u64 = 0xfff8_7011_6a7e_0000;

/// Rows beyond which [`History::evict`] gives memory back, so that it copies rarely.
const SLACK_ROWS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct History {
    words: Vec<u64>,
    /// Rows at the front that were evicted and not yet given back.
    evicted_rows: usize,
}

/// What is known of an event besides its columns, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) declined: bool,
    /// Scored, but its echo has not arrived: whether it was declined is not known yet.
    pub(crate) in_flight: bool,
    pub(crate) fraud: bool,
    /// When `fraud` became known; [`State::NEVER`] for an event without label.
    pub(crate) known_at: EventTime,
}

impl State {
    const FLAG_BITS: u32 = 3;
    /// The latest moment the word can hold, some 36,000 years from 1970.
    const NEVER: EventTime = EventTime::from_micros(i64::MAX >> Self::FLAG_BITS);
    const EARLIEST: EventTime = EventTime::from_micros(i64::MIN >> Self::FLAG_BITS);

    pub(crate) const fn new(declined: bool, in_flight: bool) -> Self {
        Self {
            declined,
            in_flight,
            fraud: false,
            known_at: Self::NEVER,
        }
    }

    fn word(self) -> u64 {
        let flags =
            u64::from(self.declined) | u64::from(self.in_flight) << 1 | u64::from(self.fraud) << 2;
        let known_at = self.known_at.clamp(Self::EARLIEST, Self::NEVER).micros();
        (known_at << Self::FLAG_BITS).cast_unsigned() | flags
    }

    fn from_word(word: u64) -> Self {
        Self {
            declined: word & 1 != 0,
            in_flight: word & 2 != 0,
            fraud: word & 4 != 0,
            known_at: EventTime::from_micros(word.cast_signed() >> Self::FLAG_BITS),
        }
    }

    /// Takes a label over; the one that became known last wins, and of equals the one that arrived last.
    pub(crate) fn label(&mut self, fraud: bool, known_at: EventTime) {
        if self.known_at == Self::NEVER || known_at >= self.known_at {
            self.fraud = fraud;
            self.known_at = known_at;
        }
    }

    fn is_fraud_at(self, at: EventTime) -> bool {
        self.fraud && self.known_at <= at
    }
}

/// One event, borrowed from its history.
#[derive(Clone, Copy)]
pub(crate) struct Row<'h> {
    words: &'h [u64],
}

impl<'h> Row<'h> {
    pub(crate) fn event_time(self) -> EventTime {
        EventTime::from_micros(self.words[0].cast_signed())
    }

    fn key(self) -> TransactionKey {
        TransactionKey::from_bits(self.words[1])
    }

    pub(crate) fn state(self) -> State {
        State::from_word(self.words[2])
    }

    /// A column as the transaction being scored sees it. Of itself it knows neither result nor label, even if
    /// both have arrived since, so that training and a repeated score see what the first score saw (DE-3).
    pub(crate) fn cell(self, column: ColumnId, scored: &Record<'_>) -> Cell {
        let is_own = self.key() == scored.key();
        match column {
            Entity::FRAUD => Cell::flag(!is_own && self.state().is_fraud_at(scored.event_time())),
            Entity::DECLINED => {
                let state = self.state();
                if state.in_flight || is_own {
                    Cell::MISSING
                } else {
                    Cell::flag(state.declined)
                }
            }
            Entity::EVENT_TIME => Cell::time(self.event_time()),
            ColumnId(listed) => {
                let word = self.words[HEADER_WORDS + usize::from(listed) - Entity::IMPLIED_COLUMNS];
                Cell::from_bits((word != MISSING_WORD).then_some(word))
            }
        }
    }

    /// Whether the event passes a `.where(…)`.
    pub(crate) fn passes(self, filter: &Program, record: &Record<'_>) -> bool {
        filter.is_true(&RowSlots { row: self, record })
    }
}

/// What a filter reads: the row's columns, and the fields of the transaction being scored.
struct RowSlots<'a> {
    row: Row<'a>,
    record: &'a Record<'a>,
}

impl Slots for RowSlots<'_> {
    fn cell(&self, slot: SlotId) -> Cell {
        let slot = slot.0;
        match (
            slot.checked_sub(Program::FILTER_FIELDS),
            u16::try_from(slot),
        ) {
            (Some(field), _) => self.record.cells()[field as usize],
            (None, Ok(column)) => self.row.cell(ColumnId(column), self.record),
            (None, Err(_)) => Cell::MISSING,
        }
    }

    fn text(&self, slot: SlotId) -> Option<&str> {
        let field = u16::try_from(slot.0.checked_sub(Program::FILTER_FIELDS)?).ok()?;
        self.record.text(tollgate_types::FieldId(field))
    }
}

/// Words of one row of this entity.
pub(crate) fn row_words(entity: &Entity) -> usize {
    HEADER_WORDS + entity.listed_columns().len()
}

/// Writes a row for a transaction into `row`, replacing what it held.
pub(crate) fn write_row(entity: &Entity, record: &Record<'_>, state: State, row: &mut Vec<u64>) {
    row.clear();
    row.push(record.event_time().micros().cast_unsigned());
    row.push(record.key().bits());
    row.push(state.word());
    for column in entity.listed_columns() {
        let cell = column
            .field
            .map_or(Cell::MISSING, |field| record.cell(field));
        row.push(cell.bits().unwrap_or(MISSING_WORD));
    }
}

impl History {
    /// Bytes of memory its rows hold, used or not.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    /// Retained rows, for rows of `width` words.
    pub(crate) fn rows(&self, width: usize) -> Rows<'_> {
        Rows {
            words: &self.words[self.evicted_rows * width..],
            width,
        }
    }

    /// A copy of the rows at or before `event_time`.
    pub(crate) fn until(&self, width: usize, event_time: EventTime) -> Self {
        let rows = self.rows(width);
        let words = rows.words[..rows.up_to(event_time) * width].to_vec();
        Self {
            words,
            evicted_rows: 0,
        }
    }

    /// Inserts a row at its place in event time, after those it ties with.
    pub(crate) fn insert(&mut self, row: &[u64]) {
        let width = row.len();
        let event_time = Row { words: row }.event_time();
        let rows = self.rows(width);
        let at = if rows
            .last()
            .is_none_or(|last| last.event_time() <= event_time)
        {
            rows.len()
        } else {
            rows.up_to(event_time)
        };
        let at = (self.evicted_rows + at) * width;
        if at == self.words.len() {
            self.words.extend_from_slice(row);
        } else {
            self.words.splice(at..at, row.iter().copied());
        }
    }

    /// Changes the state of an event; `None` if it is not retained here.
    pub(crate) fn update(
        &mut self,
        width: usize,
        event_time: EventTime,
        key: TransactionKey,
        change: impl FnOnce(&mut State),
    ) -> Option<()> {
        let at = (self.evicted_rows + self.rows(width).position(event_time, key)?) * width;
        let mut state = State::from_word(self.words[at + 2]);
        change(&mut state);
        self.words[at + 2] = state.word();
        Some(())
    }

    /// Takes an event out again.
    pub(crate) fn remove(&mut self, width: usize, event_time: EventTime, key: TransactionKey) {
        if let Some(at) = self.rows(width).position(event_time, key) {
            let at = (self.evicted_rows + at) * width;
            self.words.drain(at..at + width);
        }
    }

    /// Lets go of events at or before `horizon`, and returns how many.
    pub(crate) fn evict(&mut self, width: usize, horizon: EventTime) -> usize {
        let old = self.rows(width).up_to(horizon);
        self.evicted_rows += old;
        let live = self.rows(width).len();
        if self.evicted_rows > live + SLACK_ROWS || live == 0 {
            self.words.drain(..self.evicted_rows * width);
            self.words.shrink_to(live * width + SLACK_ROWS * width);
            self.evicted_rows = 0;
        }
        old
    }
}

/// The retained rows of a history, oldest first.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'h> {
    words: &'h [u64],
    width: usize,
}

impl<'h> Rows<'h> {
    pub(crate) fn len(self) -> usize {
        self.words.len() / self.width
    }

    pub(crate) fn get(self, at: usize) -> Row<'h> {
        Row {
            words: &self.words[at * self.width..(at + 1) * self.width],
        }
    }

    fn last(self) -> Option<Row<'h>> {
        self.len().checked_sub(1).map(|at| self.get(at))
    }

    pub(crate) fn range(
        self,
        rows: std::ops::Range<usize>,
    ) -> impl DoubleEndedIterator<Item = Row<'h>> {
        self.words[rows.start * self.width..rows.end * self.width]
            .chunks_exact(self.width)
            .map(|words| Row { words })
    }

    /// How many rows are at or before `event_time`.
    pub(crate) fn up_to(self, event_time: EventTime) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).event_time() <= event_time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Where an event lies, found by its time and told from those it ties with by its key.
    pub(crate) fn position(self, event_time: EventTime, key: TransactionKey) -> Option<usize> {
        let end = self.up_to(event_time);
        (0..end)
            .rev()
            .take_while(|&at| self.get(at).event_time() == event_time)
            .find(|&at| self.get(at).key() == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time: i64, key: u64) -> Vec<u64> {
        vec![time.cast_unsigned(), key, State::new(false, false).word()]
    }

    fn order(history: &History) -> Vec<(i64, u64)> {
        let rows = history.rows(3);
        rows.range(0..rows.len())
            .map(|row| (row.event_time().micros(), row.key().bits()))
            .collect()
    }

    #[test]
    fn rows_lie_in_order_of_event_time_and_ties_in_order_of_arrival() {
        let mut history = History::default();
        for (time, key) in [(5, 1), (3, 2), (5, 3), (4, 4), (3, 5)] {
            history.insert(&row(time, key));
        }
        assert_eq!(order(&history), [(3, 2), (3, 5), (4, 4), (5, 1), (5, 3)]);
        let position = |time, key| {
            history
                .rows(3)
                .position(EventTime::from_micros(time), TransactionKey::from_bits(key))
        };
        assert_eq!(position(5, 3), Some(4));
        assert_eq!(position(3, 2), Some(0));
        assert_eq!(position(3, 9), None);
    }

    #[test]
    fn eviction_takes_the_oldest_and_late_rows_still_find_their_place() {
        let mut history = History::default();
        for time in 0..100 {
            history.insert(&row(time, 0));
        }
        assert_eq!(history.evict(3, EventTime::from_micros(9)), 10);
        history.insert(&row(50, 7));
        assert_eq!(history.rows(3).len(), 91);
        assert_eq!(history.evict(3, EventTime::from_micros(200)), 91);
        assert_eq!(history.rows(3).len(), 0);
    }

    #[test]
    fn a_state_survives_its_word() {
        let mut state = State::new(true, true);
        assert_eq!(State::from_word(state.word()), state);
        state.label(true, EventTime::from_micros(-5));
        assert_eq!(State::from_word(state.word()), state);
        assert!(state.is_fraud_at(EventTime::from_micros(-5)));
        assert!(!state.is_fraud_at(EventTime::from_micros(-6)));
    }

    #[test]
    fn the_label_that_became_known_last_wins() {
        let mut state = State::new(false, false);
        state.label(true, EventTime::from_micros(10));
        state.label(false, EventTime::from_micros(5));
        assert!(state.fraud);
        state.label(false, EventTime::from_micros(20));
        assert!(!state.fraud);
    }
}
