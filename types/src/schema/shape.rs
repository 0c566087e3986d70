//! What the values of a field look like, so that a value which no transaction can have is refused where it is
//! written: in a condition, a list, or a test of a rule.
//!
//! The edge refuses transactions whose values look otherwise, or brings values to this form. Comparing with anything
//! else compares with nothing.

use std::net::IpAddr;

use crate::schema::builtin;
use crate::{CardId, Currency, FieldId, IdError, TransactionId};

/// Highest merchant category code (ISO 18245: four digits). 0 is how senders say that they know none.
pub const CATEGORY_CODE_MAX: u16 = 9_999;

/// The form of a field's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Numbers, times and flags of any value.
    Any,
    /// Any text but an empty one, which counts as missing.
    Text,
    TransactionId,
    /// A token; never a card number.
    CardToken,
    /// ISO 3166-1 alpha-2.
    Country,
    /// ISO 4217.
    Currency,
    /// ISO 18245: a whole number.
    CategoryCode,
    /// The one canonical way of writing an address.
    IpAddress,
}

/// Why a field never has a value. As text it says what the field's values look like, and what to write if that can
/// be told; it never holds a card number.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.says())]
pub struct Misshapen {
    /// What values of the field look like.
    pub rule: &'static str,
    /// Such as this one; empty where that would be no help.
    pub example: &'static str,
    /// The value that was probably meant.
    pub instead: Option<String>,
    /// The value is a card number, which may not be shown.
    pub is_card_number: bool,
}

/// The form of a field's values. Texts of attributes are never empty; that one is among those its schema lists is
/// not asked here.
pub const fn shape(field: FieldId) -> Shape {
    match field {
        builtin::TRANSACTION_ID => Shape::TransactionId,
        builtin::CARD_ID => Shape::CardToken,
        builtin::CURRENCY => Shape::Currency,
        builtin::MERCHANT_CATEGORY_CODE => Shape::CategoryCode,
        builtin::MERCHANT_COUNTRY | builtin::CARD_COUNTRY => Shape::Country,
        builtin::IP_ADDRESS => Shape::IpAddress,
        builtin::EVENT_TIME | builtin::AMOUNT => Shape::Any,
        _ => Shape::Text,
    }
}

impl Shape {
    /// Whether a field of this form can have the value, which is written as a text.
    pub fn check(self, text: &str) -> Result<(), Misshapen> {
        match self {
            Self::Any => Ok(()),
            _ if text.is_empty() && self != Self::CategoryCode => {
                Err(Misshapen::new("an empty text counts as missing"))
            }
            Self::Text => Ok(()),
            Self::TransactionId => of_id(TransactionId::parse(text).map(|_| ())),
            Self::CardToken => of_id(CardId::parse(text).map(|_| ())),
            Self::Country => country(text),
            Self::Currency => currency(text),
            Self::CategoryCode => category_code(text),
            Self::IpAddress => address(text),
        }
    }

    /// How many characters its texts have, least and most.
    pub const fn size(self) -> (u16, u16) {
        match self {
            Self::Country => (2, 2),
            Self::Currency => (3, 3),
            // From `::` to eight groups of four digits.
            Self::IpAddress => (2, 39),
            Self::TransactionId | Self::CardToken => (1, 128),
            Self::Any | Self::Text | Self::CategoryCode => (1, u16::MAX),
        }
    }
}

impl Misshapen {
    const fn new(rule: &'static str) -> Self {
        Self {
            rule,
            example: "",
            instead: None,
            is_card_number: false,
        }
    }

    fn says(&self) -> String {
        match &self.instead {
            Some(instead) => format!("{}: write \"{instead}\"", self.rule),
            None if self.example.is_empty() => self.rule.to_owned(),
            None => format!("{}, such as {}", self.rule, self.example),
        }
    }
}

fn of_id(parsed: Result<(), IdError>) -> Result<(), Misshapen> {
    let rule = match parsed {
        Ok(()) => return Ok(()),
        Err(IdError::CardNumber) => {
            return Err(Misshapen {
                is_card_number: true,
                ..Misshapen::new("write the token that stands for the card")
            });
        }
        Err(IdError::TooLong) => "no id is longer than 128 bytes",
        Err(IdError::Empty | IdError::ControlCharacter) => "ids are printable texts",
    };
    Err(Misshapen::new(rule))
}

