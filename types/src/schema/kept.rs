//! One schema laid out as another, so that what was kept under the one can be read under the other.
//!
//! A store knows fields, entities and columns by number, as the schema had them when it began. A later schema can be
//! served on it if it asks nothing of the store that is not there: then its numbers are made to agree, in
//! whichever order the file has things. Everything else is told as a [`SchemaChange`].

use super::{Entity, FieldId, Schema};
use crate::{FieldType, Span};

/// What of a schema does not fit what was kept under an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaChange {
    #[error("the attribute `{0}` was taken away")]
    AttributeGone(String),
    #[error("the attribute `{name}` was a {} and now is a {}", before.name(), now.name())]
    AttributeType {
        name: String,
        before: FieldType,
        now: FieldType,
    },
    #[error("the entity `{0}` is new")]
    EntityNew(String),
    #[error("the entity `{0}` was taken away")]
    EntityGone(String),
    #[error("the entity `{0}` has another key")]
    Key(String),
    #[error("the entity `{entity}` now retains `{field}`")]
    RetainedNew { entity: String, field: String },
    #[error("the entity `{entity}` no longer retains `{field}`")]
    RetainedGone { entity: String, field: String },
    #[error("the entity `{entity}` had a retention of {before} and now has {now}")]
    Retention {
        entity: String,
        before: Span,
        now: Span,
    },
    #[error("the entity `{0}` has another `resolution`")]
    Resolution(String),
    #[error("the entity `{0}` has another `events_max`")]
    EventsMax(String),
}

impl Schema {
    /// This schema with the numbers that `kept` gives to what both have; what only this one has comes behind. New
    /// attributes and other values of texts fit; every other difference is a change that does not.
    pub fn laid_out_as(&self, kept: &Self) -> Result<Self, Vec<SchemaChange>> {
        let mut changes = Vec::new();
        let mut fields = Vec::new();
        for before in &kept.fields {
            let name = || before.name.clone();
            match self.field(&before.name) {
                None => changes.push(SchemaChange::AttributeGone(name())),
                Some((_, now)) if now.kind != before.kind => {
                    let (name, before, now) = (name(), before.kind, now.kind);
                    changes.push(SchemaChange::AttributeType { name, before, now });
                }
                Some((_, now)) => fields.push(now.clone()),
            }
        }
        let is_new = |name: &str| kept.field(name).is_none();
        fields.extend(self.fields.iter().filter(|now| is_new(&now.name)).cloned());
        for now in &self.entities {
            match kept.entity(&now.name) {
                Some((_, before)) => changes.extend(self.changes_of(now, before, kept)),
                None => changes.push(SchemaChange::EntityNew(now.name.clone())),
            }
        }
        for before in &kept.entities {
            if self.entity(&before.name).is_none() {
                changes.push(SchemaChange::EntityGone(before.name.clone()));
            }
        }
        if changes.is_empty() {
            let entities = kept.entities.clone();
            Ok(Self { fields, entities })
        } else {
            Err(changes)
        }
    }

