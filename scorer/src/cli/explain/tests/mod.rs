//! Decisions of every kind, logged and made again: the same. Records and policies that are not as they were: told apart.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::again::{Again, Unreplayable, replay};
use super::*;
use world::{Way, World, copy, load, made_up, sample};

/// What has been seen among the decisions, so that the test shows what it means to show.
#[derive(Default)]
struct Seen {
    ways: BTreeMap<Way, usize>,
    words: BTreeSet<String>,
}

impl Seen {
    fn note(&mut self, way: Way, record: &v1::DecisionRecord) {
        *self.ways.entry(way).or_default() += 1;
        let response = record.response.as_ref().unwrap();
        let mut see = |word: &str| _ = self.words.insert(word.to_owned());
        see(response.outcome().as_str_name());
        see(response.degradation().as_str_name());
        for cause in &response.degradation_causes {
            see(cause);
        }
        let models = response.reasons.iter();
        if models
            .clone()
            .any(|reason| reason.rule_id == response.model_version)
        {
            see("a reason of the model");
        }
        if !record.demoted_rules.is_empty() {
            see("a demoted rule");
        }
        let full = response.degradation() == v1::Degradation::Full;
        if full && !response.has_score && !record.late_verdict {
            see("a certain decline");
        }
        if record.aggregates.is_some() {
            see("a vector");
        }
    }
}

/// DE-3: random decisions of random policies, at all levels, come out again bit for bit.
#[test]
fn de_3_what_is_made_again_from_its_record_is_the_same() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut seen = Seen::default();
    for round in 0..7 {
        let folder = match round {
            0 => {
                let folder = tempfile::tempdir().unwrap();
                copy(&sample(), folder.path());
                folder
            }
            _ => made_up(&mut rng),
        };
        let mut world = World::new(folder.path());
        // Made again by a policy that has decided nothing, and demoted no rule.
        let policy = load(folder.path());
        for _ in 0..150 {
            let way = match rng.random_bool(0.4) {
                true => Way::InTime,
                false => Way::ALL[rng.random_range(0..Way::ALL.len())],
            };
            let (decision, record) = world.decide(way, &mut rng);
            seen.note(way, &record);
            let again = replay(&policy, folder.path(), &record);
            let Again {
                decision: again,
                differences,
            } = again.unwrap_or_else(|error| panic!("{way:?}: {error}: {record:?}"));
            assert_eq!(differences, [""; 0], "{way:?}: {record:?}");
            assert_eq!(again.outcome, decision.outcome);
            let bits = |score: Option<f64>| score.map(f64::to_bits);
            assert_eq!(bits(again.score), bits(decision.score));
            assert_eq!(again.reasons, decision.reasons);
            assert_eq!(again.level, decision.level);
            assert_eq!(again.causes, decision.causes);
            assert_eq!(again.shadow_matches, decision.shadow_matches);
            assert_eq!(again.matched_rules, decision.matched_rules);
            assert_eq!(again.features, decision.features);
            assert_eq!(again.aggregates, decision.aggregates);
        }
    }
    assert_eq!(seen.ways.len(), Way::ALL.len());
    for word in [
        "APPROVE",
        "FLAG",
        "CHALLENGE",
        "DECLINE",
        "FULL",
        "NO_MODEL",
        "STALE_FEATURES",
        "REQUEST_ONLY",
        "STATIC",
        "currency_without_rate",
        "a reason of the model",
        "a demoted rule",
        "a certain decline",
        "a vector",
    ] {
        assert!(seen.words.contains(word), "{word}: {:?}", seen.words);
    }
}

/// Records of the sample policy, and the policy.
fn records(way: Way, count: usize) -> (Policy, Vec<v1::DecisionRecord>) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut world = World::new(&sample());
    let records = (0..count).map(|_| world.decide(way, &mut rng).1);
    (load(&sample()), records.collect())
}

fn differences(policy: &Policy, record: &v1::DecisionRecord) -> Vec<String> {
    replay(policy, &sample(), record).unwrap().differences
}

