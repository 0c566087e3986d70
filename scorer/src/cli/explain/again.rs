//! A record's decision made again, and what differs.

use std::path::Path;

use tollgate_proto::v1;
use tollgate_types::{Cause, Cell, Degradation, EventTime, Transaction};

use super::super::alone::Alone;
use super::super::explanation::{in_words, outcome, value};
use crate::audit::record::{shown, unpack, versions};
use crate::clock;
use crate::convert::{self, FieldError};
use crate::decide::{self, Decision, NotReplayed, Past};
use crate::grpc::response;
use crate::policy::Policy;

/// Why a decision cannot be made again from its record.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreplayable {
    #[error(
        "its record is from before tollgate logged what decisions are made from, and has no more than the answer"
    )]
    BeforeTransactions,
    #[error(
        "it was made by policy version {wanted}, and {folder} has version {found}{alike}; name a folder that has the policy as \
         it was then with --policy (`tollgate check` says which version a folder has)"
    )]
    OtherPolicy {
        wanted: String,
        found: String,
        folder: String,
        alike: String,
    },
    #[error(
        "its transaction had a card number in {}, which is not kept, and rules may have read it",
        .0.join(", ")
    )]
    Withheld(Vec<String>),
    #[error(
        "its record has the {what} `{name}`, which this tollgate does not know; it was made by tollgate {program}"
    )]
    Unknown {
        what: &'static str,
        name: String,
        program: String,
    },
    #[error(
        "its record has not as many values as policy version {0} has; it is not as tollgate wrote it"
    )]
    OtherVector(String),
    #[error("the transaction of its record is not as tollgate wrote it: {0}")]
    Transaction(#[from] FieldError),
    #[error(transparent)]
    NotReplayed(#[from] NotReplayed),
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// A decision made again.
pub(super) struct Again {
    pub(super) decision: Decision,
    /// In words: what was logged, and what came out now.
    pub(super) differences: Vec<String>,
}

/// Makes it again by the policy, which is the one of `folder`.
pub(super) fn replay(
    policy: &Policy,
    folder: &Path,
    record: &v1::DecisionRecord,
) -> Result<Again, Unreplayable> {
    let logged = Logged::read(policy, folder, record)?;
    let laid_out = convert::record(&logged.transaction, policy.logic())?;
    let alone = Alone::new(policy)?;
    let reasons_max = usize::try_from(record.model_reasons_max).unwrap_or(usize::MAX);
    let context = alone.context(logged.transaction.event_time, reasons_max);
    let past = Past {
        level: logged.level,
        causes: &logged.causes,
        aggregates: logged.aggregates.as_deref(),
        demoted: &record.demoted_rules,
    };
    let decision = alone.run(decide::replay(&context, &laid_out, &past, clock::instant))?;
    let mut differences = Differences(Vec::new());
    differences.of_answer(policy, record, &decision);
    differences.of_inputs(policy, record, &logged, &decision);
    let differences = differences.0;
    Ok(Again {
        decision,
        differences,
    })
}

/// What a record says, read by the policy that it was written by.
struct Logged {
    transaction: Transaction,
    level: Degradation,
    causes: Vec<Cause>,
    aggregates: Option<Vec<Cell>>,
    features: Option<Vec<Cell>>,
}

impl Logged {
    fn read(
        policy: &Policy,
        folder: &Path,
        record: &v1::DecisionRecord,
    ) -> Result<Self, Unreplayable> {
        let Some(transaction) = &record.transaction else {
            return Err(Unreplayable::BeforeTransactions);
        };
        let logged = record.response.clone().unwrap_or_default();
        let then = record.versions.clone().unwrap_or_default();
        if logged.policy_version != policy.version() {
            return Err(Unreplayable::OtherPolicy {
                alike: alike(&then, &versions(policy)),
                wanted: logged.policy_version,
                found: policy.version().to_owned(),
                folder: folder.display().to_string(),
            });
        }
        if !record.withheld.is_empty() {
            return Err(Unreplayable::Withheld(record.withheld.clone()));
        }
        let unknown = |what, name: &str| Unreplayable::Unknown {
            what,
            name: name.to_owned(),
            program: then.program.clone(),
        };
        let level = convert::level(logged.degradation())
            .ok_or_else(|| unknown("level", &logged.degradation.to_string()))?;
        let causes = logged.degradation_causes.iter().map(|name| {
            let known = Cause::ALL.into_iter().find(|cause| cause.name() == name);
            known.ok_or_else(|| unknown("cause", name))
        });
        let layout = &policy.logic().layout;
        let vector = |packed: &Option<v1::Vector>, count| {
            let unpacked = packed.as_ref().map(|packed| {
                let wrong = || Unreplayable::OtherVector(policy.version().to_owned());
                unpack(packed, count).ok_or_else(wrong)
            });
            unpacked.transpose()
        };
        Ok(Self {
            // It was not ahead of the clock when it was taken.
            transaction: convert::transaction(Some(transaction.clone()), EventTime::MAX)?,
            level,
            causes: causes.collect::<Result<_, _>>()?,
            aggregates: vector(&record.aggregates, layout.aggregates.len())?,
            features: vector(&record.features, layout.features.len())?,
        })
    }
}

/// Which parts of another policy are the same, as far as that is known.
fn alike(then: &v1::Versions, now: &v1::Versions) -> String {
    let parts = [
        ("the features", &then.features, &now.features),
        ("the fallback table", &then.fallback, &now.fallback),
        ("the champion", &then.model, &now.model),
    ];
    let same = parts.into_iter().filter(|(_, then, now)| then == now);
    let names: Vec<&str> = same.map(|(name, _, _)| name).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(", with {} alike", names.join(" and "))
    }
}

struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, what: &str, logged: impl AsRef<str>, now: impl AsRef<str>) {
        let (logged, now) = (logged.as_ref(), now.as_ref());
        if logged != now {
            self.0.push(format!("{what}: logged {logged}, now {now}"));
        }
    }

    /// What was answered.
    fn of_answer(&mut self, policy: &Policy, record: &v1::DecisionRecord, decision: &Decision) {
        let logged = record.response.clone().unwrap_or_default();
        let now = response(policy, &logged.transaction_id, decision, false);
        self.compare("outcome", outcome(logged.outcome()), outcome(now.outcome()));
        let is_same_score = logged.score.to_bits() == now.score.to_bits();
        if !is_same_score || logged.has_score != now.has_score {
            let score = |one: &v1::ScoreResponse| match one.has_score {
                true => one.score.to_string(),
                false => "none".to_owned(),
            };
            let (logged, now) = (score(&logged), score(&now));
            self.0.push(format!("score: logged {logged}, now {now}"));
        }
        let reasons = |one: &v1::ScoreResponse| {
            let reasons: Vec<String> = one.reasons.iter().map(in_words).collect();
            listed(&reasons)
        };
        self.compare("reasons", reasons(&logged), reasons(&now));
        let causes = |one: &v1::ScoreResponse| listed(&one.degradation_causes);
        self.compare("causes", causes(&logged), causes(&now));
        let shadows = |one: &v1::ScoreResponse| listed(&one.shadow_matches);
        self.compare("shadow matches", shadows(&logged), shadows(&now));
        let model = |one: v1::ScoreResponse| one.model_version;
        self.compare("model", model(logged), model(now));
        let matched = decision.matched_rules.iter().map(ToString::to_string);
        let matched = listed(&matched.collect::<Vec<_>>());
        self.compare("matched rules", listed(&record.matched_rules), matched);
    }

    /// What it was made from, as far as that was computed anew.
    fn of_inputs(
        &mut self,
        policy: &Policy,
        record: &v1::DecisionRecord,
        logged: &Logged,
        decision: &Decision,
    ) {
        let features = &policy.logic().layout.features;
        let pairs = logged.features.iter().flatten().zip(&decision.features);
        for (feature, (logged, now)) in features.iter().zip(pairs) {
            let name = format!("feature {}", feature.name);
            if logged != now {
                self.compare(
                    &name,
                    value(feature.kind, *logged),
                    value(feature.kind, *now),
                );
            }
        }
        let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect();
        let (numbers, texts) = (&decision.model_inputs.numbers, &decision.model_inputs.texts);
        let (then, now): (Vec<u64>, Vec<u64>) = (bits(&record.model_inputs), bits(numbers));
        if then != now {
            let inputs = |numbers: &[f64]| {
                listed(&numbers.iter().map(ToString::to_string).collect::<Vec<_>>())
            };
            let (logged, now) = (inputs(&record.model_inputs), inputs(numbers));
            self.0
                .push(format!("the model's numbers: logged {logged}, now {now}"));
        }
        let texts = listed(&shown(texts));
        self.compare("the model's texts", listed(&record.model_texts), texts);
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
