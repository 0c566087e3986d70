//! Which column of a history holds which field of a transaction.
//!
//! A history's columns are called like the fields of the `Transaction` message and the attributes of the
//! policy's schema, unless a mapping says otherwise. What is decided here once is not looked up per row.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use tollgate_source::{Diagnostic, Diagnostics, SourceFile, did_you_mean, nearest};
use tollgate_types::{FieldId, FieldType, Schema, Span, builtin};

use super::mapping::Mapping;
use super::value::TimeUnit;
use crate::cli::CommandError;

/// What a row can say of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Field {
    TransactionId,
    EventTime,
    CardId,
    /// Minor units, such as 5716.
    AmountMinor,
    /// Major units, such as 57.16.
    Amount,
    Currency,
    MerchantId,
    MerchantCategoryCode,
    MerchantCountry,
    TerminalId,
    Channel,
    CardCountry,
    DeviceId,
    IpAddress,
    /// Whether the payment was authorized; it was if nothing is said.
    Authorized,
    /// The label; none if nothing is said.
    Fraud,
    FraudKnownAt,
    /// What the schema declares.
    Attribute(FieldId),
}

/// The fields that every history can have.
const FIXED: [(&str, Field); 17] = [
    ("transaction_id", Field::TransactionId),
    ("event_time", Field::EventTime),
    ("card_id", Field::CardId),
    ("amount_minor", Field::AmountMinor),
    ("amount", Field::Amount),
    ("currency", Field::Currency),
    ("merchant_id", Field::MerchantId),
    ("merchant_category_code", Field::MerchantCategoryCode),
    ("merchant_country", Field::MerchantCountry),
    ("terminal_id", Field::TerminalId),
    ("channel", Field::Channel),
    ("card_country", Field::CardCountry),
    ("device_id", Field::DeviceId),
    ("ip_address", Field::IpAddress),
    ("authorized", Field::Authorized),
    ("fraud", Field::Fraud),
    ("fraud_known_at", Field::FraudKnownAt),
];

/// Fields without which no transaction can be read, and what else serves.
const REQUIRED: [(&str, &[Field]); 6] = [
    ("transaction_id", &[Field::TransactionId]),
    ("event_time", &[Field::EventTime]),
    ("card_id", &[Field::CardId]),
    ("amount", &[Field::AmountMinor, Field::Amount]),
    ("currency", &[Field::Currency]),
    ("merchant_id", &[Field::MerchantId]),
];

/// Every field with its name. An attribute named like one of the fixed fields has no column: the name is theirs.
pub(super) fn fields(schema: &Schema) -> impl Iterator<Item = (&str, Field)> {
    let declared = schema
        .fields()
        .iter()
        .enumerate()
        .skip(builtin::FIELDS.len());
    let attributes = declared.filter_map(|(at, field)| {
        let id = FieldId(u16::try_from(at).ok()?);
        let is_fixed = FIXED.iter().any(|(name, _)| *name == field.name);
        (!is_fixed).then_some((field.name.as_str(), Field::Attribute(id)))
    });
    FIXED.into_iter().chain(attributes)
}

impl Field {
    pub(super) fn name(self, schema: &Schema) -> &str {
        match self {
            Self::Attribute(id) => &schema.field_at(id).name,
            fixed => FIXED
                .iter()
                .find(|(_, field)| *field == fixed)
                .map_or("", |(name, _)| name),
        }
    }

    pub(super) fn takes_prefix(self, schema: &Schema) -> bool {
        match self {
            Self::TransactionId
            | Self::CardId
            | Self::MerchantId
            | Self::TerminalId
            | Self::DeviceId => true,
            Self::Attribute(id) => schema.field_at(id).kind == FieldType::Text,
            _ => false,
        }
    }
}

/// Where each field comes from.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) sources: Vec<Source>,
    /// The file's columns that are read, by their place in the file; sources count these.
    pub(super) read: Vec<usize>,
    pub(super) fraud_known_after: Option<Span>,
    pub(super) event_time_unit: Option<TimeUnit>,
    /// The file's columns that are not read, by name.
    pub(super) unused: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) field: Field,
    /// Our name of the field.
    pub(super) name: String,
    pub(super) from: From,
    /// Put before values that are not missing.
    pub(super) prefix: String,
    /// What messages call it: the file's name for the column, and ours.
    pub(super) shown: String,
}

#[derive(Clone, Debug)]
pub(super) enum From {
    /// The place among the columns read.
    Column(usize),
    Constant(String),
}