/// What docs/explain.md says is printed; what is asserted leaves it room.
#[test]
fn the_size_of_a_record_of_the_sample_policy() {
    let (policy, records) = records(Way::InTime, 1_000);
    let size = |record: &v1::DecisionRecord| record.encoded_len();
    let before = |record: &v1::DecisionRecord| {
        let old = v1::DecisionRecord {
            response: record.response.clone(),
            card_id: record.card_id.clone(),
            event_time: record.event_time,
            decided_at: record.decided_at,
            model_inputs: record.model_inputs.clone(),
            ..v1::DecisionRecord::default()
        };
        old.encoded_len()
    };
    let mean = |sizes: Vec<usize>| sizes.iter().sum::<usize>() / sizes.len();
    let now = mean(records.iter().map(size).collect());
    let before = mean(records.iter().map(before).collect());
    let vector = |vector: &Option<v1::Vector>| vector.as_ref().map_or(0, Message::encoded_len);
    let aggregates = mean(records.iter().map(|one| vector(&one.aggregates)).collect());
    let features = mean(records.iter().map(|one| vector(&one.features)).collect());
    let transaction = |one: &v1::DecisionRecord| one.transaction.as_ref().unwrap().encoded_len();
    let transaction = mean(records.iter().map(transaction).collect());
    let layout = &policy.logic().layout;
    println!(
        "{now} bytes, {before} without what a replay needs: {aggregates} of {} aggregates, {features} of {} features, \
         {transaction} of the transaction",
        layout.aggregates.len(),
        layout.features.len(),
    );
    assert!(now < 2_000 && before < now, "{now} {before}");
}

#[test]
fn whatever_is_changed_in_a_record_shows() {
    type Change = fn(&mut v1::DecisionRecord);
    fn response(record: &mut v1::DecisionRecord) -> &mut v1::ScoreResponse {
        record.response.as_mut().unwrap()
    }
    let changes: [(&str, Change); 10] = [
        ("outcome: logged decline, now ", |record| {
            response(record).set_outcome(v1::Outcome::Decline);
        }),
        ("score: logged ", |record| {
            let score = &mut response(record).score;
            *score = f64::from_bits(score.to_bits() + 1);
        }),
        ("score: logged none, now 0.", |record| {
            response(record).has_score = false;
        }),
        ("reasons: logged FORGED (forged): , now ", |record| {
            response(record).reasons = vec![v1::Reason {
                code: "FORGED".to_owned(),
                rule_id: "forged".to_owned(),
                ..v1::Reason::default()
            }];
        }),
        ("shadow matches: logged forged, now ", |record| {
            response(record).shadow_matches = vec!["forged".to_owned()];
        }),
        ("model: logged forged/1, now travel-fraud/1", |record| {
            response(record).model_version = "forged/1".to_owned();
        }),
        ("causes: logged currency_without_rate, now none", |record| {
            let causes = vec!["currency_without_rate".to_owned()];
            response(record).degradation_causes = causes;
        }),
        ("matched rules: logged forged, now ", |record| {
            record.matched_rules = vec!["forged".to_owned()];
        }),
        ("the model's numbers: logged ", |record| {
            record.model_inputs[0] += 1.0;
        }),
        // The amount of the transaction is the first feature.
        ("feature amount: logged ", |record| {
            record.transaction.as_mut().unwrap().amount_minor += 1;
        }),
    ];
    let (policy, records) = records(Way::InTime, 40);
    let fits = |record: &&v1::DecisionRecord| {
        let response = record.response.as_ref().unwrap();
        let approved = response.outcome() == v1::Outcome::Approve;
        approved && response.has_score && response.degradation_causes.is_empty()
    };
    let record = records.iter().find(fits).unwrap();
    assert_eq!(differences(&policy, record), [""; 0]);
    for (expected, change) in changes {
        let mut changed = record.clone();
        change(&mut changed);
        let differences = differences(&policy, &changed);
        let told = differences.iter().any(|told| told.starts_with(expected));
        assert!(told, "{expected}: {differences:?}");
    }
}

#[test]
fn each_value_of_the_vector_that_is_changed_shows() {
    let (policy, records) = records(Way::InTime, 1);
    let record = &records[0];
    let layout = &policy.logic().layout;
    let changed = |vector: fn(&mut v1::DecisionRecord) -> &mut v1::Vector, at: usize| {
        let mut changed = record.clone();
        vector(&mut changed).values[at] ^= 1;
        differences(&policy, &changed)
    };
    let features = record.features.as_ref().unwrap().values.len();
    assert!(features > 5);
    for at in 0..features {
        let differences = changed(|record| record.features.as_mut().unwrap(), at);
        assert!(differences[0].starts_with("feature "), "{differences:?}");
    }
    // Of an aggregate that features read, what they come to.
    let by_features: BTreeSet<_> = layout
        .features
        .iter()
        .flat_map(|feature| feature.program.reads())
        .collect();
    let aggregates = record.aggregates.as_ref().unwrap();
    let is_there = |at: &usize| (aggregates.present[at / 8] >> (at % 8)) & 1 == 1;
    let there = (0..layout.aggregates.len()).filter(is_there);
    let mut tried = 0;
    for (place, at) in there.enumerate() {
        if by_features.contains(&layout.aggregates[at].1) {
            let differences = changed(|record| record.aggregates.as_mut().unwrap(), place);
            assert!(!differences.is_empty(), "{}", layout.written[at].source);
            tried += 1;
        }
    }
    assert!(tried > 5);
    let mut shorter = record.clone();
    shorter.aggregates.as_mut().unwrap().values.pop();
    let error = replay(&policy, &sample(), &shorter).err().unwrap();
    let version = policy.version();
    assert_eq!(
        error.to_string(),
        format!(
            "its record has not as many values as policy version {version} has; it is not as tollgate wrote it"
        )
    );
}

