//! A bundle is opened only if model, manifest and golden rows agree (MO-1, MO-2).
#![expect(
    clippy::float_cmp,
    reason = "numbers of the manifest come back as they were written"
)]

mod common;

use common::{FEATURES, Folder, Model, definition, model_file};
use tollgate_models::{Error, OutputKind, Value};

#[track_caller]
fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

#[test]
fn every_kind_of_output_is_opened() {
    for model in Model::ALL {
        let bundle = Folder::new(model)
            .open()
            .unwrap_or_else(|error| panic!("{model:?}: {error}"));
        assert_eq!(bundle.version(), "test/1");
        let manifest = bundle.manifest();
        assert_eq!(manifest.inputs.len(), FEATURES.len());
        assert_eq!(manifest.inputs[0].missing, Value::Number(0.0));
        assert_eq!(manifest.inputs[1].missing, Value::Number(-1.0));
        assert_eq!(
            manifest.output.kind == OutputKind::Logit,
            matches!(model, Model::Logit)
        );
        assert_eq!(manifest.metrics["auc"], 0.97);
    }
}

#[test]
fn a_model_changed_after_its_manifest_was_written_is_refused() {
    let bundle = Folder::new(Model::Pair);
    let path = bundle.folder.path().join("model.onnx");
    let mut content = std::fs::read(&path).unwrap();
    content.push(0);
    std::fs::write(path, content).unwrap();
    assert!(matches!(bundle.open(), Err(Error::ModelDigest { .. })));
}

/// MO-1: the digest over the features' definitions is the bundle's.
#[test]
fn a_feature_defined_otherwise_than_in_training_is_refused() {
    let bundle = Folder::new(Model::Pair);
    let changed = |name: &str| match name {
        "amount" => Some("transaction.amount * 100.0".to_owned()),
        _ => definition(name),
    };
    let error = bundle.open_with(&changed).err().unwrap();
    assert!(matches!(error, Error::FeaturesDigest { .. }));
    assert_says(&error.to_string(), &["`amount`", "train the model again"]);
}

#[test]
fn inputs_in_another_order_than_in_training_are_refused() {
    let mut bundle = Folder::new(Model::Pair);
    bundle.replace("- { feature: amount }\n", "");
    bundle.replace("tensor:", "- { feature: amount }\ntensor:");
    assert!(matches!(bundle.open(), Err(Error::FeaturesDigest { .. })));
}

#[test]
fn features_the_policy_does_not_define_are_listed() {
    let mut bundle = Folder::new(Model::Pair);
    bundle.replace("feature: amount", "feature: amout");
    bundle.replace("card_sum_24h", "card_sum_25h");
    let error = bundle.error();
    assert_says(&error, &["`amout`", "`card_sum_25h`", "features.yaml"]);
    assert!(!error.contains("card_count_24h"), "{error}");
}

/// MO-2: golden rows are run, alone and in batches.
#[test]
fn a_golden_row_out_of_tolerance_is_refused() {
    for model in Model::ALL {
        let mut bundle = Folder::new(model);
        let score = model.score([4.0, -1.0, -0.5]).to_string();
        let other = (model.score([4.0, -1.0, -0.5]) - 0.001).to_string();
        assert!(bundle.golden.contains(&score));
        bundle.golden = bundle.golden.replace(&score, &other);
        assert!(
            matches!(bundle.open(), Err(Error::GoldenMismatch { row: 3, .. })),
            "{model:?}"
        );
    }
}

#[test]
fn a_missing_golden_value_is_filled_as_the_manifest_says() {
    let mut bundle = Folder::new(Model::Pair);
    let score = Model::Pair.score([2.0, -1.0, 0.5]);
    bundle.golden = format!(
        "{{\"tolerance\": 1e-5, \"rows\": [{{\"inputs\": [2, null, null], \"score\": {score}}}]}}"
    );
    bundle.open().unwrap();
    bundle.replace("missing: 0.5", "missing: 0.0");
    assert!(matches!(
        bundle.open(),
        Err(Error::GoldenMismatch { row: 0, .. })
    ));
}

#[test]
fn golden_rows_that_prove_nothing_are_refused() {
    let golden = |text: &str| {
        let mut bundle = Folder::new(Model::Pair);
        bundle.golden = text.to_owned();
        bundle.error()
    };
    assert_says(
        &golden("{\"tolerance\": 1e-5, \"rows\": []}"),
        &["golden.json", "no golden row"],
    );
    let row = |inputs: &str, score: &str, tolerance: &str| {
        golden(&format!(
            "{{\"tolerance\": {tolerance}, \"rows\": [{{\"inputs\": {inputs}, \"score\": {score}}}]}}"
        ))
    };
    assert_says(&row("[1, 2, 3]", "0.5", "0.5"), &["tolerance", "0.01"]);
    assert_says(&row("[1, 2, 3]", "0.5", "0"), &["tolerance", "more than 0"]);
    assert_says(&row("[1, 2, 3]", "1.5", "1e-5"), &["row 0", "1.5"]);
    assert_says(
        &row("[1, 2]", "0.5", "1e-5"),
        &["row 0 has 2 inputs", "lists 3"],
    );
    assert_says(&golden("{"), &["golden.json"]);
}

