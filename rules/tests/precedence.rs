//! The table of `docs/rules/precedence.md`, row by row.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::fs;
use std::path::Path;

use tollgate_expr::Frame;
use tollgate_rules::load;
use tollgate_types::{
    CardId, Cell, Currency, EventTime, Money, Record, Transaction, TransactionId,
};

/// The transaction happens at the beginning of 2026.
const NOW_S: i64 = 1_767_225_600;

/// How the table says that a rule reads the model's score.
const SCORE: &str = "by the score";

#[test]
fn the_table_of_precedence_is_what_the_rules_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules/precedence.md");
    let text = fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix('|'))
        .map(|line| {
            line.trim_end_matches('|')
                .split('|')
                .map(str::trim)
                .collect()
        })
        .skip(2)
        .collect();
    assert!(rows.len() >= 20, "{}", rows.len());
    for row in rows {
        let [a, b, c, outcome, reasons, shadows] = row[..] else {
            panic!("not six columns: {row:?}");
        };
        let decided = decide(&[a, b, c]);
        let expected = [outcome, reasons, shadows].map(str::to_owned);
        assert_eq!(decided, expected, "{row:?}");
    }
}

/// Outcome, reasons and shadow matches of the described rules.
fn decide(described: &[&str]) -> [String; 3] {
    let rules: Vec<String> = ["a", "b", "c"]
        .into_iter()
        .zip(described)
        .filter(|(_, described)| !described.is_empty())
        .map(|(id, described)| rule(id, described))
        .collect();
    let rules = if rules.is_empty() {
        "rules: []\n".to_owned()
    } else {
        format!("rules:\n{}", rules.concat())
    };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    for (name, content) in [
        (
            "schema.yaml",
            "entities: {card: {key: card_id, retention: 1d}}\n",
        ),
        ("fx.yaml", "base: USD\n"),
        (
            "fallback.yaml",
            "otherwise: {then: approve}\nstatic: {then: approve}\n",
        ),
        ("rules/rules.yaml", &rules),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let (logic, _) = load(folder.path()).unwrap_or_else(|errors| panic!("{rules}\n{errors}"));
    let transaction = Transaction::new(
        TransactionId::parse("t1").unwrap(),
        EventTime::from_unix(NOW_S, 0).unwrap(),
        CardId::parse("card-1").unwrap(),
        Money {
            amount_minor: 100,
            currency: Currency::parse("USD").unwrap(),
        },
        "m1".to_owned(),
    );
    let record = Record::new(&transaction, &logic.schema, &logic.rates).unwrap();
    let mut frame = Frame::new(&logic.layout, &record);
    let mut matches = logic.rules.matches();
    logic.rules.match_without_score(&mut frame, &mut matches);
    frame.set(logic.layout.score, Cell::number(0.9));
    logic.rules.match_with_score(&mut frame, &mut matches);
    let verdict = matches.verdict();
    let reasons = verdict.reasons.iter().map(|reason| &*reason.rule_id);
    let shadows = verdict.shadow_matches.iter().map(|id| &**id);
    [
        verdict.outcome.name().to_owned(),
        letters(reasons),
        letters(shadows),
    ]
}

fn letters<'i>(ids: impl Iterator<Item = &'i str>) -> String {
    let ids: Vec<String> = ids.map(str::to_uppercase).collect();
    ids.join(" ")
}

/// A rule as the cells of the table describe it: an outcome, and what it has besides.
fn rule(id: &str, described: &str) -> String {
    let (outcome, traits) = described.split_once(", ").unwrap_or((described, ""));
    let keys = traits
        .split(", ")
        .filter(|word| !word.is_empty() && *word != SCORE)
        .map(|word| match word {
            "overrides_allow" => "overrides_allow: true",
            "shadow" => "mode: shadow",
            "off" => "mode: off",
            "ended" => "until: 2026-01-01",
            "not begun" => "from: 2026-01-01T00:00:00.000001Z",
            "in its period" => "from: 2026-01-01\n    until: 2026-01-02",
            // A millionth of all cards, among which this one is not.
            "other cards" => "percentage: 0.0001",
            "this card" => "percentage: 100",

            other => panic!("what is `{other}`?"),
        });
    let keys: String = keys.map(|key| format!("    {key}\n")).collect();
    let code = id.to_uppercase();
    let when = if traits.contains(SCORE) {
        "model.score > 0.5"
    } else {
        "transaction.amount > 0"
    };
    format!(
        "  - id: {id}\n    description: {id}\n    when: {when}\n    \
         then: {outcome}\n    reason: {code}\n{keys}"
    )
}
