//! Identifiers that cross the edge, and the refusal of card numbers where a token belongs.

use std::fmt;
use std::sync::Arc;

/// Longest identifier taken, in bytes: longer ones are mistakes, and everything per id must stay bounded.
const ID_BYTES_MAX: usize = 128;

/// Identifies a transaction at its sender; the same id again is the same transaction.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(Arc<str>);

/// A token that stands for a card, never a card number.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CardId(Arc<str>);

/// Why a text is no identifier. Never carries the text: it may be a card number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("is empty; expected an identifier of 1 to {ID_BYTES_MAX} bytes")]
    Empty,
    #[error("is longer than {ID_BYTES_MAX} bytes")]
    TooLong,
    #[error("has control characters; expected printable text")]
    ControlCharacter,
    #[error("is a card number; expected a token that stands for the card")]
    CardNumber,
}

impl TransactionId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_id(text).map(|()| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CardId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_id(text).map(|()| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionId({})", self.0)
    }
}

impl fmt::Debug for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardId({})", self.0)
    }
}

/// What every identifier must be: 1 to 128 bytes, printable, no card number.
fn check_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if text.len() > ID_BYTES_MAX {
        Err(IdError::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(IdError::ControlCharacter)
    } else if is_card_number(text) {
        Err(IdError::CardNumber)
    } else {
        Ok(())
    }
}

/// Whether a text is a valid card number: 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1), spaces
/// and hyphens between them ignored.
pub fn is_card_number(text: &str) -> bool {
    let mut sum = 0;
    let mut count = 0;
    for byte in text.bytes().rev() {
        match byte {
            b'0'..=b'9' => {
                let digit = u32::from(byte - b'0');
                // From the right, every second digit counts double, with the digits of the double added up.
                sum += match (count % 2, digit) {
                    (0, _) => digit,
                    (_, 0..=4) => 2 * digit,
                    (_, _) => 2 * digit - 9,
                };
                count += 1;
            }
            b' ' | b'-' => {}
            _ => return false,
        }
    }
    (13..=19).contains(&count) && sum % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_known_by_length_and_check_digit() {
        // The test numbers card schemes publish.
        for number in [
            "4111111111111111",
            "5555 5555 5555 4444",
            "3782-822463-10005",
        ] {
            assert!(is_card_number(number), "{number}");
        }
        for other in [
            "4111111111111112",
            "411111111111",
            "tok_4111111111111111",
            "",
        ] {
            assert!(!is_card_number(other), "{other}");
        }
    }

    #[test]
    fn an_error_never_repeats_the_text() {
        let error = CardId::parse("4111111111111111").unwrap_err();
        assert_eq!(error, IdError::CardNumber);
        assert!(!format!("{error} {error:?}").contains("4111"));
    }
}
