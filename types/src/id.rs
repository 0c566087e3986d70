//! Identifiers that cross the edge, and the refusal of card numbers where a token belongs.

use std::fmt;
use std::sync::Arc;

/// Longest identifier taken, in bytes: longer ones are mistakes, and everything per id must stay bounded.
const ID_BYTES_MAX: usize = 128;

/// Digits of a card number (ISO/IEC 7812-1; the shortest in use has 13).
const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;

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
    #[error(
        "is longer than {ID_BYTES_MAX} bytes; expected an identifier of 1 to {ID_BYTES_MAX} bytes"
    )]
    TooLong,
    #[error("has control characters; expected printable text")]
    ControlCharacter,
    #[error("is a card number; expected a token that stands for the card")]
    CardNumber,
}

impl TransactionId {
    /// The sender's own id. A card number is refused if it has a scheme's beginning and length too: ids of
    /// digits alone are common, and one in ten has a valid check digit by chance.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_id(text)?;
        if digits_of(text)
            .is_some_and(|digits| is_luhn_number(&digits) && has_scheme_prefix(&digits))
        {
            return Err(IdError::CardNumber);
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CardId {
    /// A token. 13 to 19 digits with a valid check digit are refused whatever their beginning: where a card
    /// number is most likely, a token must not look like one.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_id(text)?;
        if digits_of(text).is_some_and(|digits| is_luhn_number(&digits)) {
            return Err(IdError::CardNumber);
        }
        Ok(Self(text.into()))
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

/// What every identifier must be: 1 to 128 bytes, printable.
fn check_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if text.len() > ID_BYTES_MAX {
        Err(IdError::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(IdError::ControlCharacter)
    } else {
        Ok(())
    }
}

/// Whether a text has a card number in it: a run of 13 to 19 digits, separators between them ignored, with a valid
/// check digit and the beginning and length of a card scheme's numbers.
///
/// For texts that would be shown or logged. Too eager for ids: of random hexadecimal ids one in 100,000
/// has such a run, and its payment would be refused.
pub fn contains_card_number(text: &str) -> bool {
    // Most ids have too few digits to look any closer.
    if text.bytes().filter(u8::is_ascii_digit).count() < DIGITS_MIN {
        return false;
    }
    let is_part = |byte: u8| byte.is_ascii_digit() || is_separator(byte);
    text.as_bytes().split(|byte| !is_part(*byte)).any(|run| {
        let groups: Vec<&[u8]> = run
            .split(|byte| is_separator(*byte))
            .filter(|group| !group.is_empty())
            .collect();
        // A date or another number may stand beside it, so every sequence of groups is looked at.
        (0..groups.len()).any(|first| is_card_number_from(&groups[first..]))
    })
}

/// Whether the digits of the first one, two, … groups together are a card number.
fn is_card_number_from(groups: &[&[u8]]) -> bool {
    let mut digits = Vec::with_capacity(DIGITS_MAX);
    for group in groups {
        if digits.len() + group.len() > DIGITS_MAX {
            return false;
        }
        digits.extend_from_slice(group);
        if is_luhn_number(&digits) && has_scheme_prefix(&digits) {
            return true;
        }
    }
    false
}

/// The digits of a text that has nothing but digits and separators.
fn digits_of(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().filter(|byte| !is_separator(*byte));
    digits
        .map(|byte| byte.is_ascii_digit().then_some(byte))
        .collect()
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'_')
}

/// 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1, annex B).
fn is_luhn_number(digits: &[u8]) -> bool {
    if !(DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit)
    {
        return false;
    }
    let doubled = |digit: u32| if digit < 5 { 2 * digit } else { 2 * digit - 9 };
    let weighted = digits.iter().rev().enumerate().map(|(place, byte)| {
        let digit = u32::from(byte - b'0');
        // From the right, every second digit counts double, with the digits of the double added up.
        if place % 2 == 0 {
            digit
        } else {
            doubled(digit)
        }
    });
    weighted.sum::<u32>() % 10 == 0
}

/// Whether digits begin and are as long as the numbers of a card scheme: Visa, Mastercard, American Express,
/// Diners Club, Discover, JCB, UnionPay, Maestro, by the ranges the schemes publish.
fn has_scheme_prefix(digits: &[u8]) -> bool {
    let first_four = digits[..4]
        .iter()
        .fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0'));
    let lengths: &[usize] = match first_four {
        4000..=4999 => &[13, 16, 19],
        5100..=5599 | 2221..=2720 => &[16],
        3400..=3499 | 3700..=3799 => &[15],
        3000..=3059 | 3600..=3699 | 3800..=3999 => &[14, 16],
        6011 | 6440..=6599 => &[16, 19],
        3528..=3589 | 6200..=6299 | 8100..=8171 => &[16, 17, 18, 19],
        5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763 => &[13, 14, 15, 16, 17, 18, 19],
        _ => &[],
    };
    lengths.contains(&digits.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test numbers that card schemes publish.
    const CARD_NUMBERS: [&str; 3] = [
        "4111111111111111",
        "5555 5555 5555 4444",
        "3782-822463-10005",
    ];

    #[test]
    fn a_card_number_is_no_id_however_it_is_written() {
        for number in CARD_NUMBERS {
            assert_eq!(CardId::parse(number), Err(IdError::CardNumber));
            assert_eq!(TransactionId::parse(number), Err(IdError::CardNumber));
        }
    }

    #[test]
    fn a_card_number_is_found_inside_a_text() {
        let inside = [
            "pan:6011.1111.1111.1117",
            "on 2026-11-20 4111 1111 1111 1111",
            "c-4111_1111_1111_1111-x",
        ];
        for text in inside.iter().chain(&CARD_NUMBERS) {
            assert!(contains_card_number(text), "{text}");
        }
        for text in [
            "4111111111111112",
            "411111111111",
            "4111a1111b1111c1111",
            "",
        ] {
            assert!(!contains_card_number(text), "{text}");
        }
    }

    #[test]
    fn honest_ids_are_taken() {
        // Numbers of a database with a valid check digit, a random UUID with many digits, a hexadecimal token.
        for id in [
            "1765432109876543217",
            "41111111-1111-4111-8111-411111111111",
        ] {
            assert!(TransactionId::parse(id).is_ok(), "{id}");
        }
        assert!(CardId::parse("card-4111111111111111").is_ok());
    }

    #[test]
    fn a_token_may_not_even_have_the_check_digit() {
        assert_eq!(CardId::parse("490154203237518"), Err(IdError::CardNumber));
        assert!(CardId::parse("490154203237519").is_ok());
    }

    #[test]
    fn an_error_never_repeats_the_text() {
        let error = CardId::parse("4111111111111111").unwrap_err();
        assert_eq!(error, IdError::CardNumber);
        assert!(!format!("{error} {error:?}").contains("4111"));
    }
}
