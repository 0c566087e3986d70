//! A model that takes texts is given them as they were written, though decisions work with numbers in their place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::path::{Path, PathBuf};

use common::{POLICY, Running, loader, start_with, transaction, write_policy};
use prost::Message;
use tollgate_models::{Bundle, Inference, Options, Rows, Runtime, features_digest};
use tollgate_proto::v1;

/// What the model's inputs are in this policy, in the order of its manifest. `channel` is longer than a key holds for one
/// of its values, `country` is short.
const FEATURES: [(&str, &str); 6] = [
    ("amount", "transaction.amount"),
    ("count", "card.last(\"30d\").count()"),
    ("age", "transaction.passengers"),
    ("ratio", "transaction.amount * 0.001"),
    ("channel", "transaction.channel"),
    ("country", "transaction.merchant_country"),
];

/// Puts the pipeline that scikit-learn exported, with a scaler and one-hot encoders, into the policy.
fn write_bundle(policy: &Path, channel: &str, channel_type: &str) -> PathBuf {
    let exported =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/exported/pipeline_of_columns");
    let bundle = policy.join("models/pipeline-of-columns/1");
    std::fs::create_dir_all(&bundle).unwrap();
    for file in ["model.onnx", "golden.json", "model-card.md"] {
        std::fs::copy(exported.join(file), bundle.join(file)).unwrap();
    }
    let manifest = std::fs::read_to_string(exported.join("manifest.yaml")).unwrap();
    let of_names = features_digest(FEATURES.iter().map(|(name, _)| (*name, *name)));
    assert!(manifest.contains(&of_names) && manifest.contains("feature: channel, type: text"));
    let manifest = manifest
        .replace(&of_names, &features_digest(defined(channel)))
        .replace("feature: channel, type: text", channel_type);
    std::fs::write(bundle.join("manifest.yaml"), manifest).unwrap();
    bundle
}

/// The features, with another definition of `channel`.
fn defined(channel: &str) -> impl Iterator<Item = (&str, &str)> {
    FEATURES.into_iter().map(move |(name, definition)| {
        let definition = if name == "channel" {
            channel
        } else {
            definition
        };
        (name, definition)
    })
}

fn policy(channel: &str, channel_type: &str) -> (tempfile::TempDir, PathBuf) {
    let mut features = String::new();
    for (name, definition) in defined(channel) {
        features.push_str(&format!("{name}: {definition}\n"));
    }
    let rule = "rules:\n  - id: burst\n    description: More than three in a month.\n    \
                when: features.count > 3\n    then: decline\n    reason: BURST\n";
    let mut files = POLICY.to_vec();
    files.retain(|(path, _)| !["features.yaml", "rules/rules.yaml"].contains(path));
    files.extend([
        ("features.yaml", features.as_str()),
        ("rules/rules.yaml", rule),
        ("models.yaml", "champion: pipeline-of-columns/1\n"),
    ]);
    let folder = write_policy(&files);
    let bundle = write_bundle(folder.path(), channel, channel_type);
    (folder, bundle)
}

/// The score of one row by the bundle itself.
fn expected(inference: &Inference, amount: f64, channel: &str, country: &str) -> f64 {
    let row = Rows::one(
        vec![amount, 1.0, 0.0, amount * 0.001],
        vec![channel.into(), country.into()],
    );
    let reply = inference.submit(row).unwrap().blocking_recv();
    reply.unwrap().unwrap().value()
}

#[tokio::test(flavor = "multi_thread")]
async fn short_and_long_texts_reach_the_model_and_the_decision_log() {
    let (folder, bundle) = policy("transaction.channel", "feature: channel, type: text");
    let mut running: Running = start_with(folder).await;
    let inference = {
        Runtime::load(Path::new("loaded before")).unwrap();
        let definition = |name: &str| {
            let found = FEATURES.iter().find(|(known, _)| *known == name);
            found.map(|(_, definition)| (*definition).to_owned())
        };
        let bundle = Bundle::open(&bundle, &definition).unwrap();
        Inference::start(
            bundle,
            Options {
                threads: 1,
                queue_rows_max: 16,
                run_max: std::time::Duration::from_secs(10),
                counts_cpu: false,
            },
        )
        .unwrap()
    };
    let mut seen = Vec::new();
    for (n, (channel, name, country)) in [
        (v1::Channel::CardPresent, "card_present", "FR"),
        (v1::Channel::CardPresent, "card_present", "US"),
        // Neither was there in training.
        (v1::Channel::Ecommerce, "ecommerce", "JP"),
        // A missing country is an empty text.
        (v1::Channel::CardPresent, "card_present", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let mut asked = transaction(&format!("t{n}"), &format!("card-{n}"), 0, 2500);
        asked.set_channel(channel);
        asked.merchant_country = country.to_owned();
        let answer = running.score(asked).await;
        assert!(answer.has_score, "{answer:?}");
        let expected = tokio::task::block_in_place(|| expected(&inference, 25.0, name, country));
        assert!(
            (answer.score - expected).abs() < 1e-9,
            "{name} {country}: {} and {expected}",
            answer.score
        );
        seen.push(answer.score);
    }
    assert!(
        seen.iter()
            .enumerate()
            .all(|(at, score)| !seen[..at].contains(score)),
        "{seen:?}"
    );

    let decisions = running.consume("tollgate.decisions", 4).await;
    let first = decisions
        .iter()
        .map(|(_, value)| v1::DecisionRecord::decode(value.as_slice()).unwrap());
    let texts: Vec<Vec<String>> = first.map(|record| record.model_texts).collect();
    assert!(
        texts.contains(&vec!["card_present".to_owned(), "US".to_owned()]),
        "{texts:?}"
    );
    running.service.stop().await;
}

#[test]
fn a_text_where_the_manifest_has_a_number_is_refused_and_the_other_way_round() {
    let refusal = |channel: &str, channel_type: &str| {
        let (folder, _) = policy(channel, channel_type);
        match loader(folder.path()).load() {
            Ok(_) => "loaded".to_owned(),
            Err(errors) => errors.render(),
        }
    };
    let found = refusal("transaction.channel", "feature: channel");
    assert!(
        found.contains("takes texts") && found.contains("`type: text`"),
        "{found}"
    );
    let found = refusal("transaction.passengers", "feature: channel, type: text");
    assert!(found.contains("`channel` is not a text"), "{found}");
}
