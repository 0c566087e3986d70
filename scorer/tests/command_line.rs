//! The `tollgate` command as people use it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{POLICY, write_policy};

fn tollgate(arguments: &[&str], policy: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(arguments)
        .env("TOLLGATE_POLICY__PATH", policy)
        .env("TOLLGATE_GRPC__LISTEN", "127.0.0.1:0")
        .env("TOLLGATE_ADMIN__LISTEN", "127.0.0.1:0")
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_policy_with_errors_stops_serve_before_a_port_opens() {
    let mut files = POLICY.to_vec();
    files.push((
        "rules/broken.yaml",
        "rules:\n  - id: typo\n    description: A misspelt field.\n    \
         when: transaction.amont > 500\n    then: decline\n    reason: TYPO\n  - id: no-reason\n    \
         description: Declines without a reason.\n    when: transaction.amount > 500\n    then: decline\n",
    ));
    files.push(("lists/trusted.csv", "value,expires_at\ncard-1,tomorrow\n"));
    let folder = write_policy(&files);
    let addresses = folder.path().join("addresses.json");
    for command in [
        vec!["serve", "--write-addresses", addresses.to_str().unwrap()],
        vec!["check", folder.path().to_str().unwrap()],
    ] {
        let output = tollgate(&command, folder.path());
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        // All at once, each with its place and a caret.
        assert!(text.contains("broken.yaml:4:23"), "{text}");
        assert!(text.contains("^"), "{text}");
        assert!(text.contains("`amount`"), "a suggestion: {text}");
        assert!(text.contains("broken.yaml:10:11"), "{text}");
        assert!(text.contains("trusted.csv:2:"), "{text}");
        assert!(!text.contains("serving"), "{text}");
        assert!(!addresses.exists(), "a port was opened");
    }
}

#[test]
fn check_says_what_a_good_policy_holds() {
    let folder = write_policy(&POLICY);
    let output = tollgate(&["check"], folder.path());
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("2 rules, 5 named features"), "{text}");
}

/// Two rules, of which the first has tests; the last word of its second test is left to say.
fn policy_with_tests(expect: &str) -> tempfile::TempDir {
    let mut files = POLICY.to_vec();
    let rules = format!(
        "rules:\n  - id: three-in-a-minute\n    description: Three in a minute.\n    \
         when: card.last(\"1m\").count() >= 3 && transaction.amount < 100\n    then: decline\n    \
         reason: FAST\n    tests:\n      - name: the third\n        history: {{repeat: 2, every: 20s}}\n        \
         expect: decline\n      - name: a minute apart\n        history: {{repeat: 2, every: 1m}}\n        \
         expect: {expect}\n  - id: untested\n    description: Nobody wrote a test.\n    \
         when: transaction.amount > 7000\n    then: flag\n    reason: LARGE\n"
    );
    files.push(("rules/tested.yaml", &rules));
    write_policy(&files)
}

#[test]
fn a_policy_whose_tests_fail_is_not_loaded() {
    let folder = policy_with_tests("decline");
    for command in ["check", "serve"] {
        let output = tollgate(&[command], folder.path());
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("the test `a minute apart` of `three-in-a-minute` failed"),
            "{text}"
        );
        assert!(text.contains("tested.yaml:13:17"), "{text}");
        assert!(text.contains("card.last(\"1m\").count() = 1"), "{text}");
        assert!(!text.contains("serving"), "{text}");
    }
}

#[test]
fn check_names_what_tests_leave_open() {
    let folder = policy_with_tests("no match");
    let output = tollgate(&["check"], folder.path());
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("4 rules") && said.contains("2 tests"),
        "{said}"
    );
    assert!(!said.contains("no test makes"), "{said}");
    let output = tollgate(&["check", "--coverage"], folder.path());
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for line in [
        "warning: no test makes `burst` match",
        "warning: no test makes `untested` match",
        "warning: no test makes `large` match",
        "warning: no test makes `otherwise` match",
        "in the tests of `three-in-a-minute`, `transaction.amount < 100` is never false",
        "tested.yaml:4:43",
        "coverage: 6 things left open",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn a_wrong_setting_is_named() {
    let folder = write_policy(&POLICY);
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("check")
        .env("TOLLGATE_POLICY__PATH", folder.path())
        .env("TOLLGATE_DEADLINE__BUDGET_MS", "500")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("deadline.budget_ms: 500 is not between 1 and 100"));
}

#[test]
fn score_explains_one_transaction() {
    let folder = write_policy(&POLICY);
    let file = folder.path().join("transaction.json");
    let json = r#"{"transactionId": "t1", "eventTime": "2026-02-02T10:00:00Z", "cardId": "card-1",
        "amountMinor": "60000", "currency": "EUR", "merchantId": "m1"}"#;
    std::fs::write(&file, json).unwrap();
    let output = tollgate(&["score", file.to_str().unwrap()], folder.path());
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for line in [
        "outcome       approve",
        "shadow match  large-in-shadow",
        "card_sum = 600",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn a_history_file_becomes_a_feature_table() {
    let folder = write_policy(&POLICY);
    let history = folder.path().join("history.jsonl");
    let line = |id: &str, time: &str, authorized: bool| {
        format!(
            r#"{{"transaction": {{"transaction": {{"transactionId": "{id}", "eventTime": "{time}",
            "cardId": "card-1", "amountMinor": "1000", "currency": "EUR", "merchantId": "m1",
            "terminalId": "x"}}, "authorized": {authorized}}}}}"#
        )
        .replace('\n', " ")
    };
    let label =
        r#"{"label": {"transactionId": "t1", "fraud": true, "knownAt": "2026-02-03T00:00:00Z"}}"#;
    let lines = [
        line("t1", "2026-02-02T10:00:00Z", true),
        label.to_owned(),
        line("t2", "2026-02-04T10:00:00Z", false),
    ];
    std::fs::write(&history, lines.join("\n")).unwrap();
    let table = folder.path().join("features.csv");
    let arguments = [
        "features",
        "--history",
        history.to_str().unwrap(),
        "--out",
        table.to_str().unwrap(),
    ];
    let output = tollgate(&arguments, folder.path());
    assert!(output.status.success(), "{}", text(&output));
    // The second was declined, which is not known while it is scored.
    assert_eq!(
        std::fs::read_to_string(&table).unwrap(),
        "transaction_id,event_time,card_id,amount,card_count,card_sum,card_declined,terminal_fraud,fraud\n\
         t1,2026-02-02T10:00:00Z,card-1,10,1,10,0,0,1\n\
         t2,2026-02-04T10:00:00Z,card-1,10,2,20,0,0.5,\n"
    );
    let definitions = std::fs::read_to_string(folder.path().join("features.csv.definitions.json"));
    assert!(
        definitions
            .unwrap()
            .contains("\"definition\": \"card.last(\\\"30d\\\").count()\"")
    );
}