impl Columns {
    /// Finds the fields among a file's columns. Names that the mapping gives and the file does not have are
    /// reported where they are written.
    pub(super) fn find(
        header: &[String],
        schema: &Schema,
        mapping: Option<&(Mapping, Arc<SourceFile>)>,
        history: &Path,
    ) -> Result<Self, CommandError> {
        let none = Mapping::default();
        let written = mapping.map_or(&none, |(mapping, _)| mapping);
        let mut columns = Self {
            sources: Vec::new(),
            read: Vec::new(),
            fraud_known_after: written.fraud_known_after,
            event_time_unit: written.event_time_unit,
            unused: Vec::new(),
        };
        let mut notes = Diagnostics::default();
        for (name, field) in fields(schema) {
            let prefix = written.prefixes.get(&field).map(|text| text.value.clone());
            let prefix = prefix.unwrap_or_default();
            if let Some(constant) = written.constants.get(&field) {
                columns.sources.push(Source {
                    field,
                    name: name.to_owned(),
                    from: From::Constant(constant.value.clone()),
                    prefix,
                    shown: format!("constant {name}"),
                });
                continue;
            }
            let mapped = written.columns.get(&field);
            let theirs = mapped.map_or(name, |mapped| mapped.value.as_str());
            match header.iter().position(|column| column == theirs) {
                // An amount has one column: the one that the mapping names, or else that of minor units.
                Some(_) if mapped.is_none() && other_amount(field, &columns, written) => {}
                Some(at) => {
                    let from = From::Column(columns.place_of(at));
                    columns.sources.push(Source {
                        field,
                        name: name.to_owned(),
                        from,
                        prefix,
                        shown: shown(name, theirs),
                    });
                }
                None => {
                    if let (Some(mapped), Some((_, file))) = (mapped, mapping) {
                        let message = format!("the history has no column `{theirs}`");
                        let help = did_you_mean(theirs, header.iter().map(String::as_str));
                        let note = Diagnostic::error(file, mapped.span.clone(), message);
                        notes.push(note.with_help(help));
                    }
                }
            }
        }
        if notes.has_errors() {
            return Err(CommandError::Policy(notes));
        }
        columns.check(header, history)?;
        columns.unused = unused(header, &columns.read);
        Ok(columns)
    }

    /// Only what tells when a row happened: for a quick look over a whole file.
    pub(super) fn only_event_time(&self) -> Self {
        let mut columns = Self {
            sources: Vec::new(),
            read: Vec::new(),
            unused: Vec::new(),
            ..self.clone()
        };
        for source in &self.sources {
            if let (Field::EventTime, From::Column(at)) = (source.field, &source.from) {
                let from = From::Column(columns.place_of(self.read[*at]));
                columns.sources.push(Source {
                    from,
                    ..source.clone()
                });
            }
        }
        columns
    }

    /// The place among the columns read of a column of the file.
    fn place_of(&mut self, at: usize) -> usize {
        let known = self.read.iter().position(|read| *read == at);
        known.unwrap_or_else(|| {
            self.read.push(at);
            self.read.len() - 1
        })
    }

    fn has(&self, field: Field) -> bool {
        self.sources.iter().any(|source| source.field == field)
    }

    fn check(&self, header: &[String], history: &Path) -> anyhow::Result<()> {
        let history = history.display();
        let missing: Vec<String> = REQUIRED
            .iter()
            .filter(|(_, fields)| !fields.iter().any(|field| self.has(*field)))
            .map(
                |(name, _)| match nearest(name, header.iter().map(String::as_str)) {
                    Some(near) => format!("`{name}` (is it `{near}`?)"),
                    None => format!("`{name}`"),
                },
            )
            .collect();
        if !missing.is_empty() {
            bail!(
                "{history} has no column {}; say with --columns FILE which columns they are, or \
                 give constants there",
                missing.join(", ")
            );
        }
        let says_when = self.has(Field::FraudKnownAt) || self.fraud_known_after.is_some();
        if self.has(Field::Fraud) && !says_when {
            bail!(
                "{history} says which transactions were fraud but not when that became known, and \
                 features may not know it sooner; add a column fraud_known_at, or write \
                 `fraud_known_after: 7d` in the --columns file"
            );
        }
        Ok(())
    }
}

/// Whether another field already says, or will say, what this one could.
fn other_amount(field: Field, columns: &Columns, written: &Mapping) -> bool {
    match field {
        Field::Amount => columns.has(Field::AmountMinor),
        Field::AmountMinor => written.says(Field::Amount),
        _ => false,
    }
}

fn shown(ours: &str, theirs: &str) -> String {
    if ours == theirs {
        format!("column {ours}")
    } else {
        format!("column {theirs} ({ours})")
    }
}

fn unused(header: &[String], read: &[usize]) -> Vec<String> {
    let columns = header.iter().enumerate();
    columns
        .filter(|(at, _)| !read.contains(at))
        .map(|(_, name)| name.clone())
        .collect()
}
