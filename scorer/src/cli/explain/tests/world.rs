//! Policies, transactions and decisions that are made up, and the records that the decision log would have of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt};
use tempfile::TempDir;
use tollgate_features::Store;
use tollgate_models::Runtime;
use tollgate_proto::v1;
use tollgate_rules::Guard;
use tollgate_types::{
    AttributeValue, CardId, Cause, Channel, Currency, EventTime, Money, Span, Transaction,
    TransactionId,
};

use crate::audit::Entry;
use crate::audit::record::record;
use crate::clock;
use crate::convert;
use crate::decide::{self, Context, Decision};
use crate::grpc::response;
use crate::policy::{Loader, ModelLimits, Policy};

/// Long enough for a model on a busy machine; only ever waited out by a failure.
const PLENTY: Duration = Duration::from_secs(60);

/// Enough for histories and too little for the model, by a clock that stands still.
const NO_TIME_FOR_THE_MODEL: Duration = Duration::from_micros(900);

pub(super) const REASONS_MAX: usize = 3;

const CONDITIONS: [&str; 14] = [
    "features.card_count_1h >= 3",
    "transaction.amount > 300",
    "transaction.amount < 40",
    "model.score >= 0.02",
    "model.score >= 0.3 && transaction.amount > 50",
    "model.score < 0.01",
    "card.last(\"2h\").where(amount > 20.0).count() > 2",
    "features.card_amount_ratio_30d > 1.5",
    "card.last(\"7d\").delayed(\"1s\").last(merchant_country) != transaction.merchant_country",
    "card.last(\"7d\").delayed(\"1s\").since_last() < duration(\"3m\")",
    "transaction.event_time - card.last(\"30d\").first_seen() < duration(\"10m\")",
    "device.last(\"1d\").delayed(\"1s\").last(card_id) != transaction.card_id",
    "transaction.device_id.startsWith(\"device-number-1\")",
    "transaction.merchant_id in lists.blocked_merchants",
];

/// The sample policy.
pub(super) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy")
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The sample policy with other rules, and another way with old histories.
pub(super) fn made_up(rng: &mut impl Rng) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(), folder.path());
    std::fs::remove_dir_all(folder.path().join("rules")).unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    let mut rules = String::from("rules:\n");
    for at in 0..rng.random_range(4..20) {
        let when = CONDITIONS.choose(rng).unwrap();
        let then = ["approve", "flag", "challenge", "decline", "decline"];
        let then = then.choose(rng).unwrap();
        rules += &format!(
            "  - id: rule-{at}\n    description: Made up.\n    when: '{when}'\n    then: {then}\n    reason: CODE_{at}\n"
        );
        if rng.random_bool(0.2) {
            rules += "    mode: shadow\n";
        }
        if *then != "approve" && rng.random_bool(0.2) {
            rules += "    overrides_allow: true\n";
        }
        if rng.random_bool(0.3) {
            rules += &format!("    percentage: {}\n", rng.random_range(10..90));
        }
        if rng.random_bool(0.3) {
            rules += "    from: 2026-02-02T02:50:00Z\n    until: 2026-02-02T03:10:00Z\n";
        }
    }
    std::fs::write(folder.path().join("rules/made-up.yaml"), rules).unwrap();
    if rng.random_bool(0.5) {
        let file = folder.path().join("fallback.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let ignoring = text.replace("aggregates: count", "aggregates: ignore");
        assert_ne!(text, ignoring);
        std::fs::write(file, ignoring).unwrap();
    }
    folder
}

pub(super) fn load(folder: &Path) -> Policy {
    let library = std::env::var_os("TOLLGATE_ONNXRUNTIME").map_or_else(
        || sample().join("../target/onnxruntime/libonnxruntime.so"),
        Into::into,
    );
    // So little that rules are demoted after some dozens of transactions.
    let guard = Guard {
        share_max_per_million: 100_000,
        period: Span::from_seconds(3_600),
        transactions_min: 30,
    };
    let loader = Loader::new(
        folder.to_owned(),
        Runtime::load(&library),
        ModelLimits::default(),
    );
    match loader.with_guard(Some(guard)).load() {
        Ok((policy, _)) => policy,
        Err(errors) => panic!("{}", errors.render()),
    }
}