    fn changes_of(&self, now: &Entity, before: &Entity, kept: &Self) -> Vec<SchemaChange> {
        let entity = || now.name.clone();
        let key = |schema: &Self, key: &[FieldId]| {
            let mut names: Vec<String> = key
                .iter()
                .map(|&field| schema.field_at(field).name.clone())
                .collect();
            names.sort_unstable();
            names
        };
        let mut changes = Vec::new();
        if key(self, &now.key) != key(kept, &before.key) {
            changes.push(SchemaChange::Key(entity()));
        }
        for column in now.listed_columns() {
            if before.column(&column.name).is_none() {
                let (entity, field) = (entity(), column.name.clone());
                changes.push(SchemaChange::RetainedNew { entity, field });
            }
        }
        for column in before.listed_columns() {
            if now.column(&column.name).is_none() {
                let (entity, field) = (entity(), column.name.clone());
                changes.push(SchemaChange::RetainedGone { entity, field });
            }
        }
        if now.retention != before.retention {
            changes.push(SchemaChange::Retention {
                entity: entity(),
                before: before.retention,
                now: now.retention,
            });
        }
        if now.resolution != before.resolution {
            changes.push(SchemaChange::Resolution(entity()));
        }
        if now.events_max != before.events_max {
            changes.push(SchemaChange::EventsMax(entity()));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SchemaBuilder;

    struct Draft {
        attributes: Vec<(&'static str, FieldType)>,
        entities: Vec<(&'static str, Vec<&'static str>, Vec<&'static str>, i64)>,
    }

    fn draft() -> Draft {
        Draft {
            attributes: vec![("product", FieldType::Text), ("nights", FieldType::Number)],
            entities: vec![
                ("card", vec!["card_id"], vec!["amount", "nights"], 30),
                (
                    "route",
                    vec!["card_id", "product"],
                    vec!["merchant_country"],
                    7,
                ),
            ],
        }
    }

    fn schema(draft: &Draft) -> Schema {
        let owned =
            |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
        let mut builder = SchemaBuilder::default();
        for &(name, kind) in &draft.attributes {
            builder.attribute(name, kind, None).unwrap();
        }
        for (name, key, retain, days) in &draft.entities {
            let retention = Span::from_days(*days);
            builder
                .entity(name, &owned(key), &owned(retain), retention)
                .unwrap();
        }
        builder.build()
    }

    #[test]
    fn new_attributes_and_another_order_keep_the_numbers_that_the_store_knows() {
        let kept = schema(&draft());
        let mut later = draft();
        later.attributes.reverse();
        later.attributes.insert(1, ("origin", FieldType::Text));
        later.entities.reverse();
        later.entities[0].1.reverse();
        later.entities[1].2.reverse();
        let laid_out = schema(&later).laid_out_as(&kept).unwrap();
        for name in ["amount", "product", "nights"] {
            assert_eq!(laid_out.field(name), kept.field(name), "{name}");
        }
        assert_eq!(laid_out.entities(), kept.entities());
        let (origin, _) = laid_out.field("origin").unwrap();
        assert_eq!(usize::from(origin.0), kept.fields().len());
        // What a later schema adds can be taken away again: only what the store knows must stay.
        assert_eq!(kept.laid_out_as(&kept).unwrap(), kept);
    }

    /// The texts of the changes that keep a draft from being served on the first one.
    fn changes(edit: impl FnOnce(&mut Draft)) -> Vec<String> {
        let mut later = draft();
        edit(&mut later);
        let laid_out = schema(&later).laid_out_as(&schema(&draft()));
        let changes = laid_out.unwrap_err();
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn whatever_the_store_would_have_to_have_is_told() {
        assert_eq!(
            changes(|later| {
                later.attributes.remove(0);
                later.entities[1].1.pop();
            }),
            [
                "the attribute `product` was taken away",
                "the entity `route` has another key"
            ]
        );
        assert_eq!(
            changes(|later| later.attributes[1].1 = FieldType::Text),
            ["the attribute `nights` was a number and now is a text"]
        );
        let device = ("device", vec!["device_id"], vec![], 1);
        assert_eq!(
            changes(|later| later.entities[1] = device),
            [
                "the entity `device` is new",
                "the entity `route` was taken away"
            ]
        );
        assert_eq!(
            changes(|later| later.entities[0].2[0] = "currency"),
            [
                "the entity `card` now retains `currency`",
                "the entity `card` no longer retains `amount`"
            ]
        );
        assert_eq!(
            changes(|later| later.entities[0].3 = 40),
            ["the entity `card` had a retention of 30d and now has 40d"]
        );
    }

    #[test]
    fn bounds_of_an_entity_are_the_store_s() {
        let bounded = |resolution, events_max| {
            let mut builder = SchemaBuilder::default();
            let key = ["card_id".to_owned()];
            builder
                .entity("card", &key, &[], Span::from_days(9))
                .unwrap();
            builder.bounded(resolution, events_max).unwrap();
            builder.build()
        };
        let plain = bounded(None, None);
        let entity = "card".to_owned();
        assert_eq!(
            bounded(Some(Span::from_days(1)), None).laid_out_as(&plain),
            Err(vec![SchemaChange::Resolution(entity.clone())])
        );
        assert_eq!(
            bounded(None, Some(1000)).laid_out_as(&plain),
            Err(vec![SchemaChange::EventsMax(entity)])
        );
    }
}
