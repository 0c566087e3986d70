//! What is said about a running model: its reasons, and the values it was given.

use std::sync::Arc;
use std::time::Duration;

use tollgate_models::{
    BATCH_MAX, Circuit, Input, InputKind, Manifest, QueueFull, Reply, Rows, Value,
};
use tollgate_types::{Cell, Reason, ReasonCode};

use super::super::model_texts::FeatureTexts;
use super::{Model, feature_number};

/// A value that a model was given, as it was before a missing one was filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Observed<'v> {
    Missing,
    Number(f64),
    Text(&'v str),
}

impl Model {
    pub(crate) fn manifest(&self) -> &Manifest {
        self.running.inference.manifest()
    }

    /// Differs where anything in the bundle does.
    pub(crate) fn digest(&self) -> &str {
        &self.running.digest
    }

    /// CPU time that its runs have taken so far; only counted of challengers.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.running.inference.cpu_time()
    }

    /// The row that explanations compare with.
    pub(crate) fn baseline(&self) -> Rows {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for input in &self.manifest().inputs {
            match &input.baseline {
                Value::Number(number) => numbers.push(*number),
                Value::Text(text) => texts.push(Arc::clone(text)),
            }
        }
        Rows::one(numbers, texts)
    }

    /// How many rows may be asked at a time to explain a score; `None` while rows wait for scores, and while the model has yet to
    /// show that it has recovered.
    pub(crate) fn rows_for_reasons(&self) -> Option<usize> {
        let quiet = self.running.inference.rows_waiting() == 0;
        let well = self.circuit() == Circuit::Closed;
        (quiet && well).then_some(BATCH_MAX)
    }

    /// Asks for a row that explains; scores come first.
    pub(crate) fn submit_for_reasons(&self, row: Rows) -> Result<Reply, QueueFull> {
        self.running.inference.submit_when_idle(row)
    }

    /// What is said where the input at `place` of a row, numbers first, moved a score.
    pub(crate) fn reason(&self, place: usize) -> Option<Reason> {
        let of_kind = |kind| {
            let inputs = self.manifest().inputs.iter();
            inputs.filter(move |input| input.kind == kind)
        };
        let mut inputs = of_kind(InputKind::Number).chain(of_kind(InputKind::Text));
        let (code, description) = said(inputs.nth(place)?)?;
        Some(Reason {
            code,
            description,
            rule_id: self.version().into(),
        })
    }

    /// What each input was, in the order of the manifest.
    pub(crate) fn observed<'v>(
        &'v self,
        features: &'v [Cell],
        texts: &'v FeatureTexts,
    ) -> impl Iterator<Item = Observed<'v>> {
        self.inputs.iter().map(move |input| match &input.missing {
            Value::Number(_) => {
                let cell = features.get(input.feature).copied();
                let number = feature_number(input.kind, cell.unwrap_or(Cell::MISSING));
                number.map_or(Observed::Missing, Observed::Number)
            }
            Value::Text(_) => {
                let text = texts.get(input.feature);
                text.map_or(Observed::Missing, |text| Observed::Text(text))
            }
        })
    }
}

/// Longest reason code there is.
const CODE_BYTES_MAX: usize = 64;

/// The manifest's reason of an input, or one made from its name.
fn said(input: &Input) -> Option<(ReasonCode, Arc<str>)> {
    if let Some(reason) = &input.reason {
        return Some((reason.code.clone(), Arc::clone(&reason.description)));
    }
    // Names of features are small letters, digits and underscores.
    let mut code = format!("MODEL_{}", input.feature.to_ascii_uppercase());
    code.truncate(CODE_BYTES_MAX);
    let description = format!(
        "the model finds fraud likelier because of {}",
        input.feature
    );
    Some((ReasonCode::parse(&code).ok()?, description.into()))
}

#[cfg(test)]
mod tests;
