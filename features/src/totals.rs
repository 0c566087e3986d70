//! What a run of blocks adds up to, so that a long window need not visit them.

use crate::block::{Block, Flags, Kind, Rows, Shape, Sums};

/// Counts and sums of a run of rows. All can be added and taken from one another exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rows: usize,
    pub(crate) declined: usize,
    /// Rows with a label that says fraud, and rows with more than one label: if there are none of either, nothing
    /// was fraud whenever one asks.
    pub(crate) suspect: usize,
    /// Per column that holds numbers, in their order.
    sums: Box<[Sums]>,
}

impl Totals {
    pub(crate) fn of(shape: &Shape, block: &Block) -> Self {
        let all = Rows::Range(0..block.rows());
        let numbers = (0..shape.columns()).filter(|column| shape.kind(*column) == Kind::Number);
        let flagged = |flags: Flags| {
            block
                .flags(shape)
                .iter()
                .filter(|row| flags.any_in(**row))
                .count()
        };
        Self {
            rows: block.rows(),
            declined: flagged(Flags::DECLINED),
            suspect: flagged(Flags::FRAUD.with(Flags::RELABELLED, true)),
            sums: numbers
                .map(|column| block.view(shape, column).sums(&all, true))
                .collect(),
        }
    }

    /// Whether totals differ with these flags of a row and with those.
    pub(crate) fn tells_apart(one: Flags, other: Flags) -> bool {
        Self::counts(one) != Self::counts(other)
    }

    /// Takes note that a row's flags changed.
    pub(crate) fn recount(&mut self, before: Flags, after: Flags) {
        let (before, after) = (Self::counts(before), Self::counts(after));
        self.declined = self.declined + after.0 - before.0;
        self.suspect = self.suspect + after.1 - before.1;
    }

    /// What a row counts for: declined, suspect.
    fn counts(flags: Flags) -> (usize, usize) {
        let is_suspect = flags.has(Flags::FRAUD) || flags.has(Flags::RELABELLED);
        (
            usize::from(flags.has(Flags::DECLINED)),
            usize::from(is_suspect),
        )
    }

    /// The sums of a column that holds numbers.
    pub(crate) fn sums(&self, shape: &Shape, column: usize) -> Sums {
        let before = (0..column)
            .filter(|other| shape.kind(*other) == Kind::Number)
            .count();
        self.sums.get(before).copied().unwrap_or_default()
    }

    #[must_use]
    pub(crate) fn plus(&self, other: &Self) -> Self {
        self.each(other, |left, right| left + right, Sums::plus)
    }

    /// These less those of some of their rows.
    #[must_use]
    pub(crate) fn minus(&self, part: &Self) -> Self {
        self.each(part, |left, right| left - right, Sums::minus)
    }

    fn each(
        &self,
        other: &Self,
        count: impl Fn(usize, usize) -> usize,
        sums: impl Fn(Sums, Sums) -> Sums,
    ) -> Self {
        let pairs = 0..self.sums.len().max(other.sums.len());
        let at = |totals: &Self, at: usize| totals.sums.get(at).copied().unwrap_or_default();
        Self {
            rows: count(self.rows, other.rows),
            declined: count(self.declined, other.declined),
            suspect: count(self.suspect, other.suspect),
            sums: pairs
                .map(|pair| sums(at(self, pair), at(other, pair)))
                .collect(),
        }
    }

    /// Reads the first of the sums, so that they are in the cache when they are needed.
    pub(crate) fn touch(&self) {
        std::hint::black_box(self.sums.first().map(|sums| sums.count));
    }

    /// Bytes of memory beyond this value itself.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.sums)
    }
}
