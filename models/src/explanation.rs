//! Which inputs moved a score most: the row is scored again with inputs replaced by their baseline.
//!
//! With `f` the calibrated log-odds of a row, `x` the transaction's row and `b` the baseline row, the effect of input
//! `i` is the mean of what is lost when it alone is replaced and what is gained when it alone is kept:
//!
//! ```text
//! effect(i) = ½ · [f(x) − f(x with bᵢ)] + ½ · [f(b with xᵢ) − f(b)]
//! ```
//!
//! These are the last and the first of the marginal contributions that a Shapley value is the mean of, with the
//! baseline standing for an absent input (I. Covert, S. Lundberg, S.-I. Lee, "Explaining by Removing: A Unified
//! Framework for Model Explanation", JMLR 22, 2021, who call them removing and including individual inputs;
//! M. Sundararajan, A. Najmi, "The Many Shapley Values for Model Explanation", ICML 2020, for the baseline). Where
//! inputs interact in pairs at most, the mean of the two *is* the Shapley value: half of each pair's interaction falls
//! to either input. It takes `2n + 1` runs rather than `2ⁿ`. The tests measure how well it agrees with exact values
//! where more than two interact.
//!
//! Log-odds rather than probabilities, since effects add up there: from 0.97 to 0.99 is as far as from 0.03 to 0.01.
//! Nothing is run in here; whoever asks runs the rows in as many batches as suits.

use std::sync::Arc;

use crate::Rows;
use crate::calibration::log_odds;

/// The most rows that one explanation runs. A model of more than half as many inputs that differ from the baseline is
/// explained by what is lost alone, one of more inputs not at all: 256 rows of 100 trees are a millisecond already.
pub(crate) const ROWS_MAX: usize = 256;

/// The rows that explain one row.
#[derive(Clone, Debug)]
pub struct Comparison<'r> {
    row: &'r Rows,
    baseline: &'r Rows,
    /// Places of the inputs that differ from the baseline; all others have no effect.
    changed: Vec<usize>,
    kind: Kind,
}

/// Which rows there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The baseline, then for each changed input the row without it and the baseline with it.
    Both,
    /// For each changed input the row without it.
    Lost,
}

/// What one input did to a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Its place in a row: numbers first, then texts.
    pub input: usize,
    /// By how much it moved the log-odds of fraud from where they would have been; positive is towards fraud.
    pub log_odds: f64,
}

impl<'r> Comparison<'r> {
    /// Explains the one row `row` by the one row `baseline`, which is as wide; `None` if it would take too many rows.
    pub fn new(row: &'r Rows, baseline: &'r Rows) -> Option<Self> {
        let changed = changed(row, baseline);
        let kind = match changed.len() {
            few if 2 * few < ROWS_MAX => Kind::Both,
            many if many <= ROWS_MAX => Kind::Lost,
            _ => return None,
        };
        Some(Self {
            row,
            baseline,
            changed,
            kind,
        })
    }

    /// How many rows are to be scored, in any number of batches.
    pub const fn rows(&self) -> usize {
        let changed = self.changed.len();
        match self.kind {
            Kind::Lost => changed,
            // Without the only input that differs there is the baseline, and with it the row: both are known.
            Kind::Both if changed <= 1 => changed,
            Kind::Both => 1 + 2 * changed,
        }
    }

    /// One of them; `None` beyond the last.
    pub fn row(&self, at: usize) -> Option<Rows> {
        let without = |at: usize| Some(mixed(self.row, self.baseline, *self.changed.get(at)?));
        let with = |at: usize| Some(mixed(self.baseline, self.row, *self.changed.get(at)?));
        if at >= self.rows() {
            return None;
        }
        match (self.kind, at) {
            (Kind::Lost, at) => without(at),
            (Kind::Both, 0) => Some(self.baseline.clone()),
            (Kind::Both, at) if at % 2 == 1 => without(at / 2),
            (Kind::Both, at) => with(at / 2 - 1),
        }
    }

    /// The effect of each input that differs from the baseline, the largest first. `whole` is the score of the row itself, `scores` are
    /// those of [`Comparison::rows`] in their order; `None` if there are not as many as there are rows.
    pub fn effects(&self, whole: f64, scores: &[f64]) -> Option<Vec<Effect>> {
        if scores.len() != self.rows() {
            return None;
        }
        let f = |score: &f64| log_odds(*score);
        let whole = f(&whole);
        let mut effects: Vec<Effect> = match (self.kind, scores) {
            (Kind::Both, []) => Vec::new(),
            (Kind::Both, [baseline]) => self
                .changed
                .iter()
                .map(|&input| Effect {
                    input,
                    log_odds: whole - f(baseline),
                })
                .collect(),
            (Kind::Both, [baseline, pairs @ ..]) => {
                let pairs = self.changed.iter().zip(pairs.chunks_exact(2));
                pairs
                    .map(|(&input, pair)| Effect {
                        input,
                        log_odds: f64::midpoint(whole - f(&pair[0]), f(&pair[1]) - f(baseline)),
                    })
                    .collect()
            }
            (Kind::Lost, scores) => {
                let lost = self.changed.iter().zip(scores);
                lost.map(|(&input, without)| Effect {
                    input,
                    log_odds: whole - f(without),
                })
                .collect()
            }
        };
        // A stable order: inputs of equal effect stay in that of the manifest.
        effects.sort_by(|left, right| right.log_odds.abs().total_cmp(&left.log_odds.abs()));
        Some(effects)
    }
}

/// Places at which two rows differ.
fn changed(row: &Rows, baseline: &Rows) -> Vec<usize> {
    let numbers = row.numbers.iter().zip(&baseline.numbers);
    let numbers = numbers.map(|(value, baseline)| value.to_bits() != baseline.to_bits());
    let texts = row.texts.iter().zip(&baseline.texts);
    let differs = numbers.chain(texts.map(|(value, baseline)| value != baseline));
    differs
        .enumerate()
        .filter_map(|(at, differs)| differs.then_some(at))
        .collect()
}

/// `row`, with one input as it is in `other`.
fn mixed(row: &Rows, other: &Rows, input: usize) -> Rows {
    let mut mixed = row.clone();
    match other.numbers.get(input) {
        Some(&value) => mixed.numbers[input] = value,
        None => {
            let text = input - other.numbers.len();
            mixed.texts[text] = Arc::clone(&other.texts[text]);
        }
    }
    mixed
}

#[cfg(test)]
mod tests;
