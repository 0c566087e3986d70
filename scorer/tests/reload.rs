//! Changes of the policy folder while requests are answered, as editors, deployments and accidents make them.

#![allow(
    clippy::float_cmp,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod changes;
mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use changes::{Bench, FILE, PATIENCE, rules};
use common::{POLICY, start_at, start_polling, start_with, transaction, write_policy};
use tollgate_proto::v1;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_live_and_decisions_carry_its_version() {
    let mut bench = Bench::start().await;
    let before = bench.decide().await;
    assert_eq!(before.policy_version, bench.version_of_folder());
    assert!(before.reasons.is_empty());
    fs::write(bench.at(FILE), rules("second")).unwrap();
    let after = bench.until_matched("second").await;
    assert_ne!(after.policy_version, before.policy_version);
    assert_eq!(after.policy_version, bench.version_of_folder());
    let versions = bench.running.get("/policy/versions").await;
    assert!(
        versions.contains("\"changed\":[\"rules/rules.yaml\"]"),
        "{versions}"
    );
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_change_keeps_the_running_policy_and_is_shown_until_it_is_mended() {
    let mut bench = Bench::start().await;
    let good = bench.decide().await.policy_version;
    fs::write(bench.at(FILE), rules("second").replace("amount", "amuont")).unwrap();
    bench
        .until("refused", async |bench| bench.loads("refused").await >= 1.0)
        .await;
    let status = bench.running.get("/status").await;
    for part in ["did you mean `amount`", "rules.yaml:4:23", "\"ready\":true"] {
        assert!(status.contains(part), "{status}");
    }
    assert_eq!(bench.metric("folder_refused").await, 1.0);
    assert_eq!(bench.decide().await.policy_version, good);
    bench.replace(FILE, &rules("second"));
    bench.until_matched("second").await;
    assert_eq!(bench.metric("folder_refused").await, 0.0);
    let status = bench.running.get("/status").await;
    assert!(status.contains("\"policy_problem\":null"), "{status}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_whose_test_fails_is_a_bad_change() {
    let bench = Bench::start().await;
    let tested = rules("second")
        + "    tests:\n      - name: nothing\n        transaction: {amount: 7}\n        expect: no match\n";
    fs::write(bench.at(FILE), tested).unwrap();
    bench
        .until("refused", async |bench| bench.loads("refused").await >= 1.0)
        .await;
    assert!(bench.running.get("/status").await.contains("expect"));
    bench.stop().await;
}

/// Both halves are a policy by themselves, so only that the file is still open tells them from a finished one.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_file_is_waited_for() {
    let mut bench = Bench::start().await;
    let whole = rules("second") + &rules("third").replace("rules:\n", "");
    let half = rules("second").len();
    let mut file = fs::File::create(bench.at(FILE)).unwrap();
    file.write_all(&whole.as_bytes()[..half]).unwrap();
    file.flush().unwrap();
    // The pause of a slow writer. What is seen of it, with whatever timing, must be nothing.
    for _ in 0..50 {
        let answer = bench.decide().await;
        assert!(answer.reasons.is_empty(), "half of the file is live");
    }
    file.write_all(&whole.as_bytes()[half..]).unwrap();
    drop(file);
    let answer = bench.until_matched("third").await;
    assert_eq!(answer.reasons.len(), 2);
    assert_eq!(bench.loads("swapped").await, 1.0);
    assert_eq!(bench.loads("refused").await, 0.0);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_belong_together_go_live_together_however_they_are_replaced() {
    let mut bench = Bench::start().await;
    // The list comes after the rule that asks for it; in between the folder does not load.
    let rule = rules("listed").replace(
        "transaction.amount > 0",
        "transaction.merchant_id in lists.known",
    );
    bench.replace(FILE, &rule);
    fs::create_dir(bench.at("lists")).unwrap();
    fs::write(bench.at("lists/known.csv"), "value\nmerchant-1\n").unwrap();
    bench.until_matched("listed").await;
    // A whole subfolder that is replaced by another one of the same name.
    let other = bench.at(".lists");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("known.csv"), "value\nmerchant-2\n").unwrap();
    fs::rename(bench.at("lists"), bench.at(".old")).unwrap();
    fs::rename(&other, bench.at("lists")).unwrap();
    let version = bench.version_of_folder();
    bench
        .until("the other list", async |bench| {
            bench.running.get("/status").await.contains(&version)
        })
        .await;
    // And the new subfolder is watched as the old one was.
    bench.replace("lists/known.csv", "value\nmerchant-1\n");
    bench.until_matched("listed").await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_saves_ends_with_the_last_one() {
    let mut bench = Bench::start().await;
    for number in 0..50 {
        fs::write(
            bench.at(FILE),
            rules(&format!("save-{number}")).replace("SAVE-", "SAVE_"),
        )
        .unwrap();
    }
    let last = bench.until_matched("save-49").await;
    assert_eq!(last.policy_version, bench.version_of_folder());
    assert!(bench.loads("swapped").await < 25.0);
    bench.stop().await;
}

/// As the kubelet does it: a new folder beside the old one, and one link renamed over another.
#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_is_swapped_as_a_whole() {
    let mount = tempfile::tempdir().unwrap();
    let at = |name: &str| mount.path().join(name);
    let project = |name: &str, rules: &str| {
        for (path, text) in POLICY {
            let path = at(name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(at(name).join(FILE), rules).unwrap();
        symlink(name, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    project("..2026_01", &rules("first"));
    for name in [
        "schema.yaml",
        "fx.yaml",
        "features.yaml",
        "fallback.yaml",
        "rules",
    ] {
        symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    let mut bench = Bench {
        running: start_with(mount).await,
        asked: 0,
    };
    bench.rests().await;
    bench.until_matched("first").await;
    for number in ["second", "third"] {
        let mount = bench.running.policy.path().to_owned();
        let name = format!("..2026_{number}");
        for (path, text) in POLICY {
            let path = mount.join(&name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(mount.join(&name).join(FILE), rules(number)).unwrap();
        symlink(&name, mount.join("..data_tmp")).unwrap();
        let before = fs::read_link(mount.join("..data")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        fs::remove_dir_all(mount.join(before)).unwrap();
        bench.until_matched(number).await;
    }
    bench.stop().await;
}

/// As tools that check a repository out do it: the policy folder itself is a link that is set anew.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_folder_may_itself_be_a_link() {
    let outer = tempfile::tempdir().unwrap();
    let (one, two) = (write_policy(&POLICY), write_policy(&POLICY));
    fs::write(two.path().join(FILE), rules("second")).unwrap();
    let link = outer.path().join("policy");
    symlink(one.path(), &link).unwrap();
    let mut bench = Bench {
        running: start_at(&link, one).await,
        asked: 0,
    };
    bench.rests().await;
    let beside = outer.path().join("policy.new");
    symlink(two.path(), &beside).unwrap();
    fs::rename(&beside, &link).unwrap();
    bench.until_matched("second").await;
    fs::write(two.path().join(FILE), rules("third")).unwrap();
    bench.until_matched("third").await;
    bench.stop().await;
}

/// A link that leads on to a link elsewhere: nothing tells when that one is set anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_told_is_found_by_looking_every_so_often() {
    let elsewhere = tempfile::tempdir().unwrap();
    let at = |name: &str| elsewhere.path().join(name);
    fs::create_dir(at("real")).unwrap();
    fs::write(at("real/one.yaml"), rules("first")).unwrap();
    fs::write(at("real/two.yaml"), rules("second")).unwrap();
    symlink(at("real/one.yaml"), at("current")).unwrap();
    let folder = write_policy(&POLICY);
    fs::remove_file(folder.path().join(FILE)).unwrap();
    symlink(at("current"), folder.path().join(FILE)).unwrap();
    let path = folder.path().to_owned();
    let mut bench = Bench {
        running: start_polling(&path, folder, 1).await,
        asked: 0,
    };
    bench.rests().await;
    symlink(at("real/two.yaml"), at("next")).unwrap();
    fs::rename(at("next"), at("current")).unwrap();
    bench.until_matched("second").await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_would_have_to_be_filled_anew_for_is_refused_and_what_it_need_not_is_not() {
    let mut bench = Bench::start().await;
    for number in 0..3 {
        let past = transaction(&format!("h{number}"), "card-h", number, 60_000);
        bench.running.score(past).await;
    }
    let schema = POLICY[0].1;
    let retained = schema.replace("[amount, merchant_country]", "[amount, channel]");
    fs::write(bench.at("schema.yaml"), retained).unwrap();
    bench
        .until("refused", async |bench| bench.loads("refused").await >= 1.0)
        .await;
    let status = bench.running.get("/status").await;
    assert!(status.contains("now retains `channel`"), "{status}");
    assert!(status.contains("restart the service"), "{status}");
    // A new attribute before the others, and a rule that reads it beside a history.
    let attribute = schema.replace("attributes:\n", "attributes:\n  nights: number\n");
    let rule = rules("both").replace(
        "transaction.amount > 0",
        "transaction.nights > 3 && card.last(\"1d\").sum(amount) == 2400",
    );
    fs::write(bench.at(FILE), rule).unwrap();
    bench.replace("schema.yaml", &attribute);
    let version = bench.version_of_folder();
    bench
        .until("live", async |bench| {
            bench.running.get("/status").await.contains(&version)
        })
        .await;
    let mut stay = transaction("s1", "card-h", 9, 60_000);
    let nights = v1::AttributeValue {
        kind: Some(v1::attribute_value::Kind::Number(4.0)),
    };
    stay.attributes.insert("nights".to_owned(), nights);
    let answer = bench.running.score(stay).await;
    assert_eq!(answer.reasons[0].rule_id, "both");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_back_acts_at_once_and_holds_until_the_folder_is_followed() {
    let mut bench = Bench::start().await;
    let first = bench.decide().await.policy_version;
    fs::write(bench.at(FILE), rules("second")).unwrap();
    let second = bench.until_matched("second").await.policy_version;
    let answer = bench
        .running
        .post(&format!("/policy/rollback/{first}"))
        .await;
    assert!(answer.contains("200 OK"), "{answer}");
    assert_eq!(bench.decide().await.policy_version, first);
    // The folder is still checked, and what it has is not taken.
    fs::write(bench.at(FILE), rules("third")).unwrap();
    bench
        .until("held", async |bench| bench.loads("held").await >= 1.0)
        .await;
    assert_eq!(bench.decide().await.policy_version, first);
    assert_eq!(bench.metric("pinned").await, 1.0);
    fs::write(bench.at(FILE), "rules: 7\n").unwrap();
    bench
        .until("refused", async |bench| bench.loads("refused").await >= 1.0)
        .await;
    fs::write(bench.at(FILE), rules("third")).unwrap();
    bench.running.post("/policy/follow").await;
    bench.until_matched("third").await;
    let versions = bench.running.get("/policy/versions").await;
    let place = |version: &str| versions.find(version).unwrap();
    assert!(place(&first) < place(&second), "{versions}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_post_from_a_tool_changes_what_is_live() {
    let bench = Bench::start().await;
    let unknown = bench.running.post("/policy/rollback/0123").await;
    assert!(unknown.contains("404"), "{unknown}");
    assert!(unknown.contains(&bench.version_of_folder()), "{unknown}");
    let read = bench.running.get("/policy/follow").await;
    assert!(read.contains("405"), "{read}");
    let page = "POST /policy/follow HTTP/1.0\r\nOrigin: https://example.org\r\n\r\n";
    let page = bench.running.ask(page).await;
    assert!(page.contains("403"), "{page}");
    assert_eq!(bench.metric("pinned").await, 0.0);
    bench.stop().await;
}

/// Under changes in quick succession, each decision's version and the rule that matched belong together.
#[tokio::test(flavor = "multi_thread")]
async fn no_decision_mixes_versions() {
    let mut bench = Bench::start().await;
    let mut rule_of = std::collections::BTreeMap::new();
    rule_of.insert(bench.version_of_folder(), None);
    for number in 0..12 {
        let id = format!("rule{number}");
        bench.replace(FILE, &rules(&id));
        rule_of.insert(bench.version_of_folder(), Some(id.clone()));
        let poll = async {
            loop {
                let answer = bench.decide().await;
                let matched = answer.reasons.first().map(|reason| reason.rule_id.clone());
                assert_eq!(rule_of.get(&answer.policy_version), Some(&matched));
                if matched.as_ref() == Some(&id) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, poll).await.unwrap();
    }
    bench.stop().await;
}
