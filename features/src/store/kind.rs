//! One kind of entity: its histories, and how they are kept.

use tollgate_types::{Entity, EventTime, Record, Retained, Schema, Span, builtin};

use crate::block::{Row, Shape};
use crate::history::Ties;
use crate::slots::{SlotId, Slots};

#[derive(Debug)]
pub(super) struct EntityKind {
    pub(super) entity: Entity,
    pub(super) slots: Slots,
    pub(super) shape: Shape,
    pub(super) ties: Ties,
    /// How long rows stay: those that the ledger points to as long as any row of their transaction.
    pub(super) rows_kept: Span,
}

/// The kinds of a schema, and which of them the ledger points to: the one keyed by card, since all events of a card come
/// through one partition, in order, and no card has so many that looking through them takes long. A schema
/// without one gets one that it does not see.
pub(super) fn all(schema: &Schema) -> (Vec<EntityKind>, usize) {
    let is_card = |entity: &Entity| entity.key == [builtin::CARD_ID] && entity.resolution.is_none();
    let mut entities: Vec<Entity> = schema.entities().to_vec();
    let card = entities.iter().position(is_card).unwrap_or_else(|| {
        entities.push(ledger_entity(schema));
        entities.len() - 1
    });
    let others = entities.len() - 1;
    let retention_max = schema.retention_max();
    let kinds = entities
        .into_iter()
        .enumerate()
        .map(|(at, entity)| EntityKind {
            slots: Slots::new(),
            shape: Shape::new(&entity, if at == card { others } else { 0 }),
            ties: if entity.key.contains(&builtin::CARD_ID) {
                Ties::ByArrival
            } else {
                Ties::ByKey
            },
            rows_kept: if at == card {
                retention_max
            } else {
                entity.retention
            },
            entity,
        });
    (kinds.collect(), card)
}

fn ledger_entity(schema: &Schema) -> Entity {
    let implied = |name: &str, kind, field| Retained {
        name: name.to_owned(),
        kind,
        field,
    };
    Entity {
        name: "ledger".to_owned(),
        key: vec![builtin::CARD_ID],
        columns: vec![
            implied("fraud", tollgate_types::FieldType::Flag, None),
            implied("declined", tollgate_types::FieldType::Flag, None),
            implied(
                "event_time",
                tollgate_types::FieldType::Time,
                Some(builtin::EVENT_TIME),
            ),
        ],
        retention: schema.retention_max(),
        resolution: None,
        events_max: None,
    }
}

impl EntityKind {
    /// The length of a step, if this kind is kept in steps.
    pub(super) const fn step(&self) -> Option<Span> {
        self.entity.resolution
    }

    /// Rows at or before this are let go.
    pub(super) fn horizon(&self, watermark: EventTime) -> EventTime {
        watermark.minus(self.rows_kept)
    }

    /// Makes a row that of a transaction, with these links and without label.
    pub(super) fn fill(&self, row: &mut Row, record: &Record<'_>, links: &[Option<SlotId>]) {
        let listed = self.entity.listed_columns().iter();
        let cells = listed.map(|column| record.cell(column.field?).bits());
        let time = Some(record.event_time().micros().cast_unsigned());
        let links = links.iter().map(|slot| slot.map(|slot| u64::from(slot.0)));
        row.values.clear();
        row.values.extend([time, None]);
        row.values.extend(cells);
        row.values.extend(links);
        row.values.resize(self.shape.columns(), None);
    }
}