/// How a decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    InTime,
    WithoutModel,
    OldHistories,
    OldHistoriesWithoutModel,
    RequestAlone,
    Overload,
    Constant,
    Late,
}

impl Way {
    pub(super) const ALL: [Self; 8] = [
        Self::InTime,
        Self::WithoutModel,
        Self::OldHistories,
        Self::OldHistoriesWithoutModel,
        Self::RequestAlone,
        Self::Overload,
        Self::Constant,
        Self::Late,
    ];
}

/// A policy that decides, and the history it has seen.
pub(super) struct World {
    pub(super) policy: Arc<Policy>,
    store: Store,
    runtime: tokio::runtime::Runtime,
    seconds: i64,
}

impl World {
    pub(super) fn new(folder: &Path) -> Self {
        let policy = load(folder);
        policy.logic().rules.begin(None, EventTime::from_micros(0));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            store: Store::new(Arc::clone(&policy.logic().schema)),
            policy: Arc::new(policy),
            runtime: runtime.enable_all().build().unwrap(),
            seconds: 0,
        }
    }

    fn context(&self, way: Way, now: std::time::Instant) -> Context<'_> {
        let (left, behind_s) = match way {
            Way::InTime | Way::Late | Way::Overload | Way::Constant => (PLENTY, 0),
            Way::WithoutModel => (NO_TIME_FOR_THE_MODEL, 0),
            Way::OldHistories => (PLENTY, 60),
            Way::OldHistoriesWithoutModel => (NO_TIME_FOR_THE_MODEL, 60),
            Way::RequestAlone => (Duration::ZERO, 0),
        };
        Context {
            policy: &self.policy,
            store: &self.store,
            now: EventTime::from_micros(0).plus(Span::from_seconds(self.seconds)),
            deadline: now + left,
            behind: Span::from_seconds(behind_s),
            stale_after: Span::from_seconds(30),
            in_flight_expires: Span::from_days(1),
            model_reasons_max: REASONS_MAX,
        }
    }

    /// Decides one more transaction in this way; the decision and its record as a consumer of the log has it.
    pub(super) fn decide(
        &mut self,
        way: Way,
        rng: &mut impl Rng,
    ) -> (Decision, v1::DecisionRecord) {
        self.seconds += rng.random_range(1..30);
        let transaction = Arc::new(transaction(self.seconds, rng));
        let laid_out = convert::record(&transaction, self.policy.logic()).unwrap();
        let arrived = clock::instant();
        let context = self.context(way, arrived);
        let standing_still = || arrived;
        let decision = match way {
            Way::InTime | Way::OldHistories => {
                let deciding = decide::decide(&context, &laid_out, clock::instant);
                self.runtime.block_on(deciding)
            }
            Way::WithoutModel | Way::OldHistoriesWithoutModel | Way::RequestAlone => {
                let deciding = decide::decide(&context, &laid_out, standing_still);
                self.runtime.block_on(deciding)
            }
            Way::Overload => decide::from_request_alone(&context, &laid_out, Cause::Overload),
            Way::Constant => decide::static_answer(&self.policy, Cause::Internal),
            Way::Late => {
                let _answer = decide::from_request_alone(&context, &laid_out, Cause::Overload);
                let deciding = decide::decide_late(&context, &laid_out, clock::instant);
                self.runtime.block_on(deciding).unwrap()
            }
        };
        let logged = self.logged(way, &transaction, arrived, decision.clone());
        (decision, logged)
    }

    fn logged(
        &self,
        way: Way,
        transaction: &Arc<Transaction>,
        arrived: std::time::Instant,
        decision: Decision,
    ) -> v1::DecisionRecord {
        let mut response = response(&self.policy, transaction.id.as_str(), &decision, false);
        response.decision_id = format!("decision-of-{}", transaction.id.as_str());
        let answered = (way == Way::Late).then_some(tollgate_types::Outcome::Approve);
        let entry = Entry {
            response,
            transaction: Arc::clone(transaction),
            card_id: transaction.card_id.clone(),
            event_time: transaction.event_time,
            decided_at: clock::wall_time(),
            answered,
            arrived,
            times: decision.times,
            model_timings: decision.model_timings,
            reasons_timings: decision.reasons_timings,
            matched_rules: decision.matched_rules,
            aggregates: decision.aggregates,
            model_reasons_max: REASONS_MAX,
            model_inputs: decision.model_inputs,
            features: decision.features,
            texts: decision.texts,
            policy: Arc::clone(&self.policy),
        };
        let logged = record(entry, Vec::new());
        // As Kafka gives it back.
        let bytes = logged.encode_to_vec();
        let name = "tollgate.v1.DecisionRecord";
        let json = tollgate_proto::to_json(name, &logged).unwrap();
        let read = super::saved::decode(&bytes).unwrap();
        assert_eq!(super::saved::decode(json.as_bytes()).unwrap(), read);
        read
    }
}

