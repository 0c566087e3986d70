//! Policy folders as a whole: how they are read, and what a decision gets from them.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tollgate_expr::Frame;
use tollgate_rules::{Logic, Mode, load, version_of};
use tollgate_source::Diagnostics;
use tollgate_types::{
    AttributeValue, CardId, Cell, Channel, Currency, Degradation, EventTime, Money, Outcome,
    Record, Transaction, TransactionId,
};

/// A list that cannot be read is one mistake, not one more for each rule that asks it.
#[test]
fn a_list_that_is_not_text_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in FILES {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::write(folder.path().join("lists/blocked.csv"), b"value\nCaf\xe9\n").unwrap();
    let errors = load(folder.path()).unwrap_err();
    let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
    assert!(
        matches!(messages[..], [only] if only.contains("UTF-8")),
        "{errors}"
    );
}

const FILES: [(&str, &str); 6] = [
    (
        "schema.yaml",
        "\
attributes:
  product: {type: text, values: [flight, points]}
entities:
  card: {key: card_id, retain: [amount], retention: 40d}
  pair: {key: [card_id, merchant_id], retention: 1d}
",
    ),
    ("fx.yaml", "base: USD\nrates: {EUR: 2}\n"),
    (
        "rules/a.yaml",
        "\
rules:
  - id: blocked
    description: Blocked.
    owner: me
    tags: [a, b]
    when: transaction.merchant_id in lists.blocked && transaction.amount > 1
    then: decline
    reason: BLOCKED
  - id: counted
    description: Not used now.
    when: card.last(\"7d\").count() > 5
    then: flag
    reason: COUNTED
    mode: off
  - id: scored
    description: Scored.
    when: model.score > 0.5
    then: flag
    reason: SCORED
    mode: shadow
",
    ),
    (
        "lists/blocked.csv",
        "value,expires_at\nm1,1970-01-01T00:00:10Z\n",
    ),
    ("lists/mccs.csv", "value\n4511\n"),
    (
        "fallback.yaml",
        "\
cases:
  - id: listed
    description: Listed.
    when: transaction.merchant_category_code in lists.mccs
    then: challenge
    reason: LISTED
    levels: [request_only]
  - id: large
    description: Large.
    when: transaction.amount > 100
    then: flag
    reason: LARGE
otherwise: {then: approve}
static: {then: decline, reason: BLIND, description: Nothing was seen.}
",
    ),
];

fn write(folder: &Path, files: &BTreeMap<&str, &str>) {
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn load_files(files: &BTreeMap<&str, &str>) -> Result<(Logic, Diagnostics), Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    load(folder.path())
}

fn good() -> Logic {
    let (logic, warnings) = load_files(&FILES.into()).unwrap();
    assert_eq!(warnings.render(), "");
    logic
}

fn transaction(amount: i64, seconds: i64, category: u16) -> Transaction {
    Transaction {
        merchant_category_code: Some(category),
        channel: Some(Channel::Ecommerce),
        ..Transaction::new(
            TransactionId::parse("t1").unwrap(),
            EventTime::from_unix(seconds, 0).unwrap(),
            CardId::parse("c1").unwrap(),
            Money {
                amount_minor: amount * 100,
                currency: Currency::parse("EUR").unwrap(),
            },
            "m1".to_owned(),
        )
    }
}

fn with_frame<T>(logic: &Logic, of: &Transaction, test: impl FnOnce(&mut Frame<'_>) -> T) -> T {
    let record = Record::new(of, &logic.schema, &logic.rates).unwrap();
    let mut frame = Frame::new(&logic.layout, &record);
    logic.fill_lookups(&record, &mut frame);
    test(&mut frame)
}

#[test]
fn rules_decide_over_fields_lists_and_the_score() {
    let logic = good();
    for (seconds, expected) in [(9, Outcome::Decline), (10, Outcome::Approve)] {
        with_frame(&logic, &transaction(1, seconds, 1), |frame| {
            let mut matches = logic.rules.matches();
            logic.rules.match_without_score(frame, &mut matches);
            assert!(
                matches.is_final(),
                "a shadow rule cannot change the outcome"
            );
            frame.set(logic.layout.score, Cell::number(0.9));
            logic.rules.match_with_score(frame, &mut matches);
            let verdict = matches.verdict();
            assert_eq!(
                verdict.outcome, expected,
                "the list entry expires at second 10"
            );
            assert_eq!(verdict.shadow_matches, ["scored".into()]);
            let ids: Vec<&str> = matches.rules().map(|rule| &*rule.id).collect();
            assert_eq!(ids.contains(&"blocked"), expected == Outcome::Decline);
            assert_eq!(ids.len(), matches.rules().count());
        });
    }
}

#[test]
fn rules_keep_what_is_written_about_them_and_those_that_are_off_cost_nothing() {
    let logic = good();
    let rules = logic.rules.rules();
    assert_eq!(
        rules.iter().map(|rule| &*rule.id).collect::<Vec<_>>(),
        ["blocked", "counted", "scored"]
    );
    assert_eq!(
        (rules[0].owner.as_deref(), rules[0].tags.as_slice()),
        (Some("me"), &["a".to_owned(), "b".to_owned()][..])
    );
    assert_eq!(
        rules[0].when,
        "transaction.merchant_id in lists.blocked && transaction.amount > 1"
    );
    assert_eq!(
        rules.iter().map(|rule| rule.mode).collect::<Vec<_>>(),
        [Mode::Enforce, Mode::Off, Mode::Shadow]
    );
    assert!(logic.layout.aggregates.is_empty());
    assert!(logic.rules.reads_score());
}

#[test]
fn the_fallback_answers_on_every_level() {
    let logic = good();
    let table = [
        (
            10,
            4511,
            Degradation::RequestOnly,
            Outcome::Challenge,
            Some("LISTED"),
        ),
        (10, 4511, Degradation::NoModel, Outcome::Approve, None),
        (
            51,
            4511,
            Degradation::StaleFeatures,
            Outcome::Flag,
            Some("LARGE"),
        ),
        (
            51,
            4512,
            Degradation::RequestOnly,
            Outcome::Flag,
            Some("LARGE"),
        ),
        (50, 4512, Degradation::RequestOnly, Outcome::Approve, None),
        (
            50,
            4511,
            Degradation::Static,
            Outcome::Decline,
            Some("BLIND"),
        ),
    ];
    for (amount, category, level, outcome, code) in table {
        with_frame(&logic, &transaction(amount, 1, category), |frame| {
            let (answered, reason) = logic.fallback.answer(frame, level);
            let answered_code = reason.as_ref().map(|reason| reason.code.as_str());
            assert_eq!(
                (answered, answered_code),
                (outcome, code),
                "{amount} {category} {level:?}"
            );
            // DE-2: no outcome but approve is without a reason.
            assert!(reason.is_some() || answered == Outcome::Approve);
        });
    }
    let (_, reason) = logic.fallback.static_answer();
    let reason = reason.unwrap();
    assert_eq!(
        (&*reason.rule_id, &*reason.description),
        ("static", "Nothing was seen.")
    );
}

#[test]
fn declarations_keep_their_order() {
    let logic = good();
    let names: Vec<&str> = logic
        .schema
        .entities()
        .iter()
        .map(|entity| entity.name.as_str())
        .collect();
    assert_eq!(names, ["card", "pair"]);
    assert_eq!(logic.schema.fields().last().unwrap().name, "product");
}

#[test]
fn the_digest_names_the_contents() {
    let digest = good().digest;
    assert_eq!(good().digest, digest);
    assert_eq!(version_of(&digest).len(), 16);
    let mut files: BTreeMap<&str, &str> = FILES.into();
    files.insert("fx.yaml", "base: USD\nrates: {EUR: 3}\n");
    assert_ne!(load_files(&files).unwrap().0.digest, digest);
    let mut logic = good();
    logic.files.add("models/a/1/model.onnx", b"model");
    assert_ne!(logic.files.hex(), digest);
}

#[test]
fn what_may_be_absent_may_be_absent() {
    let mut files: BTreeMap<&str, &str> = FILES.into();
    files.retain(|name, _| ["schema.yaml", "fx.yaml"].contains(name));
    files.insert(
        "fallback.yaml",
        "otherwise: {then: approve}\nstatic: {then: approve}\n",
    );
    // That there are to be no rules is said.
    files.insert("rules/none.yaml", "rules: []\n");
    let (logic, warnings) = load_files(&files).unwrap();
    assert_eq!(warnings.render(), "");
    assert!(logic.rules.rules().is_empty() && logic.layout.features.is_empty());
    files.insert("features.yaml", "# none yet\n");
    assert!(load_files(&files).is_ok());
    files.insert("rules/none.yaml", "\n");
    let errors = load_files(&files).unwrap_err().render();
    assert!(errors.contains("this file has no rules"), "{errors}");
}

#[test]
fn a_folder_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = load(&folder.path().join("polcy")).unwrap_err().render();
    assert!(
        error.starts_with("error: the folder does not exist"),
        "{error}"
    );
    let file = folder.path().join("policy");
    fs::write(&file, "").unwrap();
    let error = load(&file).unwrap_err().render();
    assert!(error.starts_with("error: this is not a folder"), "{error}");
    let mut files: BTreeMap<&str, &str> = FILES.into();
    files.remove("rules/a.yaml");
    files.insert("rules", "");
    let error = load_files(&files).unwrap_err().render();
    assert!(
        error.starts_with("error: the folder cannot be read"),
        "{error}"
    );
}

/// A ConfigMap volume: `..data` is a link to the folder of the newest version, every file a link through it.
#[cfg(unix)]
#[test]
fn a_mounted_config_map_is_read_through_its_links() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let version = "..2026_01_01_00_00_00.123";
    for part in ["", "rules", "lists"] {
        let mounted = root.join(part);
        fs::create_dir_all(mounted.join(version)).unwrap();
        symlink(version, mounted.join("..data")).unwrap();
    }
    for (name, content) in FILES {
        let (part, file) = name.rsplit_once('/').unwrap_or(("", name));
        let mounted = root.join(part);
        fs::write(mounted.join(version).join(file), content).unwrap();
        symlink(Path::new("..data").join(file), mounted.join(file)).unwrap();
    }
    fs::write(root.join("rules/.a.yaml.swp"), "not yaml").unwrap();
    let (logic, warnings) = load(root).unwrap();
    assert_eq!(warnings.render(), "");
    assert_eq!(logic.digest, good().digest);
}

