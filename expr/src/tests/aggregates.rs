//! What aggregates, lookups and features become: entries of the layout, each with one slot.

use tollgate_types::{Cell, ColumnId, Entity, EntityId, FieldId, Span, builtin};

use super::{Values, lists, schema};
use crate::{Aggregate, Compiler, Function, Layout, Program, SlotId, Type};

const CARD: EntityId = EntityId(0);
const TERMINAL: EntityId = EntityId(1);
const AMOUNT: ColumnId = ColumnId(3);
const COUNTRY: ColumnId = ColumnId(4);

fn layout(sources: &[&str]) -> Layout {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    for source in sources {
        if let Err(problems) = compiler.expression(source) {
            panic!("{source}: {problems:?}");
        }
    }
    compiler.finish()
}

/// Window, form, function and type of the result.
const FORMS: [(&str, &str, Function, Type); 14] = [
    ("10m", "count()", Function::Count, Type::Number),
    ("24h", "sum(amount)", Function::Sum(AMOUNT), Type::Number),
    (
        "30d",
        "avg(amount)",
        Function::Average(AMOUNT),
        Type::Number,
    ),
    ("1h30m", "min(amount)", Function::Min(AMOUNT), Type::Number),
    ("1h", "max(amount)", Function::Max(AMOUNT), Type::Number),
    (
        "1h",
        "max(event_time)",
        Function::Max(Entity::EVENT_TIME),
        Type::Time,
    ),
    (
        "250ms",
        "stddev(amount)",
        Function::Stddev(AMOUNT),
        Type::Number,
    ),
    (
        "7d",
        "distinct(merchant_country)",
        Function::Distinct(COUNTRY),
        Type::Number,
    ),
    (
        "1d",
        "rate(declined)",
        Function::Rate(Entity::DECLINED),
        Type::Number,
    ),
    (
        "1d",
        "last(merchant_country)",
        Function::Last(COUNTRY),
        Type::Text,
    ),
    ("1d", "last(amount)", Function::Last(AMOUNT), Type::Number),
    (
        "1d",
        "last(fraud)",
        Function::Last(Entity::FRAUD),
        Type::Flag,
    ),
    ("1d", "since_last()", Function::SinceLast, Type::Duration),
    ("30d", "first_seen()", Function::FirstSeen, Type::Time),
];

#[test]
fn each_form_becomes_its_aggregate() {
    for (window, form, function, kind) in FORMS {
        let source = format!("card.last(\"{window}\").{form}");
        let window = Span::parse(window).unwrap();
        let aggregate = Aggregate {
            entity: CARD,
            window,
            delay: Span::ZERO,
            filter: None,
            function,
        };
        expect_aggregate(&source, aggregate, kind);
    }
    let delayed = Aggregate {
        entity: TERMINAL,
        window: Span::from_days(30),
        delay: Span::from_days(7),
        filter: None,
        function: Function::Rate(Entity::FRAUD),
    };
    let source = "terminal.last(\"30d\").delayed(\"7d\").rate(fraud)";
    expect_aggregate(source, delayed, Type::Number);
}

fn expect_aggregate(source: &str, aggregate: Aggregate, kind: Type) {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let (compiled, found) = compiler.expression(source).unwrap();
    let slot = SlotId(20);
    assert_eq!(compiled.program.slot(), Some(slot), "{source}");
    assert_eq!(
        (found, compiler.finish().aggregates),
        (kind, vec![(aggregate, slot)]),
        "{source}"
    );
}

#[test]
fn slots_are_fields_then_the_score_then_inputs_in_order_of_first_use() {
    let layout = layout(&[
        "card.last(\"1h\").count() > 1 && transaction.merchant_id in lists.blocked_merchants",
        "card.last(\"60m\").count() > 5 && card.last(\"1h\").sum(amount) > model.score",
        "transaction.merchant_id in lists.blocked_merchants || transaction.amount > 5",
    ]);
    assert_eq!(
        (layout.fields, layout.score, layout.slots),
        (19, SlotId(19), 23)
    );
    let slots: Vec<u32> = layout.aggregates.iter().map(|(_, slot)| slot.0).collect();
    assert_eq!(slots, [20, 22]);
    let (lookup, slot) = &layout.lookups[0];
    assert_eq!(
        (lookup.field, slot.0, layout.lookups.len()),
        (builtin::MERCHANT_ID, 21, 1)
    );
}

#[test]
fn filters_are_part_of_what_makes_aggregates_equal() {
    let layout = layout(&[
        "card.last(\"1h\").where(amount < 5).count()",
        "card.last(\"1h\").where( amount<5.0 ).count()",
        "card.last(\"1h\").where(amount < 6).count()",
        "card.last(\"1h\").delayed(\"1h\").where(amount < 6).count()",
        "card.last(\"1h\").where(amount < 6).delayed(\"60m\").count()",
        "card.last(\"1h\").count()",
    ]);
    assert_eq!(layout.aggregates.len(), 4);
}

