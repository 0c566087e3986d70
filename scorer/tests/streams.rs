//! A message of a stream that is refused: those before it are answered, those behind it are not begun, and nothing is lost.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use common::{Running, start, transaction};
use tollgate_proto::v1;
use tonic::{Code, Status};

/// Messages of a stream, more than are taken at once, and the place of the bad one among them.
const MESSAGES: u8 = 40;
const BAD: u8 = 13;

const DECISIONS: &str = "tollgate_decisions_total{outcome=\"approve\"}";

/// Each of a card of its own, so that no rule matches.
fn message(number: u8) -> v1::ScoreRequest {
    let id = format!("s{number}");
    v1::ScoreRequest {
        transaction: Some(transaction(&id, &id, 0, 100)),
        include_features: false,
    }
}

fn messages() -> Vec<v1::ScoreRequest> {
    (0..MESSAGES).map(message).collect()
}

/// The answers to a stream, and what ended it, if it was refused.
async fn ask(
    running: &mut Running,
    messages: Vec<v1::ScoreRequest>,
) -> (Vec<v1::ScoreResponse>, Option<Status>) {
    let stream = running.client.score_stream(tokio_stream::iter(messages));
    let mut stream = stream.await.unwrap().into_inner();
    let mut answers = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => return (answers, None),
            Err(status) => return (answers, Some(status)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_before_a_refused_message_is_answered_and_what_is_behind_it_is_not_begun() {
    let mut running = start().await;
    // Its id is free for no other content from now on.
    running.client.score(message(BAD)).await.unwrap();
    type Spoil = fn(&mut v1::Transaction);
    let cases: [(&str, Spoil); 2] = [
        ("transaction.currency", |t| t.currency.clear()),
        ("transaction.transaction_id", |t| t.amount_minor += 1),
    ];
    let mut before: Option<Vec<v1::ScoreResponse>> = None;
    for (field, spoil) in cases {
        let mut messages = messages();
        let bad = &mut messages[usize::from(BAD)];
        spoil(bad.transaction.as_mut().unwrap());
        let (answers, refused) = ask(&mut running, messages).await;
        let refused = refused.unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().starts_with(field), "{refused}");
        assert_eq!(answers.len(), usize::from(BAD));
        // The second time under the same ids: the same answers.
        assert!(before.is_none_or(|before| before == answers));
        before = Some(answers);
        // Those before it and the first of its id, each once.
        assert_eq!(running.metric(DECISIONS).await, f64::from(BAD) + 1.0);
    }

    // Mended, and sent again from the first.
    let (answers, refused) = ask(&mut running, messages()).await;
    assert!(refused.is_none(), "{refused:?}");
    assert_eq!(before.unwrap(), answers[..usize::from(BAD)]);
    let expected: Vec<_> = (0..MESSAGES).map(|number| format!("s{number}")).collect();
    let answered = answers.iter().map(|answer| &answer.transaction_id);
    assert!(answered.eq(&expected));
    assert_eq!(running.metric(DECISIONS).await, f64::from(MESSAGES));
    assert_eq!(running.metric("tollgate_refused_total ").await, 2.0);
    let abandoned = running.metric("tollgate_requests_abandoned_total ").await;
    assert_eq!(abandoned, 0.0);
    running.service.stop().await;
}