#[test]
fn the_sample_policy_has_no_mistake_and_no_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy");
    let (logic, warnings) = load(&folder).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings.render(), "");
    assert!(logic.rules.rules().len() >= 15);
    let kinds = logic
        .layout
        .features
        .iter()
        .map(|feature| feature.kind.name());
    assert!(
        kinds.clone().all(|kind| kind == "number" || kind == "flag"),
        "models take no others"
    );
    assert_eq!(kinds.count(), 30);
}

#[test]
fn the_sample_policy_decides_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy");
    let (logic, _) = load(&folder).unwrap();
    let now = 1_780_000_000;
    let hours =
        |hours: i64| AttributeValue::Time(EventTime::from_unix(now + hours * 3600, 0).unwrap());
    let points = |departs_in: i64, account_age_days: i64| Transaction {
        merchant_id: "mer-travel-platform".to_owned(),
        attributes: vec![
            (
                "product".to_owned(),
                AttributeValue::Text("points".to_owned()),
            ),
            (
                "points_redeemed".to_owned(),
                AttributeValue::Number(80_000.0),
            ),
            ("departure_time".to_owned(), hours(departs_in)),
            ("account_created".to_owned(), hours(-24 * account_age_days)),
        ],
        ..transaction(60, now, 4511)
    };
    let decided = |transaction: &Transaction| {
        with_frame(&logic, transaction, |frame| {
            let mut matches = logic.rules.matches();
            logic.rules.match_without_score(frame, &mut matches);
            let fallback = logic.fallback.answer(frame, Degradation::RequestOnly).0;
            let verdict = matches.verdict();
            let code = verdict
                .reasons
                .first()
                .map(|reason| reason.code.as_str().to_owned());
            (verdict.outcome, code.unwrap_or_default(), fallback)
        })
    };
    let fresh = "POINTS_FRESH_ACCOUNT".to_owned();
    assert_eq!(
        decided(&points(3, 5)),
        (Outcome::Decline, fresh.clone(), Outcome::Challenge)
    );
    assert_eq!(
        decided(&points(30, 5)),
        (Outcome::Decline, fresh, Outcome::Approve)
    );
    assert_eq!(
        decided(&points(30, 900)),
        (Outcome::Approve, String::new(), Outcome::Approve)
    );
    let blocked = Transaction {
        merchant_id: "mer-3f5c0b92a771".to_owned(),
        ..points(900, 900)
    };
    assert_eq!(
        decided(&blocked),
        (
            Outcome::Decline,
            "BLOCKED_MERCHANT".to_owned(),
            Outcome::Decline
        )
    );
    let trusted = CardId::parse("card-corporate-77c1").unwrap();
    let allowed = Transaction {
        card_id: trusted.clone(),
        ..points(30, 5)
    };
    assert_eq!(decided(&allowed).0, Outcome::Approve);
    let overridden = Transaction {
        card_id: trusted,
        ..blocked
    };
    assert_eq!(decided(&overridden).0, Outcome::Decline);
}
