//! What a schema has the store retain, in words: an image is of use to a store that retains the same.

use tollgate_types::{Entity, Field, FieldId, Schema};

use crate::store::Store;

impl Store {
    /// A line per kind of entity, in the order in which images have them. Definitions of features, further attributes,
    /// the values that a field may have and `events_max` are not in it: they change nothing of what is there.
    pub fn retained(schema: &Schema) -> Vec<String> {
        let line = |entity: &Entity| {
            let field = |id: FieldId| {
                let Field { name, kind, .. } = schema.field_at(id);
                format!("{name} ({})", kind.name())
            };
            let key: Vec<String> = entity.key.iter().map(|id| field(*id)).collect();
            let columns = entity.listed_columns().iter();
            let columns: Vec<String> = columns
                .map(|column| format!("{} ({})", column.name, column.kind.name()))
                .collect();
            let steps = entity.resolution.map(|step| format!(" in steps of {step}"));
            format!(
                "{}: by {}, {} for {}{}",
                entity.name,
                key.join(" and "),
                if columns.is_empty() {
                    "no fields".to_owned()
                } else {
                    columns.join(", ")
                },
                entity.retention,
                steps.unwrap_or_default()
            )
        };
        schema.entities().iter().map(line).collect()
    }
}

/// In which ways what is retained now differs from what was retained before, both as [`Store::retained`] says it. Nothing
/// if an image from before can be read now.
pub fn differences(before: &[String], now: &[String]) -> Vec<String> {
    let name = |line: &String| line.split(':').next().unwrap_or_default().to_owned();
    let rest = |line: &String| {
        line.split_once(": ")
            .map_or("", |(_, rest)| rest)
            .to_owned()
    };
    let mut differences = Vec::new();
    for old in before {
        match now.iter().find(|line| name(line) == name(old)) {
            None => differences.push(format!("the entity `{}` was taken away", name(old))),
            Some(new) if new != old => differences.push(format!(
                "the entity `{}` was kept {} and now is kept {}",
                name(old),
                rest(old),
                rest(new)
            )),
            Some(_) => {}
        }
    }
    for new in now {
        if !before.iter().any(|line| name(line) == name(new)) {
            differences.push(format!("the entity `{}` is new", name(new)));
        }
    }
    if differences.is_empty() && before != now {
        differences.push("the entities are in another order".to_owned());
    }
    differences
}
