//! The models of a policy, for people: what they are, how they stand, and how far things have moved since their training.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use tollgate_models::{Calibration, InputKind};

use crate::policy::{Model, Policy};
use crate::watch::{DriftReport, DriftReports};

/// From here on a distribution has moved enough to be looked at.
const PSI_LOOK: f64 = 0.1;

/// From here on the model should not be trusted as it was.
const PSI_ACT: f64 = 0.25;

/// What a model is to decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Champion,
    Challenger,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelReport {
    /// Name and version.
    pub(crate) model: String,
    pub(crate) role: Role,
    pub(crate) description: String,
    pub(crate) numbers: usize,
    pub(crate) texts: usize,
    pub(crate) calibration: String,
    /// How the champion's circuit stands; challengers have none.
    pub(crate) circuit: Option<String>,
    pub(crate) trained: Option<TrainedReport>,
    /// As the training script has measured them.
    pub(crate) metrics: BTreeMap<String, f64>,
    /// `null` before anything was counted, and of a policy that does not serve.
    pub(crate) drift: Option<DriftReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrainedReport {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) rows: u64,
}

impl ModelReport {
    /// Every model of a policy, the champion first.
    pub(crate) fn all(policy: &Policy, drift: &DriftReports) -> Vec<Self> {
        let champion = policy.champion().map(|model| (model, Role::Champion));
        let challengers = policy.challengers().iter();
        let challengers = challengers.map(|model| (model, Role::Challenger));
        champion
            .into_iter()
            .chain(challengers)
            .map(|(model, role)| Self::of(model, role, drift))
            .collect()
    }

    fn of(model: &Model, role: Role, drift: &DriftReports) -> Self {
        let manifest = model.manifest();
        let count = |kind| {
            let inputs = manifest.inputs.iter();
            inputs.filter(|input| input.kind == kind).count()
        };
        Self {
            model: model.version().to_owned(),
            role,
            description: manifest.description.clone(),
            numbers: count(InputKind::Number),
            texts: count(InputKind::Text),
            calibration: calibration(&manifest.calibration),
            circuit: (role == Role::Champion).then(|| model.circuit().name().to_owned()),
            trained: manifest.trained.as_ref().map(|trained| TrainedReport {
                from: trained.from.clone(),
                to: trained.to.clone(),
                rows: trained.rows,
            }),
            metrics: manifest.metrics.clone(),
            drift: drift.of(model.version()),
        }
    }

    /// In words, a line for each thing.
    pub(crate) fn text(&self) -> String {
        let role = match self.role {
            Role::Champion => "champion",
            Role::Challenger => "challenger",
        };
        let mut text = format!("{} ({role}): {}\n", self.model, self.description);
        let mut line = |label: &str, value: &str| {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "  {label:<13}{value}");
        };
        let inputs = format!("{} numbers, {} texts", self.numbers, self.texts);
        line("inputs", &inputs);
        line("calibration", &self.calibration);
        let trained = self.trained.as_ref().map(|trained| {
            let TrainedReport { from, to, rows } = trained;
            format!("on {rows} rows from {from} to {to}")
        });
        let trained = trained.as_deref();
        line("trained", trained.unwrap_or("the manifest does not say"));
        let metrics = self.metrics.iter();
        let metrics: Vec<String> = metrics
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        if !metrics.is_empty() {
            line("measured", &metrics.join(", "));
        }
        if let Some(circuit) = &self.circuit {
            line("circuit", circuit);
        }
        if let Some(drift) = &self.drift {
            line("drift", &summary(drift));
            for input in &drift.inputs {
                if let Some(psi) = input.psi.filter(|psi| *psi >= PSI_LOOK) {
                    let moved = format!("{} has moved: {}", input.feature, reading(psi));
                    line("drift", &moved);
                }
            }
        }
        text
    }
}

fn calibration(calibration: &Calibration) -> String {
    match calibration {
        Calibration::None => "none: the output is taken as it is".to_owned(),
        Calibration::Platt { a, b } => format!("Platt, a = {a}, b = {b}"),
        Calibration::Isotonic { outputs, .. } => format!("isotonic, {} points", outputs.len()),
    }
}

fn summary(drift: &DriftReport) -> String {
    let score = drift.score_psi.map_or("not known yet".to_owned(), reading);
    let minutes = drift.window_s / 60;
    format!(
        "score {score}; {} decisions within {minutes} minutes",
        drift.rows
    )
}

/// A population stability index with what it means.
fn reading(psi: f64) -> String {
    let meaning = if psi >= PSI_ACT {
        "act"
    } else if psi >= PSI_LOOK {
        "look"
    } else {
        "stable"
    };
    format!("{psi:.3} ({meaning})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::InputReport;

    #[test]
    fn a_model_reads_as_a_list() {
        let input = |feature: &str, psi| InputReport {
            feature: feature.to_owned(),
            psi,
            missing: 0.0,
            missing_in_training: 0.0,
        };
        let report = ModelReport {
            model: "card-fraud/3".to_owned(),
            role: Role::Champion,
            description: "Trees.".to_owned(),
            numbers: 2,
            texts: 1,
            calibration: calibration(&Calibration::Platt { a: -1.0, b: 0.5 }),
            circuit: Some("closed".to_owned()),
            trained: Some(TrainedReport {
                from: "2026-01-01".to_owned(),
                to: "2026-02-01".to_owned(),
                rows: 1000,
            }),
            metrics: BTreeMap::from([("auc".to_owned(), 0.97), ("brier".to_owned(), 0.005)]),
            drift: Some(DriftReport {
                window_s: 3600,
                rows: 700,
                score_psi: Some(0.0123),
                inputs: vec![
                    input("amount", Some(0.25)),
                    input("hour", Some(0.0999)),
                    input("channel", None),
                ],
            }),
        };
        let expected = "\
card-fraud/3 (champion): Trees.
  inputs       2 numbers, 1 texts
  calibration  Platt, a = -1, b = 0.5
  trained      on 1000 rows from 2026-01-01 to 2026-02-01
  measured     auc 0.97, brier 0.005
  circuit      closed
  drift        score 0.012 (stable); 700 decisions within 60 minutes
  drift        amount has moved: 0.250 (act)
";
        assert_eq!(report.text(), expected);
    }
}
