//! The engine against the plainest reference there is: one store, one row after the other.

use std::collections::HashSet;
use std::fmt::Write as _;

use tollgate_types::{CardId, Currency, Label, Money, Transaction, TransactionId, TransactionKey};

use super::*;
use crate::cli::features::table::Tables;

const POLICY: [(&str, &str); 4] = [
    (
        "schema.yaml",
        "entities:\n  card: {key: card_id, retain: [amount, merchant_id], retention: 3d}\n  \
         terminal: {key: terminal_id, retain: [amount], retention: 3d}\n",
    ),
    ("fx.yaml", "base: EUR\n"),
    (
        "features.yaml",
        "count: card.last(\"1d\").count()\n\
         average: card.last(\"2d\").avg(amount)\n\
         merchants: card.last(\"1d\").distinct(merchant_id)\n\
         last: card.last(\"2d\").last(amount)\n\
         since: card.last(\"2d\").since_last()\n\
         declined: card.last(\"1d\").where(declined).count()\n\
         terminal_count: terminal.last(\"1h\").count()\n\
         terminal_last: terminal.last(\"1d\").last(amount)\n\
         risk: terminal.last(\"1d\").rate(fraud)\n\
         late_risk: terminal.last(\"1d\").delayed(\"1h\").rate(fraud)\n",
    ),
    (
        "fallback.yaml",
        "cases: []\notherwise: {then: approve}\nstatic: {then: approve}\n",
    ),
];

/// A generator of numbers that depend on nothing but the seed (Vigna's SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % end
    }

    fn is_one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

/// An entity that moves in steps, and a feature over it.
const STEPS: [(&str, &str); 2] = [
    (
        "schema.yaml",
        "  merchant: {key: merchant_id, retain: [amount], retention: 3d, resolution: 10m}\n",
    ),
    (
        "features.yaml",
        "merchant_sum: merchant.last(\"1h\").sum(amount)\n",
    ),
];