fn transaction(seconds: i64, rng: &mut impl Rng) -> Transaction {
    let card = match rng.random_range(0..6) {
        0 => "card-vip-0a61f3".to_owned(),
        number => format!("card-{number}"),
    };
    let currency = ["EUR", "USD", "JPY", "XOF"].choose(rng).unwrap();
    let merchant = match rng.random_range(0..12) {
        0 => "mer-3f5c0b92a771".to_owned(),
        number => format!("mer-of-the-number-{number}"),
    };
    let country = |rng: &mut dyn FnMut() -> u32| {
        let countries = [None, Some("FR"), Some("BR"), Some("MA")];
        let at = usize::try_from(rng()).unwrap() % countries.len();
        countries[at].map(str::to_owned)
    };
    let mut number = || rng.random::<u32>();
    let (merchant_country, card_country) = (country(&mut number), country(&mut number));
    let event_time = EventTime::from_unix(1_770_000_000 + seconds, 123_456_000).unwrap();
    let mut attributes = Vec::new();
    if rng.random_bool(0.5) {
        let product = ["flight", "hotel", "points"].choose(rng).unwrap();
        let departs = event_time.plus(Span::from_seconds(rng.random_range(0..200_000)));
        attributes.extend([
            ("departure_time", AttributeValue::Time(departs)),
            ("one_way", AttributeValue::Flag(rng.random_bool(0.5))),
            (
                "passengers",
                AttributeValue::Number(rng.random_range(1..5).into()),
            ),
            ("product", AttributeValue::Text((*product).to_owned())),
        ]);
    }
    Transaction {
        merchant_category_code: [None, Some(4511), Some(5732)].choose(rng).copied().unwrap(),
        merchant_country,
        terminal_id: rng.random_bool(0.7).then(|| "terminal-1".to_owned()),
        channel: rng
            .random_bool(0.9)
            .then(|| *Channel::ALL.choose(rng).unwrap()),
        card_country,
        device_id: rng
            .random_bool(0.7)
            .then(|| format!("device-number-{}", rng.random_range(0..4))),
        ip_address: rng.random_bool(0.5).then(|| "2001:db8::1".to_owned()),
        attributes: attributes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        ..Transaction::new(
            TransactionId::parse(&format!("t-{seconds}")).unwrap(),
            event_time,
            CardId::parse(&card).unwrap(),
            Money {
                amount_minor: rng.random_range(0..60_000),
                currency: Currency::parse(currency).unwrap(),
            },
            merchant,
        )
    }
}
