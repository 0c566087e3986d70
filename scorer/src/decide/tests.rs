//! Answers at every level, by a clock and an ingest that are made up.

use std::cell::Cell as Counter;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tollgate_models::Runtime;
use tollgate_rules::Guard;
use tollgate_types::{CardId, Currency, Money, Transaction, TransactionId};

use super::*;
use crate::clock;
use crate::policy::{Loader, ModelLimits};

const RULES: &str = "\
rules:
  - {id: busy, description: x, when: features.count >= 2, then: decline, reason: BUSY}
  - {id: regular, description: x, when: 'transaction.amount < 20 && card.last(\"30d\").count() < 9', then: approve}
  - {id: listed, description: x, when: transaction.merchant_id in lists.risky, then: challenge, reason: RISKY}
  - {id: by-amount, description: x, when: features.amount > 500, then: flag, reason: SIZEABLE}
";

const FALLBACK: &str = "\
cases:
  - {id: unseen, description: x, when: transaction.amount > 900, then: decline, reason: UNSEEN, levels: [request_only]}
  - {id: stale, description: x, when: transaction.amount > 700, then: challenge, reason: STALE, levels: [stale_features]}
otherwise: {then: approve}
static: {then: flag, reason: BLIND}
";

struct World {
    policy: Policy,
    store: Store,
    _folder: TempDir,
}

impl World {
    /// `more` is added to `fallback.yaml`.
    fn new(more: &str) -> Self {
        Self::guarded(more, None)
    }

    fn guarded(more: &str, guard: Option<Guard>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            (
                "schema.yaml",
                "attributes: {}\nentities: {card: {key: card_id, retain: [amount], retention: 40d}}\n",
            ),
            ("fx.yaml", "base: USD\nrates: {}\n"),
            (
                "features.yaml",
                "amount: transaction.amount\ncount: card.last(\"1d\").count()\n",
            ),
            ("lists/risky.csv", "value\nm-risky\n"),
            ("rules/a.yaml", RULES),
            ("fallback.yaml", &format!("{FALLBACK}{more}")),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        // No model is named, so none is missed.
        let runtime = Runtime::load(Path::new("no-such-library"));
        let loader = Loader::new(folder.path().to_owned(), runtime, ModelLimits::default());
        let (policy, warnings) = loader.with_guard(guard).load().unwrap();
        assert_eq!(warnings.render(), "");
        Self {
            store: Store::new(Arc::clone(&policy.logic().schema)),
            policy,
            _folder: folder,
        }
    }

    /// Ingest is behind by `behind_s` of at most 30, and `left` is left of the deadline.
    fn context(&self, behind_s: i64, left: Duration) -> Context<'_> {
        Context {
            policy: &self.policy,
            store: &self.store,
            now: EventTime::from_micros(1),
            deadline: clock::instant() + left,
            behind: Span::from_seconds(behind_s),
            stale_after: Span::from_seconds(30),
            in_flight_expires: Span::from_seconds(600),
            model_reasons_max: 3,
        }
    }

    fn with_record<T>(&self, transaction: &Transaction, test: impl FnOnce(&Record<'_>) -> T) -> T {
        let logic = self.policy.logic();
        test(&Record::new(transaction, &logic.schema, &logic.rates).unwrap())
    }

    async fn decide(&self, context: &Context<'_>, transaction: &Transaction) -> Decision {
        let logic = self.policy.logic();
        let record = Record::new(transaction, &logic.schema, &logic.rates).unwrap();
        decide(context, &record, clock::instant).await
    }

    /// How many transactions the card has, one more included.
    async fn count(&self, id: &str) -> Option<f64> {
        let decision = self
            .decide(&self.context(0, PLENTY), &payment(id, "m1", 1))
            .await;
        decision.features[1].as_number()
    }
}

const PLENTY: Duration = Duration::from_secs(60);

fn payment(id: &str, merchant: &str, dollars: i64) -> Transaction {
    Transaction::new(
        TransactionId::parse(id).unwrap(),
        EventTime::from_unix(1_770_000_000, 0).unwrap(),
        CardId::parse("card-1").unwrap(),
        Money {
            amount_minor: dollars * 100,
            currency: Currency::parse("USD").unwrap(),
        },
        merchant.to_owned(),
    )
}

fn codes(decision: &Decision) -> Vec<&str> {
    let reasons = decision.reasons.iter();
    reasons.map(|reason| reason.code.as_str()).collect()
}

#[tokio::test]
async fn old_histories_count_unless_the_policy_says_otherwise() {
    for (more, ignored) in [
        ("", false),
        ("stale_features: {aggregates: count}\n", false),
        ("stale_features: {aggregates: ignore}\n", true),
    ] {
        let world = World::new(more);
        let fresh = world.context(30, PLENTY);
        let stale = world.context(31, PLENTY);
        let first = world.decide(&fresh, &payment("t1", "m1", 800)).await;
        assert_eq!(
            (first.level, first.outcome, codes(&first)),
            (Degradation::Full, Outcome::Flag, vec!["SIZEABLE"])
        );
        let second = world.decide(&stale, &payment("t2", "m1", 800)).await;
        assert_eq!(second.level, Degradation::StaleFeatures);
        assert_eq!(second.causes, [Cause::FeaturesLagging]);
        let expected = match ignored {
            // The rule that counts is left out, and the table is asked; a rule over the request still counts.
            true => (Outcome::Challenge, vec!["STALE", "SIZEABLE"]),
            false => (Outcome::Decline, vec!["BUSY", "SIZEABLE"]),
        };
        assert_eq!((second.outcome, codes(&second)), expected, "{more}");
        assert_eq!(second.features.is_empty(), ignored);
        // It was counted all the same.
        assert_eq!(world.count("t3").await, Some(3.0));
    }
}

