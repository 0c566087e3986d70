//! Which fields a transaction has, which entities features are about, and what is retained of each event.
//!
//! A schema is built once per policy (from `schema.yaml`) and gives every field, entity and retained column a
//! number, so that nothing on the decision path looks a name up.

mod kept;
mod shape;

use std::collections::BTreeSet;

use crate::Span;
pub use kept::SchemaChange;

/// The type of a field. Durations exist only as differences of times, so no field has that type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FieldType {
    Number,
    Text,
    Flag,
    Time,
}

impl FieldType {
    pub const ALL: [Self; 4] = [Self::Number, Self::Text, Self::Flag, Self::Time];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Flag => "flag",
            Self::Time => "time",
        }
    }
}

/// A field of the transaction: its place in a [`crate::Record`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FieldId(pub u16);

/// An entity of the schema.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntityId(pub u16);

/// A retained column of one entity's events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ColumnId(pub u16);

/// A field that `transaction.<name>` reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    pub name: String,
    pub kind: FieldType,
    /// The only texts the field may hold, where the schema lists them.
    pub values: Option<Vec<String>>,
}

/// What a feature is about: one field, or several for a pair such as card and merchant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entity {
    pub name: String,
    /// The fields whose values identify it; where one is missing, the transaction has no such entity.
    pub key: Vec<FieldId>,
    /// Columns of each retained event, the implied ones first.
    pub columns: Vec<Retained>,
    /// How long events are kept; a window plus its delay may not reach further.
    pub retention: Span,
    /// For very hot entities: events are merged into steps of this length, and windows move in such steps.
    pub resolution: Option<Span>,
    /// Most events kept of one entity; its oldest go beyond that. Where it is not set, the store has a limit of its own.
    pub events_max: Option<usize>,
}

/// A column of a retained event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retained {
    pub name: String,
    pub kind: FieldType,
    /// Where the value comes from; the implied columns have none.
    pub field: Option<FieldId>,
}

impl Entity {
    /// `fraud`: the label as known at the time of the decision.
    pub const FRAUD: ColumnId = ColumnId(0);
    /// `declined`: the authorization was refused.
    pub const DECLINED: ColumnId = ColumnId(1);
    /// `event_time`: when the event happened.
    pub const EVENT_TIME: ColumnId = ColumnId(2);
    /// Implied columns that every entity has before those it lists.
    pub const IMPLIED_COLUMNS: usize = 3;

    pub fn column(&self, name: &str) -> Option<(ColumnId, &Retained)> {
        let at = self.columns.iter().position(|column| column.name == name)?;
        Some((ColumnId(u16::try_from(at).ok()?), &self.columns[at]))
    }

    /// The columns the entity lists itself, in order.
    pub fn listed_columns(&self) -> &[Retained] {
        &self.columns[Self::IMPLIED_COLUMNS..]
    }
}

/// Fields every transaction has, in the order of their slots.
pub mod builtin {
    pub use super::shape::{CATEGORY_CODE_MAX, Misshapen, Shape, shape};
    use super::{FieldId, FieldType};

    pub const TRANSACTION_ID: FieldId = FieldId(0);
    pub const EVENT_TIME: FieldId = FieldId(1);
    pub const CARD_ID: FieldId = FieldId(2);
    pub const AMOUNT: FieldId = FieldId(3);
    pub const CURRENCY: FieldId = FieldId(4);
    pub const MERCHANT_ID: FieldId = FieldId(5);
    pub const MERCHANT_CATEGORY_CODE: FieldId = FieldId(6);
    pub const MERCHANT_COUNTRY: FieldId = FieldId(7);
    pub const TERMINAL_ID: FieldId = FieldId(8);
    pub const CHANNEL: FieldId = FieldId(9);
    pub const CARD_COUNTRY: FieldId = FieldId(10);
    pub const DEVICE_ID: FieldId = FieldId(11);
    pub const IP_ADDRESS: FieldId = FieldId(12);

    /// Name and type, indexed by slot.
    pub const FIELDS: [(&str, FieldType); 13] = [
        ("transaction_id", FieldType::Text),
        ("event_time", FieldType::Time),
        ("card_id", FieldType::Text),
        ("amount", FieldType::Number),
        ("currency", FieldType::Text),
        ("merchant_id", FieldType::Text),
        ("merchant_category_code", FieldType::Number),
        ("merchant_country", FieldType::Text),
        ("terminal_id", FieldType::Text),
        ("channel", FieldType::Text),
        ("card_country", FieldType::Text),
        ("device_id", FieldType::Text),
        ("ip_address", FieldType::Text),
    ];
}

/// Fields, entities and what is retained of them. Immutable once built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    fields: Vec<Field>,
    entities: Vec<Entity>,
}

