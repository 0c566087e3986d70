//! `tollgate features`: one history in every format gives one table, and what cannot be read is named.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;
mod histories;

use std::path::PathBuf;
use std::process::{Command, Output};

use common::{POLICY, write_policy};
use histories::{csv, jsonl, rows, write_parquet};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

/// A policy, and a folder to run the command in.
struct Place {
    policy: tempfile::TempDir,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            policy: write_policy(&POLICY),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `tollgate features --history <history> --out <table> <arguments>`, in this folder.
    fn features(&self, history: &str, table: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .current_dir(self.folder.path())
            .args(["features", "--history", history, "--out", table])
            .args(arguments)
            .arg("--policy")
            .arg(self.policy.path())
            .output()
            .unwrap()
    }

    fn succeed(&self, history: &str, table: &str, arguments: &[&str]) -> String {
        let output = self.features(history, table, arguments);
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        text
    }

    /// What is said when it fails, which leaves no table.
    #[track_caller]
    fn fail(&self, history: &str, arguments: &[&str]) -> String {
        let output = self.features(history, "none.csv", arguments);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(!self.path("none.csv").exists() && !self.path("none.csv.part").exists());
        text
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn one_history_gives_one_table_in_whatever_format() {
    let place = Place::new();
    let rows = rows();
    let csv = csv(&rows);
    place.write("history.csv", &csv);
    place.write(
        "history.csv.zst",
        zstd::encode_all(csv.as_bytes(), 1).unwrap(),
    );
    place.write(
        "packed.data.zst",
        zstd::encode_all(jsonl(&rows).as_bytes(), 1).unwrap(),
    );
    place.write("history.jsonl", jsonl(&rows));
    write_parquet(&rows, &place.path("history.parquet"));
    place.write("unit.yaml", "event_time_unit: s\n");

    let within = ["--labels-within", "1d"];
    let said = place.succeed("history.csv", "expected.csv", &within);
    assert!(said.contains("columns not used: note"), "{said}");
    assert!(
        said.contains("7 rows are earlier than a row before them"),
        "{said}"
    );
    let expected = place.read("expected.csv");
    assert_eq!(expected.lines().count(), 701);
    let last_cells: Vec<&str> = expected
        .lines()
        .filter_map(|line| line.rsplit(',').next())
        .collect();
    for cell in ["0", "1", ""] {
        assert!(
            last_cells.contains(&cell),
            "no row whose outcome is {cell:?}"
        );
    }
    for (history, more) in [
        ("history.csv", vec!["--threads", "1"]),
        ("history.csv.zst", vec![]),
        ("history.jsonl", vec![]),
        ("packed.data.zst", vec!["--format", "jsonl"]),
        ("history.parquet", vec!["--columns", "unit.yaml"]),
    ] {
        place.succeed(history, "table.csv", &[&within[..], &more].concat());
        assert!(
            place.read("table.csv") == expected,
            "{history} gives another table"
        );
    }
}

#[test]
fn tables_are_written_in_every_form_at_once() {
    let place = Place::new();
    place.write("history.csv", csv(&rows()));
    let outs = ["--out", "table.csv.zst", "--out", "table.parquet"];
    place.succeed(
        "history.csv",
        "table.csv",
        &[&outs[..], &["--label-times"]].concat(),
    );
    let expected = place.read("table.csv");
    let packed = std::fs::read(place.path("table.csv.zst")).unwrap();
    assert_eq!(zstd::decode_all(&packed[..]).unwrap(), expected.as_bytes());
    let file = std::fs::File::open(place.path("table.parquet")).unwrap();
    let file = SerializedFileReader::new(file).unwrap();
    let rows = file.get_row_iter(None).unwrap();
    let lines: Vec<String> = rows.map(|row| line_of(&row.unwrap())).collect();
    assert_eq!(lines, expected.lines().skip(1).collect::<Vec<_>>());
    let names = file.metadata().file_metadata().schema_descr().columns();
    let names: Vec<&str> = names.iter().map(|column| column.name()).collect();
    assert_eq!(names.join(","), expected.lines().next().unwrap());
    for table in ["table.csv", "table.csv.zst", "table.parquet"] {
        assert!(
            place
                .read(&format!("{table}.definitions.json"))
                .contains("card_sum")
        );
    }
}

#[test]
fn when_fraud_became_known_is_one_more_column_whatever_the_format() {
    let place = Place::new();
    place.write("history.csv", csv(&rows()));
    place.write("history.jsonl", jsonl(&rows()));
    place.succeed("history.csv", "without.csv", &[]);
    for history in ["history.csv", "history.jsonl"] {
        place.succeed(history, "with.csv", &["--label-times"]);
        let with = place.read("with.csv");
        let header = with.lines().next().unwrap();
        assert!(header.ends_with(",fraud,fraud_known_at"), "{header}");
        let rows = with.lines().map(|line| line.rsplit_once(',').unwrap());
        let (table, times): (Vec<_>, Vec<_>) = rows.unzip();
        assert_eq!(
            table,
            place.read("without.csv").lines().collect::<Vec<_>>(),
            "{history}"
        );
        for (row, known_at) in table.iter().zip(times).skip(1) {
            let event_time = row.split(',').nth(1).unwrap();
            match row.rsplit(',').next().unwrap() {
                // Both are written alike, so their texts are in the order of time.
                "1" => assert!(known_at > event_time, "{row},{known_at}"),
                "0" => assert!(known_at.is_empty() || known_at > event_time),
                _ => assert_eq!(known_at, "", "nothing is known of {row}"),
            }
        }
    }
}

/// A row of a Parquet table as CSV has it.
fn line_of(row: &parquet::record::Row) -> String {
    let cell = |field: &Field| match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Double(number) => number.to_string(),
        Field::Byte(number) => number.to_string(),
        Field::TimestampMicros(micros) => {
            tollgate_types::EventTime::from_micros(*micros).to_string()
        }
        other => panic!("{other:?} in a feature table"),
    };
    let cells: Vec<String> = row
        .get_column_iter()
        .map(|(_, field)| cell(field))
        .collect();
    cells.join(",")
}

const HEADER: &str = "transaction_id,event_time,card_id,amount,currency,merchant_id\n";

fn good(id: &str) -> String {
    format!("{id},2026-01-01 10:00:00,card-1,10.00,EUR,m1\n")
}

#[test]
fn a_bad_row_ends_the_run_with_its_place_and_what_to_write() {
    for (row, expected) in [
        (
            "t2,2026-01-01,card-1,ten,EUR,m1",
            ":3: column amount is not an amount; expected digits with a point",
        ),
        (
            "t2,2026-01-01,card-1,1.005,EUR,m1",
            ":3: column amount has more decimals than its currency, which has 2",
        ),
        (
            "t2,2026-01-01,card-1,-1,EUR,m1",
            ":3: column amount is negative",
        ),
        (
            "t2,yesterday,card-1,1,EUR,m1",
            ":3: column event_time is not a time; expected 2026-",
        ),
        (
            "t2,1767225600,card-1,1,EUR,m1",
            ":3: column event_time is a whole number; write `event_time_unit: s`",
        ),
        (
            "t2,2999-01-01 00:00:00,card-1,1,EUR,m1",
            ":3: column event_time is more than 5m ahead of the clock",
        ),
        (
            ",2026-01-01,card-1,1,EUR,m1",
            ":3: column transaction_id is empty",
        ),
        (
            "t2,2026-01-01,4111111111111111,1,EUR,m1",
            ":3: column card_id is a card number; expected a token",
        ),
        (
            "t2,2026-01-01,card-1,1,EURO,m1",
            ":3: column currency is not an ISO 4217 currency code",
        ),
        (
            "t2,2026-01-01,card-1,1,EUR,",
            ":3: column merchant_id is empty",
        ),
        ("t2,2026-01-01,card-1,1,EUR", ":3: has 5 cells; expected 6"),
    ] {
        let place = Place::new();
        place.write(
            "history.csv",
            format!("{HEADER}{}{row}\n{}", good("t1"), good("t3")),
        );
        let said = place.fail("history.csv", &[]);
        assert!(
            said.contains(&format!("error: history.csv{expected}")),
            "{row}: {said}"
        );
        assert!(said.contains("--skip-bad-rows"), "{said}");
        assert!(!said.contains("4111"), "{said}");

        let said = place.succeed("history.csv", "table.csv", &["--skip-bad-rows", "1"]);
        assert!(
            said.contains(&format!("1 bad row was left out:\n  history.csv{expected}")),
            "{said}"
        );
        let ids: Vec<String> = place
            .read("table.csv")
            .lines()
            .map(|line| line[..2].to_owned())
            .collect();
        assert_eq!(ids, ["tr", "t1", "t3"], "{row}");
    }
}

#[test]
fn bad_lines_of_json_and_bad_attributes_are_named() {
    let place = Place::new();
    place.write("history.jsonl", "{\"transaction\": {}}\n");
    let said = place.fail("history.jsonl", &[]);
    assert!(
        said.contains("history.jsonl:1: transaction: is missing"),
        "{said}"
    );
    place.write("history.jsonl", "{\"label\": {}}\nnonsense\n");
    let said = place.fail("history.jsonl", &["--skip-bad-rows", "1"]);
    assert!(said.contains("more than 1 bad rows"), "{said}");
    assert!(
        said.contains("history.jsonl:2: expected {\"transaction\": …}"),
        "{said}"
    );

    let header = HEADER.replace('\n', ",product,passengers\n");
    for (cells, expected) in [
        ("boat,1", ":2: column product must be one of flight, hotel"),
        ("hotel,two", ":2: column passengers is not a number"),
        ("hotel,NaN", ":2: column passengers must be a finite number"),
    ] {
        place.write(
            "history.csv",
            format!("{header}{},{cells}\n", good("t1").trim_end()),
        );
        let said = place.fail("history.csv", &[]);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_transaction_again_and_the_end_of_the_history_are_noticed() {
    let place = Place::new();
    let later = "t3,2026-03-01 10:00:00,card-1,10.00,EUR,m1\n";
    place.write(
        "history.csv",
        [HEADER, &good("t1"), &good("t1"), &good("t2"), later].concat(),
    );
    let said = place.succeed("history.csv", "table.csv", &[]);
    assert!(said.contains("1 rows repeat a transaction"), "{said}");
    // Nothing says which were fraud, but the first two are old enough to be settled.
    let table = place.read("table.csv");
    let rows: Vec<&str> = table.lines().skip(1).collect();
    assert_eq!(rows.len(), 3);
    for (row, end) in rows.iter().zip([",1,10,0,,0", ",2,20,0,,0", ",1,10,0,,"]) {
        assert!(row.ends_with(end), "{table}");
    }
}

#[test]
fn columns_can_be_called_anything_and_constants_fill_what_is_missing() {
    let place = Place::new();
    place.write(
        "history.csv",
        "ID,WHEN,CUSTOMER,EUROS,BAD\n7,1767261600,596,57.16,1\n8,1767261601,596,1.5,0\n",
    );
    place.write(
        "columns.yaml",
        "columns: {transaction_id: ID, event_time: WHEN, card_id: CUSTOMER, amount: EUROS, fraud: BAD}\n\
         constants: {currency: EUR, merchant_id: none, terminal_id: x}\n\
         prefixes: {card_id: card-}\nfraud_known_after: 1s\nevent_time_unit: s\n",
    );
    place.succeed("history.csv", "table.csv", &["--columns", "columns.yaml"]);
    assert_eq!(
        place.read("table.csv").lines().skip(1).collect::<Vec<_>>(),
        [
            "7,2026-01-01T10:00:00Z,card-596,57.16,1,57.16,0,0,1",
            "8,2026-01-01T10:00:01Z,card-596,1.5,2,58.66,0,0.5,0"
        ]
    );
}

#[test]
fn mistakes_in_a_mapping_are_shown_all_at_once_with_a_caret() {
    let place = Place::new();
    place.write("history.csv", format!("{HEADER}{}", good("t1")));
    place.write(
        "columns.yaml",
        "columns:\n  card: x\n  amount: amount\n  amount_minor: cents\nconstants:\n  channel: shop\n  \
         passengers: 2\n  amont: 3\nprefixes: {currency: E}\nfraud_known_after: 7\nevent_time_unit: sec\ncolums: {}\n",
    );
    let said = place.fail("history.csv", &["--columns", "columns.yaml"]);
    for expected in [
        "a transaction has no field `card`\n --> columns.yaml:2:3",
        "an amount has one column, in major or in minor units\n --> columns.yaml:4:17",
        "this constant is unknown; expected CARD_PRESENT, ECOMMERCE",
        "\n --> columns.yaml:6:12",
        "did you mean `amount`?",
        "`currency` is no free text and cannot have a prefix",
        "`7` is not a length of time",
        "`sec` is not a unit of time",
        "a column mapping has no key `colums`",
        "did you mean `columns`?",
        "^",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }

    place.write("columns.yaml", "columns: {card_id: card_idd}\n");
    let said = place.fail("history.csv", &["--columns", "columns.yaml"]);
    assert!(
        said.contains("the history has no column `card_idd`\n --> columns.yaml:1:20"),
        "{said}"
    );
    assert!(said.contains("did you mean `card_id`?"), "{said}");
}

#[test]
fn what_the_command_cannot_start_with_is_said_at_once() {
    let place = Place::new();
    place.write("history.csv", HEADER.replace("card_id", "cardid"));
    let said = place.fail("history.csv", &[]);
    assert!(
        said.contains("has no column `card_id` (is it `cardid`?); say with --columns"),
        "{said}"
    );

    place.write("history.csv", HEADER.replace('\n', ",fraud\n"));
    let said = place.fail("history.csv", &[]);
    assert!(said.contains("`fraud_known_after: 7d`"), "{said}");

    place.write("history.csv", HEADER);
    let said = place.fail("history.csv", &[]);
    assert!(said.contains("the history has no transactions"), "{said}");
    place.write("history.csv", "");
    assert!(
        place
            .fail("history.csv", &[])
            .contains("the file is empty; expected a first line")
    );

    place.write("history.csv", format!("{HEADER}{}", good("t1")));
    place.write("history.parquet", HEADER);
    assert!(
        place
            .fail("history.parquet", &[])
            .contains("the file is not Parquet")
    );
    assert!(
        place
            .fail("history.txt", &[])
            .contains("add --format jsonl, csv or parquet")
    );
    assert!(place.fail("history.parquet.zst", &[]).contains("unpack it"));
    assert!(
        place
            .fail("history.csv", &["--out", "table.xlsx"])
            .contains("end it in .csv, .csv.zst or .parquet")
    );
    assert!(
        place
            .fail("history.csv", &["--out", "none.csv"])
            .contains("given twice")
    );
    place.write("history.jsonl", "");
    let said = place.fail("history.jsonl", &["--columns", "columns.yaml"]);
    assert!(said.contains("JSON lines have no columns to map"), "{said}");
}