fn country(text: &str) -> Result<(), Misshapen> {
    let capitals = text.trim().to_ascii_uppercase();
    let is_code = capitals.len() == 2 && capitals.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_code && capitals == text {
        return Ok(());
    }
    Err(Misshapen {
        example: "\"FR\" for France",
        instead: is_code.then_some(capitals),
        ..Misshapen::new("countries are two capital letters")
    })
}

fn currency(text: &str) -> Result<(), Misshapen> {
    let capitals = text.trim().to_ascii_uppercase();
    let is_code = Currency::parse(&capitals).is_ok();
    if is_code && capitals == text {
        return Ok(());
    }
    Err(Misshapen {
        example: "\"EUR\" for euros",
        instead: is_code.then_some(capitals),
        ..Misshapen::new("currencies are three capital letters")
    })
}

fn category_code(text: &str) -> Result<(), Misshapen> {
    let number = text.trim().parse::<f64>().ok();
    let fits = |number: f64| {
        number.fract() == 0.0 && (1.0..=f64::from(CATEGORY_CODE_MAX)).contains(&number)
    };
    if number.is_some_and(fits) {
        return Ok(());
    }
    Err(Misshapen::new(
        "category codes are whole numbers from 1 to 9999",
    ))
}

fn address(text: &str) -> Result<(), Misshapen> {
    let Ok(address) = text.trim().parse::<IpAddr>() else {
        return Err(Misshapen {
            example: "\"192.0.2.7\" or \"2001:db8::7\"",
            ..Misshapen::new("addresses are written in full")
        });
    };
    let canonical = address.to_canonical().to_string();
    if canonical == text {
        return Ok(());
    }
    Err(Misshapen {
        instead: Some(canonical),
        ..Misshapen::new("addresses are written in their shortest form")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_transactions_have_are_taken() {
        let table = [
            (builtin::MERCHANT_COUNTRY, "FR"),
            (builtin::CURRENCY, "EUR"),
            (builtin::MERCHANT_CATEGORY_CODE, "742"),
            (builtin::MERCHANT_CATEGORY_CODE, "9999"),
            (builtin::IP_ADDRESS, "2001:db8::1"),
            (builtin::IP_ADDRESS, "192.0.2.7"),
            (builtin::CARD_ID, "card-4111111111111111"),
            (builtin::DEVICE_ID, " "),
            (FieldId(13), "anything"),
        ];
        for (field, text) in table {
            assert_eq!(shape(field).check(text), Ok(()), "{text}");
            let (least, most) = shape(field).size();
            assert!((usize::from(least)..=usize::from(most)).contains(&text.len()));
        }
    }

    #[test]
    fn others_are_refused_with_what_was_meant() {
        let table = [
            (builtin::MERCHANT_COUNTRY, "fr", Some("FR")),
            (builtin::CARD_COUNTRY, " FR", Some("FR")),
            (builtin::CARD_COUNTRY, "FRA", None),
            (builtin::MERCHANT_COUNTRY, "France", None),
            (builtin::CURRENCY, "eur", Some("EUR")),
            (builtin::CURRENCY, "Euro", None),
            (builtin::CURRENCY, "ZZZ", None),
            (builtin::MERCHANT_CATEGORY_CODE, "5.5", None),
            (builtin::MERCHANT_CATEGORY_CODE, "0", None),
            (builtin::MERCHANT_CATEGORY_CODE, "99999", None),
            (builtin::IP_ADDRESS, "2001:0DB8::0001", Some("2001:db8::1")),
            (builtin::IP_ADDRESS, "::ffff:10.0.0.1", Some("10.0.0.1")),
            (builtin::IP_ADDRESS, "localhost", None),
            (builtin::DEVICE_ID, "", None),
            (FieldId(13), "", None),
        ];
        for (field, text, instead) in table {
            let error = shape(field).check(text).unwrap_err();
            assert_eq!(error.instead.as_deref(), instead, "{text}");
            assert!(!error.is_card_number);
        }
        let says = |field, text| shape(field).check(text).unwrap_err().to_string();
        assert_eq!(
            says(builtin::CARD_COUNTRY, "fr"),
            "countries are two capital letters: write \"FR\""
        );
        assert_eq!(
            says(builtin::CURRENCY, "Euro"),
            "currencies are three capital letters, such as \"EUR\" for euros"
        );
    }

    #[test]
    fn a_card_number_is_told_and_not_repeated() {
        for field in [builtin::CARD_ID, builtin::TRANSACTION_ID] {
            let error = shape(field).check("4111 1111 1111 1111").unwrap_err();
            assert!(error.is_card_number && !format!("{error:?}").contains("4111"));
        }
    }
}
