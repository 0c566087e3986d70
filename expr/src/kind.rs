//! The five types of values, and the three kinds of lists.

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

/// What a list has, and so what can be looked up in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ListKind {
    Numbers,
    Texts,
    /// Networks of IP addresses; the texts looked up are addresses.
    Networks,
}

impl ListKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Numbers => "numbers",
            Self::Texts => "texts",
            Self::Networks => "networks",
        }
    }

    /// The type of the values that are looked up.
    pub const fn of_values(self) -> Type {
        match self {
            Self::Numbers => Type::Number,
            Self::Texts | Self::Networks => Type::Text,
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
