//! An expression as written: a tree in which every part knows its whole span.

use std::ops::Range;

use crate::values::{Arithmetic, Comparison};

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Syntax {
    /// Bytes of the source from its first to its last token.
    pub(crate) span: Range<usize>,
    pub(crate) kind: SyntaxKind,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum SyntaxKind {
    Number(f64),
    Text(String),
    Flag(bool),
    /// CEL's word for nothing; the language asks with `has` instead.
    Null,
    Name(String),
    Select {
        of: Box<Syntax>,
        field: Word,
    },
    Call(Call),
    Not(Box<Syntax>),
    Negate(Box<Syntax>),
    Binary {
        operator: Operator,
        sign: Range<usize>,
        sides: Box<[Syntax; 2]>,
    },
    Choose(Box<[Syntax; 3]>),
    List(Vec<Syntax>),
}

/// `name(arguments)` or `of.name(arguments)`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Call {
    pub(crate) of: Option<Box<Syntax>>,
    pub(crate) name: Word,
    pub(crate) arguments: Vec<Syntax>,
}

/// A name and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operator {
    And,
    Or,
    In,
    Compare(Comparison),
    Arithmetic(Arithmetic),
}

impl Operator {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
            Self::In => "in",
            Self::Compare(Comparison::Equal) => "==",
            Self::Compare(Comparison::NotEqual) => "!=",
            Self::Compare(Comparison::Less) => "<",
            Self::Compare(Comparison::LessOrEqual) => "<=",
            Self::Compare(Comparison::Greater) => ">",
            Self::Compare(Comparison::GreaterOrEqual) => ">=",
            Self::Arithmetic(Arithmetic::Add) => "+",
            Self::Arithmetic(Arithmetic::Subtract) => "-",
            Self::Arithmetic(Arithmetic::Multiply) => "*",
            Self::Arithmetic(Arithmetic::Divide) => "/",
            Self::Arithmetic(Arithmetic::Remainder) => "%",
            Self::Arithmetic(Arithmetic::Min) => "min",
            Self::Arithmetic(Arithmetic::Max) => "max",
        }
    }
}
