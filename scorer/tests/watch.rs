//! What is said about models: reasons, drift, challengers within their budget.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{
    POLICY, Running, start_configured, transaction, write_bundle, write_policy, write_slow_bundle,
};
use prost::Message;
use tollgate_models::features_digest;
use tollgate_proto::v1;

const RULES: &str = "rules:
  - id: likely
    description: The model finds it likely.
    when: model.score >= 0.25
    then: flag
    reason: MODEL_SCORE
";

/// The log-odds are 0.5 · amount − 0.25 · card_count + 1.5 · card_sum − 1; see `models/tests/make_models.py`.
const INPUTS: &str = "
- { feature: amount, distribution: { edges: [1, 2], shares: [0.5, 0.3, 0.2] } }
- { feature: card_count, reason: { code: OFTEN, description: Often. }, distribution: { edges: [2], shares: [1, 0] } }
- { feature: card_sum, reason: { code: MUCH, description: The card has spent much. } }
";

/// Puts the logistic regression of three inputs into a policy folder as `linear/<version>`.
fn write_linear_bundle(policy: &Path, version: &str) {
    let model = include_bytes!("../../models/tests/models/probability.onnx");
    let features = [
        ("amount", "transaction.amount"),
        ("card_count", "card.last(\"30d\").count()"),
        ("card_sum", "card.last(\"30d\").sum(amount)"),
    ];
    let features = features_digest(features.into_iter());
    let manifest = format!(
        "description: A line.\n\
         features_sha256: {features}\ninputs: {INPUTS}tensor: input\n\
         output: {{name: probability, kind: probability}}\n\
         score_distribution: {{ edges: [0.5], shares: [0.9, 0.1] }}\n\
         trained: {{ from: 2026-01-01, to: 2026-02-01, rows: 1000 }}\nmetrics: {{ auc: 0.5 }}\n"
    );
    let golden = r#"{"tolerance": 1e-6, "rows": [{"inputs": [2, 0, 0], "score": 0.5}]}"#;
    write_bundle(policy, ("linear", version), model, &manifest, golden);
}