impl Schema {
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    pub fn field(&self, name: &str) -> Option<(FieldId, &Field)> {
        let at = self.fields.iter().position(|field| field.name == name)?;
        Some((FieldId(u16::try_from(at).ok()?), &self.fields[at]))
    }

    /// A field that the schema declares itself, which transactions carry as an attribute.
    pub fn attribute(&self, name: &str) -> Option<(FieldId, &Field)> {
        let declared = &self.fields[builtin::FIELDS.len()..];
        let at = declared.iter().position(|field| field.name == name)?;
        let id = FieldId(u16::try_from(builtin::FIELDS.len() + at).ok()?);
        Some((id, &declared[at]))
    }

    pub fn field_at(&self, id: FieldId) -> &Field {
        &self.fields[usize::from(id.0)]
    }

    pub fn entity(&self, name: &str) -> Option<(EntityId, &Entity)> {
        let at = self
            .entities
            .iter()
            .position(|entity| entity.name == name)?;
        Some((EntityId(u16::try_from(at).ok()?), &self.entities[at]))
    }

    pub fn entity_at(&self, id: EntityId) -> &Entity {
        &self.entities[usize::from(id.0)]
    }

    /// The longest retention of any entity: how far back a replay has to start.
    pub fn retention_max(&self) -> Span {
        self.entities
            .iter()
            .map(|entity| entity.retention)
            .max()
            .unwrap_or_default()
    }
}

/// What is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error(
        "`{0}` is not a name: write small letters, digits and underscores, beginning with a letter"
    )]
    BadName(String),
    #[error("the field `{0}` is declared twice or is one that every transaction has")]
    FieldTwice(String),
    #[error("the entity `{0}` is declared twice")]
    EntityTwice(String),
    #[error("`{0}` has a meaning of its own in expressions and cannot name an entity")]
    Reserved(String),
    #[error("entity `{entity}` names the field `{field}`, which is not declared")]
    UnknownField { entity: String, field: String },
    #[error("entity `{0}` has no key: list the fields that identify it")]
    NoKey(String),
    #[error("entity `{entity}` lists `{field}` twice, or lists an implied column")]
    ColumnTwice { entity: String, field: String },
    #[error("more than {0} fields, entities or columns")]
    TooMany(usize),
    #[error(
        "entity `{entity}` has a resolution of {resolution}, which must be between 1s and its retention, {retention}"
    )]
    Resolution {
        entity: String,
        resolution: Span,
        retention: Span,
    },
    #[error("entity `{entity}` is kept in steps, which need no `events_max`")]
    StepsWithEventsMax { entity: String },
    #[error(
        "entity `{entity}` keeps at most {events_max} events; it must be {EVENTS_MAX_LEAST} at least"
    )]
    EventsMax { entity: String, events_max: usize },
}

/// Most fields, entities, or columns of an entity: everything per transaction stays small and bounded.
const DECLARED_MAX: usize = 256;

/// Least number of events that an entity may be limited to: they are let go some hundred at a time.
pub const EVENTS_MAX_LEAST: usize = 256;

/// Names that expressions use for something else than an entity.
const RESERVED: [&str; 4] = ["transaction", "lists", "model", "features"];

/// Builds a [`Schema`] step by step; each step says at once what is wrong with it.
#[derive(Debug)]
pub struct SchemaBuilder {
    schema: Schema,
}

impl Default for SchemaBuilder {
    fn default() -> Self {
        let builtin = builtin::FIELDS
            .iter()
            .enumerate()
            .map(|(at, &(name, kind))| Field {
                name: name.to_owned(),
                kind,
                values: (at == usize::from(builtin::CHANNEL.0)).then(|| {
                    crate::Channel::ALL
                        .map(|channel| channel.name().to_owned())
                        .to_vec()
                }),
            });
        Self {
            schema: Schema {
                fields: builtin.collect(),
                entities: Vec::new(),
            },
        }
    }
}

impl SchemaBuilder {
    pub fn attribute(
        &mut self,
        name: &str,
        kind: FieldType,
        values: Option<Vec<String>>,
    ) -> Result<(), SchemaError> {
        check_name(name)?;
        if self.schema.field(name).is_some() {
            return Err(SchemaError::FieldTwice(name.to_owned()));
        }
        if self.schema.fields.len() >= DECLARED_MAX {
            return Err(SchemaError::TooMany(DECLARED_MAX));
        }
        self.schema.fields.push(Field {
            name: name.to_owned(),
            kind,
            values,
        });
        Ok(())
    }

