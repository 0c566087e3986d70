//! What expressions mean, as tables.

use tollgate_types::{Cell, EventTime, Span, TextKey, builtin};

use super::{Values, lists, schema};
use crate::{Compiler, Type};

/// A transaction in which some fields are missing: `passengers`, `device_id`, `refundable` and `longitude`.
fn transaction() -> Values {
    let mut values = Values {
        cells: vec![Cell::MISSING; 20],
        texts: vec![None; 20],
    };
    // Sunday, 1 March 2026, 23:30:15 UTC.
    let time = EventTime::from_unix(1_772_407_815, 0).unwrap();
    let mut set = |slot: u16, cell| values.cells[usize::from(slot)] = cell;
    set(builtin::EVENT_TIME.0, Cell::time(time));
    set(builtin::AMOUNT.0, Cell::number(120.5));
    set(builtin::MERCHANT_CATEGORY_CODE.0, Cell::number(5411.0));
    set(16, Cell::time(time.plus(Span::from_days(2))));
    set(17, Cell::number(48.8566));
    for (slot, text) in [
        (builtin::MERCHANT_ID.0, "grocer-17"),
        (builtin::MERCHANT_COUNTRY.0, "FR"),
        (builtin::CARD_COUNTRY.0, "US"),
        (builtin::CHANNEL.0, "ecommerce"),
        (builtin::IP_ADDRESS.0, "::ffff:10.1.2.3"),
    ] {
        values.cells[usize::from(slot)] = Cell::text(TextKey::of(text));
        values.texts[usize::from(slot)] = Some(text.to_owned());
    }
    values
}

fn evaluate(source: &str) -> (Cell, Type) {
    let schema = schema();
    let (compiled, kind) = match Compiler::new(&schema, lists()).expression(source) {
        Ok(done) => done,
        Err(problems) => panic!("{source}: {problems:?}"),
    };
    (compiled.program.eval(&transaction()), kind)
}

/// What functions of texts, networks and times say.
const FUNCTIONS: &[(&str, Option<bool>)] = &[
    (
        "transaction.merchant_id.matches(\"^grocer-[0-9]+$\")",
        Some(true),
    ),
    ("transaction.merchant_id.matches(\"GROCER\")", Some(false)),
    (
        "transaction.merchant_id.matches(\"(?i)GROCER\")",
        Some(true),
    ),
    (
        "transaction.merchant_id.matches(\"r-\\\\d\\\\d$\")",
        Some(true),
    ),
    ("transaction.device_id.matches(\".+\")", None),
    (
        "cidr(\"10.0.0.0/8\").containsIP(transaction.ip_address)",
        Some(true),
    ),
    (
        "cidr('192.0.2.0/24').containsIP(transaction.ip_address)",
        Some(false),
    ),
    (
        "cidr(\"2001:db8::/32\").containsIP(transaction.ip_address)",
        Some(false),
    ),
    (
        "cidr(\"10.0.0.0/8\").containsIP(transaction.merchant_id)",
        None,
    ),
    (
        "cidr(\"10.0.0.0/8\").containsIP(transaction.device_id)",
        None,
    ),
    (
        "transaction.event_time > timestamp(\"2026-03-01T23:30:14.999Z\")",
        Some(true),
    ),
    (
        "transaction.event_time == timestamp(\"2026-03-02T00:30:15+01:00\")",
        Some(true),
    ),
    (
        "abs(transaction.event_time - transaction.departure_time) <= duration(\"2d\")",
        Some(true),
    ),
    (
        "min(duration(\"3d\"), transaction.departure_time - transaction.event_time) == duration(\"2d\")",
        Some(true),
    ),
    (
        "max(transaction.event_time, transaction.departure_time) == transaction.departure_time",
        Some(true),
    ),
];

/// Comparisons, membership and logic.
const CONDITIONS: &[(&str, Option<bool>)] = &[
    ("transaction.amount > 120", Some(true)),
    ("120 < transaction.amount", Some(true)),
    ("transaction.amount == 120.5", Some(true)),
    ("transaction.amount != 120.5", Some(false)),
    ("transaction.amount >= 500", Some(false)),
    ("transaction.passengers == 1", None),
    ("transaction.merchant_country == \"FR\"", Some(true)),
    ("\"FR\" != transaction.merchant_country", Some(false)),
    (
        "transaction.merchant_country != transaction.card_country",
        Some(true),
    ),
    ("transaction.device_id == transaction.card_id", None),
    (
        "transaction.merchant_country in [\"FR\", \"BE\"]",
        Some(true),
    ),
    ("transaction.merchant_country in ['US', 'BE']", Some(false)),
    ("transaction.device_id in [\"a\"]", None),
    (
        "transaction.merchant_category_code in [4511, 5411]",
        Some(true),
    ),
    ("transaction.latitude in [-120.5, 1e3]", Some(false)),
    ("transaction.refundable", None),
    ("has(transaction.refundable)", Some(false)),
    ("has(transaction.amount) && !has(model.score)", Some(true)),
    ("has( card.last(\"1d\").avg(amount) )", Some(false)),
    ("transaction.merchant_id.startsWith(\"grocer\")", Some(true)),
    ("transaction.merchant_id.endsWith(\"-1\")", Some(false)),
    ("transaction.merchant_id.contains(\"cer-\")", Some(true)),
    ("transaction.device_id.contains(\"\")", None),
    (
        "transaction.departure_time - transaction.event_time < duration(\"72h\")",
        Some(true),
    ),
    (
        "transaction.departure_time > transaction.event_time + duration(\"2d\")",
        Some(false),
    ),
    (
        "transaction.departure_time - duration(\"2d\") == transaction.event_time",
        Some(true),
    ),
    (
        "duration(\"1h\") + duration(\"30m\") == duration(\"90m\")",
        Some(true),
    ),
    (
        "duration(\"1h\") - duration(\"90m\") < duration(\"1s\")",
        Some(true),
    ),
];

