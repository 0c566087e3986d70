//! A service whose policy folder a test changes, and what is seen of it from outside.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate_proto::v1;

use crate::common::{Running, load_policy, loader, start, transaction};

/// How long a change may take to be seen before a test gives up. Only ever waited out by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A rule file whose only rule matches everything and says which one it is.
pub(crate) fn rules(id: &str) -> String {
    let code = id.to_uppercase();
    format!(
        "rules:\n  - id: {id}\n    description: Matches everything.\n    when: transaction.amount > 0\n    \
         then: flag\n    reason: {code}\n"
    )
}

pub(crate) const FILE: &str = "rules/rules.yaml";

/// A driver of one service: writes its folder, asks for decisions.
pub(crate) struct Bench {
    pub(crate) running: Running,
    pub(crate) asked: i64,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let bench = Self {
            running: start().await,
            asked: 0,
        };
        bench.rests().await;
        bench
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.running.policy.path().join(name)
    }

    /// Replaces a file as careful programs do: written beside, renamed over.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let beside = self.at(".new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.at(name)).unwrap();
    }

    /// The folder was looked at for the first time, so that what is counted from here on comes from changes.
    pub(crate) async fn rests(&self) {
        self.until("the first look", async |bench| {
            bench.loads("unchanged").await + bench.loads("swapped").await >= 1.0
        })
        .await;
    }

    /// Polls until it is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let poll = async {
            while !is_so(self).await {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, poll).await.is_err() {
            panic!("not so: {what}; {}", self.running.get("/status").await);
        }
    }

    pub(crate) async fn loads(&self, result: &str) -> f64 {
        let sample = format!("tollgate_policy_loads_total{{result=\"{result}\"}}");
        self.running.metric(&sample).await
    }

    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let name = format!("tollgate_policy_{name}");
        self.running.metric(&name).await
    }

    pub(crate) async fn decide(&mut self) -> v1::ScoreResponse {
        self.asked += 1;
        let (id, card) = (format!("t{}", self.asked), format!("card-{}", self.asked));
        let transaction = transaction(&id, &card, self.asked, 1_000);
        self.running.score(transaction).await
    }

    /// Asks until the rule of this id has matched, and returns that answer.
    pub(crate) async fn until_matched(&mut self, id: &str) -> v1::ScoreResponse {
        let poll = async {
            loop {
                let answer = self.decide().await;
                if answer.reasons.iter().any(|reason| reason.rule_id == id) {
                    return answer;
                }
            }
        };
        let matched = tokio::time::timeout(PATIENCE, poll).await;
        matched.unwrap_or_else(|_| panic!("the rule {id} did not become live"))
    }

    /// What `tollgate check` would say the version is.
    pub(crate) fn version_of_folder(&self) -> String {
        version_of(self.running.policy.path())
    }

    pub(crate) async fn stop(self) {
        self.running.service.stop().await;
    }
}

pub(crate) fn version_of(folder: &Path) -> String {
    load_policy(&loader(folder)).version().to_owned()
}
