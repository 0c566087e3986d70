//! What is said about mistakes in policy files, word for word.
//!
//! Each file of `tests/mistakes/` is a policy folder with a mistake and what is said about it: a line
//! `>>> <path>` begins a file of the folder, `>>> expected` the answer. Files that are not given are those of a
//! good policy; one that is given with nothing in it is left out. With `UPDATE_EXPECTED=1` the answers are
//! written into the files.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A small policy without mistakes.
const GOOD: [(&str, &str); 6] = [
    (
        "schema.yaml",
        "\
attributes:
  product: {type: text, values: [flight, hotel]}
  passengers: number
  departure_time: time
entities:
  card:
    key: card_id
    retain: [amount, merchant_country]
    retention: 40d
",
    ),
    ("fx.yaml", "base: USD\nrates: {EUR: 1.08}\n"),
    (
        "features.yaml",
        "card_count_1h: card.last(\"1h\").count()\nblocked: transaction.merchant_id in lists.blocked\n",
    ),
    ("lists/blocked.csv", "value\nm1\n"),
    ("rules/others.yaml", "rules: []\n"),
    (
        "fallback.yaml",
        "\
cases: []
otherwise: {then: approve}
static: {then: flag, reason: NOT_LOOKED_AT}
",
    ),
];

#[test]
fn every_mistake_is_shown_where_it_is_with_what_to_write() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    let mut findings = 0;
    for entry in fs::read_dir(cases).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let (files, expected) = text
            .split_once(">>> expected\n")
            .expect("a line `>>> expected`");
        let said = said_about(files);
        if said.trim_end() != expected.trim_end() {
            if update {
                fs::write(&path, format!("{files}>>> expected\n{}\n", said.trim_end())).unwrap();
            }
            wrong.push(format!("{}:\n{said}", path.display()));
        }
        findings += expected
            .lines()
            .filter(|line| line.starts_with("error: ") || line.starts_with("warning: "))
            .count();
    }
    assert!(findings >= 180, "only {findings} mistakes");
    assert!(
        update || wrong.is_empty(),
        "not as expected:\n{}",
        wrong.join("\n\n")
    );
}

#[test]
fn the_policy_that_mistakes_are_put_into_has_none() {
    assert_eq!(said_about(""), "");
}

fn said_about(files: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("policy");
    let mut contents: BTreeMap<&str, &str> = GOOD.into();
    for file in files.split(">>> ").skip(1) {
        let (name, content) = file.split_once('\n').unwrap();
        contents.insert(name, content);
    }
    for (name, content) in contents {
        if content.is_empty() {
            continue;
        }
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let said = match tollgate_rules::load(&folder) {
        Ok((logic, mut notes)) => {
            // Where a test does not give an aggregate, it is missing.
            notes.extend(logic.run_tests(&mut |_, _| {}).failures);
            notes.render()
        }
        Err(errors) => errors.render(),
    };
    said.replace(&format!("{}/", root.path().display()), "")
}
