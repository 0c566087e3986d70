//! Duplicates, one after another, at once, and in every order of steps.

mod bounds;
mod orders;

use std::time::Duration;

use super::*;
use crate::clock;
use crate::metrics::Metrics;

fn idempotency(configure: impl FnOnce(&mut IdempotencyConfig)) -> Idempotency {
    let mut config = IdempotencyConfig::default();
    configure(&mut config);
    Idempotency::new(&config, Metrics::new().unwrap().idempotency)
}

fn request(id: &str, amount_minor: i64) -> v1::ScoreRequest {
    let transaction = v1::Transaction {
        transaction_id: id.to_owned(),
        amount_minor,
        ..v1::Transaction::default()
    };
    v1::ScoreRequest {
        transaction: Some(transaction),
        include_features: false,
    }
}

fn response(decision: &str) -> v1::ScoreResponse {
    v1::ScoreResponse {
        decision_id: decision.to_owned(),
        features: [("b".to_owned(), -0.0), ("a".to_owned(), f64::NAN)].into(),
        ..v1::ScoreResponse::default()
    }
}

fn turn(entry: Entry<'_>) -> Turn<'_> {
    match entry {
        Entry::Turn(turn) => turn,
        Entry::Answered(answer) => panic!("answered {answer:?}"),
        Entry::Refused => panic!("refused"),
    }
}

fn answered(entry: Entry<'_>) -> v1::ScoreResponse {
    match entry {
        Entry::Answered(answer) => answer,
        Entry::Turn(_) => panic!("not answered"),
        Entry::Refused => panic!("refused"),
    }
}

#[test]
fn the_same_request_again_gets_the_same_bytes_until_its_time_is_over() {
    let kept = idempotency(|config| config.keep_s = 10);
    let of = kept.identify(&request("t1", 5));
    let began = clock::instant();
    let Answer::First(first) = turn(kept.enter(of, began)).answer(response("d1"), began) else {
        panic!("another answer was before it");
    };
    let at = |seconds| began + Duration::from_secs(seconds);
    for seconds in [0, 9] {
        let again = answered(kept.enter(of, at(seconds)));
        assert_eq!(again.encode_to_vec(), first.encode_to_vec());
    }
    assert!(turn(kept.enter(of, at(10))).leads());
}

#[test]
fn the_same_id_with_another_content_is_refused_or_decided() {
    let now = clock::instant();
    let kept = idempotency(|_| {});
    let first = kept.identify(&request("t1", 5));
    let other = kept.identify(&request("t1", 6));
    let leader = turn(kept.enter(first, now));
    assert!(matches!(kept.enter(other, now), Entry::Refused));
    leader.answer(response("d1"), now);
    assert!(matches!(kept.enter(other, now), Entry::Refused));
    assert_eq!(answered(kept.enter(first, now)).decision_id, "d1");

    let kept = idempotency(|config| config.conflict = OnConflict::Decide);
    let [first, other] = [5, 6].map(|amount| kept.identify(&request("t1", amount)));
    let leader = turn(kept.enter(first, now));
    let anew = turn(kept.enter(other, now));
    assert!(anew.leads());
    // The first is answered still, and the later one is what is kept, whichever ends first.
    anew.answer(response("d2"), now);
    assert!(matches!(
        leader.answer(response("d1"), now),
        Answer::First(_)
    ));
    assert_eq!(answered(kept.enter(other, now)).decision_id, "d2");
    assert!(turn(kept.enter(first, now)).leads());
}

#[test]
fn nothing_is_kept_if_it_should_not_be() {
    let kept = idempotency(|config| config.keep_s = 0);
    let of = kept.identify(&request("t1", 5));
    let now = clock::instant();
    let (first, second) = (turn(kept.enter(of, now)), turn(kept.enter(of, now)));
    assert!(first.leads() && second.leads());
    assert!(matches!(first.answer(response("a"), now), Answer::First(_)));
    assert!(matches!(
        second.answer(response("b"), now),
        Answer::First(_)
    ));
    assert!(turn(kept.enter(of, now)).leads());
}

#[test]
fn contents_are_equal_whatever_the_order_of_their_attributes() {
    let kept = idempotency(|_| {});
    let number = |number| v1::AttributeValue {
        kind: Some(v1::attribute_value::Kind::Number(number)),
    };
    // As two clients would write them: the fields of a message, and the entries of a map, may come in any order.
    let entry = |key: &str, value: f64| {
        let value = number(value).encode_to_vec();
        let mut bytes = vec![10, u8::try_from(key.len()).unwrap()];
        bytes.extend(key.as_bytes());
        bytes.extend([18, u8::try_from(value.len()).unwrap()]);
        bytes.extend(value);
        let mut field = vec![0xa2, 1, u8::try_from(bytes.len()).unwrap()];
        field.extend(bytes);
        field
    };
    let decode = |order: [(&str, f64); 3]| {
        let mut transaction = request("t1", 5).transaction.unwrap().encode_to_vec();
        transaction.extend(order.iter().flat_map(|(key, value)| entry(key, *value)));
        let transaction = v1::Transaction::decode(&*transaction).unwrap();
        assert_eq!(transaction.attributes.len(), 3);
        v1::ScoreRequest {
            transaction: Some(transaction),
            include_features: false,
        }
    };
    let (x, y, z) = (("x", 1.0), ("y", 2.0), ("z", 3.0));
    let first = kept.identify(&decode([x, y, z]));
    assert_eq!(kept.identify(&decode([z, x, y])), first);
    assert_ne!(kept.identify(&decode([x, y, ("z", 4.0)])), first);
    assert_ne!(kept.identify(&request("t1", 5)), first);
}

#[tokio::test]
async fn those_who_wait_are_given_the_answer_of_the_first() {
    let kept = idempotency(|_| {});
    let of = kept.identify(&request("t1", 5));
    let now = clock::instant();
    let leader = turn(kept.enter(of, now));
    let patience = now + Duration::from_secs(60);
    let mut followers: Vec<_> = (0..3).map(|_| turn(kept.enter(of, now))).collect();
    assert!(followers.iter().all(|follower| !follower.leads()));
    let waits = futures::future::join_all(followers.iter_mut().map(|turn| turn.wait(patience)));
    let (waited, ()) = futures::join!(waits, async {
        leader.answer(response("d1"), now);
    });
    for waited in waited {
        assert!(matches!(waited, Waited::Answered(answer) if answer.decision_id == "d1"));
    }
}

#[tokio::test]
async fn one_that_cannot_wait_answers_for_all() {
    let kept = idempotency(|_| {});
    let of = kept.identify(&request("t1", 5));
    let now = clock::instant();
    let leader = turn(kept.enter(of, now));
    let mut follower = turn(kept.enter(of, now));
    assert!(matches!(follower.wait(now).await, Waited::OutOfTime));
    assert!(matches!(
        follower.answer(response("fallback"), now),
        Answer::First(_)
    ));
    let Answer::Before(first) = leader.answer(response("full"), now) else {
        panic!("two answers");
    };
    assert_eq!(first.decision_id, "fallback");
    assert_eq!(answered(kept.enter(of, now)).decision_id, "fallback");
}

#[tokio::test]
async fn one_that_waits_takes_the_lead_of_one_that_is_gone() {
    let kept = idempotency(|_| {});
    let of = kept.identify(&request("t1", 5));
    let now = clock::instant();
    let leader = turn(kept.enter(of, now));
    let [mut first, mut second] = [(); 2].map(|()| turn(kept.enter(of, now)));
    let patience = now + Duration::from_secs(60);
    let first = async {
        let waited = first.wait(patience).await;
        assert!(matches!(waited, Waited::Leads));
        // And this one is gone too, without an answer.
        drop(first);
    };
    let second = async {
        let waited = second.wait(patience).await;
        assert!(matches!(waited, Waited::Leads));
        second.answer(response("d3"), now)
    };
    let ((), second, ()) = futures::join!(first, second, async { drop(leader) });
    assert!(matches!(second, Answer::First(_)));
    assert_eq!(answered(kept.enter(of, now)).decision_id, "d3");
}

#[test]
fn a_transaction_that_all_have_left_is_begun_anew() {
    let kept = idempotency(|_| {});
    let of = kept.identify(&request("t1", 5));
    let now = clock::instant();
    let leader = turn(kept.enter(of, now));
    let follower = turn(kept.enter(of, now));
    drop(leader);
    drop(follower);
    assert!(turn(kept.enter(of, now)).leads());
}
