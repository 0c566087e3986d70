//! `tollgate-loadtest handbook-policy`: the policy that the handbook's data set is scored by.
//!
//! The written part of the policy is compiled in; models and golden rows come from the data folder, because the
//! data must not become part of the repository.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::data::{Expected, FEATURES, MODELS, expected};
use super::skip_without;
use crate::output::write_file;

/// Writes the policy folder of the handbook's models.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The folder of the data set.
    #[arg(long, default_value = "../shared/data/handbook")]
    data: PathBuf,
    /// The policy folder to write.
    #[arg(long, default_value = "target/handbook/policy")]
    out: PathBuf,
}

const FEATURES_FILE: &str = include_str!("../../handbook/policy/features.yaml");

/// The written part of the policy.
const FILES: [(&str, &str); 6] = [
    (
        "schema.yaml",
        include_str!("../../handbook/policy/schema.yaml"),
    ),
    ("fx.yaml", include_str!("../../handbook/policy/fx.yaml")),
    ("features.yaml", FEATURES_FILE),
    (
        "fallback.yaml",
        include_str!("../../handbook/policy/fallback.yaml"),
    ),
    (
        "models.yaml",
        include_str!("../../handbook/policy/models.yaml"),
    ),
    (
        "rules/score.yaml",
        include_str!("../../handbook/policy/rules/score.yaml"),
    ),
];

/// Golden rows per model: enough to meet every branch of the features, few enough to check at every load.
const GOLDEN_ROWS: usize = 64;
const GOLDEN_TOLERANCE: f64 = 1e-5;

pub fn run(args: &Args) -> Result<()> {
    if skip_without(&args.data) {
        return Ok(());
    }
    write_policy(&args.data, &args.out)
        .with_context(|| format!("cannot write the policy {}", args.out.display()))?;
    println!("wrote {}", args.out.display());
    Ok(())
}

fn write_policy(data: &Path, out: &Path) -> Result<()> {
    for (name, text) in FILES {
        write_file(&out.join(name), text.as_bytes())?;
    }
    let golden = golden_rows(data)?;
    let features_sha256 = hex_digest(&feature_lines()?);
    for (model, name) in MODELS.into_iter().enumerate() {
        let folder = out.join("models").join(name).join("1");
        let source = data.join("models").join(format!("{name}.onnx"));
        let onnx =
            std::fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        write_file(&folder.join("model.onnx"), &onnx)?;
        let manifest = manifest(name, &hex_digest(&onnx), &features_sha256)?;
        write_file(&folder.join("manifest.yaml"), manifest.as_bytes())?;
        let rows = golden
            .iter()
            .map(|row| GoldenRow::new(row, model))
            .collect();
        let golden = Golden {
            tolerance: GOLDEN_TOLERANCE,
            rows,
        };
        write_file(
            &folder.join("golden.json"),
            serde_json::to_string(&golden)?.as_bytes(),
        )?;
    }
    Ok(())
}

/// One line `name: definition` per input, in their order: what the manifest's digest is taken of.
fn feature_lines() -> Result<Vec<u8>> {
    let mut lines = String::new();
    for name in FEATURES {
        let definition =
            definition(name).with_context(|| format!("features.yaml has no feature {name}"))?;
        writeln!(lines, "{name}: {definition}")?;
    }
    Ok(lines.into_bytes())
}

/// The definition of a feature. Each stands on one line of our own file, so no YAML parser is needed; a run of
/// white space counts as one blank.
fn definition(name: &str) -> Option<String> {
    let of = |line: &str| {
        line.trim()
            .strip_prefix(name)?
            .strip_prefix(": ")
            .map(str::to_owned)
    };
    let definition = FEATURES_FILE.lines().find_map(of)?;
    Some(definition.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn manifest(name: &str, model_sha256: &str, features_sha256: &str) -> Result<String> {
    let mut text = format!(
        "name: {name}\n\
         version: \"1\"\n\
         description: Model {name} of the fraud detection handbook.\n\
         model_sha256: \"{model_sha256}\"\n\
         features_sha256: \"{features_sha256}\"\n\
         inputs:\n"
    );
    for feature in FEATURES {
        writeln!(text, "  - {{ feature: {feature}, missing: 0 }}")?;
    }
    text.push_str(
        "tensor: input\n\
         output: { name: probabilities, kind: probability_pair }\n\
         calibration: none\n\
         metrics: {}\n",
    );
    Ok(text)
}

#[derive(Serialize)]
struct Golden {
    tolerance: f64,
    rows: Vec<GoldenRow>,
}

#[derive(Serialize)]
struct GoldenRow {
    inputs: Vec<f64>,
    score: f64,
}

impl GoldenRow {
    fn new(expected: &Expected, model: usize) -> Self {
        Self {
            inputs: expected.features.to_vec(),
            score: expected.scores[model],
        }
    }
}

/// Rows spread evenly over the expected ones.
fn golden_rows(data: &Path) -> Result<Vec<Expected>> {
    let mut all: Vec<_> = expected(data)?.into_iter().collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    let step = all.len().div_ceil(GOLDEN_ROWS).max(1);
    Ok(all
        .into_iter()
        .step_by(step)
        .map(|(_, expected)| expected)
        .collect())
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::data::sample;
    use super::*;

    #[test]
    fn every_input_of_the_models_is_defined_in_order() {
        let lines = String::from_utf8(feature_lines().unwrap()).unwrap();
        assert_eq!(lines.lines().count(), FEATURES.len());
        assert!(lines.starts_with("tx_amount: transaction.amount\n"));
        let last =
            r#"terminal_id_risk_30day_window: terminal.last("30d").delayed("7d").rate(fraud)"#;
        assert_eq!(lines.lines().last(), Some(last));
        let defined = FEATURES_FILE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count();
        assert_eq!(defined, FEATURES.len(), "the file defines nothing else");
    }

    #[test]
    fn the_policy_has_a_bundle_per_model_with_digests_and_golden_rows() {
        let data = tempfile::tempdir().unwrap();
        sample::write(data.path());
        let out = tempfile::tempdir().unwrap();
        write_policy(data.path(), out.path()).unwrap();
        for (name, text) in FILES {
            assert_eq!(
                std::fs::read_to_string(out.path().join(name)).unwrap(),
                text
            );
        }
        for model in MODELS {
            let folder = out.path().join("models").join(model).join("1");
            let manifest = std::fs::read_to_string(folder.join("manifest.yaml")).unwrap();
            assert!(
                manifest.contains(&hex_digest(model.as_bytes())),
                "the test's model is its name"
            );
            assert_eq!(manifest.matches("feature: ").count(), FEATURES.len());
            let golden = std::fs::read_to_string(folder.join("golden.json")).unwrap();
            let golden: serde_json::Value = serde_json::from_str(&golden).unwrap();
            assert_eq!(
                golden["rows"][0]["inputs"].as_array().unwrap().len(),
                FEATURES.len()
            );
        }
    }

    #[test]
    fn digests_are_sha_256_in_hexadecimal() {
        // printf 'a: 1 + 2\nb: x\n' | sha256sum
        let expected = "56c7fbe005a19d538af5556fc0e564cb9bc3dcb177d5e289b9921c1ca791e2d8";
        assert_eq!(hex_digest(b"a: 1 + 2\nb: x\n"), expected);
    }
}
