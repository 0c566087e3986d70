//! What list files may hold, and what is said about those that hold something else.

use tollgate_types::{Cell, TextKey};

use super::*;

fn read_all(text: &str) -> (Option<List>, String) {
    let mut notes = Diagnostics::default();
    let file = SourceFile::new("lists/blocked.csv", text);
    let list = read("blocked", &file, &mut notes).map(|list| list.settle(&[], &mut notes));
    (list, notes.render())
}

#[track_caller]
fn good(text: &str) -> List {
    let (list, notes) = read_all(text);
    assert_eq!(notes, "");
    list.unwrap()
}

#[test]
fn values_expire_and_notes_are_for_people() {
    let list = good(
        "value,expires_at,note\nm1,1970-01-01T00:00:01Z,\"why, oh why\"\n m2 ,,\nm3\n\nm4,1970-01-01T02:00:00+02:00\n",
    );
    assert_eq!((list.kind(), list.len()), (ListKind::Text, 4));
    let listed = |value: &str, micros| {
        let cell = Cell::text(TextKey::of(value));
        list.has(cell, Some(value), EventTime::from_micros(micros)) == Some(true)
    };
    assert!(listed("m1", 999_999) && !listed("m1", 1_000_000));
    assert!(listed("m2", 1) && listed("m3", 1));
    assert!(listed("m4", -1) && !listed("m4", 0));
}

#[test]
fn a_list_of_numbers_only_is_a_list_of_numbers() {
    assert_eq!(good("value\n4511\n7995\n").kind(), ListKind::Number);
    assert_eq!(good("value\n-1.5\n0\n0.25\n").kind(), ListKind::Number);
    assert_eq!(good("value:text\n4511\n7995\n").kind(), ListKind::Text);
    for text in [
        "value\n4511\nm1\n",
        "value\n007\n",
        "value\n1e5\n",
        "value\n",
        "value\n1.\n",
    ] {
        assert_eq!(good(text).kind(), ListKind::Text, "{text}");
    }
}

#[test]
fn a_card_number_is_refused_and_never_shown() {
    let lines = [
        "4111111111111111,,",
        "tok_1,,4111 1111 1111 1111",
        "tok_1,5555-5555-5555-4444,",
        "tok_1,soon,it was 4111111111111111 until May",
    ];
    for line in lines {
        let (_, notes) = read_all(&format!("value,expires_at,note\n{line}\n"));
        let expected = "\
error: this line has a card number
 --> lists/blocked.csv:2:1
  = help: write the token that stands for the card; the line is not shown here";
        assert_eq!(notes, expected, "{line}");
    }
    let (_, notes) = read_all("4111111111111111,x\n5555555555554444,y\n");
    assert!(
        notes.contains("blocked.csv:1:1") && !notes.contains("1111"),
        "{notes}"
    );
}

#[test]
fn of_many_mistakes_the_first_are_shown() {
    let text = format!("value,expires_at\n{}", "m1,soon\n".repeat(1000));
    let (_, notes) = read_all(&text);
    assert_eq!(
        notes.matches("`soon` is not a date or a time").count(),
        NOTES_MAX
    );
    assert!(
        notes.contains("the list has more mistakes than the 20 shown"),
        "{notes}"
    );
}

#[test]
fn many_warnings_do_not_refuse_a_list() {
    let mut notes = Diagnostics::default();
    let text = format!("value\n{}", "m1\n".repeat(1000));
    let file = SourceFile::new("lists/blocked.csv", text);
    let list = read("blocked", &file, &mut notes).unwrap();
    let list = list.settle(&[], &mut notes);
    assert_eq!((list.len(), notes.len()), (1, NOTES_MAX + 1));
    assert!(!notes.has_errors(), "{notes}");
    assert!(
        notes
            .render()
            .contains("has more warnings than the 20 shown")
    );
}

#[test]
fn of_two_entries_the_later_expiry_counts() {
    for times in ["1970-01-02\nm1,1970-01-03", "1970-01-03\nm1,1970-01-02"] {
        let (list, _) = read_all(&format!("value,expires_at\nm1,{times}\n"));
        let at = |day: i64| {
            let cell = Cell::text(TextKey::of("m1"));
            let time = EventTime::from_micros(day * 86_400_000_000);
            list.as_ref().unwrap().has(cell, None, time).unwrap()
        };
        assert_eq!((at(1), at(2)), (true, false), "{times}");
    }
}

#[test]
fn the_header_says_what_values_are() {
    for (text, kind, count) in [
        ("value:text\n4511\n", ListKind::Text, 1),
        ("value:number\n", ListKind::Number, 0),
        ("value:card,note\ncard-1,\n4821,\n", ListKind::Card, 2),
        (
            "value:network\n10.0.0.0/8\n10.0.0.0/9\n::1\n",
            ListKind::Network,
            3,
        ),
    ] {
        let list = good(text);
        assert_eq!((list.kind(), list.len()), (kind, count), "{text}");
    }
}

#[test]
fn a_list_has_at_most_a_million_values() {
    let lines: String = (0..=ENTRIES_MAX).map(|at| format!("m{at}\n")).collect();
    let (_, notes) = read_all(&format!("value\n{lines}"));
    assert!(
        notes.starts_with("error: the list has more than 1000000 values"),
        "{notes}"
    );
    assert!(notes.contains(":1000002:1"), "{notes}");
}

/// Found by fuzzing: an old Mac's line ends are line ends to the reader, but not to who shows a line.
#[test]
fn a_mistake_does_not_show_a_card_number_behind_a_carriage_return() {
    for text in [
        "vlaue\r4111111111111111\n",
        "value,expires_at\rm1,soon\r4111 1111 1111 1111\n",
        "value\rm1\rm1\r4111-1111-1111-1111",
    ] {
        let (_, notes) = read_all(text);
        assert!(notes.contains("lists/blocked.csv:1:"), "{notes}");
        assert!(!notes.contains("4111"), "{notes}");
    }
}

#[test]
fn a_line_without_end_is_refused_before_it_is_looked_through() {
    // Each number may be the beginning of a card number.
    let text = format!("value\n{}\nm1\n", "1 ".repeat(4 << 20));
    let (list, notes) = read_all(&text);
    assert_eq!(list.unwrap().len(), 1);
    let expected = "error: this line has more than 8192 bytes\n --> lists/blocked.csv:2:1\n  \
                    = help: shorten its note, or begin a new line for each value";
    assert_eq!(notes, expected);
    let (_, notes) = read_all(&format!("value\n\"m1\n{}", "1 ".repeat(4 << 20)));
    assert!(
        notes.starts_with("error: a quote that opens on this line"),
        "{notes}"
    );
    let (list, _) = read_all(&format!("value,{}\nm1\n", "1 ".repeat(4 << 20)));
    assert!(list.unwrap().is_empty());
}
