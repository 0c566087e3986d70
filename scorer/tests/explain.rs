//! `tollgate explain`, from outside: decisions of a service, looked up in its log and made again.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{
    POLICY, Running, library, start, start_configured, transaction, write_policy, write_slow_bundle,
};
use prost::Message;
use tollgate_proto::v1;

/// What the command says and its exit code.
struct Said {
    code: i32,
    out: String,
    errors: String,
}

/// Runs it with the policy folder configured and whatever else the environment sets.
async fn explain(arguments: &[&str], policy: &Path, variables: &[(&str, &str)]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .arg("explain")
        .args(arguments)
        .env("TOLLGATE_POLICY__PATH", policy)
        .env("TOLLGATE_MODEL__LIBRARY", library())
        .env("RUST_LOG", "error")
        .envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        errors: text(output.stderr),
    }
}

/// Addresses of which nobody listens at the first ones.
fn beside_dead_brokers(kafka: &str) -> String {
    format!("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,{kafka}")
}

/// The same, for a decision in the log of a running service.
async fn explain_in(running: &Running, arguments: &[&str]) -> Said {
    let kafka = running.service.addresses().kafka.clone();
    let variables = [("TOLLGATE_KAFKA__BOOTSTRAP", kafka.as_str())];
    explain(arguments, running.policy.path(), &variables).await
}

