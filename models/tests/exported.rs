//! Models as exporters write them, in every form that is taken, score as the library that trained them.
//!
//! `tests/python/export_forms.py` makes a bundle of each form whose golden rows are the library's own predictions.
//! `tests/exported` has small ones; `cargo xtask test` exports larger ones anew and names their folder in
//! `TOLLGATE_EXPORTED`.
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::library;
use serde_json::Value as Json;
use tollgate_models::{
    Bundle, Error, Inference, InputKind, Manifest, Options, Reply, Rows, Runtime, Value,
};

fn folders() -> Vec<PathBuf> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exported");
    let exported = std::env::var_os("TOLLGATE_EXPORTED").map(PathBuf::from);
    std::iter::once(committed).chain(exported).collect()
}

fn bundles(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut bundles: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    bundles.sort();
    bundles
}

fn open(folder: &Path) -> Result<Bundle, Error> {
    Runtime::load(&library()).unwrap();
    Bundle::open(folder, &|feature| Some(feature.to_owned()))
}

/// The golden rows, as they are submitted, and their scores.
fn golden(folder: &Path, manifest: &Manifest) -> (f64, Vec<(Rows, f64)>) {
    let text = fs::read_to_string(folder.join("golden.json")).unwrap();
    let golden: Json = serde_json::from_str(&text).unwrap();
    let rows = golden["rows"].as_array().unwrap().iter();
    let rows = rows.map(|row| {
        let mut numbers = Vec::new();
        let mut texts: Vec<Arc<str>> = Vec::new();
        for (value, input) in row["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&manifest.inputs)
        {
            match (input.kind, &input.missing) {
                (InputKind::Number, Value::Number(missing)) => {
                    numbers.push(value.as_f64().unwrap_or(*missing));
                }
                _ => texts.push(value.as_str().unwrap_or_default().into()),
            }
        }
        (Rows::one(numbers, texts), row["score"].as_f64().unwrap())
    });
    (golden["tolerance"].as_f64().unwrap(), rows.collect())
}

/// MO-2 on every form: opening a bundle runs its golden rows, alone and in batches.
#[test]
fn every_form_scores_as_the_library_that_trained_it() {
    for folder in folders() {
        let names: BTreeSet<String> = bundles(&folder)
            .iter()
            .map(|bundle| bundle.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names.len(), FORMS.len(), "{}", folder.display());
        let mut wrong = Vec::new();
        for form in FORMS {
            assert!(names.contains(form), "{form} in {}", folder.display());
            wrong.extend(
                open(&folder.join(form))
                    .err()
                    .map(|error| error.to_string()),
            );
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

const FORMS: [&str; 29] = [
    "calibrated",
    "calibrated_by_the_manifest",
    "forest",
    "forest_columns",
    "forest_of_any_width",
    "forest_of_flags",
    "forest_of_named_classes",
    "forest_of_one_row",
    "forest_of_whole_numbers",
    "forest_with_filled_gaps",
    "forest_zipmap",
    "gradient_boosting",
    "lightgbm_plain",
    "lightgbm_zipmap",
    "logistic",
    "logistic_of_doubles",
    "logistic_raw",
    "network",
    "network_of_double_logits",
    "network_of_doubles",
    "network_of_logits",
    "network_of_one_axis",
    "pipeline_in_another_order",
    "pipeline_of_columns",
    "pipeline_of_two_tensors",
    "pipeline_with_lightgbm",
    "pipeline_with_xgboost",
    "xgboost",
    "xgboost_regressor",
];

/// The same rows through the threads that serve, in whatever batches come about.
#[test]
fn every_form_is_served_as_it_was_verified() {
    const OPTIONS: Options = Options {
        threads: 1,
        queue_rows_max: 1000,
        run_max: Duration::from_secs(10),
        counts_cpu: false,
    };
    for bundle in folders().iter().flat_map(|folder| bundles(folder)) {
        let opened = open(&bundle).unwrap();
        let (tolerance, rows) = golden(&bundle, opened.manifest());
        let inference = Inference::start(opened, OPTIONS).unwrap();
        let replies: Vec<(Reply, f64)> = rows
            .into_iter()
            .map(|(row, score)| (inference.submit(row).unwrap(), score))
            .collect();
        assert!(replies.len() >= 12);
        for (reply, expected) in replies {
            let found = reply.blocking_recv().unwrap().unwrap().value();
            assert!(
                (found - expected).abs() <= tolerance,
                "{}: {found}, not {expected}",
                bundle.display()
            );
        }
    }
}

/// Scores that are all alike would agree by chance.
#[test]
fn forms_tell_rows_apart() {
    for bundle in folders().iter().flat_map(|folder| bundles(folder)) {
        let opened = open(&bundle).unwrap();
        let (_, rows) = golden(&bundle, opened.manifest());
        let scores: Vec<f64> = rows.iter().map(|(_, score)| *score).collect();
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert!(
            most - least > 0.05,
            "{}: {least} to {most}",
            bundle.display()
        );
    }
}
