//! Evaluating one condition of three terms.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up should stop"
)]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate_benches::{rates, schema, transaction};
use tollgate_expr::{Compiler, Frame};
use tollgate_types::{Currency, Record};

const CONDITION: &str = "transaction.amount > 20.0 && transaction.channel == \"ecommerce\" && \
                         transaction.merchant_country != transaction.card_country";

fn conditions(criterion: &mut Criterion) {
    let euro = Currency::parse("EUR").unwrap();
    let (schema, rates) = (schema().unwrap(), rates(euro));
    let mut compiler = Compiler::new(&schema, BTreeMap::new());
    let condition = compiler.condition(CONDITION).unwrap();
    let layout = compiler.finish();
    let transaction = transaction(euro, 1, 30).unwrap();
    let record = Record::new(&transaction, &schema, &rates).unwrap();
    let frame = Frame::new(&layout, &record);
    criterion.bench_function("condition of three terms", |bencher| {
        bencher.iter(|| condition.program.is_true(black_box(&frame)));
    });
}

criterion_group!(benches, conditions);
criterion_main!(benches);
