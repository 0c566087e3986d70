//! Text as one machine word, so that histories stay small and comparing is one instruction.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// A text as 64 bits.
///
/// Texts of up to seven bytes (countries, currencies, channels, airports) are kept whole and can be read
/// back; longer ones become 63 bits of XXH3. Two different texts of which one is short never share a key; two
/// different long ones do with probability 2⁻⁶³, which the rest of Tollgate treats as never.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextKey(u64);

const HASHED: u64 = 1 << 63;
const WHOLE_BYTES_MAX: usize = 7;

impl TextKey {
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        if bytes.len() > WHOLE_BYTES_MAX {
            return Self(xxh3_64(bytes) | HASHED);
        }
        let mut word = [0_u8; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        // The length in the top byte tells "a" from "a\0"; it is at most 7, so the top bit stays clear.
        word[7] = u8::try_from(bytes.len()).unwrap_or(0);
        Self(u64::from_le_bytes(word))
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The text itself, where it was short enough to be kept whole.
    pub fn whole(self) -> Option<String> {
        if self.0 & HASHED != 0 {
            return None;
        }
        let word = self.0.to_le_bytes();
        let length = usize::from(word[7]).min(WHOLE_BYTES_MAX);
        String::from_utf8(word[..length].to_vec()).ok()
    }
}

impl fmt::Debug for TextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.whole() {
            Some(text) => write!(f, "{text:?}"),
            None => write!(f, "#{:016x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_can_be_read_back_and_long_ones_compare() {
        for text in ["", "a", "US", "EUR", "1234567", "é"] {
            assert_eq!(TextKey::of(text).whole().as_deref(), Some(text));
        }
        assert_eq!(TextKey::of("card_present").whole(), None);
        assert_eq!(TextKey::of("card_present"), TextKey::of("card_present"));
        assert_ne!(TextKey::of("card_present"), TextKey::of("card_absent."));
        assert_ne!(TextKey::of("a"), TextKey::of("a\0"));
    }
}