async fn start(models: &str, challengers_cpu_percent: u32) -> Running {
    let mut files = POLICY.to_vec();
    if models.contains("champion") {
        files.push(("rules/score.yaml", RULES));
    }
    files.push(("models.yaml", models));
    let folder = write_policy(&files);
    for version in ["1", "2"] {
        write_linear_bundle(folder.path(), version);
        write_slow_bundle(folder.path(), version);
    }
    let manifest = folder.path().join("models/slow/2/manifest.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    // Explained by what takes it an hour.
    let text = text.replace("missing: 0", "missing: 0, baseline: 4.0e+9");
    std::fs::write(manifest, text).unwrap();
    let path = folder.path().to_owned();
    start_configured(&path, folder, |config| {
        config.watch.challengers_cpu_percent = challengers_cpu_percent;
    })
    .await
}

/// Code, rule and description of each reason.
fn reasons(answer: &v1::ScoreResponse) -> Vec<(&str, &str, &str)> {
    let reasons = answer.reasons.iter();
    reasons
        .map(|reason| (&*reason.code, &*reason.rule_id, &*reason.description))
        .collect()
}

/// Asks again and again until a metric has a value at all.
async fn await_metric(running: &Running, sample: &str) -> f64 {
    let found = async {
        loop {
            let metrics = running.metrics().await;
            if let Some(line) = metrics.lines().find_map(|line| line.strip_prefix(sample)) {
                return line.trim().parse().unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found)
        .await
        .unwrap()
}

fn records(found: &[(String, Vec<u8>)]) -> Vec<v1::DecisionRecord> {
    let decode = |(_, bytes): &(String, Vec<u8>)| v1::DecisionRecord::decode(bytes.as_slice());
    found.iter().map(|record| decode(record).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_raised_the_score_is_a_reason_behind_those_of_rules() {
    let mut running = start("champion: linear/1\n", 25).await;
    // 0.5 · 1 − 0.25 · 1 + 1.5 · 1 − 1 = 0.75: the count has lowered it, and is no reason.
    let flagged = running.score(transaction("s1", "card-1", 0, 100)).await;
    assert_eq!(flagged.outcome(), v1::Outcome::Flag);
    assert_eq!(flagged.degradation(), v1::Degradation::Full);
    assert_eq!(flagged.degradation_causes, [""; 0]);
    let expected = [
        ("MODEL_SCORE", "likely", "The model finds it likely."),
        ("MUCH", "linear/1", "The card has spent much."),
        (
            "MODEL_AMOUNT",
            "linear/1",
            "the model finds fraud likelier because of amount",
        ),
    ];
    assert_eq!(reasons(&flagged), expected);

    let approved = running.score(transaction("s2", "card-2", 1, 1)).await;
    assert_eq!(approved.outcome(), v1::Outcome::Approve);
    assert!(approved.has_score && approved.reasons.is_empty());

    // The log has what was answered.
    let logged = records(&running.consume("tollgate.decisions", 2).await);
    let logged = logged.iter().find_map(|record| {
        let response = record.response.as_ref();
        response.filter(|response| response.transaction_id == "s1")
    });
    assert_eq!(reasons(logged.unwrap()), expected);
    let asked = "tollgate_model_reasons_latency_seconds_count";
    assert_eq!(
        running.metric(asked).await,
        1.0,
        "approvals are not explained"
    );
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_that_are_not_there_in_time_are_left_out_and_the_answer_says_so() {
    // DE-4: the score comes at once, but the run that explains it does not come back.
    let mut running = start("champion: slow/2\n", 25).await;
    let answer = running.score(transaction("s1", "card-1", 0, 1000)).await;
    assert_eq!(answer.outcome(), v1::Outcome::Flag);
    assert_eq!((answer.has_score, answer.score), (true, 0.25));
    assert_eq!(
        answer.degradation(),
        v1::Degradation::Full,
        "nothing else was left out"
    );
    assert_eq!(answer.degradation_causes, ["model_reasons_left_out"]);
    let expected = [("MODEL_SCORE", "likely", "The model finds it likely.")];
    assert_eq!(reasons(&answer), expected, "DE-2");
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_from_training_is_in_metrics_and_on_the_admin_page() {
    let mut running = start("champion: linear/1\nchallengers: [linear/2]\n", 100).await;
    // Nothing is below 1 and everything below 2, where half and a third was; each card is new.
    for n in 0..600 {
        let id = format!("s{n}");
        running.score(transaction(&id, &id, 0, 150)).await;
    }
    let series = |of: &str| format!("tollgate_model_{of}");
    let amount = series("input_psi{feature=\"amount\",model=\"linear/1\"}");
    let psi = await_metric(&running, &amount).await;
    // (1e-4 − 0.5) ln(1e-4 / 0.5) + (1 − 0.3) ln(1 / 0.3) + (1e-4 − 0.2) ln(1e-4 / 0.2)
    assert!((psi - 6.620).abs() < 0.001, "{psi}");
    let count = series("input_psi{feature=\"card_count\",model=\"linear/1\"}");
    assert!(
        await_metric(&running, &count).await.abs() < 1e-9,
        "as in training"
    );
    let score = series("score_psi{model=\"linear/1\"}");
    assert!(
        await_metric(&running, &score).await > 1.0,
        "all are above 0.5"
    );
    let challenger = series("input_psi{feature=\"amount\",model=\"linear/2\"}");
    assert!((await_metric(&running, &challenger).await - 6.620).abs() < 0.001);

    let page = running.get("/models").await;
    for part in [
        "\"model\":\"linear/1\",\"role\":\"champion\"",
        "\"model\":\"linear/2\",\"role\":\"challenger\"",
        "\"feature\":\"amount\",\"psi\":6.6",
        "\"calibration\":\"none",
        "\"rows\":1000",
        "\"metrics\":{\"auc\":0.5}",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(
        !page.contains("\"feature\":\"card_sum\""),
        "its manifest says nothing of it"
    );

    // A model that is no longer live is no longer shown.
    std::fs::write(
        running.policy.path().join("models.yaml"),
        "champion: linear/2\n",
    )
    .unwrap();
    let gone = async {
        while running.metrics().await.contains("linear/1") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .unwrap();
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenger_over_its_budget_is_left_out_and_counted() {
    // A hundredth of a core: the first run takes several times what may be used in a second.
    let mut running = start("challengers: [slow/1]\n", 1).await;
    running
        .score(transaction("s1", "card-1", 0, 5_000_000))
        .await;
    let rows =
        |result| format!("tollgate_challenger_rows_total{{model=\"slow/1\",result=\"{result}\"}}");
    await_metric(&running, &rows("scored")).await;
    running.score(transaction("s2", "card-2", 1, 100)).await;
    await_metric(&running, &rows("dropped_over_budget")).await;
    let found = records(&running.consume("tollgate.decisions", 2).await);
    let mut errors: Vec<&str> = found
        .iter()
        .flat_map(|record| &record.challengers)
        .map(|score| score.error.as_str())
        .collect();
    errors.sort_unstable();
    assert_eq!(errors, ["", "over its budget of CPU"]);
    let cpu = running
        .metric("tollgate_challenger_cpu_seconds_total{model=\"slow/1\"}")
        .await;
    assert!(cpu > 0.01, "{cpu}");
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn challengers_are_compared_with_the_champion() {
    let mut running = start("champion: linear/1\nchallengers: [linear/2, slow/1]\n", 100).await;
    let answer = running.score(transaction("s1", "card-1", 0, 100)).await;
    let count = "tollgate_challenger_difference_count{model=\"slow/1\"}";
    assert_eq!(await_metric(&running, count).await, 1.0);
    let sum = |model: &str| format!("tollgate_challenger_difference_sum{{model=\"{model}\"}}");
    let same = running.metric(&sum("linear/2")).await;
    assert_eq!(same, 0.0);
    let other = running.metric(&sum("slow/1")).await;
    assert!((other - (answer.score - 0.25)).abs() < 1e-6, "{other}");
    running.service.stop().await;
}