#[test]
fn filters_read_columns_and_the_transaction() {
    let source = "card.last(\"1h\").where(merchant_country == transaction.merchant_country \
                  && declined && transaction.merchant_id.startsWith(\"g\")).count()";
    let layout = layout(&[source]);
    let filter = layout.aggregates[0].0.filter.clone().unwrap();
    let field = |id: FieldId| Program::FILTER_FIELDS + u32::from(id.0);
    let reads: Vec<u32> = filter.reads().map(|slot| slot.0).collect();
    assert_eq!(
        reads,
        [
            4,
            field(builtin::MERCHANT_COUNTRY),
            1,
            field(builtin::MERCHANT_ID)
        ]
    );
}

#[test]
fn values_of_past_transactions_work_on() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let conditions = [
        "card.last(\"1h\").since_last() < duration(\"5s\")",
        "card.last(\"1h\").since_last().getSeconds() < 5",
        "transaction.event_time - card.last(\"30d\").first_seen() > duration(\"1d\")",
        "card.last(\"30d\").first_seen().getHours(\"Europe/Paris\") < 6",
        "card.last(\"1d\").where(declined).last(channel) == \"ecommerce\"",
        "card.last(\"1d\").delayed(\"1s\").last(merchant_country) != transaction.merchant_country",
    ];
    for source in conditions {
        let compiled = compiler.condition(source).unwrap();
        assert_eq!(
            (compiled.warnings, compiled.reads_score),
            (Vec::new(), false),
            "{source}"
        );
    }
}

#[test]
fn features_read_earlier_ones_and_keep_their_definition() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let spend = compiler.feature("spend", "card . last('24h')\n.sum(amount)");
    assert_eq!(spend, Ok((Type::Number, Vec::new())));
    assert_eq!(
        compiler.feature("large", "features.spend>1000.0"),
        Ok((Type::Flag, Vec::new()))
    );
    let rule = compiler
        .condition("features.large && model.score > 0.5")
        .unwrap();
    assert!(rule.reads_score);
    let layout = compiler.finish();
    let definitions: Vec<String> = layout
        .features
        .iter()
        .map(|feature| layout.definition(feature))
        .collect();
    assert_eq!(
        definitions,
        [
            "card.last('24h').sum(amount)",
            "features.spend > 1000.0; features.spend = card.last('24h').sum(amount)"
        ]
    );
    let large = &layout.features[1];
    assert_eq!(
        large.program.reads().collect::<Vec<_>>(),
        [layout.features[0].slot]
    );
    let mut cells = vec![Cell::MISSING; layout.slots];
    cells[layout.features[0].slot.0 as usize] = Cell::number(2000.0);
    assert!(large.program.is_true(&Values {
        cells,
        texts: Vec::new()
    }));
}

/// A definition that had those of all it reads in full would double with each of these features.
#[test]
fn a_definition_names_each_feature_it_reads_once() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    compiler.feature("f0", "transaction.amount").unwrap();
    compiler.feature("f1", "features.f0 * 2").unwrap();
    for at in 2..40 {
        let source = format!("features.f{} + features.f{}", at - 1, at - 2);
        compiler.feature(&format!("f{at}"), &source).unwrap();
    }
    let layout = compiler.finish();
    assert_eq!(
        layout.definition(&layout.features[2]),
        "features.f1 + features.f0; features.f1 = features.f0 * 2; features.f0 = transaction.amount"
    );
    let last = layout.definition(&layout.features[39]);
    assert_eq!(last.matches(" = ").count(), 39);
}

#[test]
fn fallback_conditions_read_the_transaction_and_lists() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let source = "transaction.amount > 500 && !(transaction.merchant_category_code in lists.risky_categories)";
    let compiled = compiler.request_condition(source).unwrap();
    assert!(!compiled.reads_score && compiled.warnings.is_empty());
    let addresses = "transaction.ip_address in lists.hosting_networks";
    let compiled = compiler.request_condition(addresses).unwrap();
    assert!(compiled.warnings.is_empty());
}

#[test]
fn what_does_not_compile_leaves_no_inputs_behind() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    let wrong = "card.last(\"1h\").count() > 1 && transaction.merchant_id in lists.blocked_merchants && foo";
    compiler.condition(wrong).unwrap_err();
    compiler.feature("broken", wrong).unwrap_err();
    compiler
        .condition("card.last(\"1h\").sum(amount) > 1")
        .unwrap();
    let layout = compiler.finish();
    assert_eq!(
        (layout.slots, layout.lookups.len(), layout.features.len()),
        (21, 0, 0)
    );
    assert_eq!(layout.aggregates.len(), 1);
    assert_eq!(layout.aggregates[0].1, SlotId(20));
}
