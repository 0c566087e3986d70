//! What a value looked like in training, by bins: what drift is measured against.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::InputKind;

/// How the values of an input were spread in training. Shares and `missing` add up to 1.
#[derive(Clone, PartialEq, Debug)]
pub enum Distribution {
    Numbers(NumberDistribution),
    Texts(TextDistribution),
}

/// Shares of bins: below the first edge, from each edge to the next, and from the last edge on.
#[derive(Clone, PartialEq, Debug)]
pub struct NumberDistribution {
    /// Ascending.
    pub edges: Vec<f64>,
    /// One more than edges.
    pub shares: Vec<f64>,
    pub missing: f64,
}

/// Shares of the commonest texts, and of all others together.
#[derive(Clone, PartialEq, Debug)]
pub struct TextDistribution {
    pub values: BTreeMap<String, f64>,
    pub other: f64,
    pub missing: f64,
}

/// More bins than this tell nothing more, and each is a counter.
const BINS_MAX: usize = 100;

/// How far shares may be from adding up to 1: they are written rounded.
const SUM_TOLERANCE: f64 = 0.01;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDistribution {
    edges: Option<Vec<f64>>,
    shares: Option<Vec<f64>>,
    values: Option<BTreeMap<String, f64>>,
    other: Option<f64>,
    #[serde(default)]
    missing: f64,
}

impl RawDistribution {
    pub(super) fn check(self, kind: InputKind) -> Result<Distribution, String> {
        match kind {
            InputKind::Number => self.numbers().map(Distribution::Numbers),
            InputKind::Text => self.texts().map(Distribution::Texts),
        }
    }

    /// Also of a score, which is never missing.
    pub(super) fn numbers(self) -> Result<NumberDistribution, String> {
        let (Some(edges), Some(shares), None, None) =
            (self.edges, self.shares, self.values, self.other)
        else {
            return Err("numbers have `edges` and `shares`".to_owned());
        };
        let ascending = edges.windows(2).all(|pair| pair[0] < pair[1]);
        if edges.is_empty() || !ascending || !edges.iter().all(|edge| edge.is_finite()) {
            return Err(
                "`edges` are one or more finite numbers, each greater than the one before"
                    .to_owned(),
            );
        }
        if shares.len() != edges.len() + 1 {
            return Err(format!(
                "there are {} shares for {} edges: write one more than edges, for what is below the first edge, \
                 between edges, and from the last one on",
                shares.len(),
                edges.len()
            ));
        }
        check_shares(shares.iter().copied(), self.missing)?;
        Ok(NumberDistribution {
            edges,
            shares,
            missing: self.missing,
        })
    }

    fn texts(self) -> Result<TextDistribution, String> {
        let (None, None, Some(values)) = (self.edges, self.shares, self.values) else {
            return Err("texts have `values`, and `other` for the rest".to_owned());
        };
        let other = self.other.unwrap_or(0.0);
        check_shares(values.values().copied().chain([other]), self.missing)?;
        Ok(TextDistribution {
            values,
            other,
            missing: self.missing,
        })
    }
}

fn check_shares(shares: impl Iterator<Item = f64>, missing: f64) -> Result<(), String> {
    let all: Vec<f64> = shares.chain([missing]).collect();
    if all.len() > BINS_MAX {
        return Err(format!(
            "there are {} shares, at most {BINS_MAX} are taken: put rare ones together",
            all.len()
        ));
    }
    if let Some(share) = all.iter().find(|share| !(0.0..=1.0).contains(*share)) {
        return Err(format!("a share is {share}, expected 0 to 1"));
    }
    let sum: f64 = all.iter().sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(format!(
            "the shares add up to {sum}, `missing` included, expected 1"
        ));
    }
    Ok(())
}
