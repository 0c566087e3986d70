//! What a model is asked: rows of numbers and texts.

use std::sync::Arc;

/// Rows for a model: of each row first its numbers, in the order of the manifest's number inputs, and apart from them its
/// texts, in the order of the text inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    pub count: usize,
    pub numbers: Vec<f64>,
    /// Empty for a model without texts, which then costs nothing.
    pub texts: Vec<Arc<str>>,
}

impl Rows {
    /// One row.
    pub const fn one(numbers: Vec<f64>, texts: Vec<Arc<str>>) -> Self {
        Self {
            count: 1,
            numbers,
            texts,
        }
    }

    /// Forgets the rows and keeps their memory.
    pub fn clear(&mut self) {
        self.count = 0;
        self.numbers.clear();
        self.texts.clear();
    }

    /// Adds the rows of another behind these.
    pub fn extend(&mut self, other: &Self) {
        self.count += other.count;
        self.numbers.extend_from_slice(&other.numbers);
        self.texts.extend_from_slice(&other.texts);
    }
}

/// How many numbers and texts a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    pub numbers: usize,
    pub texts: usize,
}

impl Width {
    /// Whether `rows` are of this width.
    pub fn fits(self, rows: &Rows) -> bool {
        let times = |width: usize| width.checked_mul(rows.count);
        times(self.numbers) == Some(rows.numbers.len())
            && times(self.texts) == Some(rows.texts.len())
    }
}