#[test]
fn a_model_of_another_width_is_refused() {
    let mut bundle = Folder::new(Model::Pair);
    bundle.replace("- { feature: amount }\n", "");
    let features = FEATURES.into_iter();
    let before = tollgate_models::features_digest(features.clone());
    bundle.replace(&before, &tollgate_models::features_digest(features.skip(1)));
    assert_says(
        &bundle.error(),
        &["model.onnx", "3 values a row", "lists 2 inputs"],
    );
}

#[test]
fn an_input_or_output_of_another_name_is_refused() {
    let mut bundle = Folder::new(Model::Pair);
    bundle.replace("tensor: input", "tensor: features");
    assert_says(&bundle.error(), &["called `input`", "`features`"]);

    let mut bundle = Folder::new(Model::Pair);
    bundle.replace("probabilities,", "probs,");
    assert_says(
        &bundle.error(),
        &["no output `probs`", "`label`", "`probabilities`"],
    );
}

#[test]
fn an_output_of_another_type_or_shape_is_refused() {
    let mut bundle = Folder::new(Model::Pair);
    bundle.replace("{ name: probabilities,", "{ name: label,");
    assert_says(&bundle.error(), &["`label`", "expected 32-bit floats"]);

    let mut bundle = Folder::new(Model::Pair);
    bundle.replace("kind: probability_pair", "kind: probability");
    assert_says(&bundle.error(), &["[1, 2]", "[1, 1]", "probability_pair"]);

    let mut bundle = Folder::new(Model::Probability);
    bundle.replace("kind: probability", "kind: probability_pair");
    assert_says(&bundle.error(), &["[1, 1]", "[1, 2]"]);

    let mut bundle = Folder::new(Model::Logit);
    bundle.replace("kind: logit", "kind: probability");
    assert_says(&bundle.error(), &["golden.json", "row 0 scores 0.5"]);

    let bundle = Folder::new(Model::Pair).with_model(&model_file("doubles.onnx"));
    assert_says(&bundle.error(), &["takes 1 values a row", "lists 3 inputs"]);
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let bundle = Folder::new(Model::Pair).with_model(b"this is not a model");
    assert!(matches!(bundle.open(), Err(Error::Hostile { .. })));
    let content = model_file("pair.onnx");
    let bundle = Folder::new(Model::Pair).with_model(&content[..content.len() / 2]);
    assert!(matches!(bundle.open(), Err(Error::Hostile { .. })));
}

#[test]
fn a_missing_file_is_named() {
    let bundle = Folder::new(Model::Pair);
    std::fs::remove_file(bundle.folder.path().join("model.onnx")).unwrap();
    assert_says(&bundle.error(), &["model.onnx"]);
}

#[test]
fn calibration_is_applied_to_the_log_odds() {
    for model in Model::ALL {
        let mut bundle = Folder::new(model);
        bundle
            .manifest
            .push_str("calibration: { platt: { a: -0.5, b: 1.25 } }\n");
        assert!(
            matches!(bundle.open(), Err(Error::GoldenMismatch { row: 0, .. })),
            "{model:?}"
        );
        let calibrated = |row: [f64; 3]| 1.0 / (1.0 + (-0.5 * model.log_odds(row) + 1.25).exp());
        let rows: Vec<String> = common::ROWS
            .iter()
            .map(|&row| format!("{{\"inputs\": {row:?}, \"score\": {}}}", calibrated(row)))
            .collect();
        bundle.golden = format!("{{\"tolerance\": 1e-5, \"rows\": [{}]}}", rows.join(","));
        bundle
            .open()
            .unwrap_or_else(|error| panic!("{model:?}: {error}"));
    }
}

#[test]
fn a_manifest_that_makes_no_sense_is_refused() {
    let spoilt = |from: &str, to: &str| {
        let mut bundle = Folder::new(Model::Pair);
        bundle.replace(from, to);
        bundle.error()
    };
    assert_says(&spoilt("tensor: input", "tensr: input"), &["tensr"]);
    assert_says(&spoilt("name: test", "name: a/b"), &["`name`", "a/b"]);
    assert_says(&spoilt("version: \"1\"", "version: \"\""), &["`version`"]);
    assert_says(&spoilt("card_sum_24h", "amount"), &["`amount` twice"]);
    assert_says(
        &spoilt("missing: -1", "missing: -.inf"),
        &["-.inf", "finite number"],
    );
    assert_says(
        &spoilt("kind: probability_pair", "kind: margin"),
        &["margin"],
    );
    let rising = "calibration: { platt: { a: 1.0, b: 0.0 } }\ntensor: input";
    assert_says(&spoilt("tensor: input", rising), &["platt.a", "negative"]);
    let mut bundle = Folder::new(Model::Pair);
    bundle.manifest = bundle.manifest.replace("model_sha256: ", "model_sha256: x");
    assert_says(&bundle.error(), &["model_sha256"]);
}
