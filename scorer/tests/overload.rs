//! More to decide than can be decided: the excess is answered from the request alone, the least important first.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::time::Duration;

use common::{
    Client, POLICY, Running, start_configured, transaction, write_policy, write_slow_bundle,
};
use tollgate_proto::v1;
use tonic::{Request, Response, Status};

/// An amount for which the model runs for seconds, far beyond any deadline.
const STUCK: i64 = 1_000_000_000;

/// One decision at a time, and so many that wait.
async fn start(waiting_max: usize) -> Running {
    let mut files = POLICY.to_vec();
    files.push(("models.yaml", "champion: slow/1\n"));
    let folder = write_policy(&files);
    write_slow_bundle(folder.path(), "1");
    let path = folder.path().to_owned();
    start_configured(&path, folder, |config| {
        // Longer than may be configured, so that it is the model's own limit that ends a run, and nothing in here is in a hurry.
        config.deadline.budget_ms = 2_000;
        config.overload.limit_min = 1;
        config.overload.limit_max = 1;
        config.overload.waiting_max = waiting_max;
    })
    .await
}

type Answering = tokio::task::JoinHandle<Result<Response<v1::ScoreResponse>, Status>>;

/// Sends a request with headers, and does not wait for its answer.
fn send(
    client: &Client,
    id: &str,
    amount_minor: i64,
    headers: &[(&'static str, &str)],
) -> Answering {
    let mut client = client.clone();
    let mut request = Request::new(v1::ScoreRequest {
        transaction: Some(transaction(id, id, 0, amount_minor)),
        include_features: false,
    });
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    tokio::spawn(async move { client.score(request).await })
}

async fn answer(answering: Answering) -> v1::ScoreResponse {
    answering.await.unwrap().unwrap().into_inner()
}

fn is_shed(answer: &v1::ScoreResponse) -> bool {
    let is_shed = answer.degradation() == v1::Degradation::RequestOnly;
    assert_eq!(is_shed, answer.degradation_causes == ["overload"]);
    is_shed
}

impl Running {
    /// Waits until so many are in progress and so many wait.
    async fn until(&self, in_progress: f64, waiting: f64) {
        loop {
            let now = (
                self.metric("tollgate_admission_in_progress ").await,
                self.metric("tollgate_admission_waiting ").await,
            );
            if now == (in_progress, waiting) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many requests have been given up by their clients.
    async fn until_abandoned(&self, count: f64) {
        while self.metric("tollgate_requests_abandoned_total ").await != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_excess_is_answered_at_once_and_still_counts_for_its_card() {
    let mut running = start(0).await;
    let stuck = send(&running.client, "stuck", STUCK, &[]);
    running.until(1.0, 0.0).await;
    let excess = answer(send(&running.client, "card-1", 100, &[])).await;
    assert!(is_shed(&excess), "{excess:?}");
    assert!(!excess.decision_id.is_empty() && !excess.policy_version.is_empty());
    let large = answer(send(&running.client, "card-2", STUCK, &[])).await;
    assert_eq!(large.outcome(), v1::Outcome::Challenge, "the table's case");
    assert_eq!(large.reasons[0].code, "LARGE_UNSEEN");
    let stuck = answer(stuck).await;
    assert_eq!(stuck.degradation_causes, ["model_timeout"]);
    let next = running.score(transaction("next", "card-1", 1, 100)).await;
    assert_eq!(next.features["card_count"], 2.0, "the shed one counts");
    let sheds = "tollgate_sheds_total{priority=\"normal\",reason=\"queue_full\"}";
    assert_eq!(running.metric(sheds).await, 2.0);
    let overload = "tollgate_degradation_causes_total{cause=\"overload\"}";
    assert_eq!(running.metric(overload).await, 2.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_less_important_are_shed_for_the_more_important() {
    let running = start(1).await;
    let client = &running.client;
    let stuck = send(client, "stuck", STUCK, &[("tollgate-priority", "high")]);
    running.until(1.0, 0.0).await;
    let retry = [
        ("grpc-previous-rpc-attempts", "1"),
        ("tollgate-priority", "high"),
    ];
    // Each takes the place of the one before it.
    let waiting = [
        ("retry", retry.as_slice()),
        ("low", &[("tollgate-priority", "low")]),
        ("odd", &[("tollgate-priority", "urgent")]),
        ("high", &[("tollgate-priority", "high")]),
    ];
    let mut before: Option<Answering> = None;
    for (id, headers) in waiting {
        let sent = send(client, id, 100, headers);
        if let Some(before) = before {
            assert!(is_shed(&answer(before).await), "for {id}");
        }
        running.until(1.0, 1.0).await;
        before = Some(sent);
    }
    let last = answer(send(client, "low-2", 100, &[("tollgate-priority", "low")])).await;
    assert!(is_shed(&last), "nobody gives way to it");
    let high = answer(before.unwrap()).await;
    assert!(!is_shed(&high), "{high:?}");
    assert!(!is_shed(&answer(stuck).await));
    let sheds = |priority, reason| {
        format!("tollgate_sheds_total{{priority=\"{priority}\",reason=\"{reason}\"}}")
    };
    for (priority, reason) in [
        ("retry", "displaced"),
        ("low", "displaced"),
        ("normal", "displaced"),
        ("low", "queue_full"),
    ] {
        let count = running.metric(&sheds(priority, reason)).await;
        assert_eq!(count, 1.0, "{priority} {reason}");
    }
    assert_eq!(
        running.metric("tollgate_priority_unknown_total ").await,
        1.0
    );
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_have_a_priority_and_streams_are_admitted_message_by_message() {
    let running = start(1).await;
    let mut client = running.client.clone();
    let stuck = send(&running.client, "stuck", STUCK, &[]);
    running.until(1.0, 0.0).await;
    let of = |id: &str, channel: v1::Channel| v1::ScoreRequest {
        transaction: Some(v1::Transaction {
            channel: channel.into(),
            ..transaction(id, id, 0, 100)
        }),
        include_features: false,
    };
    let terminal = {
        let (mut client, request) = (client.clone(), of("terminal", v1::Channel::CardPresent));
        tokio::spawn(async move { client.score(request).await })
    };
    running.until(1.0, 1.0).await;
    let recurring = tokio_stream::iter([
        of("first", v1::Channel::Recurring),
        of("second", v1::Channel::Recurring),
    ]);
    let mut answers = client.score_stream(recurring).await.unwrap().into_inner();
    for id in ["first", "second"] {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.transaction_id, id);
        assert!(is_shed(&answer), "{answer:?}");
    }
    assert!(!is_shed(&answer(terminal).await));
    assert!(!is_shed(&answer(stuck).await));
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_stream_are_taken_in_while_one_before_them_waits_for_the_model() {
    let running = start(1).await;
    let mut client = running.client.clone();
    let of = |id: &str, amount_minor| v1::ScoreRequest {
        transaction: Some(transaction(id, id, 0, amount_minor)),
        include_features: false,
    };
    let messages = [of("stuck", STUCK), of("second", 100), of("third", 100)];
    let answers = client.score_stream(tokio_stream::iter(messages)).await;
    let mut answers = answers.unwrap().into_inner();
    // The first is being decided, the second waits for its place, the third finds no room to wait.
    running.until(1.0, 1.0).await;
    for (id, shed) in [("stuck", false), ("second", false), ("third", true)] {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.transaction_id, id, "in the order of the messages");
        assert_eq!(is_shed(&answer), shed, "{answer:?}");
    }
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_last_bound_a_request_is_refused_unread() {
    let folder = write_policy(&POLICY);
    let path = folder.path().to_owned();
    let running = start_configured(&path, folder, |config| config.overload.requests_max = 1).await;
    let mut client = running.client.clone();
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    // An open stream is a request in progress.
    let answers = client.score_stream(stream).await.unwrap();
    let refused = send(&running.client, "s1", 100, &[]).await.unwrap();
    assert_eq!(refused.unwrap_err().code(), tonic::Code::ResourceExhausted);
    assert_eq!(
        running.metric("tollgate_requests_exhausted_total ").await,
        1.0
    );
    drop((requests, answers));
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_client_gives_up_is_counted() {
    let mut running = start(1).await;
    let call = send(&running.client, "given-up", STUCK, &[]);
    running.until(1.0, 0.0).await;
    call.abort();
    running.until_abandoned(1.0).await;

    let messages = ["stuck", "waiting"].map(|id| v1::ScoreRequest {
        transaction: Some(transaction(id, id, 0, STUCK)),
        include_features: false,
    });
    let messages = tokio_stream::iter(messages);
    let answers = running.client.score_stream(messages).await.unwrap();
    running.until(1.0, 1.0).await;
    drop(answers);
    running.until_abandoned(3.0).await;

    // The place of each is free again, and what is answered is none of them.
    running.until(0.0, 0.0).await;
    running.score(transaction("answered", "c1", 0, 100)).await;
    running.until_abandoned(3.0).await;
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_no_more_in_progress_than_a_few_of_its_messages() {
    let mut files = POLICY.to_vec();
    files.push(("models.yaml", "champion: slow/1\n"));
    let folder = write_policy(&files);
    write_slow_bundle(folder.path(), "1");
    let path = folder.path().to_owned();
    let mut running = start_configured(&path, folder, |config| {
        config.deadline.budget_ms = 2_000;
        config.overload.limit_min = 1;
        config.overload.limit_max = 1;
        // With the one that is decided: as many as a stream may have in progress.
        config.overload.waiting_max = 7;
        // Nobody is too old.
        config.overload.target_ms = 60_000;
    })
    .await;
    let amounts = std::iter::once(STUCK).chain([100; 20]);
    let messages: Vec<_> = (0..)
        .zip(amounts)
        .map(|(number, amount_minor)| {
            let id = format!("s{number}");
            v1::ScoreRequest {
                transaction: Some(transaction(&id, &id, 0, amount_minor)),
                include_features: false,
            }
        })
        .collect();
    let count = messages.len();
    let answers = running.client.score_stream(tokio_stream::iter(messages));
    let mut answers = answers.await.unwrap().into_inner();
    for number in 0..count {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.transaction_id, format!("s{number}"));
        assert!(!is_shed(&answer), "there was room to wait: {answer:?}");
    }
    running.service.stop().await;
}
