//! A generated condition, and how each of the languages writes it.

use std::fmt::Write as _;

use super::slots::{SLOTS, Value};

/// What differs between the languages that read a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dialect {
    pub(crate) and: &'static str,
    pub(crate) or: &'static str,
    pub(crate) not: &'static str,
    /// Values have flat names.
    pub(crate) is_flat: bool,
}

impl Dialect {
    pub(crate) const TOLLGATE: Self = Self {
        and: "&&",
        or: "||",
        not: "!",
        is_flat: false,
    };
    pub(crate) const CEL: Self = Self {
        is_flat: true,
        ..Self::TOLLGATE
    };
}

/// Groups of which every one must hold; of a group, one term must.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Condition(pub(crate) Vec<Vec<Term>>);

/// Slots are places in [`SLOTS`].
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Term {
    Flag {
        slot: usize,
        wanted: bool,
    },
    /// `amount > 500.0`, `product == "hotel"`
    Compare {
        slot: usize,
        comparison: &'static str,
        constant: Value,
    },
    OneOf {
        slot: usize,
        constants: Vec<Value>,
    },
    /// `merchant_country != card_country`
    Same {
        slots: [usize; 2],
        equal: bool,
    },
    /// `a + b > 500.0`
    Calculated {
        slots: [usize; 2],
        operator: char,
        comparison: &'static str,
        constant: f64,
    },
    /// `a > 3.0 * b`
    Multiple {
        slots: [usize; 2],
        comparison: &'static str,
        factor: f64,
    },
}

impl Condition {
    pub(crate) fn written(&self, dialect: Dialect) -> String {
        let Dialect { and, or, .. } = dialect;
        let (and, or) = (format!(" {and} "), format!(" {or} "));
        let groups = self.0.iter().map(|group| {
            let terms: Vec<String> = group.iter().map(|term| term.written(dialect)).collect();
            if terms.len() > 1 && self.0.len() > 1 {
                format!("({})", terms.join(&or))
            } else {
                terms.join(&or)
            }
        });
        groups.collect::<Vec<_>>().join(&and)
    }
}

impl Term {
    fn written(&self, dialect: Dialect) -> String {
        let name = |slot: &usize| {
            let slot = SLOTS[*slot];
            if dialect.is_flat {
                slot.flat
            } else {
                slot.ours
            }
        };
        let not = dialect.not;
        match self {
            Self::Flag { slot, wanted: true } => name(slot).to_owned(),
            Self::Flag { slot, .. } => format!("{not}{}", name(slot)),
            Self::Compare {
                slot,
                comparison,
                constant,
            } => format!("{} {comparison} {}", name(slot), constant.written()),
            Self::OneOf { slot, constants } => {
                let mut text = format!("{} in [", name(slot));
                for (at, constant) in constants.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    let _ = write!(text, "{comma}{}", constant.written());
                }
                text + "]"
            }
            Self::Same {
                slots: [left, right],
                equal,
            } => {
                let comparison = if *equal { "==" } else { "!=" };
                format!("{} {comparison} {}", name(left), name(right))
            }
            Self::Calculated {
                slots: [left, right],
                operator,
                comparison,
                constant,
            } => {
                let (left, right) = (name(left), name(right));
                format!("{left} {operator} {right} {comparison} {constant:?}")
            }
            Self::Multiple {
                slots: [left, right],
                comparison,
                factor,
            } => format!("{} {comparison} {factor:?} * {}", name(left), name(right)),
        }
    }
}

impl Value {
    /// Numbers with a point, so that no language takes them for whole ones.
    fn written(self) -> String {
        match self {
            Self::Number(number) => format!("{number:?}"),
            Self::Text(text) => format!("\"{text}\""),
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_writes_a_condition_its_own_way() {
        let condition = Condition(vec![
            vec![
                Term::Flag {
                    slot: 27,
                    wanted: false,
                },
                Term::OneOf {
                    slot: 4,
                    constants: vec![Value::Text("recurring"), Value::Text("ecommerce")],
                },
            ],
            vec![Term::Calculated {
                slots: [40, 0],
                operator: '-',
                comparison: ">=",
                constant: 500.0,
            }],
        ]);
        for (dialect, expected) in [
            (
                Dialect::TOLLGATE,
                "(!transaction.one_way || transaction.channel in [\"recurring\", \"ecommerce\"]) \
                 && card.last(\"1h\").sum(amount) - transaction.amount >= 500.0",
            ),
            (
                Dialect::CEL,
                "(!one_way || channel in [\"recurring\", \"ecommerce\"]) && card_sum_1h - amount >= 500.0",
            ),
            (
                Dialect {
                    and: "and",
                    or: "or",
                    not: "not ",
                    is_flat: true,
                },
                "(not one_way or channel in [\"recurring\", \"ecommerce\"]) and card_sum_1h - amount >= 500.0",
            ),
        ] {
            assert_eq!(condition.written(dialect), expected);
        }
    }
}
