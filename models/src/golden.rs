//! Golden rows: what a model must answer, recorded when it was trained, and run again wherever it is loaded.

use std::path::Path;

use serde::Deserialize;

use crate::engine::Engine;
use crate::inference::BATCH_MAX;
use crate::manifest::Manifest;
use crate::{Error, RunError, Score};

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
    inputs: Vec<Option<f32>>,
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
    ) -> Result<(), Error> {
        let values = self.values(manifest).map_err(|reason| Error::Golden {
            path: path.to_owned(),
            reason,
        })?;
        let width = manifest.inputs.len();
        let batch = engine.rows_max().unwrap_or(BATCH_MAX);
        let mut outputs = Vec::new();
        for rows_max in [1, batch] {
            for (n, rows) in self.rows.chunks(rows_max).enumerate() {
                let first = n * rows_max;
                let inputs = &values[first * width..(first + rows.len()) * width];
                let failed = |row: usize, error: RunError| Error::Golden {
                    path: path.to_owned(),
                    reason: format!("row {row} cannot be scored: {error}"),
                };
                engine
                    .run(inputs, rows.len(), &mut outputs)
                    .map_err(|error| failed(first, error))?;
                for (at, (row, &output)) in rows.iter().zip(&outputs).enumerate() {
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

    /// Row after row, missing values filled as in serving.
    fn values(&self, manifest: &Manifest) -> Result<Vec<f32>, String> {
        let width = manifest.inputs.len();
        let mut values = Vec::with_capacity(self.rows.len() * width);
        for (at, row) in self.rows.iter().enumerate() {
            if row.inputs.len() != width {
                let found = row.inputs.len();
                return Err(format!(
                    "row {at} has {found} inputs, the manifest lists {width}"
                ));
            }
            let filled = row.inputs.iter().zip(&manifest.inputs);
            values.extend(filled.map(|(value, input)| value.unwrap_or(input.missing)));
        }
        Ok(values)
    }
}