#[test]
fn another_policy_is_told_apart_and_what_it_has_alike() {
    let (policy, records) = records(Way::InTime, 1);
    for (file, alike) in [
        (
            "rules/velocity.yaml",
            ", with the features and the fallback table and the champion alike",
        ),
        (
            "features.yaml",
            ", with the fallback table and the champion alike",
        ),
        (
            "fallback.yaml",
            ", with the features and the champion alike",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        copy(&sample(), folder.path());
        let file = folder.path().join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text + "# Changed.\n").unwrap();
        let changed = load(folder.path());
        let error = replay(&changed, folder.path(), &records[0]).err().unwrap();
        let (wanted, found) = (policy.version(), changed.version());
        let folder = folder.path().display();
        assert_eq!(
            error.to_string(),
            format!(
                "it was made by policy version {wanted}, and {folder} has version {found}{alike}; name a folder that has the \
                 policy as it was then with --policy (`tollgate check` says which version a folder has)"
            )
        );
    }
}

#[test]
fn what_cannot_be_made_again_says_why() {
    type Change = fn(&mut v1::DecisionRecord);
    fn response(record: &mut v1::DecisionRecord) -> &mut v1::ScoreResponse {
        record.response.as_mut().unwrap()
    }
    let changes: [(&str, Change); 6] = [
        (
            "its record is from before tollgate logged what decisions are made from, and has no more than the answer",
            |record| record.transaction = None,
        ),
        (
            "its transaction had a card number in merchant_id, attributes.note, which is not kept, and rules may have read it",
            |record| record.withheld = vec!["merchant_id".to_owned(), "attributes.note".to_owned()],
        ),
        (
            "its record has the cause `sunspots`, which this tollgate does not know; it was made by tollgate 9.9.9",
            |record| {
                response(record).degradation_causes = vec!["sunspots".to_owned()];
                record.versions.as_mut().unwrap().program = "9.9.9".to_owned();
            },
        ),
        (
            "its record has the level `77`, which this tollgate does not know; it was made by tollgate 9.9.9",
            |record| {
                response(record).degradation = 77;
                record.versions.as_mut().unwrap().program = "9.9.9".to_owned();
            },
        ),
        (
            "the transaction of its record is not as tollgate wrote it: transaction.currency: is empty; expected an ISO 4217 code \
             such as \"EUR\"",
            |record| record.transaction.as_mut().unwrap().currency.clear(),
        ),
        // A panic after the rules had decided.
        (
            "a step of the decision failed (`internal`), and what it had read of histories until then was not kept",
            |record| {
                response(record).degradation_causes = vec!["internal".to_owned()];
                record.aggregates = None;
                record.features = None;
            },
        ),
    ];
    let (policy, records) = records(Way::InTime, 1);
    for (expected, change) in changes {
        let mut changed = records[0].clone();
        change(&mut changed);
        let error: Unreplayable = replay(&policy, &sample(), &changed).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_length_of_time_a_date_and_a_time_say_since_when() {
    let now = EventTime::from_unix(1_770_000_000, 0).unwrap();
    for (text, expected) in [
        ("2h", 1_770_000_000 - 7_200),
        ("1970-01-02", 86_400),
        ("1970-01-02T00:00:01Z", 86_401),
    ] {
        let expected = EventTime::from_unix(expected, 0).unwrap();
        assert_eq!(since(text, now).unwrap(), expected, "{text}");
    }
    assert_eq!(
        since("yesterday", now).unwrap_err().to_string(),
        "`yesterday` is no time; write a date, such as 2026-12-31, or a time with its zone, such as \
         2026-12-31T18:00:00+01:00, or a length of time until now, such as 2h or 30d"
    );
}