/// The policy, with more lines in some files.
fn logic(more: &[(&str, &str)]) -> Logic {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    std::fs::write(rules.join("none.yaml"), "rules: []\n").unwrap();
    for (name, text) in POLICY {
        let more = more.iter().find(|(file, _)| *file == name);
        let text = text.to_owned() + more.map_or("", |(_, more)| more);
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    match tollgate_rules::load(folder.path()) {
        Ok((logic, _)) => logic,
        Err(errors) => panic!("{}", errors.render()),
    }
}

fn seconds(seconds: u64) -> EventTime {
    EventTime::from_micros(i64::try_from(seconds).unwrap() * 1_000_000)
}

/// Rows of a few cards and terminals, many of which tie; one in `disorder` is late, is there twice, or has a label
/// that is there twice.
fn parts(seed: u64, disorder: u64) -> Vec<Part> {
    let dice = &mut Dice(seed);
    let mut now = 1_000_000;
    let mut parts = Vec::new();
    let mut id = 0;
    for _ in 0..4 {
        let mut part = Part::default();
        for _ in 0..700 {
            now += dice.below(3) * dice.below(200);
            id += u64::from(!dice.is_one_in(disorder));
            let is_late = dice.is_one_in(disorder);
            let at = seconds(now - if is_late { dice.below(80_000) } else { 0 });
            part.rows.push(row(dice, id, at));
            if dice.is_one_in(20) {
                let known_at = seconds(now - 50 + dice.below(10_000));
                part.labels
                    .push((part.rows.len(), label(dice.below(id + 3), dice, known_at)));
            }
        }
        parts.push(part);
    }
    parts
}

fn row(dice: &mut Dice, id: u64, at: EventTime) -> Row {
    let mut transaction = Transaction::new(
        TransactionId::parse(&format!("t{id}")).unwrap(),
        at,
        CardId::parse(&format!("card-{}", dice.below(9))).unwrap(),
        Money {
            amount_minor: i64::try_from(dice.below(10_000)).unwrap(),
            currency: Currency::parse("EUR").unwrap(),
        },
        format!("merchant-{}", dice.below(4)),
    );
    let has_terminal = !dice.is_one_in(10);
    transaction.terminal_id = has_terminal.then(|| format!("terminal-{}", dice.below(5)));
    let has_label = dice.is_one_in(3);
    let known_at =
        EventTime::from_micros(at.micros() + 1_000 * i64::try_from(dice.below(9_000_000)).unwrap());
    Row {
        key: TransactionKey::of(&transaction.id),
        authorized: !dice.is_one_in(8),
        label: has_label.then(|| label(id, dice, known_at)),
        transaction,
    }
}

fn label(id: u64, dice: &mut Dice, known_at: EventTime) -> Label {
    Label {
        transaction_id: TransactionId::parse(&format!("t{id}")).unwrap(),
        fraud: dice.is_one_in(2),
        known_at,
    }
}

/// Lines of the table, of a transaction only the first, computed by one thread, one row after the other.
fn reference(logic: &Logic, parts: &[Part]) -> Vec<String> {
    let store = Store::new(Arc::clone(&logic.schema));
    let plan = ReadPlan::new(&logic.schema, &logic.layout);
    let (mut lines, mut latest) = (Vec::new(), EventTime::MIN);
    for part in parts {
        let mut labels = part.labels.iter().peekable();
        for (at, row) in part.rows.iter().enumerate() {
            while let Some((_, label)) = labels.next_if(|(before, _)| *before <= at) {
                store.label(label);
            }
            latest = latest.max(row.transaction.event_time);
            let record = convert::record(&row.transaction, logic).unwrap();
            let applied = store.apply(
                &record,
                Origin::Log {
                    authorized: row.authorized,
                },
            );
            if is_repeat(applied) {
                continue;
            }
            if let Some(label) = &row.label {
                store.label(label);
            }
            let mut frame = Frame::new(&logic.layout, &record);
            let _ = store.read(&plan, &record, &mut frame);
            frame.evaluate_features(&logic.layout);
            let transaction = &row.transaction;
            let mut line = format!(
                "{},{},{}",
                transaction.id.as_str(),
                transaction.event_time,
                transaction.card_id.as_str()
            );
            for feature in &logic.layout.features {
                let value = feature_number(feature.kind, frame.cell(feature.slot));
                let value = value.map(|value| value.to_string()).unwrap_or_default();
                write!(line, ",{value}").unwrap();
            }
            let fraud = row
                .label
                .as_ref()
                .map(|label| u8::from(label.fraud).to_string());
            writeln!(line, ",{}", fraud.unwrap_or_default()).unwrap();
            lines.push(line);
        }
        for (_, label) in labels {
            store.label(label);
        }
        store.advance_watermark(latest);
    }
    lines
}

/// Transactions that labels on lines of their own speak of more than once, or that have a label in their row too.
fn relabelled(parts: &[Part]) -> HashSet<TransactionKey> {
    let own = parts
        .iter()
        .flat_map(|part| part.rows.iter().filter_map(|row| row.label.as_ref()));
    let lines = parts
        .iter()
        .flat_map(|part| part.labels.iter().map(|(_, label)| label));
    let mut seen = HashSet::new();
    let keys = own
        .chain(lines)
        .map(|label| TransactionKey::of(&label.transaction_id));
    keys.filter(|key| !seen.insert(*key)).collect()
}

fn table(
    logic: &Logic,
    parts: &[Part],
    threads: usize,
    segment_rows_min: usize,
) -> (String, Found) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("table.csv");
    let names: Vec<&str> = logic
        .layout
        .features
        .iter()
        .map(|feature| feature.name.as_str())
        .collect();
    let tables = Tables::create(&[out], &names, false).unwrap();
    let mut outcomes = Outcomes::of_rows(Span::from_days(1));
    outcomes.relabelled = relabelled(parts);
    let mut engine = Engine::new(logic, outcomes, tables.forms(), threads, 100_000);
    // Only down to what the engine allows itself.
    if engine.segment_rows_min < usize::MAX {
        engine.segment_rows_min = segment_rows_min;
    }
    let mut text = String::new();
    for part in parts {
        for block in engine.part(part).unwrap() {
            text.push_str(block.text().unwrap());
        }
    }
    (text, engine.found())
}

#[test]
fn rows_applied_together_get_what_each_gets_by_itself() {
    check(&logic(&[]));
}

#[test]
fn entities_that_move_in_steps_are_read_row_by_row() {
    check(&logic(&STEPS));
}

fn check(logic: &Logic) {
    for (seed, disorder) in [(1, 10_000), (2, 700), (3, 100), (4, 10), (5, 3)] {
        let parts = parts(seed, disorder);
        let expected = reference(logic, &parts);
        for (threads, segment_rows_min) in [(1, 1), (3, 1), (8, 100), (2, usize::MAX)] {
            let (text, found) = table(logic, &parts, threads, segment_rows_min);
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let context = format!("seed {seed}, {threads} threads, from {segment_rows_min} rows");
            assert_eq!(lines.len(), expected.len(), "{context}");
            for (at, line) in lines.iter().enumerate() {
                assert_eq!(*line, expected[at], "row {at}, {context}");
            }
            assert_eq!(found.rows + found.repeated, 2_800, "{context}");
            assert!(
                disorder > 700 || found.out_of_order > 0 && found.repeated > 0,
                "{context}"
            );
        }
    }
}