#[tokio::test]
async fn an_allow_rule_that_reads_an_aggregate_is_ignored_with_it() {
    let counted = World::new("");
    let ignored = World::new("stale_features: {aggregates: ignore}\n");
    for (world, expected) in [
        (counted, (Outcome::Approve, vec![])),
        (ignored, (Outcome::Challenge, vec!["RISKY"])),
    ] {
        let stale = world.context(31, PLENTY);
        let decision = world.decide(&stale, &payment("t1", "m-risky", 10)).await;
        assert_eq!((decision.outcome, codes(&decision)), expected);
    }
}

#[tokio::test]
async fn with_too_little_time_only_the_request_is_looked_at_and_the_transaction_counts() {
    let world = World::new("");
    let context = world.context(0, Duration::ZERO);
    let decision = world.decide(&context, &payment("t1", "m-risky", 901)).await;
    assert_eq!(decision.level, Degradation::RequestOnly);
    assert_eq!(decision.causes, [Cause::DeadlineTooShort]);
    assert_eq!(codes(&decision), ["UNSEEN"]);
    assert_eq!(world.count("t2").await, Some(2.0));
}

#[tokio::test]
async fn what_there_is_no_room_for_is_answered_from_the_request_and_counts() {
    let world = World::new("");
    let context = world.context(0, PLENTY);
    let transaction = payment("t1", "m-risky", 901);
    let decision = world.with_record(&transaction, |record| {
        from_request_alone(&context, record, Cause::Overload)
    });
    assert_eq!(decision.level, Degradation::RequestOnly);
    assert_eq!(decision.causes, [Cause::Overload]);
    assert_eq!(
        (decision.outcome, codes(&decision)),
        (Outcome::Decline, vec!["UNSEEN"])
    );
    // Nor does it count twice for a duplicate that could not wait.
    let again = world.with_record(&transaction, |record| {
        from_request_alone(&context, record, Cause::DeadlineTooShort)
    });
    assert_eq!(again.causes, [Cause::DeadlineTooShort]);
    assert_eq!(world.count("t2").await, Some(2.0));
}

/// The clock is asked before histories are read, so a clock that fails stands for whatever fails there.
#[tokio::test]
async fn a_step_that_panics_is_answered_by_what_stood_before_it() {
    let world = World::new("");
    let context = world.context(0, PLENTY);
    let transaction = payment("t1", "m1", 901);
    let logic = world.policy.logic();
    let record = Record::new(&transaction, &logic.schema, &logic.rates).unwrap();
    let asked = Counter::new(0);
    let decision = decide(&context, &record, || {
        asked.set(asked.get() + 1);
        panic!("the clock has stopped, as this test wants it to")
    })
    .await;
    assert_eq!(asked.get(), 1);
    assert_eq!(decision.level, Degradation::RequestOnly);
    assert_eq!(decision.causes, [Cause::Internal]);
    assert_eq!(
        (decision.outcome, codes(&decision)),
        (Outcome::Decline, vec!["UNSEEN"])
    );
}

#[test]
fn without_any_answer_the_constant_stands() {
    let world = World::new("");
    let decision = Progress::default().after_failure(&world.policy);
    assert_eq!(decision.level, Degradation::Static);
    assert_eq!(decision.causes, [Cause::Internal]);
    assert_eq!(
        (decision.outcome, codes(&decision)),
        (Outcome::Flag, vec!["BLIND"])
    );
}

#[tokio::test]
async fn a_late_decision_is_the_full_one_and_only_reads() {
    let world = World::new("");
    let hurried = world.context(0, Duration::ZERO);
    let first = payment("t1", "m1", 800);
    let second = payment("t2", "m1", 800);
    for transaction in [&first, &second] {
        let answer = world.decide(&hurried, transaction).await;
        assert_eq!(answer.level, Degradation::RequestOnly);
    }
    let context = world.context(0, PLENTY);
    let logic = world.policy.logic();
    for (transaction, expected) in [
        (&first, vec!["SIZEABLE"]),
        (&second, vec!["BUSY", "SIZEABLE"]),
    ] {
        let record = Record::new(transaction, &logic.schema, &logic.rates).unwrap();
        let late = decide_late(&context, &record, clock::instant)
            .await
            .unwrap();
        assert_eq!((late.level, codes(&late)), (Degradation::Full, expected));
        let whole = world.decide(&context, transaction).await;
        assert_eq!(
            (late.outcome, &late.features),
            (whole.outcome, &whole.features)
        );
    }
    assert_eq!(world.count("t3").await, Some(3.0));
}

#[tokio::test]
async fn guards_count_what_was_answered_and_not_late_decisions() {
    let guard = Guard {
        share_max_per_million: 100_000,
        period: Span::from_seconds(60),
        transactions_min: 10,
    };
    for (late, demoted) in [(false, 1), (true, 0)] {
        let world = World::guarded("", Some(guard));
        let context = world.context(0, PLENTY);
        let logic = world.policy.logic();
        logic.rules.begin(None, context.now);
        for place in 0..50 {
            let transaction = payment(&format!("t{place}"), "m1", 800);
            let record = Record::new(&transaction, &logic.schema, &logic.rates).unwrap();
            if late {
                let expires_at = EventTime::MAX;
                world.store.apply(&record, Origin::Scored { expires_at });
                let decision = decide_late(&context, &record, clock::instant).await;
                assert!(decision.unwrap().demoted.is_empty());
            } else {
                decide(&context, &record, clock::instant).await;
            }
        }
        assert_eq!(logic.rules.demoted().count(), demoted);
    }
}
