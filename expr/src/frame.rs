//! The slots of one transaction while it is decided.

use tollgate_types::{Cell, FieldId, Record};

use crate::{Layout, SlotId, Slots};

/// The values of a [`Layout`]'s slots for one transaction. Every slot but the transaction's fields is missing
/// until it is set.
#[derive(Debug)]
pub struct Frame<'r> {
    cells: Vec<Cell>,
    record: &'r Record<'r>,
    /// Slots that have a text: the fields come first in a layout.
    fields: usize,
}

impl<'r> Frame<'r> {
    /// One allocation, of the layout's number of slots.
    pub fn new(layout: &Layout, record: &'r Record<'r>) -> Self {
        let mut cells = vec![Cell::MISSING; layout.slots];
        for (slot, field) in cells.iter_mut().zip(record.cells()) {
            *slot = *field;
        }
        Self {
            cells,
            record,
            fields: layout.fields,
        }
    }

    /// Puts a value where programs of the same layout read it.
    pub fn set(&mut self, slot: SlotId, cell: Cell) {
        debug_assert!(
            self.cells.len() > index(slot),
            "{slot:?} is of another layout"
        );
        if let Some(place) = self.cells.get_mut(index(slot)) {
            *place = cell;
        }
    }

    pub fn cell(&self, slot: SlotId) -> Cell {
        self.cells
            .get(index(slot))
            .copied()
            .unwrap_or(Cell::MISSING)
    }

    /// Computes the named features in their order, from the aggregates and lookups set before.
    pub fn evaluate_features(&mut self, layout: &Layout) {
        layout.computed.evaluate(self);
    }
}

impl Slots for Frame<'_> {
    fn cell(&self, slot: SlotId) -> Cell {
        self.cell(slot)
    }

    fn text(&self, slot: SlotId) -> Option<&str> {
        if index(slot) >= self.fields.min(self.record.cells().len()) {
            return None;
        }
        u16::try_from(slot.0)
            .ok()
            .and_then(|field| self.record.text(FieldId(field)))
    }
}

fn index(slot: SlotId) -> usize {
    usize::try_from(slot.0).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tollgate_types::{
        CardId, Currency, EventTime, Money, Rates, SchemaBuilder, Span, Transaction, TransactionId,
        builtin,
    };

    use super::*;
    use crate::Compiler;

    #[test]
    fn features_are_computed_in_order_from_what_was_set() {
        let mut builder = SchemaBuilder::default();
        builder
            .entity("card", &["card_id".to_owned()], &[], Span::from_days(1))
            .unwrap();
        let schema = builder.build();
        let mut compiler = Compiler::new(&schema, BTreeMap::new());
        compiler
            .feature("busy", "card.last(\"1h\").count() > 3")
            .unwrap();
        compiler
            .feature(
                "busy_at_home",
                "features.busy && transaction.currency == \"EUR\"",
            )
            .unwrap();
        let named = compiler
            .condition("transaction.merchant_id.startsWith(\"air\")")
            .unwrap();
        let layout = compiler.finish();

        let transaction = transaction();
        let euro = Currency::parse("EUR").unwrap();
        let rates = Rates::new(euro, BTreeMap::new()).unwrap();
        let record = Record::new(&transaction, &schema, &rates).unwrap();
        let mut frame = Frame::new(&layout, &record);
        let slots = layout.features.iter().map(|feature| feature.slot);
        let slots: Vec<SlotId> = slots.collect();
        assert!(frame.cell(layout.score).is_missing());
        frame.evaluate_features(&layout);
        assert!(slots.iter().all(|slot| frame.cell(*slot).is_missing()));

        frame.set(layout.aggregates[0].1, Cell::number(4.0));
        frame.evaluate_features(&layout);
        assert_eq!(
            slots
                .iter()
                .map(|slot| frame.cell(*slot).as_flag())
                .collect::<Vec<_>>(),
            [Some(true), Some(true)]
        );
        assert!(named.program.is_true(&frame));
        let merchant = SlotId(u32::from(builtin::MERCHANT_ID.0));
        assert_eq!(Slots::text(&frame, merchant), Some("airline"));
        assert_eq!(Slots::text(&frame, layout.score), None);
        assert_eq!(Slots::text(&frame, SlotId(u32::MAX)), None);
        assert!(frame.cell(SlotId(u32::MAX)).is_missing());
        assert_eq!(layout.written[0].source, "card.last(\"1h\").count()");
        assert_eq!(layout.written[0].kind, crate::Type::Number);
    }

    fn transaction() -> Transaction {
        Transaction::new(
            TransactionId::parse("t1").unwrap(),
            EventTime::from_micros(1),
            CardId::parse("c1").unwrap(),
            Money {
                amount_minor: 1250,
                currency: Currency::parse("EUR").unwrap(),
            },
            "airline".to_owned(),
        )
    }
}