fn has_lines(text: &str, lines: &[&str]) {
    for line in lines {
        let has = text.lines().any(|other| other == *line);
        assert!(has, "{line}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_found_in_the_log_and_comes_out_the_same() {
    let mut running = start().await;
    let mut answers = Vec::new();
    for second in 0..5 {
        let id = format!("t{second}");
        let of_card_1 = transaction(&id, "card-1", second, 60_000);
        answers.push(running.score(of_card_1).await);
        let of_another = transaction(&format!("u{second}"), &format!("card-{id}"), second, 100);
        running.score(of_another).await;
    }
    running.consume("tollgate.decisions", 10).await;
    // The fourth of the card: declined by a rule over its history.
    let answer = &answers[3];
    let id = answer.decision_id.as_str();
    for more in [
        &[][..],
        &["--card", "card-1"],
        &["--since", "1h"],
        &["--since", "2026-01-01", "--card", "card-1"],
    ] {
        let arguments = [&["--decision", id][..], more].concat();
        let said = explain_in(&running, &arguments).await;
        assert_eq!(said.code, 0, "{}{}", said.out, said.errors);
        assert_eq!(said.errors, "");
        let decision = format!("decision      {id}");
        let policy = format!("policy        {}", answer.policy_version);
        has_lines(
            &said.out,
            &[
                &decision,
                "transaction   t3 of card card-1",
                "event time    2026-02-02T02:40:03Z",
                "outcome       decline",
                "score         none",
                "level         full",
                "reason        BURST (burst): More than three in a month.",
                "shadow match  large-in-shadow",
                &policy,
                "feature       card_count = 4",
                "feature       card_sum = 2400",
                "feature       terminal_fraud = 0",
                "aggregate     card.last(\"30d\").count() = 4",
                "made again    the same",
            ],
        );
        for took in ["waiting", "features", "rules", "all"] {
            let has = |line: &str| line.starts_with("took") && line.ends_with(took);
            assert!(said.out.lines().any(has), "{took}: {}", said.out);
        }
        assert_eq!(said.out.matches("decision      ").count(), 1);
    }
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_does_not_end_the_search() {
    let mut running = start().await;
    let answer = running.score(transaction("t1", "card-1", 0, 100)).await;
    running.consume("tollgate.decisions", 1).await;
    let brokers = beside_dead_brokers(&running.service.addresses().kafka);
    let variables = [("TOLLGATE_KAFKA__BOOTSTRAP", brokers.as_str())];
    let arguments = ["--decision", answer.decision_id.as_str()];
    // Which of them is asked first is a matter of chance.
    for _ in 0..3 {
        let said = explain(&arguments, running.policy.path(), &variables).await;
        assert_eq!(said.code, 0, "{}{}", said.out, said.errors);
        has_lines(&said.out, &["made again    the same"]);
    }
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_log_is_said_not_to_be() {
    let mut running = start().await;
    let answer = running.score(transaction("t1", "card-1", 0, 100)).await;
    running.consume("tollgate.decisions", 1).await;
    let advice = "say with --since when it was made, such as --since 2026-11-30 or --since 30d\n";
    for (arguments, expected) in [
        (
            vec!["--decision", "no-such", "--since", "2026-01-31"],
            "error: no record of decision `no-such` is among the 1 that tollgate.decisions has since 2026-01-31T00:00:00Z; ",
        ),
        (
            vec![
                "--decision",
                answer.decision_id.as_str(),
                "--card",
                "card-2",
                "--since",
                "2026-01-31",
            ],
            "of card `card-2` is among the 1 that tollgate.decisions has since 2026-01-31T00:00:00Z; ",
        ),
    ] {
        let said = explain_in(&running, &arguments).await;
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{}", said.errors);
        assert!(said.errors.contains(expected), "{}", said.errors);
        assert!(said.errors.ends_with(advice), "{}", said.errors);
    }
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_late_verdict_is_explained_beside_the_answer() {
    let mut files = POLICY.to_vec();
    files.push((
        "rules/score.yaml",
        "rules:\n  - id: likely\n    description: The model finds it likely.\n    when: model.score >= 0.2\n    \
         then: decline\n    reason: MODEL_SCORE\n",
    ));
    files.push(("models.yaml", "champion: slow/1\n"));
    let folder = write_policy(&files);
    write_slow_bundle(folder.path(), "1");
    let path = folder.path().to_owned();
    // With less than a millisecond left nobody waits for the model, however fast it is.
    let mut running = start_configured(&path, folder, |config| config.deadline.budget_ms = 1).await;
    let answer = running.score(transaction("t1", "card-1", 0, 1000)).await;
    assert_ne!(answer.degradation(), v1::Degradation::Full);
    running.consume("tollgate.decisions", 2).await;
    let said = explain_in(&running, &["--decision", &answer.decision_id]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.errors);
    let (answered, late) = said.out.split_once("\n\n").unwrap();
    has_lines(
        answered,
        &[
            "outcome       approve",
            "cause         deadline_too_short",
            "made again    the same",
        ],
    );
    has_lines(
        late,
        &[
            "late verdict  answered was approve",
            "outcome       decline",
            "score         0.2500",
            "level         full",
            "model         slow/1",
            "reason        MODEL_SCORE (likely): The model finds it likely.",
            "made again    the same",
        ],
    );
    running.service.stop().await;
}

/// The record of one decision, and the policy that made it.
async fn one_record() -> (v1::DecisionRecord, tempfile::TempDir) {
    let mut running = start().await;
    running.score(transaction("t1", "card-1", 0, 60_000)).await;
    let records = running.consume("tollgate.decisions", 1).await;
    let record = v1::DecisionRecord::decode(records[0].1.as_slice()).unwrap();
    let Running {
        service, policy, ..
    } = running;
    service.stop().await;
    (record, policy)
}

fn saved(folder: &Path, record: &v1::DecisionRecord) -> String {
    let file = folder.join("saved.record");
    std::fs::write(&file, record.encode_to_vec()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_record_is_made_again_without_kafka_in_either_form() {
    let (record, policy) = one_record().await;
    let folder = tempfile::tempdir().unwrap();
    let file = saved(folder.path(), &record);
    let json = folder.path().join("record.json");
    let text = tollgate_proto::to_json("tollgate.v1.DecisionRecord", &record).unwrap();
    std::fs::write(&json, text).unwrap();
    let id = record.response.as_ref().unwrap().decision_id.as_str();
    for file in [file.as_str(), json.to_str().unwrap()] {
        for arguments in [
            vec!["--record", file],
            vec!["--record", file, "--decision", id],
        ] {
            let said = explain(&arguments, policy.path(), &[]).await;
            assert_eq!((said.code, said.errors.as_str()), (0, ""), "{}", said.out);
            has_lines(&said.out, &["made again    the same"]);
        }
    }
    // The folder of another policy is configured, and the right one given.
    let mut files = POLICY.to_vec();
    files.push(("rules/more.yaml", "rules: []\n"));
    let other = write_policy(&files);
    let right = policy.path().to_str().unwrap();
    let said = explain(&["--record", &file, "--policy", right], other.path(), &[]).await;
    assert_eq!((said.code, said.errors.as_str()), (0, ""));
    let said = explain(&["--record", &file], other.path(), &[]).await;
    assert_eq!(said.code, 2);
    has_lines(&said.out, &["outcome       approve", "level         full"]);
    let wanted = &record.response.as_ref().unwrap().policy_version;
    let beginning = format!(
        "error: it cannot be made again: it was made by policy version {wanted}, and {} has version ",
        other.path().display()
    );
    assert!(said.errors.starts_with(&beginning), "{}", said.errors);
    let end = ", with the features and the fallback table and the champion alike; name a folder that has the policy as it was \
               then with --policy (`tollgate check` says which version a folder has)\n";
    assert!(said.errors.ends_with(end), "{}", said.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_changed_differs_and_an_old_one_cannot_be_made_again() {
    let (record, policy) = one_record().await;
    let folder = tempfile::tempdir().unwrap();
    let mut changed = record.clone();
    let response = changed.response.as_mut().unwrap();
    response.set_outcome(v1::Outcome::Decline);
    let file = saved(folder.path(), &changed);
    let said = explain(&["--record", &file], policy.path(), &[]).await;
    assert_eq!((said.code, said.errors.as_str()), (1, ""));
    has_lines(
        &said.out,
        &[
            "made again    it differs",
            "difference    outcome: logged decline, now approve",
        ],
    );
    // As it was before these fields.
    let old = v1::DecisionRecord {
        response: record.response.clone(),
        card_id: record.card_id.clone(),
        event_time: record.event_time,
        decided_at: record.decided_at,
        ..v1::DecisionRecord::default()
    };
    let file = saved(folder.path(), &old);
    let said = explain(&["--record", &file], policy.path(), &[]).await;
    assert_eq!(said.code, 2);
    has_lines(
        &said.out,
        &["outcome       approve", "transaction   t1 of card card-1"],
    );
    assert_eq!(
        said.errors,
        "error: it cannot be made again: its record is from before tollgate logged what decisions are made from, and has no \
         more than the answer\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_answered_with_what_to_do_instead() {
    let (record, policy) = one_record().await;
    let folder = tempfile::tempdir().unwrap();
    let file = saved(folder.path(), &record);
    let id = &record.response.as_ref().unwrap().decision_id;
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "{\"cardId\": 4111111111111111").unwrap();
    let broken = broken.to_str().unwrap();
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    for (arguments, expected) in [
        (
            vec!["--decision", "d1"],
            "error: no Kafka is configured to look for the record in: set kafka.bootstrap, or give the record in a file with \
             --record\n"
                .to_owned(),
        ),
        (
            vec!["--decision", "d1", "--since", "yesterday"],
            "error: --since: `yesterday` is no time; write a date, such as 2026-12-31, or a time with its zone, such as \
             2026-12-31T18:00:00+01:00, or a length of time until now, such as 2h or 30d\n"
                .to_owned(),
        ),
        (
            vec!["--decision", "d1", "--record", file.as_str()],
            format!(
                "error: {file} is the record of decision `{id}`, and not of `d1`; leave --decision out to explain it\n"
            ),
        ),
        (
            vec!["--record", broken],
            format!("error: {broken}: not a DecisionRecord in JSON: line 1, column 27\n"),
        ),
        (
            vec!["--record", missing],
            format!("error: cannot read {missing}: No such file or directory (os error 2)\n"),
        ),
    ] {
        let said = explain(&arguments, policy.path(), &[]).await;
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(said.errors, expected);
    }
    let said = explain(&[], policy.path(), &[]).await;
    assert_eq!(said.code, 2);
    assert!(said.errors.contains("--decision <ID>"), "{}", said.errors);
}
