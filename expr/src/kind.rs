//! The five types of values.

use tollgate_types::FieldType;

/// The type of an expression, known once it is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Type {
    Number,
    Text,
    Flag,
    Time,
    Duration,
}

impl Type {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Flag => "flag",
            Self::Time => "time",
            Self::Duration => "duration",
        }
    }
}

impl From<FieldType> for Type {
    fn from(kind: FieldType) -> Self {
        match kind {
            FieldType::Number => Self::Number,
            FieldType::Text => Self::Text,
            FieldType::Flag => Self::Flag,
            FieldType::Time => Self::Time,
        }
    }
}
