//! What must hold for any text that somebody saves in a policy folder.
//!
//! The fuzzer asks it of what it makes up (`fuzz/`), the tests of the same corpus and of random changes to it. What
//! does not hold is a panic. Nothing that serves has this module.
#![allow(
    clippy::unwrap_used,
    reason = "to panic is how this says what does not hold"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use tempfile::TempDir;
use tollgate_expr::Frame;
use tollgate_source::{Diagnostics, SourceFile};
use tollgate_types::{
    CardId, Cell, Channel, Currency, Degradation, EventTime, Money, Outcome, Record, TextKey,
    Transaction, TransactionId, contains_card_number,
};

use crate::{FillAggregates, Logic, list_file, load};

/// A policy without mistakes, with something of every kind.
const SAMPLE: [(&str, &str); 9] = [
    ("schema.yaml", include_str!("sample/schema.yaml")),
    ("fx.yaml", "base: EUR\nrates: {USD: 0.9, JPY: 0.006}\n"),
    ("features.yaml", include_str!("sample/features.yaml")),
    (
        "lists/blocked.csv",
        "value,expires_at\nm1,2026-06-01\nm2,\n",
    ),
    ("lists/risky.csv", "value:number\n4511\n7995\n"),
    (
        "lists/hosting.csv",
        "value:network\n10.0.0.0/8\n2001:db8::/32\n",
    ),
    (
        "lists/stolen.csv",
        "value:card,note\nc1,\"told, by phone\"\n",
    ),
    ("fallback.yaml", include_str!("sample/fallback.yaml")),
    ("rules/others.yaml", "rules: []\n"),
];

/// Most files of a folder that is made up: what more of them show, fewer do.
const FILES_MAX: usize = 12;

/// Any text as a list: a list, or what is wrong with it, and card numbers are never repeated.
pub fn check_list(text: &str) {
    let file = SourceFile::new("lists/fuzzed.csv", text);
    let mut notes = Diagnostics::default();
    let list = list_file::read("fuzzed", &file, &mut notes).unwrap();
    let list = list.settle(&[], &mut notes);
    let said = check_notes(&notes);
    let repeated = said.split(|letter: char| !letter.is_ascii_digit());
    for digits in repeated {
        assert!(!contains_card_number(digits), "{digits} in: {said}");
    }
    for value in text.lines().flat_map(|line| line.split(',')) {
        let value = value.trim();
        let cells = [
            Cell::text(TextKey::of(value)),
            Cell::number(4511.0),
            Cell::MISSING,
        ];
        for cell in cells {
            list.has(cell, Some(value), EventTime::default());
        }
    }
}

/// Any text as the only file of rules in a policy without mistakes.
pub fn check_rules(text: &str, fill: &mut FillAggregates<'_>) {
    let mut files: BTreeMap<&str, &str> = SAMPLE.into();
    files.insert("rules/fuzzed.yaml", text);
    check_files(&files, fill);
}

/// Any text as a policy folder: a line `>>> <path>` begins a file. Files that are not given are those of a policy
/// without mistakes; one that is given with nothing in it is left out.
pub fn check_folder(text: &str, fill: &mut FillAggregates<'_>) {
    let mut files: BTreeMap<&str, &str> = SAMPLE.into();
    for file in text.split(">>> ").skip(1).take(FILES_MAX) {
        let (name, content) = file.split_once('\n').unwrap_or((file, ""));
        if is_inside(name) {
            files.insert(name, content);
        }
    }
    check_files(&files, fill);
}

/// Whether a path can be written below the folder. Others would test the file system.
fn is_inside(path: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let letters = |letter: char| letter.is_ascii_graphic() && letter != '\\';
    let slashes = path.matches('/').count();
    !path.is_empty()
        && path.len() < 64
        && slashes <= 1
        && path.chars().all(letters)
        && !path.ends_with('/')
        && Path::new(path).components().all(plain)
        && Path::new(path).components().count() == slashes + 1
}

fn check_files(files: &BTreeMap<&str, &str>, fill: &mut FillAggregates<'_>) {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        if !content.is_empty() {
            // What cannot be written, because a file is where a folder would be, is left out.
            let path = folder.path().join(name);
            let _ = fs::create_dir_all(path.parent().unwrap());
            let _ = fs::write(path, content);
        }
    }
    match load(folder.path()) {
        Ok((logic, warnings)) => {
            assert!(!warnings.has_errors());
            check_notes(&warnings);
            check_logic(&logic, fill);
        }
        Err(notes) => {
            assert!(notes.has_errors(), "refused without a reason");
            check_notes(&notes);
        }
    }
}

/// All that is said can be shown, and is about a file.
fn check_notes(notes: &Diagnostics) -> String {
    for note in notes {
        let (line, column) = note.position();
        assert!(line > 0 && column > 0 && !note.message.is_empty());
        let length = note.file.text.len();
        assert!(note.span.end <= length.max(note.span.start), "{note:?}");
    }
    notes.render()
}

/// A policy that was loaded decides, and every outcome but approve has a reason (DE-2).
fn check_logic(logic: &Logic, fill: &mut FillAggregates<'_>) {
    let run = logic.run_tests(fill);
    check_notes(&run.failures);
    check_notes(&logic.uncovered(&run));
    for place in 0..4 {
        let transaction = transaction(place);
        let record = Record::new(&transaction, &logic.schema, &logic.rates).unwrap();
        let mut frame = Frame::new(&logic.layout, &record);
        logic.fill_lookups(&record, &mut frame);
        for (_, slot) in &logic.layout.aggregates {
            frame.set(*slot, Cell::number(f64::from(place)));
        }
        frame.evaluate_features(&logic.layout);
        let mut matches = logic.rules.matches();
        logic.rules.match_without_score(&mut frame, &mut matches);
        let (is_final, early) = (matches.is_final(), matches.outcome());
        frame.set(logic.layout.score, Cell::number(f64::from(place) / 3.0));
        logic.rules.match_with_score(&mut frame, &mut matches);
        let verdict = matches.verdict();
        assert!(!is_final || verdict.outcome == early);
        assert!(verdict.outcome == Outcome::Approve || !verdict.reasons.is_empty());
        for level in [
            Degradation::NoModel,
            Degradation::StaleFeatures,
            Degradation::RequestOnly,
            Degradation::Static,
        ] {
            let (outcome, reason) = logic.fallback.answer(&frame, level);
            assert!(outcome == Outcome::Approve || reason.is_some());
        }
    }
}

fn transaction(place: u8) -> Transaction {
    let place = usize::from(place);
    let mut transaction = Transaction::new(
        TransactionId::parse("t1").unwrap(),
        EventTime::from_unix([0, 1_780_000_000, -5, 1_900_000_000][place], 0).unwrap(),
        CardId::parse(["c1", "c2", "c3", "c4"][place]).unwrap(),
        Money {
            amount_minor: [0, 1_250, 1_000_000, -1][place],
            currency: Currency::parse(["EUR", "USD", "JPY", "KWD"][place]).unwrap(),
        },
        ["m1", "m2", "", "gift cards"][place].to_owned(),
    );
    if place < 2 {
        transaction.merchant_category_code = Some(4511);
        transaction.channel = Some(Channel::Ecommerce);
        transaction.ip_address = Some("10.1.2.3".to_owned());
        transaction.merchant_country = Some("FR".to_owned());
    }
    transaction
}

#[cfg(test)]
mod tests;
