//! Rules that decline too much, and the commands of those who look after a running service.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod changes;
mod common;

use std::fs;
use std::process::Command;

use changes::{Bench, FILE, rules};
use tollgate_proto::v1::Outcome;

/// Declines everything, which half of ten transactions are too many for.
fn wild() -> String {
    rules("wild").replace("flag", "decline") + "    guard: {share_max: 50%, transactions_min: 10}\n"
}

/// What a command to the running service prints, and whether it succeeded.
async fn tollgate(bench: &Bench, arguments: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments);
    let admin = bench.running.service.addresses().admin;
    command.args(["--admin", &admin.to_string()]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).unwrap();
    (printed, output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_declines_too_much_is_demoted_until_it_is_resumed_or_changed() {
    let mut bench = Bench::start().await;
    fs::write(bench.at(FILE), wild()).unwrap();
    bench.until_matched("wild").await;
    // The one before was counted as well: the tenth transaction is one decline too many.
    for _ in 0..9 {
        assert_eq!(bench.decide().await.outcome(), Outcome::Decline);
    }
    let answer = bench.decide().await;
    assert_eq!(answer.outcome(), Outcome::Approve);
    assert_eq!(answer.shadow_matches, ["wild"]);
    assert_eq!(bench.running.metric("tollgate_rules_demoted").await, 1.0);
    let demotions = "tollgate_rule_demotions_total";
    assert_eq!(bench.running.metric(demotions).await, 1.0);
    let status = bench.running.get("/status").await;
    assert!(status.contains("\"demoted_rules\":[\"wild\"]"), "{status}");

    // A change of something else lets it be.
    bench.replace("rules/other.yaml", &rules("other"));
    let answer = bench.until_matched("other").await;
    assert_eq!(answer.shadow_matches, ["wild"]);
    assert_eq!(bench.running.metric("tollgate_rules_demoted").await, 1.0);

    let (printed, _) = tollgate(&bench, &["rules", "demoted"]).await;
    assert!(
        printed.contains("declined 10 of 10 transactions within 10m"),
        "{printed}"
    );
    let (printed, succeeded) = tollgate(&bench, &["rules", "resume", "other"]).await;
    assert!(!succeeded);
    assert!(
        printed.contains("`other` is not a demoted rule; these are: wild"),
        "{printed}"
    );
    let (printed, succeeded) = tollgate(&bench, &["rules", "resume", "wild"]).await;
    assert!(succeeded, "{printed}");
    assert_eq!(bench.running.metric("tollgate_rules_demoted").await, 0.0);
    for _ in 0..10 {
        assert_eq!(bench.decide().await.outcome(), Outcome::Decline);
    }
    assert_eq!(bench.decide().await.outcome(), Outcome::Flag);

    // Changed, it begins anew.
    let changed = wild().replace("amount > 0", "amount > 0.5");
    bench.replace(FILE, &changed);
    bench.until_matched("wild").await;
    assert_eq!(bench.running.metric("tollgate_rules_demoted").await, 0.0);
    assert_eq!(bench.running.metric(demotions).await, 2.0);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed_and_chosen_by_one_command_each() {
    let mut bench = Bench::start().await;
    let first = bench.decide().await.policy_version;
    bench.replace(FILE, &rules("second"));
    let second = bench.until_matched("second").await.policy_version;
    let (printed, _) = tollgate(&bench, &["policy", "versions"]).await;
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].starts_with(&second) && lines[0].ends_with("changed: rules/rules.yaml"));
    assert!(
        lines[0].contains("  live  ") && !lines[1].contains("live"),
        "{printed}"
    );
    assert!(lines[1].starts_with(&first) && lines[1].ends_with("loaded at start"));

    let (printed, succeeded) = tollgate(&bench, &["policy", "rollback", "0123"]).await;
    assert!(!succeeded);
    assert!(
        printed.contains(&format!("there are {second}, {first}")),
        "{printed}"
    );
    let (printed, succeeded) = tollgate(&bench, &["policy", "rollback", &first]).await;
    assert!(succeeded && printed.contains("live, pinned"), "{printed}");
    assert_eq!(bench.decide().await.policy_version, first);
    let (printed, _) = tollgate(&bench, &["policy", "follow"]).await;
    assert!(!printed.contains("pinned"), "{printed}");
    bench.until_matched("second").await;

    bench.replace(FILE, "rules: 7\n");
    let refused = async |bench: &Bench| bench.loads("refused").await >= 1.0;
    bench.until("refused", refused).await;
    let (printed, _) = tollgate(&bench, &["policy", "versions"]).await;
    assert!(
        printed.contains("The policy folder does not load, since"),
        "{printed}"
    );
    assert!(printed.contains("rules.yaml:1:8"), "{printed}");
    bench.stop().await;
}