    pub fn entity(
        &mut self,
        name: &str,
        key: &[String],
        retain: &[String],
        retention: Span,
    ) -> Result<(), SchemaError> {
        check_name(name)?;
        if RESERVED.contains(&name) {
            return Err(SchemaError::Reserved(name.to_owned()));
        }
        if self.schema.entity(name).is_some() {
            return Err(SchemaError::EntityTwice(name.to_owned()));
        }
        if key.is_empty() {
            return Err(SchemaError::NoKey(name.to_owned()));
        }
        if self.schema.entities.len() >= DECLARED_MAX || retain.len() >= DECLARED_MAX {
            return Err(SchemaError::TooMany(DECLARED_MAX));
        }
        let lookup = |field: &String| {
            let unknown = || SchemaError::UnknownField {
                entity: name.to_owned(),
                field: field.clone(),
            };
            self.schema.field(field).ok_or_else(unknown)
        };
        let key = key
            .iter()
            .map(|field| lookup(field).map(|(id, _)| id))
            .collect::<Result<_, _>>()?;
        let mut columns = implied_columns();
        let mut seen: BTreeSet<&str> = ["fraud", "declined", "event_time"].into();
        for field in retain {
            if !seen.insert(field) {
                let (entity, field) = (name.to_owned(), field.clone());
                return Err(SchemaError::ColumnTwice { entity, field });
            }
            let (id, declared) = lookup(field)?;
            columns.push(Retained {
                name: field.clone(),
                kind: declared.kind,
                field: Some(id),
            });
        }
        self.schema.entities.push(Entity {
            name: name.to_owned(),
            key,
            columns,
            retention,
            resolution: None,
            events_max: None,
        });
        Ok(())
    }

    /// Bounds the memory of each entity of the kind that was added last.
    pub fn bounded(
        &mut self,
        resolution: Option<Span>,
        events_max: Option<usize>,
    ) -> Result<(), SchemaError> {
        let Some(last) = self.schema.entities.last_mut() else {
            return Ok(());
        };
        let entity = last.name.clone();
        let retention = last.retention;
        match (resolution, events_max) {
            (Some(resolution), _)
                if resolution < Span::from_seconds(1) || resolution > retention =>
            {
                Err(SchemaError::Resolution {
                    entity,
                    resolution,
                    retention,
                })
            }
            (Some(_), Some(_)) => Err(SchemaError::StepsWithEventsMax { entity }),
            (_, Some(events_max)) if events_max < EVENTS_MAX_LEAST => {
                Err(SchemaError::EventsMax { entity, events_max })
            }
            _ => {
                (last.resolution, last.events_max) = (resolution, events_max);
                Ok(())
            }
        }
    }

    pub fn build(self) -> Schema {
        self.schema
    }
}

fn implied_columns() -> Vec<Retained> {
    let implied = [
        ("fraud", FieldType::Flag, None),
        ("declined", FieldType::Flag, None),
        ("event_time", FieldType::Time, Some(builtin::EVENT_TIME)),
    ];
    implied
        .map(|(name, kind, field)| Retained {
            name: name.to_owned(),
            kind,
            field,
        })
        .to_vec()
}

fn check_name(name: &str) -> Result<(), SchemaError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 64
        && name.bytes().all(allowed)
    {
        Ok(())
    } else {
        Err(SchemaError::BadName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn builtin_slots_are_where_their_constants_say() {
        let schema = SchemaBuilder::default().build();
        assert_eq!(schema.field("amount").unwrap().0, builtin::AMOUNT);
        assert_eq!(schema.field("ip_address").unwrap().0, builtin::IP_ADDRESS);
        assert_eq!(schema.fields().len(), builtin::FIELDS.len());
    }

    #[test]
    fn entities_have_the_implied_columns_before_their_own() {
        let mut builder = SchemaBuilder::default();
        let key = strings(&["card_id"]);
        builder
            .entity("card", &key, &strings(&["amount"]), Span::from_days(30))
            .unwrap();
        let schema = builder.build();
        let (_, card) = schema.entity("card").unwrap();
        assert_eq!(card.column("fraud").unwrap().0, Entity::FRAUD);
        assert_eq!(card.column("declined").unwrap().0, Entity::DECLINED);
        assert_eq!(card.column("event_time").unwrap().0, Entity::EVENT_TIME);
        assert_eq!(card.column("amount").unwrap().0, ColumnId(3));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut builder = SchemaBuilder::default();
        assert!(
            builder
                .attribute("amount", FieldType::Number, None)
                .is_err()
        );
        assert!(builder.attribute("Origin", FieldType::Text, None).is_err());
        let day = Span::from_days(1);
        assert!(builder.entity("card", &[], &[], day).is_err());
        assert!(
            builder
                .entity("model", &strings(&["card_id"]), &[], day)
                .is_err()
        );
        assert!(
            builder
                .entity("card", &strings(&["card"]), &[], day)
                .is_err()
        );
        let twice = strings(&["amount", "amount"]);
        assert!(
            builder
                .entity("card", &strings(&["card_id"]), &twice, day)
                .is_err()
        );
        assert!(
            builder
                .entity("card", &strings(&["card_id"]), &[], day)
                .is_ok()
        );
        assert!(
            builder
                .entity("card", &strings(&["card_id"]), &[], day)
                .is_err()
        );
    }
}
