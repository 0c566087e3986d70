//! Golden rows: what a model must answer, recorded when it was trained, and run again wherever it is loaded.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::engine::{Engine, bounded};
use crate::inference::BATCH_MAX;
use crate::manifest::{InputKind, Manifest, Value};
use crate::{Error, Rows, RunError, Score};

/// `golden.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Golden {
    tolerance: f64,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// In the order of the manifest's inputs; `null` where the feature is missing.
    inputs: Vec<Option<Value>>,
    /// After calibration.
    score: f64,
}

/// A tolerance above this would let another model pass.
const TOLERANCE_MAX: f64 = 0.01;

impl Golden {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let golden: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if golden.rows.is_empty() {
            return Err(
                "there is no golden row: a model that was never checked is not loaded".to_owned(),
            );
        }
        if !(golden.tolerance > 0.0 && golden.tolerance <= TOLERANCE_MAX) {
            let tolerance = golden.tolerance;
            return Err(format!(
                "the tolerance is {tolerance}, expected more than 0 and at most {TOLERANCE_MAX}"
            ));
        }
        if let Some(at) = golden
            .rows
            .iter()
            .position(|row| !(0.0..=1.0).contains(&row.score))
        {
            let score = golden.rows[at].score;
            return Err(format!("row {at} has the score {score}, expected 0 to 1"));
        }
        Ok(golden)
    }

    /// MO-2: every golden row is within tolerance, alone and in a batch.
    pub(crate) fn verify(
        &self,
        path: &Path,
        manifest: &Manifest,
        engine: &mut Engine,
        limit: Duration,
    ) -> Result<(), Error> {
        let stop = engine.stop();
        let all = self.rows(manifest).map_err(|reason| Error::Golden {
            path: path.to_owned(),
            reason,
        })?;
        let batch = engine.rows_max().unwrap_or(BATCH_MAX);
        let mut outputs = Vec::new();
        let mut rows = Rows::default();
        for rows_max in [1, batch] {
            for (n, chunk) in all.chunks(rows_max).enumerate() {
                let first = n * rows_max;
                let failed = |row: usize, error: RunError| Error::Golden {
                    path: path.to_owned(),
                    reason: format!("row {row} cannot be scored: {error}"),
                };
                rows.clear();
                chunk.iter().for_each(|row| rows.extend(row));
                let run = || engine.run(&rows, &mut outputs);
                let (run, late) = bounded(limit, || stop.set(), run);
                stop.clear();
                if late {
                    return Err(failed(first, RunError::Stopped(limit)));
                }
                run.map_err(|error| failed(first, error))?;
                for (at, (row, &output)) in self.rows[first..].iter().zip(&outputs).enumerate() {
                    let score = manifest.calibration.score(manifest.output.kind, output);
                    let found = score
                        .map(Score::value)
                        .map_err(|error| failed(first + at, error))?;
                    self.compare(path, first + at, row.score, found)?;
                }
            }
        }
        Ok(())
    }

    fn compare(&self, path: &Path, row: usize, expected: f64, found: f64) -> Result<(), Error> {
        if (found - expected).abs() <= self.tolerance {
            return Ok(());
        }
        let tolerance = self.tolerance;
        Err(Error::GoldenMismatch {
            path: path.to_owned(),
            row,
            expected,
            found,
            tolerance,
        })
    }

    /// Each row as it is submitted in serving, missing values filled.
    fn rows(&self, manifest: &Manifest) -> Result<Vec<Rows>, String> {
        let of = |(at, row): (usize, &Row)| row.rows(manifest, at);
        self.rows.iter().enumerate().map(of).collect()
    }
}

impl Row {
    fn rows(&self, manifest: &Manifest, at: usize) -> Result<Rows, String> {
        let width = manifest.inputs.len();
        if self.inputs.len() != width {
            let found = self.inputs.len();
            return Err(format!(
                "row {at} has {found} inputs, the manifest lists {width}"
            ));
        }
        let mut rows = Rows::one(Vec::new(), Vec::new());
        for (value, input) in self.inputs.iter().zip(&manifest.inputs) {
            match (value.as_ref().unwrap_or(&input.missing), input.kind) {
                (Value::Number(number), InputKind::Number) => rows.numbers.push(*number),
                (Value::Text(text), InputKind::Text) => rows.texts.push(text.clone()),
                (value, _) => {
                    let feature = &input.feature;
                    return Err(format!(
                        "row {at} has {value} for the feature `{feature}`, whose `type` in the manifest is {}",
                        input.kind.name()
                    ));
                }
            }
        }
        Ok(rows)
    }
}
