//! The decision log over real Apache Kafka while all of its brokers are killed under load and come back.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod brokers;
mod common;

use std::collections::BTreeMap;

use brokers::{Brokers, must_not_skip, until};
use common::{POLICY, PUBLISHED, SPOOLED, transaction};
use prost::Message;
use tollgate_proto::v1;

const CARDS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_arrives_once_and_in_order_though_all_brokers_were_killed() {
    let Some(brokers) = Brokers::named("all-killed") else {
        return;
    };
    if std::env::var_os("KAFKA_CONTROL").is_none() {
        must_not_skip("all-killed");
        eprintln!("skipped: all-killed: needs brokers that `cargo xtask test` has started");
        return;
    }
    brokers.create_topics().await;
    let spool = tempfile::tempdir().unwrap();
    let mut running = brokers
        .start_with(&POLICY, |config| {
            // A machine that stalls may make an answer late, and its late verdict would be a second record of one decision.
            config.late_verdict.enabled = false;
            config.decision_log.spool_path = spool.path().to_owned();
            config.decision_log.spool_after_ms = 100;
        })
        .await;
    let control = {
        let brokers = brokers.clone();
        tokio::task::spawn_blocking(move || {
            let all = 1..=u8::try_from(brokers.count()).unwrap();
            for broker in all.clone() {
                brokers.control("kill", broker).unwrap();
            }
            // None answers before most are there.
            std::thread::scope(|threads| {
                for broker in all {
                    let brokers = &brokers;
                    threads.spawn(move || brokers.control("start", broker).unwrap());
                }
            });
        })
    };
    let mut answered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut scored = 0_usize;
    // Some before, some meanwhile, some after.
    while scored < 200 || !control.is_finished() {
        let card = format!("card-{}", scored % CARDS);
        let asked = transaction(&format!("s{scored}"), &card, 0, 500);
        let answer = running.score(asked).await;
        answered.entry(card).or_default().push(answer.decision_id);
        scored += 1;
    }
    control.await.unwrap();
    assert!(running.metric(SPOOLED).await > 0.0, "all brokers were away");
    let all = f64::from(u32::try_from(scored).unwrap());
    until(&running, PUBLISHED, all).await;
    let records = running.consume(&brokers.topic("decisions"), scored).await;
    let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, bytes) in records {
        let record = v1::DecisionRecord::decode(&bytes[..]).unwrap();
        let of_card = recorded.entry(record.card_id).or_default();
        of_card.push(record.response.unwrap().decision_id);
    }
    assert_eq!(recorded, answered);
    running.service.stop().await;
}