#[test]
fn conditions_hold_do_not_hold_or_are_unknown() {
    for &(source, expected) in CONDITIONS.iter().chain(FUNCTIONS) {
        let expected = expected.map_or(Cell::MISSING, Cell::flag);
        assert_eq!(evaluate(source), (expected, Type::Flag), "{source}");
    }
}

#[test]
fn numbers_come_out_as_computed() {
    let table = [
        ("1 + 2 * 3", Some(7.0)),
        ("(1 + 2) * 3", Some(9.0)),
        ("7 % 4 - 10 / 4", Some(0.5)),
        ("-(2 + 3)", Some(-5.0)),
        ("10 - -5", Some(15.0)),
        ("10 -5", Some(5.0)),
        ("--5", Some(5.0)),
        ("transaction.amount / (transaction.amount - 120.5)", None),
        ("transaction.amount % (1 - 1)", None),
        ("transaction.amount + transaction.passengers", None),
        ("1e308 * 10", None),
        ("abs(-2.5)", Some(2.5)),
        ("round(2.5)", Some(3.0)),
        ("round(-2.5)", Some(-3.0)),
        ("min(3, transaction.amount)", Some(3.0)),
        ("max(3, transaction.amount)", Some(120.5)),
        ("max(3, transaction.passengers)", None),
        ("size(transaction.merchant_id)", Some(9.0)),
        ("size(transaction.device_id)", None),
        ("transaction.amount > 100 ? 1 : 2", Some(1.0)),
        (
            "transaction.amount > 200 ? 1 : transaction.amount > 100 ? 2 : 3",
            Some(2.0),
        ),
        ("transaction.event_time.getHours()", Some(23.0)),
        (
            "transaction.event_time.getHours(\"Europe/Paris\")",
            Some(0.0),
        ),
        ("transaction.event_time.getDayOfWeek(\"UTC\")", Some(0.0)),
        (
            "transaction.event_time.getDayOfWeek(\"Asia/Tokyo\")",
            Some(1.0),
        ),
        (
            "transaction.event_time.getDayOfMonth() + transaction.event_time.getDate()",
            Some(1.0),
        ),
        ("transaction.event_time.getMonth()", Some(2.0)),
        (
            "(transaction.departure_time - transaction.event_time).getHours()",
            Some(48.0),
        ),
        ("duration(\"90s\").getMinutes()", Some(1.0)),
        (
            "round(distance_km(transaction.latitude, 2.3522, 40.7128, -74.006))",
            Some(5837.0),
        ),
        (
            "distance_km(transaction.latitude, transaction.longitude, 40.7128, -74.006)",
            None,
        ),
        (
            "distance_km(transaction.latitude * 2, 2.3522, 40.7128, -74.006)",
            None,
        ),
    ];
    for (source, expected) in table {
        let expected = expected.map_or(Cell::MISSING, Cell::number);
        assert_eq!(evaluate(source), (expected, Type::Number), "{source}");
    }
}

#[test]
fn texts_and_moments_can_be_results() {
    let fr = Cell::text(TextKey::of("FR"));
    assert_eq!(evaluate("transaction.merchant_country"), (fr, Type::Text));
    assert_eq!(
        evaluate("transaction.amount > 1 ? \"FR\" : \"US\""),
        (fr, Type::Text)
    );
    let two_days = Cell::span(Span::from_days(2));
    let difference = "transaction.departure_time - transaction.event_time";
    assert_eq!(evaluate(difference), (two_days, Type::Duration));
    let before = "transaction.event_time - duration(\"1s\")";
    let cell = Cell::time(EventTime::from_unix(1_772_407_814, 0).unwrap());
    assert_eq!(evaluate(before), (cell, Type::Time));
}

#[test]
fn escapes_are_read() {
    let source = "transaction.merchant_id == \"a\\\"b\\\\\" || true";
    assert_eq!(evaluate(source).0, Cell::flag(true));
}

#[test]
fn a_missing_condition_does_not_fire() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let unknown = compiler.condition("transaction.passengers > 0").unwrap();
    let known = compiler.condition("transaction.amount > 0").unwrap();
    assert!(!unknown.program.is_true(&transaction()));
    assert!(known.program.is_true(&transaction()));
}
